//! The loop that reads a volunteer's messages and hands them to the driver.
//!
//! Nothing is kept for a volunteer that does not owe it. A result's header must answer an assignment of this
//! session. Then its vector gets room from a budget that all sessions share (`arriving`), piece by piece, and only
//! then is it read. A vector whose round is over is read past.

use std::convert::Infallible;
use std::future::pending;
use std::io::ErrorKind;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use engine::decoder::{Message as Decoded, PackedResult, Upward, UpwardDecoder};
use futures_util::stream::SplitStream;
use protocol::limits::UPWARD_MESSAGE_BYTES_MAX;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as SocketError, ProtocolError};

use super::Server;
use super::arriving::{BrokenOff, Room};
use super::attention::Attention;
use super::budget::Spent;
use super::ending::Ending;
use super::intake::Tally;
use super::limits::{CORES_PERIOD, CORES_PERIOD_MAX, UNPACKED_IN_TASK_MAX};
use super::pace::{Pace, enough_in};
use super::places::Place;
use super::rights::{Rights, of};
use super::upgrade::Channel;
use crate::driver::exchange::{FromSession, Wire};

/// Reads one volunteer's messages.
pub(super) struct Listener<'a> {
    server: &'a Server,
    number: u64,
    place: &'a Place,
    rights: &'a Mutex<Rights>,
    wire: &'a Wire,
    decoder: UpwardDecoder,
    /// The vector that is arriving.
    arrival: Option<Arrival>,
    signs: SignsOfLife,
    attention: Attention,
    cores: Cores,
}

/// A vector on its way.
struct Arrival {
    round: u64,
    pace: Pace,
    /// Its room; `None` if it is skipped.
    room: Option<Room>,
}

