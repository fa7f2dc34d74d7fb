//! The connected volunteers: the cores, shards, open assignments and speed of each.

use std::collections::{BTreeMap, BTreeSet};

use protocol::plan::Set;

use super::lateness::Lateness;
use super::pool::Pool;
use super::roster::{Entry, OUTSTANDING_MAX, Roster, Standing};
use super::standing::{Identity, Record, Records};
use super::vouched::{Vouched, Word};

/// Time for which an assignment should keep a volunteer busy.
pub(super) const SLICE_MS: f64 = 400.0;
/// Time for which a volunteer that gave work back gets none, so that it is not asked in a loop.
pub const REST_MS: u64 = 1000;
/// An answer may come later than expected by this share of the time that it takes, or by [`GRACE_MS_MIN`], before
/// it is overdue. A copy must be expected to gain as much.
const GRACE_SHARE: f64 = 0.25;
/// No shorter grace than this: an answer may be on its way.
pub(super) const GRACE_MS_MIN: f64 = 25.0;
/// Whoever is this many times as late as is allowed for when a round ends is thought to be asleep. Who is only a little
/// late will have nothing to answer any more, and must not miss the next round for it.
const SILENT_TIMES: f64 = 2.0;
/// What the way there and back is thought to take changes by this share of what one more answer tells.
const WAY_GAIN: f64 = 0.25;
/// It is never thought to take longer than this.
const WAY_MS_MAX: f64 = 1000.0;
/// At least this share of the time to an answer counts as computing.
const COMPUTING_SHARE_MIN: f64 = 0.25;
/// A volunteer's speed is the mean over what it did of late: after so much work, earlier work counts half.
const RECENT_MS: f64 = SLICE_MS;
/// Whoever leaves work unanswered that others settle gets none for so many rounds, then for twice as many, and so on
/// up to two to this power, until something is heard of it.
const BENCH_DOUBLINGS_MAX: u32 = 12;
/// Nobody's cores are more than so many times as fast as those of others: whoever answers at once has not computed. No
/// core is believed to be faster than that, and of a round's work a volunteer gets at most so many times its part of the
/// cores of all who deliver.
const SHARE_TIMES_MAX: f64 = 16.0;
/// A volunteer whose speed is not known is expected to take this long for anything.
pub(super) const UNKNOWN_DURATION_MS: f64 = 1000.0;

/// A set and the index of one of its shards.
pub(super) type Shard = (Set, u32);

/// All volunteers, by session.
#[derive(Debug, Default)]
pub(super) struct Volunteers {
    members: BTreeMap<u64, Volunteer>,
    /// Whom an assignment that is not answered went to.
    owners: BTreeMap<u64, u64>,
    /// Number of holders of each shard, kept because counting would visit all volunteers each time.
    holders: BTreeMap<Shard, usize>,
    /// What is known of volunteers beyond their sessions.
    pub(super) records: Records,
    /// Who vouched for whom.
    pub(super) vouched: Vouched,
    /// Those who deliver and are at work: who have proved themselves, and newcomers.
    pub(super) checkers: [Pool; 2],
    /// The session of the coordinator's own worker.
    own: Option<u64>,
    /// Who can be given work.
    pub(super) roster: Roster,
    /// How late their answers are.
    lateness: Lateness,
    /// The number of the open round.
    round: u64,
    /// When it was the last turn of a volunteer that never delivered, and its session.
    tried: (u64, u64),
}

/// One volunteer, as far as it is known.
#[derive(Debug)]
pub(super) struct Volunteer {
    /// Cores it lends; zero while it pauses.
    pub(super) cores: u16,
    /// Whether it is the coordinator's own worker.
    pub(super) local: bool,
    pub(super) identity: Identity,
    /// It gets no work before this time, because it gave some back.
    pub(super) rests_until_ms: u64,
    /// Measured speed in cost per millisecond (see [`super::scheduler`]).
    pub(super) speed: Option<f64>,
    /// The measured speed of one of its cores. One core computes a unit.
    pub(super) core_speed: Option<f64>,
    /// The fastest that one of its cores has ever been at local steps, by what has waited at the volunteer for its
    /// turn: the way there and back, which is part of what is measured otherwise, costs that no time.
    pub(super) core_speed_at_best: f64,
    recent: Recent,
    chain: Chain,
    /// How much longer than expected answers come to assignments that it had not waited for: their way there and back.
    way_ms: Option<f64>,
    /// Whether it has yet to prove itself, and whether any result of it was ever accepted; as in its record.
    newcomer: bool,
    delivers: bool,
    /// Rounds in a row that ended with work of it that it left unanswered and others settled.
    missed: u32,
    /// It gets no work in rounds up to this one.
    benched_until: u64,
    /// A round ended while it was overdue, and nothing has been heard of it since: it sleeps, or has left without a
    /// word.
    pub(super) silent: bool,
    /// Until then others have better use for the units: it gets none.
    held_until_ms: u64,
    /// Shards that it holds, or will hold after its assignments.
    pub(super) shards: BTreeSet<Shard>,
    /// Shards of assignments that it gave back.
    pub(super) refused: BTreeSet<Shard>,
    /// Assignments it has not answered. One that another volunteer's answer has overtaken stays:
    /// nobody told it to stop, so it is still busy with it, or asleep.
    unanswered: BTreeMap<u64, Asked>,
    /// The last of those that were unanswered when their rounds ended.
    debts: Vec<u64>,
    answered_ms: u64,
    /// It is thought to be busy until then with work of an earlier round: nobody told it to stop.
    carried_until_ms: f64,
    /// Whether anything of it has come since the round was opened.
    is_awake: bool,
    /// The cost of what it was given of the open round that nobody else had.
    given: f64,
}

