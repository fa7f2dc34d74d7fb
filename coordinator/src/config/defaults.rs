//! What a run does where nobody says otherwise. `--help` states these.

/// Examples in a minibatch. Small ones learn more from the same examples.
pub const MINIBATCH: u32 = 10;
/// Most iterations.
pub const ITERATIONS: u64 = 60;
/// Most iterations of the methods that step along the gradient of a few minibatches.
pub const STOCHASTIC_ITERATIONS: u64 = 1000;
/// Curvature pairs that L-BFGS remembers.
pub const MEMORY: u32 = 10;
/// Share of the sample that sampled L-BFGS has in common with the next.
pub const OVERLAP: f64 = 0.25;
/// Decay of the weights by AdamW.
pub const WEIGHT_DECAY: f32 = 0.01;
/// Seed of a run.
pub const SEED: u64 = 1;
/// The network: one hidden layer, enough for tables and small images.
pub const MODEL: &str = "mlp:128";
/// Share of the examples set aside for testing where the data has no test examples of its own.
pub const TEST_FRACTION: f64 = 0.2;
