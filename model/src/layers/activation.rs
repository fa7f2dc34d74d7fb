//! The function that a unit applies to its sum, and the function's derivative.
//!
//! If the derivative follows from the result alone, a layer applies its activation in place. Otherwise the
//! derivative needs the sum, and the activation is a separate step that keeps both.

use crate::functions::{relu, sigmoid, tanh};
use crate::smooth::{gelu, gelu_derivative, silu, silu_derivative, softplus};
use crate::spec::Activation;

impl Activation {
    /// Replaces each sum by its activation. NaN stays NaN, so that a diverged run is recognized.
    pub(crate) fn forward(self, values: &mut [f32]) {
        match self {
            Activation::Relu => apply(values, relu),
            Activation::LeakyRelu(slope) => {
                let slope = slope.get();
                apply(values, |z| if z < 0.0 { slope * z } else { z });
            }
            Activation::Tanh => apply(values, tanh),
            Activation::Sigmoid => apply(values, sigmoid),
            Activation::Gelu => apply(values, gelu),
            Activation::Silu => apply(values, silu),
            Activation::Softplus => apply(values, softplus),
            Activation::None => {}
        }
    }

    /// Whether [`Activation::backward`] needs the sums rather than the results.
    pub(crate) fn needs_sums(self) -> bool {
        matches!(self, Activation::Gelu | Activation::Silu | Activation::Softplus)
    }

    /// Whether the activation passes positive sums through and holds back negative ones.
    pub(crate) fn is_like_relu(self) -> bool {
        match self {
            Activation::Relu
            | Activation::LeakyRelu(_)
            | Activation::Gelu
            | Activation::Silu
            | Activation::Softplus => true,
            Activation::Tanh | Activation::Sigmoid | Activation::None => false,
        }
    }

    /// Turns the derivatives by the activations, `delta`, into derivatives by the sums. `values` are the sums
    /// if [`Activation::needs_sums`], otherwise the results of [`Activation::forward`].
    pub(crate) fn backward(self, values: &[f32], delta: &mut [f32]) {
        match self {
            Activation::Relu => combine(values, delta, |a, d| if a <= 0.0 { 0.0 } else { d }),
            Activation::LeakyRelu(slope) => {
                let slope = slope.get();
                combine(values, delta, |a, d| if a < 0.0 { slope * d } else { d });
            }
            Activation::Tanh => combine(values, delta, |a, d| d * (1.0 - a * a)),
            Activation::Sigmoid => combine(values, delta, |a, d| d * (a * (1.0 - a))),
            Activation::Gelu => combine(values, delta, |z, d| d * gelu_derivative(z)),
            Activation::Silu => combine(values, delta, |z, d| d * silu_derivative(z)),
            Activation::Softplus => combine(values, delta, |z, d| d * sigmoid(z)),
            Activation::None => {}
        }
    }
}

#[inline(always)]
fn apply(values: &mut [f32], function: impl Fn(f32) -> f32) {
    for value in values {
        *value = function(*value);
    }
}

#[inline(always)]
fn combine(values: &[f32], delta: &mut [f32], function: impl Fn(f32, f32) -> f32) {
    for (delta, &value) in delta.iter_mut().zip(values) {
        *delta = function(value, *delta);
    }
}
