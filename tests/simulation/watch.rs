//! What must be true of the engine at every moment, seen from outside.

use std::collections::{BTreeMap, BTreeSet};

use engine::decoder::Message;
use engine::{Engine, Input, OUTSTANDING_MAX, Output, REST_MS};
use protocol::plan::{Assignment, RoundPlan};

/// As long as no more volunteers contribute to a round, each has sums of its own.
const FEW: usize = 8;

/// Follows the engine's inputs and outputs. Its methods panic when something is wrong.
#[derive(Default)]
pub(crate) struct Watch {
    /// Leave out the check that nobody idles while units are free, which goes through all units each time.
    crowded: bool,
    members: BTreeMap<u64, Member>,
    /// The token of each session there ever was.
    tokens: BTreeMap<u64, u128>,
    /// Of those that have left, whether a round had ended with work of theirs unanswered.
    missed: BTreeMap<u128, bool>,
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
}

/// What an input may change.
pub(crate) struct Before {
    /// The session and the assignment's units, if the input is a result that was asked for.
    answers: Option<(u64, Vec<u32>)>,
    done: Option<u32>,
}

impl Watch {
    /// One that leaves out what would take too long with a crowd.
    pub(crate) fn new(crowded: bool) -> Watch {
        Watch { crowded, ..Watch::default() }
    }

    /// Notes an input that is about to be handled.
    pub(crate) fn before(&mut self, now_ms: u64, engine: &Engine, input: &Input) -> Before {
        let mut answers = None;
        match input {
            Input::Joined { session, cores, local, identity, .. } => {
                let (cores, local, token) = (*cores, *local, identity.token);
                let missed = self.missed.get(&token).copied().unwrap_or(false);
                let member = Member { cores, local, token, owes: BTreeMap::new(), rests_until_ms: 0, missed };
                self.members.insert(*session, member);
                self.tokens.insert(*session, token);
            }
            Input::Left { session } | Input::Misbehaved { session, .. } => {
                if let Some(member) = self.members.remove(session) {
                    member.owes.values().for_each(|units| self.let_go(units));
                    self.missed.insert(member.token, member.missed);
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
        let is_answer = matches!(message, Message::Result { .. } | Message::Unfit(_));
        if let Some(member) = self.members.get_mut(&session).filter(|_| is_answer) {
            member.missed = false;
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
            ends || matches!(output, Output::OpenRound { .. } | Output::Rewound { .. })
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
                Output::Rewound { .. } => self.plan = None,
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
            member.missed |= !member.owes.is_empty();
            member.owes.clear();
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
            assert!(!dismissed.contains(session), "what a liar did stays in the sums");
        }
        let retracted = self.counted.len() - left.len();
        let own = self.counted.values().filter(|session| dismissed.contains(session)).count();
        assert!(retracted == own || self.contributors.len() > FEW, "the work of others is thrown away");
        for (unit, _) in self.counted.extract_if(.., |unit, _| !left.contains(unit)) {
            self.free += u32::from(self.holders[unit as usize] == 0);
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
