//! Reports that units do not fit the round's fixed point. Somebody who computes such a unit again rules on them before
//! they are believed.

use std::collections::{BTreeSet, VecDeque};

use protocol::message::Unfit;
use protocol::plan::Work;

use super::round::Group;
use super::standing::Identity;
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
    /// The sessions of all who reported it, and who those are.
    reporters: Vec<(u64, Identity)>,
    /// What nobody is given until there is a ruling.
    withdrawn: Vec<Group>,
}

impl Floor {
    pub(super) fn unfit(&mut self, session: u64, unfit: Unfit) {
        let Some(round) = &mut self.round else { return };
        let volunteer =
            self.volunteers.get(session).filter(|_| self.volunteers.owes(session, unfit.assignment));
        let Some((reporter, is_known)) =
            volunteer.map(|volunteer| ((session, volunteer.identity), !volunteer.is_newcomer()))
        else {
            return;
        };
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
            return self.convict(reporter, "a report on a unit that it was not asked for");
        }
        if matches!(round.plan.parts[group.part].work, Work::Losses { .. }) {
            // Such units always have a result: it marks the step lengths that do not fit.
            return self.convict(reporter, FALSE_REPORT);
        }
        // A newcomer's report holds nothing up: strangers that follow one another would hold it up for ever.
        let withdrawn = if is_known { round.withdraw(unfit.assignment) } else { None };
        if !is_known {
            round.take_back(unfit.assignment);
        }
        self.volunteers.gave_up(session, unfit.assignment);
        let known = self.reports.iter().position(|report| report.unit == unfit.unit);
        match known {
            Some(index) => {
                let report = &mut self.reports[index];
                report.reporters.push(reporter);
                report.withdrawn.extend(withdrawn);
            }
            None if self.reports.len() < REPORTS_MAX => {
                let (reporters, withdrawn) = (vec![reporter], withdrawn.into_iter().collect());
                self.reports.push_back(Report { unit: unfit.unit, reporters, withdrawn });
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
        let Some(Report { reporters, withdrawn, .. }) =
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
        let mut convicted = BTreeSet::new();
        for reporter in reporters {
            if convicted.insert(reporter.1.token) {
                self.convict(reporter, FALSE_REPORT);
            }
        }
        self.tell_of_first_report();
    }

    /// Whoever is found out need not be found out once more for what it reported.
    pub(super) fn forget_reports_of(&mut self, token: u128) {
        self.reports.iter_mut().for_each(|report| report.reporters.retain(|(_, who)| who.token != token));
    }
}

pub(super) const FALSE_REPORT: &str = "a false report that a unit does not fit";
