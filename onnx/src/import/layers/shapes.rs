//! Changes of shape: to a vector, and Keras's turning of images.

use model::{LayerSpec, Shape};

use super::super::ImportError;
use super::super::constants::{int, ints};
use super::super::error::operator;
use super::super::lengths;
use super::super::walk::{Walk, output_of};
use super::super::way::{Flow, Way};
use super::input;
use crate::proto::NodeProto;

/// The most values of a length in a formula of shapes.
const SHAPE_AXES_MAX: usize = 8;
/// Nodes that a computed shape goes through, one behind the other.
const SHAPE_DEPTH_MAX: usize = 16;
/// Values that a computed shape is made of, in all.
const SHAPE_VALUES_MAX: usize = 64;

const TURNED: &str =
    "the file's images lie as height, width, channels; Shoal's lie as channels, height, width";

impl<'a> Walk<'a> {
    pub(super) fn flatten(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let axis = int(node, "axis", 1);
        if axis != 1 && axis != -(lengths(way.flow.shape).len() as i64) {
            let problem = format!("its axis is {axis}; only axis 1 makes a vector of each example");
            return Err(ImportError::node(node, problem));
        }
        self.make_vector(node, way)
    }

    fn make_vector(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        if let Shape::Image { .. } = way.flow.shape {
            self.push(way, LayerSpec::Flatten)?;
        }
        way.flow.shape = Shape::Vector(way.flow.shape.len());
        way.go(output_of(node)?);
        Ok(())
    }

    /// To a vector, or, at the beginning, from a vector to an image.
    pub(super) fn reshape(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let shape = input(node, 1)?;
        let shape = self.shape_value(shape, &way.flow, 0, &mut 0).ok_or_else(|| {
            ImportError::node(node, "its shape is neither a constant nor made of the shape of its input")
        })?;
        let values = way.flow.shape.len() as i64;
        match shape[..] {
            [_, rest] if rest == values || rest == -1 => return self.make_vector(node, way),
            [_, channels, height, width]
                if way.is_at_the_beginning()
                    && channels.checked_mul(height).and_then(|of| of.checked_mul(width)) == Some(values) =>
            {
                let sizes = [channels, height, width].map(|length| u32::try_from(length).unwrap_or(0));
                if !sizes.contains(&0) {
                    self.begin_with_image(sizes);
                    let [channels, height, width] = sizes.map(|length| length as usize);
                    way.go_to(output_of(node)?, Shape::Image { channels, height, width });
                    return Ok(());
                }
            }
            _ => {}
        }
        let problem =
            format!("it makes the shape {shape:?} of {values} values; only a vector can come of an image");
        Err(ImportError::node(node, problem))
    }

    /// The integers that a shape is, with -1 for the number of examples; `None` if they depend on anything
    /// else, or are too many. `looked_at` counts the values that are looked at for one shape.
    fn shape_value(
        &self,
        name: &str,
        flow: &Flow<'_>,
        depth: usize,
        looked_at: &mut usize,
    ) -> Option<Vec<i64>> {
        *looked_at += 1;
        if depth > SHAPE_DEPTH_MAX || *looked_at > SHAPE_VALUES_MAX {
            return None;
        }
        if self.constants.has(name) {
            return self.constants.integers(name).ok().filter(|values| values.len() <= SHAPE_AXES_MAX);
        }
        let node =
            self.graph.node.iter().find(|node| node.output.first().is_some_and(|output| output == name))?;
        let mut of = |at: usize| self.shape_value(node.input.get(at)?, flow, depth + 1, looked_at);
        let value = match operator(node) {
            "Shape" => {
                let mut shape = vec![-1];
                shape.extend(lengths(flow.shape).iter().map(|&length| length as i64));
                (node.input.first()? == flow.value).then_some(shape)?
            }
            "Unsqueeze" | "Squeeze" | "Identity" | "Cast" => of(0)?,
            "Gather" => {
                let values = of(0)?;
                let pick = |&at: &i64| values.get(usize::try_from(at).ok()?).copied();
                of(1)?.iter().map(pick).collect::<Option<Vec<i64>>>()?
            }
            "Slice" => {
                let (values, starts, ends) = (of(0)?, of(1)?, of(2)?);
                let (start, end) = (usize::try_from(*starts.first()?).ok()?, *ends.first()?);
                let end = usize::try_from(end).ok()?.min(values.len());
                values.get(start..end)?.to_vec()
            }
            "Concat" => {
                let mut all = Vec::new();
                for at in 0..node.input.len().min(SHAPE_AXES_MAX) {
                    all.extend(of(at)?);
                }
                all
            }
            _ => return None,
        };
        (value.len() <= SHAPE_AXES_MAX).then_some(value)
    }

    /// Keras's images lie as height, width, channels: they are turned before the first convolution, and back
    /// before they become a vector.
    pub(super) fn transpose(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        match (way.flow.shape, ints(node, "perm").unwrap_or_default()) {
            // Read as height, width, channels.
            (Shape::Image { channels: height, height: width, width: channels }, [0, 3, 1, 2])
                if way.is_at_the_beginning() =>
            {
                self.begin_with_image([channels, height, width].map(|length| length as u32));
                self.notes.push(TURNED.to_owned());
                way.go_to(output_of(node)?, Shape::Image { channels, height, width });
                Ok(())
            }
            (Shape::Image { channels, height, width }, [0, 2, 3, 1]) => {
                let is_flattened = |next: &NodeProto| matches!(operator(next), "Flatten" | "Reshape");
                if !self.only_taker(output_of(node)?).is_some_and(is_flattened) {
                    return Err(ImportError::node(node, "it turns images in the middle of the network"));
                }
                way.go(output_of(node)?);
                way.flow.turned = Some([channels, height, width]);
                Ok(())
            }
            _ => Err(ImportError::node(node, "it turns its values in a way that belongs to no layer")),
        }
    }
}
