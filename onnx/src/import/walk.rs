//! The way from a graph's input to its answer.
//!
//! At each value the walk looks at the nodes that take it. One node is the next layer. Several are an activation
//! in parts (`x * sigmoid(x)`), or the two ways through a residual block, which meet in an `Add`.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Activation, ActivationSpec, Conv2dSpec, DEPTH_MAX, DropoutSpec, EmbeddingSpec, LAYERS_MAX, LayerSpec,
    LossSpec, NetworkSpec, Padding, ResidualSpec, Shape, Shortcut, WINDOW_MAX,
};

use super::constants::{Constants, Floats};
use super::error::operator;
use super::layers::EPSILON;
use super::{End, ImportError, Imported, Parameter};
use crate::proto::{GraphProto, NodeProto, ValueInfoProto};

/// Operators that stand around the layers of a classifier's answer.
const ANSWERS: [&str; 5] = ["ArgMax", "Gather", "Identity", "Cast", "Squeeze"];
/// The most nodes: a layer in many parts has some ten.
const NODES_MAX: usize = 32 * LAYERS_MAX;
/// The most inputs of a network.
const FEATURES_MAX: u64 = model::FEATURES_MAX as u64;

/// A value on the way: its name, and the shape of one example.
#[derive(Clone, Debug)]
pub(super) struct Flow<'a> {
    pub(super) value: &'a str,
    pub(super) shape: Shape,
    /// An image whose values now lie as height, width, channels, because it was turned before it became a
    /// vector.
    pub(super) turned: Option<[usize; 3]>,
}

/// A graph while it is walked.
pub(super) struct Walk<'a> {
    pub(super) graph: &'a GraphProto,
    pub(super) constants: Constants<'a>,
    /// The nodes that take each value.
    takers: BTreeMap<&'a str, Vec<usize>>,
    /// The nodes that have become part of a layer.
    done: BTreeSet<usize>,
    pub(super) parameters: BTreeMap<String, Parameter>,
    pub(super) notes: Vec<String>,
    /// The shape that an image gets at the beginning.
    input: Option<[u32; 3]>,
    layers: usize,
}

/// How a way through layers ended.
pub(super) enum Ended<'a> {
    /// At the graph's answer.
    Answer,
    /// At an `Add` of two values of the graph.
    Sum(&'a NodeProto),
}

pub(super) fn walk(graph: &GraphProto) -> Result<Imported, ImportError> {
    if graph.node.len() > NODES_MAX {
        let problem = format!("its graph has {} nodes, more than {NODES_MAX}; simplify it", graph.node.len());
        return Err(ImportError::file(problem));
    }
    let constants = Constants::of(graph);
    let mut takers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, node) in graph.node.iter().enumerate() {
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            let list = takers.entry(input).or_default();
            if list.last() != Some(&i) {
                list.push(i);
            }
        }
    }
    let is_input = |value: &&ValueInfoProto| {
        value.name.as_deref().is_some_and(|name| !constants.has(name) && takers.contains_key(name))
    };
    let inputs: Vec<&ValueInfoProto> = graph.input.iter().filter(is_input).collect();
    let [input] = inputs[..] else {
        return Err(ImportError::file(format!(
            "its graph has {} inputs; a network needs one (a graph that Shoal exported with a table's columns needs \
             --without-preparation)",
            inputs.len()
        )));
    };
    let flow =
        Flow { value: input.name.as_deref().unwrap_or_default(), shape: input_shape(input)?, turned: None };
    let features = flow.shape.len();
    let mut walk = Walk {
        graph,
        constants,
        takers,
        done: BTreeSet::new(),
        parameters: BTreeMap::new(),
        notes: Vec::new(),
        input: match flow.shape {
            Shape::Vector(_) => None,
            Shape::Image { channels, height, width } => Some([channels, height, width].map(|of| of as u32)),
        },
        layers: 0,
    };
    walk.network(flow, features)
}

