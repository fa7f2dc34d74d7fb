//! A trained network as an ONNX file, with everything around it that a program needs to use it.
//!
//! The graph takes what the user's table or images hold, prepares it as the training did, goes through the
//! network and answers in the user's terms: for classes `label` (a text) and `probabilities`, for numbers
//! `prediction`, in their own units. The first axis of every input and output is the number of examples.
//!
//! A table of numbers is one input, as images are. If a column has texts or dates, each column is an input
//! with the column's name. A missing number is NaN, a missing text is empty, a date is given in seconds.

mod graph;
mod network;
mod preparation;

use std::fmt;

use model::{LossSpec, Network, Preprocessing, Shape};
use prost::Message;
use table::{Becomes, Preparation, Standardized};

use self::graph::{Graph, Setting, Value};
use self::network::{Layers, lengths};
pub use self::preparation::input_name;
use crate::proto::{DataType, ModelProto, OperatorSetIdProto, StringStringEntryProto};
use crate::{IR_VERSION, NETWORK_INPUT, OPERATOR_SET};

/// The name of the only input, where there is one for all columns.
pub const INPUT: &str = "input";
/// The name of the output that is a class's name, `[batch]`.
pub const LABEL: &str = "label";
/// The name of the output with a probability for each class, `[batch, classes]`.
pub const PROBABILITIES: &str = "probabilities";
/// The name of the output of numbers, `[batch, columns]`.
pub const PREDICTION: &str = "prediction";

/// Numbers whose mean is so many times their deviation are answered in 64 bits.
const FAR: f64 = 1024.0;
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
    /// A table's columns, or an image, as they were prepared for training.
    Table(&'a Preparation),
}

/// What the graph answers.
#[derive(Clone, Copy, Debug)]
pub enum Answers<'a> {
    /// The name of the likeliest class, and a probability for each class.
    Classes(&'a [String]),
    /// Numbers: the network's own, times `deviation`, plus `mean`, one of each for each column.
    Numbers {
        /// What is added.
        mean: &'a [f64],
        /// The factor.
        deviation: &'a [f64],
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
        let (input, is_prepared) = self.input(&mut graph);
        // Whoever reads the network finds its beginning by this.
        let begins =
            is_prepared.then(|| graph.describe(&input, DataType::Float, &lengths(self.network.shapes()[0])));
        let sums = Layers::new(&mut graph, self.network, self.weights).write(self.network, input);
        self.answer(&mut graph, sums);
        let entry = |(key, value)| StringStringEntryProto { key: Some(key), value: Some(value) };
        let begins = begins.map(|name| (NETWORK_INPUT.to_owned(), name));
        let metadata = self.metadata.iter().cloned().chain(begins);
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
            metadata_props: metadata.map(entry).collect(),
        };
        Ok(model.encode_to_vec())
    }

    /// The network's inputs, in the shape that its first layer sees, and whether the graph prepares them.
    fn input(&self, graph: &mut Graph) -> (Value, bool) {
        let shape = self.network.shapes()[0];
        if self.network.spec().vocabulary().is_some() {
            // What is looked up is never standardized.
            return (graph.input(INPUT, DataType::Int64, &[shape.len()]), false);
        }
        let plain = |graph: &mut Graph| graph.input(INPUT, DataType::Float, &lengths(shape));
        let preparation = match self.inputs {
            Inputs::Prepared => return (plain(graph), false),
            Inputs::Numbers(preprocessing) => {
                let input = plain(graph);
                return (standardized(graph, preprocessing, shape, &input), true);
            }
            Inputs::Table(preparation) => preparation,
        };
        let (offset, scale) = preparation.standardization();
        let preprocessing = Preprocessing { offset, scale };
        let is_image = matches!(shape, Shape::Image { .. });
        if preparation.pixels.is_some() {
            let input = plain(graph);
            return (standardized(graph, &preprocessing, shape, &input), true);
        }
        if let Some(numbers) = plain_numbers(preparation).filter(|_| is_image) {
            let input = plain(graph);
            let clipped = clipped(graph, &numbers, shape, input);
            return (standardized(graph, &preprocessing, shape, &clipped), true);
        }
        let stored = preparation::write(graph, preparation);
        let vector = standardized(graph, &preprocessing, Shape::Vector(shape.len()), &stored);
        if !is_image {
            return (vector, true);
        }
        // A length of 0 is taken over.
        let image: Vec<i64> = [0].into_iter().chain(lengths(shape).into_iter().map(|of| of as i64)).collect();
        let image = graph.integers("input.shape", &[image.len()], &image);
        (graph.node("Reshape", "input.image", &[&vector, &image]), true)
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
                // 32 bits hold numbers of some size only to a small part of a small deviation.
                let is_far = mean.iter().zip(deviation).any(|(mean, deviation)| mean.abs() > FAR * deviation);
                let kind = if is_far { DataType::Double } else { DataType::Float };
                if is_far {
                    let settings = vec![("to", Setting::Int(DataType::Double as i64))];
                    value = graph.node_with("Cast", "targets.standardized", &[&value], settings);
                }
                let constant = |graph: &mut Graph, name: &str, values: &[f64]| match kind {
                    DataType::Double => graph.doubles(name, &[width], values),
                    _ => {
                        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
                        graph.floats(name, &[width], &values)
                    }
                };
                if deviation.iter().any(|&factor| factor != 1.0) {
                    let deviation = constant(graph, "targets.deviation", deviation);
                    value = graph.node("Mul", "targets.scaled", &[&value, &deviation]);
                }
                if mean.iter().any(|&mean| mean != 0.0) {
                    let mean = constant(graph, "targets.mean", mean);
                    value = graph.node("Add", "targets.restored", &[&value, &mean]);
                }
                graph.output(value, PREDICTION, kind, &[width]);
            }
        }
    }
}

/// The columns, if each is a number that is stored as it is within its bounds.
fn plain_numbers(preparation: &Preparation) -> Option<Vec<&Standardized>> {
    preparation.columns.iter().map(|column| plain_number(&column.becomes)).collect()
}

fn plain_number(becomes: &Becomes) -> Option<&Standardized> {
    match becomes {
        Becomes::Number { number: Some(number), missing: false } => {
            ((number.shift, number.unit) == (0.0, 1.0)).then_some(number)
        }
        _ => None,
    }
}

/// Values between the bounds of their columns.
fn clipped(graph: &mut Graph, numbers: &[&Standardized], shape: Shape, value: Value) -> Value {
    let mut bound = |name: &str, of: &dyn Fn(&Standardized) -> f64| {
        let bounds: Vec<f32> = numbers.iter().map(|number| of(number) as f32).collect();
        graph.floats(name, &lengths(shape), &bounds)
    };
    let low = bound("input.low", &|number| number.low.unwrap_or(f64::NEG_INFINITY));
    let high = bound("input.high", &|number| number.high.unwrap_or(f64::INFINITY));
    let from_low = graph.node("Max", "input.from_low", &[&value, &low]);
    graph.node("Min", "input.to_high", &[&from_low, &high])
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
