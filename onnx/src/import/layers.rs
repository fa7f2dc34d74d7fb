//! One node, or a few that belong together, as a layer.

use model::{
    Activation, Conv2dSpec, DenseSpec, DropoutSpec, LayerSpec, Padding, PoolSpec, Shape, UNITS_MAX,
    WINDOW_MAX,
};

use super::ImportError;
use super::constants::{Floats, attribute, float, int, ints, text, transposed};
use super::error::operator;
use super::lengths;
use super::walk::{Flow, Walk, output_of};
use crate::proto::NodeProto;

/// What layer and batch normalization add to a variance, as `model` does.
pub(super) const EPSILON: f32 = 1e-5;
/// What a leaky relu multiplies negative sums by, as `model` does.
const LEAK: f32 = 0.01;
/// How near a constant must be to the one of a formula.
const NEAR: f32 = 1e-3;
/// The operators that are read, for the message about one that is not.
const OPERATORS: &str = "Gemm, MatMul, Add, Conv, BatchNormalization, LayerNormalization, Relu, LeakyRelu, Tanh, \
                         Sigmoid, Gelu, Softplus, MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool, ReduceMean, \
                         Flatten, Reshape, Squeeze, Transpose, Dropout, Identity, Cast, Gather and Softmax";
/// The most values that a length in a formula of shapes stands for.
const SHAPE_AXES_MAX: usize = 8;
/// Nodes that may stand between the last layer and the answer.
const ANSWER_NODES_MAX: usize = 8;
/// Nodes that a computed shape goes through.
const SHAPE_NODES_MAX: usize = 16;