/// The shape of one example, without the first axis.
fn input_shape(input: &ValueInfoProto) -> Result<Shape, ImportError> {
    let name = input.name.as_deref().unwrap_or_default();
    let wrong =
        |problem: &str| ImportError { place: format!("the input {name}"), problem: problem.to_owned() };
    let tensor = input.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let shape = tensor.and_then(|tensor| tensor.shape.as_ref()).ok_or_else(|| wrong("it has no shape"))?;
    let lengths: Option<Vec<usize>> = shape
        .dim
        .iter()
        .skip(1)
        .map(|dim| dim.dim_value.and_then(|length| usize::try_from(length).ok()).filter(|&length| length > 0))
        .collect();
    let lengths = lengths.ok_or_else(|| {
        wrong(
            "only its first axis may have a length that is not fixed; export the network with fixed lengths",
        )
    })?;
    let values = lengths.iter().try_fold(1_u64, |product, &length| product.checked_mul(length as u64));
    if values.is_none_or(|values| values > FEATURES_MAX) {
        return Err(wrong("it has more values than a network may have inputs"));
    }
    match lengths[..] {
        [values] => Ok(Shape::Vector(values)),
        [channels, height, width] => Ok(Shape::Image { channels, height, width }),
        _ => Err(wrong(
            "it is neither a table [examples, columns] nor images [examples, channels, height, width]",
        )),
    }
}

impl<'a> Walk<'a> {
    fn network(&mut self, flow: Flow<'a>, features: usize) -> Result<Imported, ImportError> {
        let mut layers = Vec::new();
        let (flow, ended) = self.layers(flow, &mut layers, "layers", 0)?;
        if let Ended::Sum(node) = ended {
            return Err(ImportError::node(node, "its two inputs do not come from one value of the graph"));
        }
        let end = self.end(&flow)?;
        // The last layer is the output layer, which follows from the data.
        let Some(LayerSpec::Dense(output)) = layers.pop() else {
            return Err(ImportError::file(
                "its last layer is not dense (Gemm, or MatMul and Add); cut the graph after the layer that answers"
                    .to_owned(),
            ));
        };
        let end = match (output.activation, end) {
            (Activation::None, end) => end,
            (Activation::Sigmoid, End::Sums) => End::Sigmoid,
            (activation, _) => {
                return Err(ImportError::file(format!(
                    "its last layer has the activation {}; only softmax or sigmoid may follow it",
                    activation.name()
                )));
            }
        };
        self.check_done()?;
        Ok(Imported {
            spec: NetworkSpec {
                input: self.input,
                layers,
                loss: (end == End::Sigmoid).then_some(LossSpec::BinaryCrossEntropy),
                ..NetworkSpec::default()
            },
            features,
            outputs: output.units as usize,
            end,
            parameters: std::mem::take(&mut self.parameters),
            notes: std::mem::take(&mut self.notes),
        })
    }

    /// Takes layers from `flow` on until the answer or a sum. `name` is the beginning of their parameters'
    /// names.
    pub(super) fn layers(
        &mut self,
        mut flow: Flow<'a>,
        layers: &mut Vec<LayerSpec>,
        name: &str,
        depth: usize,
    ) -> Result<(Flow<'a>, Ended<'a>), ImportError> {
        loop {
            let takers = self.takers(flow.value);
            match takers[..] {
                [] => return Ok((flow, Ended::Answer)),
                [only] => {
                    let node = &self.graph.node[only];
                    if matches!(operator(node), "Softmax" | "LogSoftmax" | "ArgMax") {
                        return Ok((flow, Ended::Answer));
                    }
                    if operator(node) == "Add" && node.input.iter().all(|input| input == flow.value) {
                        // A block whose layers change nothing in inference.
                        self.mark(node)?;
                        let layers_inside = vec![LayerSpec::Dropout(DropoutSpec { rate: 0.0 })];
                        let spec = ResidualSpec {
                            layers: layers_inside,
                            shortcut: Shortcut::Identity,
                            activation: Activation::None,
                        };
                        self.push(layers, LayerSpec::Residual(spec))?;
                        flow = Flow { value: output_of(node)?, ..flow };
                        continue;
                    }
                    if operator(node) == "Add" && !self.has_constant(node) {
                        return Ok((flow, Ended::Sum(node)));
                    }
                    flow = self.layer(only, flow, layers, name)?;
                }
                _ => {
                    if takers
                        .iter()
                        .any(|&i| matches!(operator(&self.graph.node[i]), "Softmax" | "LogSoftmax"))
                    {
                        return Ok((flow, Ended::Answer));
                    }
                    if let Some((activation, next)) = self.activation_in_parts(&flow, &takers)? {
                        flow = Flow { value: next, ..flow };
                        self.push_activation(layers, activation)?;
                    } else {
                        flow = self.residual(flow, &takers, layers, name, depth)?;
                    }
                }
            }
        }
    }

