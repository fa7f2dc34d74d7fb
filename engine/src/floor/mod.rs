//! The floor: volunteers, and the work of an open round on some of its units.
//!
//! Whoever runs a training keeps a [ledger](crate::ledger) of a round's units and leases them to floors. A floor hands
//! its units out to the volunteers that are connected to it, judges what comes back, has a share of it checked, and
//! hands in exact sums. It knows nothing of optimizers. A coordinator by itself has one floor, in the same thread, and
//! leases everything to it; a gateway is a floor with a link to a coordinator.
//!
//! - `volunteers`: who is there, with the speed and the shards of each; `members`: the same for people; `roster`: who
//!   of them can be given work; `standing`: what is known of them beyond their sessions.
//! - `round`: the units that are granted; `free`: those that nobody has; `scheduler`: who gets which; `horizon`: when
//!   they should be done; `backups`: who gets a copy of what another has.
//! - `answers`: what volunteers send; `validator`: whether it can be right; `shares`: the sums.
//! - `audits`, `checks`, `court`, `fingerprint`, `secret`: results that others compute too; `pool`: of whom they are
//!   drawn; `vouched`: who is vouched for by whom; `spots`: those that the floor's process
//!   computes itself; `reports`: units that do not fit; `verdicts`: what becomes of whoever is found out.

mod answers;
mod audits;
mod backups;
mod checks;
mod court;
mod fingerprint;
mod free;
mod horizon;
mod lateness;
pub(crate) mod members;
mod pool;
mod reports;
pub(crate) mod roster;
pub(crate) mod round;
pub(crate) mod scheduler;
mod secret;
pub(crate) mod shares;
mod spots;
pub(crate) mod standing;
mod validator;
mod verdicts;
pub(crate) mod volunteers;
mod vouched;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use model::Network;
use protocol::plan::{Assignment, RoundPlan, Set, SetPlans, UnitLayout};

use crate::claims::Claim;
use crate::ledger::Partial;
use crate::settings::{LocalHelp, RunPlan};

use fingerprint::Key;
use reports::Reports;
use roster::OUTSTANDING_MAX;
use round::{Round, Settled};
use scheduler::{LAST_RESORT_MS, Scheduler};
use secret::Chance;
use spots::Lot;
use volunteers::{SLICE_MS, Volunteer, Volunteers};

pub use audits::{Answer, Audit};
pub use secret::Secret;
pub use spots::{Spot, SpotVerdict};
pub use standing::Identity;
pub use volunteers::Attendance;

/// What a floor knows of its run.
#[derive(Debug, Clone)]
pub struct FloorSettings {
    /// Names the run; results of other runs are refused.
    pub run: u64,
    /// The network being trained.
    pub network: Network,
    /// How the examples are cut.
    pub sets: SetPlans,
    /// Keys the run's random orders and masks.
    pub seed: u64,
    /// Examples of one gradient step.
    pub minibatch: u32,
    /// When the floor's own worker helps.
    pub local_help: LocalHelp,
    /// Which results are computed by somebody else too.
    pub audit: Audit,
}

