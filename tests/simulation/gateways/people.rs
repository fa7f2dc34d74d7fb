//! Gateways, and the volunteers that come to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::decoder::Message;
use engine::floor::FloorEvent;
use engine::units::{Units, count};
use engine::{Answer as Sums, Audit, Identity, Input, Secret, Settings};
use gateway::{Gateway, GatewayInput, GatewayOutput, Leader, LeaderInput, MESSAGE_BYTES_MAX, Says, Strike};
use protocol::message::{ResultHeader, Unfit};
use protocol::plan::{Assignment, RoundPlan};

use super::lines::{LINK_DOWN, LINK_UP, Line, Traffic, way_ms};
use super::scenario::Actor;
use super::world::{Coordinator, Event, Host, Machine, World};
use crate::problem::RUN;
use crate::random::Draw;
use crate::reference::Limits;
use crate::scenario::LieKind;

/// How long whoever was dismissed waits the first time. Each time after that it is twice as long.
const WAIT_MS: u64 = 5_000;
/// How long it may take until all who can talk with each other know who was dismissed.
const SPREAD_MS_MAX: u64 = 15_000;

/// A volunteer that lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Liar {
    /// The gateway that it comes to first.
    pub(super) gateway: usize,
    /// How long it takes for a unit.
    pub(super) unit_ms: u64,
    pub(super) lie: Lie,
    /// Results that are right before the first that is not.
    pub(super) after: u64,
    /// Chance of each from then on, in percent.
    pub(super) chance: u64,
    /// Whether it comes back under another name when it was found out.
    pub(super) renames: bool,
}

/// What it says instead of the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Lie {
    Of(LieKind),
    /// Only about units that its gateway has a result of: in an audit, or too late.
    OfOthers(LieKind),
    /// Only in the round that ends the training.
    AtTheEnd(LieKind),
    /// That a unit does not fit.
    Report,
    /// A result for units of which one has none.
    Claim,
}

/// A volunteer.
#[derive(Debug)]
pub(super) struct Person {
    /// Where it goes first.
    home: Actor,
    unit_ms: u64,
    liar: Option<Liar>,
    /// Results that it has sent.
    told: u64,
    /// When it is done with what it has.
    busy_until_ms: u64,
    /// When it has the weights of that round.
    has_weights: (u64, u64),
    /// Its way to the gateway.
    upwards: Line,
    /// Where it is, and its session there.
    at: Option<(Actor, u64)>,
    /// Counts how often it set out.
    visit: u64,
    /// Counts its names.
    name: u32,
    /// Whether it was dismissed under its name.
    is_known: bool,
}

/// Where volunteers come to: a gateway, or a coordinator that leads.
#[derive(Debug, Default)]
pub(super) struct Porch {
    /// The volunteers that are there, by session.
    sessions: BTreeMap<u64, usize>,
    /// Volunteers that were dismissed here or elsewhere, by token.
    doors: BTreeMap<u128, Door>,
    /// Since when it is known of volunteers that the operator bans them.
    banned_since: BTreeMap<u128, u64>,
    /// What sessions work on.
    pub(super) round: Option<(RoundPlan, Vec<Arc<[f32]>>)>,
    /// The place's own ways to and from all volunteers.
    outwards: Line,
    inwards: Line,
}

/// A volunteer must stay out.
#[derive(Debug, Default)]
struct Door {
    until_ms: u64,
    /// How often it was dismissed.
    times: u32,
    /// Since when this is known.
    known_ms: u64,
}

impl Person {
    pub(super) fn new(gateway: usize, unit_ms: u64, liar: Option<Liar>) -> Person {
        let home = Actor::Gateway(gateway);
        let (told, busy_until_ms, at, visit, name, is_known) = (0, 0, None, 0, 0, false);
        let (has_weights, upwards) = ((0, 0), Line::default());
        Person { home, unit_ms, liar, told, busy_until_ms, has_weights, upwards, at, visit, name, is_known }
    }

    /// The number of the volunteer with that token.
    pub(super) fn of(token: u128) -> usize {
        (token & u128::from(u32::MAX)) as usize - 1
    }

