//! What a unit applies to its sum, and the derivative of that, which is computed from the result alone.

use crate::functions::{relu, sigmoid, tanh};
use crate::spec::Activation;

impl Activation {
    /// Replaces each sum by its activation. NaN stays NaN, so that a diverged run is seen to have diverged.
    pub(crate) fn forward(self, values: &mut [f32]) {
        match self {
            Activation::Relu => apply(values, relu),
            Activation::Tanh => apply(values, tanh),
            Activation::Sigmoid => apply(values, sigmoid),
            Activation::None => {}
        }
    }

    /// Turns the derivatives by the activations, `delta`, into derivatives by the sums. `activations` are the results of
    /// [`Activation::forward`].
    pub(crate) fn backward(self, activations: &[f32], delta: &mut [f32]) {
        match self {
            Activation::Relu => combine(activations, delta, |a, d| if a <= 0.0 { 0.0 } else { d }),
            Activation::Tanh => combine(activations, delta, |a, d| d * (1.0 - a * a)),
            Activation::Sigmoid => combine(activations, delta, |a, d| d * (a * (1.0 - a))),
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
fn combine(activations: &[f32], delta: &mut [f32], function: impl Fn(f32, f32) -> f32) {
    for (delta, &activation) in delta.iter_mut().zip(activations) {
        *delta = function(activation, *delta);
    }
}