/// What a floor wants done, or tells of.
#[derive(Debug)]
pub enum FloorEvent {
    /// Give a volunteer work.
    Assign {
        /// Its session.
        session: u64,
        /// The work.
        assignment: Assignment,
    },
    /// Send a volunteer away.
    Dismiss {
        /// Its session.
        session: u64,
        /// Why, in one sentence.
        text: String,
    },
    /// A volunteer was found out: it sent something that no honest volunteer sends. What it did is done again.
    Convicted {
        /// Its session.
        session: u64,
        /// Who it said it is.
        identity: Identity,
        /// What it sent.
        offense: String,
        /// Whether it is proof that its other results cannot be trusted either; otherwise it broke a rule of its
        /// channel.
        is_lie: bool,
        /// The number of rounds completed before the first that counts a result of it which nobody has checked.
        unchecked_since: Option<u64>,
    },
    /// Partial sums that were handed in contain a lie: they do not count, and their units are open again.
    Tainted {
        /// Their numbers.
        partials: Vec<u64>,
    },
    /// A volunteer has delivered a valid result.
    Delivered {
        /// Its session.
        session: u64,
        /// The examples in it; 0 if its units are not known any more.
        examples: u64,
        /// Whether they were counted. They were not if somebody else was first with the same units.
        counted: bool,
    },
    /// Add units up by oneself, to decide what is right, and answer with [`Floor::recomputed`]. One request of a round
    /// is made at a time.
    Recompute {
        /// The round's number.
        round: u64,
        /// The units, all of one part.
        units: Vec<Range<u32>>,
    },
    /// A unit is reported not to fit the round's fixed point. Nobody is given what was withdrawn for that until
    /// [`Floor::ruled`] says what is true. One report of a round is told of at a time.
    Unfit {
        /// The round's number.
        round: u64,
        /// The unit.
        unit: u32,
    },
}

/// What has been gone through, for tests of what inputs cost: counts are the same on every machine, times are not.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effort {
    /// Volunteers that were looked at to give them free units.
    pub volunteers: u64,
    /// Groups of units that were looked at to give copies of them.
    pub groups: u64,
    /// How often all sums of a round were added up.
    pub conclusions: u64,
}

/// See the module's description.
#[derive(Debug)]
pub struct Floor {
    settings: FloorSettings,
    volunteers: Volunteers,
    round: Option<Box<Round>>,
    /// Reports on units of the round.
    reports: Reports,
    /// Whether all results of the round are checked, because a liar was found out.
    is_wary: bool,
    /// When a volunteer's result was last counted, or else the round was opened.
    heard_ms: u64,
    /// Nobody was heard for so long that the floor's own worker helps whatever its setting. Outlasts the round: only a
    /// volunteer's result ends it.
    left_alone: bool,
    /// Whether idle volunteers get copies of what others have.
    copies: bool,
    /// The number of the last assignment.
    assignment: u64,
    /// Who is audited, and by whom.
    chance: Chance,
    /// What results are compared by.
    key: Key,
    /// A result of the round for the floor's own process to compute, if it does that.
    lot: Option<Lot>,
    events: VecDeque<FloorEvent>,
    wake_ms: Option<u64>,
    effort: Effort,
}

impl Floor {
    /// An empty floor. `secret` decides who is audited; it never touches the weights. Assignments are numbered from
    /// the one after `assignment`.
    pub fn new(settings: FloorSettings, secret: &Secret, assignment: u64) -> Floor {
        let mut chance = Chance::new(secret);
        Floor {
            settings,
            volunteers: Volunteers::default(),
            round: None,
            reports: Reports::new(),
            is_wary: false,
            heard_ms: 0,
            left_alone: false,
            copies: true,
            assignment,
            key: Key::draw(&mut chance),
            chance,
            lot: None,
            events: VecDeque::new(),
            wake_ms: None,
            effort: Effort::default(),
        }
    }

    /// Hands out no copies until nobody has been heard for [`LAST_RESORT_MS`]: to measure what copies gain.
    pub fn without_copies(mut self) -> Floor {
        self.copies = false;
        self
    }

    /// What is to be done next; `None` when there is nothing more for now.
    pub fn poll_event(&mut self) -> Option<FloorEvent> {
        self.events.pop_front()
    }

    /// When to hand out work again if nothing happens before.
    pub fn wake_ms(&self) -> Option<u64> {
        self.wake_ms
    }

    /// The number of the last assignment.
    pub fn assignment(&self) -> u64 {
        self.assignment
    }

    /// A volunteer is ready for work. `local` marks the floor's own worker.
    pub fn join(
        &mut self,
        session: u64,
        cores: u16,
        local: bool,
        identity: Identity,
        training_shards: Vec<u32>,
    ) {
        let existing = |shard: &u32| (*shard as usize) < self.settings.sets.training.shards.len();
        let shards = training_shards.into_iter().filter(existing).map(|shard| (Set::Training, shard));
        self.volunteers.join(session, cores, local, identity, shards.collect());
    }

