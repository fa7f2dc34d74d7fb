//! The optimisers against problems with known answers and against unkind ones.
//!
//! - `problems`: the functions, with analytic gradients, and a driver that answers an optimiser.
//! - `reference`: iterations and evaluations on the standard problems.
//! - `mathematics`: gradients by finite differences, directions by the textbook recursion.
//! - `adversity`: numbers that are not finite, functions without a minimum, answers that do not fit.
//! - `snapshots`: a saved optimiser continues with the same bits.

mod adversity;
mod mathematics;
mod problems;
mod reference;
mod snapshots;
