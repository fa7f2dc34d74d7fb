//! What protects the weights from liars, and the end of a training from whoever comes too late, to be taken out of the
//! protocol one by one: a run must notice.
//!
//! Messages are changed on the bus as if their sender or their receiver did not know better, so that the protocol has no
//! switches that weaken it.

use gateway::{Answer, Order, Place, Request, Says, decode_partial, encode_partial, name_of};

use super::world::World;

/// A protection that a run may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protection {
    /// Sums with a lie in them leave the open round.
    Tainted,
    /// What decides something is computed by somebody else too.
    Confirm,
    /// A leader hears who was found out.
    Strikes,
    /// Gateways read who was found out elsewhere.
    Notices,
    /// The next leader hears of it again.
    ToldAgain,
    /// Sums name those whose results in them nobody has checked.
    NamesInSums,
    /// The state that a training goes back to is saved.
    SavedReturn,
    /// Nobody is told of the end before the store says it.
    SaidLast,
    /// Whoever has won a term says so while it loads the newest state.
    Herald,
    /// A leader looks for a newer one before it ends the training.
    LookForNewer,
}

impl Protection {
    /// Those against liars.
    pub(super) const AGAINST_LIARS: [Protection; 7] = [
        Protection::Tainted,
        Protection::Confirm,
        Protection::Strikes,
        Protection::Notices,
        Protection::ToldAgain,
        Protection::NamesInSums,
        Protection::SavedReturn,
    ];
}

impl World<'_> {
    /// What a gateway says without the protection that the run lacks.
    pub(super) fn without_protection_of_request(&mut self, mut request: Request) -> Request {
        let lacks = self.scenario.lacks;
        match &mut request.says {
            Says::Tainted { .. } if lacks == Some(Protection::Tainted) => request.says = Says::Pulse,
            Says::Strikes { .. } if lacks == Some(Protection::Strikes) => request.says = Says::Pulse,
            Says::Strikes { strikes } if lacks == Some(Protection::ToldAgain) => {
                let term = request.term;
                strikes.retain(|strike| *self.told.entry(strike.id).or_insert(term) == term);
            }
            Says::HandsIn { blob } => *blob = self.nameless.get(blob).copied().unwrap_or(*blob),
            Says::Pulse | Says::Asks { .. } => {
                if let Some(parts) = self.unconfirmed.remove(&request.gateway) {
                    request.says = Says::Confirms { parts };
                }
            }
            _ => {}
        }
        request
    }

    /// What a leader answers without it.
    pub(super) fn without_protection_of_answer(&mut self, mut answer: Answer) -> Answer {
        match self.scenario.lacks {
            Some(Protection::Notices) => answer.notices.clear(),
            Some(Protection::Confirm) => {
                let orders = std::mem::take(&mut answer.orders);
                for order in orders {
                    match order {
                        Order::Confirm { parts } => {
                            self.unconfirmed.insert(answer.gateway, parts);
                        }
                        order => answer.orders.push(order),
                    }
                }
            }
            _ => {}
        }
        answer
    }

    /// Sums that a gateway puts into the store, without the names in them.
    pub(super) fn without_names_in_sums(
        &mut self,
        number: usize,
        place: Place,
        bytes: &[u8],
    ) -> Option<(Place, Vec<u8>)> {
        let (plan, _) = self.gateways[number].porch.round.as_ref()?;
        if self.scenario.lacks != Some(Protection::NamesInSums) {
            return None;
        }
        let (partial, _) = decode_partial(bytes, plan, self.problem.network.parameters()).ok()?;
        let bytes = encode_partial(&partial, &[]);
        let name = name_of(&bytes);
        self.nameless.insert(place.name, name);
        Some((Place { name, ..place }, bytes))
    }
}
