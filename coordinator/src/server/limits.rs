//! Every bound of the server that is not a setting.

use std::time::Duration;

use protocol::limits::FRAGMENT_BYTES;

/// Open connections, volunteers' channels included, where the limit of open files allows so many
/// ([`super::connections_max`]).
pub(super) const CONNECTIONS_MAX: usize = 32_768;
/// Open connections that are tried for however low the limit of open files is.
pub(super) const CONNECTIONS_MIN: usize = 16;
/// Descriptors that connections leave free: for the run's files, the log, the runtime and the listener.
pub(super) const DESCRIPTORS_RESERVED: usize = 64;
/// Open connections of one address (one /64 network of IPv6), so that nobody takes all. The bound is generous
/// because a whole school may share one address. This machine's own connections are not counted.
pub(super) const CONNECTIONS_PER_ADDRESS_MAX: usize = 1_024;
/// Pause after accepting has failed, so that a lack of descriptors does not cause a busy loop.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of a request's head.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request.
pub(super) const HEADERS_MAX: usize = 64;
/// Age at which an HTTP connection is asked to end, and the time it then has for its last response. It is
/// long enough for the largest shard over a slow link, and it ends connections that only occupy a place.
pub(super) const HTTP_AGE_MAX: Duration = Duration::from_secs(600);
/// Shards compressed at the same time. Training needs the other cores.
pub(super) const COMPRESSIONS_MAX: usize = 2;
/// Bytes of a benchmark's result; a result with every case has a tenth of that.
pub(super) const BENCH_RESULT_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a client's text that are repeated to the client or to the log.
pub(super) const QUOTE_BYTES_MAX: usize = 64;

/// Bytes of a channel's read buffer, which stays allocated as long as the volunteer stays.
pub(super) const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Bytes that may wait in a channel for the operating system. Each fragment is flushed before the next is
/// written, so this holds a fragment, a ping and a pong with room to spare.
pub(super) const WRITE_BUFFER_BYTES_MAX: usize = 4 * FRAGMENT_BYTES;
/// Time in which a volunteer must have accepted a whole round; otherwise its channel is closed. A slower
/// volunteer would be of no use, and it keeps that round's vectors in memory. A volunteer waits as long
/// ([`worker::ROUND_MS_MAX`]).
pub(super) const ROUND_SENDING_MAX: Duration = Duration::from_secs(120);
/// Largest number of values that a session unpacks in its own task, which takes some milliseconds. Larger
/// results would keep other sessions waiting and are unpacked in a thread.
pub(super) const UNPACKED_IN_TASK_MAX: usize = 1_000_000;
/// Time for the last message on a channel, including the rest of an unfinished round before it.
pub(super) const FAREWELL_MAX: Duration = Duration::from_secs(3);
/// Time in which the server reads and drops a volunteer's further bytes after its own last message. Closing a
/// socket with unread bytes would destroy that message on its way.
pub(super) const LINGER_MAX: Duration = Duration::from_secs(1);
/// Time in which everything must end when the server shuts down.
pub(super) const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// Bytes a second that a volunteer may send besides the results it was asked for.
pub(super) const UNASKED_BYTES_PER_SECOND: u64 = 16 * 1024;
/// Bytes that a volunteer may send at once besides the results it was asked for.
pub(super) const UNASKED_BYTES_MAX: u64 = 1 << 20;
/// Bytes that each message counts in addition to its content, so that empty messages are not free.
pub(super) const MESSAGE_OVERHEAD_BYTES: u64 = 32;
/// Unanswered assignments for which a volunteer may still send a result.
pub(super) const RESULTS_OWED_MAX: u64 = 64;
