//! Sums up log lines of one kind, so that strangers cannot fill the log.

use std::time::{Duration, Instant};

/// Lines of one kind that are told one by one in each [`SPAN`].
const TOLD_MAX: u32 = 5;
/// The span of time that further lines are summed up for.
const SPAN: Duration = Duration::from_secs(60);

/// The lines of one kind.
#[derive(Debug)]
pub(super) struct Crowd {
    began: Instant,
    told: u32,
    untold: u64,
}

impl Crowd {
    pub(super) fn new(now: Instant) -> Crowd {
        Crowd { began: now, told: 0, untold: 0 }
    }

    /// Whether to tell of one more now; otherwise it is counted.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        if self.untold == 0 && now.duration_since(self.began) >= SPAN {
            *self = Crowd::new(now);
        }
        let admits = self.told < TOLD_MAX;
        if admits {
            self.told += 1;
        } else {
            self.untold += 1;
        }
        admits
    }

    /// How many were counted and not told of, once the span is over; `None` if there are none.
    pub(super) fn sum(&mut self, now: Instant) -> Option<u64> {
        if self.untold == 0 || now.duration_since(self.began) < SPAN {
            return None;
        }
        Some(std::mem::replace(self, Crowd::new(now)).untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_told_of_and_the_rest_are_counted() {
        let start = Instant::now();
        let mut crowd = Crowd::new(start);
        let told = (0..2000).filter(|_| crowd.admits(start)).count();
        assert_eq!(told, TOLD_MAX as usize);
        assert_eq!(crowd.sum(start + SPAN / 2), None);
        assert_eq!(crowd.sum(start + SPAN), Some(2000 - u64::from(TOLD_MAX)));
        assert_eq!(crowd.sum(start + 2 * SPAN), None);
        assert!(crowd.admits(start + 2 * SPAN));
    }

    #[test]
    fn one_now_and_then_is_always_told_of() {
        let start = Instant::now();
        let mut crowd = Crowd::new(start);
        assert!((0..100).all(|minute| crowd.admits(start + minute * SPAN)));
    }
}
