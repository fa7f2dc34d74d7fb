//! One volunteer's connection to the coordinator, without I/O.
//!
//! A hub says hello, keeps shards and the open round, cuts assignments into jobs for its compute
//! workers, merges their integer sums and sends one result for each assignment. It survives
//! disconnection by itself and keeps its shards meanwhile.

pub(crate) mod status;

use model::Arithmetic;
use protocol::plan::ShardRef;

use crate::message::{FromCompute, ToCompute};
use status::HubStatus;

/// Assignments a hub holds at once: one under way, one to go on with, and slack for a coordinator
/// that is ahead. More are declined.
pub const ASSIGNMENTS_MAX: usize = 4;
/// Shards downloaded at once.
pub const FETCHES_MAX: usize = 2;
/// Times a shard is asked for before the assignments that need it are declined.
pub const FETCH_ATTEMPTS_MAX: u32 = 3;
/// Bytes of shards a hub keeps by default.
pub const SHARD_CACHE_BYTES: usize = 512 << 20;
/// Bytes of shards one compute worker keeps by default.
pub const COMPUTE_SHARD_BYTES: usize = 128 << 20;

/// What a hub is told when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which arithmetic this build computes.
    pub arithmetic: Arithmetic,
    /// [`model::known_answer::digest`] as computed on this machine.
    pub known_answer: [u8; 32],
    /// Whether this machine could run the fused arithmetic.
    pub fused_capable: bool,
    /// Cores lent at first; see [`HubInput::Cores`].
    pub cores: u16,
    /// What kind of client this is (a browser's or program's name); cut when too long.
    pub agent: String,
    /// Spreads volunteers' reconnections; any number that differs between volunteers.
    pub seed: u64,
    /// Bytes of shards to keep ([`SHARD_CACHE_BYTES`]). Those in use are kept beyond it.
    pub shard_cache_bytes: usize,
    /// Bytes of shards each compute worker keeps ([`COMPUTE_SHARD_BYTES`]).
    pub compute_shard_bytes: usize,
}

impl Settings {
    /// The usual settings; `known_answer` is taken by computing it here.
    pub fn new(arithmetic: Arithmetic, cores: u16, agent: impl Into<String>, seed: u64) -> Settings {
        Settings {
            arithmetic,
            known_answer: model::known_answer::digest(arithmetic),
            fused_capable: arithmetic == Arithmetic::Fused,
            cores,
            agent: agent.into(),
            seed,
            shard_cache_bytes: SHARD_CACHE_BYTES,
            compute_shard_bytes: COMPUTE_SHARD_BYTES,
        }
    }
}

/// What happens to a hub.
#[derive(Debug)]
pub enum HubInput<'a> {
    /// The connection asked for with [`HubOutput::Connect`] is open.
    Connected,
    /// It could not be opened (in time), or is closed.
    Disconnected,
    /// A message from the coordinator.
    Frame(&'a [u8]),
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

/// One volunteer.
#[derive(Debug)]
pub struct Hub {}

impl Hub {
    /// A hub that wants to connect: drain its outputs.
    pub fn new(settings: Settings) -> Hub {
        let _ = settings;
        todo!()
    }

    /// Takes note of an event. Time never goes backwards.
    pub fn handle(&mut self, now_ms: u64, input: HubInput<'_>) {
        let _ = (now_ms, input);
        todo!()
    }

    /// What to do next; `None` until something else happens.
    pub fn poll_output(&mut self) -> Option<HubOutput> {
        todo!()
    }

    /// What to show.
    pub fn status(&self) -> HubStatus {
        todo!()
    }
}
