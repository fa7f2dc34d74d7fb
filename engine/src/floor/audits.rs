//! Checks results against the results of others. Work is exact to the last bit, so a check is an equality.
//!
//! A share of the results, drawn by lot, is computed by somebody else too before the round is over; so is whatever
//! decides the end of the training or the weights to keep. A copy that comes late, because a faster volunteer was
//! asked too, is compared as well; that it is equal proves nothing. Where two results differ, the coordinator's own
//! computation decides who is convicted.

use protocol::message::ResultHeader;

use super::checks::Rival;
use super::fingerprint::Fingerprint;
use super::reports::FALSE_REPORT;
use super::round::{Round, Settled};
use super::secret::Chance;
use super::standing::{Identity, NEWCOMER_RESULTS};
use super::volunteers::{GRACE_MS_MIN, Volunteers};
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

/// Draws to find volunteers for a check.
const DRAWS_MAX: usize = 24;
/// So many are enough to choose one of.
const CANDIDATES_MAX: usize = 8;
/// Whoever would take more than so many times as long as the middle one of them is not chosen.
const WAIT_TIMES: f64 = 2.0;
/// Those that have proved themselves check all, as long as it takes them no longer. In the first rounds of a crowd they
/// are few, and a round must not wait for them.
const PROVEN_WAIT_MS_MAX: f64 = 2_000.0;
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
    pub(super) fn audit(&mut self, id: u64, proven: u64, is_suspicious: bool) {
        let is_wary = self.is_wary && self.settings.audit.compares();
        let audit = if is_wary { Audit::Full } else { self.settings.audit };
        let is_drawn = self.chance.happens(audit.probability(proven));
        if let Some(round) = &mut self.round
            && (is_drawn || is_suspicious && audit.compares())
        {
            round.want(id);
        }
    }

    /// Compares a result of a group with the one that is in the sums. That they are equal proves something only if who
    /// computed the second was drawn by lot: a copy goes to whoever is fast, and so to whom a liar wants.
    pub(super) fn compare(&mut self, session: u64, assignment: u64, fingerprint: Option<Fingerprint>) {
        let Some(round) = &mut self.round else { return };
        let is_check = round.is_drawn(assignment);
        let Some(id) = round.answered(assignment) else { return };
        let (Some(settled), Some(volunteer)) = (round.settled(id), self.volunteers.get(session)) else {
            return;
        };
        let (Some(known), Some(fingerprint)) = (settled.fingerprint, fingerprint) else { return };
        let (author, author_is_own) = ((settled.session, settled.identity), settled.is_own);
        let (sender, sender_is_own) = ((session, volunteer.identity), volunteer.local);
        let is_same_volunteer = author.1.token == sender.1.token && !sender_is_own && !author_is_own;
        if known != fingerprint {
            if sender_is_own {
                self.convict(author, WRONG_RESULT);
            } else if author_is_own {
                self.convict(sender, WRONG_RESULT);
            } else {
                let rival = |(session, identity), fingerprint| Rival { session, identity, fingerprint };
                self.summon(id, [rival(author, Some(known)), rival(sender, Some(fingerprint))]);
            }
        } else if author_is_own {
            self.volunteers.proved(sender.1);
        } else if sender_is_own {
            round.vouch(id, None);
            self.volunteers.proved(author.1);
        } else if is_check && is_same_volunteer {
            round.checks.abandon(id);
        } else if is_check && !round.checks.is_in_court(id) {
            round.vouch(id, Some(sender));
            self.volunteers.proved(author.1);
            self.volunteers.proved(sender.1);
        }
    }

    /// A session says that a unit of a settled group has no result.
    pub(super) fn contradict(&mut self, id: u64, session: u64) {
        let Some(volunteer) = self.volunteers.get(session) else { return };
        if self.settings.audit.compares() {
            let rival = Rival { session, identity: volunteer.identity, fingerprint: None };
            self.summon(id, [rival]);
        }
    }

    /// Brings a settled group before the coordinator's own computation.
    fn summon(&mut self, id: u64, rivals: impl IntoIterator<Item = Rival>) {
        let Some(round) = &mut self.round else { return };
        let Some(settled) = round.settled(id) else { return };
        let units = settled.group.units.clone();
        if round.checks.summon(id, &units, rivals) {
            self.next_case();
        }
    }

    /// Has the coordinator compute what is first before its court.
    pub(super) fn next_case(&mut self) {
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
        let mut liars: Vec<((u64, Identity), &str)> = Vec::new();
        let mut judge = |someone: (u64, Identity), fingerprint: Option<Fingerprint>| {
            if truth == fingerprint {
                self.volunteers.proved(someone.1);
            } else if liars.iter().all(|((_, known), _)| known.token != someone.1.token) {
                liars.push((someone, fingerprint.map_or(FALSE_REPORT, |_| WRONG_RESULT)));
            }
        };
        let settled = round.settled(case.group);
        let author =
            settled.and_then(|one| Some(((one.session, one.identity), one.fingerprint?, one.is_own)));
        if let Some((author, fingerprint, is_own)) = author {
            // The coordinator's own worker is in league with nobody.
            if is_own || truth == Some(fingerprint) {
                round.vouch(case.group, None);
            }
            if !is_own {
                judge(author, Some(fingerprint));
            }
        }
        let is_author = |session| author.is_some_and(|((first, _), ..)| first == session);
        for Rival { session, identity, fingerprint } in case.rivals {
            if !is_author(session) {
                judge((session, identity), fingerprint);
            }
        }
        self.next_case();
        liars.into_iter().for_each(|(someone, offense)| self.convict(someone, offense));
    }

    /// Finds somebody for each check that nobody has been chosen for, and takes those to court that take too long.
    pub(super) fn distribute_checks(&mut self, now_ms: u64) {
        let Some(round) = &mut self.round else { return };
        let mut for_the_court = round.checks.give_up(now_ms);
        for id in round.checks.take_orphans() {
            let Some(Chosen { session, wait_ms }) =
                choose(round, id, &self.volunteers, &mut self.chance, now_ms, false)
            else {
                for_the_court.push(id);
                continue;
            };
            match copy_with(round, id, session, &self.volunteers) {
                // It has been asked for the same already.
                Some(copy) => round.note_drawn(copy),
                None => round.checks.reserve(id, session),
            }
            round.checks.prolong(id, now_ms, wait_ms);
        }
        for_the_court.into_iter().for_each(|id| self.summon(id, []));
    }
}

