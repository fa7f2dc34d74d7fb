//! A gateway: a floor of volunteers, and what it says to the leader.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use engine::decoder::Message;
use engine::floor::{Floor, FloorEvent, FloorSettings};
use engine::{Answer as Recomputed, Identity, Secret};
use protocol::frame::{DownwardFrame, decode_downward};
use protocol::plan::{RoundPlan, SetPlans, UnitLayout};

use crate::blob::{Name, Place, encode_partial, name_of};
use crate::wire::{Answer, Broadcast, Opening, Order, Reply, Request, Says, Term, part_of};
use crate::{ASK_AGAIN_MS, HAND_IN_EVERY_MS, PULSE_EVERY_MS, REPEAT_MS};

/// What happens to a gateway.
#[derive(Debug)]
pub enum GatewayInput {
    /// A leader speaks to everybody.
    Heard(Broadcast),
    /// A leader answers.
    Answered(Answer),
    /// What [`GatewayOutput::Fetch`] asked for; `None` if there is no such object.
    Fetched(Place, Option<Vec<u8>>),
    /// [`GatewayOutput::Put`] is done.
    Stored(Place),
    /// A volunteer is ready for work.
    Joined {
        /// Its session.
        session: u64,
        /// Cores it lends.
        cores: u16,
        /// Whether it is the gateway's own worker.
        local: bool,
        /// Who it is.
        identity: Identity,
        /// Shards of the training set that it already holds.
        training_shards: Vec<u32>,
    },
    /// A volunteer is gone.
    Left {
        /// Its session.
        session: u64,
    },
    /// A volunteer says something.
    Message {
        /// Its session.
        session: u64,
        /// The message, decoded.
        message: Message,
    },
    /// What [`GatewayOutput::Recompute`] asked for; `None` if a unit has no result at all.
    Recomputed {
        /// The request's round.
        round: u64,
        /// The sums.
        answer: Option<Recomputed>,
    },
    /// The gateway is to stop: it gives back what it can.
    Stop,
    /// Time has passed.
    Tick,
}

/// What a gateway wants done.
#[derive(Debug)]
pub enum GatewayOutput {
    /// Say this to the leader.
    Request(Request),
    /// Put an object into the store, however often that takes.
    Put(Place, Vec<u8>),
    /// Get an object, however often that takes.
    Fetch(Place),
    /// Show this round to every session; it replaces the one before. Its number is the gateway's own: a coordinator
    /// that takes over counts again.
    OpenRound {
        /// The plan.
        plan: RoundPlan,
        /// Its vectors.
        vectors: Vec<Arc<[f32]>>,
    },
    /// Add units up by oneself, and answer with [`GatewayInput::Recomputed`].
    Recompute {
        /// The plan they belong to.
        plan: RoundPlan,
        /// The units, all of one part.
        units: Vec<Range<u32>>,
        /// The plan's vectors.
        vectors: Vec<Arc<[f32]>>,
    },
    /// Something for a volunteer: [`FloorEvent::Assign`], [`FloorEvent::Dismiss`], [`FloorEvent::Delivered`] or
    /// [`FloorEvent::Convicted`].
    Floor(FloorEvent),
    /// The training has ended.
    Finished,
    /// Everything is given back: the process may end.
    Stopped,
}

/// See the module's description.
#[derive(Debug)]
pub struct Gateway {
    floor: Floor,
    sets: SetPlans,
    seed: u64,
    parameters: usize,
    /// Names it as an owner of units. A number is used once.
    incarnation: u64,
    term: Option<Term>,
    /// The newest round of which it has heard, until its frame is here.
    awaited: Option<Opening>,
    round: Option<Current>,
    /// The number of the floor's round.
    own_round: u64,
    /// The number of the last request to this term.
    number: u64,
    /// The request that is not answered, and when it was made last.
    request: Option<(Request, u64)>,
    /// When the last request was answered.
    answered_ms: u64,
    /// A conviction that the leader has to hear of, whatever round is open.
    unchecked_since: Option<u64>,
    is_stopping: bool,
    is_over: bool,
    outputs: VecDeque<GatewayOutput>,
    to_hand_out: Option<u64>,
    /// The time of the last input.
    now_ms: u64,
}

