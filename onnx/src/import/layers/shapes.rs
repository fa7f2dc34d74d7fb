//! Changes of shape: to a vector, and Keras's turning of images.

use model::{LayerSpec, Shape};

use super::super::ImportError;
use super::super::constants::{int, ints};
use super::super::error::operator;
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

const WRONG_AXES: &str = "its axes are not those of an example";
const TURNED: &str =
    "the file's images lie as height, width, channels; Shoal's lie as channels, height, width";

impl<'a> Walk<'a> {
    pub(super) fn flatten(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let axis = int(node, "axis", 1);
        if axis != 1 && axis != -(way.flow.lengths.len() as i64) {
            let problem = format!("its axis is {axis}; only axis 1 makes a vector of each example");
            return Err(ImportError::node(node, problem));
        }
        self.make_vector(node, way)
    }

    fn make_vector(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        if let Shape::Image { .. } = way.flow.shape {
            self.push(way, LayerSpec::Flatten)?;
        }
        let values = way.flow.shape.len();
        way.flow.shape = Shape::Vector(values);
        way.flow.lengths = vec![values];
        way.go(output_of(node)?);
        Ok(())
    }

    /// To a vector, or, at the beginning, from a vector to an image.
    pub(super) fn reshape(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let shape = input(node, 1)?;
        let shape = self.shape_value(shape, &way.flow, 0, &mut 0).ok_or_else(|| {
            ImportError::node(node, "its shape is neither a constant nor made of the shape of its input")
        })?;
        let allows_zero = int(node, "allowzero", 0) != 0;
        let lengths = shape.get(1..).and_then(|rest| resolved(rest, &way.flow, allows_zero));
        match lengths {
            Some(lengths) => self.take_lengths(node, way, lengths),
            None => {
                let values = way.flow.shape.len();
                let problem = format!("it makes the shape {shape:?} of {values} values of an example");
                Err(ImportError::node(node, problem))
            }
        }
    }

    /// The same values of an example along other axes.
    fn take_lengths(
        &mut self,
        node: &'a NodeProto,
        way: &mut Way<'a>,
        lengths: Vec<usize>,
    ) -> Result<(), ImportError> {
        let all = |lengths: &[usize]| -> Vec<usize> {
            lengths.iter().copied().filter(|&length| length != 1).collect()
        };
        if let &[values] = &lengths[..]
            && values == way.flow.shape.len()
        {
            return self.make_vector(node, way);
        }
        if let &[channels, height, width] = &lengths[..]
            && way.is_at_the_beginning()
            && way.flow.turned.is_none()
        {
            self.begin_with_image([channels, height, width].map(|length| length as u32));
            way.go_to(output_of(node)?, Shape::Image { channels, height, width });
            return Ok(());
        }
        // Height and width as one axis, in front of a mean over it.
        let is_image_of_one_axis = match (way.flow.shape, way.flow.turned) {
            (Shape::Image { channels, height, width }, None) => lengths == [channels, height * width],
            (Shape::Image { channels, height, width }, Some(_)) => lengths == [height * width, channels],
            _ => false,
        };
        if all(&lengths) == all(&way.flow.lengths) || is_image_of_one_axis {
            way.flow.lengths = lengths;
            way.go(output_of(node)?);
            return Ok(());
        }
        let problem =
            format!("it makes the shape {lengths:?} of an example, which is neither a vector nor its image");
        Err(ImportError::node(node, problem))
    }

    /// Leaves out axes of length 1.
    pub(super) fn squeeze(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let is_given = ints(node, "axes").is_some() || node.input.get(1).is_some_and(|axes| !axes.is_empty());
        if !is_given {
            let problem =
                "it has no axes, so that it would leave out the axis of the examples if there is one";
            return Err(ImportError::node(node, problem));
        }
        let axes = self.axes_of(node, &way.flow)?;
        if axes.iter().any(|&axis| way.flow.lengths[axis] != 1) {
            return Err(ImportError::node(node, "it leaves out an axis with more than one value"));
        }
        let lengths = way.flow.lengths.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
        let lengths = lengths.map(|(_, &length)| length).collect();
        self.take_lengths(node, way, lengths)
    }

    /// Adds axes of length 1.
    pub(super) fn unsqueeze(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let axes = self.given_axes(node)?;
        let rank = way.flow.lengths.len() + 1 + axes.len();
        let axes = positive(&axes, rank).ok_or_else(|| ImportError::node(node, WRONG_AXES))?;
        let mut lengths = way.flow.lengths.clone();
        for axis in axes {
            if axis > lengths.len() {
                return Err(ImportError::node(node, WRONG_AXES));
            }
            lengths.insert(axis, 1);
        }
        self.take_lengths(node, way, lengths)
    }

    fn given_axes(&self, node: &NodeProto) -> Result<Vec<i64>, ImportError> {
        let axes = match ints(node, "axes") {
            Some(axes) => axes.to_vec(),
            None => self.constants.integers(input(node, 1)?)?,
        };
        if axes.len() > SHAPE_AXES_MAX {
            return Err(ImportError::node(node, WRONG_AXES));
        }
        Ok(axes)
    }