/// Who is to compute a settled group too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chosen {
    pub(super) session: u64,
    /// How long it should take.
    wait_ms: f64,
}

/// Draws who is to compute a settled group too: one of those at other addresses that have proved themselves. Where
/// none of these can be found, or all that are found have too much to do, a newcomer's result goes to the coordinator's
/// own worker as long as that has little to check, so that newcomers do not vouch for each other; otherwise one of the
/// newcomers at other addresses is drawn, and where nobody at another address delivers, one at the same, with the
/// coordinator's own worker among them. `None` if only the court can do it. If `idle`, only those are drawn who have
/// nothing to do.
pub(super) fn choose(
    round: &Round,
    id: u64,
    volunteers: &Volunteers,
    chance: &mut Chance,
    now_ms: u64,
    idle: bool,
) -> Option<Chosen> {
    let settled = round.settled(id)?;
    let Identity { token, address } = settled.identity;
    let task = round.task(id)?;
    let may_check = |session: u64| {
        let checks = may_check(settled, session, volunteers, now_ms);
        let volunteer = volunteers.get(session).filter(|one| checks && !(idle && one.outstanding() > 0));
        volunteer.is_some() && round.drawn_copies(id).all(|copy| !volunteers.owes(session, copy))
    };
    let wait_ms = |session: u64| {
        let reserved = round.checks.reserved_for(session).filter_map(|group| round.task(group));
        let volunteer = volunteers.get(session);
        let reserved_ms =
            reserved.map(|task| volunteer.map_or(0.0, |one| one.duration_ms(task))).sum::<f64>();
        reserved_ms + volunteer.map_or(0.0, |one| one.wait_ms(task))
    };
    let own = volunteers.own().filter(|own| may_check(*own));
    let [proven, newcomers] = &volunteers.checkers;
    let mut drawn = |draw: &mut dyn FnMut(&mut Chance) -> Option<u64>| {
        let mut found: Vec<Chosen> = Vec::new();
        for _ in 0..DRAWS_MAX {
            let Some(session) = draw(chance).filter(|_| found.len() < CANDIDATES_MAX) else { break };
            if may_check(session) && found.iter().all(|one| one.session != session) {
                found.push(Chosen { session, wait_ms: wait_ms(session) });
            }
        }
        found
    };
    let own_chosen = |own: u64| Chosen { session: own, wait_ms: wait_ms(own) };

    let most = drawn(&mut |chance| proven.draw_elsewhere(address, chance));
    if most.iter().any(|one| one.wait_ms <= PROVEN_WAIT_MS_MAX) {
        // The coordinator's own worker is one of them.
        let all = proven.elsewhere(address) + 1;
        return match own.filter(|_| chance.below(all) == 0) {
            Some(own) => Some(own_chosen(own)),
            None => one_in_time(most, chance),
        };
    }
    let is_newcomer = volunteers.records.get(token).is_newcomer();
    let has_little_to_do = |own: &u64| round.checks.reserved_for(*own).count() < OWN_CHECKS_MAX;
    if let Some(own) = own.filter(|own| is_newcomer && has_little_to_do(own)) {
        return Some(own_chosen(own));
    }
    let mut others = drawn(&mut |chance| newcomers.draw_elsewhere(address, chance));
    if proven.elsewhere(address) + newcomers.elsewhere(address) == 0 {
        let [proven_there, newcomers_there] = [proven.at(address).len(), newcomers.at(address).len()];
        let mut at_the_same = |chance: &mut Chance| {
            let all = proven_there + newcomers_there;
            let pool = if chance.below(all.max(1)) < proven_there { proven } else { newcomers };
            pool.draw_at(address, chance)
        };
        others = drawn(&mut at_the_same);
    }
    others.extend(most.into_iter().chain(own.map(own_chosen)));
    one_in_time(others, chance)
}

