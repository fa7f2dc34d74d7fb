//! The initial weights: a function of only the seed and of each block's name and shape.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::functions::ln;
use crate::spec::Initializer;

/// Separates these streams from other uses of the run's seed.
// The text enters the key of every stream, so another spelling would draw other weights.
const CONTEXT: &str = "shoal network initialisation, version 1";

/// How a block of parameters is initialized.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    /// The same number everywhere.
    Constant(f32),
    /// Random weights of a layer.
    Weights {
        initializer: Initializer,
        /// Inputs that each output sums.
        fan_in: usize,
        /// Outputs that each input reaches.
        fan_out: usize,
        /// Columns of the block as a matrix.
        columns: usize,
    },
}

impl Start {
    /// Fills a block of this name, in row-major order, with its initial values.
    ///
    /// He, Zhang, Ren and Sun (2015), "Delving Deep into Rectifiers", equation 10: variance `2 / fan_in`.
    /// Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks",
    /// equation 16: variance `2 / (fan_in + fan_out)`. LeCun, Bottou, Orr and Müller (1998), "Efficient
    /// BackProp", equation 16: variance `1 / fan_in`. All three uniform, in `-limit .. limit` with `limit =
    /// sqrt(3 variance)`. Orthogonal: Saxe, McClelland and Ganguli (2013), "Exact solutions to the nonlinear
    /// dynamics of learning in deep linear neural networks".
    pub(crate) fn fill(self, name: &str, seed: u64, block: &mut [f32]) {
        let (initializer, fan_in, fan_out, columns) = match self {
            Start::Constant(value) => return block.fill(value),
            Start::Weights { initializer, fan_in, fan_out, columns } => {
                (initializer, fan_in as f64, fan_out as f64, columns)
            }
        };
        let mut random = stream(seed, name);
        let limit = match initializer {
            Initializer::He => (6.0 / fan_in).sqrt(),
            Initializer::Glorot => (6.0 / (fan_in + fan_out)).sqrt(),
            Initializer::LeCun => (3.0 / fan_in).sqrt(),
            Initializer::Orthogonal => return orthogonal(&mut random, block, columns),
            Initializer::Zero => return block.fill(0.0),
        };
        for weight in block {
            *weight = (symmetric(random.next_u32()) * limit) as f32;
        }
    }
}

/// Maximum multiplications of all of a network's [`orthogonal`] matrices, which take a few seconds.
pub(crate) const ORTHOGONAL_WORK_MAX: u128 = 1 << 33;

/// The number of multiplications that an orthogonal matrix of this many rows and columns takes.
pub(crate) fn orthogonal_work(rows: usize, columns: usize) -> u128 {
    let (short, long) = (rows.min(columns) as u128, rows.max(columns) as u128);
    2 * short * short * long
}

/// Fills a row-major matrix so that its columns, or its rows if these are fewer, are orthogonal and of unit
/// length. The vectors are drawn from the normal distribution, and each is made orthogonal to the vectors
/// before it (twice, because once leaves rounding errors).
fn orthogonal(random: &mut ChaCha8Rng, matrix: &mut [f32], columns: usize) {
    let rows = matrix.len() / columns;
    let (short, long) = (rows.min(columns), rows.max(columns));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(short);
    for _ in 0..short {
        let mut vector: Vec<f64> = (0..long).map(|_| normal(random)).collect();
        for _ in 0..2 {
            for other in &vectors {
                let along = dot(&vector, other);
                for (value, other) in vector.iter_mut().zip(other) {
                    *value -= along * other;
                }
            }
        }
        let length = dot(&vector, &vector).sqrt();
        vector.iter_mut().for_each(|value| *value /= length);
        vectors.push(vector);
    }
    for (i, row) in matrix.chunks_exact_mut(columns).enumerate() {
        for (j, value) in row.iter_mut().enumerate() {
            *value = if rows < columns { vectors[i][j] } else { vectors[j][i] } as f32;
        }
    }
}

/// The inner product. Products are added to eight running sums in turn, which are then added in order.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

/// A sample of the standard normal distribution, by the polar method of Marsaglia and Bray (1964).
fn normal(random: &mut ChaCha8Rng) -> f64 {
    loop {
        let (u, v) = (symmetric(random.next_u32()), symmetric(random.next_u32()));
        let s = u * u + v * v;
        // 78 of 100 pairs end the loop. No pair has s = 0.
        if s < 1.0 {
            return u * (-2.0 * f64::from(ln(s as f32)) / s).sqrt();
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
