//! A coordinator that leads: the engine, and those who own units of its rounds.
//!
//! `trust`: volunteers that are found out at some gateway, and how far the training goes back for them.

mod trust;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engine::ledger::{Ledger, OWN_FLOOR};
use engine::{Claim, Engine, FromFloor, Input, Output, Snapshot, StopReason, ToFloor};
use protocol::frame::encode_round;
use protocol::plan::RoundPlan;

use crate::blob::{Name, Place, decode_partial, name_of};
use crate::notices::Strike;
use crate::wire::{Answer, Broadcast, NoResult, Opening, Order, Reply, Request, Says, Term};
use crate::{ASK_AGAIN_MS, BROADCAST_EVERY_MS, SILENCE_MS_MAX};

use trust::Trust;

/// Gateways at a time. A request of another one is not answered.
const GATEWAYS_MAX: usize = 4096;
/// Expelled incarnations that are remembered, the newest. An older one owns nothing, so it is refused all the same.
const EXPELLED_MAX: usize = 4096;
/// Orders that wait for a gateway's next request.
const ORDERS_MAX: usize = 256;
/// Rounds after which nobody needs a round's objects any more.
const ROUNDS_KEPT: usize = 2;

/// What happens to a leader.
#[derive(Debug)]
pub enum LeaderInput {
    /// Something for the engine.
    Engine(Input),
    /// A gateway speaks.
    Heard(Request),
    /// Another leader, or this one, speaks.
    HeardLeader(Broadcast),
    /// The operator bans a volunteer, or does not any more.
    Ban {
        /// Its token.
        token: u128,
        /// Whether it is banned from now on.
        is_banned: bool,
    },
    /// [`LeaderOutput::Put`] is done.
    Stored(Place),
    /// What [`LeaderOutput::Fetch`] asked for; `None` if there is no such object.
    Fetched(Place, Option<Vec<u8>>),
    /// The store says that the training has ended, whoever said so there. This comes once, after
    /// [`LeaderOutput::Finished`].
    Published,
    /// Time has passed.
    Tick,
}

/// What a leader wants done.
#[derive(Debug)]
pub enum LeaderOutput {
    /// Something that the engine wants done for its own volunteers, its referee and its records.
    Engine(Output),
    /// Say this to everybody.
    Broadcast(Broadcast),
    /// Answer a gateway.
    Answer(Answer),
    /// Put an object into the store, however often that takes.
    Put(Place, Vec<u8>),
    /// Get an object, however often that takes.
    Fetch(Place),
    /// Nobody needs this object any more.
    Drop(Place),
    /// Nobody needs objects of earlier terms any more: look for what is there at [`Place`]s of theirs, and drop it. Comes
    /// once in a term.
    DropBefore(Term),
    /// A gateway has dismissed a volunteer.
    Struck(Strike),
    /// The operator has said to an earlier leader that it bans a volunteer, or does not any more.
    Banned {
        /// Its token.
        token: u128,
        /// Whether it is banned.
        is_banned: bool,
    },
    /// Save this state: it is the newest of this term.
    Save(Box<Snapshot>),
    /// There are no more rounds. Save the last state and the results, say in the store that the training has ended, where
    /// only one can, and hand in [`LeaderInput::Published`]. Until then gateways and standbys stay.
    Finished(StopReason),
    /// A newer leader was heard: this one is none any more.
    StepDown(Term),
}

/// See the module's description.
#[derive(Debug)]
pub struct Leader {
    term: Term,
    engine: Engine,
    parameters: usize,
    gateways: BTreeMap<u64, Peer>,
    expelled: BTreeSet<u64>,
    expelled_in_order: VecDeque<u64>,
    round: Option<OpenRound>,
    /// Objects of the last rounds, the oldest first.
    objects: VecDeque<Vec<Name>>,
    broadcast_ms: u64,
    /// When somebody was last told to give something back to this process's own volunteers.
    recalled_ms: u64,
    /// The time of the last input.
    now_ms: Option<u64>,
    trust: Trust,
    /// Rounds that were opened in this term.
    opened: usize,
    /// The unit without a result for which the open round is broken off.
    unfit: Option<u32>,
    /// The store says that the training has ended.
    is_published: bool,
    has_stepped_down: bool,
    outputs: VecDeque<LeaderOutput>,
}