    /// A block whose two ways begin at `flow`.
    fn residual(
        &mut self,
        flow: Flow<'a>,
        takers: &[usize],
        layers: &mut Vec<LayerSpec>,
        name: &str,
        depth: usize,
    ) -> Result<Flow<'a>, ImportError> {
        let first = &self.graph.node[takers[0]];
        let &[one, other] = takers else {
            return Err(ImportError::node(
                first,
                "its input goes three ways; Shoal's residual blocks have two",
            ));
        };
        if depth == DEPTH_MAX {
            return Err(ImportError::node(
                first,
                format!("it is more than {DEPTH_MAX} residual blocks deep"),
            ));
        }
        let block = format!("{name}.{}", layers.len());
        let (body, shortcut) = (format!("{block}.body"), format!("{block}.shortcut"));
        // The layers of both ways, under the names that they have as the body.
        let mut ways = Vec::new();
        for taker in [one, other] {
            let mut way = Vec::new();
            let before = std::mem::take(&mut self.parameters);
            let node = &self.graph.node[taker];
            let end = if operator(node) == "Add" && !self.has_constant(node) {
                (flow.clone(), Ended::Sum(node))
            } else {
                let next = self.layer(taker, flow.clone(), &mut way, &body)?;
                self.layers(next, &mut way, &body, depth + 1)?
            };
            let parameters = std::mem::replace(&mut self.parameters, before);
            let (end, Ended::Sum(sum)) = end else {
                return Err(ImportError::node(
                    node,
                    "the way that begins here does not end in the sum of a residual block",
                ));
            };
            ways.push((way, parameters, end, sum));
        }
        let (mut second, mut first) = (ways.pop().expect("two ways"), ways.pop().expect("two ways"));
        if !std::ptr::eq(first.3, second.3) {
            return Err(ImportError::node(first.3, "the ways that begin at one value end in different sums"));
        }
        let sum = first.3;
        if first.2.shape != second.2.shape {
            return Err(ImportError::node(sum, "its two inputs have different shapes"));
        }
        fold(&mut first.0, &mut first.1, &body);
        fold(&mut second.0, &mut second.1, &body);
        // The shortcut is the way without layers, or the way with a single projection.
        let is_projection = |way: &[LayerSpec]| match way {
            [LayerSpec::Dense(dense)] | [LayerSpec::Flatten, LayerSpec::Dense(dense)] => {
                dense.activation == Activation::None
            }
            [LayerSpec::Conv2d(conv)] => {
                (conv.kernel, conv.groups, conv.activation) == (1, 1, Activation::None)
            }
            _ => false,
        };
        let (main, side, kind) = match (&first.0[..], &second.0[..]) {
            ([], _) => (second, first, Shortcut::Identity),
            (_, []) => (first, second, Shortcut::Identity),
            (way, _) if is_projection(way) && !is_projection(&second.0) => {
                (second, first, Shortcut::Projection)
            }
            (_, way) if is_projection(way) => (first, second, Shortcut::Projection),
            _ => {
                let problem = "neither of its inputs is a shortcut: the block's own input, a dense layer of it, or a \
                               convolution of one place";
                return Err(ImportError::node(sum, problem));
            }
        };
        let (way, parameters, end, _) = main;
        if let [LayerSpec::Conv2d(conv)] = &side.0[..]
            && !is_smallest_stride(flow.shape, end.shape, conv)
        {
            let problem = "its shortcut is a convolution with padding, or with a stride larger than needed";
            return Err(ImportError::node(sum, problem));
        }
        self.parameters.extend(parameters);
        for (key, parameter) in side.1 {
            let part = key.rsplit_once('.').map_or("", |(_, part)| part);
            self.parameters.insert(format!("{shortcut}.{part}"), parameter);
        }
        if way.is_empty() {
            return Err(ImportError::node(sum, "it adds a value to itself"));
        }
        let spec = ResidualSpec { layers: way, shortcut: kind, activation: Activation::None };
        self.push(layers, LayerSpec::Residual(spec))?;
        self.mark(sum)?;
        Ok(Flow { value: output_of(sum)?, ..end })
    }

    /// Appends a layer.
    pub(super) fn push(&mut self, layers: &mut Vec<LayerSpec>, layer: LayerSpec) -> Result<(), ImportError> {
        self.layers += 1;
        if self.layers > LAYERS_MAX + 1 {
            return Err(ImportError::file(format!("it has more than {LAYERS_MAX} layers")));
        }
        layers.push(layer);
        Ok(())
    }

    /// Appends an activation: to the layer before it, if that has none yet.
    pub(super) fn push_activation(
        &mut self,
        layers: &mut Vec<LayerSpec>,
        function: Activation,
    ) -> Result<(), ImportError> {
        let before = match layers.last_mut() {
            Some(LayerSpec::Dense(dense)) => Some(&mut dense.activation),
            Some(LayerSpec::Conv2d(conv)) => Some(&mut conv.activation),
            Some(LayerSpec::Residual(residual)) => Some(&mut residual.activation),
            _ => None,
        };
        match before {
            Some(activation) if *activation == Activation::None => {
                *activation = function;
                Ok(())
            }
            _ => self.push(layers, LayerSpec::Activation(ActivationSpec { function })),
        }
    }

    /// Keeps a layer's parameters, `name` being its own.
    pub(super) fn keep(&mut self, name: &str, parts: Vec<(&str, Floats)>) {
        for (part, Floats { shape, values }) in parts {
            self.parameters.insert(format!("{name}.{part}"), Parameter { shape, values });
        }
    }

    /// An embedding, which must see the input.
    pub(super) fn embedding(
        &mut self,
        flow: Flow<'a>,
        node: &'a NodeProto,
        weight: Floats,
        layers: &mut Vec<LayerSpec>,
        name: &str,
    ) -> Result<Flow<'a>, ImportError> {
        let (Shape::Vector(columns), true) = (flow.shape, layers.is_empty()) else {
            return Err(ImportError::node(
                node,
                "an embedding can only be the first layer, of a table of integers",
            ));
        };
        let &[vocabulary, width] = &weight.shape[..] else {
            return Err(ImportError::node(node, "its vectors are no matrix [vocabulary, width]"));
        };
        let narrow = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        self.keep(&format!("{name}.0"), vec![("weight", weight)]);
        let spec = EmbeddingSpec { vocabulary: narrow(vocabulary), width: narrow(width), initializer: None };
        self.push(layers, LayerSpec::Embedding(spec))?;
        let values = columns.checked_mul(width).ok_or_else(|| ImportError::node(node, "it is too large"))?;
        Ok(Flow { value: output_of(node)?, shape: Shape::Vector(values), turned: None })
    }

    /// Gives the input the shape of an image.
    pub(super) fn begin_with_image(&mut self, shape: [u32; 3]) {
        self.input = Some(shape);
    }

    /// The nodes that take a value, without those that only look at its shape.
    pub(super) fn takers(&self, value: &str) -> Vec<usize> {
        let all = self.takers.get(value).map_or(&[][..], Vec::as_slice);
        all.iter().copied().filter(|&i| operator(&self.graph.node[i]) != "Shape").collect()
    }

    /// The only node that takes a value.
    pub(super) fn only_taker(&self, value: &str) -> Option<&'a NodeProto> {
        match self.takers(value)[..] {
            [only] => Some(&self.graph.node[only]),
            _ => None,
        }
    }

    /// Whether one of a node's inputs is a constant.
    pub(super) fn has_constant(&self, node: &NodeProto) -> bool {
        node.input.iter().any(|input| self.constants.has(input))
    }

    /// Notes that a node has become part of a layer; a graph that comes back to it is none.
    pub(super) fn mark(&mut self, node: &NodeProto) -> Result<(), ImportError> {
        let at = self.graph.node.iter().position(|other| std::ptr::eq(other, node));
        if at.is_some_and(|at| !self.done.insert(at)) {
            return Err(ImportError::node(node, "the way through the graph comes to it twice"));
        }
        Ok(())
    }

    /// What comes after the last layer.
    fn end(&mut self, flow: &Flow<'a>) -> Result<End, ImportError> {
        let takers = self.takers(flow.value);
        let nodes: Vec<&NodeProto> = takers.iter().map(|&i| &self.graph.node[i]).collect();
        let softmax = nodes.iter().copied().find(|node| matches!(operator(node), "Softmax" | "LogSoftmax"));
        let Some(softmax) = softmax else {
            return Ok(if nodes.is_empty() { End::Sums } else { End::Softmax });
        };
        self.mark(softmax)?;
        Ok(End::Softmax)
    }

    /// Whether every node is part of a layer, a constant, or stands around the answer.
    fn check_done(&self) -> Result<(), ImportError> {
        for (i, node) in self.graph.node.iter().enumerate() {
            let is_constant = node.output.first().is_some_and(|output| self.constants.has(output));
            let is_answer = ANSWERS.contains(&operator(node));
            let is_shape = matches!(operator(node), "Shape" | "Unsqueeze" | "Concat" | "Slice");
            if !(self.done.contains(&i) || is_constant || is_answer || is_shape) {
                return Err(ImportError::node(node, "it is not on the way from the input to the answer"));
            }
        }
        Ok(())
    }
}

