//! A volunteer's session: from the first message on its channel to the last.
//!
//! Two loops run side by side in one task. One reads the volunteer's messages and hands them to the driver.
//! When the driver is busy, this loop waits, and so the volunteer waits. The other loop sends the driver's
//! messages to the volunteer. The first loop to end says why, and the session ends.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use protocol::limits::{TEXT_BYTES_MAX, UPWARD_MESSAGE_BYTES_MAX};
use protocol::message::{FromCoordinator, Hello, Refusal, Welcome};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as SocketError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::budget::Budget;
use super::ending::Ending;
use super::gate::quote;
use super::greeting::{self, Objection, Terms, misbehaved, sent_away};
use super::limits::{FAREWELL_MAX, LINGER_MAX, ROUND_SENDING_MAX, UNPACKED_IN_TASK_MAX};
use super::mail::{Mail, Next};
use super::outgoing::Outgoing;
use super::upgrade::Channel;
use super::{Deadlines, Server};
use crate::driver::exchange::{DriverHandle, FromSession, Joined, OUTBOX_MAX, OpenRound};
use engine::decoder::{PackedResult, Upward, UpwardDecoder, read_ready};

/// Runs a session on a new channel.
pub(super) async fn run(server: &Server, channel: Channel, address: IpAddr) {
    let number = server.site.next_session.fetch_add(1, Ordering::Relaxed);
    let (sink, mut incoming) = channel.split();
    let mut outgoing = Outgoing::new(sink, &server.site.config.deadlines);
    let ending = tokio::select! {
        // In this order, so that the driver's last message takes precedence over the server's end.
        biased;
        ended = converse(server, number, address, &mut outgoing, &mut incoming) => {
            let Err(ending) = ended;
            ending
        }
        () = server.closing() => Ending::Closing,
    };
    tracing::info!(session = number, %address, "session over: {ending}");
    // A lost channel cannot carry a last message, and there is nobody to tell.
    let _ = timeout(FAREWELL_MAX, take_leave(&mut outgoing, ending)).await;
    if let Ok(channel) = outgoing.into_sink().reunite(incoming) {
        let _ = timeout(LINGER_MAX, hang_up(channel)).await;
    }
}

/// The session itself: hello, welcome, ready, then work until something ends it.
async fn converse(
    server: &Server,
    number: u64,
    address: IpAddr,
    outgoing: &mut Outgoing,
    incoming: &mut SplitStream<Channel>,
) -> Result<Infallible, Ending> {
    let site = &server.site;
    let deadlines = &site.config.deadlines;
    let terms = Terms { arithmetic: site.welcome.arithmetic, known_answer: site.known_answer };
    let hello = greeting::judge(&next_greeting(incoming, deadlines).await?, &terms)?;
    let _place = place_for_volunteer(server)?;
    let welcome = Welcome { session: number, ..site.welcome.clone() };
    say(outgoing, FromCoordinator::Welcome(Box::new(welcome))).await?;
    let ready = next_greeting(incoming, deadlines).await?;
    let training_shards = read_ready(&ready, site.welcome.sets.training.shards.len()).map_err(misbehaved)?;

    let Hello { cores, fused_capable, agent, .. } = hello;
    tracing::info!(session = number, %address, cores, agent = quote(&agent), "volunteer joined");
    let (outbox, messages) = mpsc::channel(OUTBOX_MAX);
    let joined = Joined { outbox, cores, local: false, fused_capable, training_shards };
    let _presence = Presence::announce(&site.driver, number, joined).await?;
    let budget = Mutex::new(Budget::new(site.parameters, Instant::now()));
    let taken = outgoing.taken();
    let mut mail = Mail::new(messages, site.driver.round.clone());
    tokio::select! {
        // In this order, so that the driver's last message goes out even if the volunteer has just failed.
        biased;
        ended = speak(outgoing, &mut mail, &budget) => ended,
        ended = listen(server, number, incoming, &budget, &taken) => ended,
    }
}

