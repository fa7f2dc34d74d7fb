//! The messages between sessions and the engine's driver.
//!
//! A session (a WebSocket, or the in-process volunteer's pair of channels) decodes, checks and unpacks on its
//! own side, then hands finished values to the driver. The driver answers each session through a bounded
//! outbox, and shows the open round to all of them in one shared slot. The slot keeps only the newest round,
//! so a slow session skips the rounds it missed. It never makes others wait and never makes memory grow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use engine::Identity;
use engine::decoder::Message;
use protocol::frame::encode_round;
use protocol::message::{Credit, Farewell};
use protocol::plan::{Assignment, RoundPlan};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::crowd::Lines;
use super::doors::Doors;

/// Messages that may wait for the driver, from all sessions together.
pub const INBOX_MAX: usize = 1024;
/// Memory for the vectors in these messages, in KiB, including vectors that are being unpacked. A single
/// larger vector passes alone.
pub const INBOX_KIB_MAX: u32 = 1 << 20;
/// Messages that may wait for one session. A session that lags further is closed.
pub const OUTBOX_MAX: usize = 32;

/// A session's message to the driver.
#[derive(Debug)]
pub enum FromSession {
    /// A volunteer is ready for work. The first message of a session.
    Joined(Joined),
    /// A message from a volunteer that has joined.
    Said(Message),
    /// The volunteer sent that, as no honest volunteer does. Its session is over.
    Misbehaved {
        /// What it sent.
        offense: String,
    },
    /// The volunteer has left. The last message of a session.
    Left,
}

/// A volunteer that has proved that it computes the run's bits.
#[derive(Debug)]
pub struct Joined {
    /// The driver's way to it.
    pub outbox: mpsc::Sender<ToSession>,
    /// Cores it lends.
    pub cores: u16,
    /// Whether it is the coordinator's own in-process volunteer.
    pub local: bool,
    /// Who it is.
    pub identity: Identity,
    /// Names it to people: its browser or program.
    pub agent: String,
    /// Whether its machine could run the fused arithmetic.
    pub fused_capable: bool,
    /// Shards of the training set that it already holds.
    pub training_shards: Vec<u32>,
    /// What it has done: the driver writes it, the session tells the volunteer.
    pub credit: SharedCredit,
    /// How its connection fares: the session writes it, the driver shows it to the operator.
    pub wire: Arc<Wire>,
}

impl Joined {
    /// A volunteer of one core that is reached through `outbox`.
    pub fn new(outbox: mpsc::Sender<ToSession>) -> Joined {
        Joined {
            outbox,
            cores: 1,
            local: false,
            identity: Identity::default(),
            agent: String::new(),
            fused_capable: false,
            training_shards: Vec::new(),
            credit: SharedCredit::default(),
            wire: Arc::default(),
        }
    }
}

/// How a session's connection fares.
#[derive(Debug)]
pub struct Wire {
    began: Instant,
    heard_ms: AtomicU64,
    received: AtomicU64,
    /// Bytes that the volunteer has taken.
    taken: Arc<AtomicU64>,
    uploading: AtomicBool,
    ending: OnceLock<String>,
}

impl Default for Wire {
    fn default() -> Wire {
        Wire::new(Arc::default())
    }
}

impl Wire {
    /// A new connection. `taken` counts the bytes that its volunteer takes.
    pub fn new(taken: Arc<AtomicU64>) -> Wire {
        Wire {
            began: Instant::now(),
            heard_ms: AtomicU64::new(0),
            received: AtomicU64::new(0),
            taken,
            uploading: AtomicBool::new(false),
            ending: OnceLock::new(),
        }
    }

    /// The volunteer was heard: so many bytes.
    pub fn heard(&self, bytes: usize) {
        self.heard_ms.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How long nothing has been heard.
    pub fn silence(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.heard_ms.load(Ordering::Relaxed)))
    }

    /// Bytes that have come from the volunteer.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes that have gone to the volunteer.
    pub fn sent(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Notes whether a result is on its way.
    pub fn uploads(&self, is_uploading: bool) {
        self.uploading.store(is_uploading, Ordering::Relaxed);
    }

    /// Whether a result is on its way.
    pub fn is_uploading(&self) -> bool {
        self.uploading.load(Ordering::Relaxed)
    }

    /// The session ends; the first reason counts.
    pub fn ends(&self, why: String) {
        let _ = self.ending.set(why);
    }

    /// Why the session has ended, once it has.
    pub fn ending(&self) -> Option<String> {
        self.ending.get().cloned()
    }
}

/// A session's credit, as the driver last counted it. A session that lags sees only the newest.
#[derive(Debug, Clone, Default)]
pub struct SharedCredit(Arc<Mutex<Credit>>);

