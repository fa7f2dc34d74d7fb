//! Convolutions and pooling.

use model::{Activation, Conv2dSpec, LayerSpec, Padding, PoolSpec, Shape, WINDOW_MAX};

use super::super::ImportError;
use super::super::constants::{Floats, int, ints, text};
use super::super::error::operator;
use super::super::walk::{Walk, output_of};
use super::super::way::Way;
use super::dense::bias_of;
use super::input;
use crate::proto::NodeProto;

impl<'a> Walk<'a> {
    pub(super) fn conv(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let Shape::Image { channels: channels_in, height, width } = way.flow.shape else {
            return Err(ImportError::node(node, "it sees no image"));
        };
        let weight = self.constants.floats(input(node, 1)?)?;
        let &[channels, inputs, rows, columns] = &weight.shape[..] else {
            let problem = "its weights have other than four axes; Shoal has convolutions of images";
            return Err(ImportError::node(node, problem));
        };
        let groups = int(node, "group", 1);
        if rows != columns {
            let problem = format!("its windows are {rows}x{columns}; Shoal's are square");
            return Err(ImportError::node(node, problem));
        }
        if groups < 1 || inputs.checked_mul(groups as usize) != Some(channels_in) || channels == 0 {
            let problem =
                format!("its weights see {inputs} channels in {groups} groups, but it sees {channels_in}");
            return Err(ImportError::node(node, problem));
        }
        let stride = window_setting(node, "strides", 1)?;
        if window_setting(node, "dilations", 1)? != 1 {
            return Err(ImportError::node(node, "its windows have holes (dilations); Shoal's have none"));
        }
        let kernel = window(node, rows)?;
        let padding = padding(node, kernel, stride, [height, width])?;
        let count = |length: usize| windows(length, kernel, stride, padding);
        let (Some(rows), Some(columns)) = (count(height), count(width)) else {
            return Err(ImportError::node(node, "its windows are larger than the image"));
        };
        let (bias, value) = self.conv_bias(node, channels)?;
        let bias = bias_of(node, bias, channels)?;
        self.keep(way, [("weight", weight), ("bias", bias)])?;
        let spec = Conv2dSpec {
            channels: u32::try_from(channels).unwrap_or(u32::MAX),
            kernel,
            stride,
            padding,
            groups: groups as u32,
            activation: Activation::None,
            initializer: None,
        };
        self.push(way, LayerSpec::Conv2d(spec))?;
        way.go_to(value, Shape::Image { channels, height: rows, width: columns });
        Ok(())
    }

    /// The bias of a convolution, which may be an `Add` of one number for each channel, and the value after it.
    fn conv_bias(
        &mut self,
        node: &'a NodeProto,
        channels: usize,
    ) -> Result<(Option<Floats>, &'a str), ImportError> {
        let value = output_of(node)?;
        if let Some(bias) = node.input.get(2).filter(|bias| !bias.is_empty()) {
            return Ok((Some(self.constants.floats(bias)?), value));
        }
        let Some(sum) = self.only_taker(value).filter(|node| operator(node) == "Add") else {
            return Ok((None, value));
        };
        let Some(added) = sum.input.iter().find(|input| self.constants.has(input)) else {
            return Ok((None, value));
        };
        let added = self.constants.floats(added)?;
        match added.shape[..] {
            [1, of, 1, 1] | [of, 1, 1] if of == channels => {
                self.mark(sum)?;
                Ok((Some(added), output_of(sum)?))
            }
            _ => Ok((None, value)),
        }
    }

    pub(super) fn pool(
        &mut self,
        node: &'a NodeProto,
        way: &mut Way<'a>,
        layer: fn(PoolSpec) -> LayerSpec,
    ) -> Result<(), ImportError> {
        let Shape::Image { channels, height, width } = way.flow.shape else {
            return Err(ImportError::node(node, "it sees no image"));
        };
        let size = window_setting(node, "kernel_shape", 0)?;
        let stride = window_setting(node, "strides", 1)?;
        let is_padded = ints(node, "pads").is_some_and(|pads| pads.iter().any(|&pad| pad != 0));
        let fits = |length: usize| windows(length, size, stride, Padding::Valid);
        let (Some(rows), Some(columns)) = (fits(height), fits(width)) else {
            return Err(ImportError::node(node, "its windows are larger than the image"));
        };
        let is_whole = |length: usize| (length - size as usize).is_multiple_of(stride as usize);
        let rounds_up = int(node, "ceil_mode", 0) != 0 && !(is_whole(height) && is_whole(width));
        // "Same" padding is none where the windows fit exactly.
        let is_same = text(node, "auto_pad").starts_with(b"SAME")
            && !(is_whole(height) && is_whole(width) && size == stride);
        if is_padded || rounds_up || is_same || window_setting(node, "dilations", 1)? != 1 {
            let problem = "it has padding, partial windows or holes; Shoal's pooling has none";
            return Err(ImportError::node(node, problem));
        }
        self.push(way, layer(PoolSpec { size, stride: (stride != size).then_some(stride), padding: Padding::Valid }))?;
        way.go_to(output_of(node)?, Shape::Image { channels, height: rows, width: columns });
        Ok(())
    }

