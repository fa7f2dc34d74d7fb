//! The layers as operators. Values keep the order and shapes that `model` documents; nothing is transposed.

use std::collections::BTreeMap;

use model::{
    Activation, Conv2dSpec, LayerSpec, Network, NormSpec, Padding, ParameterBlock, PoolSpec, ResidualSpec,
    Shape, Shortcut,
};

use super::graph::{Graph, Setting, Value};

/// Writes layer after layer.
pub(super) struct Layers<'a> {
    graph: &'a mut Graph,
    weights: &'a [f32],
    blocks: BTreeMap<&'a str, &'a ParameterBlock>,
    /// The shape of each layer's outputs, by its name.
    shapes: BTreeMap<&'a str, Shape>,
}

/// A value on its way through the network, with the shape of one example.
struct Flow {
    value: Value,
    shape: Shape,
}

impl<'a> Layers<'a> {
    pub(super) fn new(graph: &'a mut Graph, network: &'a Network, weights: &'a [f32]) -> Layers<'a> {
        let blocks = network.layout().iter().map(|block| (block.name.as_str(), block)).collect();
        let shapes = network.layers().iter().map(|layer| (layer.name.as_str(), layer.shape)).collect();
        Layers { graph, weights, blocks, shapes }
    }

    /// From the network's inputs to the sums of its output layer. An embedding sees integers.
    pub(super) fn write(&mut self, network: &Network, input: Value) -> Value {
        let mut flow = Flow { value: input, shape: network.shapes()[0] };
        for (i, layer) in network.spec().layers.iter().enumerate() {
            flow = self.layer(&format!("layers.{i}"), layer, flow);
        }
        self.dense(&format!("layers.{}", network.spec().layers.len()), flow).value
    }

    fn layer(&mut self, name: &str, layer: &LayerSpec, flow: Flow) -> Flow {
        match layer {
            LayerSpec::Dense(spec) => {
                let flow = self.dense(name, flow);
                self.activation(name, spec.activation, flow)
            }
            LayerSpec::Conv2d(spec) => {
                let flow = self.conv2d(name, spec, flow);
                self.activation(name, spec.activation, flow)
            }
            LayerSpec::MaxPool(spec) => self.pool(name, "MaxPool", spec, flow),
            LayerSpec::AveragePool(spec) => self.pool(name, "AveragePool", spec, flow),
            LayerSpec::GlobalMaxPool => self.global_pool(name, "GlobalMaxPool", flow),
            LayerSpec::GlobalAveragePool => self.global_pool(name, "GlobalAveragePool", flow),
            LayerSpec::LayerNorm(spec) => self.layer_norm(name, spec, flow),
            LayerSpec::BatchNorm(spec) => self.batch_norm(name, spec, flow),
            // In inference it changes nothing.
            LayerSpec::Dropout(_) => flow,
            LayerSpec::Flatten => self.flat(name, flow),
            LayerSpec::Activation(spec) => self.activation(name, spec.function, flow),
            LayerSpec::Residual(spec) => self.residual(name, spec, flow),
            LayerSpec::Embedding(_) => self.embedding(name, flow),
        }
    }

    fn dense(&mut self, name: &str, flow: Flow) -> Flow {
        let flow = self.flat(name, flow);
        let (weight, bias) = (self.parameter(name, "weight"), self.parameter(name, "bias"));
        let value = self.graph.node("Gemm", &format!("{name}.sum"), &[&flow.value, &weight, &bias]);
        Flow { value, shape: self.shapes[name] }
    }

    fn conv2d(&mut self, name: &str, spec: &Conv2dSpec, flow: Flow) -> Flow {
        let (weight, bias) = (self.parameter(name, "weight"), self.parameter(name, "bias"));
        let size = i64::from(spec.kernel);
        let (Shape::Image { height, width, .. }, Shape::Image { height: rows, width: columns, .. }) =
            (flow.shape, self.shapes[name])
        else {
            unreachable!("a convolution goes from image to image")
        };
        let (top, bottom) = padding(spec.padding, spec.kernel, spec.stride, height, rows);
        let (left, right) = padding(spec.padding, spec.kernel, spec.stride, width, columns);
        let settings = vec![
            ("kernel_shape", Setting::Ints(vec![size; 2])),
            ("strides", Setting::Ints(vec![i64::from(spec.stride); 2])),
            ("pads", Setting::Ints(vec![top, left, bottom, right])),
            ("group", Setting::Int(i64::from(spec.groups))),
        ];
        let inputs = [&flow.value, &weight, &bias];
        let value = self.graph.node_with("Conv", &format!("{name}.sum"), &inputs, settings);
        Flow { value, shape: self.shapes[name] }
    }

    fn pool(&mut self, name: &str, operator: &str, spec: &PoolSpec, flow: Flow) -> Flow {
        let stride = spec.stride.unwrap_or(spec.size);
        let (Shape::Image { height, width, .. }, Shape::Image { height: rows, width: columns, .. }) =
            (flow.shape, self.shapes[name])
        else {
            unreachable!("a pool goes from image to image")
        };
        let (top, bottom) = padding(spec.padding, spec.size, stride, height, rows);
        let (left, right) = padding(spec.padding, spec.size, stride, width, columns);
        // Neither operator counts padded places, unless told to.
        let settings = vec![
            ("kernel_shape", Setting::Ints(vec![i64::from(spec.size); 2])),
            ("strides", Setting::Ints(vec![i64::from(stride); 2])),
            ("pads", Setting::Ints(vec![top, left, bottom, right])),
        ];
        let value = self.graph.node_with(operator, &format!("{name}.pool"), &[&flow.value], settings);
        Flow { value, shape: self.shapes[name] }
    }

    fn global_pool(&mut self, name: &str, operator: &str, flow: Flow) -> Flow {
        let pooled = self.graph.node(operator, &format!("{name}.pool"), &[&flow.value]);
        // [examples, channels, 1, 1].
        let value = self.graph.node("Flatten", &format!("{name}.vector"), &[&pooled]);
        Flow { value, shape: self.shapes[name] }
    }

    fn layer_norm(&mut self, name: &str, spec: &NormSpec, flow: Flow) -> Flow {
        let lengths = lengths(flow.shape);
        let gain = self.shaped_parameter(name, "gain", &lengths);
        let bias = self.shaped_parameter(name, "bias", &lengths);
        let settings = vec![("axis", Setting::Int(1)), ("epsilon", Setting::Float(spec.epsilon))];
        let inputs = [&flow.value, &gain, &bias];
        let value =
            self.graph.node_with("LayerNormalization", &format!("{name}.normalized"), &inputs, settings);
        Flow { value, ..flow }
    }

    fn batch_norm(&mut self, name: &str, spec: &NormSpec, flow: Flow) -> Flow {
        let parts = ["gain", "bias", "running_mean", "running_variance"];
        let [gain, bias, mean, variance] = parts.map(|part| self.parameter(name, part));
        let settings = vec![("epsilon", Setting::Float(spec.epsilon))];
        let inputs = [&flow.value, &gain, &bias, &mean, &variance];
        let value =
            self.graph.node_with("BatchNormalization", &format!("{name}.normalized"), &inputs, settings);
        Flow { value, ..flow }
    }

    fn embedding(&mut self, name: &str, flow: Flow) -> Flow {
        let weight = self.parameter(name, "weight");
        let vectors = self.graph.node("Gather", &format!("{name}.vectors"), &[&weight, &flow.value]);
        // [examples, columns, width].
        let value = self.graph.node("Flatten", &format!("{name}.vector"), &[&vectors]);
        Flow { value, shape: self.shapes[name] }
    }

    fn residual(&mut self, name: &str, spec: &ResidualSpec, flow: Flow) -> Flow {
        let input = Flow { value: flow.value.clone(), shape: flow.shape };
        let mut flow = flow;
        for (i, layer) in spec.layers.iter().enumerate() {
            flow = self.layer(&format!("{name}.body.{i}"), layer, flow);
        }
        let shortcut = match spec.shortcut {
            Shortcut::Identity => input.value,
            Shortcut::Projection => self.projection(&format!("{name}.shortcut"), input).value,
        };
        let value = self.graph.node("Add", &format!("{name}.sum"), &[&shortcut, &flow.value]);
        self.activation(name, spec.activation, Flow { value, ..flow })
    }

    /// A dense layer, or a convolution with windows of one place.
    fn projection(&mut self, name: &str, flow: Flow) -> Flow {
        match (flow.shape, self.shapes[name]) {
            (Shape::Image { height, .. }, Shape::Image { channels, height: rows, width }) => {
                let shape = Shape::Image { channels, height: rows, width };
                let (weight, bias) = (self.parameter(name, "weight"), self.parameter(name, "bias"));
                let columns = match flow.shape {
                    Shape::Image { width, .. } => width,
                    Shape::Vector(values) => values,
                };
                // The smallest stride that fits both axes, as `model` takes it.
                let fits =
                    |stride: &usize| height.div_ceil(*stride) == rows && columns.div_ceil(*stride) == width;
                let stride = (1..=height.max(columns)).find(fits).unwrap_or(1) as i64;
                let settings = vec![
                    ("kernel_shape", Setting::Ints(vec![1; 2])),
                    ("strides", Setting::Ints(vec![stride; 2])),
                ];
                let inputs = [&flow.value, &weight, &bias];
                let value = self.graph.node_with("Conv", &format!("{name}.sum"), &inputs, settings);
                Flow { value, shape }
            }
            _ => self.dense(name, flow),
        }
    }

    fn activation(&mut self, name: &str, activation: Activation, flow: Flow) -> Flow {
        let input = &flow.value;
        let name = format!("{name}.{}", activation.name());
        let value = match activation {
            Activation::Relu => self.graph.node("Relu", &name, &[input]),
            Activation::LeakyRelu(slope) => {
                let settings = vec![("alpha", Setting::Float(slope.get()))];
                self.graph.node_with("LeakyRelu", &name, &[input], settings)
            }
            Activation::Tanh => self.graph.node("Tanh", &name, &[input]),
            Activation::Sigmoid => self.graph.node("Sigmoid", &name, &[input]),
            Activation::Gelu => {
                self.graph.node_with("Gelu", &name, &[input], vec![("approximate", Setting::Text("none"))])
            }
            Activation::Silu => {
                let gate = self.graph.node("Sigmoid", &format!("{name}.gate"), &[input]);
                self.graph.node("Mul", &name, &[input, &gate])
            }
            Activation::Softplus => self.graph.node("Softplus", &name, &[input]),
            Activation::None => return flow,
        };
        Flow { value, ..flow }
    }

    /// An image as a vector.
    fn flat(&mut self, name: &str, flow: Flow) -> Flow {
        match flow.shape {
            Shape::Vector(_) => flow,
            Shape::Image { .. } => Flow {
                value: self.graph.node("Flatten", &format!("{name}.vector"), &[&flow.value]),
                shape: Shape::Vector(flow.shape.len()),
            },
        }
    }

    fn parameter(&mut self, name: &str, part: &str) -> Value {
        let shape = self.blocks[&*format!("{name}.{part}")].shape.clone();
        self.shaped_parameter(name, part, &shape)
    }

    fn shaped_parameter(&mut self, name: &str, part: &str, lengths: &[usize]) -> Value {
        let block = self.blocks[&*format!("{name}.{part}")];
        self.graph.floats(&block.name, lengths, &self.weights[block.range.clone()])
    }
}

/// The lengths of one example's axes.
pub(super) fn lengths(shape: Shape) -> Vec<usize> {
    match shape {
        Shape::Vector(values) => vec![values],
        Shape::Image { channels, height, width } => vec![channels, height, width],
    }
}

/// The places added before and after `length` places that make `windows` windows.
fn padding(padding: Padding, size: u32, stride: u32, length: usize, windows: usize) -> (i64, i64) {
    match padding {
        Padding::Valid => (0, 0),
        Padding::Number(places) => (i64::from(places), i64::from(places)),
        Padding::Same => {
            let covered = (windows - 1) * stride as usize + size as usize;
            let both = covered.saturating_sub(length);
            ((both / 2) as i64, (both - both / 2) as i64)
        }
    }
}
