//! The machines, the bus and the store.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Answer as Sums, Input, Measure};
use gateway::{
    Answer, Broadcast, Gateway, GatewayInput, Leader, LeaderInput, Name, Place, Request, Standby,
    StandbyInput, StateName, StrikeId, Term, name_of,
};
use protocol::plan::Assignment;

use super::ends::Step;
use super::people::{Person, Porch};
use super::scenario::{Actor, Bus, Mishap, Scenario, Store};
use super::{CALM_MS, EVENTS_MAX, LIMIT_MS};
use crate::problem::Problem;
use crate::random::Draw;
use crate::reference::Reference;

/// Objects and states in the store at most.
const OBJECTS_MAX: usize = 500;
const STATES_MAX: usize = 8;

#[derive(Debug)]
pub(super) enum Event {
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
    /// The store has the training's end.
    Ended(usize, u64),
    Created(usize, u64),
    StoreFailed(usize, u64),
    Measured(usize, u64, u64, u32, Measure),
    Recomputed(Actor, u64, u64, Option<Sums>),
    SpotChecked(usize, u64, u64, Option<Sums>),
    /// A volunteer looks for a gateway, unless it has come to one or set out anew since.
    Visit(usize, u64),
    /// A volunteer leaves the gateway that it is at.
    Move(usize),
    /// The operator bans a volunteer.
    Ban(usize),
    /// Whoever has won a term loads the newest state, and says meanwhile that it leads.
    Loaded(usize, u64, Term),
    Heralds(usize, u64, Term),
    /// A leader does what is to be done at the end.
    Ends(usize, u64, Step),
    /// A leader looks whether the store knows of another one.
    LooksAfter(usize, u64),
    /// A gateway that nobody answers looks for the end.
    LooksForEnd(usize, u64),
    /// A process has told of the end, and ends.
    Goes(Actor, u64),
    /// See [`World::compare_doors`].
    CompareDoors,
    /// A volunteer has done what it was asked.
    Done {
        place: Actor,
        life: u64,
        session: u64,
        assignment: Assignment,
    },
    /// Its sums are there.
    Arrived {
        place: Actor,
        life: u64,
        session: u64,
        assignment: Assignment,
    },
}

pub(super) struct World<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) problem: &'a Problem,
    pub(super) reference: &'a Reference,
    pub(super) now_ms: u64,
    pub(super) draw: Draw,
    pub(super) queue: BTreeMap<(u64, u64), Event>,
    pub(super) queued: u64,
    pub(super) coordinators: Vec<Coordinator>,
    pub(super) gateways: Vec<Host>,
    // The store.
    pub(super) objects: BTreeMap<Place, Vec<u8>>,
    /// Each term with the time when it was created.
    pub(super) terms: BTreeMap<u64, (Term, u64)>,
    pub(super) states: BTreeMap<StateName, Vec<u8>>,
    /// The weights that each term has come to, as their digest.
    pub(super) results: BTreeMap<Term, [u8; 32]>,
    /// The term whose results the store names as those of the training, and when that was said.
    pub(super) end: Option<(Term, u64)>,
    /// Terms that somebody has led.
    pub(super) led: BTreeSet<Term>,
    /// What still happens to leaders at the end.
    pub(super) mishaps_at_end: Vec<(Step, Mishap)>,
    /// When that happened last.
    pub(super) disturbed_ms: Option<u64>,
    pub(super) people: Vec<Person>,
    pub(super) sessions: u64,
    /// Who has lied, and was not found out by a leader since, by token.
    pub(super) undetected: BTreeSet<u128>,
    /// Parts that gateways were to confirm, by incarnation, if they do not hear of it.
    pub(super) unconfirmed: BTreeMap<u64, Vec<u32>>,
    /// Sums that gateways have put into the store, and what the leader reads in their place.
    pub(super) nameless: BTreeMap<Name, Name>,
    /// Strikes that gateways have told of, and the term in which they did first.
    pub(super) told: BTreeMap<StrikeId, Term>,
    /// Strikes that a leader has heard of.
    pub(super) struck: BTreeSet<StrikeId>,
    /// Who has told the same lie, by version of the weights and units.
    pub(super) lies: BTreeMap<(u64, Vec<u32>), BTreeSet<usize>>,
    /// Whether two may have vouched for each other's lies.
    pub(super) have_colluded: bool,
    /// The iteration of the point that was accepted last.
    pub(super) iteration: u64,
    /// Somebody began to lead when there were lies that nobody had found out: no way leads back behind that.
    pub(super) is_settled: bool,
    /// When rounds were opened.
    pub(super) opened_ms: Vec<u64>,
    pub(super) log: Vec<String>,
    pub(super) happened: BTreeMap<&'static str, u64>,
}