/// Whether a projection's stride is the one that Shoal gives it.
fn is_smallest_stride(from: Shape, to: Shape, conv: &Conv2dSpec) -> bool {
    let (Shape::Image { height, width, .. }, Shape::Image { height: rows, width: columns, .. }) = (from, to)
    else {
        return false;
    };
    let fits = |stride: &usize| height.div_ceil(*stride) == rows && width.div_ceil(*stride) == columns;
    let smallest = (1..=WINDOW_MAX as usize).find(fits);
    conv.padding == Padding::Valid && smallest == Some(conv.stride as usize)
}

/// Makes a batch normalization part of the convolution or dense layer before it, where these two are all of a
/// way: `g (W x + b - m) / sqrt(v + e) + c`.
fn fold(way: &mut Vec<LayerSpec>, parameters: &mut BTreeMap<String, Parameter>, body: &str) {
    let is_plain = match &way[..] {
        [LayerSpec::Conv2d(conv), LayerSpec::BatchNorm] => {
            conv.activation == Activation::None && conv.kernel == 1
        }
        [LayerSpec::Dense(dense), LayerSpec::BatchNorm] => dense.activation == Activation::None,
        _ => false,
    };
    let of = |part: &str| parameters.get(&format!("{body}.{part}")).map(|block| block.values.clone());
    let parts = ["1.gain", "1.bias", "1.running_mean", "1.running_variance"].map(of);
    let [Some(gain), Some(shift), Some(mean), Some(variance)] = parts else { return };
    if !is_plain {
        return;
    }
    let factors: Vec<f32> =
        gain.iter().zip(&variance).map(|(gain, variance)| gain / (variance + EPSILON).sqrt()).collect();
    let channels = factors.len();
    if let Some(weight) = parameters.get_mut(&format!("{body}.0.weight")) {
        let is_dense = matches!(way[0], LayerSpec::Dense(_));
        let values = weight.values.len().max(1);
        for (i, value) in weight.values.iter_mut().enumerate() {
            // [inputs, outputs] or [channels, ...].
            let channel = if is_dense { i % channels } else { i * channels / values };
            *value *= factors[channel];
        }
    }
    if let Some(bias) = parameters.get_mut(&format!("{body}.0.bias")) {
        for (channel, value) in bias.values.iter_mut().enumerate() {
            *value = (*value - mean[channel]) * factors[channel] + shift[channel];
        }
    }
    way.pop();
    let of_norm = format!("{body}.1.");
    parameters.retain(|key, _| !key.starts_with(&of_norm));
}

/// The name of a node's first output.
pub(super) fn output_of(node: &NodeProto) -> Result<&str, ImportError> {
    node.output.first().map(String::as_str).ok_or_else(|| ImportError::node(node, "it has no output"))
}