impl<'a> Listener<'a> {
    /// For the session of this number, whose volunteer has this place. `taken` counts the bytes that the volunteer
    /// takes.
    pub(super) fn new(
        server: &'a Server,
        number: u64,
        place: &'a Place,
        rights: &'a Mutex<Rights>,
        taken: Arc<AtomicU64>,
        wire: &'a Wire,
        tally: &Arc<Tally>,
    ) -> Listener<'a> {
        let site = &server.site;
        Listener {
            server,
            number,
            place,
            rights,
            wire,
            decoder: UpwardDecoder::new(site.welcome.run, site.parameters),
            arrival: None,
            signs: SignsOfLife::new(taken),
            attention: Attention::new(Instant::now(), Arc::clone(tally)),
            cores: Cores::default(),
        }
    }

    /// Hands the volunteer's messages to the driver until something ends the session.
    pub(super) async fn listen(&mut self, incoming: &mut SplitStream<Channel>) -> Result<Infallible, Ending> {
        loop {
            let due = self.cores.due;
            tokio::select! {
                frame = self.next_frame(incoming) => {
                    self.take(&frame?).await?;
                    self.wire.uploads(self.arrival.is_some());
                }
                () = until(due) => {
                    if let Some(cores) = self.cores.take_due() {
                        self.tell(Decoded::Cores(cores)).await?;
                    }
                }
            }
        }
    }

    async fn take(&mut self, frame: &Bytes) -> Result<(), Ending> {
        self.skip_if_over();
        match self.decoder.take(frame)? {
            Some(Upward::Announced { assignment, round, vector_bytes }) => {
                self.redeem(assignment, round)?;
                of(self.rights).budget.grant_vector(vector_bytes);
                let room = Some(self.server.arriving.announce(vector_bytes, self.place.has_helped()));
                let pace = Pace::new(self.server.site.config.deadlines.stall);
                self.arrival = Some(Arrival { round, pace, room });
                self.make_room().await
            }
            Some(Upward::Packed(result)) => {
                let room = self.arrival.take().and_then(|arrival| arrival.room);
                self.pass_on(result, room).await
            }
            Some(Upward::Message(message)) => self.message(message).await,
            None => {
                if let Some(arrival) = &mut self.arrival {
                    arrival.pace.count(frame.len());
                    if let Some(room) = &mut arrival.room {
                        room.count(frame.len());
                    }
                }
                if !self.decoder.is_mid_result() {
                    self.arrival = None;
                }
                self.make_room().await
            }
        }
    }

    async fn message(&mut self, message: Decoded) -> Result<(), Ending> {
        match &message {
            Decoded::Result { header, .. } => self.redeem(header.assignment, header.round)?,
            // It may be too late: the driver does not hear of it.
            Decoded::Unfit(unfit) if !of(self.rights).owed.redeem(unfit.assignment, unfit.round) => {
                return Ok(());
            }
            Decoded::Declined { assignment, .. } if !of(self.rights).owed.decline(*assignment) => {
                return Ok(());
            }
            Decoded::Cores(cores) => {
                return match self.cores.change(*cores) {
                    Some(cores) => self.tell(Decoded::Cores(cores)).await,
                    None => Ok(()),
                };
            }
            Decoded::Unfit(_) | Decoded::Declined { .. } => {}
        }
        self.tell(message).await
    }

    /// The volunteer answers that assignment of that round.
    fn redeem(&self, assignment: u64, round: u64) -> Result<(), Ending> {
        if of(self.rights).owed.redeem(assignment, round) {
            // From its second result on it is no stranger any more, if the first has counted.
            self.place.has_helped();
            return Ok(());
        }
        Err(misbehaved("a result that it was not asked for"))
    }

    /// Waits until there is room for the next bytes of the vector that is arriving. Has them skipped if their round is
    /// over.
    async fn make_room(&mut self) -> Result<(), Ending> {
        self.skip_if_over();
        let Some(Arrival { round, pace, room: Some(room) }) = &mut self.arrival else { return Ok(()) };
        if room.is_enough() {
            return Ok(());
        }
        let (began, round) = (Instant::now(), *round);
        let mut newest = self.server.site.driver.round.clone();
        let over = async {
            let is_over = newest.wait_for(|open| open.as_ref().is_none_or(|open| open.plan.round != round));
            // An error means that the driver has ended.
            let _ = is_over.await;
        };
        tokio::select! {
            biased;
            () = over => {}
            widened = room.widen() => widened.map_err(broken_off)?,
        }
        pace.excuse(began.elapsed());
        self.skip_if_over();
        Ok(())
    }

    /// Has the rest of a vector skipped, and frees its room, if its round is over.
    fn skip_if_over(&mut self) {
        let Some(arrival) = &mut self.arrival else { return };
        let open = self.server.site.driver.round.borrow().as_ref().map(|open| open.plan.round);
        if arrival.room.is_none() || open != Some(arrival.round) {
            arrival.room = None;
            self.decoder.skip();
        }
    }

    /// Unpacks a result once the driver has room for it, and hands it over.
    async fn pass_on(&self, result: PackedResult, packed_room: Option<Room>) -> Result<(), Ending> {
        let driver = &self.server.site.driver;
        let room = driver.room(result.unpacked_bytes()).await.map_err(|_| Ending::Released)?;
        let unpack = move || {
            let unpacked = result.unpack();
            drop(packed_room);
            // The room stays taken even if this session ends meanwhile.
            (unpacked, room)
        };
        let (unpacked, room) = if self.server.site.parameters > UNPACKED_IN_TASK_MAX {
            let turn =
                Arc::clone(&self.server.unpacking).acquire_owned().await.map_err(|_| Ending::Closing)?;
            let unpacking = spawn_blocking(move || {
                let unpacked = unpack();
                drop(turn);
                unpacked
            });
            unpacking.await.map_err(|error| match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Ending::Closing,
            })?
        } else {
            unpack()
        };
        let message = FromSession::Said(unpacked?);
        driver.tell_in(room, self.number, message).await.map_err(|_| Ending::Released)
    }

    async fn tell(&self, message: Decoded) -> Result<(), Ending> {
        let driver = &self.server.site.driver;
        driver.tell(self.number, FromSession::Said(message)).await.map_err(|_| Ending::Released)
    }

    /// The volunteer's next frame. May be canceled. The volunteer may be silent as long as it takes data.
    async fn next_frame(&mut self, incoming: &mut SplitStream<Channel>) -> Result<Bytes, Ending> {
        let silence = self.server.site.config.deadlines.silence;
        loop {
            let silent_at = self.signs.last + silence;
            let judged_at = self.arrival.as_ref().map_or(silent_at, |arrival| arrival.pace.until());
            let next = tokio::select! {
                biased;
                () = until_broken_off(self.arrival.as_ref()) => return Err(broken_off(BrokenOff)),
                next = timeout_at(silent_at.min(judged_at), self.attention.next(incoming)) => next,
            };
            let Ok(message) = next else {
                if judged_at <= silent_at
                    && self.arrival.as_mut().is_some_and(|arrival| arrival.pace.judge().is_err())
                {
                    return Err(Ending::Unresponsive("its result arrives at less than 8 KB a second"));
                }
                if Instant::now() >= silent_at && !self.signs.takes_data(silence) {
                    return Err(Ending::Unresponsive("it has been silent for too long"));
                }
                continue;
            };
            self.signs.heard();
            let bytes = message.as_ref().and_then(|message| message.as_ref().ok()).map_or(0, Message::len);
            self.wire.heard(bytes);
            let spent = of(self.rights).budget.spend(bytes, Instant::now());
            match spent {
                Some(Spent::OnAnswers) => self.attention.answered(),
                Some(Spent::OnTalk) => {}
                None => return Err(misbehaved("more than it was asked for")),
            }
            if let Some(frame) = frame_of(message)? {
                return Ok(frame);
            }
        }
    }
}

/// When there was last a sign of the volunteer's life.
struct SignsOfLife {
    last: Instant,
    /// Bytes that the volunteer has taken so far.
    taken: Arc<AtomicU64>,
    taken_then: u64,
}

impl SignsOfLife {
    fn new(taken: Arc<AtomicU64>) -> SignsOfLife {
        SignsOfLife { last: Instant::now(), taken_then: taken.load(Ordering::Relaxed), taken }
    }

