//! Weights as PyTorch's modules name and orient them.
//!
//! | layer | module | its tensors |
//! | --- | --- | --- |
//! | dense | `Linear` | `weight` `[outputs, inputs]`, the transpose of Shoal's; `bias` |
//! | conv2d | `Conv2d` | `weight` `[channels, channels in / groups, kernel, kernel]`; `bias` |
//! | batch-norm | `BatchNorm1d`, `BatchNorm2d` | `weight`, `bias`, `running_mean`, `running_var` |
//! | layer-norm | `LayerNorm` | `weight` and `bias` in the shape of the layer's inputs |
//! | embedding | `Embedding` | `weight` `[vocabulary, width]` |
//!
//! What a normalization adds to a variance is a setting of the module, `eps`, and in no tensor; so is the slope
//! of a `LeakyReLU`.
//!
//! A tensor's name begins with the layer's position from 0, as in a `Sequential` or `ModuleList` called
//! `layers` that has a module for each layer of the specification: `layers.0.weight`,
//! `layers.2.body.0.weight`, `layers.2.shortcut.weight`.

use std::collections::HashMap;
use std::ops::Range;

use model::{Network, ParameterKind, Shape};
use safetensors::{Dtype, tensor::TensorView};

use super::ExportError;
use crate::run_directory::SavedModel;

/// A tensor of a module and where its values lie in Shoal's parameter vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tensor {
    /// Its name.
    pub(crate) name: String,
    /// Its shape in PyTorch.
    pub(crate) shape: Vec<usize>,
    /// Its values in the parameter vector.
    pub(crate) range: Range<usize>,
    /// Whether these are the transpose, `[inputs, outputs]` for `[outputs, inputs]`.
    pub(crate) is_transposed: bool,
}

/// The tensors of a network, in the order of [`Network::layout`].
pub(crate) fn tensors(network: &Network) -> Vec<Tensor> {
    let of = |block: &model::ParameterBlock| {
        let (layer, part) = block.name.rsplit_once('.').unwrap_or(("", &block.name));
        let named = |part: &str| format!("{layer}.{part}");
        let layer = network.layers().iter().find(|summary| summary.name == layer);
        let kind = layer.map_or("", |layer| layer.description.as_str());
        let mut shape = block.shape.clone();
        let mut is_transposed = false;
        let name = match (block.kind, part) {
            (ParameterKind::Weight, _) if shape.len() == 2 && !kind.starts_with("embedding") => {
                shape.reverse();
                is_transposed = true;
                block.name.clone()
            }
            (ParameterKind::Gain, _) => named("weight"),
            (ParameterKind::Statistic, "running_variance") => named("running_var"),
            _ => block.name.clone(),
        };
        if kind.starts_with("layer-norm")
            && let Some(Shape::Image { channels, height, width }) = layer.map(|of| of.shape)
        {
            shape = vec![channels, height, width];
        }
        Tensor { name, shape, range: block.range.clone(), is_transposed }
    };
    network.layout().iter().map(of).collect()
}

/// The transpose of a matrix of `columns` columns, row-major.
pub(crate) fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// The file. Its metadata have one entry, `shoal`, an object in JSON, because several would be written in
/// random order.
pub(super) fn to_safetensors(
    model: &SavedModel,
    described: Vec<(String, String)>,
) -> Result<Vec<u8>, ExportError> {
    let unwritable = |error: safetensors::SafeTensorError| ExportError::Unwritable {
        format: "safetensors",
        problem: error.to_string(),
    };
    let mut written = Vec::new();
    for tensor in tensors(&model.network) {
        let values = &model.weights[tensor.range.clone()];
        let bytes: Vec<u8> = if tensor.is_transposed {
            let turned = transposed(values, tensor.shape[0]);
            turned.iter().flat_map(|value| value.to_le_bytes()).collect()
        } else {
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        };
        written.push((tensor, bytes));
    }
    let mut views = Vec::with_capacity(written.len());
    for (tensor, bytes) in &written {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map_err(unwritable)?;
        views.push((tensor.name.as_str(), view));
    }
    let described: serde_json::Map<_, _> =
        described.into_iter().map(|(key, value)| (key, value.into())).collect();
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), serde_json::Value::from(described).to_string())]);
    safetensors::serialize(views, Some(metadata)).map_err(unwritable)
}

/// The metadata's entry. A run's own file has another, so that neither is taken for the other.
pub(crate) const METADATA_KEY: &str = "shoal-export";

#[cfg(test)]
mod tests {
    use model::{NetworkSpec, Task};

    use super::*;

    #[test]
    fn tensors_have_the_names_and_shapes_of_pytorchs_modules() {
        let json = r#"{"input": [2, 4, 4], "layers": [
            {"kind": "conv2d", "channels": 6, "kernel": 3, "groups": 2, "padding": "same"}, {"kind": "batch-norm"},
            {"kind": "layer-norm"}, {"kind": "residual", "shortcut": "projection",
            "layers": [{"kind": "conv2d", "channels": 4, "kernel": 3, "padding": "same"}]},
            {"kind": "dense", "units": 5}, {"kind": "layer-norm"}]}"#;
        let network = Network::new(&NetworkSpec::from_json(json).unwrap(), 32, Task::Classes(3)).unwrap();
        let found: Vec<(String, Vec<usize>)> =
            tensors(&network).into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
        let expected: [(&str, &[usize]); 18] = [
            ("layers.0.weight", &[6, 1, 3, 3]),
            ("layers.0.bias", &[6]),
            ("layers.1.weight", &[6]),
            ("layers.1.bias", &[6]),
            ("layers.2.weight", &[6, 4, 4]),
            ("layers.2.bias", &[6, 4, 4]),
            ("layers.3.body.0.weight", &[4, 6, 3, 3]),
            ("layers.3.body.0.bias", &[4]),
            ("layers.3.shortcut.weight", &[4, 6, 1, 1]),
            ("layers.3.shortcut.bias", &[4]),
            ("layers.4.weight", &[5, 64]),
            ("layers.4.bias", &[5]),
            ("layers.5.weight", &[5]),
            ("layers.5.bias", &[5]),
            ("layers.6.weight", &[3, 5]),
            ("layers.6.bias", &[3]),
            ("layers.1.running_mean", &[6]),
            ("layers.1.running_var", &[6]),
        ];
        let expected = expected.map(|(name, shape)| (name.to_owned(), shape.to_vec()));
        assert_eq!(found, expected);
        let names: std::collections::BTreeSet<&String> = found.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), found.len());
    }

    #[test]
    fn a_matrix_is_turned() {
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
