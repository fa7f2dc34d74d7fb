//! Where the weights start: a function of the seed and of each block's name and shape alone.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::spec::Activation;

/// Separates these streams from any other use of the run's seed.
const CONTEXT: &str = "shoal network initialisation, version 1";

/// How a block of parameters starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// 0 everywhere.
    Zero,
    /// Random weights of a layer that sums `fan_in` inputs for each output and whose inputs each reach `fan_out` outputs.
    Weights {
        fan_in: usize,
        fan_out: usize,
        /// What the layer applies to its sums.
        activation: Activation,
    },
}

impl Start {
    /// Fills a block of this name with its first values: for weights uniform numbers in `-limit .. limit`.
    ///
    /// Before relu and those like it, `limit = sqrt(6 / fan_in)`, which gives the variance `2 / fan_in` of He, Zhang, Ren
    /// and Sun (2015), "Delving Deep into Rectifiers", equation 10. Otherwise `limit = sqrt(6 / (fan_in + fan_out))`, the
    /// "normalized initialization" of Glorot and Bengio (2010), "Understanding the difficulty of training deep
    /// feedforward neural networks", equation 16.
    pub(crate) fn fill(self, name: &str, seed: u64, block: &mut [f32]) {
        match self {
            Start::Zero => block.fill(0.0),
            Start::Weights { fan_in, fan_out, activation } => {
                let (fan_in, fan_out) = (fan_in as f64, fan_out as f64);
                let limit = match activation {
                    Activation::Relu
                    | Activation::LeakyRelu
                    | Activation::Gelu
                    | Activation::Silu
                    | Activation::Softplus => (6.0 / fan_in).sqrt(),
                    Activation::Tanh | Activation::Sigmoid | Activation::None => {
                        (6.0 / (fan_in + fan_out)).sqrt()
                    }
                };
                let mut random = stream(seed, name);
                for weight in block {
                    *weight = (symmetric(random.next_u32()) * limit) as f32;
                }
            }
        }
    }
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
