//! Several coordinators and gateways in virtual time, with a bus that loses, repeats, delays and reorders, a store that
//! fails, and machines that freeze, die and are cut off. A run is a function of its seed.
//!
//! After every event each unit has one owner and counts once, and terms never go back; at the end the weights are those
//! of the plain loop. Without the check of owners in the ledger, the same runs come to other weights: a test shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use engine::decoder::Message;
use engine::floor::FloorEvent;
use engine::{Answer as Sums, Audit, Engine, Identity, Input, Measure, Output, Secret, Settings, Snapshot};
use gateway::{
    Answer, Broadcast, Gateway, GatewayInput, GatewayOutput, LEADER_SILENCE_MS_MAX, Leader, LeaderInput,
    LeaderOutput, Place, Request, SILENCE_MS_MAX, Standby, StandbyInput, StandbyOutput, Term, name_of,
};
use protocol::message::{ResultHeader, Unfit};
use protocol::plan::{Assignment, RoundPlan};

use crate::problem::{Method, Oddity, Problem, ProblemPlan, RUN};
use crate::random::Draw;
use crate::reference::{self, Limits, Reference};

/// Seeds run by default.
const SEEDS: u64 = 120;
/// More events than any run needs.
const EVENTS_MAX: u64 = 400_000;
/// When faults end.
const CALM_MS: u64 = 60_000;
/// When a run must be over.
const LIMIT_MS: u64 = 1_200_000;

/// What a run is made from.
#[derive(Debug, Clone)]
struct Scenario {
    seed: u64,
    problem: ProblemPlan,
    iterations: u64,
    coordinators: usize,
    /// For each gateway, how long its volunteers take for a unit.
    gateways: Vec<Vec<u64>>,
    audit: Audit,
    bus: Bus,
    store: Store,
    mishaps: Vec<(u64, Actor, Mishap)>,
    checks_owners: bool,
}

/// Chances in percent for each message, and how long it takes.
#[derive(Debug, Clone, Copy)]
struct Bus {
    loses: u64,
    doubles: u64,
    delay_ms: (u64, u64),
    /// Chance that it takes ten times as long.
    stalls: u64,
}

