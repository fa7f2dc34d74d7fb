//! The walk from a graph's input to its answer.
//!
//! At each value the walk looks at the nodes that take it. One node is the next layer. Several are an activation
//! in parts (`x * sigmoid(x)`), or the ways through a residual block, which meet in a sum.

use std::collections::{BTreeMap, BTreeSet};

use model::{Activation, EmbeddingSpec, LAYERS_MAX, LayerSpec, LossSpec, NetworkSpec, PARAMETERS_MAX, Shape};

use super::constants::{Constants, Floats, int};
use super::error::{operator, shown};
use super::way::{Flow, Way, activation_layer};
use super::{End, ImportError, Imported, Parameter};
use crate::proto::{GraphProto, NodeProto, ValueInfoProto};

/// Operators that stand around the layers of a classifier's answer.
const ANSWERS: [&str; 5] = ["ArgMax", "Gather", "Identity", "Cast", "Squeeze"];
/// The most nodes: a layer in many parts has some ten.
const NODES_MAX: usize = 32 * LAYERS_MAX;
/// The most inputs of a network.
const FEATURES_MAX: u64 = model::FEATURES_MAX as u64;
/// What is said of a file's preparation of the inputs.
const PREPARED: &str = "the file's preparation of its columns is left out; the data's own takes its place";

/// A graph while it is walked.
pub(super) struct Walk<'a> {
    pub(super) graph: &'a GraphProto,
    pub(super) constants: Constants<'a>,
    /// The nodes that take each value.
    takers: BTreeMap<&'a str, Vec<usize>>,
    /// Nodes that are not seen as takers of a value: the shortcuts of the blocks that are being walked.
    pub(super) hidden: BTreeSet<(&'a str, usize)>,
    /// The nodes that have become part of a layer.
    done: BTreeSet<usize>,
    pub(super) notes: Vec<String>,
    /// The shape that an image gets at the beginning.
    input: Option<[u32; 3]>,
    /// Layers and parameters so far.
    layers: usize,
    values: usize,
}

/// How a way through layers ended.
pub(super) enum Ended<'a> {
    /// At the graph's answer.
    Answer,
    /// At a sum of two values of the graph.
    Sum(&'a NodeProto),
}

/// Reads a graph. `network_input` is the name of the value at which its network begins, where a preparation comes
/// before.
pub(super) fn walk<'a>(
    graph: &'a GraphProto,
    constants: Constants<'a>,
    network_input: Option<&str>,
) -> Result<Imported, ImportError> {
    if graph.node.len() > NODES_MAX {
        let problem = format!("its graph has {} nodes, more than {NODES_MAX}; simplify it", graph.node.len());
        return Err(ImportError::file(problem));
    }
    require_one_origin(graph)?;
    let mut takers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, node) in graph.node.iter().enumerate() {
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            let list = takers.entry(input).or_default();
            if list.last() != Some(&i) {
                list.push(i);
            }
        }
    }
    let prepared = network_input.and_then(|name| {
        let is_it = |value: &&ValueInfoProto| value.name.as_deref() == Some(name);
        graph.value_info.iter().find(is_it).filter(|_| takers.contains_key(name))
    });
    let is_input = |value: &&ValueInfoProto| {
        value.name.as_deref().is_some_and(|name| !constants.has(name) && takers.contains_key(name))
    };
    let inputs: Vec<&ValueInfoProto> = match prepared {
        Some(value) => vec![value],
        None => graph.input.iter().filter(is_input).collect(),
    };
    let [input] = inputs[..] else {
        return Err(ImportError::file(format!(
            "its graph has {} inputs; a network needs one, so export it without what prepares its inputs",
            inputs.len()
        )));
    };
    let value = input.name.as_deref().unwrap_or_default();
    let lengths = input_lengths(input)?;
    let shape = match lengths[..] {
        [channels, height, width] => Shape::Image { channels, height, width },
        _ => Shape::Vector(lengths.iter().product()),
    };
    let flow = Flow { value, shape, lengths, turned: None };
    let mut walk = Walk {
        graph,
        constants,
        takers,
        hidden: BTreeSet::new(),
        done: BTreeSet::new(),
        notes: Vec::new(),
        input: match flow.shape {
            Shape::Vector(_) => None,
            Shape::Image { channels, height, width } => Some([channels, height, width].map(|of| of as u32)),
        },
        layers: 0,
        values: 0,
    };
    if prepared.is_some() {
        walk.skip_before(value);
        walk.notes.push(PREPARED.to_owned());
    }
    walk.network(flow)
}

/// Whether each value has one origin: a node, a constant, or an input that may be a constant's name, too.
fn require_one_origin(graph: &GraphProto) -> Result<(), ImportError> {
    let mut known = BTreeSet::new();
    for name in graph.initializer.iter().filter_map(|tensor| tensor.name.as_deref()) {
        if !known.insert(name) {
            return Err(ImportError::constant(name, "it is there twice"));
        }
    }
    known.extend(graph.input.iter().filter_map(|input| input.name.as_deref()));
    for node in &graph.node {
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            if !known.insert(output) {
                let problem = format!("its output {} is the name of another value, too", shown(output));
                return Err(ImportError::node(node, problem));
            }
        }
    }
    Ok(())
}

