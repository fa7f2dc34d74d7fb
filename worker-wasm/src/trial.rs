//! A network that answers in the tab, for the page `/try`: it gets weights, and never sends anything.

use model::{Arithmetic, Features, Network, NetworkSpec, Preprocessing, Rows, Scratch, Task};
use ndarray::ArrayView2;
use wasm_bindgen::prelude::*;

/// Rows of one call.
const ROWS_MAX: usize = 1 << 16;
/// Bytes of a weight.
const WEIGHT_BYTES: usize = 4;

/// A network with its latest weights.
#[wasm_bindgen]
#[derive(Debug)]
pub struct TrialNetwork {
    network: Network,
    arithmetic: Arithmetic,
    preprocessing: Preprocessing,
    weights: Vec<f32>,
    scratch: Scratch,
}

#[wasm_bindgen]
impl TrialNetwork {
    /// A network without weights yet. `spec` is its specification in JSON; it answers with one of `targets` classes,
    /// or with as many numbers. `offset` and `scale` have a value for each input.
    ///
    /// # Errors
    /// When the parts do not fit together.
    #[wasm_bindgen(constructor)]
    pub fn new(
        spec: &str,
        classes: bool,
        targets: u32,
        arithmetic: &str,
        offset: &[f32],
        scale: &[f32],
    ) -> Result<TrialNetwork, JsError> {
        if offset.len() != scale.len() {
            return Err(JsError::new("each input needs an offset and a scale"));
        }
        let task = if classes { Task::Classes(targets) } else { Task::Numbers(targets) };
        let network = Network::new(&NetworkSpec::from_json(spec)?, offset.len(), task)?;
        Ok(TrialNetwork {
            network,
            arithmetic: arithmetic.parse()?,
            preprocessing: Preprocessing { offset: offset.to_vec(), scale: scale.to_vec() },
            weights: Vec::new(),
            scratch: Scratch::new(),
        })
    }

    /// Takes weights: little-endian 32-bit numbers in the order of the network's layout.
    ///
    /// # Errors
    /// When they are not as many as the network has parameters.
    pub fn set_weights(&mut self, bytes: &[u8]) -> Result<(), JsError> {
        let (weights, rest) = bytes.as_chunks::<WEIGHT_BYTES>();
        if weights.len() != self.network.parameters() || !rest.is_empty() {
            return Err(JsError::new("these weights are not the network's"));
        }
        self.weights.clear();
        self.weights.extend(weights.iter().map(|&bytes| f32::from_le_bytes(bytes)));
        Ok(())
    }

    /// The answers to rows of stored values, row-major: probabilities of the classes, or standardized numbers.
    ///
    /// # Errors
    /// Without weights, for values that do not fill whole rows or are too many, and for an integer that the network
    /// does not know.
    pub fn predict(&mut self, values: &[f32]) -> Result<Vec<f32>, JsError> {
        let width = self.network.features();
        if self.weights.is_empty() {
            return Err(JsError::new("there are no weights yet"));
        }
        if !values.len().is_multiple_of(width) || values.len() / width > ROWS_MAX {
            return Err(JsError::new("the values do not fill whole rows, or are too many"));
        }
        if let Some(vocabulary) = self.network.spec().vocabulary() {
            let knows = |value: &f32| value.fract() == 0.0 && (0.0..vocabulary as f32).contains(value);
            if !values.iter().all(knows) {
                return Err(JsError::new("the network does not know one of these integers"));
            }
        }
        let rows = ArrayView2::from_shape((values.len() / width, width), values)?;
        let mut outputs = vec![0.0; rows.nrows() * self.network.outputs()];
        let features = Features::new(Rows::F32(rows), &self.preprocessing);
        self.network.predict(self.arithmetic, &mut self.scratch, &self.weights, &features, &mut outputs);
        Ok(outputs)
    }
}
