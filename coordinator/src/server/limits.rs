//! Every bound of the server that is not a setting, named once.

use std::time::Duration;

use protocol::limits::FRAGMENT_BYTES;

/// Open connections, volunteers' channels among them. Stays below what an operating system commonly
/// allows a process after `ulimit -n` is raised; when descriptors run out earlier, accepting pauses.
pub(super) const CONNECTIONS_MAX: usize = 16_384;
/// Open connections of one address (one /64 network of IPv6), so that nobody takes all. Generous, for a
/// school may be behind one address; this machine itself is not counted.
pub(super) const CONNECTIONS_PER_ADDRESS_MAX: usize = 1_024;
/// Pause after accepting failed, so that a lack of descriptors does not become a busy loop.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of a request's head.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request.
pub(super) const HEADERS_MAX: usize = 64;
/// Age at which an HTTP connection is asked to end, and the time it then has for its last response: long
/// enough for the largest shard over a slow link, and an end to connections that only occupy a place.
pub(super) const HTTP_AGE_MAX: Duration = Duration::from_secs(600);
/// Shards compressed at the same time; the cores belong to training.
pub(super) const COMPRESSIONS_MAX: usize = 2;
/// Bytes of a benchmark's result; one on every case is a tenth of it.
pub(super) const BENCH_RESULT_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of anything a client sent that is repeated to it or to the log.
pub(super) const QUOTE_BYTES_MAX: usize = 64;

/// Buffer for reading of a channel. It stays allocated as long as the volunteer stays.
pub(super) const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Bytes that may wait in a channel for the operating system: one fragment is flushed before the next is
/// written, so this holds a fragment, a ping and a pong with room to spare.
pub(super) const WRITE_BUFFER_BYTES_MAX: usize = 4 * FRAGMENT_BYTES;
/// Time in which a volunteer must have taken a whole round, or it is closed: it would be of no use, and
/// until then it keeps that round's vectors in memory. A volunteer is as patient
/// ([`worker::ROUND_MS_MAX`]).
pub(super) const ROUND_SENDING_MAX: Duration = Duration::from_secs(120);
/// Numbers of a result that are unpacked in the session's own task, some milliseconds; larger results would
/// keep others waiting, and get a thread.
pub(super) const UNPACKED_IN_TASK_MAX: usize = 1_000_000;
/// Time for the last words on a channel, an unfinished round before them included.
pub(super) const FAREWELL_MAX: Duration = Duration::from_secs(3);
/// Time in which what a volunteer still sends is read and dropped after the last words, because closing a
/// socket with unread bytes would destroy the words on their way.
pub(super) const LINGER_MAX: Duration = Duration::from_secs(1);
/// Time that everything has to end when the server shuts down.
pub(super) const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// Bytes a second that a volunteer may send without having been asked for results.
pub(super) const UNASKED_BYTES_PER_SECOND: u64 = 16 * 1024;
/// Bytes that a volunteer may send at once without having been asked for results.
pub(super) const UNASKED_BYTES_MAX: u64 = 1 << 20;
/// What any message counts besides its content, so that empty messages are not free.
pub(super) const MESSAGE_OVERHEAD_BYTES: u64 = 32;
/// Assignments without an answer for which the right to send a result is kept.
pub(super) const RESULTS_OWED_MAX: u64 = 64;
