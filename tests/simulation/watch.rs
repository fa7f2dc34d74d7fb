//! What must be true of the engine at every moment, seen from outside.

use std::collections::{BTreeMap, BTreeSet};

use engine::decoder::Message;
use engine::{Engine, Input, OUTSTANDING_MAX, Output, REST_MS};
use protocol::plan::{Assignment, RoundPlan};

/// As long as no more volunteers contribute to a round, each has sums of its own.
const FEW: usize = 8;
/// Whoever has had nothing to do for so many times as long as the slowest volunteer needs for a unit, while units were
/// free all the time, could have done one.
const COULD_TIMES: u64 = 2;
/// In one round nobody who is known to deliver has nothing to do for that long, and so many times as long as the slowest
/// needs for a unit, while units are free.
const IDLE_MS_MAX: u64 = 2_000;
const IDLE_TIMES_MAX: u64 = 3;
/// In no more rounds in a row somebody who is known to deliver gets nothing that could have done a unit; plus those that
/// it is benched for, if it left work unanswered.
const DENIED_ROUNDS_MAX: u64 = 3;
/// No longer time between two inputs counts: the coordinator may have stood still.
const COUNTED_MS_MAX: u64 = 250;

/// Follows the engine's inputs and outputs. Its methods panic when something is wrong.
#[derive(Default)]
pub(crate) struct Watch {
    /// Leave out the check that nobody idles while units are free, which goes through all members each time.
    crowded: bool,
    /// How long the slowest volunteer needs for a unit, with its way and a download.
    slowest_ms: u64,
    /// When the last input was.
    now_ms: u64,
    members: BTreeMap<u64, Member>,
    /// The token of each session there ever was.
    tokens: BTreeMap<u64, u128>,
    /// Of those that have left, how many rounds had ended with work of theirs unanswered.
    missed: BTreeMap<u128, u32>,
    /// Tokens of those of whom a result was counted.
    delivered: BTreeSet<u128>,
    plan: Option<RoundPlan>,
    /// Units of the open round whose result was counted, and whose that was.
    counted: BTreeMap<u32, u64>,
    /// Everybody of whom a result of it was ever counted.
    contributors: BTreeSet<u64>,
    /// How many have each unit of the open round and have not answered.
    holders: Vec<u32>,
    /// Units that nobody has and that are not counted.
    free: u32,
    /// What was counted last.
    pub(crate) last_counted: Option<(u64, Vec<u32>)>,
    last_round: u64,
    last_assignment: u64,
    /// The referee looks into the open round: some units are with nobody.
    suspicion: bool,
    /// Groups that were handed out more than once.
    pub(crate) backups: u64,
    /// Units of those.
    pub(crate) copied_units: u64,
    /// Results that came second.
    pub(crate) overtaken: u64,
    /// Units that somebody was asked for whose result was in the sums already.
    pub(crate) audited_units: u64,
}

struct Member {
    cores: u16,
    local: bool,
    token: u128,
    /// What it has not answered.
    owes: BTreeMap<u64, Vec<u32>>,
    rests_until_ms: u64,
    /// A round ended with work of it unanswered, and nothing was heard of it since.
    missed: bool,
    /// How many rounds did.
    missed_rounds: u32,
    /// How long it has had nothing to do in this round, while units were free and nothing excused that.
    idle_ms: u64,
    /// Whether that was long enough for a unit, and in how many rounds in a row it was.
    is_denied: bool,
    denied_rounds: u64,
}

impl Member {
    /// Somebody who could have done a unit in a round has had nothing in it.
    fn end_round(&mut self) {
        if !self.owes.is_empty() {
            self.missed = true;
            self.missed_rounds = (self.missed_rounds + 1).min(12);
        }
        self.owes.clear();
        self.idle_ms = 0;
        self.denied_rounds += u64::from(std::mem::take(&mut self.is_denied));
        let benched = if self.missed_rounds == 0 { 0 } else { 1 << (self.missed_rounds - 1) };
        // Whoever has left work unanswered, and has answered nothing in time since, comes after all others.
        assert!(
            self.missed || self.denied_rounds <= DENIED_ROUNDS_MAX + benched,
            "volunteer {} got nothing in {} rounds",
            self.token,
            self.denied_rounds
        );
    }

    fn forget_idleness(&mut self) {
        (self.idle_ms, self.is_denied, self.denied_rounds) = (0, false, 0);
    }
}

/// What an input may change.
pub(crate) struct Before {
    /// The session and the assignment's units, if the input is a result that was asked for.
    answers: Option<(u64, Vec<u32>)>,
    done: Option<u32>,
}

impl Before {
    /// The units of a result that was asked for.
    pub(crate) fn units(&self) -> Option<&[u32]> {
        self.answers.as_ref().map(|(_, units)| &units[..])
    }
}

