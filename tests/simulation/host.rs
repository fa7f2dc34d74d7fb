//! The simulated coordinator: the real engine behind sessions that decode real frames.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::decoder::{Message, UpwardDecoder, read_hello, read_ready};
use engine::{
    Accepted, Audit, Best, Engine, Identity, Input, Output, Past, Secret, Settings, Snapshot, StopReason,
};
use protocol::frame::encode_round;
use protocol::message::{Farewell, FromCoordinator, Refusal};
use protocol::plan::RoundPlan;

use crate::believed::{Believed, Lie};
use crate::examined;
use crate::problem::{Problem, RUN};
use crate::reference::Reference;
use crate::scenario::{Scenario, Trouble};
use crate::stage::{Event, Item, Stage};
use crate::timesheet::Supply;
use crate::watch::Watch;

/// How often the coordinator says that it is there.
const HEARTBEAT_MS: u64 = 10_000;

pub(crate) struct Host<'a> {
    scenario: &'a Scenario,
    problem: &'a Problem,
    reference: &'a Reference,
    /// Counts the times it was started; `engine` is `None` while it is down.
    pub(crate) life: u64,
    engine: Option<Engine>,
    pub(crate) watch: Watch,
    sessions: BTreeMap<u64, Session>,
    next_session: u64,
    /// The volunteer of each session there ever was.
    guests_of_sessions: BTreeMap<u64, usize>,
    round: Option<(RoundPlan, Arc<Vec<u8>>)>,
    /// The last checkpoint, and the one before it.
    checkpoint: Saved,
    previous: Saved,
    /// All others that the training has not gone back behind.
    earlier: Vec<Saved>,
    /// What both hold is void.
    owes_both: bool,
    /// Lies that are in the sums.
    pub(crate) believed: Believed,
    /// Until then no checkpoint can be written.
    disk_full_until_ms: u64,
    /// Until then its process stands still.
    pub(crate) frozen_until_ms: u64,
    /// How much its clock is ahead of the stage's.
    ahead_ms: u64,
    wake_ms: Option<u64>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) counts: Counts,
    /// Every round with its vectors, as it was opened.
    pub(crate) opened: Vec<(RoundPlan, Vec<Arc<[f32]>>)>,
    /// Accepted points, without those that the training has gone back behind.
    pub(crate) points: Vec<Accepted>,
}

/// A checkpoint.
#[derive(Clone)]
struct Saved {
    bytes: Vec<u8>,
    /// Rounds that were completed.
    rounds: u64,
    /// Lies that it holds.
    lies: Vec<Lie>,
}

impl Saved {
    fn new(snapshot: &Snapshot, past: &Past, believed: &Believed) -> Saved {
        let (bytes, rounds) = (postcard::to_allocvec(&(snapshot, past)).unwrap(), snapshot.counters.rounds);
        Saved { bytes, rounds, lies: believed.before(rounds) }
    }

    fn read(&self) -> (Snapshot, Past) {
        postcard::from_bytes(&self.bytes).unwrap()
    }
}

/// How the training ended.
pub(crate) struct Outcome {
    pub(crate) reason: StopReason,
    pub(crate) digest: [u8; 32],
    pub(crate) accepted: Option<Accepted>,
    /// Iteration and digest of the point with the lowest validation loss.
    pub(crate) best: Option<(u64, [u8; 32])>,
    pub(crate) rounds: u64,
    pub(crate) at_ms: u64,
}

/// What the engine did, over all lives.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) rounds: u64,
    pub(crate) assignments: u64,
    pub(crate) notes: u64,
    /// Those that tell of higher learning rates to be tried.
    pub(crate) higher_rates: u64,
    /// Those that advise more local steps, because rounds are mostly overhead.
    pub(crate) advised_steps: u64,
    pub(crate) dismissed: u64,
    pub(crate) convicted: u64,
    pub(crate) recomputed: u64,
    /// Units that somebody else computed too, because they were checked.
    pub(crate) audited_units: u64,
    pub(crate) measured: u64,
    pub(crate) backups: u64,
    /// Units of those.
    pub(crate) copied_units: u64,
    /// Units of the rounds.
    pub(crate) units: u64,
    pub(crate) overtaken: u64,
}

/// One end of a connection.
struct Session {
    number: u64,
    guest: usize,
    local: bool,
    stage: Greeting,
    /// The round that was sent last.
    sent: Option<u64>,
}

