//! Checks results against the results of others. Work is exact to the last bit, so a check is an equality.
//!
//! A share of the results, drawn by lot, is computed by somebody else too before the round is over; so is whatever
//! decides the end of the training or the weights to keep. A copy that comes late, because a faster volunteer was
//! asked too, is compared as well. Where two results differ, the coordinator's own computation decides who is
//! convicted.

use protocol::message::ResultHeader;

use super::fingerprint::Fingerprint;
use super::reports::FALSE_REPORT;
use super::round::{Round, Settled};
use super::secret::Chance;
use super::standing::NEWCOMER_RESULTS;
use super::volunteers::Volunteers;
use super::{Floor, FloorEvent};

/// Which results are computed by somebody else too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Audit {
    /// None: whoever helps is trusted.
    None,
    /// All of a newcomer's, and of others this share at least.
    Sample(f64),
    /// All.
    Full,
}

/// Exact sums over units of one part, as the coordinator itself has computed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// As in [`ResultHeader`].
    pub losses: Vec<i64>,
    /// As in [`ResultHeader`].
    pub unfit_steps: u32,
    /// As in [`ResultHeader`].
    pub correct: u64,
    /// The summed vector, if the work has one.
    pub vector: Option<Vec<i64>>,
}

/// Volunteers that are looked at to find one for a check.
const DRAWS_MAX: usize = 24;
/// Checks that wait for the coordinator's own worker before others may do what it should.
const OWN_CHECKS_MAX: usize = 2;

impl Audit {
    /// Whether results are compared at all.
    pub(crate) fn compares(self) -> bool {
        self != Audit::None
    }

    /// The probability that a result is audited whose sender had so many proven right before. It falls with the
    /// square of their number, down to the share that was asked for.
    fn probability(self, proven: u64) -> f64 {
        match self {
            Audit::None => 0.0,
            Audit::Full => 1.0,
            Audit::Sample(_) if proven < NEWCOMER_RESULTS => 1.0,
            Audit::Sample(least) => {
                let fallen = NEWCOMER_RESULTS as f64 / proven as f64;
                (fallen * fallen).max(least)
            }
        }
    }
}

impl Floor {
    /// Draws whether a result that has just been accepted is to be checked.
    pub(super) fn audit(&mut self, now_ms: u64, id: u64, proven: u64, is_suspicious: bool) {
        let is_wary = self.is_wary && self.settings.audit.compares();
        let audit = if is_wary { Audit::Full } else { self.settings.audit };
        let is_drawn = self.chance.happens(audit.probability(proven));
        if let Some(round) = &mut self.round
            && (is_drawn || is_suspicious && audit.compares())
        {
            round.want(id, now_ms);
        }
    }

    /// Compares a result of a group with the one that is in the sums.
    pub(super) fn compare(&mut self, session: u64, assignment: u64, fingerprint: Option<Fingerprint>) {
        let Some(round) = &mut self.round else { return };
        let Some(id) = round.answered(assignment) else { return };
        let (Some(settled), Some(volunteer)) = (round.settled(id), self.volunteers.get(session)) else {
            return;
        };
        let (Some(known), Some(fingerprint)) = (settled.fingerprint, fingerprint) else { return };
        let (first, first_is_own) = (settled.session, settled.is_own);
        let is_same_volunteer = settled.identity == volunteer.identity && !volunteer.local;
        if known == fingerprint {
            let in_court = round.checks.court.iter().any(|case| case.group == id);
            if !is_same_volunteer && !in_court {
                round.vouch(id, (!volunteer.local).then_some((session, volunteer.identity)));
                self.volunteers.proved(first);
                self.volunteers.proved(session);
            } else if is_same_volunteer {
                round.checks.abandon(id);
            }
        } else if volunteer.local {
            self.convict(first, WRONG_RESULT);
        } else if first_is_own {
            self.convict(session, WRONG_RESULT);
        } else {
            self.summon(id, [(first, Some(known)), (session, Some(fingerprint))]);
        }
    }

    /// A session says that a unit of a settled group has no result.
    pub(super) fn contradict(&mut self, id: u64, session: u64) {
        if self.settings.audit.compares() {
            self.summon(id, [(session, None)]);
        }
    }

    /// Brings a settled group before the coordinator's own computation.
    fn summon(&mut self, id: u64, rivals: impl IntoIterator<Item = (u64, Option<Fingerprint>)>) {
        let Some(round) = &mut self.round else { return };
        let Some(settled) = round.settled(id) else { return };
        let units = settled.group.units.clone();
        if round.checks.summon(id, &units, rivals) {
            self.next_case();
        }
    }

    /// Has the coordinator compute what is first before its court.
    fn next_case(&mut self) {
        let Some(round) = &self.round else { return };
        if let Some(case) = round.checks.court.front() {
            let (round, units) = (round.plan.round, case.units.clone());
            self.events.push_back(FloorEvent::Recompute { round, units });
        }
    }

