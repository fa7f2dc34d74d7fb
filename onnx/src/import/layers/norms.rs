//! Batch and layer normalization.

use model::{LayerSpec, Shape};

use super::super::ImportError;
use super::super::constants::{Floats, float, int};
use super::super::lengths;
use super::super::walk::{Walk, output_of};
use super::super::way::Way;
use super::{NEAR, input};
use crate::proto::NodeProto;

/// What layer and batch normalization add to a variance, as `model` does.
pub(in super::super) const EPSILON: f32 = 1e-5;

impl<'a> Walk<'a> {
    pub(super) fn batch_norm(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let channels = match way.flow.shape {
            Shape::Vector(values) => values,
            Shape::Image { channels, .. } => channels,
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
        // Another epsilon becomes part of the variances, to which it is added.
        let more = float(node, "epsilon", EPSILON) - EPSILON;
        for variance in &mut parts[3].1.values {
            *variance += more;
            if variance.is_nan() || *variance < 0.0 {
                return Err(ImportError::node(node, "it has a variance that is negative"));
            }
        }
        if more.abs() > NEAR * EPSILON {
            self.notes.push(format!(
                "a batch normalization has another epsilon; its running variances were changed by {more}, which gives \
                 the same answers"
            ));
        }
        self.keep(way, parts)?;
        self.push(way, LayerSpec::BatchNorm)?;
        way.go(output_of(node)?);
        Ok(())
    }

    pub(super) fn layer_norm(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let axes = lengths(way.flow.shape).len() as i64;
        let axis = int(node, "axis", -1);
        if axis != 1 && axis != -axes {
            let problem = "it goes over a part of each example's values; Shoal's goes over all of them";
            return Err(ImportError::node(node, problem));
        }
        let epsilon = float(node, "epsilon", EPSILON);
        if (epsilon - EPSILON).abs() > NEAR * EPSILON {
            return Err(ImportError::node(node, format!("its epsilon is {epsilon}; Shoal's is {EPSILON}")));
        }
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
        let flat = |floats: Floats| Floats { shape: vec![values], values: way.unturned(floats.values, 1) };
        let parts = [("gain", flat(gain)), ("bias", flat(bias))];
        self.keep(way, parts)?;
        self.push(way, LayerSpec::LayerNorm)?;
        way.go(output_of(node)?);
        Ok(())
    }
}
