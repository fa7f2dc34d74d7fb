//! Parameters by the names and shapes of a network's layout.

use std::borrow::Cow;
use std::collections::BTreeMap;

use model::Network;
use onnx::import::Imported;

use crate::run_directory::SavedModel;

/// A parameter's shape and values, row-major.
type Parameter<'a> = (Cow<'a, [usize]>, Cow<'a, [f32]>);

/// Parameters by name.
pub(super) struct Named<'a> {
    parameters: BTreeMap<Cow<'a, str>, Parameter<'a>>,
    /// Names of what could not be given one of these names.
    unused: Vec<String>,
}

impl<'a> Named<'a> {
    pub(super) fn of_model(model: &'a SavedModel) -> Named<'a> {
        let block = |block: &'a model::ParameterBlock| {
            let values = &model.weights[block.range.clone()];
            (Cow::from(block.name.as_str()), (Cow::from(&block.shape[..]), Cow::from(values)))
        };
        Named { parameters: model.network.layout().iter().map(block).collect(), unused: Vec::new() }
    }

    pub(super) fn of_graph(imported: &'a Imported) -> Named<'a> {
        let parameter = |(name, parameter): (&'a String, &'a onnx::import::Parameter)| {
            (Cow::from(name.as_str()), (Cow::from(&parameter.shape[..]), Cow::from(&parameter.values[..])))
        };
        Named { parameters: imported.parameters.iter().map(parameter).collect(), unused: Vec::new() }
    }

    pub(super) fn of_tensors(tensors: Vec<(String, Vec<usize>, Vec<f32>)>, unused: Vec<String>) -> Named<'a> {
        let parameters =
            tensors.into_iter().map(|(name, shape, values)| (name.into(), (shape.into(), values.into())));
        Named { parameters: parameters.collect(), unused }
    }

    /// Writes the values of equal name and shape to a parameter vector. Returns the blocks that got none, and
    /// what was of no use.
    pub(super) fn fill(mut self, network: &Network, weights: &mut [f32]) -> (Vec<String>, Vec<String>) {
        let mut missing = Vec::new();
        for block in network.layout() {
            match self.parameters.get(block.name.as_str()) {
                Some((shape, values)) if shape[..] == block.shape => {
                    weights[block.range.clone()].copy_from_slice(values);
                    self.parameters.remove(block.name.as_str());
                }
                _ => missing.push(format!("{} {:?}", block.name, block.shape)),
            }
        }
        let left = self.parameters.iter().map(|(name, (shape, _))| format!("{name} {shape:?}"));
        (missing, self.unused.iter().cloned().chain(left).collect())
    }
}
