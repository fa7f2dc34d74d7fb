//! A round as the hub passes it to compute workers.
//!
//! Threads of one process share the decoded vectors; across a Web Worker's boundary the vectors travel as the bytes
//! they are and each side has them once.

use std::sync::OnceLock;

use bytes::Bytes;
use protocol::frame::floats;
use protocol::plan::RoundPlan;

/// A round's plan and, decoded once somebody needs them, its vectors.
#[derive(Debug)]
pub struct SharedRound {
    plan: RoundPlan,
    /// Little-endian `f32`; empty where they arrived decoded.
    bytes: Bytes,
    values: OnceLock<Vec<f32>>,
}

impl SharedRound {
    /// A round whose vectors lie one after the other in `bytes`.
    pub fn new(plan: RoundPlan, bytes: Bytes) -> SharedRound {
        SharedRound { plan, bytes, values: OnceLock::new() }
    }

    /// A round whose vectors lie one after the other in `values`.
    pub fn decoded(plan: RoundPlan, values: Vec<f32>) -> SharedRound {
        SharedRound { plan, bytes: Bytes::new(), values: OnceLock::from(values) }
    }

    /// The plan.
    pub fn plan(&self) -> &RoundPlan {
        &self.plan
    }

    /// The vectors, as they travel.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The vectors' numbers, one vector after the other.
    pub(crate) fn values(&self) -> &[f32] {
        self.values.get_or_init(|| floats(&self.bytes).collect())
    }

    /// Vector number `index` of those with `parameters` elements; empty when there is none.
    pub(crate) fn vector(&self, index: usize, parameters: usize) -> &[f32] {
        self.values().get(index * parameters..(index + 1) * parameters).unwrap_or_default()
    }
}
