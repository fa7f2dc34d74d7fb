//! A round as the hub passes it to compute workers.
//!
//! Threads of one process share the decoded vectors. Between Web Workers, the vectors are sent as bytes, and
//! each side holds one copy.

use std::sync::OnceLock;

use bytes::Bytes;
use protocol::frame::floats;
use protocol::plan::RoundPlan;

/// A round's plan and its vectors, which are decoded on first use.
#[derive(Debug)]
pub struct SharedRound {
    plan: RoundPlan,
    /// Little-endian `f32`; empty if the vectors arrived decoded.
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

    /// The vectors as little-endian `f32`, one after the other.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The elements of the vectors, one vector after the other.
    pub(crate) fn values(&self) -> &[f32] {
        self.values.get_or_init(|| floats(&self.bytes).collect())
    }

    /// Vector number `index`, of `parameters` elements; empty if there is none.
    pub(crate) fn vector(&self, index: usize, parameters: usize) -> &[f32] {
        self.values().get(index * parameters..(index + 1) * parameters).unwrap_or_default()
    }
}
