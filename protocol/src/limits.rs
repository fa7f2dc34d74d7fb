//! The bounds of the protocol.

/// Parameters of a network.
pub const PARAMETERS_MAX: usize = 1 << 28;
/// Bytes of a large vector in one WebSocket fragment, in either direction. Small fragments keep the buffers
/// of both ends small while many volunteers are served.
pub const FRAGMENT_BYTES: usize = 16 * 1024;
/// Bytes of one WebSocket message from a volunteer: a chunk and its header, or a control message.
pub const UPWARD_MESSAGE_BYTES_MAX: usize = 2 * FRAGMENT_BYTES;
/// Bytes of one WebSocket message from the coordinator: a round with two vectors.
pub const DOWNWARD_MESSAGE_BYTES_MAX: usize = 2 * 4 * PARAMETERS_MAX + (1 << 20);
/// Cores that one volunteer may lend.
pub const CORES_MAX: u16 = 256;
/// Seconds that a volunteer may be told to wait: a day.
pub const WAIT_SECONDS_MAX: u32 = 24 * 60 * 60;
/// Bytes of any text in a message.
pub const TEXT_BYTES_MAX: usize = 512;
/// Bytes of a network specification in JSON.
pub const SPECIFICATION_BYTES_MAX: usize = 1 << 20;
/// Units of one round. The more there are, the smaller the integers of each ([`model::exact::unit_limit`]), so that no
/// sum leaves an `i64`.
pub const UNITS_MAX: u32 = model::exact::UNITS_MAX as u32;
/// Parts of one round.
pub const PARTS_MAX: usize = 8;
/// Ranges of units in one assignment.
pub const RANGES_MAX: usize = 64;
/// Step lengths that one scalars-only round tries.
pub const STEPS_MAX: usize = 16;
/// Examples in all minibatches of one replica's local steps together.
pub const LOCAL_EXAMPLES_MAX: u32 = 1 << 24;
/// Columns of the features.
pub const FEATURES_MAX: usize = 1 << 20;
/// Shards of one set of examples.
pub const SHARDS_MAX: usize = 1 << 16;
/// Shards that a volunteer may list as held, which keeps the message far below [`UPWARD_MESSAGE_BYTES_MAX`].
/// A shard left out is merely not preferred.
pub const READY_SHARDS_MAX: usize = 4096;
/// Bytes of one shard before compression.
pub const SHARD_BYTES_MAX: usize = 64 << 20;