impl Watch {
    /// Whether a unit's result that counts is that of a session, if that round is open.
    pub(crate) fn counts(&self, round: u64, unit: u32, session: u64) -> bool {
        let is_open = self.plan.as_ref().is_some_and(|plan| plan.round == round);
        !is_open || self.counted.get(&unit) == Some(&session)
    }

    /// One that leaves out what would take too long with a crowd. The slowest volunteer needs so long for a unit.
    pub(crate) fn new(crowded: bool, slowest_ms: u64) -> Watch {
        Watch { crowded, slowest_ms, ..Watch::default() }
    }

    /// Notes an input that is about to be handled.
    pub(crate) fn before(&mut self, now_ms: u64, engine: &Engine, input: &Input) -> Before {
        let passed_ms = now_ms - std::mem::replace(&mut self.now_ms, now_ms);
        if !self.crowded {
            self.count_idleness(passed_ms.min(COUNTED_MS_MAX), engine.is_paused());
        }
        let mut answers = None;
        match input {
            Input::Joined { session, cores, local, identity, .. } => {
                let (cores, local, token) = (*cores, *local, identity.token);
                let missed_rounds = self.missed.get(&token).copied().unwrap_or(0);
                let member = Member {
                    cores,
                    local,
                    token,
                    owes: BTreeMap::new(),
                    rests_until_ms: 0,
                    missed: missed_rounds > 0,
                    missed_rounds,
                    idle_ms: 0,
                    is_denied: false,
                    denied_rounds: 0,
                };
                self.members.insert(*session, member);
                self.tokens.insert(*session, token);
            }
            Input::Left { session } | Input::Misbehaved { session, .. } => {
                if let Some(member) = self.members.remove(session) {
                    member.owes.values().for_each(|units| self.let_go(units));
                    self.missed.insert(member.token, member.missed_rounds);
                }
            }
            Input::Message { session, message } => {
                answers = self.message(now_ms, *session, message).map(|units| (*session, units));
            }
            _ => {}
        }
        Before { answers, done: engine.round_progress().map(|(done, _)| done) }
    }

    /// The units that the message answers, if it is a result.
    fn message(&mut self, now_ms: u64, session: u64, message: &Message) -> Option<Vec<u32>> {
        // What comes late makes good for nothing for certain.
        let answered = match message {
            Message::Result { header, .. } => Some(header.assignment),
            Message::Unfit(unfit) => Some(unfit.assignment),
            _ => None,
        };
        let is_in_time = |member: &&mut Member| answered.is_some_and(|one| member.owes.contains_key(&one));
        if let Some(member) = self.members.get_mut(&session).filter(is_in_time) {
            (member.missed, member.missed_rounds) = (false, 0);
        }
        match message {
            Message::Cores(cores) => {
                if let Some(member) = self.members.get_mut(&session) {
                    member.cores = *cores;
                }
            }
            Message::Result { header, .. } => return self.answered(session, header.assignment),
            Message::Unfit(unfit) => {
                self.answered(session, unfit.assignment);
            }
            Message::Declined { assignment, .. } => {
                // While the referee looks for the next round's scales, nothing is out.
                let asked = self.answered(session, *assignment).is_some() && self.plan.is_some();
                if let Some(member) =
                    self.members.get_mut(&session).filter(|member| asked && member.cores > 0)
                {
                    member.rests_until_ms = now_ms + REST_MS;
                }
            }
        }
        None
    }

