//! A plain `f64` network, written directly from the definitions and sharing nothing with the product.

use model::{
    Activation, Conv2dSpec, DropoutSpec, EmbeddingSpec, LayerSpec, LossSpec, Network, NetworkSpec, Padding,
    Pass, PoolSpec, ResidualSpec, Shortcut,
};

/// The outputs of a network for some examples.
pub(crate) struct Outputs {
    /// One row per example.
    pub(crate) rows: Vec<Vec<f64>>,
    /// The batch means and unbiased variances in batch normalizations, in the order of the parameters.
    pub(crate) statistics: Vec<f64>,
    /// The smallest standard deviation that a normalization divided by. If it is tiny, `f32` results are
    /// imprecise.
    pub(crate) smallest_deviation: f64,
}

/// The outputs for preprocessed `rows`. In training, the rows are one minibatch, and the pass gives the
/// number of its first example. `weights` is the flat vector.
pub(crate) fn outputs(
    network: &Network,
    weights: &[f64],
    rows: Vec<Vec<f64>>,
    training: Option<Pass>,
) -> Outputs {
    let spec = network.spec();
    let image = spec.input.unwrap_or([1, 1, 0]).map(|size| size as usize);
    let (weights, statistics) = weights.split_at(network.trainable());
    let mut walk = Walk {
        rows,
        image,
        weights,
        statistics,
        training,
        dropouts: 0,
        observed: Vec::new(),
        smallest_deviation: f64::INFINITY,
    };
    walk.layers(&spec.layers);
    walk.dense(network.outputs(), Activation::None);
    assert!(walk.weights.is_empty() && walk.statistics.is_empty(), "every parameter is used once");
    Outputs { rows: walk.rows, statistics: walk.observed, smallest_deviation: walk.smallest_deviation }
}

/// The network's predictions from the output layer's `values`: probabilities, or the numbers themselves.
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
    let normalizer = values.iter().map(|z| z.exp()).sum::<f64>().ln();
    let smoothing = f64::from(spec.label_smoothing);
    let even = values.iter().map(|z| normalizer - z).sum::<f64>() / values.len() as f64;
    let weight = spec.class_weights.get(class).map_or(1.0, |&weight| f64::from(weight));
    weight * ((1.0 - smoothing) * (normalizer - values[class]) + smoothing * even)
}

/// The loss of the outputs `values` for these targets.
pub(crate) fn loss_of_numbers(spec: &NetworkSpec, values: &[f64], targets: &[f64]) -> f64 {
    let delta = spec.huber_delta.map_or(1.0, f64::from);
    let term = |(o, t): (&f64, &f64)| match spec.loss {
        Some(LossSpec::BinaryCrossEntropy) => {
            // With p = 1 / (1 + exp(-o)): -t ln(p) - (1 - t) ln(1 - p), without the cancellation in 1 - p.
            let softplus = |z: f64| z.max(0.0) + (-z.abs()).exp().ln_1p();
            t * softplus(-o) + (1.0 - t) * softplus(*o)
        }
        Some(LossSpec::Huber) if (o - t).abs() <= delta => 0.5 * (o - t).powi(2),
        Some(LossSpec::Huber) => delta * ((o - t).abs() - 0.5 * delta),
        _ => (o - t).powi(2),
    };
    values.iter().zip(targets).map(term).sum::<f64>() / values.len() as f64
}

struct Walk<'a> {
    /// The last layer's outputs, one row per example.
    rows: Vec<Vec<f64>>,
    /// Channels, height and width of a row, if it is an image.
    image: [usize; 3],
    /// The parameters of the remaining layers.
    weights: &'a [f64],
    statistics: &'a [f64],
    training: Option<Pass>,
    dropouts: u32,
    observed: Vec<f64>,
    smallest_deviation: f64,
}

impl<'a> Walk<'a> {
    fn layers(&mut self, layers: &[LayerSpec]) {
        layers.iter().for_each(|layer| self.layer(layer));
    }

    fn layer(&mut self, layer: &LayerSpec) {
        match layer {
            LayerSpec::Dense(dense) => self.dense(dense.units as usize, dense.activation),
            LayerSpec::Conv2d(conv2d) => self.conv2d(conv2d),
            LayerSpec::MaxPool(pool) => self.pool(pool, largest),
            LayerSpec::AveragePool(pool) => self.pool(pool, mean),
            LayerSpec::GlobalMaxPool => self.global_pool(largest),
            LayerSpec::GlobalAveragePool => self.global_pool(mean),
            LayerSpec::LayerNorm(norm) => self.layer_norm(f64::from(norm.epsilon)),
            LayerSpec::BatchNorm(norm) => self.batch_norm(f64::from(norm.epsilon)),
            LayerSpec::Dropout(dropout) => self.dropout(dropout),
            LayerSpec::Flatten => self.image = [1, 1, 0],
            LayerSpec::Activation(spec) => self.activate(spec.function),
            LayerSpec::Residual(residual) => self.residual(residual),
            LayerSpec::Embedding(embedding) => self.embedding(embedding),
        }
    }

