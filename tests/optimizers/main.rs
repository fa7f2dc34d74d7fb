//! The optimizers against problems with known answers and against unkind ones.
//!
//! - `problems`: the functions, with analytic gradients, and a driver that answers an optimizer.
//! - `reference`: iterations and evaluations on the standard problems.
//! - `iterates`: the first points against those of an independent implementation, `reference_lbfgs.py`.
//! - `mathematics`: gradients by finite differences, directions by the textbook recursion.
//! - `adversity`: numbers that are not finite, functions without a minimum, answers that do not fit.
//! - `toy`: a training set of a few hundred examples whose minimum is known, and its driver.
//! - `local_steps`: averaged displacements, the search for a learning rate, the default.
//! - `stochastic`: SGD and its kin.
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