/// The volunteers that are connected. The coordinator's own worker does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attendance {
    /// How many.
    pub volunteers: usize,
    /// Cores they lend.
    pub cores: usize,
}

/// How much later than expected an answer may come that takes so long, before it is overdue.
pub(super) fn grace_ms(duration_ms: f64) -> f64 {
    (GRACE_SHARE * duration_ms).max(GRACE_MS_MIN)
}

/// What a message says about the volunteer that sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// It would say the same if it were asleep or did nothing.
    Nothing,
    /// It is awake.
    Something,
    /// It answers what it was asked.
    AnswersInTime,
    /// It answers this assignment of a round that is over.
    AnswersLate(u64),
}

/// The work that an assignment asks of a volunteer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    pub(super) cost: f64,
    pub(super) units: u32,
    /// Whether the units are replicas.
    pub(super) local: bool,
}

/// A task, and when it was given.
#[derive(Debug, Clone, Copy)]
struct Asked {
    task: Task,
    issued_ms: u64,
    /// Whether the volunteer has to download a shard for it.
    downloads: bool,
}

/// What a volunteer did of late. Sums are kept, and not a mean of speeds: with several cores two assignments may be
/// done side by side, so that the second is answered a moment after the first and would seem to have taken no time.
#[derive(Debug, Default)]
struct Recent {
    cost: f64,
    busy_ms: f64,
    /// The same for each of the cores that had something to do.
    core_ms: f64,
}

/// Answers that followed one another, each to an assignment that had waited for its turn.
#[derive(Debug, Default)]
struct Chain {
    cost: f64,
    /// The first one's, which several cores may have computed beside what came before.
    first_cost: f64,
    busy_ms: f64,
}

impl Chain {
    fn add(&mut self, cost: f64, busy_ms: f64) {
        if self.cost == 0.0 {
            self.first_cost = cost;
        }
        self.cost += cost;
        self.busy_ms += busy_ms;
    }

    /// The speed of each of so many cores, not overestimated.
    fn core_speed(&self, cores: f64) -> f64 {
        let cost = if cores > 1.0 { self.cost - self.first_cost } else { self.cost };
        if self.busy_ms > 0.0 { cost / (self.busy_ms * cores) } else { 0.0 }
    }
}

impl Recent {
    fn add(&mut self, cost: f64, busy_ms: f64, cores: f64) {
        let left = (-busy_ms / RECENT_MS).exp2();
        self.cost = self.cost * left + cost;
        self.busy_ms = self.busy_ms * left + busy_ms;
        self.core_ms = self.core_ms * left + busy_ms * cores;
    }
}

impl Volunteers {
    /// Adds a newcomer.
    pub(super) fn join(
        &mut self,
        session: u64,
        cores: u16,
        local: bool,
        identity: Identity,
        shards: BTreeSet<Shard>,
    ) {
        for shard in &shards {
            *self.holders.entry(*shard).or_default() += 1;
        }
        let record = if local { Record::default() } else { *self.records.of(identity.token) };
        if !local {
            self.records.of(identity.token).session = Some(session);
        }
        let volunteer = Volunteer {
            cores,
            local,
            identity,
            rests_until_ms: 0,
            speed: None,
            core_speed: None,
            core_speed_at_best: 0.0,
            recent: Recent::default(),
            chain: Chain::default(),
            way_ms: None,
            newcomer: !local && record.is_newcomer(),
            delivers: local || record.accepted > 0,
            missed: record.missed,
            benched_until: record.benched_until,
            silent: false,
            held_until_ms: 0,
            shards,
            refused: BTreeSet::new(),
            unanswered: BTreeMap::new(),
            debts: Vec::new(),
            answered_ms: 0,
            carried_until_ms: 0.0,
            is_awake: true,
            given: if record.last_round == self.round { record.given } else { 0.0 },
        };
        if local {
            self.own = Some(session);
        }
        self.members.insert(session, volunteer);
        self.refresh(session);
    }

    /// Brings the roster and the pools up to date with a volunteer that has changed.
    fn refresh(&mut self, session: u64) {
        let volunteer = self.members.get(&session).filter(|one| one.cores > 0 && !one.local);
        let checker = volunteer.filter(|one| one.delivers && one.is_likely_to_work(self.round));
        for (pool, is_newcomer) in self.checkers.iter_mut().zip([false, true]) {
            match checker.filter(|one| one.newcomer == is_newcomer) {
                Some(one) => pool.set(session, one.identity.address, true),
                None => pool.remove(session),
            }
        }
        let entry = volunteer.map(|one| Entry {
            standing: match (one.delivers, one.silent) {
                (true, false) => Standing::Delivers,
                (true, true) => Standing::Silent,
                (false, _) => Standing::OnTrial,
            },
            on_trial: !one.delivers,
            cores: one.cores,
            outstanding: one.unanswered.len(),
            speed: one.speed,
            core_speed: one.core_speed,
            held_until_ms: one.held_until_ms,
            rests_until_ms: one.rests_until_ms,
            is_benched: one.is_benched(self.round),
            is_awake: one.is_awake,
        });
        self.roster.update(session, entry);
    }

    /// Sets the number of cores that a volunteer lends.
    pub(super) fn lend(&mut self, session: u64, cores: u16) {
        if let Some(volunteer) = self.members.get_mut(&session) {
            (volunteer.cores, volunteer.held_until_ms) = (cores, 0);
        }
        self.refresh(session);
    }

    /// Ends the rest of those whose time is over.
    pub(super) fn wake(&mut self, now_ms: u64) {
        while let Some(session) = self.roster.rested(now_ms) {
            if let Some(volunteer) = self.members.get_mut(&session) {
                volunteer.rests_until_ms = 0;
            }
            self.refresh(session);
        }
    }

