//! The end of a network: its output layer, and what follows it.
//!
//! In Shoal the output layer is dense. Networks that end in a convolution have their classes as its channels, and a
//! mean over all places behind it, or a single place.

use model::{Activation, Conv2dSpec, DenseSpec, LayerSpec, Padding};

use super::constants::{Floats, transposed};
use super::walk::Walk;
use super::way::Way;
use super::{ImportError, Parameter};

const ADDED: &str =
    "the network ends in a pool or a convolution; an output layer that changes nothing was added behind it";

/// The most values behind which an output layer is added.
const CLASSES_MAX: usize = 1 << 12;

impl<'a> Walk<'a> {
    /// Makes the last layer a dense one that computes the same, if the network ends in a convolution or a pool.
    pub(super) fn end_with_dense(&mut self, way: &mut Way<'a>) -> Result<(), ImportError> {
        match &way.layers[..] {
            // The mean of sums is the sum of means.
            [.., LayerSpec::Conv2d(conv), LayerSpec::GlobalAveragePool] if is_of_one_place(conv) => {
                let at = way.layers.len() - 2;
                let (weight, bias) = take_weights(way, at);
                way.layers.drain(at..);
                way.layers.push(LayerSpec::GlobalAveragePool);
                put_dense(way, weight, bias);
                Ok(())
            }
            [
                ..,
                LayerSpec::Conv2d(conv),
                LayerSpec::Flatten | LayerSpec::GlobalAveragePool | LayerSpec::GlobalMaxPool,
            ] if way.sees_all && conv.activation == Activation::None => {
                let at = way.layers.len() - 2;
                let (weight, bias) = take_weights(way, at);
                way.layers.drain(at..);
                put_dense(way, weight, bias);
                Ok(())
            }
            [.., LayerSpec::Flatten | LayerSpec::GlobalAveragePool | LayerSpec::GlobalMaxPool] => {
                let values = way.flow.shape.len();
                if values > CLASSES_MAX {
                    let problem = format!(
                        "it ends in a pool or a convolution with {values} values, more than {CLASSES_MAX}; cut the \
                         graph after the layer that answers"
                    );
                    return Err(ImportError::file(problem));
                }
                let mut weight = vec![0.0; values * values];
                weight.iter_mut().step_by(values + 1).for_each(|weight| *weight = 1.0);
                let weight = Floats { shape: vec![values, values], values: weight };
                let bias = Floats { shape: vec![values], values: vec![0.0; values] };
                self.keep(way, [("weight", weight), ("bias", bias)])?;
                self.notes.push(ADDED.to_owned());
                self.push(way, dense(values))
            }
            _ => Ok(()),
        }
    }
}

fn is_of_one_place(conv: &Conv2dSpec) -> bool {
    let Conv2dSpec { kernel, stride, padding, groups, activation, .. } = *conv;
    (kernel, stride, padding, groups, activation) == (1, 1, Padding::Valid, 1, Activation::None)
}

/// The weights and biases of the convolution at an index, which must have them.
fn take_weights(way: &mut Way<'_>, at: usize) -> (Option<Parameter>, Option<Parameter>) {
    let name = way.name(at);
    let mut take = |part: &str| way.parameters.remove(&format!("{name}.{part}"));
    (take("weight"), take("bias"))
}

/// Appends a dense layer with the weights of a convolution, `[outputs, ...]`.
fn put_dense(way: &mut Way<'_>, weight: Option<Parameter>, bias: Option<Parameter>) {
    let (Some(mut weight), Some(bias)) = (weight, bias) else { return };
    let outputs = bias.values.len();
    let inputs = weight.values.len() / outputs.max(1);
    weight = Parameter { shape: vec![inputs, outputs], values: transposed(&weight.values, inputs) };
    let name = way.next_name();
    way.parameters.insert(format!("{name}.weight"), weight);
    way.parameters.insert(format!("{name}.bias"), bias);
    way.layers.push(dense(outputs));
}

fn dense(units: usize) -> LayerSpec {
    let units = u32::try_from(units).unwrap_or(u32::MAX);
    LayerSpec::Dense(DenseSpec { units, activation: Activation::None, initializer: None })
}