/// The driver's knowledge of the session. However the session ends, even by a failure or by being cut off,
/// the driver learns once that the volunteer has left, after all of its messages.
struct Presence {
    number: u64,
    driver: DriverHandle,
}

impl Presence {
    async fn announce(driver: &DriverHandle, number: u64, joined: Joined) -> Result<Presence, Ending> {
        driver.tell(number, FromSession::Joined(joined)).await.map_err(|_| Ending::Released)?;
        Ok(Presence { number, driver: driver.clone() })
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let (number, driver) = (self.number, self.driver.clone());
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                // An error means that the driver has ended.
                let _ = driver.tell(number, FromSession::Left).await;
            });
        }
    }
}

/// A place among the volunteers.
fn place_for_volunteer(server: &Server) -> Result<OwnedSemaphorePermit, Objection> {
    Arc::clone(&server.volunteers).try_acquire_owned().map_err(|_| {
        let most = server.site.config.volunteers_max;
        (Refusal::Full, format!("All {most} places for volunteers are taken; try again later."))
    })
}

/// Hands the volunteer's messages to the driver.
async fn listen(
    server: &Server,
    number: u64,
    incoming: &mut SplitStream<Channel>,
    budget: &Mutex<Budget>,
    taken: &AtomicU64,
) -> Result<Infallible, Ending> {
    let site = &server.site;
    let mut decoder = UpwardDecoder::new(site.welcome.run, site.parameters);
    loop {
        let frame = next_frame(incoming, site.config.deadlines.silence, budget, taken).await?;
        match decoder.take(&frame).map_err(misbehaved)? {
            Some(Upward::Message(message)) => {
                site.driver.tell(number, FromSession::Said(message)).await.map_err(|_| Ending::Released)?;
            }
            Some(Upward::Packed(result)) => pass_on(&site.driver, number, result).await?,
            None => {}
        }
    }
}

/// Unpacks a result once there is room for it, and hands it to the driver.
async fn pass_on(driver: &DriverHandle, number: u64, result: PackedResult) -> Result<(), Ending> {
    let room = driver.room(result.unpacked_bytes()).await.map_err(|_| Ending::Released)?;
    let (unpacked, room) = if result.parameters() > UNPACKED_IN_TASK_MAX {
        // The closure keeps the room, because it goes on even if this session ends meanwhile.
        let unpacking = spawn_blocking(move || (result.unpack(), room)).await;
        unpacking.map_err(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Ending::Closing,
        })?
    } else {
        (result.unpack(), room)
    };
    let message = FromSession::Said(unpacked.map_err(misbehaved)?);
    driver.tell_in(room, number, message).await.map_err(|_| Ending::Released)
}

/// Sends each round and the driver's messages to the volunteer.
async fn speak(
    outgoing: &mut Outgoing,
    mail: &mut Mail,
    budget: &Mutex<Budget>,
) -> Result<Infallible, Ending> {
    loop {
        tokio::select! {
            biased;
            next = mail.next() => match next {
                Next::Round(round) => send_round(outgoing, mail, &round).await?,
                Next::Assign(assignment) => {
                    budget.lock().unwrap_or_else(PoisonError::into_inner).grant();
                    say(outgoing, FromCoordinator::Assign(assignment)).await?;
                }
                Next::End(ending) => return Err(ending),
            },
            () = outgoing.quiet() => outgoing.beat().await?,
        }
    }
}

async fn send_round(outgoing: &mut Outgoing, mail: &mut Mail, round: &OpenRound) -> Result<(), Ending> {
    tokio::select! {
        biased;
        ending = mail.released() => Err(ending),
        sent = timeout(ROUND_SENDING_MAX, outgoing.send(round.frame.clone())) => {
            Ok(sent.map_err(|_| Ending::Unresponsive("a round took too long to reach it"))??)
        }
    }
}