impl<'a> Walk<'a> {
    /// Takes the node, and those that belong to it, for a layer behind `flow`.
    pub(super) fn layer(
        &mut self,
        index: usize,
        flow: Flow<'a>,
        layers: &mut Vec<LayerSpec>,
        name: &str,
    ) -> Result<Flow<'a>, ImportError> {
        let node = &self.graph.node[index];
        self.mark(node)?;
        if node.domain.as_deref().is_some_and(|domain| !matches!(domain, "" | "ai.onnx")) {
            return Err(ImportError::node(node, "it is not one of ONNX's standard operators"));
        }
        let next = |shape| -> Result<Flow<'a>, ImportError> {
            Ok(Flow { value: output_of(node)?, shape, turned: flow.turned })
        };
        let own = format!("{name}.{}", layers.len());
        let function = match operator(node) {
            "Gemm" => return self.gemm(node, flow, layers, &own),
            "MatMul" => return self.matmul(node, flow, layers, &own),
            "Conv" => return self.conv(node, flow, layers, &own),
            "BatchNormalization" => return self.batch_norm(node, flow, layers, &own),
            "LayerNormalization" => return self.layer_norm(node, flow, layers, &own),
            "MaxPool" => return self.pool(node, flow, layers, LayerSpec::MaxPool),
            "AveragePool" => return self.pool(node, flow, layers, LayerSpec::AveragePool),
            "GlobalAveragePool" => return self.global_pool(node, flow, layers, LayerSpec::GlobalAveragePool),
            "GlobalMaxPool" => return self.global_pool(node, flow, layers, LayerSpec::GlobalMaxPool),
            "ReduceMean" => return self.reduce_mean(node, flow, layers),
            "Flatten" if int(node, "axis", 1) == 1 => return self.flatten(node, flow, layers),
            "Reshape" => return self.reshape(node, flow, layers),
            "Transpose" => return self.transpose(node, flow, layers),
            "Gather" => {
                let weight = self.constants.floats(input(node, 0)?)?;
                if int(node, "axis", 0) != 0 || input(node, 1)? != flow.value {
                    return Err(ImportError::node(
                        node,
                        "it picks something else than the vectors of an embedding",
                    ));
                }
                return self.embedding(flow, node, weight, layers, name);
            }
            "Dropout" => {
                let rate = self.dropout_rate(node)?;
                self.push(layers, LayerSpec::Dropout(DropoutSpec { rate }))?;
                return next(flow.shape);
            }
            // After a global pool, whose answer is a vector here.
            "Squeeze" if matches!(flow.shape, Shape::Vector(_)) => return next(flow.shape),
            "Identity" | "Cast" => return next(flow.shape),
            "Relu" => Activation::Relu,
            "LeakyRelu" => {
                let alpha = float(node, "alpha", LEAK);
                if (alpha - LEAK).abs() > NEAR * LEAK {
                    let problem = format!("its alpha is {alpha}; Shoal's leaky-relu has {LEAK}");
                    return Err(ImportError::node(node, problem));
                }
                Activation::LeakyRelu
            }
            "Tanh" => Activation::Tanh,
            "Sigmoid" => Activation::Sigmoid,
            "Softplus" => Activation::Softplus,
            "Gelu" if matches!(text(node, "approximate"), b"" | b"none") => Activation::Gelu,
            "Gelu" => {
                return Err(ImportError::node(
                    node,
                    "it is the approximate form; Shoal's gelu is the exact one",
                ));
            }
            "Add" | "Sub" | "Mul" | "Div" => {
                self.around(node, &flow, layers, &own_before(name, layers))?;
                return next(flow.shape);
            }
            _ => {
                let problem =
                    format!("there is no such layer; the operators that can be read are {OPERATORS}");
                return Err(ImportError::node(node, problem));
            }
        };
        self.push_activation(layers, function)?;
        next(flow.shape)
    }

    /// `x * sigmoid(x)` or `0.5 * x * (1 + erf(x / sqrt 2))`, with the name of its value.
    pub(super) fn activation_in_parts(
        &mut self,
        flow: &Flow<'a>,
        takers: &[usize],
    ) -> Result<Option<(Activation, &'a str)>, ImportError> {
        let &[one, other] = takers else { return Ok(None) };
        let (one, other) = (&self.graph.node[one], &self.graph.node[other]);
        for (gate, product) in [(one, other), (other, one)] {
            if operator(gate) == "Sigmoid" && self.is_product(product, flow.value, output_of(gate)?) {
                self.mark(gate)?;
                self.mark(product)?;
                return Ok(Some((Activation::Silu, output_of(product)?)));
            }
            if let Some((nodes, value)) = self.gelu(flow.value, gate, product)? {
                nodes.into_iter().try_for_each(|node| self.mark(node))?;
                return Ok(Some((Activation::Gelu, value)));
            }
        }
        Ok(None)
    }

    /// The nodes of a gelu of `x`, of which `inner` begins the error function and `outer` the product.
    fn gelu(
        &self,
        x: &str,
        inner: &'a NodeProto,
        outer: &'a NodeProto,
    ) -> Result<Option<(Vec<&'a NodeProto>, &'a str)>, ImportError> {
        const ROOT: f32 = std::f32::consts::SQRT_2;
        let is_scaled = self.is_by(inner, "Div", ROOT) || self.is_by(inner, "Mul", 1.0 / ROOT);
        let is_half = |node: &NodeProto| self.is_by(node, "Mul", 0.5) || self.is_by(node, "Div", 2.0);
        if !is_scaled {
            return Ok(None);
        }
        let Some(erf) = self.only_taker(output_of(inner)?).filter(|node| operator(node) == "Erf") else {
            return Ok(None);
        };
        let Some(sum) = self.only_taker(output_of(erf)?).filter(|node| self.is_by(node, "Add", 1.0)) else {
            return Ok(None);
        };
        let Some(last) = self.only_taker(output_of(sum)?) else { return Ok(None) };
        let mut nodes = vec![inner, erf, sum, outer];
        // (x * e) * 0.5, (x * 0.5) * e, or x * (e * 0.5).
        let value = if self.is_product(outer, x, output_of(sum)?) {
            let Some(half) = self.only_taker(output_of(outer)?).filter(|node| is_half(node)) else {
                return Ok(None);
            };
            nodes.push(half);
            output_of(half)?
        } else if is_half(outer) && self.is_product(last, output_of(outer)?, output_of(sum)?) {
            nodes.push(last);
            output_of(last)?
        } else if is_half(last) && self.is_product(outer, x, output_of(last)?) {
            nodes.push(last);
            output_of(outer)?
        } else {
            return Ok(None);
        };
        Ok(Some((nodes, value)))
    }

    /// Whether a node multiplies these two values.
    fn is_product(&self, node: &NodeProto, one: &str, other: &str) -> bool {
        let inputs: Vec<&str> = node.input.iter().map(String::as_str).collect();
        operator(node) == "Mul" && (inputs == [one, other] || inputs == [other, one])
    }

    /// Whether a node computes with this constant: `x / number`, or `x * number` either way round.
    fn is_by(&self, node: &NodeProto, name: &str, number: f32) -> bool {
        let is_number = |input: &String| {
            self.constants.has(input)
                && self.constants.floats(input).is_ok_and(|floats| match floats.values[..] {
                    [value] => (value - number).abs() <= NEAR * number,
                    _ => false,
                })
        };
        let at = if name == "Div" { 1 } else { 0 };
        operator(node) == name && node.input.iter().skip(at).any(is_number)
    }

    /// Arithmetic with a constant that is no layer: before the first, after the last, or on the sums of a dense
    /// layer, whose weights it then becomes a part of.
    fn around(
        &mut self,
        node: &'a NodeProto,
        flow: &Flow<'a>,
        layers: &[LayerSpec],
        before: &str,
    ) -> Result<(), ImportError> {
        const INPUTS: &str =
            "the file's standardization of the inputs is left out; the data's own takes its place";
        const UNITS: &str = "the file's units of the answers are left out; the data's own take their place";
        let constant = node.input.iter().find(|input| self.constants.has(input));
        let constant =
            constant.ok_or_else(|| ImportError::node(node, "it computes with two values of the graph"))?;
        let note = if layers.is_empty() {
            Some(INPUTS)
        } else if matches!(flow.shape, Shape::Vector(_)) && self.is_at_the_end(output_of(node)?) {
            Some(UNITS)
        } else {
            None
        };
        if let Some(note) = note {
            if !self.notes.iter().any(|other| other == note) {
                self.notes.push(note.to_owned());
            }
            return Ok(());
        }
        let floats = self.constants.floats(constant)?;
        let is_plain =
            matches!(layers.last(), Some(LayerSpec::Dense(dense)) if dense.activation == Activation::None);
        let columns = flow.shape.len();
        let is_row = floats.values.len() == columns || floats.values.len() == 1;
        let comes_first = node.input.first() == Some(constant);
        if !is_plain || !is_row || comes_first && matches!(operator(node), "Sub" | "Div") {
            let problem = "it computes with a constant, which is no layer; only before the first layer, after the last, \
                           or on the sums of a dense layer can that be read";
            return Err(ImportError::node(node, problem));
        }
        let at = |column: usize| floats.values[column % floats.values.len()];
        let is_factor = matches!(operator(node), "Mul" | "Div");
        let compute = |value: &mut f32, column: usize| match operator(node) {
            "Mul" => *value *= at(column),
            "Div" => *value /= at(column),
            "Sub" => *value -= at(column),
            _ => *value += at(column),
        };
        for part in ["weight", "bias"] {
            if let Some(parameter) =
                self.parameters.get_mut(&format!("{before}.{part}")).filter(|_| is_factor || part == "bias")
            {
                for (i, value) in parameter.values.iter_mut().enumerate() {
                    compute(value, i % columns);
                }
            }
        }
        Ok(())
    }

    /// Whether nothing but arithmetic with constants follows a value.
    fn is_at_the_end(&self, value: &'a str) -> bool {
        let mut value = value;
        for _ in 0..ANSWER_NODES_MAX {
            let takers = self.takers(value);
            let &[only] = &takers[..] else { return takers.is_empty() };
            let node = &self.graph.node[only];
            let goes_on = matches!(operator(node), "Add" | "Sub" | "Mul" | "Div") && self.has_constant(node)
                || matches!(operator(node), "Identity" | "Cast");
            match node.output.first().filter(|_| goes_on) {
                Some(output) => value = output,
                None => return false,
            }
        }
        false
    }

    fn gemm(
        &mut self,
        node: &'a NodeProto,
        flow: Flow<'a>,
        layers: &mut Vec<LayerSpec>,
        name: &str,
    ) -> Result<Flow<'a>, ImportError> {
        if float(node, "alpha", 1.0) != 1.0 || float(node, "beta", 1.0) != 1.0 || int(node, "transA", 0) != 0
        {
            return Err(ImportError::node(
                node,
                "only alpha = 1, beta = 1 and transA = 0 make a dense layer",
            ));
        }
        let mut weight = self.constants.floats(input(node, 1)?)?;
        let &[rows, columns] = &weight.shape[..] else {
            return Err(ImportError::node(node, "its weights are no matrix"));
        };
        if int(node, "transB", 0) != 0 {
            weight = Floats { shape: vec![columns, rows], values: transposed(&weight.values, columns) };
        }
        let bias = match node.input.get(2).filter(|bias| !bias.is_empty()) {
            Some(bias) => Some(self.constants.floats(bias)?),
            None => None,
        };
        self.dense(node, flow, layers, name, (weight, bias), output_of(node)?)
    }

    fn matmul(
        &mut self,
        node: &'a NodeProto,
        flow: Flow<'a>,
        layers: &mut Vec<LayerSpec>,
        name: &str,
    ) -> Result<Flow<'a>, ImportError> {
        if input(node, 0)? != flow.value {
            return Err(ImportError::node(node, "its first input is not the value before it"));
        }
        let weight = self.constants.floats(input(node, 1)?)?;
        let value = output_of(node)?;
        let sum = self.only_taker(value).filter(|node| operator(node) == "Add");
        let bias = sum.and_then(|sum| Some((sum, sum.input.iter().find(|input| self.constants.has(input))?)));
        let Some((sum, bias)) = bias else {
            return self.dense(node, flow, layers, name, (weight, None), value);
        };
        self.mark(sum)?;
        let bias = Some(self.constants.floats(bias)?);
        self.dense(node, flow, layers, name, (weight, bias), output_of(sum)?)
    }

    fn dense(
        &mut self,
        node: &'a NodeProto,
        flow: Flow<'a>,
        layers: &mut Vec<LayerSpec>,
        name: &str,
        (mut weight, bias): (Floats, Option<Floats>),
        value: &'a str,
    ) -> Result<Flow<'a>, ImportError> {
        let Shape::Vector(values) = flow.shape else {
            return Err(ImportError::node(node, "it sees an image; flatten it first"));
        };
        let &[inputs, outputs] = &weight.shape[..] else {
            return Err(ImportError::node(node, "its weights are no matrix"));
        };
        if inputs != values || outputs == 0 || outputs > UNITS_MAX as usize {
            let problem = format!("its weights are {inputs} by {outputs}, but it sees {values} values");
            return Err(ImportError::node(node, problem));
        }
        if let Some([channels, height, width]) = flow.turned {
            // Rows in the order height, width, channels become rows in Shoal's order.
            let mut values = Vec::with_capacity(weight.values.len());
            for channel in 0..channels {
                for place in 0..height * width {
                    let row = place * channels + channel;
                    values.extend_from_slice(&weight.values[row * outputs..(row + 1) * outputs]);
                }
            }
            weight.values = values;
        }
        let bias = self.bias(node, bias, outputs)?;
        self.keep(name, vec![("weight", weight), ("bias", bias)]);
        let spec = DenseSpec { units: outputs as u32, activation: Activation::None, initializer: None };
        self.push(layers, LayerSpec::Dense(spec))?;
        Ok(Flow { value, shape: Shape::Vector(outputs), turned: None })
    }

    /// A bias for each output, which may be written as one row, one number, or not at all.
    fn bias(&self, node: &NodeProto, bias: Option<Floats>, outputs: usize) -> Result<Floats, ImportError> {
        let values = match bias.map(|bias| bias.values) {
            None => vec![0.0; outputs],
            Some(values) if values.len() == outputs => values,
            Some(values) if values.len() == 1 => vec![values[0]; outputs],
            Some(values) => {
                let problem = format!("it has {} biases for {outputs} outputs", values.len());
                return Err(ImportError::node(node, problem));
            }
        };
        Ok(Floats { shape: vec![outputs], values })
    }

    fn conv(
        &mut self,
        node: &'a NodeProto,
        flow: Flow<'a>,
        layers: &mut Vec<LayerSpec>,
        name: &str,
    ) -> Result<Flow<'a>, ImportError> {
        let Shape::Image { channels: channels_in, height, width } = flow.shape else {
            return Err(ImportError::node(node, "it sees no image"));
        };
        let weight = self.constants.floats(input(node, 1)?)?;
        let &[channels, inputs, rows, columns] = &weight.shape[..] else {
            return Err(ImportError::node(
                node,
                "its weights have other than four axes; Shoal has convolutions of images",
            ));
        };
        let groups = int(node, "group", 1);
        if rows != columns {
            return Err(ImportError::node(
                node,
                format!("its windows are {rows}x{columns}; Shoal's are square"),
            ));
        }
        if groups < 1 || inputs.checked_mul(groups as usize) != Some(channels_in) || channels == 0 {
            let problem =
                format!("its weights see {inputs} channels in {groups} groups, but it sees {channels_in}");
            return Err(ImportError::node(node, problem));
        }
        let stride = self.window_setting(node, "strides", 1)?;
        if self.window_setting(node, "dilations", 1)? != 1 {
            return Err(ImportError::node(node, "its windows have holes (dilations); Shoal's have none"));
        }
        let kernel = window(node, rows)?;
        let padding = padding(node, kernel, stride, [height, width])?;
        let count = |length: usize| windows(length, kernel, stride, padding);
        let (Some(rows), Some(columns)) = (count(height), count(width)) else {
            return Err(ImportError::node(node, "its windows are larger than the image"));
        };
        // A bias of its own, or an Add of one number for each channel.
        let mut value = output_of(node)?;
        let mut bias = match node.input.get(2).filter(|bias| !bias.is_empty()) {
            Some(bias) => Some(self.constants.floats(bias)?),
            None => None,
        };
        if bias.is_none()
            && let Some(sum) = self.only_taker(value).filter(|node| operator(node) == "Add")
            && let Some(added) = sum.input.iter().find(|input| self.constants.has(input))
        {
            let added = self.constants.floats(added)?;
            let is_by_channel = match &added.shape[..] {
                [1, channels_added, 1, 1] | [channels_added, 1, 1] => *channels_added == channels,
                _ => false,
            };
            if is_by_channel {
                self.mark(sum)?;
                value = output_of(sum)?;
                bias = Some(added);
            }
        }
        let bias = self.bias(node, bias, channels)?;
        self.keep(name, vec![("weight", weight), ("bias", bias)]);
        let spec = Conv2dSpec {
            channels: u32::try_from(channels).unwrap_or(u32::MAX),
            kernel,
            stride,
            padding,
            groups: groups as u32,
            activation: Activation::None,
            initializer: None,
        };
        self.push(layers, LayerSpec::Conv2d(spec))?;
        Ok(Flow { value, shape: Shape::Image { channels, height: rows, width: columns }, turned: None })
    }

    fn batch_norm(
        &mut self,
        node: &'a NodeProto,
        flow: Flow<'a>,
        layers: &mut Vec<LayerSpec>,
        name: &str,
    ) -> Result<Flow<'a>, ImportError> {
        let channels = match flow.shape {
            Shape::Vector(values) => values,
            Shape::Image { channels, .. } => channels,
        };
        if int(node, "training_mode", 0) != 0 {
            return Err(ImportError::node(node, "it is in training mode; export the network for inference"));
        }
        let mut parts = Vec::new();
        for (at, part) in ["gain", "bias", "running_mean", "running_variance"].into_iter().enumerate() {
            let floats = self.constants.floats(input(node, at + 1)?)?;
            if floats.shape != [channels] {
                let problem = format!("it has {:?} numbers for {channels} channels", floats.shape);
                return Err(ImportError::node(node, problem));
            }
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
        self.keep(name, parts);
        self.push(layers, LayerSpec::BatchNorm)?;
        Ok(Flow { value: output_of(node)?, ..flow })
    }

    fn layer_norm(
        &mut self,
        node: &'a NodeProto,
        flow: Flow<'a>,
        layers: &mut Vec<LayerSpec>,
        name: &str,
    ) -> Result<Flow<'a>, ImportError> {
        let axes = lengths(flow.shape).len() as i64;
        let axis = int(node, "axis", -1);
        if axis != 1 && axis != -axes {
            let problem = "it goes over a part of each example's values; Shoal's goes over all of them";
            return Err(ImportError::node(node, problem));
        }
        let epsilon = float(node, "epsilon", EPSILON);
        if (epsilon - EPSILON).abs() > NEAR * EPSILON {
            return Err(ImportError::node(node, format!("its epsilon is {epsilon}; Shoal's is {EPSILON}")));
        }
        let values = flow.shape.len();
        let gain = self.constants.floats(input(node, 1)?)?;
        let bias = match node.input.get(2).filter(|bias| !bias.is_empty()) {
            Some(bias) => self.constants.floats(bias)?,
            None => Floats { shape: vec![values], values: vec![0.0; values] },
        };
        if gain.values.len() != values || bias.values.len() != values {
            return Err(ImportError::node(
                node,
                format!("it has not one gain and bias for each of {values} values"),
            ));
        }
        let flat = |floats: Floats| Floats { shape: vec![values], ..floats };
        self.keep(name, vec![("gain", flat(gain)), ("bias", flat(bias))]);
        self.push(layers, LayerSpec::LayerNorm)?;
        Ok(Flow { value: output_of(node)?, ..flow })
    }

    fn pool(
        &mut self,
        node: &'a NodeProto,
        flow: Flow<'a>,
        layers: &mut Vec<LayerSpec>,
        layer: fn(PoolSpec) -> LayerSpec,
    ) -> Result<Flow<'a>, ImportError> {
        let Shape::Image { channels, height, width } = flow.shape else {
            return Err(ImportError::node(node, "it sees no image"));
        };
        let size = self.window_setting(node, "kernel_shape", 0)?;
        let stride = self.window_setting(node, "strides", 1)?;
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
        if is_padded || rounds_up || is_same || self.window_setting(node, "dilations", 1)? != 1 {
            let problem = "it has padding, partial windows or holes; Shoal's pooling has none";
            return Err(ImportError::node(node, problem));
        }
        self.push(layers, layer(PoolSpec { size, stride: (stride != size).then_some(stride) }))?;
        let shape = Shape::Image { channels, height: rows, width: columns };
        Ok(Flow { value: output_of(node)?, shape, turned: None })
    }

    fn global_pool(
        &mut self,
        node: &'a NodeProto,
        flow: Flow<'a>,
        layers: &mut Vec<LayerSpec>,
        layer: LayerSpec,
    ) -> Result<Flow<'a>, ImportError> {
        let Shape::Image { channels, .. } = flow.shape else {
            return Err(ImportError::node(node, "it sees no image"));
        };
        self.push(layers, layer)?;
        Ok(Flow { value: output_of(node)?, shape: Shape::Vector(channels), turned: None })
    }

    /// The mean over height and width is a global pool.
    fn reduce_mean(
        &mut self,
        node: &'a NodeProto,
        flow: Flow<'a>,
        layers: &mut Vec<LayerSpec>,
    ) -> Result<Flow<'a>, ImportError> {
        let axes = match ints(node, "axes") {
            Some(axes) => axes.to_vec(),
            None => self.constants.integers(input(node, 1)?)?,
        };
        if !matches!(axes[..], [2, 3] | [-2, -1] | [3, 2] | [-1, -2]) {
            return Err(ImportError::node(node, "it is no mean over height and width"));
        }
        self.global_pool(node, flow, layers, LayerSpec::GlobalAveragePool)
    }

    fn flatten(
        &mut self,
        node: &'a NodeProto,
        flow: Flow<'a>,
        layers: &mut Vec<LayerSpec>,
    ) -> Result<Flow<'a>, ImportError> {
        if let Shape::Image { .. } = flow.shape {
            self.push(layers, LayerSpec::Flatten)?;
        }
        Ok(Flow { value: output_of(node)?, shape: Shape::Vector(flow.shape.len()), turned: flow.turned })
    }

    /// To a vector, or, at the beginning, from a vector to an image.
    fn reshape(
        &mut self,
        node: &'a NodeProto,
        flow: Flow<'a>,
        layers: &mut Vec<LayerSpec>,
    ) -> Result<Flow<'a>, ImportError> {
        let shape = self.shape_value(input(node, 1)?, &flow, 0).ok_or_else(|| {
            ImportError::node(node, "its shape is neither a constant nor made of the shape of its input")
        })?;
        let values = flow.shape.len() as i64;
        match shape[..] {
            [_, rest] if rest == values || rest == -1 => return self.flatten(node, flow, layers),
            [_, channels, height, width]
                if layers.is_empty()
                    && channels.checked_mul(height).and_then(|of| of.checked_mul(width)) == Some(values) =>
            {
                let sizes = [channels, height, width].map(|length| u32::try_from(length).unwrap_or(0));
                if !sizes.contains(&0) {
                    self.begin_with_image(sizes);
                    let [channels, height, width] = sizes.map(|length| length as usize);
                    let shape = Shape::Image { channels, height, width };
                    return Ok(Flow { value: output_of(node)?, shape, turned: None });
                }
            }
            _ => {}
        }
        let problem =
            format!("it makes the shape {shape:?} of {values} values; only a vector can come of an image");
        Err(ImportError::node(node, problem))
    }

    /// The integers that a shape is, with -1 for the number of examples; `None` if they depend on anything
    /// else.
    fn shape_value(&self, name: &str, flow: &Flow<'_>, depth: usize) -> Option<Vec<i64>> {
        if self.constants.has(name) {
            return self.constants.integers(name).ok().filter(|values| values.len() <= SHAPE_AXES_MAX);
        }
        if depth == SHAPE_NODES_MAX {
            return None;
        }
        let node =
            self.graph.node.iter().find(|node| node.output.first().is_some_and(|output| output == name))?;
        let of = |at: usize| self.shape_value(node.input.get(at)?, flow, depth + 1);
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
    fn transpose(
        &mut self,
        node: &'a NodeProto,
        flow: Flow<'a>,
        layers: &mut [LayerSpec],
    ) -> Result<Flow<'a>, ImportError> {
        match (flow.shape, ints(node, "perm").unwrap_or_default()) {
            // Read as height, width, channels.
            (Shape::Image { channels: height, height: width, width: channels }, [0, 3, 1, 2])
                if layers.is_empty() =>
            {
                self.begin_with_image([channels, height, width].map(|length| length as u32));
                self.notes.push(
                    "the file's images lie as height, width, channels; Shoal's lie as channels, height, width".to_owned(),
                );
                let shape = Shape::Image { channels, height, width };
                Ok(Flow { value: output_of(node)?, shape, turned: None })
            }
            (Shape::Image { channels, height, width }, [0, 2, 3, 1]) => {
                let is_flattened = |next: &NodeProto| matches!(operator(next), "Flatten" | "Reshape");
                if !self.only_taker(output_of(node)?).is_some_and(is_flattened) {
                    return Err(ImportError::node(node, "it turns images in the middle of the network"));
                }
                Ok(Flow { value: output_of(node)?, turned: Some([channels, height, width]), ..flow })
            }
            _ => Err(ImportError::node(node, "it turns its values in a way that belongs to no layer")),
        }
    }

    fn dropout_rate(&self, node: &NodeProto) -> Result<f32, ImportError> {
        if let Some(ratio) = attribute(node, "ratio").and_then(|attribute| attribute.f) {
            return Ok(ratio);
        }
        match node.input.get(1).filter(|ratio| !ratio.is_empty()) {
            Some(ratio) => Ok(self.constants.floats(ratio)?.values.first().copied().unwrap_or(0.5)),
            None => Ok(0.5),
        }
    }

    /// A setting of windows that is the same along both axes.
    fn window_setting(&self, node: &NodeProto, name: &str, default: i64) -> Result<u32, ImportError> {
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
}

/// The name of the last layer so far.
fn own_before(name: &str, layers: &[LayerSpec]) -> String {
    format!("{name}.{}", layers.len().saturating_sub(1))
}

/// An input of a node, which must be there.
fn input(node: &NodeProto, at: usize) -> Result<&str, ImportError> {
    match node.input.get(at).map(String::as_str) {
        Some(name) if !name.is_empty() => Ok(name),
        _ => Err(ImportError::node(node, format!("it has no input {}", at + 1))),
    }
}

/// A size of windows in its range.
fn window(node: &NodeProto, size: usize) -> Result<u32, ImportError> {
    match u32::try_from(size) {
        Ok(size) if (1..=WINDOW_MAX).contains(&size) => Ok(size),
        _ => Err(ImportError::node(
            node,
            format!("{size} is no size or distance of windows; 1 to {WINDOW_MAX} are"),
        )),
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
            let problem = format!(
                "its auto_pad {} is not there",
                String::from_utf8_lossy(&other[..other.len().min(20)])
            );
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
