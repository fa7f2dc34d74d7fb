//! Convolutions and pooling.

use model::{Activation, Conv2dSpec, LayerSpec, Padding, PoolSpec, Shape, WINDOW_MAX};

use super::super::ImportError;
use super::super::constants::{Floats, float, int, ints, text, transposed};
use super::super::error::{operator, shown};
use super::super::walk::{Walk, output_of};
use super::super::way::Way;
use super::dense::bias_of;
use super::input;
use crate::proto::NodeProto;

impl<'a> Walk<'a> {
    pub(super) fn conv(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        if let (Shape::Vector(values), &[channels, 1, 1]) = (way.flow.shape, &way.flow.lengths[..])
            && values == channels
        {
            return self.conv_of_one_place(node, way, channels);
        }
        let [channels_in, height, width] = way.image(node)?;
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
        let windows = windows(node, [height, width], [kernel, stride], std::mem::take(&mut way.pads))?;
        let padding = padding(node, [height, width], [kernel, stride], windows)?;
        let [rows, columns] = windows.map(|along| along.count);
        let whole = [kernel as usize; 2] == [height, width] && [rows, columns] == [1, 1];
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
        way.sees_all = whole && padding == Padding::Valid && groups == 1;
        way.go_to(value, Shape::Image { channels, height: rows, width: columns });
        Ok(())
    }

    /// A convolution behind a global pool, which is a dense layer.
    fn conv_of_one_place(
        &mut self,
        node: &'a NodeProto,
        way: &mut Way<'a>,
        channels: usize,
    ) -> Result<(), ImportError> {
        let weight = self.constants.floats(input(node, 1)?)?;
        let outputs = match weight.shape[..] {
            [outputs, inputs, 1, 1] if inputs == channels && int(node, "group", 1) == 1 => outputs,
            _ => {
                return Err(ImportError::node(
                    node,
                    "it sees one place, but its windows have more, or groups",
                ));
            }
        };
        if pads(node)? != [0; 4] || window_setting(node, "strides", 1)? != 1 || way.pads != [0; 4] {
            return Err(ImportError::node(node, "it sees one place, but has padding or a stride"));
        }
        let weight = Floats { shape: vec![channels, outputs], values: transposed(&weight.values, channels) };
        let (bias, value) = self.conv_bias(node, outputs)?;
        way.flow.lengths = vec![channels];
        self.dense(node, way, weight, bias)?;
        way.go(value);
        way.flow.lengths = vec![outputs, 1, 1];
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
        let [channels, height, width] = way.image(node)?;
        let size = window_setting(node, "kernel_shape", 0)?;
        let stride = window_setting(node, "strides", 1)?;
        if window_setting(node, "dilations", 1)? != 1 {
            return Err(ImportError::node(node, "its windows have holes (dilations); Shoal's have none"));
        }
        let (lengths, window) = ([height, width], [size, stride]);
        let zeros = std::mem::take(&mut way.pads);
        let is_largest = operator(node) == "MaxPool";
        if zeros != [0; 4] && !(is_largest && way.is_nonnegative()) {
            let problem = "it sees zeros around the image (Pad), which Shoal's pooling leaves out";
            return Err(ImportError::node(node, problem));
        }
        let windows = windows(node, lengths, window, zeros)?;
        let padding = padding(node, lengths, window, windows)?;
        let is_padded = pads(node)? != [0; 4] || text(node, "auto_pad").starts_with(b"SAME");
        let counts_padding = int(node, "count_include_pad", 0) != 0 && !is_largest && is_padded;
        if counts_padding && padding != Padding::Valid {
            let problem = "its means count the padding as zeros (count_include_pad); Shoal's are those of the image alone";
            return Err(ImportError::node(node, problem));
        }
        let [rows, columns] = windows.map(|along| along.count);
        self.push(way, layer(PoolSpec { size, stride: (stride != size).then_some(stride), padding }))?;
        way.go_to(output_of(node)?, Shape::Image { channels, height: rows, width: columns });
        Ok(())
    }

    pub(super) fn global_pool(
        &mut self,
        node: &'a NodeProto,
        way: &mut Way<'a>,
        layer: LayerSpec,
    ) -> Result<(), ImportError> {
        if let (Shape::Vector(values), &[channels, 1, 1]) = (way.flow.shape, &way.flow.lengths[..])
            && values == channels
        {
            way.go(output_of(node)?);
            return Ok(());
        }
        let [channels, ..] = way.image(node)?;
        self.push(way, layer)?;
        way.go_to(output_of(node)?, Shape::Vector(channels));
        way.flow.lengths = vec![channels, 1, 1];
        Ok(())
    }

