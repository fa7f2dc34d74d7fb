//! The size of a unit's values. The referee measures it, and the engine bases its scales on it.

/// The size of a unit's values, and whether they fit the round's scales.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// The largest magnitude in the unit's vector without its tail. It is 0 for work without a vector, and
    /// infinite or NaN if an element is.
    pub largest: f64,
    /// The largest magnitude in the tail, with the same rules.
    pub largest_statistic: f64,
    /// The unit's summed loss; with several step lengths, the largest finite one.
    pub loss: f64,
    /// Whether all values are finite; with several step lengths, whether they are for at least one of them.
    pub finite: bool,
    /// Whether the vector without its tail fits its scale; true for work without a vector.
    pub vector_fits: bool,
    /// Whether the tail fits its scale.
    pub statistics_fit: bool,
    /// Whether the losses fit their scale at every step length where they are finite.
    pub loss_fits: bool,
}

impl Measure {
    /// The measure of a unit without values, which fits any scale.
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

    /// Whether all of the unit's values fit.
    pub fn fits(&self) -> bool {
        self.finite && self.vector_fits && self.statistics_fit && self.loss_fits
    }
}
