//! What the coordinator's own computation cannot decide now, because it does not get at the examples: a store that has
//! them does not answer. The round must not wait for that for ever.

use super::Floor;
use crate::misfits::ASK_AGAIN_MS;

impl Floor {
    /// What is first before the court could not be computed for round number `number`. It is asked again later, and for
    /// other results first.
    pub fn not_recomputed(&mut self, now_ms: u64, number: u64) {
        let Some(round) = self.round.as_mut().filter(|round| round.plan.round == number) else { return };
        let checks = &mut round.checks;
        if !checks.court.is_empty() {
            checks.court.rotate_left(1);
            checks.court_opens_ms = Some(now_ms + ASK_AGAIN_MS);
        }
    }

    /// Asks the court again. What nobody disputes is for volunteers, if there are any by now.
    pub(super) fn reopen_court_if_due(&mut self, now_ms: u64) {
        let Some(round) = &mut self.round else { return };
        if round.checks.court_opens_ms.take_if(|at_ms| *at_ms <= now_ms).is_none() {
            return;
        }
        round.checks.withdraw_undisputed();
        self.next_case();
    }
}