    /// Nobody was heard for long: all get another chance.
    pub(super) fn pardon(&mut self) {
        let benched: Vec<u64> =
            self.iter().filter(|(_, one)| one.missed > 0).map(|(session, _)| session).collect();
        for session in benched {
            self.members.entry(session).and_modify(|one| (one.missed, one.benched_until) = (0, 0));
            self.refresh(session);
        }
    }

    /// Removes a volunteer; answers with the assignments it has not answered.
    pub(super) fn leave(&mut self, session: u64) -> Vec<u64> {
        let Some(volunteer) = self.members.remove(&session) else { return Vec::new() };
        for shard in &volunteer.shards {
            self.count_off(*shard);
        }
        for assignment in volunteer.unanswered.keys() {
            self.owners.remove(assignment);
        }
        self.roster.update(session, None);
        self.checkers.iter_mut().for_each(|pool| pool.remove(session));
        if let Some(record) = self.records.known(volunteer.identity.token) {
            record.session = record.session.filter(|newest| *newest != session);
            (record.missed, record.benched_until) = (volunteer.missed, volunteer.benched_until);
            (record.last_round, record.given) = (self.round, volunteer.given);
        }
        volunteer.unanswered.into_keys().collect()
    }

    pub(super) fn get(&self, session: u64) -> Option<&Volunteer> {
        self.members.get(&session)
    }

