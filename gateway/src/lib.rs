//! What gateways, a coordinator and its standby say to each other, without I/O.
//!
//! When one coordinator is outgrown, gateways serve the volunteers: each has a [floor](engine::floor) of them, asks the
//! coordinator for units of the open round, and hands in exact partial sums. Small messages go over a bus that may lose,
//! repeat, delay and reorder them; vectors go through a store of objects, named by the hash of their content.
//!
//! Five rules keep the bits, whatever happens to messages and machines:
//!
//! 1. A unit has one owner at a time, and an owner is one *incarnation* of a gateway: a number that is used once. Units
//!    move only by being given back, or because the owner is expelled after it was silent for
//!    [`SILENCE_MS_MAX`]. The [ledger](engine::ledger) counts a partial sum whole or not at all, and only if its
//!    sender owns every unit in it.
//! 2. A gateway makes one request at a time, and repeats it until it is answered. The coordinator answers a request that
//!    it has answered before with the same words.
//! 3. A coordinator leads for one [`Term`], whose object in the store can be created once. Everybody follows the newest
//!    term of which he has heard; terms never go back. Two coordinators that both believe they lead are a waste of
//!    work, no more: both walk the same trajectory.
//! 4. The training has ended when the store says so, in an object that can be created once and that names the results of
//!    one term. Until then gateways and standbys stay, so that a leader that dies at the end is replaced like any other.
//! 5. What is unknown is dropped. A gateway that is refused takes another incarnation, and nothing that it has not
//!    handed in counts.
//!
//! Volunteers are strangers, so three more rules keep lies out:
//!
//! 6. A partial sum is handed in when all checks of results in it are done. It names those whose results in it nobody else
//!    vouches for, so that the leader knows how far to go back, should one of them be found out, even when their gateway
//!    has died since.
//! 7. Whoever is found out at one gateway is found out at all: the leader keeps a log of [`Notice`]s, which every gateway
//!    reads. So it is with bans of the operator.
//! 8. Each gateway computes one result of a round itself, drawn by lot, so that volunteers who vouch for each other's lies
//!    are noticed.
//!
//! [`Leader`], [`Gateway`] and [`Standby`] are state machines like the engine: one input at a time, with the time, then
//! outputs until there are none. Whoever runs them moves bytes. Every queue in them has a bound, because a gateway
//! makes one request at a time, out of what it has to say by then.
//!
//! A gateway speaks first, so that its requests bound all that is said. A leader that has something for it
//! [calls](Reply::Speak) it, once until it speaks. A call that is lost costs time, and one too many costs a message.

#![forbid(unsafe_code)]

mod blob;
mod gateway;
mod leader;
mod notices;
mod standby;
mod state;
mod wire;

pub use blob::{BlobError, Name, Place, decode_partial, encode_partial, name_of};
pub use gateway::{Gateway, GatewayInput, GatewayOutput};
pub use leader::{Leader, LeaderInput, LeaderOutput};
pub use notices::{Ban, Notice, Strike, StrikeId};
pub use standby::{Standby, StandbyInput, StandbyOutput};
pub use state::{StateName, StateNameError};
pub use wire::{
    Answer, Broadcast, MESSAGE_BYTES_MAX, NoResult, Opening, Order, Reply, Request, Says, Term, WireError,
};

/// Version of what is said on the bus. It is raised with every change of a message's bytes or meaning.
pub const BUS_VERSION: u64 = 5;
/// An owner of units that is not heard for so long is expelled.
pub const SILENCE_MS_MAX: u64 = 5_000;
/// A leader that is not heard for so long is replaced.
pub const LEADER_SILENCE_MS_MAX: u64 = 10_000;
/// A gateway that hears no leader for so long sends its volunteers away: it is cut off, for otherwise a standby would
/// lead by then ([`LEADER_SILENCE_MS_MAX`]). No sooner, or all volunteers of all gateways would move whenever a leader
/// dies.
pub const SEND_AWAY_MS: u64 = 2 * LEADER_SILENCE_MS_MAX;
/// How often a leader says that it leads.
pub const BROADCAST_EVERY_MS: u64 = 1_000;
/// A request that is not answered is repeated after this time.
pub const REPEAT_MS: u64 = 1_000;
/// A gateway that has nothing to say says so as often as this.
pub const PULSE_EVERY_MS: u64 = 500;
/// A gateway that was given too little asks again after this time, or when half of what it has is done, or when the
/// leader calls it.
pub const ASK_AGAIN_MS: u64 = 200;
/// Sums that are not handed in for so long are handed in before all of a lease is done.
pub const HAND_IN_EVERY_MS: u64 = 2_000;
/// Those whose sending takes long wait longer, so many times as long as it takes.
pub const HAND_IN_TIMES: u64 = 10;
/// No sums wait longer than this, however long sending takes: whatever waits is lost with the gateway.
pub const HAND_IN_MS_MAX: u64 = 60_000;
