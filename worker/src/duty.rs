//! How much of its time a core works.

/// The least and the greatest effort, in percent.
const EFFORT_MIN: f64 = 5.0;
const EFFORT_MAX: f64 = 100.0;
/// The longest rest after one job, in milliseconds, so that a long job does not silence the volunteer.
const REST_MS_MAX: f64 = 20_000.0;

/// The share of its time that a core works: after each job it rests accordingly before it begins the next.
#[derive(Debug, Clone)]
pub struct Duty {
    /// In percent.
    effort: f64,
    is_resting: bool,
    /// Rest that is owed, in milliseconds.
    owed_ms: f64,
}

impl Default for Duty {
    /// Without any rest.
    fn default() -> Duty {
        Duty { effort: EFFORT_MAX, is_resting: false, owed_ms: 0.0 }
    }
}

impl Duty {
    /// From now on the core works so many percent of its time. A rest that has begun stays as long as it is.
    pub fn set_effort(&mut self, percent: f64) {
        self.effort = percent.clamp(EFFORT_MIN, EFFORT_MAX);
    }

    /// Whether no job may begin.
    pub fn is_resting(&self) -> bool {
        self.is_resting
    }

    /// A job took so many milliseconds. If the core has to rest now, answers for how many, after which
    /// [`Duty::rested`] is due.
    pub fn worked(&mut self, milliseconds: u64) -> Option<u64> {
        self.owed_ms += milliseconds as f64 * (EFFORT_MAX / self.effort - 1.0);
        if self.owed_ms < 1.0 {
            return None;
        }
        let rest = self.owed_ms.min(REST_MS_MAX).floor();
        self.owed_ms = if rest < REST_MS_MAX { self.owed_ms - rest } else { 0.0 };
        self.is_resting = true;
        Some(rest as u64)
    }

    /// The rest is over.
    pub fn rested(&mut self) {
        self.is_resting = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of its time that a core works, whose jobs take so many milliseconds.
    fn busy(effort: f64, jobs: impl Iterator<Item = u64>) -> f64 {
        let mut duty = Duty::default();
        duty.set_effort(effort);
        let (mut worked, mut rested) = (0, 0);
        for milliseconds in jobs {
            assert!(!duty.is_resting());
            worked += milliseconds;
            if let Some(rest) = duty.worked(milliseconds) {
                assert!(duty.is_resting());
                rested += rest;
                duty.rested();
            }
        }
        worked as f64 / (worked + rested) as f64
    }

    #[test]
    fn a_core_works_the_share_of_its_time_that_was_chosen() {
        for effort in [25.0, 50.0, 75.0, 99.0] {
            for (shortest, more) in [(1, 1), (0, 3), (5, 200), (400, 1000)] {
                let jobs = (0..1000).map(|i| shortest + i * 7919 % more);
                let share = busy(effort, jobs);
                assert!((share - effort / 100.0).abs() < 1e-2, "{share} and not {effort} %");
            }
        }
        assert_eq!(busy(100.0, 1..1000), 1.0);
    }

    #[test]
    fn no_rest_is_so_long_that_the_volunteer_seems_gone() {
        let mut duty = Duty::default();
        duty.set_effort(0.0);
        assert_eq!(duty.worked(10_000_000), Some(REST_MS_MAX as u64));
        duty.rested();
        assert_eq!(duty.worked(1), Some(19), "nothing is owed from before");
        duty.set_effort(f64::INFINITY);
        assert_eq!(duty.worked(1000), None);
    }
}