/// The lengths of one example's axes.
fn input_lengths(input: &ValueInfoProto) -> Result<Vec<usize>, ImportError> {
    let name = input.name.as_deref().unwrap_or_default();
    let wrong = |problem: &str| ImportError::input(name, problem);
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
    if lengths.is_empty() {
        return Err(wrong("an example is one number without an axis; a table is [examples, columns]"));
    }
    Ok(lengths)
}

impl<'a> Walk<'a> {
    fn network(mut self, flow: Flow<'a>) -> Result<Imported, ImportError> {
        let features = flow.shape.len();
        let mut way = Way::from_input(flow);
        if let Ended::Sum(node) = self.layers(&mut way)? {
            return Err(ImportError::node(node, "its two inputs do not come from one value of the graph"));
        }
        let end = self.end(&way.flow)?;
        self.require_answer(way.flow.value)?;
        if way.pending.is_some() {
            return Err(ImportError::file(
                "it ends with factors or summands that no dense layer (Gemm, or MatMul and Add) follows; export the \
                 network without them"
                    .to_owned(),
            ));
        }
        self.end_with_dense(&mut way)?;
        // The last layer is the output layer, which follows from the data.
        let Some(LayerSpec::Dense(output)) = way.layers.pop() else {
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
                    activation
                )));
            }
        };
        self.check_done()?;
        Ok(Imported {
            spec: NetworkSpec {
                input: self.input,
                layers: way.layers,
                loss: (end == End::Sigmoid).then_some(LossSpec::BinaryCrossEntropy),
                ..NetworkSpec::default()
            },
            features,
            outputs: output.units as usize,
            end,
            parameters: way.parameters,
            notes: self.notes,
        })
    }

    /// Takes layers from where the way stands on, until the answer or a sum.
    pub(super) fn layers(&mut self, way: &mut Way<'a>) -> Result<Ended<'a>, ImportError> {
        loop {
            let takers = self.takers(way.flow.value);
            self.require_settled(&takers, way)?;
            match takers[..] {
                [] => return Ok(Ended::Answer),
                [only] => {
                    let node = &self.graph.node[only];
                    if matches!(operator(node), "Softmax" | "LogSoftmax" | "ArgMax") {
                        return Ok(Ended::Answer);
                    }
                    let begins_parts = matches!(operator(node), "Neg" | "Exp" | "Abs" | "Erf" | "Erfc");
                    if begins_parts && self.in_parts(way, &takers)? || self.index_in_parts(way, &takers)? {
                        continue;
                    }
                    if !self.is_sum(node) {
                        self.layer(node, way)?;
                    } else if node.input.iter().all(|input| input == way.flow.value) {
                        self.empty_block(way, node)?;
                    } else {
                        return Ok(Ended::Sum(node));
                    }
                }
                _ => {
                    let is_end =
                        |&i: &usize| matches!(operator(&self.graph.node[i]), "Softmax" | "LogSoftmax");
                    if takers.iter().any(is_end) {
                        return Ok(Ended::Answer);
                    }
                    if !self.in_parts(way, &takers)? && !self.index_in_parts(way, &takers)? {
                        self.residual(way, &takers)?;
                    }
                }
            }
        }
    }

    /// Appends a layer.
    pub(super) fn push(&mut self, way: &mut Way<'a>, layer: LayerSpec) -> Result<(), ImportError> {
        self.layers += 1;
        if self.layers > LAYERS_MAX + 1 {
            return Err(ImportError::file(format!("it has more than {LAYERS_MAX} layers")));
        }
        way.sees_all &= !matches!(layer, LayerSpec::Conv2d(_));
        way.layers.push(layer);
        Ok(())
    }

    /// Appends an activation: to the layer before it, if that has none yet.
    pub(super) fn push_activation(
        &mut self,
        way: &mut Way<'a>,
        function: Activation,
    ) -> Result<(), ImportError> {
        match way.open_activation() {
            Some(activation) => {
                *activation = function;
                Ok(())
            }
            None => self.push(way, activation_layer(function)),
        }
    }

    /// Keeps the parameters of the next layer. A constant may be used by many nodes, so that a small file could
    /// have many parameters.
    pub(super) fn keep(
        &mut self,
        way: &mut Way<'a>,
        parts: impl IntoIterator<Item = (&'static str, Floats)>,
    ) -> Result<(), ImportError> {
        let name = way.next_name();
        for (part, Floats { shape, values }) in parts {
            self.values += values.len();
            if self.values > PARAMETERS_MAX {
                return Err(ImportError::file(format!("it has more than {PARAMETERS_MAX} parameters")));
            }
            way.parameters.insert(format!("{name}.{part}"), Parameter { shape, values });
        }
        Ok(())
    }

    /// An embedding, which must see the input.
    pub(super) fn embedding(
        &mut self,
        node: &'a NodeProto,
        way: &mut Way<'a>,
        weight: Floats,
    ) -> Result<(), ImportError> {
        let (Shape::Vector(columns), true) = (way.flow.shape, way.is_at_the_beginning()) else {
            return Err(ImportError::node(
                node,
                "an embedding can only be the first layer, of a table of integers",
            ));
        };
        let &[vocabulary, width] = &weight.shape[..] else {
            return Err(ImportError::node(node, "its vectors are no matrix [vocabulary, width]"));
        };
        let narrow = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        self.keep(way, [("weight", weight)])?;
        let spec = EmbeddingSpec { vocabulary: narrow(vocabulary), width: narrow(width), initializer: None };
        self.push(way, LayerSpec::Embedding(spec))?;
        let values = columns.checked_mul(width).ok_or_else(|| ImportError::node(node, "it is too large"))?;
        let axes = [way.flow.lengths.clone(), vec![width]].concat();
        way.go_to(output_of(node)?, Shape::Vector(values));
        way.flow.lengths = axes;
        Ok(())
    }

    /// Gives the input the shape of an image.
    pub(super) fn begin_with_image(&mut self, shape: [u32; 3]) {
        self.input = Some(shape);
    }

    /// The nodes that take a value, without those that only look at its shape, and without hidden ones.
    pub(super) fn takers(&self, value: &str) -> Vec<usize> {
        let all = self.takers.get(value).map_or(&[][..], Vec::as_slice);
        let is_seen =
            |&i: &usize| operator(&self.graph.node[i]) != "Shape" && !self.hidden.contains(&(value, i));
        all.iter().copied().filter(is_seen).collect()
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

    /// Whether a node adds two values of the graph.
    pub(super) fn is_sum(&self, node: &NodeProto) -> bool {
        matches!(operator(node), "Add" | "Sum") && node.input.len() == 2 && !self.has_constant(node)
    }

    /// Notes that a node has become part of a layer; a graph that comes back to it is none.
    pub(super) fn mark(&mut self, node: &NodeProto) -> Result<(), ImportError> {
        let at = self.graph.node.iter().position(|other| std::ptr::eq(other, node));
        if at.is_some_and(|at| !self.done.insert(at)) {
            return Err(ImportError::node(node, "the way through the graph comes to it twice"));
        }
        Ok(())
    }

    /// Marks the nodes that do not depend on a value: those that it is computed by, and what nobody takes.
    fn skip_before(&mut self, value: &'a str) {
        let mut behind = BTreeSet::from([value]);
        // Each node comes after those whose values it takes.
        for (i, node) in self.graph.node.iter().enumerate() {
            if node.input.iter().any(|input| behind.contains(input.as_str())) {
                behind.extend(node.output.iter().map(String::as_str));
            } else {
                self.done.insert(i);
            }
        }
    }

    /// What comes after the last layer.
    fn end(&mut self, flow: &Flow<'a>) -> Result<End, ImportError> {
        let takers = self.takers(flow.value);
        let nodes: Vec<&NodeProto> = takers.iter().map(|&i| &self.graph.node[i]).collect();
        let softmax = nodes.iter().copied().find(|node| matches!(operator(node), "Softmax" | "LogSoftmax"));
        let Some(softmax) = softmax else {
            return Ok(if nodes.is_empty() { End::Sums } else { End::Softmax });
        };
        let axis = int(softmax, "axis", -1);
        // Before operator set 13 the default is the first axis and all behind it.
        if axis != 1 && !(axis == -1 && flow.lengths.len() == 1) {
            let problem = format!("its axis is {axis}, which is not that of the classes");
            return Err(ImportError::node(softmax, problem));
        }
        self.mark(softmax)?;
        Ok(End::Softmax)
    }

    /// Whether the graph answers with what the walk ended at, or with what is made of it.
    fn require_answer(&self, value: &'a str) -> Result<(), ImportError> {
        let mut behind = BTreeSet::from([value]);
        for node in &self.graph.node {
            if node.input.iter().any(|input| behind.contains(input.as_str())) {
                behind.extend(node.output.iter().map(String::as_str));
            }
        }
        let names = || self.graph.output.iter().filter_map(|output| output.name.as_deref());
        if names().next().is_some() && !names().any(|name| behind.contains(name)) {
            let problem = "its answer is not the value at the end of the graph; export the network without what follows \
                           its answer";
            return Err(ImportError::file(problem.to_owned()));
        }
        Ok(())
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

/// The name of a node's first output.
pub(super) fn output_of(node: &NodeProto) -> Result<&str, ImportError> {
    node.output.first().map(String::as_str).ok_or_else(|| ImportError::node(node, "it has no output"))
}
