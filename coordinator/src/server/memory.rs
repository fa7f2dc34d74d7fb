//! The memory that a server takes at most.

use protocol::pack::packed_bytes_max;

use super::limits::{ARRIVING_KIB_MAX, INTAKE_BUFFERS_MAX, INTAKE_BYTES};
use crate::driver::exchange::INBOX_KIB_MAX;

/// Bytes for one connection: its task, its buffers (read and write), one message that arrives and its decoded form, the
/// messages in its outbox.
const CONNECTION_BYTES: u64 = 192 * 1024;
/// Frames of rounds at the same time: the open one, and the next while it is made.
const FRAMES: u64 = 2;
/// Vectors of a round at most.
const VECTORS: u64 = 2;

/// The bytes that a server takes at most for so many connections and parameters, whatever the other ends do. The
/// engine's own vectors and the data come in addition.
pub fn worst_case_bytes(connections: usize, parameters: usize) -> u64 {
    let frame = VECTORS * 4 * parameters as u64;
    let arriving = u64::from(ARRIVING_KIB_MAX) * 1024;
    let unpacked = u64::from(INBOX_KIB_MAX) * 1024;
    let intake = (INTAKE_BUFFERS_MAX * INTAKE_BYTES) as u64;
    connections as u64 * CONNECTION_BYTES
        + intake
        + FRAMES * frame
        + arriving.max(packed_bytes_max(parameters) as u64)
        + unpacked.max(8 * parameters as u64)
}
