//! What a gateway says to the leader, and what it is told.

use engine::Claim;
use engine::floor::FloorEvent;
use engine::units::count;

use super::rounds::{Current, Sending, SendingStage};
use super::{Gateway, GatewayOutput};
use crate::blob::{Place, TOKENS_MAX, encode_partial, name_of};
use crate::wire::{Answer, Order, Reply, Request, Says, part_of};
use crate::{ASK_AGAIN_MS, PULSE_EVERY_MS, REPEAT_MS};

impl Gateway {
    pub(super) fn answered(&mut self, now_ms: u64, answer: Answer) {
        if answer.reply == Reply::Speak {
            return self.called(now_ms, &answer);
        }
        let is_asked = |(request, _): &mut (Request, u64)| {
            request.term == answer.term
                && request.gateway == answer.gateway
                && request.number == answer.number
                && request.round == answer.round
        };
        let Some((request, _)) = self.request.take_if(is_asked) else { return };
        self.answered_ms = now_ms;
        self.heard_a_leader(now_ms);
        self.read_notices(now_ms, answer.notices, answer.read);
        if matches!(answer.reply, Reply::Expelled | Reply::Refused) {
            return self.begin_again(now_ms);
        }
        let is_current = |round: &&mut Current| round.opening.round == request.round;
        match &request.says {
            Says::Strikes { strikes } => self.strikes.said(strikes),
            Says::Bans { bans } => self.bans.said(bans),
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
                if let Some(sent) = round.partial.take() {
                    round.tainted.extend(sent.is_tainted.then_some(sent.number));
                    self.trust.told(sent.unchecked, round.opening.rounds);
                }
            }
            (Says::Asks { least, .. }, Reply::Leased { units }) => {
                self.floor.grant(&units);
                if count(&units) < least {
                    // There is no more for it now.
                    round.asks_again_ms = now_ms + ASK_AGAIN_MS;
                    round.undone_when_asked = self.floor.undone();
                }
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

    /// The leader has something to tell, or to give.
    fn called(&mut self, now_ms: u64, call: &Answer) {
        let round = self.round.as_mut().filter(|round| round.opening.round == call.round);
        if let Some(round) =
            round.filter(|_| self.term == Some(call.term) && self.incarnation == call.gateway)
        {
            round.asks_again_ms = now_ms;
            self.is_called = true;
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

    pub(super) fn recall(&mut self, most: u32) {
        if let Some(round) = &mut self.round {
            round.back.extend(self.floor.give_back(most));
        }
    }

    /// Does what the floor wants.
    pub(super) fn heed_floor(&mut self, now_ms: u64) {
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
                event => {
                    self.note_strike(now_ms, &event);
                    self.outputs.push_back(GatewayOutput::Floor(event));
                }
            }
        }
        if let Some(round) = self.round.as_mut().filter(|_| self.floor.has_unsent()) {
            round.unsent_ms.get_or_insert(now_ms);
        }
    }

    fn taint(&mut self, partials: &[u64]) {
        let Some(round) = &mut self.round else { return };
        for number in partials {
            match round.partial.as_mut().filter(|sending| sending.number == *number) {
                Some(sending @ Sending { stage: SendingStage::Told, .. }) => sending.is_tainted = true,
                // Nobody has heard of it yet.
                Some(_) => round.partial = None,
                None => round.tainted.push(*number),
            }
        }
    }

    /// Says what there is to be said, if the last request is answered; or repeats it.
    pub(super) fn speak(&mut self, now_ms: u64) {
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
        let (gateway, number, read) = (self.incarnation, self.number, self.strikes.read);
        let request = Request { term, round, gateway, number, read, says };
        self.outputs.push_back(GatewayOutput::Request(request.clone()));
        self.request = Some((request, now_ms));
        self.is_called = false;
    }

    /// Puts sums into the store, to hand them in: when all there is to do is done, or when they have waited for long.
    /// What is still to be checked waits longer: if the gateway ended, whatever is found would be lost.
    fn send_partial(&mut self, now_ms: u64) {
        let every_ms = self.hand_in_every_ms();
        let Some(round) = self.round.as_mut().filter(|round| !round.is_over) else { return };
        let is_due = round.unsent_ms.is_some_and(|since_ms| now_ms >= since_ms + every_ms);
        if round.partial.is_some() || !(self.floor.is_drained() || is_due) {
            return;
        }
        let Some(partial) = self.floor.take_partial() else { return };
        round.unsent_ms = self.floor.has_unsent().then_some(now_ms);
        let unchecked = self.floor.unchecked_in(partial.number).into_iter();
        let unchecked: Vec<u128> =
            unchecked.filter(|token| !self.trust.knows(*token)).take(TOKENS_MAX).collect();
        let bytes = encode_partial(&partial, &unchecked);
        let name = name_of(&bytes);
        let (number, stage) = (partial.number, SendingStage::Storing(name));
        round.partial = Some(Sending { number, began_ms: now_ms, stage, unchecked, is_tainted: false });
        self.outputs.push_back(GatewayOutput::Put(Place { term: round.opening.term, name }, bytes));
    }

    /// What matters most.
    fn next_words(&mut self, now_ms: u64) -> Option<Says> {
        // First of all the lies leave the sums: whoever has read of a liar has said so by the next request.
        if let Some(round) = self.round.as_mut().filter(|round| !round.is_over && !round.tainted.is_empty()) {
            return Some(Says::Tainted { partials: std::mem::take(&mut round.tainted) });
        }
        let strikes = self.strikes.unsaid(now_ms);
        if !strikes.is_empty() {
            return Some(Says::Strikes { strikes });
        }
        let bans = self.bans.unsaid();
        if !bans.is_empty() {
            return Some(Says::Bans { bans });
        }
        let is_due = self.is_called || now_ms >= self.answered_ms + PULSE_EVERY_MS;
        let pulse = is_due.then_some(Says::Pulse);
        let Some(round) = self.round.as_mut().filter(|round| !round.is_over) else {
            return if self.is_stopping { Some(Says::Leaves) } else { pulse };
        };
        if let Some(sending) = &mut round.partial
            && let SendingStage::Stored(blob) = sending.stage
        {
            sending.stage = SendingStage::Told;
            return Some(Says::HandsIn { blob });
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
            && self.floor.confirm(|part| parts.contains(&(part as u32)))
        {
            return Some(Says::Confirms { parts: round.confirm.take().unwrap_or_default() });
        }
        let undone = self.floor.undone();
        let has_done_half = undone < round.undone_when_asked && undone <= round.undone_when_asked / 2;
        let may_ask = now_ms >= round.asks_again_ms || has_done_half;
        if self.is_stopping || !may_ask {
            return pulse;
        }
        let Claim { cores, speed, least, .. } = self.floor.claim();
        let speed = if speed.is_finite() { speed as f32 } else { 0.0 };
        // Volunteers have left, and others may be faster now with what this one has.
        let is_slower = is_due && speed < round.speed_when_asked / 2.0;
        if self.floor.free() * 2 < least || is_slower {
            round.speed_when_asked = speed;
            return Some(Says::Asks { cores, speed, undone, least });
        }
        pulse
    }
}
