//! Volunteers that are found out: at this gateway, and at others.

use std::collections::BTreeMap;

use engine::Answer as Recomputed;
use engine::floor::{FloorEvent, Spot, SpotVerdict};

use super::{Gateway, GatewayOutput};
use crate::notices::{Ban, Notice, Strike};

/// Volunteers of whom it is remembered that the leader knows since when they are unchecked. Of others it is told again.
const TOLD_MAX: usize = 1 << 16;

/// What a gateway knows of whom its leader has heard, and of what it has checked itself.
#[derive(Debug)]
pub(super) struct Trust {
    /// A number that no other gateway has.
    process: u64,
    /// Of whom the leader knows that results are counted which nobody has checked, and since when.
    told: BTreeMap<u128, u64>,
    /// The result that the gateway's process computes, and its round on the floor.
    spot: Option<(u64, Spot)>,
    /// Rounds completed before the first to which the gateway contributed.
    contributed_since: Option<u64>,
    /// Whether volunteers of it were found to vouch for each other's lies.
    has_colluded: bool,
}

impl Trust {
    pub(super) fn new(process: u64) -> Trust {
        Trust { process, told: BTreeMap::new(), spot: None, contributed_since: None, has_colluded: false }
    }

    /// The result that was drawn in a round cannot be computed. Others may be.
    pub(super) fn give_up_spot(&mut self, round: u64) {
        self.spot.take_if(|(asked, _)| *asked == round);
    }

    /// Another leader knows nothing yet.
    pub(super) fn begin_term(&mut self) {
        self.told.clear();
    }

    /// The training went back to where so many rounds were completed, or never was further. What was done in rounds
    /// before which fewer than `irrevocable` were completed stays.
    pub(super) fn rewind(&mut self, rounds: u64, irrevocable: u64) {
        let can_be_undone = irrevocable..rounds;
        self.told.retain(|_, since| can_be_undone.contains(since));
        self.contributed_since = self.contributed_since.filter(|since| can_be_undone.contains(since));
    }

    /// A round was completed, before which so many were.
    pub(super) fn contributed(&mut self, rounds: u64) {
        self.contributed_since = Some(self.contributed_since.map_or(rounds, |since| since.min(rounds)));
    }

    /// Whether the leader knows that results of a volunteer are unchecked.
    pub(super) fn knows(&self, token: u128) -> bool {
        self.told.contains_key(&token)
    }

    /// The leader knows of these, since that round.
    pub(super) fn told(&mut self, tokens: Vec<u128>, rounds: u64) {
        if self.told.len() + tokens.len() > TOLD_MAX {
            self.told.clear();
        }
        self.told.extend(tokens.into_iter().take(TOLD_MAX).map(|token| (token, rounds)));
    }
}

impl Gateway {
    /// Remembers whom the leader has to hear of.
    pub(super) fn note_strike(&mut self, now_ms: u64, event: &FloorEvent) {
        let FloorEvent::Convicted { identity, offense, is_lie, unchecked_since, .. } = event else { return };
        self.trust.told.remove(&identity.token);
        let strike = Strike {
            id: (0, 0),
            token: identity.token,
            network: identity.address,
            offense: offense.clone(),
            is_lie: *is_lie,
            unchecked_since: *unchecked_since,
            ago_ms: 0,
        };
        self.strikes.add(now_ms, self.trust.process, strike);
    }

    /// Takes in what happened at other gateways.
    pub(super) fn read_notices(&mut self, now_ms: u64, notices: Vec<Notice>, read: u64) {
        for notice in self.strikes.heard(now_ms, notices, read) {
            match notice {
                Notice::Strike(strike) => {
                    let since = self.floor.denounce(strike.token, &strike.offense, strike.is_lie);
                    self.trust.told.remove(&strike.token);
                    if let Some(since) = since {
                        self.strikes.trace(now_ms, strike.clone(), since);
                    }
                    self.outputs.push_back(GatewayOutput::Struck(strike));
                }
                Notice::Ban(ban) => {
                    if self.bans.learn(ban, true) {
                        let Ban { token, is_banned, .. } = ban;
                        if is_banned {
                            self.floor.ban(token);
                        }
                        self.outputs.push_back(GatewayOutput::Banned { token, is_banned });
                    }
                }
            }
        }
        self.heed_floor(now_ms);
    }

    /// Has the result computed that was drawn of the open round, unless another one still is.
    pub(super) fn check_a_spot(&mut self) {
        let Some(round) = self.round.as_ref().filter(|_| self.trust.spot.is_none()) else { return };
        let Some(spot) = self.floor.draw_spot(round.opening.rounds) else { return };
        let (plan, units, vectors) = (round.plan.clone(), spot.units().to_vec(), round.vectors.clone());
        self.trust.spot = Some((plan.round, spot));
        self.outputs.push_back(GatewayOutput::SpotCheck { plan, units, vectors });
    }

    /// The result that was drawn has been computed.
    pub(super) fn spot_checked(&mut self, now_ms: u64, round: u64, answer: Option<Recomputed>) {
        let Some((_, spot)) = self.trust.spot.take_if(|(asked, _)| *asked == round) else { return };
        let is_first = !self.trust.has_colluded;
        if self.floor.judge_spot(spot, answer) != SpotVerdict::Collusion {
            return;
        }
        self.trust.has_colluded = true;
        let text = "volunteers at this gateway vouched for each other's wrong results: give its address to nobody \
                    else, or train with gateways whose volunteers you know";
        self.outputs.push_back(GatewayOutput::Note(text.to_owned()));
        if is_first {
            // That others vouched for a result here has proved nothing so far.
            self.floor.distrust_all();
            self.heed_floor(now_ms);
            self.strikes.go_back_to(self.trust.contributed_since);
        }
    }
}
