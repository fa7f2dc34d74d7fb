//! What the operator has had done: a bounded list for the dashboard, and a line each in the program's log.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// Entries that are kept; older ones stand in the program's log.
const ENTRIES_MAX: usize = 200;

/// The last actions, the oldest first.
#[derive(Debug, Default)]
pub struct AuditLog(VecDeque<Entry>);

/// One action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When, in seconds since 1970.
    pub time: u64,
    /// What was done, in one sentence.
    pub sentence: String,
    /// The address it was asked from.
    pub from: String,
}

impl AuditLog {
    /// Notes what was done.
    pub(crate) fn note(&mut self, sentence: &str, from: &str) {
        tracing::info!(from, "the operator: {sentence}");
        if self.0.len() == ENTRIES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Entry { time: unix_time(), sentence: sentence.to_owned(), from: from.to_owned() });
    }

    /// All that is kept.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0.iter().cloned().collect()
    }
}

/// Seconds since 1970.
pub(crate) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_actions_are_kept_and_no_more() {
        let mut log = AuditLog::default();
        (0..2 * ENTRIES_MAX).for_each(|number| log.note(&format!("Action {number}."), "127.0.0.1"));
        let entries = log.entries();
        assert_eq!(entries.len(), ENTRIES_MAX);
        assert_eq!(entries.last().unwrap().sentence, format!("Action {}.", 2 * ENTRIES_MAX - 1));
    }
}