    /// The number of the open round.
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Volunteer)> {
        self.members.iter().map(|(session, volunteer)| (*session, volunteer))
    }

    pub(super) fn attendance(&self) -> Attendance {
        let remote = || self.members.values().filter(|one| !one.local);
        Attendance { volunteers: remote().count(), cores: remote().map(|one| usize::from(one.cores)).sum() }
    }

    /// How many volunteers hold a shard.
    pub(super) fn holders(&self, shard: Shard) -> usize {
        self.holders.get(&shard).copied().unwrap_or(0)
    }

    /// Notes that a volunteer was asked for something that needs these shards.
    pub(super) fn asked(&mut self, session: u64, assignment: u64, task: Task, shards: &[Shard], now_ms: u64) {
        let Some(volunteer) = self.members.get_mut(&session) else { return };
        self.owners.insert(assignment, session);
        let mut downloads = false;
        for shard in shards {
            if volunteer.shards.insert(*shard) {
                downloads = true;
                *self.holders.entry(*shard).or_default() += 1;
            }
        }
        volunteer.unanswered.insert(assignment, Asked { task, issued_ms: now_ms, downloads });
        self.refresh(session);
    }

    /// The next of those who never delivered and have nothing to do, if the last one's turn was so long ago.
    pub(super) fn next_trial(&mut self, now_ms: u64, pause_ms: u64) -> Option<u64> {
        let (last_ms, last) = self.tried;
        if now_ms < last_ms.saturating_add(pause_ms) {
            return None;
        }
        let next = |after| self.roster.next_ready(0, Some((Standing::OnTrial, after)));
        let (_, session) = next(last).or_else(|| next(0))?;
        self.tried = (now_ms, session);
        Some(session)
    }

    /// Notes that a volunteer was given work of that cost that nobody else had.
    pub(super) fn gave(&mut self, session: u64, cost: f64) {
        if let Some(volunteer) = self.members.get_mut(&session) {
            volunteer.given += cost;
        }
    }

    /// The cost of what a volunteer may still be given of a round of that cost: whoever answers at once must not get
    /// the whole round. It does not apply to the coordinator's own worker.
    pub(super) fn may_be_given(&self, session: u64, round_cost: f64) -> f64 {
        let Some(volunteer) = self.members.get(&session).filter(|volunteer| !volunteer.local) else {
            return f64::INFINITY;
        };
        let share = SHARE_TIMES_MAX * f64::from(volunteer.cores) / self.roster.cores.max(1) as f64;
        if share >= 1.0 { f64::INFINITY } else { round_cost * share - volunteer.given }
    }

    /// When the answer to an assignment should come, to judge by the speed of the volunteer that has it, or else by
    /// that of the others, and how long it needs for it; `None` when nothing is to be expected of it.
    pub(super) fn expected(&self, assignment: u64) -> Option<Expected> {
        let volunteer = self.members.get(self.owners.get(&assignment)?)?;
        let expected = volunteer.expected(assignment, self.roster.typical_core_speed())?;
        (!volunteer.silent).then(|| {
            let allowed_ms = self.lateness.allowed_ms(volunteer.downloads());
            Expected { grace_ms: expected.grace_ms.max(allowed_ms), ..expected }
        })
    }

    /// What an answer to an assignment says about the volunteer.
    pub(super) fn answers(&self, session: u64, assignment: u64) -> Says {
        let Some(volunteer) = self.members.get(&session) else { return Says::Nothing };
        if volunteer.unanswered.contains_key(&assignment) {
            Says::AnswersInTime
        } else if volunteer.debts.contains(&assignment) {
            Says::AnswersLate(assignment)
        } else {
            Says::Nothing
        }
    }

    /// Something came from a volunteer. An answer makes good for what it left unanswered before. A late one does so
    /// only the first time in a row: nobody can say whether it is right, and others have waited for it.
    pub(super) fn heard(&mut self, session: u64, says: Says) {
        let Some(volunteer) = self.members.get_mut(&session) else { return };
        volunteer.is_awake = true;
        match says {
            Says::Nothing => {}
            Says::Something => volunteer.silent = false,
            Says::AnswersInTime => {
                (volunteer.silent, volunteer.missed, volunteer.benched_until) = (false, 0, 0);
                volunteer.debts.clear();
            }
            Says::AnswersLate(assignment) => {
                volunteer.debts.retain(|debt| *debt != assignment);
                volunteer.benched_until = 0;
                volunteer.silent &= volunteer.missed > 1;
            }
        }
        self.refresh(session);
    }

    /// Notes that a volunteer's result was accepted; that it also proved right, where `proven`.
    pub(super) fn accepted(&mut self, session: u64, proven: bool) {
        let Some(volunteer) = self.members.get_mut(&session).filter(|volunteer| !volunteer.local) else {
            return;
        };
        volunteer.delivers = true;
        self.refresh(session);
        let Some(volunteer) = self.members.get(&session) else { return };
        self.records.of(volunteer.identity.token).accepted += 1;
        if proven && let Some(identity) = self.members.get(&session).map(|volunteer| volunteer.identity) {
            self.proved(identity);
        }
    }

    /// Notes that a volunteer's result proved right.
    pub(super) fn proved(&mut self, identity: Identity) {
        if let Some(record) = self.records.known(identity.token) {
            record.proven += 1;
            self.note_standing(identity.token);
        }
    }

    /// Brings a volunteer that is there up to date with its record.
    fn note_standing(&mut self, token: u128) {
        let record = self.records.get(token);
        let Some(session) = record.session else { return };
        if let Some(volunteer) = self.members.get_mut(&session).filter(|volunteer| !volunteer.local) {
            volunteer.newcomer = record.is_newcomer();
        }
        self.refresh(session);
    }

    /// A volunteer lied: its word proves nothing, so what it alone vouched for is unchecked. Answers with the number of
    /// rounds completed before the first that counts such a result of somebody who was found out before.
    pub(super) fn withdraw_word(&mut self, token: u128) -> Option<u64> {
        let mut of_liars = None;
        for (author, Word { since, results }) in self.vouched.withdraw(token) {
            let Some(record) = self.records.known(author) else {
                // It is forgotten, so it may have been found out.
                of_liars = of_liars.into_iter().chain(since).min();
                continue;
            };
            record.proven = record.proven.saturating_sub(results);
            let unchecked = if record.has_lied { &mut of_liars } else { &mut record.unchecked_since };
            *unchecked = unchecked.iter().copied().chain(since).min();
            self.note_standing(author);
        }
        of_liars
    }

    /// What proved right proved nothing: all begin as newcomers again.
    pub(super) fn distrust_all(&mut self) {
        self.records.distrust_all();
        self.members.values_mut().filter(|one| !one.local).for_each(|one| one.newcomer = true);
        self.refresh_all();
    }

    fn refresh_all(&mut self) {
        let sessions: Vec<u64> = self.members.keys().copied().collect();
        sessions.into_iter().for_each(|session| self.refresh(session));
    }

    /// The sessions of a volunteer that are there.
    pub(super) fn sessions_of(&self, token: u128) -> Vec<u64> {
        let of_token = self.iter().filter(|(_, one)| !one.local && one.identity.token == token);
        of_token.map(|(session, _)| session).collect()
    }

    /// The session of the coordinator's own worker, if it is there and lends a core.
    pub(super) fn own(&self) -> Option<u64> {
        self.own.filter(|session| self.members.get(session).is_some_and(|own| own.cores > 0))
    }

    /// Whether a volunteer has that assignment and has not answered it.
    pub(super) fn owes(&self, session: u64, assignment: u64) -> bool {
        self.members.get(&session).is_some_and(|volunteer| volunteer.unanswered.contains_key(&assignment))
    }

    /// Notes that a volunteer has answered with a result, and learns its speed.
    pub(super) fn delivered(&mut self, session: u64, assignment: u64, now_ms: u64) {
        self.owners.remove(&assignment);
        let typical = self.roster.typical_core_speed();
        let fastest =
            self.roster.undisputed_core_speed().map_or(f64::INFINITY, |speed| SHARE_TIMES_MAX * speed);
        let Some(volunteer) = self.members.get_mut(&session) else { return };
        // The coordinator's own worker does not lie.
        let fastest = if volunteer.local { f64::INFINITY } else { fastest };
        let expected =
            volunteer.expected(assignment, typical).filter(|_| !volunteer.silent && !volunteer.local);
        // What takes longer may be late by a share of its time.
        if let Some(Expected { end_ms, .. }) = expected.filter(|expected| expected.grace_ms <= GRACE_MS_MIN) {
            self.lateness.add(now_ms as f64 - end_ms, volunteer.downloads());
        }
        let units_out = volunteer.unanswered.values().map(|asked| asked.task.units).sum::<u32>();
        let Some(asked) = volunteer.unanswered.remove(&assignment) else { return };
        let busy_ms = now_ms.saturating_sub(asked.issued_ms.max(volunteer.answered_ms)).max(1) as f64;
        let busy_cores = f64::from(u32::from(volunteer.cores).min(units_out).max(1));
        volunteer.learn_way(asked, busy_ms);
        if asked.issued_ms >= volunteer.answered_ms || !asked.task.local {
            volunteer.chain = Chain::default();
        } else {
            volunteer.chain.add(asked.task.cost, busy_ms);
            let speed = volunteer.chain.core_speed(f64::from(volunteer.cores)).min(fastest);
            volunteer.core_speed_at_best = volunteer.core_speed_at_best.max(speed);
        }
        let computing_ms = volunteer.busy_ms(asked, now_ms).max(COMPUTING_SHARE_MIN * busy_ms);
        volunteer.recent.add(asked.task.cost, computing_ms, busy_cores);
        let Recent { cost, busy_ms, core_ms } = volunteer.recent;
        volunteer.speed = Some((cost / busy_ms).min(fastest * f64::from(volunteer.cores.max(1))));
        volunteer.core_speed = Some((cost / core_ms).min(fastest));
        volunteer.answered_ms = now_ms;
        volunteer.held_until_ms = 0;
        self.refresh(session);
    }

    /// Notes that a volunteer has answered without a result, which says nothing about its speed.
    pub(super) fn gave_up(&mut self, session: u64, assignment: u64) {
        self.owners.remove(&assignment);
        if let Some(volunteer) = self.members.get_mut(&session) {
            volunteer.unanswered.remove(&assignment);
            volunteer.held_until_ms = 0;
        }
        self.refresh(session);
    }

    /// A volunteer has given an assignment back that needs these shards: it rests, and perhaps it
    /// cannot have one of them. (One that pauses gives everything back and keeps its shards.)
    pub(super) fn declined(&mut self, session: u64, assignment: u64, shards: &[Shard], now_ms: u64) {
        self.gave_up(session, assignment);
        let Some(volunteer) = self.members.get_mut(&session).filter(|volunteer| volunteer.cores > 0) else {
            return;
        };
        volunteer.rests_until_ms = now_ms + REST_MS;
        volunteer.refused.extend(shards);
        let doubtful: Vec<Shard> =
            shards.iter().copied().filter(|shard| volunteer.shards.remove(shard)).collect();
        for shard in doubtful {
            self.count_off(shard);
        }
        self.refresh(session);
    }

    /// The round is over, and with it all that has not been answered. The next has the number `round`.
    pub(super) fn forget_unanswered(&mut self, now_ms: u64, round: u64) {
        self.owners.clear();
        self.round = round;
        for volunteer in self.members.values_mut() {
            volunteer.forget_unanswered(now_ms);
            (volunteer.given, volunteer.held_until_ms) = (0.0, 0);
        }
        self.refresh_all();
    }

    /// All of a round is accounted for. Others have done what is unanswered: whoever has left it so gets less.
    pub(super) fn bench_debtors(&mut self, now_ms: u64) {
        for volunteer in self.members.values_mut() {
            volunteer.bench_if_in_debt(now_ms, self.round);
        }
    }

    /// A volunteer is to be given no units until that time, unless something comes from it before.
    pub(super) fn hold_back(&mut self, session: u64, until_ms: u64) {
        if let Some(volunteer) = self.members.get_mut(&session) {
            volunteer.held_until_ms = until_ms;
        }
        self.refresh(session);
    }

    /// Lets those have units whose time has come, or all.
    pub(super) fn release(&mut self, now_ms: u64) {
        while let Some(session) = self.roster.held(now_ms) {
            self.hold_back(session, 0);
        }
    }

    fn count_off(&mut self, shard: Shard) {
        if let Some(holders) = self.holders.get_mut(&shard) {
            *holders -= 1;
        }
    }
}