#[derive(Debug)]
struct OpenRound {
    plan: RoundPlan,
    opening: Opening,
    /// Whether the frame is in the store, so that gateways may be told.
    is_stored: bool,
}

/// What is known of a gateway.
#[derive(Debug)]
struct Peer {
    heard_ms: u64,
    /// The number of its last request.
    number: u64,
    /// What it was answered; `None` while the answer waits for an object.
    answer: Option<Answer>,
    /// The request that waits for an object.
    waits_for: Option<(Name, u64)>,
    /// What it is to do, and has not been told or has perhaps not heard.
    orders: Vec<Order>,
    /// How many of those are in the last answer.
    told: usize,
    /// Whether it was given nothing when it last asked.
    waits: bool,
    /// Whether it was told to speak since it last spoke.
    is_called: bool,
    /// How far it has read the log of notices.
    read: u64,
}

impl Leader {
    /// A leader for a term. The engine must not have begun.
    pub fn new(term: Term, engine: Engine, parameters: usize) -> Leader {
        Leader {
            term,
            engine: engine.for_many_floors(),
            parameters,
            gateways: BTreeMap::new(),
            expelled: BTreeSet::new(),
            expelled_in_order: VecDeque::new(),
            round: None,
            objects: VecDeque::new(),
            broadcast_ms: 0,
            recalled_ms: 0,
            now_ms: None,
            trust: Trust::default(),
            opened: 0,
            unfit: None,
            is_published: false,
            has_stepped_down: false,
            outputs: VecDeque::new(),
        }
    }

    /// The term that it leads.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Its engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The plan of the open round.
    pub fn plan(&self) -> Option<&RoundPlan> {
        self.round.as_ref().map(|round| &round.plan)
    }

    /// How many gateways it hears.
    pub fn gateways(&self) -> usize {
        self.gateways.len()
    }

    /// What is to be done next; `None` when there is nothing more for now.
    pub fn poll_output(&mut self) -> Option<LeaderOutput> {
        self.outputs.pop_front()
    }

    /// When to hand in [`LeaderInput::Tick`] if nothing else happens before.
    pub fn wake_ms(&self) -> Option<u64> {
        let silent = self.gateways.values().map(|peer| peer.heard_ms + SILENCE_MS_MAX);
        let wakes = self.engine.wake_ms().into_iter().chain(silent);
        wakes.chain([self.broadcast_ms + BROADCAST_EVERY_MS]).min()
    }

    /// Takes in what happened at `now_ms` (any monotonic clock).
    pub fn handle(&mut self, now_ms: u64, input: LeaderInput) {
        if self.has_stepped_down {
            return;
        }
        self.forgive_a_stall(now_ms);
        match input {
            LeaderInput::Engine(input) => self.feed(now_ms, input),
            LeaderInput::Heard(request) => self.heard(now_ms, request),
            LeaderInput::HeardLeader(broadcast) => self.follow(broadcast.term()),
            LeaderInput::Ban { token, is_banned } => {
                self.trust.ban(now_ms, self.term.number, token, is_banned);
            }
            LeaderInput::Stored(place) => {
                let is_frame = |round: &&mut OpenRound| {
                    place == Place { term: round.opening.term, name: round.opening.frame }
                };
                if let Some(round) = self.round.as_mut().filter(is_frame) {
                    round.is_stored = true;
                    self.broadcast(now_ms);
                }
            }
            LeaderInput::Fetched(place, bytes) if place.term == self.term => {
                self.fetched(now_ms, place.name, bytes);
            }
            LeaderInput::Fetched(..) => {}
            LeaderInput::Published => {
                self.is_published = true;
                self.broadcast(now_ms);
            }
            LeaderInput::Tick => self.feed(now_ms, Input::Tick),
        }
        self.expel_the_silent(now_ms);
        if now_ms >= self.recalled_ms + ASK_AGAIN_MS && self.engine.own_floor_waits() {
            self.recalled_ms = now_ms;
            self.recall(OWN_FLOOR);
        }
        if now_ms >= self.broadcast_ms + BROADCAST_EVERY_MS {
            self.broadcast(now_ms);
        }
    }

