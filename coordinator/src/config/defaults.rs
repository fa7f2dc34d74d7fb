//! What a run does where nobody says otherwise. `--help` states these.

/// Examples in a minibatch.
pub const MINIBATCH: u32 = 100;
/// Most iterations.
pub const ITERATIONS: u64 = 60;
/// Seed of a run.
pub const SEED: u64 = 1;
/// The network: one hidden layer, enough for tables and small images.
pub const MODEL: &str = "mlp:128";
/// Share of the examples set aside for testing where the data has no test examples of its own.
pub const TEST_FRACTION: f64 = 0.2;