enum Greeting {
    Hello,
    Ready { cores: u16 },
    Open(UpwardDecoder),
}

impl<'a> Host<'a> {
    pub(crate) fn new(scenario: &'a Scenario, problem: &'a Problem, reference: &'a Reference) -> Host<'a> {
        Host {
            scenario,
            problem,
            reference,
            life: 0,
            engine: None,
            watch: Watch::new(scenario.crowded, scenario.slowest_ms()),
            sessions: BTreeMap::new(),
            next_session: 0,
            guests_of_sessions: BTreeMap::new(),
            round: None,
            checkpoint: Saved::new(&problem.start(), &Past::default(), &Believed::default()),
            previous: Saved::new(&problem.start(), &Past::default(), &Believed::default()),
            earlier: Vec::new(),
            owes_both: false,
            believed: Believed::default(),
            disk_full_until_ms: 0,
            frozen_until_ms: 0,
            ahead_ms: 0,
            wake_ms: None,
            outcome: None,
            counts: Counts::default(),
            opened: Vec::new(),
            points: Vec::new(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.engine.is_some()
    }

    /// Starts from the last checkpoint.
    pub(crate) fn start(&mut self, stage: &mut Stage) {
        let (snapshot, past) = self.checkpoint.read();
        let settings = Settings {
            local_help: self.scenario.local_help,
            audit: self.scenario.audit,
            on_lie: self.scenario.on_lie,
            ..self.problem.settings(&self.scenario.limits)
        };
        self.life += 1;
        self.believed.restart(&self.checkpoint.lies);
        stage.told.clear();
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&(self.scenario.seed ^ self.life << 32).to_le_bytes());
        let kept = self.earlier.iter().map(|saved| saved.rounds).collect();
        let engine = Engine::new(settings, snapshot, &Secret::new(secret)).with_past(&past, kept);
        self.engine = Some(if self.scenario.copies { engine } else { engine.without_copies() });
        self.next_session = 0;
        stage.after(self.scenario.begin_ms, Event::Begin { life: self.life });
        stage.after(HEARTBEAT_MS, Event::Heartbeat { life: self.life });
    }

    /// Says to everybody that it is there.
    pub(crate) fn heartbeat(&mut self, stage: &mut Stage) {
        for connection in self.sessions.keys() {
            stage.send_down(*connection, Item::Frame(FromCoordinator::Heartbeat.encode()));
        }
        stage.after(HEARTBEAT_MS, Event::Heartbeat { life: self.life });
    }

    /// What the engine takes for the time.
    fn clock_ms(&self, stage: &Stage) -> u64 {
        stage.now_ms + self.ahead_ms
    }

    pub(crate) fn suffer(&mut self, stage: &mut Stage, trouble: Trouble) {
        match trouble {
            Trouble::Freeze(ms) => {
                stage.fault("froze", format_args!("the coordinator, for {ms} ms"));
                self.frozen_until_ms = self.frozen_until_ms.max(stage.now_ms + ms);
            }
            Trouble::ClockJump(ms) => {
                stage.fault("clock jumped", format_args!("by {ms} ms"));
                self.ahead_ms += ms;
                // Whatever it waited for is due earlier.
                self.set_wake(stage);
            }
            Trouble::FullDisk(ms) => {
                stage.fault("disk full", format_args!("for {ms} ms"));
                self.disk_full_until_ms = self.disk_full_until_ms.max(stage.now_ms + ms);
            }
        }
    }

    /// Replaces the last checkpoint, which becomes the one before, if the disk has room.
    fn save(&mut self, stage: &Stage, saved: Saved) {
        if stage.now_ms >= self.disk_full_until_ms {
            self.earlier.retain(|earlier| earlier.rounds < saved.rounds);
            self.earlier.push(saved.clone());
            let last = std::mem::replace(&mut self.checkpoint, saved.clone());
            self.previous = if std::mem::take(&mut self.owes_both) { saved } else { last };
        }
    }

    fn set_wake(&mut self, stage: &mut Stage) {
        if let Some(at_ms) = self.wake_ms {
            stage.at(at_ms.saturating_sub(self.ahead_ms), Event::Wake { life: self.life });
        }
    }

    /// Dies; all connections with it. If orderly, the state is saved as it is.
    pub(crate) fn kill(&mut self, stage: &mut Stage, orderly: bool, torn: bool) {
        let now_ms = self.clock_ms(stage);
        if orderly {
            // Volunteers are not told that this training has ended, so that the same may go on.
            let Some(engine) = &mut self.engine else { return };
            let (input, reason) = if stage.draw.percent(50) {
                (Input::Stop, StopReason::Interrupted)
            } else {
                (Input::TimeIsUp { seconds: 9 }, StopReason::Time(9))
            };
            let had_ended = engine.is_examining();
            engine.handle(now_ms, input);
            let found = engine.stop_reason().expect("whoever wants the training to end is heard");
            assert!(had_ended || *found == reason, "{found:?}, not {reason:?}");
            if had_ended {
                stage.fault("examination broken off", format_args!("{found}"));
            }
            let saved = Saved::new(&engine.snapshot(), &engine.past(), &self.believed);
            self.save(stage, saved);
        }
        if torn {
            stage.fault("torn write", "the last checkpoint");
            self.checkpoint.clone_from(&self.previous);
        }
        self.frozen_until_ms = 0;
        self.engine = None;
        self.count_watched();
        self.watch = Watch::new(self.scenario.crowded, self.scenario.slowest_ms());
        self.round = None;
        self.wake_ms = None;
        for connection in std::mem::take(&mut self.sessions).into_keys() {
            let notices_ms = stage.draw.between(0, 2_000);
            stage.cut(connection, 0, notices_ms);
        }
    }

    fn count_watched(&mut self) {
        self.counts.backups += self.watch.backups;
        self.counts.copied_units += self.watch.copied_units;
        self.counts.overtaken += self.watch.overtaken;
        self.counts.audited_units += self.watch.audited_units;
    }

    pub(crate) fn accept(&mut self, connection: u64, guest: usize, local: bool) {
        let number = self.next_session;
        self.next_session += 1;
        self.guests_of_sessions.insert(number, guest);
        self.sessions
            .insert(connection, Session { number, guest, local, stage: Greeting::Hello, sent: None });
    }

    pub(crate) fn receive(&mut self, stage: &mut Stage, connection: u64, item: Item) {
        match item {
            Item::Frame(frame) => self.frame(stage, connection, &frame),
            Item::Close => self.hang_up(stage, connection),
        }
    }

    fn hang_up(&mut self, stage: &mut Stage, connection: u64) {
        if let Some(Session { number, stage: Greeting::Open(_), .. }) = self.sessions.remove(&connection) {
            self.engine(stage, Input::Left { session: number });
        }
    }

    fn frame(&mut self, stage: &mut Stage, connection: u64, frame: &[u8]) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        let number = session.number;
        match &mut session.stage {
            Greeting::Hello => {
                let hello = read_hello(frame).unwrap();
                if stage.now_ms < self.scenario.calm_ms
                    && !session.local
                    && stage.draw.percent(self.scenario.full)
                {
                    stage.fault("all places taken", format_args!("session {number}"));
                    self.farewell(stage, connection, Refusal::Full);
                    return;
                }
                session.stage = Greeting::Ready { cores: hello.cores };
                let welcome = FromCoordinator::Welcome(Box::new(self.problem.welcome(number)));
                stage.send_down(connection, Item::Frame(welcome.encode()));
            }
            Greeting::Ready { cores } => {
                let (cores, local) = (*cores, session.local);
                let guest = session.guest;
                let identity =
                    Identity { token: guest as u128 + 1, address: self.scenario.guests[guest].address };
                let training_shards = read_ready(frame, self.problem.sets.training.shards.len()).unwrap();
                session.stage = Greeting::Open(UpwardDecoder::new(RUN, self.problem.network.parameters()));
                if self.outcome.is_some() {
                    return self.send_finished(stage, connection);
                }
                self.replace(stage, connection, guest);
                if self.scenario.eager_rounds {
                    self.show_round(stage, connection);
                }
                self.engine(
                    stage,
                    Input::Joined { session: number, cores, local, identity, training_shards },
                );
            }
            Greeting::Open(decoder) => {
                let input = match decoder.frame(frame) {
                    Ok(None) => return,
                    Ok(Some(message)) => Input::Message { session: number, message },
                    Err(error) => {
                        let offense = error.to_string();
                        self.engine(stage, Input::Misbehaved { session: number, offense });
                        return self.farewell(stage, connection, Refusal::Misbehaved);
                    }
                };
                self.engine(stage, input);
            }
        }
    }

    /// A volunteer has a newer connection: the older session ends, as nobody may have noticed yet.
    fn replace(&mut self, stage: &mut Stage, newer: u64, guest: usize) {
        let is_older =
            |one: &Session, connection: u64| one.guest == guest && connection != newer && !one.local;
        let older = self
            .sessions
            .iter()
            .find(|(connection, one)| is_older(one, **connection) && matches!(one.stage, Greeting::Open(_)));
        let Some((connection, number)) = older.map(|(connection, one)| (*connection, one.number)) else {
            return;
        };
        stage.fault("replaced", format_args!("session {number} of volunteer {guest}"));
        self.engine(stage, Input::Left { session: number });
        self.farewell(stage, connection, Refusal::Replaced);
    }

    fn farewell(&mut self, stage: &mut Stage, connection: u64, reason: Refusal) {
        let refused = FromCoordinator::Refused { reason, text: "no".into() };
        stage.send_down(connection, Item::Frame(refused.encode()));
        stage.send_down(connection, Item::Close);
        self.sessions.remove(&connection);
    }

    fn send_finished(&mut self, stage: &mut Stage, connection: u64) {
        let finished = FromCoordinator::Finished(Farewell { text: "done".into(), ..Farewell::default() });
        stage.send_down(connection, Item::Frame(finished.encode()));
        stage.send_down(connection, Item::Close);
        self.sessions.remove(&connection);
    }

    fn show_round(&mut self, stage: &mut Stage, connection: u64) {
        let (Some((plan, frame)), Some(session)) = (&self.round, self.sessions.get_mut(&connection)) else {
            return;
        };
        if session.sent.replace(plan.round) != Some(plan.round) {
            stage.send_down(connection, Item::Frame(frame.to_vec()));
        }
    }

    /// Feeds the engine and does what it wants.
    pub(crate) fn engine(&mut self, stage: &mut Stage, input: Input) {
        let now_ms = self.clock_ms(stage);
        let Some(engine) = &mut self.engine else { return };
        let before = self.watch.before(now_ms, engine, &input);
        let lie = match &input {
            Input::Message { session, message: Message::Result { header, .. } } => self
                .guests_of_sessions
                .get(session)
                .copied()
                .filter(|guest| stage.told.remove(&(*guest, header.assignment)))
                .and_then(|guest| {
                    let proven = engine.members(now_ms).find(|one| one.session == *session)?.proven?;
                    let unit = *before.units()?.first()?;
                    let (session, round, rounds) = (*session, header.round, engine.counters().rounds);
                    Some(Lie { guest, session, rounds, round, unit, proven, is_saved: false })
                }),
            _ => None,
        };
        let joined = matches!(input, Input::Joined { .. });
        let speaker = match input {
            Input::Joined { session, .. } | Input::Message { session, .. } => Some(session),
            _ => None,
        };
        let is_misfit = matches!(&input, Input::Measured { measure, .. } if !measure.fits());
        let rounds_before = engine.counters().rounds;
        engine.handle(now_ms, input);
        if is_misfit && engine.counters().rounds > rounds_before {
            self.believed.round_has_no_value(rounds_before);
        }
        let outputs: Vec<Output> = std::iter::from_fn(|| engine.poll_output()).collect();
        self.watch.after(now_ms, engine, before, &outputs);
        let is_counted = |lie: &Lie| {
            outputs.iter().any(|output| {
                matches!(output, Output::Delivered { session, counted: true, .. } if *session == lie.session)
            })
        };
        if let Some(lie) = lie.filter(is_counted) {
            self.believed.count(self.scenario.audit, lie);
        }
        let between = outputs.iter().any(|output| matches!(output, Output::Accepted(_) | Output::Between));
        let saved = (between && stage.draw.percent(self.scenario.checkpoints))
            .then(|| (engine.snapshot(), engine.past()));
        let rounds = engine.counters().rounds;
        for output in &outputs {
            self.follow_lies(rounds, output);
        }
        let Some(engine) = &self.engine else { return };
        if engine.wake_ms() != self.wake_ms {
            self.wake_ms = engine.wake_ms();
            self.set_wake(stage);
        }
        if let Some((snapshot, past)) = saved {
            self.save(stage, Saved::new(&snapshot, &past, &self.believed));
        }
        self.keep_sheet(stage, speaker, joined, &outputs);
        for output in outputs {
            self.carry_out(stage, output);
        }
    }

    /// Enters what has changed into the volunteers' timesheet.
    fn keep_sheet(&mut self, stage: &mut Stage, speaker: Option<u64>, joined: bool, outputs: &[Output]) {
        let now_ms = stage.now_ms;
        let guest = |session: u64| self.guests_of_sessions.get(&session).copied();
        if let (true, Some(guest)) = (joined, speaker.and_then(guest)) {
            stage.sheet.joins(now_ms, guest);
        }
        if let Some((session, units)) = self.watch.last_counted.take()
            && let Some(guest) = guest(session)
        {
            stage.sheet.counted(guest, &units);
        }
        let opens = outputs.iter().any(|output| matches!(output, Output::OpenRound { .. }));
        if opens {
            stage.sheet.round_ends();
        }
        let asked = outputs.iter().filter_map(|output| match output {
            Output::Assign { session, .. } => Some(*session),
            _ => None,
        });
        let everybody = if opens { self.sessions.values().map(|one| one.number).collect() } else { vec![] };
        for session in asked.chain(speaker).chain(everybody) {
            if let Some(guest) = guest(session) {
                stage.sheet.is_asked(now_ms, guest, self.watch.owes(session));
            }
        }
        stage.sheet.supply(
            now_ms,
            match self.watch.free() {
                None => Supply::NoRound,
                Some(0) => Supply::NothingFree,
                Some(_) => Supply::Free,
            },
        );
    }

    /// What becomes of the lies that were counted.
    fn follow_lies(&mut self, rounds: u64, output: &Output) {
        match output {
            Output::Convicted { identity, is_lie, .. } => {
                let round = self.round.as_ref().map(|(plan, _)| plan.round);
                let guest = identity.token as usize - 1;
                let is_undone = *is_lie && !self.scenario.may_be_vouched_for(guest);
                self.believed.convict(*identity, is_undone, round);
                // Others share sums with it.
                let watch = &self.watch;
                self.believed.lies.retain(|lie| watch.counts(lie.round, lie.unit, lie.session));
            }
            Output::OpenRound { plan, .. } => self.believed.open(rounds, plan.round),
            Output::Finished(_) => self.believed.open(rounds, u64::MAX),
            _ => {}
        }
    }

    fn carry_out(&mut self, stage: &mut Stage, output: Output) {
        match output {
            Output::OpenRound { plan, vectors } => {
                self.counts.rounds += 1;
                self.counts.units += u64::from(plan.units());
                let slices: Vec<&[f32]> = vectors.iter().map(|vector| &vector[..]).collect();
                self.round = Some((plan.clone(), Arc::new(encode_round(&plan, &slices))));
                self.opened.push((plan, vectors));
                if self.scenario.eager_rounds {
                    let open = self.sessions.iter().filter(|(_, one)| matches!(one.stage, Greeting::Open(_)));
                    for connection in open.map(|(connection, _)| *connection).collect::<Vec<u64>>() {
                        self.show_round(stage, connection);
                    }
                }
            }
            Output::Assign { session, assignment } => {
                self.counts.assignments += 1;
                let connection = self.connection(session).expect("an assignment goes to an open session");
                self.show_round(stage, connection);
                let frame = FromCoordinator::Assign(assignment).encode();
                stage.send_down(connection, Item::Frame(frame));
            }
            Output::Dismiss { session, .. } => {
                self.counts.dismissed += 1;
                let connection = self.connection(session).expect("only open sessions are dismissed");
                self.farewell(stage, connection, Refusal::Misbehaved);
            }
            Output::Measure { plan, unit, vectors } => {
                self.counts.measured += 1;
                if self.referee_fails(stage, plan.round, Some(unit)) {
                    return;
                }
                let measure = self.problem.measure(&plan, unit, &vectors);
                let delay_ms = stage.draw.between(self.scenario.referee_ms.0, self.scenario.referee_ms.1);
                let round = plan.round;
                stage.after(delay_ms, Event::Measured { life: self.life, round, unit, measure });
            }
            Output::Recompute { plan, units, vectors } => {
                self.counts.recomputed += 1;
                if self.referee_fails(stage, plan.round, None) {
                    return;
                }
                let numbers: Vec<u32> = units.into_iter().flatten().collect();
                let delay_ms = stage.draw.between(self.scenario.referee_ms.0, self.scenario.referee_ms.1);
                let answer = self.problem.compute(&plan, &numbers, &vectors).ok();
                let event = Event::Recomputed { life: self.life, round: plan.round, answer };
                stage.after(delay_ms * numbers.len() as u64, event);
            }
            Output::Convicted { session, identity, offense, .. } => {
                self.counts.convicted += 1;
                let guest = identity.token as usize - 1;
                stage.fault("convicted", format_args!("volunteer {guest}, session {session}: {offense}"));
                let plan = &self.scenario.guests[guest];
                assert!(
                    plan.lie.is_some() || plan.manners.may_be_dismissed(),
                    "volunteer {guest} is innocent"
                );
                assert!(!plan.local);
            }
            Output::Recall { rounds } => {
                let saved = self.earlier.iter().find(|saved| saved.rounds == rounds);
                stage.fault("recalled", format_args!("the state after {rounds} rounds"));
                let snapshot = saved.map(|saved| Box::new(saved.read().0));
                self.engine(stage, Input::Recalled { rounds, snapshot });
            }
            Output::Rewound { iteration } => {
                stage.fault("rewound", format_args!("to {iteration:?}"));
                self.points.retain(|point| iteration.is_some_and(|last| point.iteration <= last));
                // Both, before anything else happens.
                let engine = self.engine.as_ref().expect("it has just spoken");
                let saved = Saved::new(&engine.snapshot(), &engine.past(), &self.believed);
                self.owes_both = true;
                self.save(stage, saved);
            }
            Output::Accepted(accepted) => {
                self.points.retain(|point| point.iteration != accepted.iteration);
                self.points.push(accepted);
                if self.scenario.has_liars() {
                    return;
                }
                let expected =
                    self.reference.points.iter().find(|point| point.iteration == accepted.iteration);
                let expected =
                    expected.unwrap_or_else(|| panic!("there is no iteration {}", accepted.iteration));
                assert_eq!(bits(&accepted), bits(expected), "{accepted:#?} should be {expected:#?}");
            }
            Output::Between | Output::Delivered { .. } | Output::Floor { .. } => {}
            Output::Note(text) => {
                self.counts.notes += 1;
                self.counts.advised_steps += u64::from(text.contains("--local-steps"));
                self.counts.higher_rates += u64::from(text.contains("trying rates above"));
            }
            Output::Finished(reason) => {
                let engine = self.engine.as_ref().expect("it has just spoken");
                let digest = model::weights_digest(&engine.weights());
                let (accepted, rounds) = (engine.accepted().copied(), engine.counters().rounds);
                let best = |best: &Best| (best.point.iteration, model::weights_digest(&best.weights));
                let best = engine.best().map(best);
                let liars = self.scenario.guests.iter().filter(|guest| guest.lie.is_some()).count();
                let is_right = liars == 0 || (liars == 1 && self.scenario.audit != Audit::None);
                if let Some(examination) = engine.examination().filter(|_| is_right) {
                    let weights = engine.best().map_or_else(|| engine.weights(), |best| best.weights.clone());
                    examined::check(self.problem, &weights, examination);
                    stage.fault("examined", format_args!("at the end"));
                }
                self.outcome = Some(Outcome { reason, digest, accepted, best, rounds, at_ms: stage.now_ms });
                self.count_watched();
                let open = self.sessions.iter().filter(|(_, one)| matches!(one.stage, Greeting::Open(_)));
                for connection in open.map(|(connection, _)| *connection).collect::<Vec<u64>>() {
                    self.send_finished(stage, connection);
                }
            }
        }
    }

    /// Whether the referee does not get at the examples; it says so some time later.
    fn referee_fails(&self, stage: &mut Stage, round: u64, measured: Option<u32>) -> bool {
        let fails = stage.now_ms < self.scenario.blind_ms;
        if fails {
            stage.fault("referee without examples", format_args!("for round {round}"));
            stage.after(100, Event::NotAnswered { life: self.life, round, measured });
        }
        fails
    }

    fn connection(&self, session: u64) -> Option<u64> {
        let open = |one: &Session| one.number == session && matches!(one.stage, Greeting::Open(_));
        self.sessions.iter().find(|(_, one)| open(one)).map(|(connection, _)| *connection)
    }
}

/// A point as bytes: equal if and only if every bit is.
fn bits(point: &Accepted) -> Vec<u8> {
    postcard::to_allocvec(point).unwrap()
}
