//! A hub's inputs and outputs: what happens to it, and what it wants done.

use bytes::Bytes;
use protocol::frame::VectorChunks;
use protocol::plan::ShardRef;

use crate::message::{FromCompute, ToCompute};

/// What happens to a hub.
#[derive(Debug)]
pub enum HubInput {
    /// The connection asked for with [`HubOutput::Connect`] is open.
    Connected,
    /// It could not be opened (in time), or is closed.
    Disconnected,
    /// A message from the coordinator.
    Frame(Bytes),
    /// A shard has been downloaded and decompressed.
    ShardArrived {
        /// As given in [`HubOutput::Fetch`].
        fetch: u64,
        /// The encoded shard; the hub checks its hash.
        bytes: Vec<u8>,
    },
    /// A shard could not be downloaded (in time).
    ShardFailed {
        /// As given in [`HubOutput::Fetch`].
        fetch: u64,
    },
    /// A compute worker says something.
    Compute {
        /// Which.
        compute: u32,
        /// What.
        message: FromCompute,
    },
    /// A compute worker could not be started or has died. It is not replaced: too little memory
    /// is the likely reason.
    ComputeFailed {
        /// Which.
        compute: u32,
    },
    /// Lend this many cores from now on; zero pauses.
    Cores(u16),
    /// Time has passed; due whenever [`HubOutput::Wake`] says so, harmless at any other time.
    Tick,
}

/// What a hub wants done.
#[derive(Debug)]
pub enum HubOutput {
    /// Open the connection; answer with `Connected` or `Disconnected`.
    Connect,
    /// Close the connection, after everything sent before has gone out. `Disconnected` may follow
    /// and changes nothing.
    Close,
    /// Send this message.
    Send(Vec<u8>),
    /// Send these messages, one after the other.
    SendVector(VectorChunks),
    /// Download a shard; answer with `ShardArrived` or `ShardFailed`.
    Fetch {
        /// Counts downloads.
        fetch: u64,
        /// What is wanted.
        shard: ShardRef,
        /// Where it is: "/shards/" and the hash in hexadecimal.
        path: String,
        /// Do not answer from a cache: an earlier answer was damaged.
        fresh: bool,
    },
    /// Start a compute worker; numbers are never used again.
    StartCompute {
        /// Its number.
        compute: u32,
    },
    /// End a compute worker, at once if possible. What it still says is ignored.
    StopCompute {
        /// Its number.
        compute: u32,
    },
    /// Pass a message on, in order.
    Compute {
        /// To which compute worker.
        compute: u32,
        /// The message.
        message: ToCompute,
    },
    /// Send [`HubInput::Tick`] at this time (on the clock of the inputs). Replaces earlier wishes.
    Wake {
        /// When.
        at_ms: u64,
    },
}
