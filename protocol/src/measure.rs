//! How large the values of a unit are: the referee measures them, and the engine chooses scales by them.

/// How large a unit's values are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// The largest magnitude in the unit's vector without its tail; 0 for work without one, and NaN or
    /// infinite when an element is.
    pub largest: f64,
    /// The same of the tail.
    pub largest_statistic: f64,
    /// The unit's summed loss; for several step lengths the largest finite one.
    pub loss: f64,
    /// Whether everything is finite (for several step lengths: at one of them at least).
    pub finite: bool,
    /// Whether the vector without its tail fits the round's exponent; true for work without one.
    pub vector_fits: bool,
    /// The same of the tail.
    pub statistics_fit: bool,
    /// Whether the losses fit the round's exponent (at every step length that is finite).
    pub loss_fits: bool,
}

impl Measure {
    /// Of a unit with nothing in it.
    pub fn fitting() -> Measure {
        Measure {
            largest: 0.0,
            largest_statistic: 0.0,
            loss: 0.0,
            finite: true,
            vector_fits: true,
            statistics_fit: true,
            loss_fits: true,
        }
    }

    /// Whether the unit fits its round.
    pub fn fits(&self) -> bool {
        self.finite && self.vector_fits && self.statistics_fit && self.loss_fits
    }
}
