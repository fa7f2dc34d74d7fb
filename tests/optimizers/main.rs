//! The optimizers on problems with known answers and on hostile ones.
//!
//! - `problems`: the functions, with analytic gradients, and a driver that answers an optimizer.
//! - `reference`: iterations and evaluations on the standard problems.
//! - `iterates`: the first points, compared with an independent implementation, `reference_lbfgs.py`.
//! - `mathematics`: gradients by finite differences, directions by the textbook recursion.
//! - `adversity`: non-finite numbers, functions without a minimum, answers that do not match the request.
//! - `toy`: a training set of a few hundred examples with a known minimum, and its driver.
//! - `local_steps`: averaged displacements, the search for a learning rate, the default.
//! - `stochastic`: SGD and its relatives.
//! - `snapshots`: a saved optimizer continues with the same bits.
//! - `threads`: the same bits on any number of threads.

mod adversity;
mod iterates;
mod local_steps;
mod mathematics;
mod problems;
mod reference;
mod snapshots;
mod stochastic;
mod threads;
mod toy;
