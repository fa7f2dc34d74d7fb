//! What a volunteer is told before anything happens: what it is, and how much it may take.

use model::Arithmetic;

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
    /// Bytes of memory that this machine can spare. As many of the cores are used as fit into it by their
    /// [`Footprint`]; no limit by default.
    pub memory_bytes: u64,
    /// Bytes that one program can address, the hub or a compute worker: 4 GiB for WebAssembly of 32 bits, which no device
    /// can help. By default what this build can.
    pub address_space_bytes: u64,
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
            memory_bytes: u64::MAX,
            address_space_bytes: usize::MAX as u64,
        }
    }
}
