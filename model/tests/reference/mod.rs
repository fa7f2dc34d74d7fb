//! The network written out in `f64`, straight from the definitions and with nothing shared with the product.

use model::{Activation, Conv2dSpec, LayerSpec, LossSpec, NetworkSpec, Padding, PoolSpec};

/// The outputs for one example's preprocessed `values`, and the smallest standard deviation that a layer normalisation
/// divided by: where that is tiny, so is the precision of `f32`. `weights` is the flat vector, of which the output layer
/// gets `columns` units.
pub(crate) fn outputs(
    spec: &NetworkSpec,
    columns: usize,
    weights: &[f64],
    values: Vec<f64>,
) -> (Vec<f64>, f64) {
    let image = spec.input.unwrap_or([1, 1, 0]).map(|size| size as usize);
    let mut walk = Walk { values, image, weights, smallest_deviation: f64::INFINITY };
    for layer in &spec.layers {
        walk.layer(layer);
    }
    walk.dense(columns, Activation::None);
    assert!(walk.weights.is_empty(), "every parameter is used once");
    (walk.values, walk.smallest_deviation)
}

/// What the network answers where the output layer gives `values`: probabilities, or the numbers themselves.
pub(crate) fn predictions(spec: &NetworkSpec, values: Vec<f64>) -> Vec<f64> {
    match spec.loss {
        None | Some(LossSpec::MeanSquaredError | LossSpec::Huber) => values,
        Some(LossSpec::BinaryCrossEntropy) => values.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect(),
        Some(LossSpec::SoftmaxCrossEntropy) => {
            let sum: f64 = values.iter().map(|z| z.exp()).sum();
            values.iter().map(|z| z.exp() / sum).collect()
        }
    }
}

/// The loss of the outputs `values` for an example of this class.
pub(crate) fn loss_of_class(spec: &NetworkSpec, values: &[f64], class: usize) -> f64 {
    let normaliser = values.iter().map(|z| z.exp()).sum::<f64>().ln();
    let smoothing = f64::from(spec.label_smoothing);
    let even = values.iter().map(|z| normaliser - z).sum::<f64>() / values.len() as f64;
    let weight = spec.class_weights.get(class).map_or(1.0, |&weight| f64::from(weight));
    weight * ((1.0 - smoothing) * (normaliser - values[class]) + smoothing * even)
}

/// The loss of the outputs `values` for these targets.
pub(crate) fn loss_of_numbers(spec: &NetworkSpec, values: &[f64], targets: &[f64]) -> f64 {
    let delta = spec.huber_delta.map_or(1.0, f64::from);
    let term = |(o, t): (&f64, &f64)| match spec.loss {
        Some(LossSpec::BinaryCrossEntropy) => {
            let p = 1.0 / (1.0 + (-o).exp());
            -t * p.ln() - (1.0 - t) * (1.0 - p).ln()
        }
        Some(LossSpec::Huber) if (o - t).abs() <= delta => 0.5 * (o - t).powi(2),
        Some(LossSpec::Huber) => delta * ((o - t).abs() - 0.5 * delta),
        _ => (o - t).powi(2),
    };
    values.iter().zip(targets).map(term).sum::<f64>() / values.len() as f64
}

struct Walk<'a> {
    /// What the last layer answered.
    values: Vec<f64>,
    /// Channels, height and width of the values, where they are an image.
    image: [usize; 3],
    /// The parameters of the layers to come.
    weights: &'a [f64],
    smallest_deviation: f64,
}

impl<'a> Walk<'a> {
    fn layer(&mut self, layer: &LayerSpec) {
        match layer {
            LayerSpec::Dense(dense) => self.dense(dense.units as usize, dense.activation),
            LayerSpec::Conv2d(conv2d) => self.conv2d(conv2d),
            LayerSpec::MaxPool(pool) => self.pool(pool, largest),
            LayerSpec::AveragePool(pool) => self.pool(pool, mean),
            LayerSpec::GlobalMaxPool => self.global_pool(largest),
            LayerSpec::GlobalAveragePool => self.global_pool(mean),
            LayerSpec::LayerNorm => self.layer_norm(),
            LayerSpec::Flatten => {}
            LayerSpec::Activation(spec) => {
                self.values.iter_mut().for_each(|value| *value = activate(spec.function, *value));
            }
        }
    }

    /// The value at a place of the image, or the padding around it.
    fn at(&self, channel: usize, y: i64, x: i64) -> f64 {
        let [_, height, width] = self.image;
        if y < 0 || x < 0 || y >= height as i64 || x >= width as i64 {
            return 0.0;
        }
        self.values[(channel * height + y as usize) * width + x as usize]
    }

