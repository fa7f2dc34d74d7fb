//! The assignments that a volunteer has been sent and has not answered.

use std::collections::VecDeque;

use protocol::plan::Assignment;

use super::limits::RESULTS_OWED_MAX;

/// The unanswered assignments of one session, the oldest first. Each entitles to one answer.
///
/// A volunteer that drops the assignments of a round that is over never answers them, so only the newest
/// [`RESULTS_OWED_MAX`] are kept. That is many more than a volunteer holds at once.
#[derive(Debug, Default)]
pub(super) struct Owed(VecDeque<Question>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Question {
    assignment: u64,
    round: u64,
}

impl Owed {
    /// Notes that an assignment goes out.
    pub(super) fn grant(&mut self, assignment: &Assignment) {
        if self.0.len() == RESULTS_OWED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Question { assignment: assignment.assignment, round: assignment.round });
    }

    /// Takes the answer to an assignment of that round. False if it is not owed, or not any more.
    pub(super) fn redeem(&mut self, assignment: u64, round: u64) -> bool {
        let question = Question { assignment, round };
        self.take(|owed| *owed == question)
    }

    /// Takes an assignment back. False if no answer to it is owed.
    pub(super) fn decline(&mut self, assignment: u64) -> bool {
        self.take(|owed| owed.assignment == assignment)
    }

    fn take(&mut self, is_meant: impl Fn(&Question) -> bool) -> bool {
        let found = self.0.iter().position(is_meant);
        found.is_some_and(|index| self.0.remove(index).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(assignment: u64, round: u64) -> Assignment {
        Assignment { assignment, round, units: vec![0..1] }
    }

    #[test]
    fn an_assignment_entitles_to_one_answer() {
        let mut owed = Owed::default();
        assert!(!owed.redeem(5, 1), "nobody asked");
        owed.grant(&assignment(5, 1));
        owed.grant(&assignment(6, 1));
        assert!(!owed.redeem(6, 2), "another round");
        assert!(owed.redeem(6, 1) && owed.redeem(5, 1), "in any order");
        assert!(!owed.redeem(5, 1), "answered already");
        owed.grant(&assignment(7, 2));
        assert!(owed.decline(7) && !owed.decline(7) && !owed.redeem(7, 2));
    }

    #[test]
    fn unanswered_assignments_do_not_pile_up() {
        let mut owed = Owed::default();
        let most = RESULTS_OWED_MAX as u64;
        (0..=most).for_each(|number| owed.grant(&assignment(number, number)));
        assert_eq!(owed.0.len(), RESULTS_OWED_MAX);
        assert!(!owed.redeem(0, 0) && owed.redeem(1, 1) && owed.redeem(most, most));
    }
}