/// The round that the floor works on.
#[derive(Debug)]
struct Current {
    opening: Opening,
    plan: RoundPlan,
    layouts: Arc<[UnitLayout]>,
    vectors: Vec<Arc<[f32]>>,
    /// The leader has said that it is not open any more.
    is_over: bool,
    /// The partial sum that is on its way.
    partial: Option<Sending>,
    /// Since when there have been sums that are not handed in.
    unsent_ms: Option<u64>,
    /// Partial sums that count for the leader and must not.
    tainted: Vec<u64>,
    /// The unit that is reported not to fit, until there is a ruling; and whether the leader knows.
    report: Option<(u32, bool)>,
    /// Units to be given back.
    back: Vec<Range<u32>>,
    /// Parts whose results are to be confirmed.
    confirm: Option<Vec<u32>>,
    /// When to ask for units again, if there were none.
    asks_again_ms: u64,
}

/// A partial sum on its way to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sending {
    number: u64,
    blob: Name,
    stage: SendingStage,
    /// There is a lie in it.
    is_tainted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendingStage {
    /// The store does not have it yet.
    Storing,
    Stored,
    /// The leader was told.
    Told,
}

impl Gateway {
    /// A gateway without volunteers. `secret` decides who is audited; `incarnation` is a random number, and so are those
    /// that follow it.
    pub fn new(settings: FloorSettings, secret: &Secret, incarnation: u64) -> Gateway {
        Gateway {
            sets: settings.sets.clone(),
            seed: settings.seed,
            parameters: settings.network.parameters(),
            floor: Floor::new(settings, secret, 0),
            incarnation: incarnation.max(1),
            term: None,
            awaited: None,
            round: None,
            own_round: 0,
            number: 0,
            request: None,
            answered_ms: 0,
            unchecked_since: None,
            is_stopping: false,
            is_over: false,
            outputs: VecDeque::new(),
            to_hand_out: None,
            now_ms: 0,
        }
    }

    /// The term that it follows.
    pub fn term(&self) -> Option<Term> {
        self.term
    }

    /// Its present incarnation.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Its volunteers.
    pub fn floor(&self) -> &Floor {
        &self.floor
    }

