//! Parameters by the names and shapes of a network's layout.

use std::borrow::Cow;
use std::collections::BTreeMap;

use model::{Network, ParameterBlock};
use onnx::import::Imported;

use crate::run_directory::SavedModel;

/// A parameter's shape and values, row-major.
type Parameter<'a> = (Cow<'a, [usize]>, Cow<'a, [f32]>);

/// Parameters by name.
pub(super) struct Named<'a> {
    parameters: BTreeMap<Cow<'a, str>, Parameter<'a>>,
    /// Names of what could not be given one of these names.
    unused: Vec<String>,
    /// Whether the output layer has been filled by classes.
    outputs_are_filled: bool,
}

impl<'a> Named<'a> {
    pub(super) fn of_model(model: &'a SavedModel) -> Named<'a> {
        let block = |block: &'a ParameterBlock| {
            let values = &model.weights[block.range.clone()];
            (Cow::from(block.name.as_str()), (Cow::from(&block.shape[..]), Cow::from(values)))
        };
        Named {
            parameters: model.network.layout().iter().map(block).collect(),
            unused: Vec::new(),
            outputs_are_filled: false,
        }
    }

    pub(super) fn of_graph(imported: &'a Imported) -> Named<'a> {
        let parameter = |(name, parameter): (&'a String, &'a onnx::import::Parameter)| {
            (Cow::from(name.as_str()), (Cow::from(&parameter.shape[..]), Cow::from(&parameter.values[..])))
        };
        Named {
            parameters: imported.parameters.iter().map(parameter).collect(),
            unused: Vec::new(),
            outputs_are_filled: false,
        }
    }

    pub(super) fn of_tensors(tensors: Vec<(String, Vec<usize>, Vec<f32>)>, unused: Vec<String>) -> Named<'a> {
        let parameters =
            tensors.into_iter().map(|(name, shape, values)| (name.into(), (shape.into(), values.into())));
        Named { parameters: parameters.collect(), unused, outputs_are_filled: false }
    }

    /// Writes to the weights of each output those of an output of the source, which has `outputs` of them; an
    /// output without one keeps what it has. Returns `false` if there is no output layer of this shape.
    pub(super) fn fill_outputs(
        &mut self,
        network: &Network,
        weights: &mut [f32],
        sources: &[Option<usize>],
        outputs: usize,
    ) -> bool {
        let layer = output_layer(network);
        let blocks = || network.layout().iter().filter(|block| block.name.starts_with(&layer));
        let fits = |block: &ParameterBlock| {
            let shape = self.parameters.get(block.name.as_str()).map(|(shape, _)| &shape[..]);
            let expected = block.shape.split_last().map(|(_, inputs)| [inputs, &[outputs]].concat());
            shape.is_some() && shape == expected.as_deref()
        };
        if outputs == 0 || sources.is_empty() || !blocks().all(fits) {
            return false;
        }
        for block in blocks() {
            let Some((_, values)) = self.parameters.remove(block.name.as_str()) else { continue };
            let ours = weights[block.range.clone()].chunks_mut(sources.len());
            for (ours, theirs) in ours.zip(values.chunks(outputs)) {
                for (weight, source) in ours.iter_mut().zip(sources) {
                    *weight = source.map_or(*weight, |source| theirs[source]);
                }
            }
        }
        self.outputs_are_filled = true;
        true
    }

    /// Writes the values of equal name and shape to a parameter vector. Returns the number of these
    /// blocks, the blocks that got none, and what was of no use.
    pub(super) fn fill(
        mut self,
        network: &Network,
        weights: &mut [f32],
    ) -> (usize, Vec<String>, Vec<String>) {
        let mut found = 0;
        let mut missing = Vec::new();
        let filled = self.outputs_are_filled.then(|| output_layer(network));
        let is_open =
            |block: &&ParameterBlock| filled.as_ref().is_none_or(|layer| !block.name.starts_with(layer));
        for block in network.layout().iter().filter(is_open) {
            match self.parameters.get(block.name.as_str()) {
                Some((shape, values)) if shape[..] == block.shape => {
                    weights[block.range.clone()].copy_from_slice(values);
                    self.parameters.remove(block.name.as_str());
                    found += 1;
                }
                _ => missing.push(format!("{} {:?}", block.name, block.shape)),
            }
        }
        let left = self.parameters.iter().map(|(name, (shape, _))| format!("{name} {shape:?}"));
        (found, missing, self.unused.iter().cloned().chain(left).collect())
    }
}

/// The beginning of the names of the output layer's parameters.
pub(super) fn output_layer(network: &Network) -> String {
    format!("layers.{}.", network.spec().layers.len())
}