    /// A volunteer is gone.
    pub fn leave(&mut self, session: u64) {
        let unanswered = self.volunteers.leave(session);
        if let Some(round) = &mut self.round {
            unanswered.into_iter().for_each(|assignment| round.take_back(assignment));
            round.checks.release(session);
        }
    }

    /// Opens a round of which the floor has no unit yet; it replaces the one before. `layouts` are those of its parts.
    /// If `is_wary`, all results are checked.
    pub fn open(&mut self, now_ms: u64, plan: RoundPlan, layouts: &Arc<[UnitLayout]>, is_wary: bool) {
        self.volunteers.forget_unanswered(now_ms, plan.round);
        self.reports.clear();
        self.heard_ms = now_ms;
        self.is_wary = is_wary;
        self.lot = self.lot.map(|_| Lot::default());
        let parameters = self.settings.network.parameters();
        self.round = Some(Box::new(Round::new(plan, layouts, parameters, self.settings.run_plan())));
    }

    /// Adds units to those that the floor has of the open round.
    pub fn grant(&mut self, units: &[Range<u32>]) {
        if let Some(round) = &mut self.round {
            units.iter().cloned().for_each(|range| round.grant(range));
        }
    }

    /// Gives back units that no volunteer has, at most so many. They are not the floor's any more.
    pub fn give_back(&mut self, most: u32) -> Vec<Range<u32>> {
        self.round.as_mut().map_or_else(Vec::new, |round| round.give_back(most))
    }

    /// Ends the round. If it was completed, those who left work unanswered that others have done get less.
    pub fn close(&mut self, now_ms: u64, is_completed: bool) {
        if is_completed {
            self.volunteers.bench_debtors(now_ms);
        }
        self.round = None;
        self.reports.clear();
        self.wake_ms = None;
    }

    /// There will be no further round.
    pub fn finish(&mut self, now_ms: u64, next_round: u64) {
        self.close(now_ms, false);
        self.volunteers.forget_unanswered(now_ms, next_round);
    }

    /// Whether all units that the floor has are accounted for, and all that was to be checked is.
    pub fn is_drained(&self) -> bool {
        self.round.as_ref().is_some_and(|round| round.is_complete())
    }

    /// Units that no volunteer has.
    pub fn free(&self) -> u32 {
        self.round.as_ref().map_or(0, |round| round.free())
    }

    /// Units accounted for.
    pub fn done(&self) -> u32 {
        self.round.as_ref().map_or(0, |round| round.done())
    }

    /// The units accounted for.
    pub fn accounted(&self) -> Vec<Range<u32>> {
        self.round.as_ref().map_or_else(Vec::new, |round| round.accounted().collect())
    }

    /// What to say when asking for units: what is worth a lease is what keeps all volunteers busy for a while who can be
    /// given work. Nothing, if nobody can.
    pub fn claim(&self) -> Claim {
        let Some(round) = &self.round else { return Claim::default() };
        let cost = round.parts().first().map_or(1.0, |part| part.unit_cost);
        let slices = OUTSTANDING_MAX as f64 * SLICE_MS * self.volunteers.roster.speed() / cost;
        let typical = self.volunteers.roster.typical_core_speed().unwrap_or(0.0);
        let lent = self.volunteers.roster.lent;
        let own = self.volunteers.own().filter(|_| self.local_helps());
        let own = own.and_then(|own| self.volunteers.get(own));
        let own_speed = own.map_or(0.0, |one| one.speed.unwrap_or(f64::from(one.cores) * typical));
        let cores = lent.cores() + own.map_or(0, |one| u32::from(one.cores));
        Claim {
            cores,
            speed: lent.speed(typical) + own_speed,
            undone: self.undone(),
            least: if cores == 0 { 0 } else { (slices as u32).max(cores) },
        }
    }

