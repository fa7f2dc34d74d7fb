//! One core's work: evaluates units and sums them exactly.

use crate::message::{FromCompute, ToCompute};

/// A compute worker without I/O.
#[derive(Debug, Default)]
pub struct Compute {}

impl Compute {
    /// A compute worker that waits for its setup.
    pub fn new() -> Compute {
        Compute::default()
    }

    /// Does what a message asks, however long it takes, and answers if the message has an answer.
    pub fn handle(&mut self, message: ToCompute) -> Option<FromCompute> {
        let _ = message;
        todo!()
    }
}
