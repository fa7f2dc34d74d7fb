//! Spot checks: results that the floor's process computes itself.
//!
//! Audits compare volunteers with volunteers. Where most of a floor's volunteers belong to one person, who has all of
//! them lie in the same way, they vouch for each other. The floor's process is in league with nobody. So it computes
//! one of a round's results itself, drawn by lot, at leisure: no round waits for it.

use std::ops::Range;

use protocol::message::ResultHeader;

use super::audits::{Answer, WRONG_RESULT};
use super::fingerprint::Fingerprint;
use super::standing::Identity;
use super::{Floor, FloorEvent};

/// One of a number of results that is not known before, each with the same chance (reservoir sampling).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lot {
    seen: usize,
    group: Option<u64>,
}

/// A result to be computed by the floor's process.
#[derive(Debug)]
pub struct Spot {
    units: Vec<Range<u32>>,
    fingerprint: Fingerprint,
    /// Rounds that were completed before its own.
    rounds: u64,
    author: (u64, Identity),
    /// Those whose results were the same.
    vouchers: Vec<(u64, Identity)>,
}

/// What a spot check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpotVerdict {
    /// The result is right.
    Right,
    /// It is wrong, and nobody else had vouched for it.
    Lie,
    /// It is wrong, and others had vouched for it.
    Collusion,
}

impl Spot {
    /// The units, all of one part of the round.
    pub fn units(&self) -> &[Range<u32>] {
        &self.units
    }
}

impl Floor {
    /// The same floor, whose process computes results itself. Nothing is drawn if nothing is audited.
    pub fn with_spot_checks(mut self) -> Floor {
        self.lot = self.settings.audit.compares().then(Lot::default);
        self
    }

    /// A result that was accepted is among those of which one is drawn.
    pub(super) fn enter_into_lot(&mut self, group: u64) {
        if let Some(lot) = &mut self.lot {
            lot.seen += 1;
            if self.chance.below(lot.seen) == 0 {
                lot.group = Some(group);
            }
        }
    }

    /// The result that was drawn of the open round, before which so many were completed.
    pub fn draw_spot(&mut self, rounds: u64) -> Option<Spot> {
        let group = self.lot.as_mut()?.group.take()?;
        let settled = self.round.as_ref()?.settled(group)?;
        Some(Spot {
            units: settled.group.units.clone(),
            fingerprint: settled.fingerprint?,
            rounds,
            author: (settled.session, settled.identity),
            vouchers: settled.vouchers.clone(),
        })
    }

    /// A result was computed; `None` if a unit of it has none at all. Dismisses its author and all who vouched for it,
    /// if it is wrong.
    pub fn judge_spot(&mut self, spot: Spot, answer: Option<Answer>) -> SpotVerdict {
        let Spot { fingerprint, rounds, author, vouchers, .. } = spot;
        let truth = answer.map(|answer| {
            let Answer { losses, unfit_steps, correct, vector } = answer;
            let header = ResultHeader { losses, unfit_steps, correct, ..ResultHeader::default() };
            self.key.of(&header, vector.as_deref())
        });
        if truth == Some(fingerprint) {
            self.volunteers.proved(author.1);
            return SpotVerdict::Right;
        }
        let has_accomplices = !vouchers.is_empty();
        for (session, identity) in [author].into_iter().chain(vouchers) {
            let known = self.denounce(identity.token, WRONG_RESULT, true);
            let (offense, is_lie) = (WRONG_RESULT.into(), true);
            let unchecked_since = Some(known.map_or(rounds, |known| known.min(rounds)));
            let found_out = FloorEvent::Convicted { session, identity, offense, is_lie, unchecked_since };
            self.events.push_back(found_out);
        }
        if has_accomplices { SpotVerdict::Collusion } else { SpotVerdict::Lie }
    }

    /// Those who vouch here may be in league: all of them begin as newcomers again.
    pub fn distrust_all(&mut self) {
        self.volunteers.distrust_all();
    }
}