impl Volunteer {
    /// Whether it has yet to prove itself.
    pub(super) fn is_newcomer(&self) -> bool {
        self.newcomer
    }

    /// Whether anything of it has come since the round was opened.
    pub(super) fn is_awake(&self) -> bool {
        self.is_awake
    }

    /// Whether a result of it was ever accepted.
    pub(super) fn delivers(&self) -> bool {
        self.delivers
    }

    /// Whether it gets no work in a round.
    fn is_benched(&self, round: u64) -> bool {
        self.benched_until >= round && self.missed > 0
    }

    /// Whether it is likely to do work of a round, now or when it is done with what it has.
    pub(super) fn is_likely_to_work(&self, round: u64) -> bool {
        self.cores > 0 && self.rests_until_ms == 0 && !self.silent && !self.is_benched(round)
    }

    /// Whether work may be given to it now, but for how much it has.
    pub(super) fn is_available(&self, now_ms: u64) -> bool {
        self.cores > 0 && !self.silent && self.rests_until_ms <= now_ms && !self.is_overdue(now_ms)
    }

    /// Whether the answer to its first assignment should have come by now.
    pub(super) fn is_overdue(&self, now_ms: u64) -> bool {
        self.is_overdue_by(1.0, now_ms)
    }

    /// Whether it should have come by now even if it took so many times as long as is allowed for.
    fn is_overdue_by(&self, times: f64, now_ms: u64) -> bool {
        self.unanswered.first_key_value().is_some_and(|(_, asked)| {
            let duration_ms = self.duration_ms(asked.task);
            self.busy_ms(*asked, now_ms) > times * (duration_ms + grace_ms(duration_ms))
        })
    }

    /// How long a further task should take, with what it has before that.
    pub(super) fn wait_ms(&self, task: Task) -> f64 {
        let before = self.unanswered.values().map(|asked| self.duration_ms(asked.task)).sum::<f64>();
        before + self.duration_ms(task)
    }

    /// How long it should be busy with what it has, at a core speed of `typical` if its own is not known; `None` if an
    /// answer is overdue, so that nothing is to be expected of it.
    pub(super) fn busy_for_ms(&self, now_ms: u64, typical: Option<f64>) -> Option<f64> {
        let now_ms = now_ms as f64;
        let mut answers = self.all_expected(typical).map(|(_, expected)| expected);
        let Some(first) = answers.next() else { return Some((self.free_ms() - now_ms).max(0.0)) };
        let last = answers.last().unwrap_or(first);
        (now_ms <= first.overdue_ms()).then_some((last.end_ms - now_ms).max(0.0))
    }

    /// Whether it is not the coordinator's own worker, and a result of its was accepted.
    pub(super) fn has_helped(&self) -> bool {
        !self.local && self.delivers
    }

    /// Whether anything that it has not answered needs a shard that it has to download. One download holds up all.
    fn downloads(&self) -> bool {
        self.unanswered.values().any(|asked| asked.downloads)
    }

    /// The number of its unanswered assignments.
    pub(super) fn outstanding(&self) -> usize {
        self.unanswered.len()
    }

