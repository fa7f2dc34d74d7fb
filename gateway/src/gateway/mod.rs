//! A gateway: a floor of volunteers, and what it says to the leader.
//!
//! `rounds`: the round that the floor works on; `talk`: requests and answers; `trust`: volunteers that are found out,
//! here and elsewhere.

mod rounds;
mod talk;
mod trust;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use engine::decoder::Message;
use engine::floor::{Floor, FloorEvent, FloorSettings};
use engine::{Answer as Recomputed, Identity, Secret};
use protocol::plan::{RoundPlan, SetPlans};

use crate::blob::Place;
use crate::notices::{Bans, Strike, Strikes};
use crate::wire::{Answer, Broadcast, Opening, Request, Term};
use crate::{HAND_IN_EVERY_MS, HAND_IN_MS_MAX, HAND_IN_TIMES, PULSE_EVERY_MS, REPEAT_MS, SEND_AWAY_MS};

use rounds::{Current, SendingStage};
use trust::Trust;

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
    /// A volunteer broke the rules of its channel, as no honest one does: its session is over.
    Misbehaved {
        /// Its session.
        session: u64,
        /// What it sent.
        offense: String,
    },
    /// What [`GatewayOutput::Recompute`] asked for; `None` if a unit has no result at all.
    Recomputed {
        /// The request's round.
        round: u64,
        /// The sums.
        answer: Option<Recomputed>,
    },
    /// What [`GatewayOutput::SpotCheck`] asked for; `None` if a unit has no result at all.
    SpotChecked {
        /// The request's round.
        round: u64,
        /// The sums.
        answer: Option<Recomputed>,
    },
    /// What [`GatewayOutput::Recompute`] asked for cannot be computed now.
    NotRecomputed {
        /// The request's round.
        round: u64,
    },
    /// What [`GatewayOutput::SpotCheck`] asked for cannot be computed.
    NotSpotChecked {
        /// The request's round.
        round: u64,
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
    /// Add units up by oneself when there is time, and answer with [`GatewayInput::SpotChecked`], however late: the
    /// round goes on, and may be over. One is asked for at a time.
    SpotCheck {
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
    /// A volunteer of another gateway was dismissed: it must wait here, too. Its sessions here, if there are any, are
    /// dismissed besides.
    Struck(Strike),
    /// The operator bans a volunteer, or does not any more.
    Banned {
        /// Its token.
        token: u128,
        /// Whether it is banned from now on.
        is_banned: bool,
    },
    /// Something that the operator should know.
    Note(String),
    /// No leader was heard for [`SEND_AWAY_MS`]: close all sessions, so that volunteers find another gateway, and let
    /// nobody in. What they did and was not handed in may be done again; nothing else is lost.
    SendAway,
    /// A leader is heard again: let volunteers in.
    TakeIn,
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
    /// How long it took to pack the last partial sum and to put it into the store.
    sending_ms: u64,
    /// The leader wants to hear something since the last request was made.
    is_called: bool,
    /// When a leader was last heard, or else the gateway began.
    leader_ms: Option<u64>,
    /// Whether nobody is let in, because no leader was heard for long.
    is_alone: bool,
    strikes: Strikes,
    bans: Bans,
    trust: Trust,
    is_stopping: bool,
    is_over: bool,
    outputs: VecDeque<GatewayOutput>,
    /// Whether there was an input since work was last handed out.
    is_to_act: bool,
    /// The time of the last input.
    now_ms: u64,
}

impl Gateway {
    /// A gateway without volunteers. `secret` decides who is audited; `incarnation` is a random number, and so are
    /// those that follow it.
    pub fn new(settings: FloorSettings, secret: &Secret, incarnation: u64) -> Gateway {
        Gateway {
            sets: settings.sets.clone(),
            seed: settings.seed,
            parameters: settings.network.parameters(),
            floor: Floor::new(settings, secret, 0).with_spot_checks(),
            incarnation: incarnation.max(1),
            term: None,
            awaited: None,
            round: None,
            own_round: 0,
            number: 0,
            request: None,
            answered_ms: 0,
            sending_ms: 0,
            is_called: false,
            leader_ms: None,
            is_alone: false,
            strikes: Strikes::default(),
            bans: Bans::default(),
            trust: Trust::new(incarnation),
            is_stopping: false,
            is_over: false,
            outputs: VecDeque::new(),
            is_to_act: false,
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

    /// Whether volunteers are let in. They are not while no leader was heard for long.
    pub fn admits(&self) -> bool {
        !self.is_alone && !self.is_stopping && !self.is_over
    }

    /// For how long no leader has answered.
    pub fn unanswered_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.answered_ms)
    }

    /// What is to be done next; `None` when there is nothing more for now.
    pub fn poll_output(&mut self) -> Option<GatewayOutput> {
        if self.outputs.is_empty() && std::mem::take(&mut self.is_to_act) {
            let now_ms = self.now_ms;
            if self.round.as_ref().is_some_and(|round| !round.is_over) {
                self.floor.hand_out(now_ms);
                self.heed_floor(now_ms);
                if self.floor.is_deserted() {
                    // Others may do them. The leader recalls half of what a gateway has, and never its last unit.
                    self.recall(u32::MAX);
                }
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
        let hand_in_ms =
            round.and_then(|round| round.unsent_ms).map(|since_ms| since_ms + self.hand_in_every_ms());
        let ask_ms = round.map(|round| round.asks_again_ms);
        let alone_ms = self.leader_ms.filter(|_| !self.is_alone).map(|heard_ms| heard_ms + SEND_AWAY_MS);
        let wakes = [repeat_ms, pulse_ms, hand_in_ms, ask_ms, alone_ms, self.floor.wake_ms()];
        // What was due before was done, or waits for something else.
        wakes.into_iter().flatten().filter(|at_ms| *at_ms > self.now_ms && !self.is_over).min()
    }

    /// How long sums wait that could be handed in before all of a lease is done. The gateway does little else but send
    /// if a network's vectors take long, unless that takes a tenth of its time at most.
    fn hand_in_every_ms(&self) -> u64 {
        (self.sending_ms * HAND_IN_TIMES).clamp(HAND_IN_EVERY_MS, HAND_IN_MS_MAX)
    }

    /// Takes in what happened at `now_ms` (any monotonic clock).
    pub fn handle(&mut self, now_ms: u64, input: GatewayInput) {
        self.now_ms = now_ms;
        self.leader_ms.get_or_insert(now_ms);
        match input {
            GatewayInput::Heard(broadcast) => self.heard(now_ms, &broadcast),
            GatewayInput::Answered(answer) => self.answered(now_ms, answer),
            GatewayInput::Fetched(place, bytes) => self.fetched(now_ms, place, bytes),
            GatewayInput::Stored(place) => {
                let is_of_term = |round: &&mut Current| round.opening.term == place.term;
                let round = self.round.as_mut().filter(is_of_term);
                let sending = round.and_then(|round| round.partial.as_mut());
                if let Some(sending) = sending
                    && matches!(sending.stage, SendingStage::Storing(name) if name == place.name)
                {
                    sending.stage = SendingStage::Stored(place.name);
                    self.sending_ms = now_ms - sending.began_ms;
                }
            }
            GatewayInput::Joined { session, cores, local, identity, training_shards } => {
                self.floor.join(session, cores, local, identity, training_shards);
            }
            GatewayInput::Left { session } => self.floor.leave(session),
            GatewayInput::Message { session, message } => self.floor.message(now_ms, session, message),
            GatewayInput::Misbehaved { session, offense } => self.floor.disbar(session, offense),
            GatewayInput::Recomputed { round, answer } => self.floor.recomputed(round, answer),
            GatewayInput::NotRecomputed { round } => self.floor.not_recomputed(now_ms, round),
            GatewayInput::NotSpotChecked { round } => self.trust.give_up_spot(round),
            GatewayInput::SpotChecked { round, answer } => self.spot_checked(now_ms, round, answer),
            GatewayInput::Stop => {
                self.is_stopping = true;
                self.recall(u32::MAX);
            }
            GatewayInput::Tick => {}
        }
        self.heed_floor(now_ms);
        self.send_away_if_alone(now_ms);
        self.is_to_act = true;
    }

    /// Follows a leader, unless it has heard of a newer one.
    fn heard(&mut self, now_ms: u64, broadcast: &Broadcast) {
        let term = broadcast.term();
        if self.is_over || self.term.is_some_and(|known| term < known) {
            return;
        }
        self.heard_a_leader(now_ms);
        if self.term != Some(term) {
            self.term = Some(term);
            self.strikes.begin_term();
            self.bans.begin_term();
            self.trust.begin_term();
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

    fn heard_a_leader(&mut self, now_ms: u64) {
        self.leader_ms = Some(now_ms);
        if std::mem::take(&mut self.is_alone) {
            self.outputs.push_back(GatewayOutput::TakeIn);
        }
    }

    fn send_away_if_alone(&mut self, now_ms: u64) {
        let is_alone = self.leader_ms.is_some_and(|heard_ms| now_ms >= heard_ms + SEND_AWAY_MS);
        if is_alone && !self.is_alone && !self.is_over {
            self.is_alone = true;
            self.outputs.push_back(GatewayOutput::SendAway);
        }
    }
}