    /// Units that the floor has and that are not accounted for.
    pub fn undone(&self) -> u32 {
        self.round.as_ref().map_or(0, |round| round.granted() - round.done())
    }

    /// Whether nobody is there to compute what is free.
    pub fn is_deserted(&self) -> bool {
        self.volunteers.roster.count == 0 && self.claim().least == 0
    }

    /// Whether something is accounted for that is in no partial sum.
    pub fn has_unsent(&self) -> bool {
        self.round.as_ref().is_some_and(|round| round.has_unsent())
    }

    /// The sums of what is accounted for and in no partial sum, as far as it is checked, if that is anything. What is
    /// still to be checked stays, and would not be checked if it were handed in and the floor's process ended.
    pub fn take_partial(&mut self) -> Option<Partial> {
        self.round.as_mut()?.take_partial()
    }

    /// Partial sums that it has handed in do not count any more, for no fault of its own: it does their units again.
    pub fn undo(&mut self, partials: &[u64]) {
        if let Some(round) = &mut self.round {
            round.undo(partials);
        }
    }

    /// The tokens of those whose results in a partial sum nobody else vouches for.
    pub fn unchecked_in(&self, partial: u64) -> BTreeSet<u128> {
        let Some(round) = &self.round else { return BTreeSet::new() };
        let of_partial =
            round.all_settled().filter(|(_, one)| one.partial == Some(partial) && one.is_doubtful());
        of_partial.map(|(_, one)| one.identity.token).collect()
    }

    /// Has somebody else compute all results of these parts that nobody but their sender vouches for. Answers whether
    /// there are none, and none of which a check is open: somebody may have vouched for a result that is disputed.
    pub fn confirm(&mut self, is_in_scope: impl Fn(usize) -> bool) -> bool {
        let Some(round) = &mut self.round else { return true };
        let in_scope = round.all_settled().filter(|(_, one)| is_in_scope(one.group.part));
        let is_open = |(id, one): &(u64, &Settled)| one.is_doubtful() || round.checks.is_wanted(*id);
        let open: Vec<u64> = in_scope.filter(is_open).map(|(id, _)| id).collect();
        open.iter().for_each(|id| round.want(*id));
        open.is_empty()
    }

    /// Whether nobody but its sender vouches for some result of the round.
    pub fn is_doubtful(&self) -> bool {
        self.round.as_ref().is_some_and(|round| round.all_settled().any(|(_, one)| one.is_doubtful()))
    }

    /// Remembers whose results of the round, before which so many were completed, nobody has checked, or only one
    /// other.
    pub fn note_unchecked(&mut self, rounds: u64) {
        let Some(round) = &self.round else { return };
        for (_, settled) in round.all_settled() {
            let author = settled.identity.token;
            if let Some(voucher) = settled.only_voucher() {
                let forgotten = self.volunteers.vouched.note(voucher.token, author, rounds);
                if let Some((voucher, since)) = forgotten {
                    self.volunteers.records.note_unchecked(voucher, since);
                }
            } else if settled.is_doubtful() {
                self.volunteers.records.note_unchecked(author, rounds);
            }
        }
    }

    /// Volunteers of whom results were counted that nobody has checked, with the number of rounds before the first; and
    /// that number for all who are not known any more.
    pub fn unchecked(&self) -> (Vec<(u128, u64)>, Option<u64>) {
        let records = &self.volunteers.records;
        (records.unchecked().collect(), records.forgotten_since)
    }

    /// As [`Floor::unchecked`] had it.
    pub fn recall_unchecked(&mut self, unchecked: &[(u128, u64)], forgotten_since: Option<u64>) {
        self.volunteers.records.recall(unchecked, forgotten_since);
    }

