//! Sums up log lines of one kind, so that strangers cannot fill the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines of one kind that are told one by one in each [`SPAN`].
const TOLD_MAX: u32 = 20;
/// The span of time that further lines are summed up for.
const SPAN: Duration = Duration::from_secs(60);

/// A kind of lines, for what volunteers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// One joined.
    Joined,
    /// A session ended.
    Left,
    /// One must wait.
    Held,
    /// One was found out.
    Convicted,
}

const LINES: [Line; 4] = [Line::Joined, Line::Left, Line::Held, Line::Convicted];

/// The lines of all kinds. Clones share their counts.
#[derive(Debug, Clone)]
pub(crate) struct Lines(Arc<Mutex<[Crowd; LINES.len()]>>);

impl Lines {
    pub(super) fn new(now: Instant) -> Lines {
        Lines(Arc::new(Mutex::new(LINES.map(|_| Crowd::new(now)))))
    }

    /// Whether to tell of one more now; otherwise it is counted.
    pub(crate) fn admits(&self, line: Line, now: Instant) -> bool {
        self.crowds()[line as usize].admits(now)
    }

    /// Tells how many there were that were not told of, of each kind whose span is over.
    pub(super) fn sum_up(&self, now: Instant) {
        for line in LINES {
            let Some(count) = self.crowds()[line as usize].sum(now) else { continue };
            match line {
                Line::Joined => tracing::info!(count, "more volunteers joined in the last minute"),
                Line::Left => tracing::info!(count, "more sessions ended in the last minute"),
                Line::Held => tracing::info!(count, "more volunteers had to wait in the last minute"),
                Line::Convicted => tracing::warn!(count, "more volunteers were found out in the last minute"),
            }
        }
    }

    fn crowds(&self) -> MutexGuard<'_, [Crowd; LINES.len()]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lines of one kind.
#[derive(Debug)]
struct Crowd {
    began: Instant,
    told: u32,
    untold: u64,
}

impl Crowd {
    fn new(now: Instant) -> Crowd {
        Crowd { began: now, told: 0, untold: 0 }
    }

    /// Whether to tell of one more now; otherwise it is counted.
    fn admits(&mut self, now: Instant) -> bool {
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
    fn sum(&mut self, now: Instant) -> Option<u64> {
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
    fn one_kind_does_not_hide_another() {
        let now = Instant::now();
        let lines = Lines::new(now);
        assert!((0..1000).filter(|_| lines.admits(Line::Joined, now)).count() < 1000);
        assert!(lines.clone().admits(Line::Convicted, now));
    }

    #[test]
    fn one_now_and_then_is_always_told_of() {
        let start = Instant::now();
        let mut crowd = Crowd::new(start);
        assert!((0..100).all(|minute| crowd.admits(start + minute * SPAN)));
    }
}