    /// Checks what came of the input.
    pub(crate) fn after(&mut self, now_ms: u64, engine: &Engine, before: Before, outputs: &[Output]) {
        let mut completed = false;
        let is_convicted = |output: &Output| match output {
            Output::Convicted { identity, .. } => Some(identity.token),
            _ => None,
        };
        let convicted: BTreeSet<u128> = outputs.iter().filter_map(is_convicted).collect();
        let is_over = |output: &Output| {
            let ends = matches!(output, Output::Accepted(_) | Output::Between | Output::Finished(_));
            ends || matches!(
                output,
                Output::OpenRound { .. } | Output::Recall { .. } | Output::Rewound { .. }
            )
        };
        let goes_on = !outputs.iter().any(is_over);
        // Before any of these units are handed out again.
        if goes_on && !convicted.is_empty() {
            self.retract(engine, &convicted);
        } else if let (true, Some(answers), Some(done)) = (goes_on, &before.answers, before.done) {
            let now_done = engine.round_progress().map_or(0, |(done, _)| done);
            if now_done == done {
                let all_counted = answers.1.iter().all(|unit| self.counted.contains_key(unit));
                assert!(all_counted, "a result is refused only if another was first");
                self.overtaken += 1;
            } else {
                self.count(answers);
                assert_eq!(now_done as usize, self.counted.len(), "progress counts units once");
            }
        }
        for output in outputs {
            match output {
                Output::OpenRound { plan, .. } => self.open(plan),
                Output::Assign { session, assignment } => {
                    // All of the round before is settled by then.
                    self.assign(now_ms, *session, assignment);
                    let own = self.members.get(session).is_some_and(|member| member.local);
                    let is_check =
                        assignment.units.iter().all(|range| self.counted.contains_key(&range.start));
                    assert!(
                        !own || is_check || engine.local_helps(),
                        "the coordinator computes and does not say so"
                    );
                }
                Output::Dismiss { session, .. } => {
                    let member = self.members.remove(session).expect("only those present are dismissed");
                    member.owes.values().for_each(|units| self.let_go(units));
                }
                Output::Measure { .. } => self.suspicion = true,
                Output::Convicted { identity, .. } => {
                    self.delivered.remove(&identity.token);
                }
                Output::Recompute { .. } => {}
                Output::Recall { .. } | Output::Rewound { .. } => self.plan = None,
                Output::Accepted(_) | Output::Between => {
                    // One input may bring both: the start point is told of late where learning rates are tried.
                    if let Some(answers) = before.answers.as_ref().filter(|_| !completed) {
                        completed = true;
                        if answers.1.iter().any(|unit| !self.counted.contains_key(unit)) {
                            self.count(answers);
                        }
                        let units = self.plan.as_ref().map_or(0, RoundPlan::units);
                        assert_eq!(self.counted.len() as u32, units, "a round ends with all its units");
                    }
                    self.plan = None;
                }
                Output::Finished(_) => self.plan = None,
                Output::Note(_) | Output::Delivered { .. } => {}
                Output::Floor { .. } => panic!("there is one floor"),
            }
        }
        if let (true, Some(_), Some((done, _))) = (goes_on, &self.plan, engine.round_progress()) {
            assert_eq!(done as usize, self.counted.len(), "nothing but results makes progress");
        }
        assert!(engine.wake_ms().is_none_or(|at_ms| at_ms > now_ms), "the engine wants to be woken at once");
        let hands_out = outputs.iter().any(|output| matches!(output, Output::Assign { .. }));
        assert!(!(engine.is_paused() && hands_out), "work is handed out in a pause");
        if !self.crowded && !engine.is_paused() {
            self.check_idleness(now_ms);
        }
    }

    fn open(&mut self, plan: &RoundPlan) {
        assert!(plan.round > self.last_round, "a round's number is used once");
        self.last_round = plan.round;
        self.plan = Some(plan.clone());
        self.free = plan.units();
        self.holders = vec![0; plan.units() as usize];
        self.counted.clear();
        self.contributors.clear();
        self.suspicion = false;
        for member in self.members.values_mut() {
            member.end_round();
        }
    }

    fn assign(&mut self, now_ms: u64, session: u64, assignment: &Assignment) {
        let plan = self.plan.as_ref().expect("work is given while a round is open");
        assert_eq!(assignment.round, plan.round);
        assert!(assignment.assignment > self.last_assignment, "an assignment's number is used once");
        self.last_assignment = assignment.assignment;
        let units: Vec<u32> = assignment.units.iter().cloned().flatten().collect();
        assert!(!units.is_empty() && units.is_sorted_by(|a, b| a < b));
        let parts: BTreeSet<usize> = units.iter().map(|unit| plan.locate(*unit).expect("a unit").0).collect();
        assert_eq!(parts.len(), 1, "an assignment keeps to one part");
        let known = units.iter().filter_map(|unit| self.counted.get(unit)).collect::<Vec<_>>();
        let is_check = !known.is_empty();
        if is_check {
            assert_eq!(known.len(), units.len(), "what is checked is known");
            assert!(known.iter().all(|one| **one == *known[0]), "one result is checked at a time");
            let token = |session: &u64| self.tokens.get(session);
            let is_own = self.members.get(&session).is_some_and(|member| member.local);
            assert!(*known[0] != session, "nobody checks himself");
            assert!(
                is_own || token(known[0]) != token(&session),
                "nobody checks himself under another session"
            );
            self.audited_units += units.len() as u64;
        }
        let held =
            |member: &Member| member.owes.values().any(|owed| owed.iter().any(|unit| units.contains(unit)));
        if !is_check && self.members.values().any(held) {
            let same = self.members.values().any(|member| member.owes.values().any(|owed| *owed == units));
            assert!(same, "what is out is copied whole");
            self.backups += 1;
            self.copied_units += units.len() as u64;
        }
        for unit in &units {
            let holders = &mut self.holders[*unit as usize];
            self.free -= u32::from(*holders == 0 && !self.counted.contains_key(unit));
            *holders += 1;
        }
        let member = self.members.get_mut(&session).expect("only those present are given work");
        assert!(member.cores > 0, "who pauses gets no work");
        assert!(member.rests_until_ms <= now_ms, "who gave work back rests");
        member.owes.insert(assignment.assignment, units);
        member.forget_idleness();
        assert!(
            member.owes.len() <= OUTSTANDING_MAX,
            "a volunteer is asked for {} things",
            member.owes.len()
        );
    }

