//! A trained network as an ONNX file, with everything around it that a program needs to use it.
//!
//! The graph takes what the user's table or images hold, prepares it as the training did, goes through the
//! network and answers in the user's terms: for classes `label` (a text) and `probabilities`, for numbers
//! `prediction`, in their own units. The first axis of every input and output is the number of examples.

mod graph;
mod network;

use std::fmt;

use model::{LossSpec, Network, Preprocessing, Shape};
use prost::Message;

use self::graph::{Graph, Setting, Value};
use self::network::{Layers, lengths};
use crate::proto::{DataType, ModelProto, OperatorSetIdProto, StringStringEntryProto};
use crate::{IR_VERSION, OPERATOR_SET};

/// The name of the only input, where there is one for all columns.
pub const INPUT: &str = "input";
/// The name of the output that is a class's name, `[batch]`.
pub const LABEL: &str = "label";
/// The name of the output with a probability for each class, `[batch, classes]`.
pub const PROBABILITIES: &str = "probabilities";
/// The name of the output of numbers, `[batch, columns]`.
pub const PREDICTION: &str = "prediction";

/// Bytes of a file's content beside its weights that are allowed for: names, nodes, metadata.
const OVERHEAD_MAX: usize = 1 << 24;
/// Protobuf's own limit on a message.
const BYTES_MAX: usize = i32::MAX as usize;

/// What goes into a file.
#[derive(Clone, Debug)]
pub struct Export<'a> {
    /// The network.
    pub network: &'a Network,
    /// Its parameters, in the order of [`Network::layout`].
    pub weights: &'a [f32],
    /// What the graph takes.
    pub inputs: Inputs<'a>,
    /// What it answers.
    pub answers: Answers<'a>,
    /// Entries of the file's metadata, such as names of columns.
    pub metadata: Vec<(String, String)>,
}

/// What the graph takes.
#[derive(Clone, Copy, Debug)]
pub enum Inputs<'a> {
    /// The network's own inputs, which whoever runs the graph has prepared. An embedding takes integers.
    Prepared,
    /// One number for each of the network's inputs, which the graph standardizes.
    Numbers(&'a Preprocessing),
}

/// What the graph answers.
#[derive(Clone, Copy, Debug)]
pub enum Answers<'a> {
    /// The name of the likeliest class, and a probability for each class.
    Classes(&'a [String]),
    /// Numbers: the network's own, times `deviation`, plus `mean`, one of each for each column.
    Numbers {
        /// What is added.
        mean: &'a [f32],
        /// The factor.
        deviation: &'a [f32],
    },
}

/// A network that does not fit into a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Its parameters.
    pub parameters: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "an ONNX file holds at most 2 GiB, too little for {} parameters; export safetensors",
            self.parameters
        )
    }
}

impl std::error::Error for TooLarge {}

impl Export<'_> {
    /// The file.
    ///
    /// # Errors
    /// [`TooLarge`] if the weights do not fit.
    ///
    /// # Panics
    /// If weights, standardization or answers do not fit the network.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TooLarge> {
        let parameters = self.network.parameters();
        assert_eq!(self.weights.len(), parameters, "weights of another network");
        if 4 * parameters + OVERHEAD_MAX > BYTES_MAX {
            return Err(TooLarge { parameters });
        }
        let mut graph = Graph::with_reserved(&[LABEL, PROBABILITIES, PREDICTION]);
        let input = self.input(&mut graph);
        let sums = Layers::new(&mut graph, self.network, self.weights).write(self.network, input);
        self.answer(&mut graph, sums);
        let entry = |(key, value): &(String, String)| StringStringEntryProto {
            key: Some(key.clone()),
            value: Some(value.clone()),
        };
        let model = ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some("shoal".to_owned()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            doc_string: Some(format!("The network {}, trained with Shoal.", self.network.outline())),
            graph: Some(graph.finish("network")),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: Some(OPERATOR_SET),
            }],
            metadata_props: self.metadata.iter().map(entry).collect(),
        };
        Ok(model.encode_to_vec())
    }

    /// The network's inputs, in the shape that its first layer sees.
    fn input(&self, graph: &mut Graph) -> Value {
        let shape = self.network.shapes()[0];
        if self.network.spec().vocabulary().is_some() {
            // What is looked up is never standardized.
            return graph.input(INPUT, DataType::Int64, &[shape.len()]);
        }
        let input = graph.input(INPUT, DataType::Float, &lengths(shape));
        match self.inputs {
            Inputs::Prepared => input,
            Inputs::Numbers(preprocessing) => standardized(graph, preprocessing, shape, &input),
        }
    }

    fn answer(&self, graph: &mut Graph, sums: Value) {
        let width = self.network.outputs();
        match self.answers {
            Answers::Classes(names) => {
                assert_eq!(names.len(), width, "one name for each class");
                let axis = |axis| vec![("axis", Setting::Int(axis))];
                let probabilities = graph.node_with("Softmax", "softmax", &[&sums], axis(1));
                let settings = vec![("axis", Setting::Int(1)), ("keepdims", Setting::Int(0))];
                let likeliest = graph.node_with("ArgMax", "class", &[&probabilities], settings);
                let names = graph.texts("classes", names.iter().map(String::as_str));
                let label = graph.node_with("Gather", "class.name", &[&names, &likeliest], axis(0));
                graph.output(label, LABEL, DataType::String, &[]);
                graph.output(probabilities, PROBABILITIES, DataType::Float, &[width]);
            }
            Answers::Numbers { mean, deviation } => {
                assert_eq!((mean.len(), deviation.len()), (width, width), "one of each for each column");
                let loss = self.network.spec().loss.unwrap_or(self.network.task().loss());
                let mut value = match loss {
                    LossSpec::BinaryCrossEntropy => graph.node("Sigmoid", "sigmoid", &[&sums]),
                    LossSpec::MeanSquaredError | LossSpec::Huber | LossSpec::SoftmaxCrossEntropy => sums,
                };
                if deviation.iter().any(|&factor| factor != 1.0) {
                    let deviation = graph.floats("targets.deviation", &[width], deviation);
                    value = graph.node("Mul", "targets.scaled", &[&value, &deviation]);
                }
                if mean.iter().any(|&mean| mean != 0.0) {
                    let mean = graph.floats("targets.mean", &[width], mean);
                    value = graph.node("Add", "targets.restored", &[&value, &mean]);
                }
                graph.output(value, PREDICTION, DataType::Float, &[width]);
            }
        }
    }
}

/// `(value - offset) * scale`, in the shape of the values.
fn standardized(graph: &mut Graph, preprocessing: &Preprocessing, shape: Shape, value: &Value) -> Value {
    assert_eq!(preprocessing.len(), shape.len(), "one offset and scale for each input");
    let mut constant = |name: &str, values: &[f32]| match values {
        // The same for all values, as for most images.
        [first, rest @ ..] if rest.iter().all(|other| other == first) => graph.floats(name, &[1], &[*first]),
        values => graph.floats(name, &lengths(shape), values),
    };
    let offset = constant("input.offset", &preprocessing.offset);
    let scale = constant("input.scale", &preprocessing.scale);
    let centered = graph.node("Sub", "input.centered", &[value, &offset]);
    graph.node("Mul", "input.standardized", &[&centered, &scale])
}