    /// The mean or the maximum over height and width is a global pool.
    pub(super) fn reduce(
        &mut self,
        node: &'a NodeProto,
        way: &mut Way<'a>,
        layer: LayerSpec,
    ) -> Result<(), ImportError> {
        let axes = self.axes_of(node, &way.flow)?;
        let Shape::Image { channels, .. } = way.flow.shape else {
            return Err(ImportError::node(node, "it goes over values that are no image"));
        };
        // Height and width may have become one axis, and the axis of a single channel may be left out or elsewhere.
        let rank = way.flow.lengths.len();
        let (of_channels, places): (usize, Vec<usize>) = match way.flow.turned {
            None => (0, (1..rank).collect()),
            Some(_) => (rank.saturating_sub(1), (0..rank.saturating_sub(1)).collect()),
        };
        if axes != places || way.flow.lengths.get(of_channels) != Some(&channels) {
            return Err(ImportError::node(node, "it does not go over height and width"));
        }
        let is_kept = int(node, "keepdims", 1) != 0;
        let lengths = way.flow.lengths.iter().enumerate();
        let lengths: Vec<usize> = lengths
            .filter(|(axis, _)| is_kept || !axes.contains(axis))
            .map(|(axis, &length)| if axes.contains(&axis) { 1 } else { length })
            .collect();
        self.push(way, layer)?;
        way.go_to(output_of(node)?, Shape::Vector(channels));
        way.flow.lengths = lengths;
        Ok(())
    }

    /// Zeros around an image, which become a part of the next convolution or pool.
    pub(super) fn pad(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let wrong = |problem: &str| ImportError::node(node, problem);
        let Shape::Image { .. } = way.flow.shape else { return Err(wrong("it sees no image")) };
        if !matches!(text(node, "mode"), b"" | b"constant") {
            return Err(wrong("its mode is not constant; Shoal's images have zeros around them"));
        }
        let value = match node.input.get(2).filter(|value| !value.is_empty()) {
            Some(value) => self.constants.number(value),
            None => Some(float(node, "value", 0.0)),
        };
        if value != Some(0.0) {
            return Err(wrong("it does not add zeros"));
        }
        if node.input.get(3).is_some_and(|axes| !axes.is_empty()) {
            return Err(wrong("it names the axes of its pads; export the network with operator set 17"));
        }
        let given = match ints(node, "pads") {
            Some(pads) => pads.to_vec(),
            None => {
                let pads = input(node, 1)?;
                if !self.constants.has(pads) {
                    return Err(wrong(
                        "its pads are computed; simplify the graph, or export it by another exporter",
                    ));
                }
                self.constants.integers(pads)?
            }
        };
        let is_turned = way.flow.turned.is_some();
        let sides = match (&given[..], is_turned) {
            (&[0, 0, above, left, 0, 0, below, right], false) => [above, left, below, right],
            (&[0, above, left, 0, 0, below, right, 0], true) => [above, left, below, right],
            _ => return Err(wrong("it adds to other axes than height and width")),
        };
        if way.flow.lengths.len() != 3 || sides.iter().any(|side| !(0..=i64::from(WINDOW_MAX)).contains(side))
        {
            return Err(wrong(&format!("only up to {WINDOW_MAX} zeros can be added on a side of an image")));
        }
        way.pads = std::array::from_fn(|side| way.pads[side] + sides[side] as usize);
        way.go(output_of(node)?);
        Ok(())
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

/// How windows of a size and stride lie over the places of an image, along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Along {
    /// Places added before the image.
    before: usize,
    /// The number of windows.
    count: usize,
}

impl Along {
    /// With places added before and behind; `None` if no window fits.
    fn padded(length: usize, [size, stride]: [usize; 2], [before, behind]: [usize; 2]) -> Option<Along> {
        let count = length.checked_add(before)?.checked_add(behind)?.checked_sub(size)? / stride + 1;
        Some(Along { before, count })
    }