    /// A leader that runs hears something of time every second. If it was not run for longer, what gateways said
    /// meanwhile waits behind this input: that time was nobody's silence.
    fn forgive_a_stall(&mut self, now_ms: u64) {
        let before_ms = self.now_ms.replace(now_ms).unwrap_or(now_ms);
        let stalled_ms = now_ms.saturating_sub(before_ms + BROADCAST_EVERY_MS);
        if stalled_ms > 0 {
            for peer in self.gateways.values_mut() {
                peer.heard_ms = now_ms.min(peer.heard_ms + stalled_ms);
            }
        }
    }

    /// Somebody follows this term. If it is a newer one, so must this leader.
    fn follow(&mut self, term: Term) {
        if term > self.term && !self.has_stepped_down {
            self.has_stepped_down = true;
            self.outputs.push_back(LeaderOutput::StepDown(term));
        }
    }

    fn broadcast(&mut self, now_ms: u64) {
        self.broadcast_ms = now_ms;
        let term = self.term;
        let broadcast = match &self.round {
            _ if self.is_published => Broadcast::Finished { term },
            Some(round) if round.is_stored => Broadcast::Open(round.opening),
            _ => Broadcast::Leads { term },
        };
        self.outputs.push_back(LeaderOutput::Broadcast(broadcast));
    }

    fn heard(&mut self, now_ms: u64, request: Request) {
        self.follow(request.term);
        if request.term != self.term || self.has_stepped_down {
            return;
        }
        let Request { round, gateway, number, read, says, .. } = request;
        if self.expelled.contains(&gateway) && self.engine.checks_owners() {
            let (term, reply, orders, notices) = (self.term, Reply::Expelled, Vec::new(), Vec::new());
            let answer = Answer { term, round, gateway, number, reply, orders, notices, read };
            return self.outputs.push_back(LeaderOutput::Answer(answer));
        }
        if !self.gateways.contains_key(&gateway) {
            if self.gateways.len() >= GATEWAYS_MAX {
                return;
            }
            self.gateways.insert(gateway, Peer::new(now_ms));
        }
        let Some(peer) = self.gateways.get_mut(&gateway) else { return };
        peer.heard_ms = now_ms;
        if number == peer.number {
            // It has not heard the answer.
            let answer = peer.answer.clone();
            return self.outputs.extend(answer.map(LeaderOutput::Answer));
        }
        if number < peer.number {
            // It is late: there is a newer one.
            return;
        }
        // It has heard the last answer, or has given up what it asked because there is another round.
        peer.orders.drain(..peer.told);
        (peer.number, peer.answer, peer.waits_for, peer.told, peer.read) = (number, None, None, 0, read);
        peer.is_called = false;
        let is_open = self.round.as_ref().is_some_and(|open| open.plan.round == round);
        match says {
            Says::Leaves => self.part_with(now_ms, round, gateway, Reply::Noted),
            Says::Pulse => {
                self.reply(now_ms, round, gateway, if is_open { Reply::Noted } else { Reply::RoundIsOver })
            }
            Says::Strikes { strikes } => {
                for strike in strikes {
                    self.struck(now_ms, gateway, strike);
                }
                self.reply(now_ms, round, gateway, Reply::Noted);
            }
            Says::Bans { bans } => {
                bans.into_iter().for_each(|ban| self.banned_before(now_ms, ban));
                self.reply(now_ms, round, gateway, Reply::Noted);
            }
            _ if !is_open => self.reply(now_ms, round, gateway, Reply::RoundIsOver),
            Says::HandsIn { blob } => {
                if let Some(peer) = self.gateways.get_mut(&gateway) {
                    peer.waits_for = Some((blob, round));
                }
                self.remember_object(blob);
                let place = Place { term: self.term, name: blob };
                self.outputs.push_back(LeaderOutput::Fetch(place));
            }
            Says::Asks { cores, speed, undone, least } => {
                let claim = Claim { cores, speed: speed.into(), undone, least };
                self.tell_engine(now_ms, gateway, round, FromFloor::Asks(claim));
            }
            Says::GivesBack { units } => {
                self.tell_engine(now_ms, gateway, round, FromFloor::GivesBack(units));
            }
            Says::Tainted { partials } => {
                self.tell_engine(now_ms, gateway, round, FromFloor::Tainted(partials));
            }
            Says::Reports { unit } => self.tell_engine(now_ms, gateway, round, FromFloor::Reports { unit }),
            Says::Confirms { parts } => {
                let parts = parts.into_iter().map(|part| part as usize).collect();
                self.tell_engine(now_ms, gateway, round, FromFloor::Confirms { parts });
            }
        }
    }