    /// The training went back to where so many rounds were completed. What is unchecked of rounds before which fewer
    /// than `irrevocable` were completed stays in the weights: it is of no use any more to know whose that is.
    pub fn rewind(&mut self, rounds: u64, irrevocable: u64) {
        self.volunteers.records.rewind(rounds, irrevocable);
        self.volunteers.vouched.rewind(rounds, irrevocable);
    }

    /// Finds work for whoever should have some.
    pub fn hand_out(&mut self, now_ms: u64) {
        self.wake_ms = None;
        if self.round.is_none() {
            return;
        }
        self.reopen_court_if_due(now_ms);
        self.distribute_checks(now_ms);
        let last_resort_ms = self.heard_ms + LAST_RESORT_MS;
        if now_ms >= last_resort_ms && !std::mem::replace(&mut self.left_alone, true) {
            self.volunteers.pardon();
        }
        self.volunteers.wake(now_ms);
        self.volunteers.release(if self.left_alone { u64::MAX } else { now_ms });
        let local_helps = self.local_helps();
        let Some(round) = &mut self.round else { return };
        let scheduler = Scheduler {
            round,
            volunteers: &mut self.volunteers,
            run: self.settings.run_plan(),
            assignment: &mut self.assignment,
            local_helps,
            left_alone: self.left_alone,
            copies: self.copies,
            chance: &mut self.chance,
            now_ms,
            effort: &mut self.effort,
        };
        let handed = scheduler.hand_out();
        let patience_ms = round.checks.patience_ms().map(|ms| ms.max(now_ms + 1));
        let court_ms = round.checks.court_opens_ms;
        let assign = |(session, assignment)| FloorEvent::Assign { session, assignment };
        self.events.extend(handed.assignments.into_iter().map(assign));
        let last_resort_ms = (!self.left_alone).then_some(last_resort_ms);
        self.wake_ms =
            handed.again_ms.into_iter().chain(last_resort_ms).chain(patience_ms).chain(court_ms).min();
    }

    /// Whether the floor's own worker is given work at present, be it as the last resort.
    pub fn local_helps(&self) -> bool {
        self.left_alone || scheduler::local_helps(self.settings.local_help, &self.volunteers)
    }

    pub(crate) fn effort(&self) -> Effort {
        self.effort
    }

    /// The number of volunteers and their cores.
    pub fn attendance(&self) -> Attendance {
        self.volunteers.attendance()
    }

    /// Cores that are lent, those of the floor's own worker included.
    pub(crate) fn cores(&self) -> u32 {
        self.volunteers.iter().map(|(_, volunteer)| u32::from(volunteer.cores)).sum()
    }

    /// Whether the session belongs to a connected volunteer, other than the floor's own worker, that has had a result
    /// accepted.
    pub fn has_helped(&self, session: u64) -> bool {
        self.volunteers.get(session).is_some_and(Volunteer::has_helped)
    }

    /// The measured speed of all volunteers together: passes of one example forward through the network in a
    /// millisecond.
    pub fn speed(&self) -> f64 {
        self.volunteers.roster.speed()
    }

    /// The cores of those who help with the open round, and how long they should need for the whole of it, in
    /// milliseconds.
    pub(crate) fn time_needed(&self) -> Option<(u32, f64)> {
        let round = self.round.as_ref()?;
        let cores = self.helping().map(|one| u32::from(one.cores)).sum();
        let speed: f64 = self.helping().map(|one| f64::from(one.cores) * one.core_speed_at_best).sum();
        Some((cores, round.cost() / speed))
    }

    /// Those who are given work: all, but the floor's own worker only if it helps.
    fn helping(&self) -> impl Iterator<Item = &Volunteer> {
        let local_helps = self.local_helps();
        self.volunteers.iter().map(|(_, one)| one).filter(move |one| local_helps || !one.local)
    }
}

impl FloorSettings {
    pub(crate) fn run_plan(&self) -> RunPlan<'_> {
        let FloorSettings { sets, seed, minibatch, .. } = self;
        RunPlan { sets, seed: *seed, minibatch: *minibatch }
    }
}
