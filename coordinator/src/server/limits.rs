//! Every bound of the server that is not a setting.

use std::time::Duration;

use protocol::limits::{FRAGMENT_BYTES, UPWARD_MESSAGE_BYTES_MAX};

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
/// Volunteers of one network at the same time that have never helped. So there are connections left for those of it
/// that have. This machine's own are not counted.
pub(super) const STRANGERS_PER_NETWORK_MAX: usize = 768;
/// Pause after accepting has failed, so that a lack of descriptors does not cause a busy loop.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections to a Unix socket that may wait to be accepted.
#[cfg(unix)]
pub(super) const SOCKET_BACKLOG: i32 = 1_024;
/// How long whoever listens on a Unix socket may take before it counts as alive.
#[cfg(unix)]
pub(super) const SOCKET_PROBE_MAX: Duration = Duration::from_secs(2);
/// Attempts to have the folder of a Unix socket for oneself.
#[cfg(unix)]
pub(super) const SOCKET_TURNS_MAX: u32 = 20;

/// Bytes of a request's head.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request.
pub(super) const HEADERS_MAX: usize = 64;
/// Age at which an HTTP connection is asked to end, and the time it then has for its last response. It is
/// long enough for the largest shard over a slow link, and it ends connections that only occupy a place.
pub(super) const HTTP_AGE_MAX: Duration = Duration::from_secs(600);
/// Time between two messages that tell a volunteer its credit, if it has changed.
pub(super) const CREDIT_EVERY: Duration = Duration::from_secs(1);
/// Shards compressed at the same time. Training needs the other cores.
pub(super) const COMPRESSIONS_MAX: usize = 2;
/// Descriptions and weights for the page `/try` that are made at the same time.
pub(super) const ENCODINGS_MAX: usize = 2;
/// Bytes of a benchmark's result; a result with every case has a tenth of that.
pub(super) const BENCH_RESULT_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of the body of an operator's action.
pub(super) const ACTION_BYTES_MAX: u64 = 1024;
/// Bytes of a client's text that are repeated to the client or to the log.
pub(super) const QUOTE_BYTES_MAX: usize = 64;

/// Bytes of a channel's own read buffer, which stays allocated as long as the volunteer stays.
pub(super) const READ_BUFFER_BYTES: usize = 2 * 1024;
/// Bytes that are read at a time, into a buffer that a channel has only as long as something is left in it.
pub(super) const INTAKE_BYTES: usize = 64 * 1024;
/// Such buffers, of all channels together: 4 MB. Without one, a channel reads into its own.
pub(super) const INTAKE_BUFFERS_MAX: usize = 64;
/// Bytes of a volunteer's message with all that frames it, for it may come in pieces, which may be empty.
pub(super) const MESSAGE_RAW_BYTES_MAX: usize = 4 * UPWARD_MESSAGE_BYTES_MAX;
/// Bytes in a fragment of a message that is no round. The buffer of a channel stays as large as the largest fragment
/// that went through it, so a volunteer that was only welcomed should not keep the size of its welcome.
pub(super) const WORDS_FRAGMENT_BYTES: usize = 2 * 1024;
/// Bytes that may wait in a channel for the operating system. Each fragment is flushed before the next is
/// written, so this holds a fragment, a ping and a pong with room to spare.
pub(super) const WRITE_BUFFER_BYTES_MAX: usize = 4 * FRAGMENT_BYTES;
/// Bytes that may wait unsent in the operating system for one connection. So what has been written is nearly
/// what the network has taken.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux can bound these alone"))]
pub(super) const UNSENT_BYTES_MAX: u32 = 2 * FRAGMENT_BYTES as u32;
/// Bytes that may wait for acknowledgment where the system cannot bound the unsent ones: 2.5 MB a second over a way
/// of 100 ms.
#[cfg(not(target_os = "linux"))]
pub(super) const SEND_BUFFER_BYTES: usize = 256 * 1024;
/// Bytes a second, averaged over [`super::Deadlines::stall`], below which a transfer is broken off, either way.
/// A volunteer that is as slow still finishes whatever it has begun.
pub(super) const BYTES_PER_SECOND_MIN: u64 = 8 * 1024;
/// Bytes of a round from which on only [`LANES_MAX`] sessions at a time are sent it: the first of many
/// volunteers then begin early, instead of all of them late.
pub(super) const LARGE_ROUND_BYTES: usize = 256 * 1024;
/// Sessions that are sent a large round at the same time, not counting the slow ones.
pub(super) const LANES_MAX: usize = 32;
/// How often a session that is sent a large round is judged.
pub(super) const LANE_SPAN: Duration = Duration::from_secs(2);
/// Bytes a second below which a session makes way for others.
pub(super) const LANE_BYTES_PER_SECOND_MIN: u64 = 32 * 1024;
/// A session makes way for others when it takes this many times less than the average.
pub(super) const LANE_SHARE: u64 = 4;
/// How long a session waits for others to make way.
pub(super) const LANE_WAIT_MAX: Duration = Duration::from_secs(10);