    fn activate(&mut self, activation: Activation) {
        self.rows.iter_mut().flatten().for_each(|value| *value = activate(activation, *value));
    }

    fn width(&self) -> usize {
        self.rows[0].len()
    }

    fn conv2d(&mut self, spec: &Conv2dSpec) {
        let [channels_in, height, width] = self.image;
        let [channels, size, stride, groups] =
            [spec.channels, spec.kernel, spec.stride, spec.groups].map(|number| number as usize);
        let ((rows, top), (columns, left)) =
            (axis(height, size, stride, spec.padding), axis(width, size, stride, spec.padding));
        let inputs = channels_in / groups;
        let weight = self.take(channels * inputs * size * size);
        let bias = self.take(channels);
        for example in &mut self.rows {
            let mut values = Vec::new();
            for (channel, &bias) in bias.iter().enumerate() {
                let group = channel / (channels / groups);
                for i in 0..rows {
                    for j in 0..columns {
                        let mut sum = bias;
                        for input in 0..inputs {
                            for a in 0..size {
                                for b in 0..size {
                                    let place =
                                        ((i * stride + a) as i64 - top, (j * stride + b) as i64 - left);
                                    let tap = ((channel * inputs + input) * size + a) * size + b;
                                    sum +=
                                        weight[tap] * at(example, self.image, group * inputs + input, place);
                                }
                            }
                        }
                        values.push(activate(spec.activation, sum));
                    }
                }
            }
            *example = values;
        }
        self.image = [channels, rows, columns];
    }

    fn pool(&mut self, spec: &PoolSpec, pooled: fn(&[f64]) -> f64) {
        let [channels, height, width] = self.image;
        let (size, stride) = (spec.size as usize, spec.stride.unwrap_or(spec.size) as usize);
        let ((rows, top), (columns, left)) =
            (axis(height, size, stride, spec.padding), axis(width, size, stride, spec.padding));
        let is_inside = |(y, x): &(i64, i64)| (0..height as i64).contains(y) && (0..width as i64).contains(x);
        for example in &mut self.rows {
            let mut values = Vec::new();
            for channel in 0..channels {
                for i in 0..rows {
                    for j in 0..columns {
                        let places = (0..size).flat_map(|a| {
                            (0..size)
                                .map(move |b| ((i * stride + a) as i64 - top, (j * stride + b) as i64 - left))
                        });
                        let window: Vec<f64> = places
                            .filter(is_inside)
                            .map(|place| at(example, self.image, channel, place))
                            .collect();
                        values.push(pooled(&window));
                    }
                }
            }
            *example = values;
        }
        self.image = [channels, rows, columns];
    }

    fn layer_norm(&mut self, epsilon: f64) {
        let (gain, bias) = (self.take(self.width()), self.take(self.width()));
        for example in &mut self.rows {
            let middle = mean(example);
            let squares: Vec<f64> = example.iter().map(|value| (value - middle).powi(2)).collect();
            let deviation = (mean(&squares) + epsilon).sqrt();
            self.smallest_deviation = self.smallest_deviation.min(deviation);
            for ((value, gain), bias) in example.iter_mut().zip(gain).zip(bias) {
                *value = (*value - middle) / deviation * gain + bias;
            }
        }
    }

    fn batch_norm(&mut self, epsilon: f64) {
        let [_, height, width] = self.image;
        let places = (height * width).max(1);
        let channels = self.width() / places;
        let (gain, bias) = (self.take(channels), self.take(channels));
        let (running, rest) = self.statistics.split_at(2 * channels);
        self.statistics = rest;
        let (mut means, mut variances) = (Vec::new(), Vec::new());
        for channel in 0..channels {
            let range = channel * places..(channel + 1) * places;
            let all: Vec<f64> = self.rows.iter().flat_map(|row| row[range.clone()].to_vec()).collect();
            let middle = mean(&all);
            let squares: Vec<f64> = all.iter().map(|value| (value - middle).powi(2)).collect();
            let unbiased = squares.iter().sum::<f64>() / (all.len() as f64 - 1.0).max(1.0);
            means.push(middle);
            variances.push(unbiased);
            let (middle, deviation) = match self.training {
                Some(_) => (middle, (mean(&squares) + epsilon).sqrt()),
                None => (running[channel], (running[channels + channel] + epsilon).sqrt()),
            };
            // A single value equals its mean, whatever the precision.
            if all.len() > 1 {
                self.smallest_deviation = self.smallest_deviation.min(deviation);
            }
            for value in self.rows.iter_mut().flat_map(|row| &mut row[range.clone()]) {
                *value = (*value - middle) / deviation * gain[channel] + bias[channel];
            }
        }
        self.observed.extend(means.into_iter().chain(variances));
    }