impl SharedCredit {
    /// The credit now.
    pub fn get(&self) -> Credit {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the credit.
    pub fn set(&self, credit: Credit) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = credit;
    }
}

/// The driver's message to a session.
#[derive(Debug)]
pub enum ToSession {
    /// Units to compute. The session sends the round's frame first if it has not yet. It drops an assignment
    /// of a round that is over.
    Assign(Assignment),
    /// The volunteer misbehaved: tell it and close.
    Dismiss {
        /// Why, in one sentence.
        text: String,
    },
    /// The volunteer has a newer session: tell it and close.
    Replace,
    /// The training has ended: tell it and close.
    Finish(Box<Farewell>),
}

/// The open round, as every session sends it.
#[derive(Debug)]
pub struct OpenRound {
    /// Its plan.
    pub plan: RoundPlan,
    /// Its frame ([`encode_round`]), shared by all sessions.
    pub frame: Bytes,
}

impl OpenRound {
    /// A round with its vectors.
    pub(crate) fn new(plan: RoundPlan, vectors: &[Arc<[f32]>]) -> OpenRound {
        let vectors: Vec<&[f32]> = vectors.iter().map(|vector| &vector[..]).collect();
        let frame = Bytes::from(encode_round(&plan, &vectors));
        OpenRound { plan, frame }
    }
}

/// A session's way to the driver. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DriverHandle {
    inbox: mpsc::Sender<Letter>,
    room: Arc<Semaphore>,
    /// The newest round; `None` before the first.
    pub round: watch::Receiver<Option<Arc<OpenRound>>>,
    /// Who may join.
    pub doors: Doors,
    /// The lines of the log that strangers cause.
    pub(crate) lines: Lines,
}

/// A message on its way to the driver. Until it is dropped, it takes up memory that all sessions share.
#[derive(Debug)]
pub struct Letter {
    /// The sending session.
    pub session: u64,
    /// The message.
    pub message: FromSession,
    _room: Room,
}

/// Reserved room among the messages that wait for the driver. Dropping it frees the room.
#[derive(Debug)]
pub struct Room(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

/// The driver has ended.
#[derive(Debug, Error)]
#[error("the engine's driver has ended")]
pub struct DriverGone;

impl DriverHandle {
    /// A handle for sessions, and the driver's end of the inbox.
    pub fn new(round: watch::Receiver<Option<Arc<OpenRound>>>) -> (DriverHandle, mpsc::Receiver<Letter>) {
        let (inbox, letters) = mpsc::channel(INBOX_MAX);
        let room = Arc::new(Semaphore::new(INBOX_KIB_MAX as usize));
        let (doors, lines) = (Doors::default(), Lines::new(Instant::now()));
        (DriverHandle { inbox, room, round, doors, lines }, letters)
    }

    /// Waits for room for a vector of that many bytes. Reserve the room before unpacking the vector.
    ///
    /// # Errors
    /// When the driver has ended.
    pub async fn room(&self, bytes: usize) -> Result<Room, DriverGone> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(kib.min(INBOX_KIB_MAX)).await;
        room.map(Room).map_err(|_| DriverGone)
    }

    /// Hands over a message without a vector. Waits while the driver is behind, and so makes the volunteer
    /// wait.
    ///
    /// # Errors
    /// When the driver has ended.
    pub async fn tell(&self, session: u64, message: FromSession) -> Result<(), DriverGone> {
        self.tell_in(self.room(0).await?, session, message).await
    }

    /// Hands over a message whose vector has `room`.
    ///
    /// # Errors
    /// When the driver has ended.
    pub async fn tell_in(&self, room: Room, session: u64, message: FromSession) -> Result<(), DriverGone> {
        let letter = Letter { session, message, _room: room };
        self.inbox.send(letter).await.map_err(|_| DriverGone)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn vectors_wait_for_room_until_the_driver_has_dealt_with_those_before() {
        let (_round, newest) = watch::channel(None);
        let (handle, mut inbox) = DriverHandle::new(newest);
        let whole = 1024 * INBOX_KIB_MAX as usize;
        // Larger than all the room there is.
        let room = handle.room(3 * whole).await.unwrap();
        assert!(handle.room(1).now_or_never().is_none());
        handle.tell(1, FromSession::Said(Message::Cores(2))).await.unwrap();
        handle.tell_in(room, 1, FromSession::Said(Message::Cores(3))).await.unwrap();
        assert!(matches!(inbox.recv().await.unwrap().message, FromSession::Said(Message::Cores(2))));
        let letter = inbox.recv().await.unwrap();
        assert!(handle.room(1).now_or_never().is_none());
        drop(letter);
        let (half, other_half) = (handle.room(whole / 2).await, handle.room(whole / 2).await);
        assert!(half.is_ok() && other_half.is_ok());
    }
}
