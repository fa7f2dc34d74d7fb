//! What a work unit is: the one pure function that compute workers evaluate and the coordinator
//! recomputes when it doubts an answer.

/// Exact sums over units of one part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnitSums {
    /// Summed losses: one, or one for each step length.
    pub losses: Vec<i64>,
    /// Bit i is set when the loss at step length i did not fit for some unit.
    pub unfit_steps: u32,
    /// Correct predictions.
    pub correct: u64,
    /// Summed gradient, for work that has one.
    pub vector: Option<Vec<i64>>,
}
