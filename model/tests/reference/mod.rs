//! The network written out in `f64`, straight from the definitions and with nothing shared with the product.

use model::{Activation, LayerSpec, LossSpec, NetworkSpec};

/// The outputs for one example's preprocessed `values`. `weights` is the flat vector, of which the output layer gets
/// `columns` units.
pub(crate) fn outputs(spec: &NetworkSpec, columns: usize, weights: &[f64], values: Vec<f64>) -> Vec<f64> {
    let mut walk = Walk { values, weights };
    for layer in &spec.layers {
        walk.layer(layer);
    }
    walk.dense(columns, Activation::None);
    assert!(walk.weights.is_empty(), "every parameter is used once");
    walk.values
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
    /// The parameters of the layers to come.
    weights: &'a [f64],
}

impl<'a> Walk<'a> {
    fn layer(&mut self, layer: &LayerSpec) {
        match layer {
            LayerSpec::Dense(dense) => self.dense(dense.units as usize, dense.activation),
        }
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