async fn say(outgoing: &mut Outgoing, message: FromCoordinator) -> Result<(), Ending> {
    Ok(outgoing.send(Bytes::from(message.encode())).await?)
}

/// A newcomer's next frame, within the deadline for newcomers.
async fn next_greeting(incoming: &mut SplitStream<Channel>, deadlines: &Deadlines) -> Result<Bytes, Ending> {
    let wait = async {
        loop {
            if let Some(frame) = frame_of(incoming.next().await)? {
                return Ok(frame);
            }
        }
    };
    timeout(deadlines.handshake, wait)
        .await
        .map_err(|_| Ending::Unresponsive("it did not introduce itself"))?
}

/// The volunteer's next frame. The volunteer may be silent as long as it still accepts data.
async fn next_frame(
    incoming: &mut SplitStream<Channel>,
    silence: Duration,
    budget: &Mutex<Budget>,
    taken: &AtomicU64,
) -> Result<Bytes, Ending> {
    let mut taken_before = taken.load(Ordering::Relaxed);
    loop {
        let Ok(message) = timeout(silence, incoming.next()).await else {
            let taken_now = taken.load(Ordering::Relaxed);
            if taken_now == taken_before {
                return Err(Ending::Unresponsive("it has been silent for too long"));
            }
            taken_before = taken_now;
            continue;
        };
        let bytes = message.as_ref().and_then(|message| message.as_ref().ok()).map_or(0, Message::len);
        if !budget.lock().unwrap_or_else(PoisonError::into_inner).spend(bytes, Instant::now()) {
            return Err(sent_away("it sent more than it was asked for.").into());
        }
        if let Some(frame) = frame_of(message)? {
            return Ok(frame);
        }
    }
}

/// The frame of the protocol in a message from the channel; `None` for pings and pongs.
fn frame_of(read: Option<Result<Message, SocketError>>) -> Result<Option<Bytes>, Ending> {
    match read {
        Some(Ok(Message::Binary(frame))) => Ok(Some(frame)),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Ok(Message::Text(_))) => Err(sent_away("it sent text instead of a binary frame.").into()),
        None | Some(Ok(Message::Close(_))) => Err(Ending::Gone),
        Some(Err(SocketError::Capacity(CapacityError::MessageTooLong { .. }))) => {
            let because = format!("it sent a message of more than {UPWARD_MESSAGE_BYTES_MAX} bytes.");
            Err(sent_away(because).into())
        }
        Some(Err(SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Err(Ending::Gone),
        Some(Err(error @ (SocketError::Protocol(_) | SocketError::Utf8(_) | SocketError::Capacity(_)))) => {
            Err(sent_away(format!("it broke the rules of WebSockets ({error}).")).into())
        }
        Some(Err(_)) => Err(Ending::Gone),
    }
}

/// Sends the last message on a channel.
async fn take_leave(outgoing: &mut Outgoing, ending: Ending) -> Result<(), Ending> {
    let (words, code) = match ending {
        Ending::Gone | Ending::Unresponsive(_) => (None, CloseCode::Normal),
        Ending::Refused((reason, text)) => {
            (Some(FromCoordinator::Refused { reason, text: brief(text) }), CloseCode::Policy)
        }
        Ending::Finished(text) => (Some(FromCoordinator::Finished { text: brief(text) }), CloseCode::Normal),
        Ending::Released | Ending::Closing => (None, CloseCode::Away),
    };
    if let Some(words) = words {
        say(outgoing, words).await?;
    }
    Ok(outgoing.close(code).await?)
}

/// Ends the connection so that the last message arrives: incoming bytes are read and dropped.
async fn hang_up(channel: Channel) -> std::io::Result<()> {
    let mut connection = channel.into_inner();
    connection.shutdown().await?;
    tokio::io::copy(&mut connection, &mut tokio::io::sink()).await?;
    Ok(())
}

/// The beginning of a text, as long as a message may carry.
fn brief(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}