/// One of those who should not take much longer than most of them. Who is fast is drawn no more often than others: of
/// those who are drawn from, half stay at least.
fn one_in_time(mut found: Vec<Chosen>, chance: &mut Chance) -> Option<Chosen> {
    found.sort_by(|a, b| a.wait_ms.total_cmp(&b.wait_ms));
    let middle = found.get(found.len().saturating_sub(1) / 2)?;
    let most_ms = WAIT_TIMES * middle.wait_ms + GRACE_MS_MIN;
    found.retain(|one| one.wait_ms <= most_ms);
    Some(found[chance.below(found.len())])
}

/// The copy of a settled group that a session has and that is no check.
fn copy_with(round: &Round, id: u64, session: u64, volunteers: &Volunteers) -> Option<u64> {
    round.group(id)?.copies.iter().copied().find(|copy| volunteers.owes(session, *copy))
}

/// Whether a volunteer may check a settled group: it is somebody else, and at work.
pub(super) fn may_check(settled: &Settled, session: u64, volunteers: &Volunteers, now_ms: u64) -> bool {
    let Some(volunteer) = volunteers.get(session).filter(|one| one.is_available(now_ms)) else {
        return false;
    };
    volunteer.local || volunteer.delivers() && volunteer.identity.token != settled.identity.token
}

pub(super) const WRONG_RESULT: &str = "a wrong result";

#[cfg(test)]
mod tests {
    use model::{NetworkSpec, Task};

    use super::super::round::tests::{round, sets, settle};
    use super::super::{FloorSettings, Secret};
    use super::*;
    use crate::settings::LocalHelp;

    fn floor() -> Floor {
        let network = NetworkSpec::from_shorthand("linear").unwrap();
        let settings = FloorSettings {
            run: 1,
            network: model::Network::new(&network, 1, Task::Numbers(1)).unwrap(),
            sets: sets(),
            seed: 1,
            minibatch: 5,
            local_help: LocalHelp::Never,
            audit: Audit::Sample(0.03),
        };
        Floor::new(settings, &Secret::new([1; 32]), 0)
    }

    /// One who colludes vouched for a result. An honest copy of it comes late and differs.
    #[test]
    fn what_is_vouched_for_and_disputed_is_not_confirmed() {
        let (mut floor, mut round) = (floor(), round());
        round.issue(1, 0, vec![0..1], 0);
        settle(&mut round, 1, 10, 1);
        round.vouch(1, Some((11, Identity { token: 11, address: 11 })));
        floor.round = Some(Box::new(round));
        assert!(floor.confirm(|_| true));
        floor.summon(1, []);
        assert!(!floor.confirm(|part| part == 0), "its case is before the court");
        assert!(floor.confirm(|part| part != 0));
        floor.round.as_mut().unwrap().vouch(1, None);
        assert!(floor.confirm(|_| true));
    }

    /// A volunteer sends a result, leaves, and is forgotten before the round ends.
    #[test]
    fn what_somebody_did_who_is_forgotten_already_is_noted() {
        let (mut floor, mut round) = (floor(), round());
        round.issue(1, 0, vec![0..1], 0);
        settle(&mut round, 1, 10, 1);
        floor.round = Some(Box::new(round));
        floor.note_unchecked(7);
        assert_eq!(floor.unchecked(), (vec![], Some(7)));
    }

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