    /// An answer came that long after the volunteer could begin with it.
    fn learn_way(&mut self, asked: Asked, busy_ms: f64) {
        if asked.issued_ms as f64 >= self.free_ms() && self.core_speed.is_some() {
            let way_ms = (busy_ms - self.duration_ms(asked.task)).clamp(0.0, WAY_MS_MAX);
            let known_ms = self.way_ms.unwrap_or(way_ms);
            self.way_ms = Some(known_ms + WAY_GAIN * (way_ms - known_ms));
        }
    }

    /// How long an assignment and its answer are on their way, if the volunteer has nothing else to do meanwhile.
    pub(super) fn way_ms(&self) -> f64 {
        self.way_ms.unwrap_or(0.0)
    }

    /// When it was done, or will be, with what came before its unanswered assignments.
    fn free_ms(&self) -> f64 {
        self.carried_until_ms.max(self.answered_ms as f64)
    }

    /// How long it has been at a task, if it does one after the other.
    fn busy_ms(&self, asked: Asked, now_ms: u64) -> f64 {
        let begun_ms = (asked.issued_ms as f64 + self.way_ms()).max(self.free_ms());
        (now_ms as f64 - begun_ms).max(0.0)
    }

    /// How long it should need for a task once it has begun.
    pub(super) fn duration_ms(&self, task: Task) -> f64 {
        self.duration_at(task, self.core_speed)
    }

    /// The same at some speed of each of its cores.
    fn duration_at(&self, task: Task, core_speed: Option<f64>) -> f64 {
        let cores = f64::from(u32::from(self.cores).min(task.units).max(1));
        core_speed.map_or(UNKNOWN_DURATION_MS, |speed| task.cost / (speed * cores))
    }

    fn expected(&self, assignment: u64, typical: Option<f64>) -> Option<Expected> {
        self.all_expected(typical).find(|(number, _)| *number == assignment).map(|(_, expected)| expected)
    }

    /// What to expect of each unanswered assignment, at a core speed of `typical` if its own is not known.
    fn all_expected(&self, typical: Option<f64>) -> impl Iterator<Item = (u64, Expected)> {
        let mut end_ms = self.free_ms();
        self.unanswered.iter().map(move |(number, asked)| {
            let duration_ms = self.duration_at(asked.task, self.core_speed.or(typical));
            end_ms = end_ms.max(asked.issued_ms as f64 + self.way_ms()) + duration_ms;
            (*number, Expected { end_ms, grace_ms: grace_ms(duration_ms) })
        })
    }

    /// A volunteer that never finishes before others have done its work for it would be believed to
    /// be as fast as it once was, and be given too much, for ever. So being overdue counts too.
    fn forget_unanswered(&mut self, now_ms: u64) {
        self.is_awake = false;
        let end_ms = self.busy_with_first_until_ms();
        self.carried_until_ms = end_ms.filter(|end_ms| *end_ms > now_ms as f64).unwrap_or(0.0);
        if let (Some(speed), Some((_, asked))) = (self.speed, self.unanswered.first_key_value()) {
            let Asked { task, .. } = *asked;
            let busy_ms = self.busy_ms(*asked, now_ms);
            self.silent |= self.is_overdue_by(SILENT_TIMES, now_ms);
            if busy_ms > SLICE_MS && task.cost / busy_ms < speed {
                let cores = f64::from(u32::from(self.cores).min(task.units).max(1));
                self.recent = Recent { cost: task.cost, busy_ms, core_ms: busy_ms * cores };
                self.speed = Some(task.cost / busy_ms);
                self.core_speed = self.core_speed.map(|speed| speed.min(task.cost / (busy_ms * cores)));
            }
        }
        let forgotten = std::mem::take(&mut self.unanswered);
        if !forgotten.is_empty() {
            self.debts.extend(forgotten.into_keys());
            let too_many = self.debts.len().saturating_sub(2 * OUTSTANDING_MAX);
            self.debts.drain(..too_many);
        }
    }

    /// When it should be done with what it is at.
    fn busy_with_first_until_ms(&self) -> Option<f64> {
        let (_, asked) = self.unanswered.first_key_value()?;
        let speed = self.core_speed?;
        let begun_ms = self.free_ms().max(asked.issued_ms as f64);
        Some(begun_ms + self.duration_at(asked.task, Some(speed)))
    }

    fn bench_if_in_debt(&mut self, now_ms: u64, round: u64) {
        if self.local || self.unanswered.is_empty() {
            return;
        }
        if self.is_overdue_by(SILENT_TIMES, now_ms) || !self.delivers {
            self.missed = (self.missed + 1).min(BENCH_DOUBLINGS_MAX);
            // One round the first time, then two, four ...
            self.benched_until = round + (1 << (self.missed - 1));
        }
    }
}

/// What to expect of an assignment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// When it should be answered.
    pub(super) end_ms: f64,
    /// How much later it may come before it is overdue.
    pub(super) grace_ms: f64,
}