    pub(super) fn global_pool(
        &mut self,
        node: &'a NodeProto,
        way: &mut Way<'a>,
        layer: LayerSpec,
    ) -> Result<(), ImportError> {
        let Shape::Image { channels, .. } = way.flow.shape else {
            return Err(ImportError::node(node, "it sees no image"));
        };
        self.push(way, layer)?;
        way.go_to(output_of(node)?, Shape::Vector(channels));
        Ok(())
    }

    /// The mean over height and width is a global pool.
    pub(super) fn reduce_mean(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let axes = match ints(node, "axes") {
            Some(axes) => axes.to_vec(),
            None => self.constants.integers(input(node, 1)?)?,
        };
        if !matches!(axes[..], [2, 3] | [-2, -1] | [3, 2] | [-1, -2]) {
            return Err(ImportError::node(node, "it is no mean over height and width"));
        }
        self.global_pool(node, way, LayerSpec::GlobalAveragePool)
    }
}

/// A setting of windows that is the same along both axes.
fn window_setting(node: &NodeProto, name: &str, default: i64) -> Result<u32, ImportError> {
    let value = match ints(node, name) {
        None => default,
        Some(&[one, other]) if one == other => one,
        Some(other) => {
            let problem = format!(
                "its {name} are {:?}; Shoal's are the same along both axes",
                &other[..other.len().min(4)]
            );
            return Err(ImportError::node(node, problem));
        }
    };
    window(node, usize::try_from(value).unwrap_or(0))
}

/// A size of windows in its range.
fn window(node: &NodeProto, size: usize) -> Result<u32, ImportError> {
    match u32::try_from(size) {
        Ok(size) if (1..=WINDOW_MAX).contains(&size) => Ok(size),
        _ => {
            let problem = format!("{size} is no size or distance of windows; 1 to {WINDOW_MAX} are");
            Err(ImportError::node(node, problem))
        }
    }
}

/// The padding of a convolution, if Shoal has it.
fn padding(node: &NodeProto, kernel: u32, stride: u32, image: [usize; 2]) -> Result<Padding, ImportError> {
    let (kernel, stride) = (kernel as usize, stride as usize);
    let same = |length: usize| {
        let both = ((length.div_ceil(stride) - 1) * stride + kernel).saturating_sub(length);
        [(both / 2) as i64, (both - both / 2) as i64]
    };
    let ([top, bottom], [left, right]) = (same(image[0]), same(image[1]));
    let is_even = top == bottom && left == right;
    match text(node, "auto_pad") {
        b"" | b"NOTSET" => {}
        b"VALID" => return Ok(Padding::Valid),
        b"SAME_UPPER" => return Ok(Padding::Same),
        b"SAME_LOWER" if is_even => return Ok(Padding::Same),
        other => {
            let shown = String::from_utf8_lossy(&other[..other.len().min(20)]);
            let problem = format!("its auto_pad is {shown}; Shoal has NOTSET, VALID and SAME_UPPER");
            return Err(ImportError::node(node, problem));
        }
    }
    let pads = ints(node, "pads").unwrap_or(&[0; 4]);
    match pads {
        [0, 0, 0, 0] => Ok(Padding::Valid),
        &[one, two, three, four] if [two, three, four] == [one; 3] && (1..kernel as i64).contains(&one) => {
            Ok(Padding::Number(one as u32))
        }
        pads if pads == [top, left, bottom, right] => Ok(Padding::Same),
        _ => {
            let problem = format!(
                "its pads {:?} are neither the same on each side nor \"same\"",
                &pads[..pads.len().min(4)]
            );
            Err(ImportError::node(node, problem))
        }
    }
}

/// The number of windows over `length` places.
fn windows(length: usize, size: u32, stride: u32, padding: Padding) -> Option<usize> {
    let (size, stride) = (size as usize, stride as usize);
    let both = match padding {
        Padding::Valid => 0,
        Padding::Number(places) => 2 * places as usize,
        Padding::Same => return Some(length.div_ceil(stride)),
    };
    Some((length + both).checked_sub(size)? / stride + 1)
}