    /// Its token, if that is its number.
    fn token(&self, number: usize) -> u128 {
        (u128::from(self.name) << 32) + number as u128 + 1
    }
}

/// What happens between a volunteer and a place.
enum Tells {
    Joins { session: u64, identity: Identity },
    Says { session: u64, message: Message },
    Leaves { session: u64 },
}

impl World<'_> {
    /// Whether the weights may be others, because a lie was believed: audits take samples, and who lie together vouch
    /// for each other.
    pub(super) fn may_be_wrong(&self) -> bool {
        let samples = matches!(self.scenario.audit, Audit::Sample(_));
        let is_missed = samples && (self.is_settled || !self.undetected.is_empty());
        !self.scenario.is_strict && (self.have_colluded || is_missed)
    }

    pub(super) fn start_gateway(&mut self, number: usize, nonce: u64) {
        let limits = Limits::iterations(self.scenario.iterations);
        let settings = Settings { audit: self.scenario.audit, ..self.problem.settings(&limits) };
        let gateway = Gateway::new(settings.floor(), &Secret::new([nonce as u8; 32]), nonce);
        self.gateways[number].gateway = Some(gateway);
        self.gateway(number, GatewayInput::Tick);
        self.look_for_end(number);
        // Those who like it best come back.
        for person in 0..self.people.len() {
            if self.people[person].home == Actor::Gateway(number) && self.people[person].at.is_none() {
                self.set_out(person, 0, 0);
            }
        }
    }

    fn porch(&mut self, place: Actor) -> &mut Porch {
        match place {
            Actor::Coordinator(number) => &mut self.coordinators[number].porch,
            Actor::Gateway(number) => &mut self.gateways[number].porch,
        }
    }

    /// Everybody there is on the way to somewhere else.
    pub(super) fn close_porch(&mut self, place: Actor) {
        let Porch { sessions, .. } = std::mem::take(self.porch(place));
        for person in sessions.into_values() {
            self.set_out(person, 100, 2_000);
        }
    }

    /// A volunteer says something, comes or goes.
    fn tell(&mut self, place: Actor, says: Tells) {
        match place {
            Actor::Coordinator(number) => {
                let input = match says {
                    Tells::Joins { session, identity } => {
                        let (cores, local, training_shards) = (1, false, Vec::new());
                        Input::Joined { session, cores, local, identity, training_shards }
                    }
                    Tells::Says { session, message } => Input::Message { session, message },
                    Tells::Leaves { session } => Input::Left { session },
                };
                self.leader(number, LeaderInput::Engine(input));
            }
            Actor::Gateway(number) => {
                let input = match says {
                    Tells::Joins { session, identity } => {
                        let (cores, local, training_shards) = (1, false, Vec::new());
                        GatewayInput::Joined { session, cores, local, identity, training_shards }
                    }
                    Tells::Says { session, message } => GatewayInput::Message { session, message },
                    Tells::Leaves { session } => GatewayInput::Left { session },
                };
                self.gateway(number, input);
            }
        }
    }

    /// A volunteer looks for a place after some time.
    pub(super) fn set_out(&mut self, person: usize, from_ms: u64, to_ms: u64) {
        let delay_ms = if from_ms == to_ms { from_ms } else { self.draw.between(from_ms, to_ms) };
        let one = &mut self.people[person];
        one.at = None;
        one.visit += 1;
        let visit = one.visit;
        self.after(delay_ms, Event::Visit(person, visit));
    }

    fn places(&self) -> Vec<Actor> {
        let gateways = (0..self.gateways.len()).map(Actor::Gateway);
        let coordinators = (0..self.coordinators.len()).map(Actor::Coordinator);
        let coordinators = coordinators.filter(|_| self.scenario.leaders_serve);
        gateways.chain(coordinators).collect()
    }

    fn admits(&mut self, place: Actor) -> bool {
        let is_frozen = self.machine(place).frozen_until_ms > self.now_ms;
        let admits = match place {
            Actor::Coordinator(number) => self.coordinators[number].leader.is_some(),
            Actor::Gateway(number) => self.gateways[number].gateway.as_ref().is_some_and(Gateway::admits),
        };
        admits && !is_frozen
    }

    pub(super) fn visit(&mut self, person: usize, visit: u64) {
        let one = &mut self.people[person];
        if one.visit != visit || one.at.is_some() {
            return;
        }
        if one.is_known && one.liar.is_some_and(|liar| liar.renames) {
            (one.name, one.is_known) = (one.name + 1, false);
            // Strangers wait for each other, if they come from one network.
            let (first_ms, most_ms) = self.scenario.strangers_wait_ms;
            let wait_ms = (first_ms << one.name.min(6)).min(most_ms);
            self.note("renamed", person);
            return self.set_out(person, wait_ms, wait_ms);
        }
        let home = self.people[person].home;
        let is_first_try = visit <= 1;
        let place = match is_first_try || self.draw.percent(60) {
            true => home,
            false => self.draw.of(&self.places()),
        };
        if !self.admits(place) {
            return self.set_out(person, 200, 800);
        }
        let (now_ms, token) = (self.now_ms, self.people[person].token(person));
        if self.porch(place).doors.get(&token).is_some_and(|door| now_ms < door.until_ms) {
            self.note("turned away", (person, place));
            return self.set_out(person, 500, 2_000);
        }
        if self.porch(place).banned_since.contains_key(&token) {
            self.note("banned", (person, place));
            return self.set_out(person, 1_000, 5_000);
        }
        self.sessions += 1;
        let session = self.sessions;
        self.porch(place).sessions.insert(session, person);
        self.people[person].at = Some((place, session));
        if matches!(place, Actor::Coordinator(_)) {
            self.note("came to a leader", person);
        }
        let identity = Identity { token, address: person as u128 };
        self.tell(place, Tells::Joins { session, identity });
    }

    /// A volunteer leaves for another place.
    pub(super) fn moves_on(&mut self, person: usize) {
        let Some((place, session)) = self.people[person].at else { return };
        self.note("moved on", (person, place));
        self.porch(place).sessions.remove(&session);
        let places = self.places();
        let next = places.iter().position(|one| *one == place).map_or(0, |index| index + 1);
        self.people[person].home = places[next % places.len()];
        self.set_out(person, 10, 500);
        self.tell(place, Tells::Leaves { session });
    }

    /// A volunteer was found out: a place keeps it out for a while.
    pub(super) fn shut_out(&mut self, place: Actor, token: u128, ago_ms: u64) {
        let person = &mut self.people[Person::of(token)];
        assert!(person.liar.is_some(), "it is innocent");
        person.is_known |= person.token(Person::of(token)) == token;
        let now_ms = self.now_ms;
        let since_ms = now_ms - ago_ms.min(now_ms);
        let new = Door { known_ms: now_ms, ..Door::default() };
        let door = self.porch(place).doors.entry(token).or_insert(new);
        door.until_ms = door.until_ms.max(since_ms + (WAIT_MS << door.times.min(6)));
        door.times += 1;
    }

    /// The operator bans a volunteer, at whoever leads.
    pub(super) fn ban(&mut self, person: usize) {
        let token = self.people[person].token(person);
        let leads = |one: &Coordinator| one.leader.is_some();
        let Some(number) = self.coordinators.iter().position(leads) else { return };
        self.banned(Actor::Coordinator(number), token, true);
        self.leader(number, LeaderInput::Ban { token, is_banned: true });
    }

    /// A place knows that a volunteer is banned, or not any more.
    pub(super) fn banned(&mut self, place: Actor, token: u128, is_banned: bool) {
        self.note("heard of a ban", (place, token, is_banned));
        let now_ms = self.now_ms;
        let known = &mut self.porch(place).banned_since;
        if is_banned {
            known.entry(token).or_insert(now_ms);
        } else {
            known.remove(&token);
        }
    }

    /// All who could talk with each other for long know of the same volunteers that they were dismissed, or are banned.
    pub(super) fn compare_doors(&mut self) {
        let now_ms = self.now_ms;
        let is_calm = |machine: &Machine| machine.calm_from_ms + SPREAD_MS_MAX <= now_ms;
        let calm = self.coordinators.iter().filter(|one| is_calm(&one.machine));
        for leader in calm.filter(|one| one.leader.is_some()) {
            let term = leader.leader.as_ref().map(Leader::term);
            let follow = |host: &&Host| {
                is_calm(&host.machine) && term == host.gateway.as_ref().and_then(Gateway::term)
            };
            let porches: Vec<&Porch> =
                self.gateways.iter().filter(follow).map(|host| &host.porch).chain([&leader.porch]).collect();
            let known = porches.iter().flat_map(|porch| &porch.doors);
            let known: BTreeSet<u128> = known
                .filter(|(_, door)| door.known_ms + SPREAD_MS_MAX <= now_ms)
                .map(|(token, _)| *token)
                .collect();
            let knows_all = |porch: &&Porch| known.iter().all(|token| porch.doors.contains_key(token));
            let doors: Vec<Vec<u128>> =
                porches.iter().map(|porch| porch.doors.keys().copied().collect()).collect();
            assert!(porches.iter().all(knows_all), "not all know all of {known:?}: {doors:?}");
            let banned = porches.iter().flat_map(|porch| &porch.banned_since);
            let banned: BTreeSet<u128> = banned
                .filter(|(_, since_ms)| **since_ms + SPREAD_MS_MAX <= now_ms)
                .map(|(token, _)| *token)
                .collect();
            let bans_all = |porch: &&Porch| banned.iter().all(|token| porch.banned_since.contains_key(token));
            assert!(porches.iter().all(bans_all), "not all know that {banned:?} are banned");
            if !known.is_empty() && porches.len() > 2 {
                *self.happened.entry("known to all").or_default() += 1;
            }
        }
        self.after(SPREAD_MS_MAX / 3, Event::CompareDoors);
    }

    /// A volunteer has lost its session.
    pub(super) fn lose(&mut self, place: Actor, session: u64) {
        if let Some(person) = self.porch(place).sessions.remove(&session) {
            self.set_out(person, 300, 1_500);
        }
    }

    /// A volunteer is given work.
    pub(super) fn assign(&mut self, place: Actor, session: u64, assignment: Assignment) {
        let Some(&person) = self.porch(place).sessions.get(&session) else { return };
        let from_ms = self.weights_arrive(place, person, assignment.round);
        let one = &mut self.people[person];
        let busy_ms = one.unit_ms * u64::from(assignment.unit_count());
        one.busy_until_ms = one.busy_until_ms.max(from_ms) + busy_ms;
        let (at_ms, life) = (one.busy_until_ms, self.machine(place).life);
        self.at(at_ms, Event::Done { place, life, session, assignment });
    }

    /// A place has found a volunteer out.
    pub(super) fn convict(&mut self, place: Actor, session: u64, token: u128, offense: String) {
        if offense == "a result for a unit that has none" {
            self.note("convicted of a claim", token);
        }
        self.note("convicted", (token, place, offense));
        self.lose(place, session);
        self.shut_out(place, token, 0);
    }

    fn for_volunteer(&mut self, place: Actor, event: FloorEvent) {
        match event {
            FloorEvent::Assign { session, assignment } => self.assign(place, session, assignment),
            FloorEvent::Dismiss { session, .. } => self.lose(place, session),
            FloorEvent::Convicted { session, identity, offense, .. } => {
                self.convict(place, session, identity.token, offense);
            }
            FloorEvent::Delivered { .. } => {}
            event => panic!("{event:?}"),
        }
    }

    pub(super) fn gateway(&mut self, number: usize, input: GatewayInput) {
        let now_ms = self.now_ms;
        let Some(gateway) = &mut self.gateways[number].gateway else { return };
        gateway.handle(now_ms, input);
        let outputs: Vec<GatewayOutput> = std::iter::from_fn(|| gateway.poll_output()).collect();
        let (own, life) = (Actor::Gateway(number), self.gateways[number].machine.life);
        for output in outputs {
            match output {
                GatewayOutput::Request(request) => {
                    let request = self.without_protection_of_request(request);
                    let bytes = request.encode();
                    assert!(bytes.len() <= MESSAGE_BYTES_MAX);
                    if let Says::GivesBack { units } = &request.says {
                        *self.happened.entry("given back").or_default() += u64::from(count(units));
                    }
                    if matches!(request.says, Says::Tainted { .. }) {
                        self.note("taken out", number);
                    }
                    if matches!(request.says, Says::HandsIn { .. }) {
                        self.note("handed in", number);
                    }
                    for coordinator in 0..self.coordinators.len() {
                        let life = self.coordinators[coordinator].machine.life;
                        self.send(own, Some(Actor::Coordinator(coordinator)), || {
                            Event::Request(coordinator, life, bytes.clone())
                        });
                    }
                }
                GatewayOutput::Put(place, bytes) => {
                    let kept = self.without_names_in_sums(number, place, &bytes);
                    self.put(own, life, place, bytes);
                    self.objects.extend(kept);
                }
                GatewayOutput::Fetch(name) => self.fetch(own, life, name),
                GatewayOutput::OpenRound { plan, vectors } => {
                    self.gateways[number].porch.round = Some((plan, vectors));
                }
                GatewayOutput::Recompute { plan, units, vectors } => {
                    let units: Vec<u32> = units.into_iter().flatten().collect();
                    let answer = self.problem.compute(&plan, &units, &vectors).ok();
                    self.after(50, Event::Recomputed(own, life, plan.round, answer));
                }
                GatewayOutput::Floor(event) => self.for_volunteer(own, event),
                GatewayOutput::SpotCheck { plan, units, vectors } => {
                    let units: Vec<u32> = units.into_iter().flatten().collect();
                    let answer = self.problem.compute(&plan, &units, &vectors).ok();
                    self.after(200, Event::SpotChecked(number, life, plan.round, answer));
                }
                GatewayOutput::Struck(Strike { token, ago_ms, .. }) => {
                    self.note("struck elsewhere", (token, number));
                    self.shut_out(own, token, ago_ms);
                }
                GatewayOutput::Banned { token, is_banned } => self.banned(own, token, is_banned),
                GatewayOutput::Note(text) => self.note("noted", text),
                GatewayOutput::SendAway => {
                    self.note("sent away", number);
                    let sessions: Vec<u64> = self.porch(own).sessions.keys().copied().collect();
                    for session in sessions {
                        self.lose(own, session);
                        self.gateway(number, GatewayInput::Left { session });
                    }
                }
                GatewayOutput::TakeIn => self.note("taken in", number),
                GatewayOutput::Finished => {
                    self.go(own);
                    return;
                }
                GatewayOutput::Stopped => {
                    self.note("stopped", number);
                    self.start(own);
                    return;
                }
            }
        }
        self.wake(own);
    }

    /// When a volunteer has the weights of a round: now, where nothing takes time.
    fn weights_arrive(&mut self, place: Actor, person: usize, round: u64) -> u64 {
        let now_ms = self.now_ms;
        let Some(Traffic { weights, gateway, .. }) = self.scenario.traffic else { return now_ms };
        if self.people[person].has_weights.0 != round {
            let sent_ms = self.porch(place).outwards.carry(now_ms, weights, gateway);
            self.people[person].has_weights = (round, sent_ms + way_ms(weights, LINK_DOWN));
        }
        self.people[person].has_weights.1.max(now_ms)
    }

    /// A volunteer sends its sums.
    pub(super) fn done(&mut self, place: Actor, life: u64, session: u64, assignment: Assignment) {
        let Some(Traffic { sums, gateway, .. }) = self.scenario.traffic else {
            return self.arrived(place, session, &assignment);
        };
        let Some(&person) = self.porch(place).sessions.get(&session) else { return };
        let now_ms = self.now_ms;
        let sent_ms = self.people[person].upwards.carry(now_ms, sums, LINK_UP);
        let there_ms =
            self.porch(place).inwards.carry(sent_ms, sums, gateway).max(sent_ms) + way_ms(0.0, 1.0);
        self.at(there_ms, Event::Arrived { place, life, session, assignment });
    }

    /// A volunteer answers, if the round is still the one that it was asked in.
    pub(super) fn arrived(&mut self, place: Actor, session: u64, assignment: &Assignment) {
        let Some(&person) = self.porch(place).sessions.get(&session) else { return };
        let Some((plan, vectors)) = self.porch(place).round.clone() else { return };
        if plan.round != assignment.round {
            return;
        }
        let message = self.words(person, &plan, &vectors, assignment);
        self.tell(place, Tells::Says { session, message });
    }

    /// The lie that a volunteer tells about units, if it lies now.
    fn lie(&mut self, person: usize, place: Actor, plan: &RoundPlan, units: &[u32]) -> Option<Lie> {
        let one = &mut self.people[person];
        one.told += 1;
        let liar = one.liar.filter(|liar| one.told > liar.after)?;
        let lies = match self.scenario.colludes {
            // Those who lie together agree on when.
            true => Draw::new(plan.version << 32 | u64::from(units[0]), "collusion").percent(liar.chance),
            false => self.draw.percent(liar.chance),
        };
        let suits = match liar.lie {
            Lie::OfOthers(_) => {
                let done = match place {
                    Actor::Coordinator(number) => self.coordinators[number]
                        .leader
                        .as_ref()
                        .map(|leader| leader.engine().accounted_units()),
                    Actor::Gateway(number) => {
                        self.gateways[number].gateway.as_ref().map(|gateway| gateway.floor().accounted())
                    }
                };
                let done: Units = done.unwrap_or_default().into_iter().collect();
                units.iter().all(|unit| done.contains(*unit))
            }
            Lie::AtTheEnd(_) => self.iteration + 1 == self.scenario.iterations,
            Lie::Of(_) | Lie::Report | Lie::Claim => true,
        };
        (lies && suits).then_some(liar.lie)
    }

    /// What a volunteer answers.
    fn words(
        &mut self,
        person: usize,
        plan: &RoundPlan,
        vectors: &[Arc<[f32]>],
        assignment: &Assignment,
    ) -> Message {
        let units: Vec<u32> = assignment.units.iter().cloned().flatten().collect();
        let truth = self.problem.compute(plan, &units, vectors);
        let Some((place, _)) = self.people[person].at else { unreachable!("it has a session") };
        let token = self.people[person].token(person);
        let lie = self.lie(person, place, plan, &units);
        let unfit =
            |unit| Message::Unfit(Unfit { assignment: assignment.assignment, round: plan.round, unit });
        let sums = match (truth, lie) {
            (Ok(_), Some(Lie::Report)) => {
                self.note("false report", person);
                return unfit(units[0]);
            }
            (Err(_), Some(Lie::Claim)) => {
                self.note("claim", person);
                self.undetected.insert(token);
                let work = &plan.parts[plan.locate(units[0]).unwrap().0].work;
                let vector = work.has_vector().then(|| vec![0; self.problem.network.parameters()]);
                Sums { losses: vec![0; work.losses()], unfit_steps: 0, correct: 0, vector }
            }
            (Err(unit), _) => return unfit(unit),
            (Ok(sums), _) => sums,
        };
        let Sums { losses, unfit_steps, correct, vector } = sums;
        let mut header = ResultHeader {
            run: RUN,
            round: plan.round,
            version: plan.version,
            assignment: assignment.assignment,
            losses,
            unfit_steps,
            correct,
            vector_bytes: 0,
        };
        let mut vector = vector;
        if let Some(lie @ (Lie::Of(kind) | Lie::OfOthers(kind) | Lie::AtTheEnd(kind))) = lie {
            let truth = (header.clone(), vector.clone());
            kind.change(&mut header, vector.as_deref_mut().unwrap_or_default());
            if truth != (header.clone(), vector.clone()) {
                self.note("wrong result", (person, lie));
                // What is said of others does not count: it leads to court at most.
                if !matches!(lie, Lie::OfOthers(_)) {
                    self.undetected.insert(token);
                }
                if self.scenario.colludes {
                    let told = self.lies.entry((plan.version, units)).or_default();
                    told.insert(person);
                    self.have_colluded |= told.len() > 1;
                }
            }
        }
        Message::Result { header, vector }
    }
}