#[derive(Default)]
pub(super) struct Machine {
    pub(super) life: u64,
    pub(super) frozen_until_ms: u64,
    pub(super) cut_off_until_ms: u64,
    pub(super) without_store_until_ms: u64,
    /// The training has ended, and it has heard of that.
    pub(super) is_over: bool,
    /// Since when it has been able to talk with those who follow the same term.
    pub(super) calm_from_ms: u64,
    /// When it wanted to be woken.
    pub(super) wake_ms: Option<u64>,
}

#[derive(Default)]
pub(super) struct Coordinator {
    pub(super) machine: Machine,
    pub(super) standby: Option<Standby>,
    pub(super) leader: Option<Leader>,
    pub(super) saved: u64,
    pub(super) newest: Option<Term>,
    pub(super) porch: Porch,
}

#[derive(Default)]
pub(super) struct Host {
    pub(super) machine: Machine,
    pub(super) gateway: Option<Gateway>,
    pub(super) porch: Porch,
    pub(super) newest: Option<Term>,
}

impl World<'_> {
    pub(super) fn run(&mut self) {
        for actor in self.actors() {
            self.at(0, Event::Start(actor));
        }
        for person in 0..self.people.len() {
            self.at(1, Event::Visit(person, 0));
        }
        self.at(1, Event::CompareDoors);
        for &(at_ms, person) in &self.scenario.moves {
            self.at(at_ms, Event::Move(person));
        }
        for &(at_ms, person) in &self.scenario.bans {
            self.at(at_ms, Event::Ban(person));
        }
        for &(at_ms, actor, mishap) in &self.scenario.mishaps {
            self.at(at_ms, Event::Mishap(actor, mishap));
        }
        let mut events = 0;
        while !self.is_over() {
            let ((at_ms, number), event) = self.queue.pop_first().expect("something happens until the end");
            self.now_ms = at_ms;
            events += 1;
            if self.scenario.traffic.is_none() {
                assert!(events <= EVENTS_MAX, "the run goes round in circles");
                assert!(at_ms <= LIMIT_MS, "the run should have ended");
            }
            let frozen_ms = event.actor().map_or(0, |actor| self.machine(actor).frozen_until_ms);
            if frozen_ms > at_ms {
                self.queue.insert((frozen_ms, number), event);
                continue;
            }
            self.handle(event);
            // With a crowd this would take minutes.
            if self.scenario.traffic.is_none() {
                self.check();
            }
        }
        if self.may_be_wrong() {
            return self.note("undetected", self.undetected.clone());
        }
        let digest = self.end.and_then(|(term, _)| self.results.get(&term).copied());
        assert_eq!(digest, Some(self.reference.digest), "the weights are others");
    }

    /// Whether the training has ended, and all have heard of that.
    fn is_over(&self) -> bool {
        let coordinators = self.coordinators.iter().map(|one| &one.machine);
        let mut machines = coordinators.chain(self.gateways.iter().map(|host| &host.machine));
        self.end.is_some() && machines.all(|machine| machine.is_over)
    }

    pub(super) fn actors(&self) -> Vec<Actor> {
        let coordinators = (0..self.scenario.coordinators).map(Actor::Coordinator);
        coordinators.chain((0..self.scenario.gateways.len()).map(Actor::Gateway)).collect()
    }

    pub(super) fn machine(&mut self, actor: Actor) -> &mut Machine {
        match actor {
            Actor::Coordinator(number) => &mut self.coordinators[number].machine,
            Actor::Gateway(number) => &mut self.gateways[number].machine,
        }
    }

    pub(super) fn at(&mut self, at_ms: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((at_ms.max(self.now_ms), self.queued), event);
    }

    pub(super) fn after(&mut self, delay_ms: u64, event: Event) {
        self.at(self.now_ms + delay_ms, event);
    }

    pub(super) fn note(&mut self, what: &'static str, detail: impl std::fmt::Debug) {
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
        assert!(self.objects.len() <= OBJECTS_MAX && self.states.len() <= STATES_MAX, "the store fills up");
        for host in &mut self.gateways {
            let term = host.gateway.as_ref().and_then(Gateway::term);
            assert!(term.is_none() || term >= host.newest, "terms go back");
            if term > host.newest {
                host.machine.calm_from_ms = host.machine.calm_from_ms.max(self.now_ms);
            }
            host.newest = host.newest.max(term);
        }
        for Coordinator { standby, leader, newest, .. } in &mut self.coordinators {
            let (leads, follows) =
                (leader.as_ref().map(Leader::term), standby.as_ref().and_then(Standby::newest));
            let term = leads.or(follows);
            assert!(term.is_none() || term >= *newest, "terms go back");
            *newest = term.max(*newest);
        }
    }

    /// Sends a message over the bus: perhaps never, perhaps twice.
    pub(super) fn send(&mut self, from: Actor, to: Option<Actor>, event: impl Fn() -> Event) {
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
    pub(super) fn store_ms(&mut self) -> u64 {
        let Store { fails, delay_ms, .. } = self.scenario.store;
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
            Event::Ended(number, _) => self.standby(number, StandbyInput::Ended),
            Event::Loaded(number, _, term) => self.lead(number, term),
            Event::Heralds(number, _, term) => self.herald(number, term),
            Event::Ends(number, _, step) => self.ends(number, step),
            Event::LooksAfter(number, _) => self.look_after(number),
            Event::LooksForEnd(number, _) => self.look_for_end(number),
            Event::Goes(actor, _) => self.go(actor),
            Event::Created(number, _) => self.standby(number, StandbyInput::Created),
            Event::StoreFailed(number, _) => self.standby(number, StandbyInput::StoreFailed),
            Event::Measured(number, _, round, unit, measure) => {
                self.leader(number, LeaderInput::Engine(Input::Measured { round, unit, measure }));
            }
            Event::Recomputed(Actor::Coordinator(number), _, round, answer) => {
                self.leader(number, LeaderInput::Engine(Input::Recomputed { round, answer }));
            }
            Event::Recomputed(Actor::Gateway(number), _, round, answer) => {
                self.gateway(number, GatewayInput::Recomputed { round, answer });
            }
            Event::SpotChecked(number, _, round, answer) => {
                self.gateway(number, GatewayInput::SpotChecked { round, answer });
            }
            Event::Visit(person, visit) => self.visit(person, visit),
            Event::Move(person) => self.moves_on(person),
            Event::Ban(person) => self.ban(person),
            Event::CompareDoors => self.compare_doors(),
            Event::Done { place, life, session, assignment } => self.done(place, life, session, assignment),
            Event::Arrived { place, session, assignment, .. } => self.arrived(place, session, &assignment),
        }
    }

    pub(super) fn mishap(&mut self, actor: Actor, mishap: Mishap) {
        let now_ms = self.now_ms;
        if self.machine(actor).is_over {
            return;
        }
        match mishap {
            Mishap::Freeze(ms) => {
                self.machine(actor).frozen_until_ms = now_ms + ms;
                self.disturb(actor, ms);
                self.note("frozen", (actor, ms));
            }
            Mishap::CutOff(ms) => {
                self.machine(actor).cut_off_until_ms = now_ms + ms;
                self.disturb(actor, ms);
                self.note("cut off", (actor, ms));
            }
            Mishap::TimeIsUp => {
                let Actor::Coordinator(number) = actor else { return };
                self.leader(number, LeaderInput::Engine(Input::TimeIsUp { seconds: 1 }));
            }
            Mishap::LoseStore(ms) => {
                self.machine(actor).without_store_until_ms = now_ms + ms;
                self.disturb(actor, ms);
                self.note("without store", (actor, ms));
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

    pub(super) fn disturb(&mut self, actor: Actor, ms: u64) {
        let until_ms = self.now_ms + ms;
        let machine = self.machine(actor);
        machine.calm_from_ms = machine.calm_from_ms.max(until_ms);
    }

    pub(super) fn end(&mut self, actor: Actor) {
        self.machine(actor).life += 1;
        self.machine(actor).wake_ms = None;
        match actor {
            Actor::Coordinator(number) => {
                let one = &mut self.coordinators[number];
                (one.standby, one.leader, one.newest) = (None, None, None);
            }
            Actor::Gateway(number) => {
                let host = &mut self.gateways[number];
                (host.gateway, host.newest) = (None, None);
            }
        }
        self.close_porch(actor);
    }

    pub(super) fn start(&mut self, actor: Actor) {
        if self.machine(actor).is_over {
            return;
        }
        self.end(actor);
        self.disturb(actor, 0);
        let nonce = self.draw.between(1, u64::MAX - 1);
        match actor {
            Actor::Coordinator(number) => {
                let standby = match number {
                    0 => Standby::beginning(self.now_ms, nonce),
                    _ => Standby::new(self.now_ms, nonce),
                };
                self.coordinators[number].standby = Some(standby);
                self.standby(number, StandbyInput::Tick);
            }
            Actor::Gateway(number) => self.start_gateway(number, nonce),
        }
    }

    /// How long it is cut off from the store.
    fn store_away_ms(&mut self, actor: Actor) -> u64 {
        self.machine(actor).without_store_until_ms.saturating_sub(self.now_ms)
    }

    pub(super) fn put(&mut self, actor: Actor, life: u64, place: Place, bytes: Vec<u8>) {
        assert_eq!(place.name, name_of(&bytes));
        let delay_ms = self.store_ms() + self.store_away_ms(actor);
        self.objects.insert(place, bytes);
        self.after(delay_ms, Event::Stored(actor, life, place));
    }

    pub(super) fn fetch(&mut self, actor: Actor, life: u64, place: Place) {
        let delay_ms = self.store_ms() + self.store_away_ms(actor);
        let mut bytes = self.objects.get(&place).cloned();
        let damages = self.scenario.store.damages;
        if let Some(bytes) = bytes.as_mut().filter(|_| self.now_ms < CALM_MS && damages > 0)
            && self.draw.percent(damages)
        {
            // In a vector, most likely.
            let index = self.draw.between(bytes.len() as u64 / 2, bytes.len() as u64 - 1) as usize;
            bytes[index] ^= 1 << self.draw.between(0, 7);
            self.note("object damaged", actor);
        }
        self.after(delay_ms, Event::Fetched(actor, life, place, bytes));
    }

    pub(super) fn wake(&mut self, actor: Actor) {
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
            Event::Mishap(..)
            | Event::Start(_)
            | Event::Visit(..)
            | Event::Move(_)
            | Event::Ban(_)
            | Event::CompareDoors => None,
            Event::Wake(actor, life)
            | Event::Broadcast(actor, life, _)
            | Event::Stored(actor, life, _)
            | Event::Recomputed(actor, life, ..)
            | Event::Fetched(actor, life, ..)
            | Event::Goes(actor, life) => Some((*actor, *life)),
            Event::Request(number, life, _)
            | Event::Newest(number, life, _)
            | Event::Created(number, life)
            | Event::Ended(number, life)
            | Event::Loaded(number, life, _)
            | Event::Heralds(number, life, _)
            | Event::Ends(number, life, _)
            | Event::LooksAfter(number, life)
            | Event::StoreFailed(number, life)
            | Event::Measured(number, life, ..) => Some((Actor::Coordinator(*number), *life)),
            Event::Answer(number, life, _)
            | Event::LooksForEnd(number, life)
            | Event::SpotChecked(number, life, ..) => Some((Actor::Gateway(*number), *life)),
            // A tab computes whether its gateway is frozen or not; the gateway hears of it later.
            Event::Done { place, life, .. } | Event::Arrived { place, life, .. } => Some((*place, *life)),
        }
    }
}