    fn fetched(&mut self, now_ms: u64, name: Name, bytes: Option<Vec<u8>>) {
        let waits = |peer: &Peer| peer.waits_for.is_some_and(|(blob, _)| blob == name);
        let waiting = self.gateways.iter().filter(|(_, peer)| waits(peer));
        let waiting: Vec<u64> = waiting.map(|(gateway, _)| *gateway).collect();
        for gateway in waiting {
            let Some((_, round)) = self.gateways.get_mut(&gateway).and_then(|peer| peer.waits_for.take())
            else {
                continue;
            };
            let Some(open) = self.round.as_ref().filter(|open| open.plan.round == round) else {
                self.reply(now_ms, round, gateway, Reply::RoundIsOver);
                continue;
            };
            let bytes = bytes.as_deref().filter(|bytes| name_of(bytes) == name);
            match bytes.and_then(|bytes| decode_partial(bytes, &open.plan, self.parameters).ok()) {
                Some((partial, unchecked)) => {
                    // Whether it counts or not: to know too much is no harm.
                    let read = self.gateways.get(&gateway).map_or(0, |peer| peer.read);
                    self.trust.trace(gateway, read, unchecked, self.engine.counters().rounds);
                    self.tell_engine(now_ms, gateway, round, FromFloor::HandsIn(partial));
                }
                None => self.part_with(now_ms, round, gateway, Reply::Refused),
            }
        }
    }

    fn tell_engine(&mut self, now_ms: u64, gateway: u64, round: u64, message: FromFloor) {
        self.feed(now_ms, Input::Floor { owner: gateway, round, message });
    }

