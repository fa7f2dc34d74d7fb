//! What a volunteer does with messages, without I/O.
//!
//! A [`Hub`] is the volunteer's one connection to the coordinator: it says hello, keeps the shards
//! and the open round, cuts assignments into jobs and merges what comes back. A [`Compute`] is one
//! core: it evaluates jobs. The two never meet here: a browser puts each into a Web Worker and
//! carries their messages with `postMessage`, a native volunteer uses threads and channels. Both
//! feed the hub with [`HubInput`]s, each with the time in milliseconds, and drain its
//! [`HubOutput`]s afterward:
//!
//! ```text
//! hub.handle(now_ms, input);
//! while let Some(output) = hub.poll_output() { /* do what it says */ }
//! ```
//!
//! [`unit`] holds the one pure function behind it all: what a work unit is.

#![forbid(unsafe_code)]

mod compute;
mod footprint;
mod hub;
mod message;
mod run;
mod settings;
mod shared_round;
mod shared_shard;
pub mod unit;

pub use compute::Compute;
pub use footprint::{BASE_BYTES, DataFootprint, Footprint};
pub use hub::status::{HubPhase, HubStatus};
pub use hub::{
    ASSIGNMENTS_MAX, FETCH_ATTEMPTS_MAX, FETCHES_MAX, GREETING_MS_MAX, Hub, HubInput, HubOutput,
    LINK_BYTES_PER_MS, ROUND_MS_MAX, SILENCE_MS_MAX,
};
pub use message::{Bulk, FromCompute, Job, MessageParts, MessagePartsError, Payload, ToCompute};
pub use settings::{COMPUTE_SHARD_BYTES, SHARD_CACHE_BYTES, Settings};
pub use shared_round::SharedRound;
pub use shared_shard::SharedShard;
