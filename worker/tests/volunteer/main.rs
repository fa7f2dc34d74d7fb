//! A hub and its compute workers, driven by a scripted coordinator.
//!
//! - `support.rs`: the data, the coordinator's side, and a volunteer whose compute workers run in
//!   any order.
//! - `examination.rs`: counts equal a plain loop.
//! - `work.rs`: results equal a direct evaluation, however the work is cut.
//! - `trouble.rs`: lost connections, damaged shards, dead compute workers, refusals, garbage.

#![expect(clippy::single_range_in_vec_init, reason = "these are ranges of units, not lists of units")]

mod examination;
mod support;
mod trouble;
mod work;