    fn answered(&mut self, session: u64, assignment: u64) -> Option<Vec<u32>> {
        let units = self.members.get_mut(&session)?.owes.remove(&assignment)?;
        self.let_go(&units);
        Some(units)
    }

    /// Somebody does not have these units any more.
    fn let_go(&mut self, units: &[u32]) {
        for unit in units {
            let holders = &mut self.holders[*unit as usize];
            *holders -= 1;
            self.free += u32::from(*holders == 0 && !self.counted.contains_key(unit));
        }
    }

    /// How many units of the open round nobody has that are not counted.
    pub(crate) fn free(&self) -> Option<u32> {
        self.plan.as_ref().map(|_| self.free)
    }

    /// Whether a session has work of the open round that it has not answered.
    pub(crate) fn owes(&self, session: u64) -> bool {
        self.members.get(&session).is_some_and(|member| !member.owes.is_empty())
    }

    fn count(&mut self, (session, units): &(u64, Vec<u32>)) {
        self.contributors.insert(*session);
        self.delivered.extend(self.members.get(session).map(|member| member.token));
        for unit in units {
            assert!(self.counted.insert(*unit, *session).is_none(), "unit {unit} is counted twice");
            self.free -= u32::from(self.holders[*unit as usize] == 0);
        }
        self.last_counted = Some((*session, units.clone()));
    }

    /// What a dismissed volunteer did leaves the sums. Others lose work only where they share sums with it.
    fn retract(&mut self, engine: &Engine, convicted: &BTreeSet<u128>) {
        if self.plan.is_none() {
            return;
        }
        let all = self.tokens.iter().filter(|(_, token)| convicted.contains(token));
        let dismissed: BTreeSet<u64> = all.map(|(session, _)| *session).collect();
        let left: BTreeSet<u32> = engine.accounted_units().into_iter().flatten().collect();
        for unit in &left {
            let session = self.counted.get(unit).expect("nobody's work appears out of nothing");
            // With many contributors, what others vouch for stays.
            let stays = !dismissed.contains(session) || self.contributors.len() > FEW;
            assert!(stays, "what a liar did stays in the sums");
        }
        let retracted = self.counted.len() - left.len();
        let own = self.counted.values().filter(|session| dismissed.contains(session)).count();
        assert!(retracted == own || self.contributors.len() > FEW, "the work of others is thrown away");
        for (unit, _) in self.counted.extract_if(.., |unit, _| !left.contains(unit)) {
            self.free += u32::from(self.holders[unit as usize] == 0);
        }
    }

    /// Time has passed, in which nothing has changed. Whoever has had nothing to do while units were free was held back:
    /// that is right as long as others are to be done earlier, and not for ever.
    fn count_idleness(&mut self, passed_ms: u64, is_paused: bool) {
        let is_open = self.plan.is_some() && !self.suspicion && !is_paused;
        let (now_ms, has_free, slowest_ms) = (self.now_ms, self.free > 0, self.slowest_ms);
        for member in self.members.values_mut().filter(|member| !member.local) {
            let is_able = member.cores > 0 && member.rests_until_ms <= now_ms;
            if !is_able || !self.delivered.contains(&member.token) {
                member.forget_idleness();
            } else if !is_open || !has_free || !member.owes.is_empty() {
                member.idle_ms = 0;
            } else {
                member.idle_ms += passed_ms;
                member.is_denied |= member.idle_ms > COULD_TIMES * slowest_ms;
                assert!(
                    member.missed || member.idle_ms <= IDLE_MS_MAX + IDLE_TIMES_MAX * slowest_ms,
                    "volunteer {} has had nothing to do for {} ms, and units are free",
                    member.token,
                    member.idle_ms
                );
            }
        }
    }

    /// While units are free, not all who can work and are known to deliver are idle: some may be held back, but only for
    /// others who are done earlier.
    fn check_idleness(&self, now_ms: u64) {
        let Some(_) = self.plan.as_ref().filter(|_| !self.suspicion) else { return };
        if self.free == 0 {
            return;
        }
        let works = |member: &&Member| {
            let is_trusted = self.delivered.contains(&member.token) && !member.missed;
            member.cores > 0 && !member.local && is_trusted && member.rests_until_ms <= now_ms
        };
        let idle = self.members.values().filter(works).count();
        let owed = self.holders.iter().any(|holders| *holders > 0);
        assert!(owed || idle == 0, "all {idle} idle while units are free");
    }
}
