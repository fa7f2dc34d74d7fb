//! What becomes of a volunteer that sent something that no honest volunteer sends, and of its work.

use super::{Engine, Output, Stage};

impl Engine {
    /// Dismisses a volunteer that sent `what`, which no honest volunteer sends. Nothing else of it can be trusted
    /// either: what it contributed to the open round leaves the sums, and only those units are handed out again.
    /// So a volunteer that comes back again and again does not hold up the round.
    pub(super) fn convict(&mut self, _now_ms: u64, session: u64, what: &str) {
        if self.volunteers.get(session).is_none() {
            return;
        }
        self.remove(session);
        let text = format!("The coordinator dismissed this volunteer: it sent {what}.");
        self.outputs.push_back(Output::Dismiss { session, text });
        match std::mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Open { mut round, suspicions } => {
                round.expel(session);
                self.stage = Stage::Open { round, suspicions };
            }
            // All was accounted for, and now it is not.
            Stage::Vanished { mut round } => {
                let again = round.expel(session);
                self.stage = match again {
                    0 => Stage::Vanished { round },
                    _ => Stage::Open { round, suspicions: Default::default() },
                };
            }
            stage => self.stage = stage,
        }
    }
}
