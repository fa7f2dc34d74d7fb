//! A volunteer's settings: its machine, and how much of it the training may use.

use model::Arithmetic;
use protocol::message::TOKEN_BYTES;

/// Bytes of shards a hub keeps by default.
pub const SHARD_CACHE_BYTES: usize = 512 << 20;
/// Bytes of shards one compute worker keeps by default.
pub const COMPUTE_SHARD_BYTES: usize = 128 << 20;

/// The settings of a [`Hub`](crate::Hub).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The arithmetic of this build.
    pub arithmetic: Arithmetic,
    /// [`model::known_answer::digest`] as computed on this machine.
    pub known_answer: [u8; 32],
    /// Whether this machine could run the fused arithmetic.
    pub fused_capable: bool,
    /// Cores lent at the start. [`HubInput::Cores`](crate::HubInput::Cores) changes the number.
    pub cores: u16,
    /// The name of the browser or program. It is shortened if it is too long for a message.
    pub agent: String,
    /// Whether the hub also helps another run, if the coordinator begins one. Otherwise the hub ends then, so
    /// that somebody can be asked.
    pub follows: bool,
    /// The random number by which the coordinator knows this volunteer again. Zeros, the default, if there is none.
    pub token: [u8; TOKEN_BYTES],
    /// Any number that differs between volunteers. It spreads their reconnections.
    pub seed: u64,
    /// Bytes of shards to keep, by default [`SHARD_CACHE_BYTES`]. Shards in use may exceed it.
    pub shard_cache_bytes: usize,
    /// Bytes of shards that each compute worker keeps, by default [`COMPUTE_SHARD_BYTES`].
    pub compute_shard_bytes: usize,
    /// Bytes of memory that this machine can spare; no limit by default. The hub uses as many of the cores as
    /// their [`Footprint`](crate::Footprint) allows.
    pub memory_bytes: u64,
    /// Bytes that one program (the hub, or a compute worker) can address; by default, the limit of this
    /// build. For 32-bit WebAssembly, it is 4 GiB on any device.
    pub address_space_bytes: u64,
}

impl Settings {
    /// The usual settings. Computes the known answer, which takes a moment.
    pub fn new(arithmetic: Arithmetic, cores: u16, agent: impl Into<String>, seed: u64) -> Settings {
        Settings {
            arithmetic,
            known_answer: model::known_answer::digest(arithmetic),
            fused_capable: arithmetic == Arithmetic::Fused,
            cores,
            agent: agent.into(),
            follows: true,
            token: [0; TOKEN_BYTES],
            seed,
            shard_cache_bytes: SHARD_CACHE_BYTES,
            compute_shard_bytes: COMPUTE_SHARD_BYTES,
            memory_bytes: u64::MAX,
            address_space_bytes: usize::MAX as u64,
        }
    }
}