    /// What was first before the court has been computed for round number `number`; `None` if a unit has no result at
    /// all.
    pub fn recomputed(&mut self, number: u64, answer: Option<Answer>) {
        let Some(round) = self.round.as_mut().filter(|round| round.plan.round == number) else { return };
        let Some(case) = round.checks.court.pop_front() else { return };
        let truth = answer.map(|answer| {
            let Answer { losses, unfit_steps, correct, vector } = answer;
            let header = ResultHeader { losses, unfit_steps, correct, ..ResultHeader::default() };
            self.key.of(&header, vector.as_deref())
        });
        let mut liars: Vec<(u64, &str)> = Vec::new();
        let mut judge = |session, fingerprint: Option<Fingerprint>| match truth == fingerprint {
            true => self.volunteers.proved(session),
            false => liars.push((session, fingerprint.map_or(FALSE_REPORT, |_| WRONG_RESULT))),
        };
        let known =
            round.settled(case.group).and_then(|settled| Some((settled.session, settled.fingerprint?)));
        if let Some((session, fingerprint)) = known {
            judge(session, Some(fingerprint));
            if truth == Some(fingerprint) {
                round.vouch(case.group, None);
            }
        }
        let rivals =
            case.rivals.into_iter().filter(|(session, _)| known.is_none_or(|(first, _)| first != *session));
        rivals.for_each(|(session, fingerprint)| judge(session, fingerprint));
        self.next_case();
        liars.into_iter().for_each(|(session, offense)| self.convict(session, offense));
    }

    /// Finds somebody for each check that nobody has been chosen for, and takes those to court that take too long.
    pub(super) fn distribute_checks(&mut self, now_ms: u64) {
        let Some(round) = &mut self.round else { return };
        let mut for_the_court = round.checks.give_up(now_ms);
        for id in round.checks.take_orphans() {
            match choose(round, id, &self.volunteers, &mut self.chance, now_ms) {
                Some(session) => {
                    let wait_ms =
                        self.volunteers.get(session).zip(round.task(id)).map(|(one, task)| one.wait_ms(task));
                    round.checks.reserve(id, session);
                    round.checks.prolong(id, now_ms, wait_ms.unwrap_or(0.0));
                }
                None => for_the_court.push(id),
            }
        }
        for_the_court.into_iter().for_each(|id| self.summon(id, []));
    }
}

/// Who is to compute a settled group too: one of those that have proved themselves, at another address. Where none of
/// these is found, a newcomer's result goes to the coordinator's own worker as long as that has little to check, so that
/// newcomers do not vouch for each other. Otherwise one of those at another address is drawn, or else of all others,
/// with the coordinator's own worker among them. `None` if only the court can do it.
fn choose(round: &Round, id: u64, volunteers: &Volunteers, chance: &mut Chance, now_ms: u64) -> Option<u64> {
    let settled = round.settled(id)?;
    let mut found: Vec<(Trust, u64)> = Vec::new();
    for _ in 0..DRAWS_MAX {
        let Some(session) = volunteers.draw(chance) else { break };
        match trust(settled, session, volunteers, now_ms) {
            Some(Trust::Most) => return Some(session),
            Some(trust) if !found.contains(&(trust, session)) => found.push((trust, session)),
            _ => {}
        }
    }
    let best = found.iter().map(|(trust, _)| *trust).max();
    found.retain(|(trust, _)| Some(*trust) == best);
    let own = volunteers.own().filter(|own| volunteers.get(*own).is_some_and(|own| own.is_available(now_ms)));
    let is_newcomer = volunteers.records.get(settled.identity.token).is_newcomer();
    if let Some(own) = own.filter(|own| is_newcomer && round.checks.count_for(*own) < OWN_CHECKS_MAX) {
        return Some(own);
    }
    let choices: Vec<u64> = found.into_iter().map(|(_, session)| session).chain(own).collect();
    (!choices.is_empty()).then(|| choices[chance.below(choices.len())])
}

/// How well a volunteer suits for a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trust {
    /// It is somebody else, but at the same address.
    Neighbor,
    /// It is at another address.
    Elsewhere,
    /// It has also proved itself, or is the coordinator's own worker.
    Most,
}

/// How well a volunteer suits to check a settled group; `None` if it does not.
pub(super) fn trust(settled: &Settled, session: u64, volunteers: &Volunteers, now_ms: u64) -> Option<Trust> {
    let volunteer = volunteers.get(session)?;
    let is_same = session == settled.session || volunteer.identity.token == settled.identity.token;
    if volunteer.local {
        return volunteer.is_available(now_ms).then_some(Trust::Most);
    }
    if is_same || !volunteer.delivers() || !volunteer.is_available(now_ms) {
        return None;
    }
    let is_neighbor = volunteer.identity.address == settled.identity.address;
    Some(match (is_neighbor, volunteer.is_newcomer()) {
        (true, _) => Trust::Neighbor,
        (false, true) => Trust::Elsewhere,
        (false, false) => Trust::Most,
    })
}

pub(super) const WRONG_RESULT: &str = "a wrong result";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newcomers_are_audited_in_full_and_then_ever_less_down_to_the_share() {
        let audit = Audit::Sample(0.03);
        assert_eq!((0..10).map(|proven| audit.probability(proven)).fold(1.0, f64::min), 1.0);
        assert_eq!(audit.probability(20), 0.25);
        assert_eq!(audit.probability(1_000_000), 0.03);
        assert_eq!((Audit::None.probability(0), Audit::Full.probability(1_000_000)), (0.0, 1.0));
        let many: f64 = (0..10_000).map(|proven| audit.probability(proven)).sum();
        assert!(many < 10_000.0 * 0.03 + 20.0, "{many}");
    }
}
