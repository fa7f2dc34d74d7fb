//! A hub's inputs and outputs.

use bytes::Bytes;
use protocol::frame::VectorChunks;
use protocol::plan::ShardRef;
use protocol::shard::Shard;

use crate::message::{FromCompute, ToCompute};

/// An event that a hub must know about.
#[derive(Debug)]
pub enum HubInput {
    /// The connection asked for with [`HubOutput::Connect`] is open.
    Connected,
    /// The connection could not be opened in time, or it is closed.
    Disconnected,
    /// A message from the coordinator.
    Frame(Bytes),
    /// A shard has been downloaded and decompressed.
    ShardArrived {
        /// The number given in [`HubOutput::Fetch`].
        fetch: u64,
        /// The encoded shard; the hub checks its hash.
        bytes: Vec<u8>,
    },
    /// A shard is in this process's memory, in the hands of somebody who answers for its content.
    ShardLent {
        /// The number given in [`HubOutput::Fetch`].
        fetch: u64,
        /// The shard.
        shard: Shard,
    },
    /// A shard could not be downloaded in time.
    ShardFailed {
        /// The number given in [`HubOutput::Fetch`].
        fetch: u64,
    },
    /// A message from a compute worker.
    Compute {
        /// The compute worker's number.
        compute: u32,
        /// Its message.
        message: FromCompute,
    },
    /// A compute worker could not be started or has died. It is not replaced, because the likely cause is too
    /// little memory.
    ComputeFailed {
        /// The compute worker's number.
        compute: u32,
    },
    /// The program of a compute worker has not arrived, most likely because the coordinator cannot be reached just
    /// now. The hub starts another one later.
    ComputeUnreached {
        /// The compute worker's number.
        compute: u32,
    },
    /// The coordinator answers elsewhere: connect now rather than later, and replace a silent connection.
    Retry,
    /// Lend this many cores from now on. Zero pauses.
    Cores(u16),
    /// Time has passed. The caller must send it when [`HubOutput::Wake`] asks for it; at any other time it is
    /// harmless.
    Tick,
}

/// An action that a hub asks for.
#[derive(Debug)]
pub enum HubOutput {
    /// Open the connection. Answer with [`HubInput::Connected`] or [`HubInput::Disconnected`].
    Connect,
    /// Close the connection once all earlier messages have gone out. [`HubInput::Disconnected`] may follow
    /// and changes nothing.
    Close,
    /// Send this message.
    Send(Vec<u8>),
    /// Send these messages, in this order.
    SendVector(VectorChunks),
    /// Download a shard. Answer with [`HubInput::ShardArrived`], [`HubInput::ShardLent`] or
    /// [`HubInput::ShardFailed`].
    Fetch {
        /// The download's number.
        fetch: u64,
        /// The shard.
        shard: ShardRef,
        /// The path of its URL: "/shards/" and the hash in hexadecimal.
        path: String,
        /// Whether to bypass caches, because an earlier answer was damaged.
        fresh: bool,
    },
    /// Start a compute worker. Each number is used only once.
    StartCompute {
        /// Its number.
        compute: u32,
    },
    /// End a compute worker, at once if possible. The hub ignores its later messages.
    StopCompute {
        /// Its number.
        compute: u32,
    },
    /// Pass a message on to a compute worker, in order.
    Compute {
        /// The compute worker's number.
        compute: u32,
        /// The message.
        message: ToCompute,
    },
    /// Send [`HubInput::Tick`] at this time. It replaces an earlier request.
    Wake {
        /// Milliseconds on the clock of the inputs.
        at_ms: u64,
    },
}