/// Memory for packed vectors on their way from volunteers, in KiB, for all sessions together ([`super::arriving`]). A
/// single larger vector passes alone.
pub(super) const ARRIVING_KIB_MAX: u32 = 512 << 10;
/// A vector gets room for so many KiB at a time, as it arrives.
pub(super) const ARRIVING_PIECE_KIB: u32 = 1024;
/// How long a vector waits for room before others are broken off for it.
pub(super) const ARRIVING_WAIT_MAX: Duration = Duration::from_secs(5);
/// While others wait, a volunteer sends a piece in that time, some 50 KB a second, or it is broken off.
pub(super) const ARRIVING_PIECE_MAX: Duration = Duration::from_secs(20);
/// A volunteer that has never helped is broken off for one that has if it would take longer than this.
pub(super) const ARRIVING_STRANGER_MAX: Duration = Duration::from_secs(60);
/// Vectors that are told at a time that there is room.
pub(super) const ARRIVING_WOKEN_MAX: usize = 8;
/// Largest number of values that a session unpacks in its own task, which takes a tenth of a millisecond.
/// Larger results would keep other sessions waiting and are unpacked in threads, one for each core.
pub(super) const UNPACKED_IN_TASK_MAX: usize = 128 * 1024;
/// Shortest time between two changes of a volunteer's cores that the driver hears of. With each that follows at once it
/// doubles, up to [`CORES_PERIOD_MAX`].
pub(super) const CORES_PERIOD: Duration = Duration::from_secs(1);
/// See [`CORES_PERIOD`].
pub(super) const CORES_PERIOD_MAX: Duration = Duration::from_secs(4);
/// Messages among which a newcomer's next frame must be: it may answer pings before.
pub(super) const GREETING_MESSAGES_MAX: usize = 16;
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
/// Bytes that each message counts in addition to its content, because a small one takes the coordinator no less time. So
/// a volunteer may say 256 things at once, and four a second, that nobody asked for. An honest one seldom says any: it
/// answers a ping every ten seconds, and tells when somebody changes what it lends.
pub(super) const MESSAGE_OVERHEAD_BYTES: u64 = 4 * 1024;
/// How often a session listens to a volunteer that says more than it is asked: then it takes all that has come. What
/// comes by itself costs a wake-up, which is most of what it costs.
pub(super) const LISTEN_PERIOD: Duration = Duration::from_millis(250);
/// So many small reads that bring nothing that was asked for may follow one another faster than that.
pub(super) const SMALL_READS_IN_A_ROW_MAX: u32 = 8;
/// A read of fewer bytes is small: less than a packet of the slowest networks.
pub(super) const SMALL_READ_BYTES: usize = 512;
/// Unanswered assignments for which a volunteer may still send a result.
pub(super) const RESULTS_OWED_MAX: usize = 128;
/// Bytes of an answer without its vector, with what the message counts besides.
pub(super) const ANSWER_BYTES_MAX: u64 = 1024 + MESSAGE_OVERHEAD_BYTES;

/// Sessions that have left whose programs are remembered, for the log if they are found out.
pub(crate) const AGENTS_LEFT_MAX: usize = 4_096;

/// Requests of one address at once, and a second after that.
pub(super) const REQUESTS_BURST: u64 = 10_000;
/// See [`REQUESTS_BURST`].
pub(super) const REQUESTS_PER_SECOND: u64 = 500;
/// Statuses of one address at once, and a second after that: a page asks about once a second.
pub(super) const STATUS_BURST: u64 = 2_000;
/// See [`STATUS_BURST`].
pub(super) const STATUS_PER_SECOND: u64 = 200;
/// Channels of one address at once, and a second after that.
pub(super) const CHANNELS_BURST: u64 = 1_024;
/// See [`CHANNELS_BURST`].
pub(super) const CHANNELS_PER_SECOND: u64 = 10;
/// Volunteers that join from one address at once and have never helped before, and a second after that: a school may
/// press Start together, and reload.
pub(super) const JOINS_BURST: u64 = 512;
/// See [`JOINS_BURST`].
pub(super) const JOINS_PER_SECOND: u64 = 2;
/// Bytes of shards for one address at once: a class that opens the page.
pub(super) const BYTES_BURST: u64 = 8 << 30;
/// Bytes of shards a second after that.
pub(super) const BYTES_PER_SECOND: u64 = 32 << 20;
/// All addresses together have so many times as much.
pub(super) const ALL_TIMES_ONE: u64 = 20;
/// Addresses whose requests are counted at a time.
pub(super) const ADDRESSES_MAX: usize = 1 << 16;
/// Bytes of a token that a visitor sends.
pub(super) const TOKEN_BYTES_MAX: u64 = 256;
/// Seconds after which an address that has too many connections may try again.
pub(super) const CROWDED_SECONDS: u64 = 30;