    /// The axes that a node goes over, of those of one example, in order.
    pub(super) fn axes_of(&self, node: &NodeProto, flow: &Flow<'_>) -> Result<Vec<usize>, ImportError> {
        let axes = self.given_axes(node)?;
        positive(&axes, flow.lengths.len() + 1).ok_or_else(|| ImportError::node(node, WRONG_AXES))
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
                let of = node.input.first()?;
                let shape = match flow.turned {
                    _ if of == flow.value => flow.lengths.clone(),
                    // Of the image before it was turned.
                    Some(shape) if self.is_turned_from(of, flow.value) => shape.to_vec(),
                    _ => return None,
                };
                let shape: Vec<i64> =
                    std::iter::once(-1).chain(shape.into_iter().map(|length| length as i64)).collect();
                // From the axis `start` to before `end`; a negative one counts from the end.
                let rank = shape.len() as i64;
                let bound = |axis: i64| {
                    let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
                    axis.clamp(0, rank) as usize
                };
                shape.get(bound(int(node, "start", 0))..bound(int(node, "end", rank)))?.to_vec()
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

    /// Whether a value comes of another one by a transpose.
    fn is_turned_from(&self, from: &str, value: &str) -> bool {
        self.graph.node.iter().any(|node| {
            operator(node) == "Transpose"
                && node.output.first().is_some_and(|output| output == value)
                && node.input.first().is_some_and(|input| input == from)
        })
    }

    /// Keras's images lie as height, width, channels: they are turned before the first convolution, and back
    /// before they become a vector.
    pub(super) fn transpose(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let order = ints(node, "perm").unwrap_or_default();
        let axes = order
            .split_first()
            .filter(|(first, _)| **first == 0)
            .and_then(|(_, rest)| positive_in_order(rest));
        let axes = axes.filter(|axes| axes.len() == way.flow.lengths.len());
        let axes = axes.ok_or_else(|| {
            ImportError::node(node, "it turns the axis of the examples, or other than its axes")
        })?;
        let lengths: Vec<usize> = axes.iter().map(|&axis| way.flow.lengths[axis]).collect();
        let moved = axes.iter().copied().filter(|&axis| way.flow.lengths[axis] != 1);
        if moved.is_sorted() {
            way.flow.lengths = lengths;
            way.go(output_of(node)?);
            return Ok(());
        }
        match (way.flow.shape, way.flow.turned, &axes[..]) {
            // Read as height, width, channels.
            (Shape::Image { channels: height, height: width, width: channels }, None, [2, 0, 1])
                if way.is_at_the_beginning() =>
            {
                self.begin_with_image([channels, height, width].map(|length| length as u32));
                self.notes.push(TURNED.to_owned());
                way.go_to(output_of(node)?, Shape::Image { channels, height, width });
                Ok(())
            }
            (Shape::Image { channels, height, width }, None, [1, 2, 0]) if way.flow.lengths.len() == 3 => {
                way.go(output_of(node)?);
                way.flow.lengths = lengths;
                way.flow.turned = Some([channels, height, width]);
                Ok(())
            }
            (shape @ Shape::Image { .. }, Some(_), [2, 0, 1]) if way.flow.lengths.len() == 3 => {
                way.go_to(output_of(node)?, shape);
                Ok(())
            }
            _ => Err(ImportError::node(node, "it turns its values in a way that belongs to no layer")),
        }
    }
}

/// The lengths that a node gives an example, in which one may be -1, for what is left, and 0 takes a length over;
/// `None` if they do not hold the example's values.
fn resolved(lengths: &[i64], flow: &Flow<'_>, allows_zero: bool) -> Option<Vec<usize>> {
    let values = flow.shape.len();
    let taken: Option<Vec<Option<usize>>> = lengths
        .iter()
        .enumerate()
        .map(|(axis, &length)| match length {
            -1 => Some(None),
            0 if !allows_zero => flow.lengths.get(axis).map(|&length| Some(length)),
            length => usize::try_from(length).ok().filter(|&length| length > 0).map(Some),
        })
        .collect();
    let taken = taken?;
    let known = taken.iter().flatten().try_fold(1_usize, |product, &length| product.checked_mul(length))?;
    let left = match taken.iter().filter(|length| length.is_none()).count() {
        0 => 1,
        1 => values.checked_div(known)?,
        _ => return None,
    };
    let lengths: Vec<usize> = taken.into_iter().map(|length| length.unwrap_or(left)).collect();
    (known.checked_mul(left) == Some(values)).then_some(lengths)
}

/// Axes of one example, in order, of those of a value with `rank` axes, of which the first is that of the examples;
/// `None` if that is among them, or one is there twice.
fn positive(axes: &[i64], rank: usize) -> Option<Vec<usize>> {
    let rank = i64::try_from(rank).ok()?;
    let of_example = |&axis: &i64| {
        let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
        (1..rank).contains(&axis).then_some(axis as usize - 1)
    };
    let mut axes = axes.iter().map(of_example).collect::<Option<Vec<usize>>>()?;
    axes.sort_unstable();
    axes.windows(2).all(|pair| pair[0] < pair[1]).then_some(axes)
}

/// The axes of one example in the order that a transpose gives them.
fn positive_in_order(axes: &[i64]) -> Option<Vec<usize>> {
    let rank = axes.len() + 1;
    positive(axes, rank)?;
    axes.iter().map(|&axis| usize::try_from(axis - 1).ok()).collect()
}