    /// As Shoal's padding has it.
    fn of(padding: Padding, length: usize, [size, stride]: [usize; 2]) -> Option<Along> {
        let before_and_behind = match padding {
            Padding::Valid => [0; 2],
            Padding::Number(places) => [places as usize; 2],
            Padding::Same => same(length, [size, stride]),
        };
        Along::padded(length, [size, stride], before_and_behind)
    }
}

/// The padding that makes as many windows as the length divided by the stride, rounded up: the smaller half, and the
/// other one.
fn same(length: usize, [size, stride]: [usize; 2]) -> [usize; 2] {
    let covered = (length.div_ceil(stride) - 1).saturating_mul(stride).saturating_add(size);
    let both = covered.saturating_sub(length);
    [both / 2, both - both / 2]
}

/// The windows of a node over an image of `lengths`, height and width, with zeros around it.
fn windows(
    node: &NodeProto,
    lengths: [usize; 2],
    [size, stride]: [u32; 2],
    zeros: [usize; 4],
) -> Result<[Along; 2], ImportError> {
    let window = [size as usize, stride as usize];
    let own = pads(node)?;
    let around = |axis: usize| -> Result<[usize; 2], ImportError> {
        let [smaller, larger] = same(lengths[axis], window);
        let [before, behind] = match text(node, "auto_pad") {
            b"" | b"NOTSET" => [own[axis], own[axis + 2]],
            b"VALID" => [0; 2],
            b"SAME_UPPER" | b"SAME_LOWER" if zeros != [0; 4] => {
                let problem = "it has zeros around the image (Pad) and padding of its own (auto_pad)";
                return Err(ImportError::node(node, problem));
            }
            b"SAME_UPPER" => [smaller, larger],
            b"SAME_LOWER" => [larger, smaller],
            other => {
                let shown = shown(&String::from_utf8_lossy(other));
                let problem =
                    format!("its auto_pad is {shown}; NOTSET, VALID, SAME_UPPER and SAME_LOWER are known");
                return Err(ImportError::node(node, problem));
            }
        };
        Ok([before + zeros[axis], behind + zeros[axis + 2]])
    };
    let along = |axis: usize| {
        let [before, behind] = around(axis)?;
        let whole = Along::padded(lengths[axis], window, [before, behind]);
        let whole = whole.ok_or_else(|| ImportError::node(node, "its windows are larger than the image"))?;
        if int(node, "ceil_mode", 0) == 0 {
            return Ok(whole);
        }
        // One more window that is not whole, if it begins in the image or before it.
        let partial = whole.count * window[1] < lengths[axis] + before
            && !(lengths[axis] + before + behind - window[0]).is_multiple_of(window[1]);
        Ok(Along { count: whole.count + usize::from(partial), ..whole })
    };
    Ok([along(0)?, along(1)?])
}

/// Shoal's padding with which windows lie as they do in a node.
fn padding(
    node: &NodeProto,
    lengths: [usize; 2],
    [size, stride]: [u32; 2],
    windows: [Along; 2],
) -> Result<Padding, ImportError> {
    let all = [Padding::Valid, Padding::Same].into_iter().chain((1..size).map(Padding::Number));
    let window = [size as usize, stride as usize];
    let fits = |&padding: &Padding| {
        (0..2).all(|axis| Along::of(padding, lengths[axis], window) == Some(windows[axis]))
    };
    all.into_iter().find(fits).ok_or_else(|| {
        let [rows, columns] = windows;
        let problem = format!(
            "it has {} by {} windows, the first {} above and {} left of the image; no padding of Shoal's does the same, \
             which is \"same\" or one number for all sides",
            rows.count, columns.count, rows.before, columns.before
        );
        ImportError::node(node, problem)
    })
}

/// The padding that a node has explicitly: above, left, below, right.
fn pads(node: &NodeProto) -> Result<[usize; 4], ImportError> {
    let given = ints(node, "pads").unwrap_or(&[0; 4]);
    let place = |&pad: &i64| usize::try_from(pad).ok().filter(|&pad| pad <= WINDOW_MAX as usize);
    let pads: Option<Vec<usize>> = given.iter().map(place).collect();
    pads.and_then(|pads| <[usize; 4]>::try_from(pads).ok()).ok_or_else(|| {
        let problem =
            format!("its pads {:?} are not four numbers of 0 to {WINDOW_MAX}", &given[..given.len().min(4)]);
        ImportError::node(node, problem)
    })
}