    fn dropout(&mut self, spec: &DropoutSpec) {
        let number = self.dropouts;
        self.dropouts += 1;
        let Some(pass) = self.training else { return };
        let (seed, epoch) = (pass.mask_seed, pass.mask_epoch);
        let key = philox([seed as u32, (seed >> 32) as u32], [epoch as u32, (epoch >> 32) as u32, 0, 0]);
        let dropped = (f64::from(spec.rate) * 65536.0).round();
        for (i, row) in self.rows.iter_mut().enumerate() {
            let example = pass.first_example + i as u64;
            for (j, value) in row.iter_mut().enumerate() {
                let counter = [example as u32, (example >> 32) as u32, j as u32 / 8, number];
                let words = philox([key[0], key[1]], counter);
                let chance = words[j % 8 / 2].to_le_bytes();
                let chance = u16::from_le_bytes([chance[j % 2 * 2], chance[j % 2 * 2 + 1]]);
                *value *= if f64::from(chance) < dropped { 0.0 } else { 65536.0 / (65536.0 - dropped) };
            }
        }
    }

    fn residual(&mut self, spec: &ResidualSpec) {
        let (seen, image) = (self.rows.clone(), self.image);
        self.layers(&spec.layers);
        let (answer, answer_image) = (std::mem::replace(&mut self.rows, seen), self.image);
        if spec.shortcut == Shortcut::Projection {
            self.image = image;
            let [_, height, width] = image;
            let [channels, rows, columns] = answer_image;
            if rows * columns > 0 {
                let fits = |s: &usize| height.div_ceil(*s) == rows && width.div_ceil(*s) == columns;
                let stride = (1..).find(fits).expect("the network is valid");
                self.conv2d(&Conv2dSpec {
                    channels: channels as u32,
                    kernel: 1,
                    stride: stride as u32,
                    padding: Padding::Valid,
                    groups: 1,
                    activation: Activation::None,
                    initializer: None,
                });
            } else {
                self.dense(answer[0].len(), Activation::None);
            }
        }
        self.image = answer_image;
        for (value, answer) in self.rows.iter_mut().flatten().zip(answer.iter().flatten()) {
            *value += answer;
        }
        self.activate(spec.activation);
    }

    fn embedding(&mut self, spec: &EmbeddingSpec) {
        let width = spec.width as usize;
        let weight = self.take(spec.vocabulary as usize * width);
        for row in &mut self.rows {
            *row = row.iter().flat_map(|&id| weight[id as usize * width..][..width].to_vec()).collect();
        }
    }

    fn global_pool(&mut self, pooled: fn(&[f64]) -> f64) {
        let [_, height, width] = self.image;
        for example in &mut self.rows {
            *example = example.chunks(height * width).map(pooled).collect();
        }
        self.image = [1, 1, 0];
    }

    fn dense(&mut self, units: usize, activation: Activation) {
        let weight = self.take(self.width() * units);
        let bias = self.take(units);
        for example in &mut self.rows {
            let sum = |j: usize| {
                bias[j] + example.iter().enumerate().map(|(p, x)| x * weight[p * units + j]).sum::<f64>()
            };
            *example = (0..units).map(|j| activate(activation, sum(j))).collect();
        }
        self.image = [1, 1, 0];
    }

    fn take(&mut self, count: usize) -> &'a [f64] {
        let (taken, rest) = self.weights.split_at(count);
        self.weights = rest;
        taken
    }
}

/// The number of windows along an axis, and the padding before the first.
fn axis(length: usize, size: usize, stride: usize, padding: Padding) -> (usize, i64) {
    match padding {
        Padding::Valid => ((length - size) / stride + 1, 0),
        Padding::Number(p) => ((length + 2 * p as usize - size) / stride + 1, i64::from(p)),
        Padding::Same => {
            let count = length.div_ceil(stride);
            (count, ((count - 1) * stride + size).saturating_sub(length) as i64 / 2)
        }
    }
}

/// The value at a place of an image, or the padding around it.
fn at(values: &[f64], [_, height, width]: [usize; 3], channel: usize, (y, x): (i64, i64)) -> f64 {
    if y < 0 || x < 0 || y >= height as i64 || x >= width as i64 {
        return 0.0;
    }
    values[(channel * height + y as usize) * width + x as usize]
}

/// Philox4x32-10, as its authors describe it.
fn philox(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let mut state = counter;
    for round in 0..10u32 {
        let bump = |word: u32, by: u32| u64::from(word.wrapping_add(by.wrapping_mul(round)));
        let (k0, k1) = (bump(key[0], 0x9E37_79B9), bump(key[1], 0xBB67_AE85));
        let p0 = 0xD251_1F53u64 * u64::from(state[0]);
        let p1 = 0xCD9E_8D57u64 * u64::from(state[2]);
        state = [
            ((p1 >> 32) ^ u64::from(state[1]) ^ k0) as u32,
            p1 as u32,
            ((p0 >> 32) ^ u64::from(state[3]) ^ k1) as u32,
            p0 as u32,
        ];
    }
    state
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
        Activation::LeakyRelu(slope) => z.max(f64::from(slope.get()) * z),
        Activation::Tanh => z.tanh(),
        Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
        Activation::Gelu => 0.5 * z * (1.0 + libm::erf(z / 2.0f64.sqrt())),
        Activation::Silu => z / (1.0 + (-z).exp()),
        Activation::Softplus => z.exp().ln_1p(),
        Activation::None => z,
    }
}
