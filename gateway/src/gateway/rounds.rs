//! The round that a gateway's floor works on, and the partial sum that is on its way to the ledger.

use std::ops::Range;
use std::sync::Arc;

use protocol::frame::{DownwardFrame, decode_downward};
use protocol::plan::{RoundPlan, UnitLayout};

use super::{Gateway, GatewayOutput};
use crate::blob::{Name, Place, name_of};
use crate::wire::{NoResult, Opening};

/// The round that the floor works on.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) opening: Opening,
    pub(super) plan: RoundPlan,
    pub(super) layouts: Arc<[UnitLayout]>,
    pub(super) vectors: Vec<Arc<[f32]>>,
    /// The leader has said that it is not open any more.
    pub(super) is_over: bool,
    /// The partial sum that is on its way.
    pub(super) partial: Option<Sending>,
    /// Since when there have been sums that are not handed in.
    pub(super) unsent_ms: Option<u64>,
    /// Partial sums that count for the leader and must not.
    pub(super) tainted: Vec<u64>,
    /// The unit that is reported not to fit, until there is a ruling; and whether the leader knows.
    pub(super) report: Option<(u32, bool)>,
    /// Units to be given back.
    pub(super) back: Vec<Range<u32>>,
    /// Parts whose results are to be confirmed.
    pub(super) confirm: Option<Vec<u32>>,
    /// When to ask for units again, if there were too few.
    pub(super) asks_again_ms: u64,
    /// How many units it had not done by then. It asks again sooner when half of them are done.
    pub(super) undone_when_asked: u32,
    /// The speed of its volunteers by then.
    pub(super) speed_when_asked: f32,
}

/// A partial sum on its way to the ledger.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) number: u64,
    /// When it began to be packed.
    pub(super) began_ms: u64,
    pub(super) stage: SendingStage,
    /// Those whose results in it nobody else vouches for, and of whom the leader does not know that yet.
    pub(super) unchecked: Vec<u128>,
    /// There is a lie in it.
    pub(super) is_tainted: bool,
}

#[derive(Debug)]
pub(super) enum SendingStage {
    /// The store does not have it yet.
    Storing(Name),
    Stored(Name),
    /// The leader was told.
    Told,
}

impl Gateway {
    /// The frame of a round is here.
    pub(super) fn fetched(&mut self, now_ms: u64, place: Place, bytes: Option<Vec<u8>>) {
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
        self.close_before(now_ms, &opening);
        self.rewind(&opening);
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
            undone_when_asked: 0,
            speed_when_asked: 0.0,
        });
        if self.request.as_ref().is_some_and(|(request, _)| request.round != opening.round) {
            // It is about a round that is over. The leader may have done what it asks for, which is as well over.
            self.request = None;
        }
        self.open_floor(now_ms);
    }

    /// The round before is over, if there is one.
    fn close_before(&mut self, now_ms: u64, opening: &Opening) {
        let Some(before) = &self.round else { return };
        let Opening { term, round, rounds, .. } = before.opening;
        let is_same_term = term == opening.term;
        if let Some(NoResult { unit, .. }) =
            opening.unfit.filter(|unfit| is_same_term && unfit.round == round)
        {
            // Whoever sent a result for it made that up.
            self.floor.convict_author(unit, "a result for a unit that has none");
            self.heed_floor(now_ms);
        }
        let is_completed = is_same_term && rounds < opening.rounds;
        self.check_a_spot();
        if is_completed {
            self.floor.note_unchecked(rounds);
            self.trust.contributed(rounds);
        }
        self.floor.close(now_ms, is_completed);
    }

    /// The training may have gone back.
    fn rewind(&mut self, opening: &Opening) {
        let Opening { rounds, irrevocable, .. } = *opening;
        self.floor.rewind(rounds, irrevocable);
        self.trust.rewind(rounds, irrevocable);
        self.strikes.rewind(rounds, irrevocable);
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

    /// Another leader begins rounds of its own. The round may have been completed all the same.
    pub(super) fn drop_round(&mut self, now_ms: u64) {
        if let Some(round) = &self.round {
            self.floor.note_unchecked(round.opening.rounds);
        }
        self.floor.close(now_ms, false);
        self.round = None;
    }

    /// It owns nothing any more. Under another number it is somebody new to the leader.
    pub(super) fn begin_again(&mut self, now_ms: u64) {
        self.incarnation = self.incarnation.wrapping_add(1).max(1);
        self.number = 0;
        self.request = None;
        if let Some(round) = &mut self.round {
            // What it has handed in counts, and it does not know any more whose results those were.
            self.floor.note_unchecked(round.opening.rounds);
            round.partial = None;
            round.unsent_ms = None;
            round.tainted.clear();
            round.report = None;
            round.back.clear();
            round.confirm = None;
            (round.asks_again_ms, round.undone_when_asked, round.speed_when_asked) = (0, 0, 0.0);
            self.open_floor(now_ms);
        }
    }
}