    /// For how long no leader has answered.
    pub fn unanswered_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.answered_ms)
    }

    /// What is to be done next; `None` when there is nothing more for now.
    pub fn poll_output(&mut self) -> Option<GatewayOutput> {
        if self.outputs.is_empty()
            && let Some(now_ms) = self.to_hand_out.take()
        {
            if self.round.as_ref().is_some_and(|round| !round.is_over) {
                self.floor.hand_out(now_ms);
                self.heed_floor(now_ms);
            }
            self.speak(now_ms);
        }
        self.outputs.pop_front()
    }

    /// When to hand in [`GatewayInput::Tick`] if nothing else happens before.
    pub fn wake_ms(&self) -> Option<u64> {
        let repeat_ms = self.request.as_ref().map(|(_, made_ms)| made_ms + REPEAT_MS);
        let pulse_ms = self.term.map(|_| self.answered_ms + PULSE_EVERY_MS);
        let round = self.round.as_ref().filter(|round| !round.is_over);
        let hand_in_ms = round.and_then(|round| round.unsent_ms).map(|since_ms| since_ms + HAND_IN_EVERY_MS);
        let ask_ms = round.map(|round| round.asks_again_ms);
        let wakes = [repeat_ms, pulse_ms, hand_in_ms, ask_ms, self.floor.wake_ms()];
        // What was due before was done, or waits for something else.
        wakes.into_iter().flatten().filter(|at_ms| *at_ms > self.now_ms && !self.is_over).min()
    }

    /// Takes in what happened at `now_ms` (any monotonic clock).
    pub fn handle(&mut self, now_ms: u64, input: GatewayInput) {
        self.now_ms = now_ms;
        match input {
            GatewayInput::Heard(broadcast) => self.heard(now_ms, &broadcast),
            GatewayInput::Answered(answer) => self.answered(now_ms, answer),
            GatewayInput::Fetched(place, bytes) => self.fetched(now_ms, place, bytes),
            GatewayInput::Stored(place) => {
                let is_of_term = |round: &&mut Current| round.opening.term == place.term;
                let round = self.round.as_mut().filter(is_of_term);
                let sending = round.and_then(|round| round.partial.as_mut());
                if let Some(sending) = sending.filter(|sending| sending.blob == place.name)
                    && sending.stage == SendingStage::Storing
                {
                    sending.stage = SendingStage::Stored;
                }
            }
            GatewayInput::Joined { session, cores, local, identity, training_shards } => {
                self.floor.join(session, cores, local, identity, training_shards);
            }
            GatewayInput::Left { session } => self.floor.leave(session),
            GatewayInput::Message { session, message } => self.floor.message(now_ms, session, message),
            GatewayInput::Recomputed { round, answer } => self.floor.recomputed(round, answer),
            GatewayInput::Stop => {
                self.is_stopping = true;
                self.recall(u32::MAX);
            }
            GatewayInput::Tick => {}
        }
        self.heed_floor(now_ms);
        self.to_hand_out = Some(now_ms);
    }

    /// Follows a leader, unless it has heard of a newer one.
    fn heard(&mut self, now_ms: u64, broadcast: &Broadcast) {
        let term = broadcast.term();
        if self.is_over || self.term.is_some_and(|known| term < known) {
            return;
        }
        if self.term != Some(term) {
            self.term = Some(term);
            self.awaited = None;
            self.drop_round(now_ms);
            self.begin_again(now_ms);
        }
        match broadcast {
            Broadcast::Leads { .. } => {}
            Broadcast::Finished { .. } => {
                self.is_over = true;
                self.drop_round(now_ms);
                self.request = None;
                self.outputs.push_back(GatewayOutput::Finished);
            }
            Broadcast::Open(opening) => {
                let newest = self.awaited.or(self.round.as_ref().map(|round| round.opening));
                if newest.is_none_or(|newest| newest.round < opening.round) {
                    self.awaited = Some(*opening);
                    let place = Place { term, name: opening.frame };
                    self.outputs.push_back(GatewayOutput::Fetch(place));
                }
            }
        }
    }

    /// The frame of a round is here.
    fn fetched(&mut self, now_ms: u64, place: Place, bytes: Option<Vec<u8>>) {
        let is_awaited = |opening: &mut Opening| place == Place { term: opening.term, name: opening.frame };
        let Some(opening) = self.awaited.take_if(is_awaited) else { return };
        // An object that is gone belongs to a round that is over; the next broadcast names another.
        let Some(bytes) = bytes.filter(|bytes| name_of(bytes) == place.name) else { return };
        let Ok(DownwardFrame::Round(frame)) = decode_downward(&bytes) else { return };
        let suits = |plan: &RoundPlan| plan.parts.iter().all(|part| part.suits(self.sets.of(part.set)));
        if !frame.is_whole(self.parameters) || !suits(&frame.plan) || frame.plan.round != opening.round {
            return;
        }
        let vectors = (0..frame.plan.vectors()).map(|index| frame.vector(index).into()).collect();
        let layout = |part: &protocol::plan::Part| part.lay_out(self.sets.of(part.set), self.seed);
        let layouts: Arc<[UnitLayout]> = frame.plan.parts.iter().map(layout).collect();
        if let Some(before) = &self.round {
            let is_completed = before.opening.term == opening.term && before.opening.rounds < opening.rounds;
            if is_completed {
                self.floor.note_unchecked(before.opening.rounds);
            }
            self.floor.close(now_ms, is_completed);
            self.floor.rewind(opening.rounds);
        }
        self.round = Some(Current {
            opening,
            plan: frame.plan,
            layouts,
            vectors,
            is_over: false,
            partial: None,
            unsent_ms: None,
            tainted: Vec::new(),
            report: None,
            back: Vec::new(),
            confirm: None,
            asks_again_ms: 0,
        });
        if self.request.as_ref().is_some_and(|(request, _)| request.round != opening.round) {
            // It is about a round that is over. The leader may have done what it asks for, which is as well over.
            self.request = None;
        }
        self.open_floor(now_ms);
    }

    /// Opens the round on the floor, under a number that is new to its sessions.
    fn open_floor(&mut self, now_ms: u64) {
        let Some(round) = &mut self.round else { return };
        self.own_round += 1;
        round.plan.round = self.own_round;
        self.floor.open(now_ms, round.plan.clone(), &round.layouts, round.opening.is_wary);
        let (plan, vectors) = (round.plan.clone(), round.vectors.clone());
        self.outputs.push_back(GatewayOutput::OpenRound { plan, vectors });
    }

    fn drop_round(&mut self, now_ms: u64) {
        self.floor.close(now_ms, false);
        self.round = None;
    }

    /// It owns nothing any more. Under another number it is somebody new to the leader.
    fn begin_again(&mut self, now_ms: u64) {
        self.incarnation = self.incarnation.wrapping_add(1).max(1);
        self.number = 0;
        self.request = None;
        if let Some(round) = &mut self.round {
            round.partial = None;
            round.unsent_ms = None;
            round.tainted.clear();
            round.report = None;
            round.back.clear();
            round.confirm = None;
            round.asks_again_ms = 0;
            self.open_floor(now_ms);
        }
    }

    fn answered(&mut self, now_ms: u64, answer: Answer) {
        let is_asked = |(request, _): &mut (Request, u64)| {
            request.term == answer.term
                && request.gateway == answer.gateway
                && request.number == answer.number
                && request.round == answer.round
        };
        let Some((request, _)) = self.request.take_if(is_asked) else { return };
        self.answered_ms = now_ms;
        if matches!(answer.reply, Reply::Expelled | Reply::Refused) {
            return self.begin_again(now_ms);
        }
        let is_current = |round: &&mut Current| round.opening.round == request.round;
        match request.says {
            Says::Convicted { .. } => self.unchecked_since = None,
            Says::Leaves => self.outputs.push_back(GatewayOutput::Stopped),
            _ => {}
        }
        let Some(round) = self.round.as_mut().filter(is_current) else { return };
        if answer.reply == Reply::RoundIsOver {
            round.is_over = true;
            return;
        }
        match (request.says, answer.reply) {
            (Says::HandsIn { .. }, Reply::Taken) => {
                let sent = round.partial.take();
                round.tainted.extend(sent.filter(|sent| sent.is_tainted).map(|sent| sent.number));
            }
            (Says::Asks { .. }, Reply::Leased { units }) if units.is_empty() => {
                round.asks_again_ms = now_ms + ASK_AGAIN_MS;
            }
            (Says::Asks { .. }, Reply::Leased { units }) => {
                self.floor.grant(&units);
                if self.is_stopping {
                    self.recall(u32::MAX);
                }
            }
            _ => {}
        }
        for order in answer.orders {
            self.obey(order);
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Recall { most } => self.recall(most),
            Order::Confirm { parts } => {
                if let Some(round) = &mut self.round {
                    round.confirm = Some(parts);
                }
            }
            Order::Ruled { unit, fits } => {
                if let Some(round) = &mut self.round {
                    round.report = None;
                }
                self.floor.ruled(unit, fits);
            }
        }
    }

    fn recall(&mut self, most: u32) {
        if let Some(round) = &mut self.round {
            round.back.extend(self.floor.give_back(most));
        }
    }

    /// Does what the floor wants.
    fn heed_floor(&mut self, now_ms: u64) {
        while let Some(event) = self.floor.poll_event() {
            match event {
                FloorEvent::Tainted { partials } => self.taint(&partials),
                FloorEvent::Unfit { round: number, unit } => {
                    if let Some(round) = self.round.as_mut().filter(|round| round.plan.round == number) {
                        round.report = Some((unit, false));
                    }
                }
                FloorEvent::Recompute { round: number, units } => {
                    if let Some(round) = self.round.as_ref().filter(|round| round.plan.round == number) {
                        let (plan, vectors) = (round.plan.clone(), round.vectors.clone());
                        self.outputs.push_back(GatewayOutput::Recompute { plan, units, vectors });
                    }
                }
                FloorEvent::Convicted { unchecked_since, .. } => {
                    let earliest = self.unchecked_since.into_iter().chain(unchecked_since).min();
                    self.unchecked_since = earliest;
                    self.outputs.push_back(GatewayOutput::Floor(event));
                }
                event => self.outputs.push_back(GatewayOutput::Floor(event)),
            }
        }
        if let Some(round) = self.round.as_mut().filter(|_| self.floor.has_unsent()) {
            round.unsent_ms.get_or_insert(now_ms);
        }
    }

    fn taint(&mut self, partials: &[u64]) {
        let Some(round) = &mut self.round else { return };
        for number in partials {
            match round.partial.filter(|sending| sending.number == *number) {
                Some(Sending { stage: SendingStage::Told, .. }) => {
                    round.partial = round.partial.map(|sending| Sending { is_tainted: true, ..sending });
                }
                // Nobody has heard of it yet.
                Some(_) => round.partial = None,
                None => round.tainted.push(*number),
            }
        }
    }

    /// Says what there is to be said, if the last request is answered; or repeats it.
    fn speak(&mut self, now_ms: u64) {
        if self.is_over {
            return;
        }
        if let Some((request, made_ms)) = &mut self.request {
            if now_ms >= *made_ms + REPEAT_MS {
                *made_ms = now_ms;
                self.outputs.push_back(GatewayOutput::Request(request.clone()));
            }
            return;
        }
        self.send_partial(now_ms);
        let Some(term) = self.term else { return };
        let Some(says) = self.next_words(now_ms) else { return };
        self.number += 1;
        let round = self.round.as_ref().map_or(0, |round| round.opening.round);
        let request = Request { term, round, gateway: self.incarnation, number: self.number, says };
        self.outputs.push_back(GatewayOutput::Request(request.clone()));
        self.request = Some((request, now_ms));
    }

    /// Puts sums into the store: when all there is to do is done, or when they have waited for long.
    fn send_partial(&mut self, now_ms: u64) {
        let Some(round) = self.round.as_mut().filter(|round| !round.is_over && round.partial.is_none())
        else {
            return;
        };
        let is_due = round.unsent_ms.is_some_and(|since_ms| now_ms >= since_ms + HAND_IN_EVERY_MS);
        if !self.floor.is_drained() && !is_due {
            return;
        }
        round.unsent_ms = None;
        let Some(partial) = self.floor.take_partial() else { return };
        let bytes = encode_partial(&partial);
        let blob = name_of(&bytes);
        let stage = SendingStage::Storing;
        round.partial = Some(Sending { number: partial.number, blob, stage, is_tainted: false });
        let place = Place { term: round.opening.term, name: blob };
        self.outputs.push_back(GatewayOutput::Put(place, bytes));
    }

    /// What matters most.
    fn next_words(&mut self, now_ms: u64) -> Option<Says> {
        if let Some(unchecked_since) = self.unchecked_since {
            return Some(Says::Convicted { unchecked_since });
        }
        let pulse = (now_ms >= self.answered_ms + PULSE_EVERY_MS).then_some(Says::Pulse);
        let Some(round) = self.round.as_mut().filter(|round| !round.is_over) else {
            return if self.is_stopping { Some(Says::Leaves) } else { pulse };
        };
        if !round.tainted.is_empty() {
            return Some(Says::Tainted { partials: std::mem::take(&mut round.tainted) });
        }
        if let Some(sending) = round.partial.as_mut().filter(|one| one.stage == SendingStage::Stored) {
            sending.stage = SendingStage::Told;
            return Some(Says::HandsIn { blob: sending.blob });
        }
        if !round.back.is_empty() {
            return Some(Says::GivesBack { units: part_of(&mut round.back) });
        }
        if let Some((unit, is_told @ false)) = &mut round.report {
            *is_told = true;
            return Some(Says::Reports { unit: *unit });
        }
        let has_sent_all = round.partial.is_none() && !self.floor.has_unsent();
        if self.is_stopping && has_sent_all && self.floor.is_drained() {
            return Some(Says::Leaves);
        }
        if let Some(parts) = &round.confirm
            && has_sent_all
            && self.floor.confirm(now_ms, |part| parts.contains(&(part as u32)))
        {
            round.confirm = None;
            return Some(Says::Confirms);
        }
        let least = self.floor.units_wanted();
        if !self.is_stopping && now_ms >= round.asks_again_ms && self.floor.free() * 2 < least {
            let speed = self.floor.speed() as f32;
            return Some(Says::Asks { speed: if speed.is_finite() { speed } else { 0.0 }, least });
        }
        pulse
    }
}
