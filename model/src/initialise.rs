//! Where the weights start: a function of the seed and of each block's name and shape alone.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::layers::dense::Dense;
use crate::spec::Activation;

/// Separates these streams from any other use of the run's seed.
const CONTEXT: &str = "shoal network initialisation, version 1";

/// Fills the layer's weights with uniform numbers in `-limit .. limit` and its biases with 0.
///
/// Before a relu, `limit = sqrt(6 / fan_in)`, which gives the variance `2 / fan_in` of He, Zhang, Ren and Sun (2015),
/// "Delving Deep into Rectifiers", equation 10. Otherwise `limit = sqrt(6 / (fan_in + fan_out))`, the "normalized
/// initialization" of Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural
/// networks", equation 16.
pub(crate) fn dense(layer: &Dense, name: &str, seed: u64, weights: &mut [f32]) {
    let (fan_in, fan_out) = (layer.inputs as f64, layer.outputs as f64);
    let limit = match layer.activation {
        Activation::Relu => (6.0 / fan_in).sqrt(),
        Activation::Tanh | Activation::Sigmoid | Activation::None => (6.0 / (fan_in + fan_out)).sqrt(),
    };
    let mut random = stream(seed, name);
    for weight in &mut weights[layer.weight.clone()] {
        *weight = (symmetric(random.next_u32()) * limit) as f32;
    }
    weights[layer.bias.clone()].fill(0.0);
}

/// The random stream of this name under this seed.
fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let mut key = blake3::Hasher::new_derive_key(CONTEXT);
    key.update(&seed.to_le_bytes());
    key.update(name.as_bytes());
    ChaCha8Rng::from_seed(*key.finalize().as_bytes())
}

/// One of 2^24 equally spaced numbers strictly between -1 and 1, symmetric around 0.
fn symmetric(bits: u32) -> f64 {
    const STEP: f64 = 1.0 / (1 << 23) as f64;
    (f64::from(bits >> 8) + 0.5) * STEP - 1.0
}
