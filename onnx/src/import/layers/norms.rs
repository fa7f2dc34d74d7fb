//! Batch and layer normalization.

use model::{LayerSpec, NormSpec, Shape};

use super::super::ImportError;
use super::super::constants::{Floats, float, int};
use super::super::walk::{Walk, output_of};
use super::super::way::Way;
use super::input;
use crate::proto::NodeProto;

/// What is said of a layer normalization over other axes than Shoal's.
pub(super) const IN_PART: &str =
    "it goes over a part of each example's values; Shoal's goes over all of them";

impl<'a> Walk<'a> {
    pub(super) fn batch_norm(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let channels = match way.flow.shape {
            Shape::Vector(values) if way.flow.lengths.first() == Some(&values) => values,
            Shape::Vector(_) => {
                return Err(ImportError::node(node, "it sees values along more than one axis"));
            }
            Shape::Image { .. } => way.image(node)?[0],
        };
        if int(node, "training_mode", 0) != 0 {
            return Err(ImportError::node(node, "it is in training mode; export the network for inference"));
        }
        let mut parts = Vec::new();
        for (at, part) in ["gain", "bias", "running_mean", "running_variance"].into_iter().enumerate() {
            let mut floats = self.constants.floats(input(node, at + 1)?)?;
            if floats.shape != [channels] {
                let problem = format!("it has {:?} numbers for {channels} channels", floats.shape);
                return Err(ImportError::node(node, problem));
            }
            floats.values = way.unturned(floats.values, 1);
            parts.push((part, floats));
        }
        if parts[3].1.values.iter().any(|&variance| variance < 0.0) {
            return Err(ImportError::node(node, "it has a variance that is negative"));
        }
        let spec = norm(node, float(node, "epsilon", NormSpec::EPSILON))?;
        self.keep(way, parts)?;
        self.push(way, LayerSpec::BatchNorm(spec))?;
        way.go(output_of(node)?);
        Ok(())
    }

    pub(super) fn layer_norm(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let axes = way.flow.lengths.len() as i64;
        let axis = int(node, "axis", -1);
        if axis != 1 && axis != -axes {
            return Err(ImportError::node(node, IN_PART));
        }
        let spec = norm(node, float(node, "epsilon", NormSpec::EPSILON))?;
        let values = way.flow.shape.len();
        let gain = self.constants.floats(input(node, 1)?)?;
        let bias = match node.input.get(2).filter(|bias| !bias.is_empty()) {
            Some(bias) => self.constants.floats(bias)?,
            None => Floats { shape: vec![values], values: vec![0.0; values] },
        };
        if gain.values.len() != values || bias.values.len() != values {
            let problem = format!("it has not one gain and bias for each of {values} values");
            return Err(ImportError::node(node, problem));
        }
        self.push_layer_norm(way, spec, gain.values, bias.values)?;
        way.go(output_of(node)?);
        Ok(())
    }

    /// Appends a layer normalization with a gain and a bias for each value.
    pub(super) fn push_layer_norm(
        &mut self,
        way: &mut Way<'a>,
        spec: NormSpec,
        gain: Vec<f32>,
        bias: Vec<f32>,
    ) -> Result<(), ImportError> {
        let flat = |values: Vec<f32>| Floats { shape: vec![values.len()], values: way.unturned(values, 1) };
        let parts = [("gain", flat(gain)), ("bias", flat(bias))];
        self.keep(way, parts)?;
        self.push(way, LayerSpec::LayerNorm(spec))
    }
}

/// The settings of a normalization that adds this to a variance.
pub(super) fn norm(node: &NodeProto, epsilon: f32) -> Result<NormSpec, ImportError> {
    if (f32::MIN_POSITIVE..=1.0).contains(&epsilon) {
        return Ok(NormSpec { epsilon });
    }
    let problem = format!("its epsilon is {epsilon}; Shoal's is above 0 and at most 1");
    Err(ImportError::node(node, problem))
}
