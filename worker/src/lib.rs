//! A volunteer's part in a training, without I/O.
//!
//! A [`Hub`] is the volunteer's one connection to the coordinator: it says hello, keeps the shards and the
//! open round, cuts assignments into jobs and merges their results. A [`Compute`] is one core: it evaluates
//! jobs. The two never meet here: a browser puts each into a Web Worker and carries their messages with
//! `postMessage`; a native volunteer uses threads and channels. Both feed the hub with [`HubInput`]s, each
//! with the time in milliseconds, and drain its [`HubOutput`]s afterward:
//!
//! ```
//! use worker::{Compute, Hub, HubInput, HubOutput, HubPhase, Settings};
//! use model::Arithmetic;
//!
//! let mut hub = Hub::new(Settings::new(Arithmetic::Portable, 2, "an example", 1));
//! let mut computes = std::collections::BTreeMap::new();
//! // The events of a connection, as a program with sockets would see them, and when, in milliseconds.
//! let mut events = std::collections::VecDeque::from([(0, HubInput::Tick)]);
//! while let Some((now_ms, input)) = events.pop_front() {
//!     hub.handle(now_ms, input);
//!     while let Some(output) = hub.poll_output() {
//!         match output {
//!             // Here nobody answers, so that the connection fails at once.
//!             HubOutput::Connect if now_ms == 0 => events.push_back((10, HubInput::Disconnected)),
//!             HubOutput::Connect | HubOutput::Close => {}
//!             HubOutput::Send(_frame) => { /* to the coordinator */ }
//!             HubOutput::SendVector(_frames) => { /* to the coordinator, one after the other */ }
//!             HubOutput::Fetch { .. } => { /* download, then HubInput::ShardArrived */ }
//!             HubOutput::StartCompute { compute } => {
//!                 computes.insert(compute, Compute::new());
//!             }
//!             HubOutput::StopCompute { compute } => {
//!                 computes.remove(&compute);
//!             }
//!             HubOutput::Compute { compute, message } => {
//!                 let answer = computes.get_mut(&compute).and_then(|core| core.handle(message));
//!                 events.extend(answer.map(|message| (now_ms, HubInput::Compute { compute, message })));
//!             }
//!             HubOutput::Wake { at_ms } => events.push_back((at_ms, HubInput::Tick)),
//!         }
//!     }
//! }
//! assert_eq!(hub.status().phase, HubPhase::Connecting);
//! ```
//!
//! [`mod@unit`] holds the one pure function behind it all, which evaluates a work unit.

#![forbid(unsafe_code)]

mod compute;
mod duty;
mod footprint;
mod hub;
mod message;
mod mirror;
mod run;
mod settings;
mod shared_round;
mod shared_shard;
pub mod unit;

pub use compute::Compute;
pub use duty::Duty;
pub use footprint::{BASE_BYTES, DataFootprint, Footprint};
pub use hub::status::{HubPhase, HubStatus};
pub use hub::{
    ASSIGNMENTS_MAX, FETCH_ATTEMPTS_MAX, FETCHES_MAX, GREETING_MS_MAX, Hub, HubInput, HubOutput,
    LINK_BYTES_PER_MS, ROUND_MS_MAX, SILENCE_MS_MAX, START_ATTEMPTS_MAX,
};
pub use message::{Bulk, FromCompute, Job, MessageParts, MessagePartsError, Payload, ToCompute};
pub use mirror::Mirror;
pub use settings::{COMPUTE_SHARD_BYTES, SHARD_CACHE_BYTES, Settings};
pub use shared_round::SharedRound;
pub use shared_shard::SharedShard;