    /// Feeds the engine and does what it wants.
    fn feed(&mut self, now_ms: u64, input: Input) {
        let (doubt, free) = (self.doubt(), self.free());
        self.engine.handle(now_ms, input);
        // The round that a request speaks of; the engine may have opened another by the end.
        let round = self.round.as_ref().map_or(0, |open| open.plan.round);
        let mut struck = Vec::new();
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Floor { owner, message } => self.engine_tells(now_ms, round, owner, message),
                Output::OpenRound { plan, vectors } => {
                    self.open(&plan, &vectors);
                    self.outputs.push_back(LeaderOutput::Engine(Output::OpenRound { plan, vectors }));
                }
                Output::Accepted(_) | Output::Between => {
                    self.outputs.push_back(LeaderOutput::Save(Box::new(self.engine.snapshot())));
                    self.outputs.push_back(LeaderOutput::Engine(output));
                }
                Output::Finished(reason) => {
                    self.round = None;
                    self.broadcast(now_ms);
                    self.outputs.push_back(LeaderOutput::Finished(reason));
                }
                Output::Rewound { .. } => {
                    self.trust.rewind(self.engine.counters().rounds, self.engine.irrevocable());
                    // What was saved last has the lie in it.
                    self.outputs.push_back(LeaderOutput::Save(Box::new(self.engine.snapshot())));
                    self.outputs.push_back(LeaderOutput::Engine(output));
                }
                Output::Convicted { identity, ref offense, is_lie, .. } => {
                    struck.push((identity, offense.clone(), is_lie));
                    self.outputs.push_back(LeaderOutput::Engine(output));
                }
                output => self.outputs.push_back(LeaderOutput::Engine(output)),
            }
        }
        if self.free() > free {
            self.offer();
        }
        for (identity, offense, is_lie) in struck {
            self.struck_here(now_ms, identity, offense, is_lie);
        }
        if let Some(rounds) = doubt.filter(|rounds| self.engine.counters().rounds > *rounds) {
            // It was completed with results of a liar of whom not all who took part in it had read.
            self.feed(now_ms, Input::Convicted { unchecked_since: rounds });
        }
    }

    /// Units of the open round that nobody has.
    fn free(&self) -> u32 {
        self.engine.ledger().map_or(0, Ledger::free)
    }

    fn engine_tells(&mut self, now_ms: u64, round: u64, gateway: u64, message: ToFloor) {
        match message {
            ToFloor::Leased(units) => {
                let waits = units.is_empty();
                if let Some(peer) = self.gateways.get_mut(&gateway) {
                    peer.waits = waits;
                }
                self.reply(now_ms, round, gateway, Reply::Leased { units });
                if waits {
                    self.recall(gateway);
                }
            }
            ToFloor::Taken => self.reply(now_ms, round, gateway, Reply::Taken),
            // It begins again under another number.
            ToFloor::Refused(_) => self.part_with(now_ms, round, gateway, Reply::Refused),
            ToFloor::Noted => self.reply(now_ms, round, gateway, Reply::Noted),
            ToFloor::Expelled => {
                self.reply(now_ms, round, gateway, Reply::Expelled);
                self.forget(gateway);
            }
            ToFloor::RoundIsOver => self.reply(now_ms, round, gateway, Reply::RoundIsOver),
            ToFloor::Ruled { unit, fits } => {
                // Otherwise the round is broken off, and orders of it are void. The next opening tells all gateways.
                self.unfit = (!fits).then_some(unit);
                self.order(gateway, Order::Ruled { unit, fits });
            }
            ToFloor::Confirm { parts } => {
                let parts = parts.into_iter().map(|part| part as u32).collect();
                self.order(gateway, Order::Confirm { parts });
            }
        }
    }

    /// Nothing more comes from a gateway under this number, so what it has is free at once.
    fn part_with(&mut self, now_ms: u64, round: u64, gateway: u64, reply: Reply) {
        self.reply(now_ms, round, gateway, reply);
        self.forget(gateway);
        self.tell_engine(now_ms, gateway, round, FromFloor::Gone);
    }

    /// If nothing is free for somebody who asks, whoever has work for the longest time gives some back, as far as none
    /// of its volunteers has it.
    fn recall(&mut self, waiting: u64) {
        let Some((gateway, most)) = self.engine.to_give_back(waiting) else { return };
        let is_recalled = |peer: &Peer| peer.orders.iter().any(|one| matches!(one, Order::Recall { .. }));
        if !self.gateways.get(&gateway).is_some_and(is_recalled) {
            self.order(gateway, Order::Recall { most });
        }
    }

    /// Units have become free: those are called who wait for some. Whoever gets none waits for the next ones.
    fn offer(&mut self) {
        let waits = |(gateway, peer): (&u64, &mut Peer)| std::mem::take(&mut peer.waits).then_some(*gateway);
        let waiting: Vec<u64> = self.gateways.iter_mut().filter_map(waits).collect();
        waiting.into_iter().for_each(|gateway| self.call(gateway));
    }

    fn order(&mut self, gateway: u64, order: Order) {
        if let Some(peer) = self.gateways.get_mut(&gateway)
            && peer.orders.len() < ORDERS_MAX
        {
            peer.orders.push(order);
            self.call(gateway);
        }
    }

    /// Has a gateway speak, once until it does. One whose request is not answered yet needs no call.
    fn call(&mut self, gateway: u64) {
        let (term, round) = (self.term, self.plan().map_or(0, |plan| plan.round));
        let Some(peer) = self.gateways.get_mut(&gateway) else { return };
        if peer.answer.is_none() || std::mem::replace(&mut peer.is_called, true) {
            return;
        }
        let (number, reply, orders, notices, read) = (0, Reply::Speak, Vec::new(), Vec::new(), 0);
        let call = Answer { term, round, gateway, number, reply, orders, notices, read };
        self.outputs.push_back(LeaderOutput::Answer(call));
    }

    /// Answers a gateway's last request, and tells it what it is to do.
    fn reply(&mut self, now_ms: u64, round: u64, gateway: u64, reply: Reply) {
        let term = self.term;
        let Some(peer) = self.gateways.get_mut(&gateway).filter(|peer| peer.answer.is_none()) else { return };
        let (number, orders) = (peer.number, peer.orders.clone());
        peer.told = orders.len();
        let (notices, read) = self.trust.notices_after(now_ms, peer.read);
        let answer = Answer { term, round, gateway, number, reply, orders, notices, read };
        peer.answer = Some(answer.clone());
        self.outputs.push_back(LeaderOutput::Answer(answer));
    }

    fn open(&mut self, plan: &RoundPlan, vectors: &[std::sync::Arc<[f32]>]) {
        let slices: Vec<&[f32]> = vectors.iter().map(|vector| &vector[..]).collect();
        let frame = encode_round(plan, &slices);
        let name = name_of(&frame);
        let (term, rounds, is_wary) = (self.term, self.engine.counters().rounds, self.engine.is_wary());
        let broken_off = self.round.as_ref().zip(self.unfit.take());
        let unfit = broken_off.map(|(before, unit)| NoResult { round: before.plan.round, unit });
        let irrevocable = self.engine.irrevocable();
        let opening = Opening { term, round: plan.round, rounds, is_wary, irrevocable, frame: name, unfit };
        self.trust.opened();
        self.round = Some(OpenRound { plan: plan.clone(), opening, is_stored: false });
        for peer in self.gateways.values_mut() {
            // What was ordered in the round before is void.
            peer.orders.clear();
            (peer.told, peer.waits) = (0, false);
        }
        self.opened += 1;
        if self.opened == ROUNDS_KEPT + 1 {
            self.outputs.push_back(LeaderOutput::DropBefore(term));
        }
        self.objects.push_back(vec![name]);
        while self.objects.len() > ROUNDS_KEPT {
            let old = self.objects.pop_front().unwrap_or_default();
            let is_needed = |name: &Name| self.objects.iter().flatten().any(|kept| kept == name);
            let old: Vec<Name> = old.into_iter().filter(|name| !is_needed(name)).collect();
            self.outputs.extend(old.into_iter().map(|name| LeaderOutput::Drop(Place { term, name })));
        }
        self.outputs.push_back(LeaderOutput::Put(Place { term, name }, frame));
    }

    fn remember_object(&mut self, name: Name) {
        if let Some(objects) = self.objects.back_mut() {
            objects.push(name);
        }
    }

    fn expel_the_silent(&mut self, now_ms: u64) {
        let is_silent = |peer: &Peer| now_ms >= peer.heard_ms + SILENCE_MS_MAX;
        let silent = self.gateways.iter().filter(|(_, peer)| is_silent(peer));
        let silent: Vec<u64> = silent.map(|(gateway, _)| *gateway).collect();
        for gateway in silent {
            self.forget(gateway);
            if let Some(round) = self.plan().map(|plan| plan.round) {
                self.tell_engine(now_ms, gateway, round, FromFloor::Gone);
            }
        }
    }

    /// A gateway is gone: its incarnation is over.
    fn forget(&mut self, gateway: u64) {
        if let Some(peer) = self.gateways.remove(&gateway) {
            self.trust.gone(gateway, peer.read);
        }
        if self.expelled.insert(gateway) {
            self.expelled_in_order.push_back(gateway);
        }
        if self.expelled_in_order.len() > EXPELLED_MAX
            && let Some(oldest) = self.expelled_in_order.pop_front()
        {
            self.expelled.remove(&oldest);
        }
    }
}

impl Peer {
    fn new(now_ms: u64) -> Peer {
        Peer {
            heard_ms: now_ms,
            number: 0,
            answer: None,
            waits_for: None,
            orders: Vec::new(),
            told: 0,
            waits: false,
            is_called: false,
            read: 0,
        }
    }
}
