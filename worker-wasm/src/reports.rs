//! Limits the hub's reports to the page: one at every change, but no more often than people can read.

/// Minimum time between two reports, in milliseconds.
const INTERVAL_MS: u64 = 200;

/// The last reported state, and the time of that report.
#[derive(Debug)]
pub(crate) struct Reports<S> {
    last: Option<(u64, S)>,
}

/// What to do with the present state.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Report<'a, S> {
    /// Show it.
    Now(&'a S),
    /// Ask again after this many milliseconds.
    Later(u64),
    /// Nothing: it has been reported already.
    Known,
}

impl<S> Default for Reports<S> {
    fn default() -> Self {
        Reports { last: None }
    }
}

impl<S: PartialEq> Reports<S> {
    /// Decides about the state at `now_ms`.
    pub(crate) fn due(&mut self, now_ms: u64, state: S) -> Report<'_, S> {
        if let Some((reported_ms, reported)) = &self.last {
            if *reported == state {
                return Report::Known;
            }
            let due_ms = reported_ms + INTERVAL_MS;
            if now_ms < due_ms {
                return Report::Later(due_ms - now_ms);
            }
        }
        Report::Now(&self.last.insert((now_ms, state)).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_at_most_five_times_a_second_and_the_last_one_always() {
        let mut reports = Reports::default();
        let mut shown = Vec::new();
        // A state that changes every 10 ms for a second and then stays, with punctual timers.
        let mut timer = None;
        for now_ms in (0..2000).step_by(10) {
            let state = now_ms.min(1000);
            if now_ms > 1000 && timer.is_none_or(|due_ms| now_ms < due_ms) {
                continue;
            }
            match reports.due(now_ms, state) {
                Report::Now(&state) => shown.push((now_ms, state)),
                Report::Later(wait_ms) => timer = Some(now_ms + wait_ms),
                Report::Known => {}
            }
        }
        assert_eq!(shown.first(), Some(&(0, 0)));
        assert_eq!(shown.last().unwrap().1, 1000);
        assert!(shown.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 200), "{shown:?}");
    }

    #[test]
    fn what_has_not_changed_is_not_shown_again() {
        let mut reports = Reports::default();
        assert_eq!(reports.due(0, "idle"), Report::Now(&"idle"));
        assert_eq!(reports.due(10_000, "idle"), Report::Known);
        assert_eq!(reports.due(10_001, "busy"), Report::Now(&"busy"));
    }
}