    fn heard(&mut self) {
        self.last = Instant::now();
        self.taken_then = self.taken.load(Ordering::Relaxed);
    }

    /// Whether the volunteer has taken data for so long at the least rate. That is a sign of life: its own
    /// messages may wait behind ours. A few messages are none, for they may lie in buffers on the way.
    fn takes_data(&mut self, silence: Duration) -> bool {
        let before = self.taken_then;
        self.heard();
        enough_in(self.taken_then - before, silence)
    }
}

/// A volunteer's changes of its cores, of which the driver hears one a [`CORES_PERIOD`] or more seldom.
struct Cores {
    told: Option<u16>,
    latest: Option<u16>,
    /// When the driver may hear of the next change.
    due: Option<Instant>,
    period: Duration,
}

impl Default for Cores {
    fn default() -> Cores {
        Cores { told: None, latest: None, due: None, period: CORES_PERIOD }
    }
}

impl Cores {
    /// Takes a change. Returns the number if the driver is to hear of it at once.
    fn change(&mut self, cores: u16) -> Option<u16> {
        self.latest = Some(cores);
        if self.due.is_none() { self.take_due() } else { None }
    }

    /// The newest number, now that the driver may hear of it, if it is another than before.
    fn take_due(&mut self) -> Option<u16> {
        let Some(latest) = self.latest.take() else {
            (self.due, self.period) = (None, CORES_PERIOD);
            return None;
        };
        self.due = Some(Instant::now() + self.period);
        self.period = (2 * self.period).min(CORES_PERIOD_MAX);
        (self.told.replace(latest) != Some(latest)).then_some(latest)
    }
}

/// Waits until a vector is broken off.
async fn until_broken_off(arrival: Option<&Arrival>) {
    match arrival.and_then(|arrival| arrival.room.as_ref()) {
        Some(room) => room.broken_off().await,
        None => pending().await,
    }
}

fn broken_off(_: BrokenOff) -> Ending {
    Ending::Unresponsive("its result takes room that others wait for, and arrives too slowly")
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

/// The frame of the protocol in a message from the channel; `None` for pings and pongs.
pub(super) fn frame_of(read: Option<Result<Message, SocketError>>) -> Result<Option<Bytes>, Ending> {
    match read {
        Some(Ok(Message::Binary(frame))) => Ok(Some(frame)),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Ok(Message::Text(_))) => Err(misbehaved("text instead of a binary frame")),
        None | Some(Ok(Message::Close(_))) => Err(Ending::Gone),
        Some(Err(SocketError::Capacity(CapacityError::MessageTooLong { .. }))) => {
            Err(misbehaved(format!("a message of more than {UPWARD_MESSAGE_BYTES_MAX} bytes")))
        }
        Some(Err(SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Err(Ending::Gone),
        Some(Err(error @ (SocketError::Protocol(_) | SocketError::Utf8(_) | SocketError::Capacity(_)))) => {
            Err(misbehaved(format!("a frame that breaks the WebSocket protocol ({error})")))
        }
        Some(Err(SocketError::Io(error))) if error.kind() == ErrorKind::QuotaExceeded => {
            Err(misbehaved("a message in too many pieces"))
        }
        Some(Err(_)) => Err(Ending::Gone),
    }
}

fn misbehaved(offense: impl Into<String>) -> Ending {
    Ending::Misbehaved(offense.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes at these times in milliseconds, and what the driver hears of until a minute is over.
    async fn heard(changes: impl IntoIterator<Item = (u64, u16)>) -> Vec<(u64, u16)> {
        let (began, mut cores, mut heard) = (Instant::now(), Cores::default(), Vec::new());
        let end = Duration::from_secs(60);
        let mut changes =
            changes.into_iter().map(|(at_ms, cores)| (began + Duration::from_millis(at_ms), cores));
        let mut next = changes.next();
        while began.elapsed() < end {
            let told = tokio::select! {
                biased;
                () = until(next.map(|(at, _)| at)) => {
                    let told = next.and_then(|(_, number)| cores.change(number));
                    next = changes.next();
                    told
                }
                () = until(cores.due) => cores.take_due(),
                () = sleep_until(began + end) => None,
            };
            heard.extend(told.map(|cores| (began.elapsed().as_millis() as u64, cores)));
        }
        heard
    }

    #[tokio::test(start_paused = true)]
    async fn of_changes_of_cores_the_driver_hears_the_first_at_once_and_the_last_soon() {
        assert_eq!(heard([(0, 4), (100, 3), (200, 2), (300, 1)]).await, [(0, 4), (1000, 1)]);
        assert_eq!(heard([(0, 4), (100, 3), (200, 4)]).await, [(0, 4)], "it is as before");
        assert_eq!(heard([(0, 4), (9000, 0), (20_000, 4)]).await, [(0, 4), (9000, 0), (20_000, 4)]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_changes_its_cores_all_the_time_is_heard_seldom() {
        let heard = heard((0..2000).map(|number| (30 * number, (number % 251) as u16))).await;
        assert!((15..=17).contains(&heard.len()), "{heard:?}");
    }
}