#[derive(Debug, Clone, Copy)]
struct Store {
    fails: u64,
    delay_ms: (u64, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Actor {
    Coordinator(usize),
    Gateway(usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mishap {
    /// It stands still, and what happens to it meanwhile happens when it goes on.
    Freeze(u64),
    /// It dies, and another one starts in its place after that long.
    Kill(u64),
    /// The bus does not reach it.
    CutOff(u64),
    /// It is asked to stop, and another one starts after that long.
    Stop(u64),
}

#[derive(Debug)]
enum Event {
    Mishap(Actor, Mishap),
    Start(Actor),
    Wake(Actor, u64),
    /// To all, from somebody.
    Broadcast(Actor, u64, Vec<u8>),
    Request(usize, u64, Vec<u8>),
    Answer(usize, u64, Vec<u8>),
    Stored(Actor, u64, Place),
    Fetched(Actor, u64, Place, Option<Vec<u8>>),
    Newest(usize, u64, Option<Term>),
    Created(usize, u64),
    StoreFailed(usize, u64),
    Measured(usize, u64, u64, Measure),
    Recomputed(usize, u64, u64, Option<Sums>),
    /// A volunteer of a gateway has done what it was asked.
    Done {
        gateway: usize,
        life: u64,
        session: u64,
        assignment: Assignment,
    },
}

struct World<'a> {
    scenario: &'a Scenario,
    problem: &'a Problem,
    reference: &'a Reference,
    now_ms: u64,
    draw: Draw,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    coordinators: Vec<Coordinator>,
    gateways: Vec<Host>,
    // The store.
    objects: BTreeMap<Place, Vec<u8>>,
    terms: BTreeMap<u64, Term>,
    states: BTreeMap<(Term, u64), Vec<u8>>,
    digest: Option<[u8; 32]>,
    log: Vec<String>,
    happened: BTreeMap<&'static str, u64>,
}

#[derive(Default)]
struct Machine {
    life: u64,
    frozen_until_ms: u64,
    cut_off_until_ms: u64,
    /// When it wanted to be woken.
    wake_ms: Option<u64>,
}

#[derive(Default)]
struct Coordinator {
    machine: Machine,
    standby: Option<Standby>,
    leader: Option<Leader>,
    saved: u64,
    has_begun: bool,
}

#[derive(Default)]
struct Host {
    machine: Machine,
    gateway: Option<Gateway>,
    round: Option<(RoundPlan, Vec<Arc<[f32]>>)>,
    /// When each volunteer is done with what it has.
    busy_until_ms: BTreeMap<u64, u64>,
    newest: Option<Term>,
}

impl Scenario {
    fn draw(seed: u64) -> Scenario {
        let mut draw = Draw::new(seed, "gateways");
        let methods = [Method::Lbfgs, Method::Average, Method::Auto, Method::Sampled, Method::Adam];
        let method = draw.of(&methods);
        let oddities = [Oddity::None, Oddity::None, Oddity::None, Oddity::Loud(14), Oddity::LoudTest(66)];
        let problem = match draw.of(&oddities) {
            Oddity::None => {
                let (units, replicas) = (draw.between(12, 40) as u32, draw.between(3, 24) as u32);
                let (test, validation) = (draw.of(&[0, 20]), draw.of(&[0, 20]));
                ProblemPlan { seed, method, replicas, test, validation, ..ProblemPlan::plain(units) }
            }
            oddity => ProblemPlan { seed, ..ProblemPlan::odd(oddity) },
        };
        let unit_ms = draw.of(&[20, 100, 400]);
        let gateways = (0..draw.between(1, 4)).map(|_| {
            let volunteers = draw.between(1, 3);
            (0..volunteers).map(|_| unit_ms * draw.between(1, 3)).collect()
        });
        let gateways: Vec<Vec<u64>> = gateways.collect();
        let coordinators = draw.between(1, 3) as usize;
        let mut mishaps = Vec::new();
        for _ in 0..draw.between(0, 8) {
            let actor = if draw.percent(35) {
                Actor::Coordinator(draw.between(0, coordinators as u64 - 1) as usize)
            } else {
                Actor::Gateway(draw.between(0, gateways.len() as u64 - 1) as usize)
            };
            let silence_ms = match actor {
                Actor::Coordinator(_) => LEADER_SILENCE_MS_MAX,
                Actor::Gateway(_) => SILENCE_MS_MAX,
            };
            // Just past the time after which others do what it has.
            let long_ms = draw.of(&[500, silence_ms + 100, silence_ms + 700, 3 * silence_ms]);
            let mishap = match draw.between(0, 5) {
                0 | 1 => Mishap::Freeze(long_ms),
                2 => Mishap::CutOff(long_ms),
                3 => Mishap::Kill(draw.of(&[10, 2_000, 8_000])),
                4 if matches!(actor, Actor::Gateway(_)) => Mishap::Stop(draw.of(&[10, 3_000])),
                _ => Mishap::Kill(300),
            };
            mishaps.push((draw.between(100, CALM_MS / 2), actor, mishap));
        }
        let rough = draw.percent(60);
        Scenario {
            seed,
            problem,
            iterations: draw.between(3, 8),
            coordinators,
            gateways,
            audit: draw.of(&[Audit::None, Audit::Sample(0.2)]),
            bus: Bus {
                loses: if rough { 3 } else { 0 },
                doubles: if rough { 10 } else { 0 },
                delay_ms: draw.of(&[(0, 2), (1, 40), (20, 300)]),
                stalls: if rough { 3 } else { 0 },
            },
            store: Store { fails: if rough { 10 } else { 0 }, delay_ms: draw.of(&[(1, 5), (5, 200)]) },
            mishaps,
            checks_owners: true,
        }
    }
}

impl World<'_> {
    fn run(&mut self) {
        for actor in self.actors() {
            self.at(0, Event::Start(actor));
        }
        for &(at_ms, actor, mishap) in &self.scenario.mishaps {
            self.at(at_ms, Event::Mishap(actor, mishap));
        }
        let mut events = 0;
        while self.digest.is_none() {
            let ((at_ms, number), event) = self.queue.pop_first().expect("something happens until the end");
            self.now_ms = at_ms;
            events += 1;
            assert!(events <= EVENTS_MAX, "the run goes round in circles");
            assert!(at_ms <= LIMIT_MS, "the run should have ended");
            let frozen_ms = event.actor().map_or(0, |actor| self.machine(actor).frozen_until_ms);
            if frozen_ms > at_ms {
                self.queue.insert((frozen_ms, number), event);
                continue;
            }
            self.handle(event);
            self.check();
        }
        assert_eq!(self.digest, Some(self.reference.digest), "the weights are others");
    }

    fn actors(&self) -> Vec<Actor> {
        let coordinators = (0..self.scenario.coordinators).map(Actor::Coordinator);
        coordinators.chain((0..self.scenario.gateways.len()).map(Actor::Gateway)).collect()
    }

    fn machine(&mut self, actor: Actor) -> &mut Machine {
        match actor {
            Actor::Coordinator(number) => &mut self.coordinators[number].machine,
            Actor::Gateway(number) => &mut self.gateways[number].machine,
        }
    }

    fn at(&mut self, at_ms: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((at_ms.max(self.now_ms), self.queued), event);
    }

    fn after(&mut self, delay_ms: u64, event: Event) {
        self.at(self.now_ms + delay_ms, event);
    }

    fn note(&mut self, what: &'static str, detail: impl std::fmt::Debug) {
        *self.happened.entry(what).or_default() += 1;
        self.log.push(format!("{:>9} ms  {what}: {detail:?}", self.now_ms));
    }

    /// What must hold after every event.
    fn check(&mut self) {
        for coordinator in &self.coordinators {
            let Some(leader) = &coordinator.leader else { continue };
            let (Some(ledger), Some(plan)) = (leader.engine().ledger(), leader.plan()) else { continue };
            if self.scenario.checks_owners {
                assert!(ledger.is_consistent(plan), "a unit has two owners, or none, or counts twice");
            }
        }
        for host in &mut self.gateways {
            let term = host.gateway.as_ref().and_then(Gateway::term);
            assert!(term.is_none() || term >= host.newest, "terms go back");
            host.newest = host.newest.max(term);
        }
    }

    /// Sends a message over the bus: perhaps never, perhaps twice.
    fn send(&mut self, from: Actor, to: Option<Actor>, event: impl Fn() -> Event) {
        let is_calm = self.now_ms >= CALM_MS;
        let now_ms = self.now_ms;
        let is_cut = |machine: &Machine| machine.cut_off_until_ms > now_ms;
        if is_cut(self.machine(from)) || to.is_some_and(|to| is_cut(self.machine(to))) {
            return;
        }
        let Bus { loses, doubles, delay_ms, stalls } = self.scenario.bus;
        if !is_calm && self.draw.percent(loses) {
            return self.note("message lost", from);
        }
        let copies = if !is_calm && self.draw.percent(doubles) { 2 } else { 1 };
        for copy in 0..copies {
            let mut delay = self.draw.between(delay_ms.0, delay_ms.1);
            if !is_calm && (copy > 0 || self.draw.percent(stalls)) {
                delay *= 10;
                // A copy may well come when all has changed.
                delay += if copy > 0 { self.draw.of(&[0, 500, 6_000]) } else { 0 };
            }
            self.after(delay, event());
        }
    }

    /// How long the store takes, with the tries that fail.
    fn store_ms(&mut self) -> u64 {
        let Store { fails, delay_ms } = self.scenario.store;
        let mut all_ms = self.draw.between(delay_ms.0, delay_ms.1);
        while self.now_ms < CALM_MS && self.draw.percent(fails) {
            all_ms += 300 + self.draw.between(delay_ms.0, delay_ms.1);
        }
        all_ms
    }

    fn handle(&mut self, event: Event) {
        if let Some((actor, life)) = event.addressee()
            && self.machine(actor).life != life
        {
            return;
        }
        match event {
            Event::Mishap(actor, mishap) => self.mishap(actor, mishap),
            Event::Start(actor) => self.start(actor),
            Event::Wake(Actor::Coordinator(number), _) => {
                self.leader(number, LeaderInput::Tick);
                self.standby(number, StandbyInput::Tick);
            }
            Event::Wake(Actor::Gateway(number), _) => self.gateway(number, GatewayInput::Tick),
            Event::Broadcast(actor, _, bytes) => {
                let broadcast = Broadcast::decode(&bytes).expect("it was sent like this");
                match actor {
                    Actor::Coordinator(number) => {
                        self.leader(number, LeaderInput::HeardLeader(broadcast.clone()));
                        self.standby(number, StandbyInput::Heard(broadcast));
                    }
                    Actor::Gateway(number) => self.gateway(number, GatewayInput::Heard(broadcast)),
                }
            }
            Event::Request(number, _, bytes) => {
                let request = Request::decode(&bytes).expect("it was sent like this");
                self.leader(number, LeaderInput::Heard(request));
            }
            Event::Answer(number, _, bytes) => {
                let answer = Answer::decode(&bytes).expect("it was sent like this");
                self.gateway(number, GatewayInput::Answered(answer));
            }
            Event::Stored(Actor::Coordinator(number), _, name) => {
                self.leader(number, LeaderInput::Stored(name))
            }
            Event::Stored(Actor::Gateway(number), _, name) => {
                self.gateway(number, GatewayInput::Stored(name))
            }
            Event::Fetched(Actor::Coordinator(number), _, name, bytes) => {
                self.leader(number, LeaderInput::Fetched(name, bytes));
            }
            Event::Fetched(Actor::Gateway(number), _, name, bytes) => {
                self.gateway(number, GatewayInput::Fetched(name, bytes));
            }
            Event::Newest(number, _, newest) => self.standby(number, StandbyInput::Newest(newest)),
            Event::Created(number, _) => self.standby(number, StandbyInput::Created),
            Event::StoreFailed(number, _) => self.standby(number, StandbyInput::StoreFailed),
            Event::Measured(number, _, round, measure) => {
                self.leader(number, LeaderInput::Engine(Input::Measured { round, measure }));
            }
            Event::Recomputed(number, _, round, answer) => {
                self.gateway(number, GatewayInput::Recomputed { round, answer });
            }
            Event::Done { gateway, session, assignment, .. } => self.done(gateway, session, &assignment),
        }
    }

    fn mishap(&mut self, actor: Actor, mishap: Mishap) {
        let now_ms = self.now_ms;
        match mishap {
            Mishap::Freeze(ms) => {
                self.machine(actor).frozen_until_ms = now_ms + ms;
                self.note("frozen", (actor, ms));
            }
            Mishap::CutOff(ms) => {
                self.machine(actor).cut_off_until_ms = now_ms + ms;
                self.note("cut off", (actor, ms));
            }
            Mishap::Kill(ms) => {
                self.note("killed", actor);
                self.end(actor);
                self.after(ms, Event::Start(actor));
            }
            Mishap::Stop(ms) => {
                let Actor::Gateway(number) = actor else { return };
                self.note("asked to stop", actor);
                self.gateway(number, GatewayInput::Stop);
                // Should it not come to an end, it is killed.
                self.after(20_000 + ms, Event::Start(actor));
            }
        }
    }

    fn end(&mut self, actor: Actor) {
        self.machine(actor).life += 1;
        self.machine(actor).wake_ms = None;
        match actor {
            Actor::Coordinator(number) => {
                (self.coordinators[number].standby, self.coordinators[number].leader) = (None, None);
            }
            Actor::Gateway(number) => {
                self.gateways[number].gateway = None;
                self.gateways[number].newest = None;
            }
        }
    }

    fn start(&mut self, actor: Actor) {
        self.end(actor);
        let nonce = self.draw.between(1, u64::MAX - 1);
        match actor {
            Actor::Coordinator(number) => {
                let standby = match number {
                    0 => Standby::beginning(self.now_ms, nonce),
                    _ => Standby::new(self.now_ms, nonce),
                };
                self.coordinators[number].standby = Some(standby);
                self.coordinators[number].has_begun = false;
                self.standby(number, StandbyInput::Tick);
            }
            Actor::Gateway(number) => {
                let limits = Limits::iterations(self.scenario.iterations);
                let settings = Settings { audit: self.scenario.audit, ..self.problem.settings(&limits) };
                let gateway = Gateway::new(settings.floor(), &Secret::new([nonce as u8; 32]), nonce);
                self.gateways[number].gateway = Some(gateway);
                self.gateways[number].busy_until_ms.clear();
                for session in 0..self.scenario.gateways[number].len() as u64 {
                    let token = number as u128 * 100 + u128::from(session) + 1;
                    let identity = Identity { token, address: token };
                    let (cores, local, training_shards) = (1, false, Vec::new());
                    let joined = GatewayInput::Joined { session, cores, local, identity, training_shards };
                    self.gateway(number, joined);
                }
            }
        }
    }

    fn standby(&mut self, number: usize, input: StandbyInput) {
        let Some(standby) = &mut self.coordinators[number].standby else { return };
        standby.handle(self.now_ms, input);
        let outputs: Vec<StandbyOutput> = std::iter::from_fn(|| standby.poll_output()).collect();
        let life = self.coordinators[number].machine.life;
        for output in outputs {
            let delay_ms = self.store_ms();
            let fails = self.now_ms < CALM_MS && self.draw.percent(self.scenario.store.fails);
            match output {
                StandbyOutput::FindNewest if fails => self.after(delay_ms, Event::StoreFailed(number, life)),
                StandbyOutput::FindNewest => {
                    // It is looked up when the request arrives, and the answer is on its way for a while.
                    let newest = self.terms.values().next_back().copied();
                    self.after(delay_ms, Event::Newest(number, life, newest));
                }
                StandbyOutput::Create(term) => {
                    // An error may come after it was done.
                    if !fails || self.draw.percent(50) {
                        self.terms.entry(term.number).or_insert(term);
                    }
                    let event =
                        if fails { Event::StoreFailed(number, life) } else { Event::Created(number, life) };
                    self.after(delay_ms, event);
                }
                StandbyOutput::Lead(term) => {
                    self.note("leads", (number, term.number));
                    self.lead(number, term);
                }
                StandbyOutput::Finished => {}
            }
        }
        self.wake(Actor::Coordinator(number));
    }

    fn lead(&mut self, number: usize, term: Term) {
        let newest = self.states.values().next_back();
        let snapshot: Snapshot =
            newest.map_or_else(|| self.problem.start(), |bytes| postcard::from_bytes(bytes).unwrap());
        let limits = Limits::iterations(self.scenario.iterations);
        let settings = Settings { audit: self.scenario.audit, ..self.problem.settings(&limits) };
        let mut engine = Engine::new(settings, snapshot, &Secret::new([3; 32]));
        if !self.scenario.checks_owners {
            engine = engine.without_check_of_owners();
        }
        self.coordinators[number].standby = None;
        self.coordinators[number].leader = Some(Leader::new(term, engine, self.problem.network.parameters()));
        self.leader(number, LeaderInput::Engine(Input::Begin));
    }

    fn leader(&mut self, number: usize, input: LeaderInput) {
        let now_ms = self.now_ms;
        let Some(leader) = &mut self.coordinators[number].leader else { return };
        leader.handle(now_ms, input);
        let outputs: Vec<LeaderOutput> = std::iter::from_fn(|| leader.poll_output()).collect();
        let term = leader.term();
        let life = self.coordinators[number].machine.life;
        let own = Actor::Coordinator(number);
        for output in outputs {
            match output {
                LeaderOutput::Broadcast(broadcast) => {
                    let bytes = broadcast.encode();
                    for actor in self.actors() {
                        let life = self.machine(actor).life;
                        self.send(own, Some(actor), || Event::Broadcast(actor, life, bytes.clone()));
                    }
                }
                LeaderOutput::Answer(answer) => {
                    // Whoever has that number now; others ignore it.
                    let bytes = answer.encode();
                    for host in 0..self.gateways.len() {
                        let gateway = self.gateways[host].gateway.as_ref().map(Gateway::incarnation);
                        if gateway == Some(answer.gateway) {
                            let life = self.gateways[host].machine.life;
                            self.send(own, Some(Actor::Gateway(host)), || {
                                Event::Answer(host, life, bytes.clone())
                            });
                        }
                    }
                }
                LeaderOutput::Put(name, bytes) => self.put(own, life, name, bytes),
                LeaderOutput::Fetch(name) => self.fetch(own, life, name),
                LeaderOutput::Drop(name) => {
                    self.objects.remove(&name);
                }
                LeaderOutput::Save(snapshot) => {
                    let saved = self.coordinators[number].saved + 1;
                    self.coordinators[number].saved = saved;
                    if self.draw.percent(70) {
                        self.states.insert((term, saved), postcard::to_allocvec(&*snapshot).unwrap());
                    }
                }
                LeaderOutput::Finished(_) => {
                    let leader = self.coordinators[number].leader.as_ref().expect("it has just spoken");
                    self.digest = Some(model::weights_digest(&leader.engine().weights()));
                }
                LeaderOutput::StepDown(newer) => {
                    self.note("stepped down", (number, newer.number));
                    self.start(own);
                    return;
                }
                LeaderOutput::Engine(output) => self.carry_out(number, life, output),
            }
        }
        self.wake(own);
    }

    fn carry_out(&mut self, number: usize, life: u64, output: Output) {
        match output {
            Output::Measure { plan, unit, vectors } => {
                let measure = self.problem.measure(&plan, unit, &vectors);
                let delay_ms = self.draw.between(1, 50);
                self.after(delay_ms, Event::Measured(number, life, plan.round, measure));
            }
            Output::Accepted(accepted) => {
                let iteration = accepted.iteration;
                let known = self.reference.points.iter().find(|point| point.iteration == iteration);
                let bits = |point| postcard::to_allocvec(point).unwrap();
                if self.scenario.checks_owners {
                    assert!(
                        known.is_some_and(|known| bits(known) == bits(&accepted)),
                        "iteration {iteration}"
                    );
                }
            }
            Output::Note(_) | Output::OpenRound { .. } | Output::Between => {}
            Output::Assign { .. } => panic!("the coordinator has no volunteers"),
            output => panic!("{output:?}"),
        }
    }

    fn put(&mut self, actor: Actor, life: u64, place: Place, bytes: Vec<u8>) {
        assert_eq!(place.name, name_of(&bytes));
        let delay_ms = self.store_ms();
        self.objects.insert(place, bytes);
        self.after(delay_ms, Event::Stored(actor, life, place));
    }

    fn fetch(&mut self, actor: Actor, life: u64, place: Place) {
        let delay_ms = self.store_ms();
        let bytes = self.objects.get(&place).cloned();
        self.after(delay_ms, Event::Fetched(actor, life, place, bytes));
    }

    fn gateway(&mut self, number: usize, input: GatewayInput) {
        let now_ms = self.now_ms;
        let Some(gateway) = &mut self.gateways[number].gateway else { return };
        gateway.handle(now_ms, input);
        let outputs: Vec<GatewayOutput> = std::iter::from_fn(|| gateway.poll_output()).collect();
        let (own, life) = (Actor::Gateway(number), self.gateways[number].machine.life);
        for output in outputs {
            match output {
                GatewayOutput::Request(request) => {
                    let bytes = request.encode();
                    for coordinator in 0..self.coordinators.len() {
                        let life = self.coordinators[coordinator].machine.life;
                        self.send(own, Some(Actor::Coordinator(coordinator)), || {
                            Event::Request(coordinator, life, bytes.clone())
                        });
                    }
                }
                GatewayOutput::Put(name, bytes) => self.put(own, life, name, bytes),
                GatewayOutput::Fetch(name) => self.fetch(own, life, name),
                GatewayOutput::OpenRound { plan, vectors } => {
                    self.gateways[number].round = Some((plan, vectors));
                }
                GatewayOutput::Recompute { plan, units, vectors } => {
                    let units: Vec<u32> = units.into_iter().flatten().collect();
                    let answer = self.problem.compute(&plan, &units, &vectors).ok();
                    self.after(50, Event::Recomputed(number, life, plan.round, answer));
                }
                GatewayOutput::Floor(FloorEvent::Assign { session, assignment }) => {
                    let pace_ms = self.scenario.gateways[number][session as usize];
                    let busy_ms = pace_ms * u64::from(assignment.unit_count());
                    let until_ms = self.gateways[number].busy_until_ms.entry(session).or_default();
                    *until_ms = (*until_ms).max(now_ms) + busy_ms;
                    let at_ms = *until_ms;
                    self.at(at_ms, Event::Done { gateway: number, life, session, assignment });
                }
                GatewayOutput::Floor(FloorEvent::Delivered { .. }) => {}
                GatewayOutput::Floor(event) => panic!("all volunteers are honest: {event:?}"),
                GatewayOutput::Finished => {}
                GatewayOutput::Stopped => {
                    self.note("stopped", number);
                    self.start(own);
                    return;
                }
            }
        }
        self.wake(own);
    }

    /// A volunteer answers, if the round is still the one that it was asked in.
    fn done(&mut self, number: usize, session: u64, assignment: &Assignment) {
        let Some((plan, vectors)) = self.gateways[number].round.clone() else { return };
        if plan.round != assignment.round {
            return;
        }
        let units: Vec<u32> = assignment.units.iter().cloned().flatten().collect();
        let message = match self.problem.compute(&plan, &units, &vectors) {
            Ok(Sums { losses, unfit_steps, correct, vector }) => {
                let header = ResultHeader {
                    run: RUN,
                    round: plan.round,
                    version: plan.version,
                    assignment: assignment.assignment,
                    losses,
                    unfit_steps,
                    correct,
                    vector_bytes: 0,
                };
                Message::Result { header, vector }
            }
            Err(unit) => Message::Unfit(Unfit { assignment: assignment.assignment, round: plan.round, unit }),
        };
        self.gateway(number, GatewayInput::Message { session, message });
    }

    fn wake(&mut self, actor: Actor) {
        let wake_ms = match actor {
            Actor::Coordinator(number) => {
                let Coordinator { standby, leader, .. } = &self.coordinators[number];
                let standby_ms = standby.as_ref().and_then(Standby::wake_ms);
                standby_ms.or(leader.as_ref().and_then(Leader::wake_ms))
            }
            Actor::Gateway(number) => self.gateways[number].gateway.as_ref().and_then(Gateway::wake_ms),
        };
        let Some(at_ms) = wake_ms.map(|ms| ms.max(self.now_ms + 1)) else { return };
        let now_ms = self.now_ms;
        let machine = self.machine(actor);
        if machine.wake_ms.is_none_or(|known| known <= now_ms || at_ms < known) {
            machine.wake_ms = Some(at_ms);
            let life = machine.life;
            self.at(at_ms, Event::Wake(actor, life));
        }
    }
}

impl Event {
    /// Whose machine must not be frozen for this.
    fn actor(&self) -> Option<Actor> {
        self.addressee().map(|(actor, _)| actor)
    }

    /// Whom it happens to, in which of its lives.
    fn addressee(&self) -> Option<(Actor, u64)> {
        match self {
            Event::Mishap(..) | Event::Start(_) => None,
            Event::Wake(actor, life)
            | Event::Broadcast(actor, life, _)
            | Event::Stored(actor, life, _)
            | Event::Fetched(actor, life, ..) => Some((*actor, *life)),
            Event::Request(number, life, _)
            | Event::Newest(number, life, _)
            | Event::Created(number, life)
            | Event::StoreFailed(number, life)
            | Event::Measured(number, life, ..) => Some((Actor::Coordinator(*number), *life)),
            Event::Answer(number, life, _) | Event::Recomputed(number, life, ..) => {
                Some((Actor::Gateway(*number), *life))
            }
            // A tab computes whether its gateway is frozen or not; the gateway hears of it later.
            Event::Done { gateway, life, .. } => Some((Actor::Gateway(*gateway), *life)),
        }
    }
}

/// Runs a scenario and checks all there is to check. Answers with what happened, and how often.
fn run(scenario: &Scenario) -> Result<BTreeMap<&'static str, u64>, String> {
    let problem = Problem::new(&scenario.problem);
    let reference = reference::train(&problem, &Limits::iterations(scenario.iterations));
    let mut world = World {
        scenario,
        problem: &problem,
        reference: &reference,
        now_ms: 0,
        draw: Draw::new(scenario.seed, "world of gateways"),
        queue: BTreeMap::new(),
        queued: 0,
        coordinators: (0..scenario.coordinators).map(|_| Coordinator::default()).collect(),
        gateways: scenario.gateways.iter().map(|_| Host::default()).collect(),
        objects: BTreeMap::new(),
        terms: BTreeMap::new(),
        states: BTreeMap::new(),
        digest: None,
        log: Vec::new(),
        happened: BTreeMap::new(),
    };
    match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(()) => Ok(world.happened),
        Err(cause) => {
            let text = cause.downcast_ref::<String>().map(String::as_str);
            let text = text.or(cause.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
            let (log, now_ms, seed) = (world.log.join("\n"), world.now_ms, scenario.seed);
            Err(format!(
                "{text}\n\nat {now_ms} ms of {scenario:?}\n\n{log}\n\nreplay with SHOAL_SIMULATION_SEED={seed}"
            ))
        }
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the environment names the seeds to replay")]
fn the_same_bits_through_any_number_of_gateways_and_coordinators() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let one = number("SHOAL_SIMULATION_SEED");
    let seeds = number("SHOAL_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let mut happened = BTreeMap::new();
    for seed in one.map_or(0..seeds, |seed| seed..seed + 1) {
        match run(&Scenario::draw(seed)) {
            Ok(these) => {
                these.into_iter().for_each(|(what, count)| *happened.entry(what).or_insert(0) += count);
            }
            Err(text) => panic!("{text}"),
        }
    }
    if one.is_none() && seeds >= SEEDS {
        let wanted = [
            "asked to stop",
            "cut off",
            "frozen",
            "killed",
            "leads",
            "message lost",
            "stepped down",
            "stopped",
        ];
        let missing: BTreeSet<&str> =
            wanted.into_iter().filter(|what| !happened.contains_key(what)).collect();
        assert!(missing.is_empty(), "never happened: {missing:?} in {happened:#?}");
        assert!(happened["leads"] > seeds, "a standby takes over now and then: {happened:#?}");
    }
}

/// A standby that hears nobody, but reaches the store, leads beside the leader. Both walk the same trajectory and make the
/// same objects; what one has no use for any more, the other still needs.
#[test]
fn two_leaders_take_nothing_from_each_other() {
    for seed in 0..10 {
        let cut_off = Mishap::CutOff(25_000 + 500 * seed);
        let scenario = Scenario {
            gateways: vec![vec![1_200, 400], vec![800, 800]],
            coordinators: 2,
            mishaps: vec![(1_000, Actor::Coordinator(1), cut_off)],
            ..frozen_past_the_deadline(seed, true)
        };
        let happened = run(&scenario).unwrap_or_else(|text| panic!("{text}"));
        assert_eq!((happened["leads"], happened["stepped down"]), (2, 1));
    }
}

/// The window that random mishaps hardly ever meet: a gateway stands still until just after others were given its units,
/// and then hands in what it has done.
fn frozen_past_the_deadline(seed: u64, checks_owners: bool) -> Scenario {
    let mut draw = Draw::new(seed, "frozen");
    let problem = ProblemPlan { seed, ..ProblemPlan::plain(40) };
    let mut mishaps = Vec::new();
    for number in 0..6 {
        let at_ms = 500 + 8_000 * number + draw.between(0, 4_000);
        let freeze = Mishap::Freeze(SILENCE_MS_MAX + draw.between(0, 1_500));
        mishaps.push((at_ms, Actor::Gateway(draw.between(0, 1) as usize), freeze));
    }
    Scenario {
        seed,
        problem,
        iterations: 8,
        coordinators: 1,
        gateways: vec![vec![150, 200], vec![150, 250, 300]],
        audit: Audit::None,
        bus: Bus { loses: 0, doubles: 0, delay_ms: (1, 20), stalls: 0 },
        store: Store { fails: 0, delay_ms: (1, 20) },
        mishaps,
        checks_owners,
    }
}

#[test]
fn a_gateway_that_was_frozen_until_just_past_the_deadline_changes_no_bit() {
    for seed in 0..20 {
        let happened = run(&frozen_past_the_deadline(seed, true)).unwrap_or_else(|text| panic!("{text}"));
        assert!(happened["frozen"] > 0);
    }
}

/// So this test would notice if the check were missing.
#[test]
fn without_the_check_of_owners_the_weights_are_others() {
    let wrong = (0..20).filter(|seed| run(&frozen_past_the_deadline(*seed, false)).is_err()).count();
    assert!(wrong > 0, "the check of owners is not needed, or not tested");
}