    fn conv2d(&mut self, spec: &Conv2dSpec) {
        let [channels_in, height, width] = self.image;
        let [channels, size, stride, groups] =
            [spec.channels, spec.kernel, spec.stride, spec.groups].map(|number| number as usize);
        // How many windows there are along an axis, and how much padding is before the first.
        let axis = |length: usize| match spec.padding {
            Padding::Valid => ((length - size) / stride + 1, 0),
            Padding::Number(p) => ((length + 2 * p as usize - size) / stride + 1, i64::from(p)),
            Padding::Same => {
                let count = length.div_ceil(stride);
                (count, ((count - 1) * stride + size).saturating_sub(length) as i64 / 2)
            }
        };
        let ((rows, top), (columns, left)) = (axis(height), axis(width));
        let inputs = channels_in / groups;
        let weight = self.take(channels * inputs * size * size);
        let bias = self.take(channels);
        let mut values = Vec::new();
        for (channel, &bias) in bias.iter().enumerate() {
            let group = channel / (channels / groups);
            for i in 0..rows {
                for j in 0..columns {
                    let mut sum = bias;
                    for input in 0..inputs {
                        for a in 0..size {
                            for b in 0..size {
                                let (y, x) = ((i * stride + a) as i64 - top, (j * stride + b) as i64 - left);
                                let tap = ((channel * inputs + input) * size + a) * size + b;
                                sum += weight[tap] * self.at(group * inputs + input, y, x);
                            }
                        }
                    }
                    values.push(activate(spec.activation, sum));
                }
            }
        }
        (self.values, self.image) = (values, [channels, rows, columns]);
    }

    fn pool(&mut self, spec: &PoolSpec, pooled: fn(&[f64]) -> f64) {
        let [channels, height, width] = self.image;
        let (size, stride) = (spec.size as usize, spec.stride.unwrap_or(spec.size) as usize);
        let (rows, columns) = ((height - size) / stride + 1, (width - size) / stride + 1);
        let mut values = Vec::new();
        for channel in 0..channels {
            for i in 0..rows {
                for j in 0..columns {
                    let places =
                        (0..size).flat_map(|a| (0..size).map(move |b| (i * stride + a, j * stride + b)));
                    let window: Vec<f64> =
                        places.map(|(y, x)| self.at(channel, y as i64, x as i64)).collect();
                    values.push(pooled(&window));
                }
            }
        }
        (self.values, self.image) = (values, [channels, rows, columns]);
    }

    fn layer_norm(&mut self) {
        let (gain, bias) = (self.take(self.values.len()), self.take(self.values.len()));
        let middle = mean(&self.values);
        let squares: Vec<f64> = self.values.iter().map(|value| (value - middle).powi(2)).collect();
        let deviation = (mean(&squares) + 1e-5).sqrt();
        self.smallest_deviation = self.smallest_deviation.min(deviation);
        for ((value, gain), bias) in self.values.iter_mut().zip(gain).zip(bias) {
            *value = (*value - middle) / deviation * gain + bias;
        }
    }

    fn global_pool(&mut self, pooled: fn(&[f64]) -> f64) {
        let [_, height, width] = self.image;
        self.values = self.values.chunks(height * width).map(pooled).collect();
    }

    fn dense(&mut self, units: usize, activation: Activation) {
        let weight = self.take(self.values.len() * units);
        let bias = self.take(units);
        let sum = |j: usize| {
            bias[j] + self.values.iter().enumerate().map(|(p, x)| x * weight[p * units + j]).sum::<f64>()
        };
        self.values = (0..units).map(|j| activate(activation, sum(j))).collect();
    }

    fn take(&mut self, count: usize) -> &'a [f64] {
        let (taken, rest) = self.weights.split_at(count);
        self.weights = rest;
        taken
    }
}

fn largest(window: &[f64]) -> f64 {
    window.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn mean(window: &[f64]) -> f64 {
    window.iter().sum::<f64>() / window.len() as f64
}

fn activate(activation: Activation, z: f64) -> f64 {
    match activation {
        Activation::Relu => z.max(0.0),
        Activation::LeakyRelu => z.max(0.01 * z),
        Activation::Tanh => z.tanh(),
        Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
        Activation::Gelu => 0.5 * z * (1.0 + libm::erf(z / 2.0f64.sqrt())),
        Activation::Silu => z / (1.0 + (-z).exp()),
        Activation::Softplus => z.exp().ln_1p(),
        Activation::None => z,
    }
}
