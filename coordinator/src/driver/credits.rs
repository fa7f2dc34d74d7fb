//! Counts what each session has done, for its volunteer and the operator.

use std::collections::BTreeMap;

use protocol::message::Credit;

use super::exchange::SharedCredit;

/// The credits of all connected volunteers.
#[derive(Debug, Default)]
pub(crate) struct Credits {
    sessions: BTreeMap<u64, (Credit, SharedCredit)>,
    /// Examples in all results that were counted, those of the coordinator's own worker included.
    examples_of_all: u64,
    /// Examples in results that other processes of the training have counted.
    elsewhere: u64,
}

impl Credits {
    /// A volunteer has joined; `shared` is what its session reads.
    pub(crate) fn add(&mut self, session: u64, shared: SharedCredit) {
        self.sessions.insert(session, (Credit::default(), shared));
    }

    /// A volunteer has left.
    pub(crate) fn remove(&mut self, session: u64) {
        self.sessions.remove(&session);
    }

    /// Counts a result by its examples, or as late if somebody else was first.
    pub(crate) fn count(&mut self, session: u64, examples: Option<u64>) {
        self.examples_of_all += examples.unwrap_or(0);
        let Some((credit, _)) = self.sessions.get_mut(&session) else { return };
        match examples {
            Some(examples) => credit.examples += examples,
            None => credit.late += 1,
        }
    }

    /// The credit of a session.
    pub(crate) fn of(&self, session: u64) -> Credit {
        let own = self.sessions.get(&session).map_or_else(Credit::default, |(credit, _)| *credit);
        Credit { examples_of_all: self.examples_of_all + self.elsewhere, ..own }
    }

    /// Examples in all results that were counted.
    pub(crate) fn of_all(&self) -> u64 {
        self.examples_of_all
    }

    /// Other processes have counted so many examples.
    pub(crate) fn set_elsewhere(&mut self, examples: u64) {
        self.elsewhere = examples;
    }

    /// Shows each session its credit.
    pub(crate) fn show(&self) {
        for (credit, shared) in self.sessions.values() {
            shared.set(Credit { examples_of_all: self.examples_of_all + self.elsewhere, ..*credit });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_sessions_add_up_to_everything() {
        let mut credits = Credits::default();
        let shared: Vec<SharedCredit> = (0..3).map(|_| SharedCredit::default()).collect();
        for (session, shared) in (1..).zip(&shared) {
            credits.add(session, shared.clone());
        }
        for (session, examples) in [(1, Some(100)), (2, Some(50)), (2, None), (3, Some(250)), (1, Some(1))] {
            credits.count(session, examples);
        }
        credits.remove(3);
        // A result on its way from a session that has left still counts for all.
        credits.count(3, Some(10));
        credits.show();
        let [one, two, three] = [0, 1, 2].map(|index| shared[index].get());
        assert_eq!(one, Credit { examples: 101, examples_of_all: 411, late: 0 });
        assert_eq!(two, Credit { examples: 50, examples_of_all: 411, late: 1 });
        assert_eq!(three, Credit::default(), "shown nothing since it left");
        assert_eq!(credits.of(2), two);
    }
}
