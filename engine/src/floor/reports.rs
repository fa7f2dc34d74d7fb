//! Reports that units do not fit the round's fixed point. Somebody who computes such a unit again rules on them before
//! they are believed.

use std::collections::VecDeque;

use protocol::message::Unfit;
use protocol::plan::Work;

use super::round::Group;
use super::{Floor, FloorEvent};

/// Reported units that wait for a ruling. A report of a further unit is not looked into: its units go to somebody
/// else, who will report them again if it was true.
const REPORTS_MAX: usize = 64;

/// Reports of the open round, the one that is looked into first.
pub(super) type Reports = VecDeque<Report>;

/// A unit that is reported not to fit.
#[derive(Debug)]
pub(super) struct Report {
    unit: u32,
    /// All who reported it.
    sessions: Vec<u64>,
    /// What nobody is given until there is a ruling.
    withdrawn: Vec<Group>,
}

impl Floor {
    pub(super) fn unfit(&mut self, session: u64, unfit: Unfit) {
        let Some(round) = &mut self.round else { return };
        if !self.volunteers.owes(session, unfit.assignment) {
            return;
        }
        let Some(group) = round.group_of(unfit.assignment) else {
            // Somebody else's result was believed already. One of the two lies.
            let settled = round.settled_of(unfit.assignment);
            round.take_back(unfit.assignment);
            self.volunteers.gave_up(session, unfit.assignment);
            if let Some(id) = settled {
                self.contradict(id, session);
            }
            return;
        };
        if unfit.round != round.plan.round || !group.units.iter().any(|range| range.contains(&unfit.unit)) {
            return self.convict(session, "a report on a unit that it was not asked for");
        }
        if matches!(round.plan.parts[group.part].work, Work::Losses { .. }) {
            // Such units always have a result: it marks the step lengths that do not fit.
            return self.convict(session, FALSE_REPORT);
        }
        // A newcomer's report holds nothing up: strangers that follow one another would hold it up for ever.
        let is_known = self.volunteers.get(session).is_some_and(|volunteer| !volunteer.is_newcomer());
        let withdrawn = if is_known { round.withdraw(unfit.assignment) } else { None };
        if !is_known {
            round.take_back(unfit.assignment);
        }
        self.volunteers.gave_up(session, unfit.assignment);
        let known = self.reports.iter().position(|report| report.unit == unfit.unit);
        match known {
            Some(index) => {
                let report = &mut self.reports[index];
                report.sessions.push(session);
                report.withdrawn.extend(withdrawn);
            }
            None if self.reports.len() < REPORTS_MAX => {
                let (sessions, withdrawn) = (vec![session], withdrawn.into_iter().collect());
                self.reports.push_back(Report { unit: unfit.unit, sessions, withdrawn });
                if self.reports.len() == 1 {
                    self.tell_of_first_report();
                }
            }
            None => withdrawn.into_iter().for_each(|group| round.restore(group)),
        }
    }

    fn tell_of_first_report(&mut self) {
        if let (Some(round), Some(Report { unit, .. })) = (&self.round, self.reports.front()) {
            self.events.push_back(FloorEvent::Unfit { round: round.plan.round, unit: *unit });
        }
    }

    /// A unit that was reported not to fit was computed again. If it fits, all who reported it are dismissed. If not,
    /// the round begins anew, or ends without a value.
    pub fn ruled(&mut self, unit: u32, fits: bool) {
        let Some(Report { sessions, withdrawn, .. }) =
            self.reports.pop_front_if(|report| report.unit == unit)
        else {
            return;
        };
        if !fits {
            // Whoever did it all the same sent something made up.
            return self.convict_author(unit, "a result for a unit that has none");
        }
        if let Some(round) = &mut self.round {
            withdrawn.into_iter().for_each(|group| round.restore(group));
        }
        sessions.into_iter().for_each(|session| self.convict(session, FALSE_REPORT));
        self.tell_of_first_report();
    }
}

pub(super) const FALSE_REPORT: &str = "a false report that a unit does not fit";