impl Expected {
    /// When it is overdue.
    pub(super) fn overdue_ms(self) -> f64 {
        self.end_ms + self.grace_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: Shard = (Set::Training, 3);

    fn one() -> Volunteers {
        let mut volunteers = Volunteers::default();
        volunteers.join(7, 2, false, Identity::default(), BTreeSet::new());
        volunteers
    }

    /// Of two units.
    fn task(cost: f64) -> Task {
        Task { cost, units: 2, local: true }
    }

    fn speed(volunteers: &Volunteers) -> Option<f64> {
        volunteers.get(7).unwrap().speed
    }

    #[test]
    fn speed_is_measured_from_when_the_last_answer_came() {
        let mut volunteers = one();
        volunteers.asked(7, 1, task(8000.0), &[], 100);
        volunteers.asked(7, 2, task(8000.0), &[], 100);
        volunteers.delivered(7, 1, 100 + 800);
        assert_eq!(speed(&volunteers), Some(10.0));
        volunteers.delivered(7, 2, 100 + 800 + 400);
        // Of the 800 ms before, half counts after 400 ms.
        assert_eq!(speed(&volunteers), Some((4000.0 + 8000.0) / (400.0 + 400.0)));
        assert_eq!(volunteers.get(7).unwrap().core_speed, Some(7.5), "two cores were busy");
        volunteers.delivered(7, 2, 1400);
        assert_eq!(speed(&volunteers), Some(15.0));
    }

    #[test]
    fn one_of_many_gets_no_more_of_a_round_than_its_cores_can_do() {
        let mut volunteers = Volunteers::default();
        let identity = |token| Identity { token, address: 1 };
        (0..64).for_each(|one| volunteers.join(one, 1, false, identity(one.into()), BTreeSet::new()));
        (0..64).for_each(|one| volunteers.accepted(one, true));
        // Those who never deliver are not others.
        (1_000..2_000).for_each(|one| volunteers.join(one, 1, false, identity(one.into()), BTreeSet::new()));
        assert_eq!(volunteers.may_be_given(7, 640.0), 160.0);
        volunteers.gave(7, 100.0);
        assert_eq!(volunteers.may_be_given(7, 640.0), 60.0);
        // Coming back does not help.
        volunteers.leave(7);
        volunteers.join(99, 1, false, identity(7), BTreeSet::new());
        assert_eq!(volunteers.may_be_given(99, 640.0), 60.0);
        volunteers.forget_unanswered(0, 1);
        assert_eq!(volunteers.may_be_given(99, 640.0), 160.0, "the next round");
        // A workstation among them may do most of it.
        volunteers.lend(99, 64);
        assert_eq!(volunteers.may_be_given(99, 640.0), f64::INFINITY);
    }

    /// Four need 100 ms for a unit, and one sends something made up at once.
    #[test]
    fn who_answers_at_once_is_not_believed_to_be_so_fast_and_spoils_nothing_for_others() {
        let mut volunteers = Volunteers::default();
        let identity = |token| Identity { token, address: 1 };
        (0..5).for_each(|one| volunteers.join(one, 1, false, identity(one.into()), BTreeSet::new()));
        let task = Task { cost: 1e6, units: 1, local: true };
        for (number, one) in (0..5_u64).chain(0..5).enumerate() {
            let (number, asked_ms) = (number as u64, 1_000 * number as u64);
            volunteers.asked(one, number, task, &[], asked_ms);
            volunteers.delivered(one, number, asked_ms + if one == 4 { 0 } else { 100 });
        }
        let typical = volunteers.roster.typical_core_speed().unwrap();
        assert!((9_000.0..=11_000.0).contains(&typical), "{typical}");
        let liar = volunteers.get(4).unwrap();
        assert!(liar.core_speed.unwrap() <= SHARE_TIMES_MAX * typical, "{liar:?}");
        assert!(volunteers.roster.speed() <= (4.0 + SHARE_TIMES_MAX) * 1.1 * typical);
        // A stranger is expected to take as long as the honest ones.
        volunteers.join(7, 1, false, identity(7), BTreeSet::new());
        volunteers.asked(7, 99, task, &[], 20_000);
        let expected = volunteers.expected(99).unwrap().end_ms - 20_000.0;
        assert!((90.0..=110.0).contains(&expected), "{expected}");
    }

    #[test]
    fn what_a_volunteer_left_undone_stays_with_its_token() {
        let mut volunteers = one();
        volunteers.asked(7, 1, task(1000.0), &[], 0);
        volunteers.bench_debtors(10_000);
        assert!(volunteers.get(7).unwrap().missed > 0);
        volunteers.leave(7);
        volunteers.join(8, 2, false, Identity::default(), BTreeSet::new());
        volunteers.heard(8, Says::Something);
        assert!(volunteers.roster.room(8).is_none(), "it gets nothing in this round");
        volunteers.heard(8, Says::AnswersInTime);
        assert!(volunteers.roster.room(8).is_some(), "it has answered");
    }

    #[test]
    fn an_answer_that_comes_late_is_an_excuse_once() {
        let mut volunteers = one();
        for (number, missed, is_silent) in [(1, 1, false), (2, 2, true)] {
            volunteers.asked(7, number, task(1000.0), &[], 10_000 * number);
            volunteers.bench_debtors(10_000 * number + 9_000);
            volunteers.forget_unanswered(10_000 * number + 9_000, number + 1);
            assert_eq!(volunteers.answers(7, 99), Says::Nothing);
            let late = volunteers.answers(7, number);
            assert_eq!(late, Says::AnswersLate(number));
            volunteers.members.get_mut(&7).unwrap().silent = true;
            volunteers.heard(7, late);
            let volunteer = volunteers.get(7).unwrap();
            assert_eq!((volunteer.missed, volunteer.silent), (missed, is_silent));
            assert!(volunteers.roster.room(7).is_some(), "it may try");
        }
        volunteers.asked(7, 3, task(1000.0), &[], 30_000);
        volunteers.heard(7, volunteers.answers(7, 3));
        assert_eq!(volunteers.get(7).unwrap().missed, 0);
    }

    #[test]
    fn who_never_finishes_is_no_longer_believed_to_be_fast() {
        let mut volunteers = one();
        volunteers.asked(7, 1, task(1000.0), &[], 0);
        volunteers.delivered(7, 1, 10);
        volunteers.asked(7, 2, task(1000.0), &[], 10);
        volunteers.forget_unanswered(20, 2);
        assert_eq!(speed(&volunteers), Some(100.0), "10 ms are not overdue");
        assert!(!volunteers.get(7).unwrap().silent);
        volunteers.asked(7, 3, task(1000.0), &[], 20);
        volunteers.forget_unanswered(1020, 3);
        assert_eq!(speed(&volunteers), Some(1.0));
        assert_eq!(volunteers.get(7).unwrap().outstanding(), 0);
        assert!(volunteers.get(7).unwrap().silent);
        volunteers.heard(7, Says::Something);
        assert!(!volunteers.get(7).unwrap().silent);
    }

    /// Two cores do two assignments of one unit each side by side, so that the second answer follows the first at once.
    #[test]
    fn what_is_done_side_by_side_does_not_seem_to_take_no_time() {
        let mut volunteers = one();
        for round in 0..5 {
            let (first, second, begun_ms) = (2 * round + 1, 2 * round + 2, 1000 * round);
            let task = Task { cost: 1000.0, units: 1, local: true };
            volunteers.asked(7, first, task, &[], begun_ms);
            volunteers.asked(7, second, task, &[], begun_ms);
            volunteers.delivered(7, first, begun_ms + 1000);
            volunteers.delivered(7, second, begun_ms + 1000);
        }
        let volunteer = volunteers.get(7).unwrap();
        assert!((1.9..2.1).contains(&volunteer.speed.unwrap()), "{volunteer:?}");
        assert!((0.9..1.1).contains(&volunteer.core_speed.unwrap()), "{volunteer:?}");
        assert!(volunteer.core_speed_at_best < 1.1, "{volunteer:?}");
    }

    /// One core, 1000 ms away, that needs 100 ms for each of three assignments.
    #[test]
    fn the_way_there_and_back_is_not_counted_as_computing() {
        let mut volunteers = Volunteers::default();
        volunteers.join(7, 1, false, Identity::default(), BTreeSet::new());
        let task = Task { cost: 1000.0, units: 1, local: true };
        (1..=3).for_each(|number| volunteers.asked(7, number, task, &[], 0));
        (1..=3).for_each(|number| volunteers.delivered(7, number, 1000 + 100 * number));
        assert_eq!(volunteers.get(7).unwrap().core_speed_at_best, 10.0);
        assert!(speed(&volunteers).unwrap() < 10.0);
    }

    #[test]
    fn an_answer_is_expected_after_that_to_what_was_asked_before() {
        let mut volunteers = one();
        volunteers.asked(7, 1, task(1000.0), &[], 0);
        assert_eq!(volunteers.expected(1).unwrap().end_ms, UNKNOWN_DURATION_MS);
        volunteers.delivered(7, 1, 100);
        assert!(volunteers.expected(1).is_none());
        volunteers.asked(7, 2, task(2000.0), &[], 150);
        volunteers.asked(7, 3, task(1000.0), &[], 160);
        let expected = volunteers.expected(3).unwrap();
        assert_eq!((expected.end_ms, expected.grace_ms), (450.0, 25.0));
    }

    /// Nobody tells a volunteer to stop when others are first: it comes to the next round's work later.
    #[test]
    fn work_of_an_earlier_round_keeps_a_volunteer_busy() {
        let mut volunteers = one();
        volunteers.asked(7, 1, task(4000.0), &[], 0);
        volunteers.delivered(7, 1, 400);
        volunteers.asked(7, 2, task(4000.0), &[], 400);
        volunteers.forget_unanswered(500, 2);
        volunteers.asked(7, 3, task(4000.0), &[], 500);
        assert_eq!(volunteers.expected(3).unwrap().end_ms, 1200.0);
        volunteers.delivered(7, 3, 1200);
        assert_eq!(speed(&volunteers), Some(10.0), "it is no slower than before");
        volunteers.forget_unanswered(1200, 3);
        volunteers.asked(7, 4, task(4000.0), &[], 1300);
        assert_eq!(volunteers.expected(4).unwrap().end_ms, 1700.0);
    }

    #[test]
    fn holders_are_counted_through_joining_asking_declining_and_leaving() {
        let mut volunteers = one();
        volunteers.join(8, 1, false, Identity::default(), BTreeSet::from([SHARD]));
        volunteers.asked(7, 1, task(1.0), &[SHARD], 0);
        volunteers.asked(7, 2, task(1.0), &[SHARD], 0);
        assert_eq!(volunteers.holders(SHARD), 2);
        volunteers.declined(7, 1, &[SHARD], 5);
        assert_eq!(volunteers.holders(SHARD), 1);
        assert_eq!(volunteers.get(7).unwrap().rests_until_ms, 5 + REST_MS);
        assert!(volunteers.leave(8).is_empty());
        assert_eq!(volunteers.leave(7), [2]);
        assert_eq!(volunteers.holders(SHARD), 0);
    }

    #[test]
    fn who_pauses_keeps_its_shards() {
        let mut volunteers = one();
        volunteers.asked(7, 1, task(1.0), &[SHARD], 0);
        volunteers.lend(7, 0);
        volunteers.declined(7, 1, &[SHARD], 5);
        assert_eq!(volunteers.holders(SHARD), 1);
        assert_eq!(volunteers.get(7).unwrap().rests_until_ms, 0);
    }
    #[test]
    fn the_word_of_a_liar_is_withdrawn_for_authors_that_are_forgotten_too() {
        let mut volunteers = one();
        let (voucher, known, liar) = (5, 6, 8);
        volunteers.records.of(known).accepted = 1;
        volunteers.records.of(liar).has_lied = true;
        for (author, rounds) in [(known, 2), (liar, 4)] {
            volunteers.vouched.note(voucher, author, rounds);
        }
        assert_eq!(volunteers.withdraw_word(voucher), Some(4));
        assert_eq!(volunteers.records.get(known).unchecked_since, Some(2));
        volunteers.vouched.note(voucher, 99, 3);
        assert_eq!(volunteers.withdraw_word(voucher), Some(3), "it may have been found out");
    }
}
