//! A volunteer's session: from the first message on its channel to the last.
//!
//! Two loops run side by side in one task. One reads the volunteer's messages and hands them to the driver
//! (`listening`). When the driver is busy, this loop waits, and so the volunteer waits. The other loop sends the
//! driver's messages to the volunteer (`speaking`). The first loop to end says why, and the session ends.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use protocol::limits::{TEXT_BYTES_MAX, WAIT_SECONDS_MAX};
use protocol::message::{Farewell, FromCoordinator, Hello, Refusal, TOKEN_BYTES, Welcome};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::ending::Ending;
use super::gate::quote;
use super::greeting::{self, Objection, Terms, misbehaved, sent_away};
use super::intake::Tally;
use super::limits::{FAREWELL_MAX, GREETING_MESSAGES_MAX, LINGER_MAX};
use super::listening::{Listener, frame_of};
use super::mail::Mail;
use super::outgoing::Outgoing;
use super::places::Place;
use super::rights::Rights;
use super::speaking::{say, speak};
use super::upgrade::Channel;
use super::{Deadlines, Server};
use crate::driver::crowd::Line;
use crate::driver::doors::{Wait, network_of};
use crate::driver::exchange::{DriverHandle, FromSession, Joined, OUTBOX_MAX, SharedCredit, Wire};
use engine::Identity;
use engine::decoder::read_ready;

/// Runs a session on a new channel.
pub(super) async fn run(server: &Server, channel: Channel, address: IpAddr) {
    let number = server.site.next_session.fetch_add(1, Ordering::Relaxed);
    let tally = channel.get_ref().tally();
    let (sink, mut incoming) = channel.split();
    let mut outgoing = Outgoing::new(sink, &server.site.config.deadlines);
    let wire = Arc::new(Wire::new(outgoing.taken()));
    let ending = tokio::select! {
        // In this order, so that the driver's last message takes precedence over the server's end.
        biased;
        ended = converse(server, number, address, &wire, &tally, &mut outgoing, &mut incoming) => {
            let Err(ending) = ended;
            ending
        }
        () = server.closing() => Ending::Closing,
    };
    if server.site.driver.lines.admits(Line::Left, Instant::now().into_std()) {
        tracing::info!(session = number, %address, "session over: {ending}");
    }
    wire.ends(ending.to_string());
    // A lost channel cannot carry a last message, and there is nobody to tell.
    let _ = timeout(FAREWELL_MAX, Box::pin(take_leave(&mut outgoing, ending))).await;
    if let Ok(channel) = outgoing.into_sink().reunite(incoming) {
        let _ = timeout(LINGER_MAX, Box::pin(hang_up(channel))).await;
    }
}

/// The session itself: hello, welcome, ready, then work until something ends it.
async fn converse(
    server: &Server,
    number: u64,
    address: IpAddr,
    wire: &Arc<Wire>,
    tally: &Arc<Tally>,
    outgoing: &mut Outgoing,
    incoming: &mut SplitStream<Channel>,
) -> Result<Infallible, Ending> {
    let site = &server.site;
    // In a box, so that its memory is freed before the hours of work begin.
    let greeted = Box::pin(greet(server, number, address, outgoing, incoming)).await?;
    let Greeted { hello, identity, training_shards, place } = greeted;

    let Hello { cores, fused_capable, agent, .. } = hello;
    if site.driver.lines.admits(Line::Joined, Instant::now().into_std()) {
        tracing::info!(session = number, %address, cores, agent = quote(&agent), "volunteer joined");
    }
    let (outbox, messages) = mpsc::channel(OUTBOX_MAX);
    let credit = SharedCredit::default();
    let joined = Joined {
        outbox,
        cores,
        local: false,
        identity,
        agent,
        fused_capable,
        training_shards,
        credit: credit.clone(),
        wire: Arc::clone(wire),
    };
    let mut presence = Presence::announce(&site.driver, number, joined).await?;
    let rights = Mutex::new(Rights::new(Instant::now()));
    let mut listener = Listener::new(server, number, &place, &rights, outgoing.taken(), wire, tally);
    let mut mail = Mail::new(messages, site.driver.round.clone());
    tokio::select! {
        // In this order, so that the driver's last message goes out even if the volunteer has just failed.
        biased;
        ended = speak(server, outgoing, &mut mail, &rights, &credit) => ended,
        () = place.is_given_away() => Err(given_away().into()),
        ended = listener.listen(incoming) => {
            if let Err(Ending::Misbehaved(offense)) = &ended {
                presence.offense = Some(offense.clone());
            }
            ended
        }
    }
}

/// A volunteer that may join.
struct Greeted {
    hello: Hello,
    identity: Identity,
    training_shards: Vec<u32>,
    place: Place,
}

/// Hello, welcome, ready.
async fn greet(
    server: &Server,
    number: u64,
    address: IpAddr,
    outgoing: &mut Outgoing,
    incoming: &mut SplitStream<Channel>,
) -> Result<Greeted, Ending> {
    let site = &server.site;
    let deadlines = &site.config.deadlines;
    let terms = Terms { arithmetic: site.welcome.arithmetic, known_answer: site.known_answer };
    let hello = greeting::judge(&next_greeting(incoming, deadlines).await?, &terms)?;
    let identity = Identity { token: token_of(&hello)?, address: network_of(address) };
    if site.config.office.as_ref().is_some_and(|office| office.bans.contains(identity.address)) {
        return Err(banned().into());
    }
    let now = Instant::now();
    let held = match site.driver.doors.judge(now.into_std(), identity) {
        Err(wait) => Some(wait),
        Ok(()) if site.driver.doors.knows(identity.token) => None,
        Ok(()) => server.gate.count_join(address, now).err().map(|too_much| Wait {
            seconds: u32::try_from(too_much.seconds).unwrap_or(WAIT_SECONDS_MAX).min(WAIT_SECONDS_MAX),
            text: too_much.to_string(),
        }),
    };
    if let Some(Wait { seconds, text }) = held {
        if site.driver.lines.admits(Line::Held, now.into_std()) {
            tracing::info!(session = number, %address, seconds, "a volunteer has to wait");
        }
        return Err(Ending::Refused((Refusal::Wait { seconds }, text)));
    }
    let place = place_for_volunteer(server, identity)?;
    let welcome = Welcome { session: number, ..site.welcome.clone() };
    say(outgoing, FromCoordinator::Welcome(Box::new(welcome))).await?;
    let ready = tokio::select! {
        biased;
        () = place.is_given_away() => return Err(given_away().into()),
        ready = next_greeting(incoming, deadlines) => ready?,
    };
    let training_shards = read_ready(&ready, site.welcome.sets.training.shards.len()).map_err(misbehaved)?;
    Ok(Greeted { hello, identity, training_shards, place })
}

/// The token that a volunteer gave; one for this session alone if it has none.
fn token_of(hello: &Hello) -> Result<u128, Ending> {
    let mut token = hello.token;
    if token == [0; TOKEN_BYTES] {
        // Without random numbers there is nothing that tells strangers apart.
        getrandom::fill(&mut token).map_err(|_| Ending::Released)?;
    }
    Ok(u128::from_le_bytes(token))
}

/// The driver's knowledge of the session. However the session ends, even by a failure or by being cut off,
/// the driver learns once that the volunteer has left, after all of its messages.
struct Presence {
    number: u64,
    driver: DriverHandle,
    /// What it sent that no honest volunteer sends.
    offense: Option<String>,
}

impl Presence {
    async fn announce(driver: &DriverHandle, number: u64, joined: Joined) -> Result<Presence, Ending> {
        driver.tell(number, FromSession::Joined(joined)).await.map_err(|_| Ending::Released)?;
        Ok(Presence { number, driver: driver.clone(), offense: None })
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let (number, driver, offense) = (self.number, self.driver.clone(), self.offense.take());
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                // An error means that the driver has ended.
                if let Some(offense) = offense {
                    let _ = driver.tell(number, FromSession::Misbehaved { offense }).await;
                }
                let _ = driver.tell(number, FromSession::Left).await;
            });
        }
    }
}

/// The objection to somebody at an address that the operator has banned.
fn banned() -> Objection {
    let text = "Whoever runs this training has banned this address.".to_owned();
    (Refusal::Wait { seconds: WAIT_SECONDS_MAX }, text)
}

/// A place among the volunteers.
fn place_for_volunteer(server: &Server, identity: Identity) -> Result<Place, Objection> {
    server.places.take(identity).map_err(|text| (Refusal::Full, text))
}

/// The objection to a stranger whose place is needed.
fn given_away() -> Objection {
    let text = "All places for volunteers are taken, and those who have helped go first; try again later.";
    (Refusal::Full, text.to_owned())
}

/// A newcomer's next frame, within the deadline for newcomers.
async fn next_greeting(incoming: &mut SplitStream<Channel>, deadlines: &Deadlines) -> Result<Bytes, Ending> {
    let wait = async {
        for _ in 0..GREETING_MESSAGES_MAX {
            if let Some(frame) = frame_of(incoming.next().await)? {
                return Ok(frame);
            }
        }
        Err(Ending::Misbehaved("more than it was asked for".into()))
    };
    timeout(deadlines.handshake, wait)
        .await
        .map_err(|_| Ending::Unresponsive("it did not introduce itself"))?
}

/// Sends the last message on a channel.
async fn take_leave(outgoing: &mut Outgoing, ending: Ending) -> Result<(), Ending> {
    let (words, code) = match ending {
        Ending::Gone | Ending::Unresponsive(_) => (None, CloseCode::Normal),
        Ending::Refused((reason, text)) => {
            (Some(FromCoordinator::Refused { reason, text: brief(text) }), CloseCode::Policy)
        }
        Ending::Misbehaved(offense) => {
            let (reason, text) = sent_away(offense);
            (Some(FromCoordinator::Refused { reason, text: brief(text) }), CloseCode::Policy)
        }
        Ending::Finished(farewell) => {
            let farewell = Farewell { text: brief(farewell.text), ..farewell };
            (Some(FromCoordinator::Finished(farewell)), CloseCode::Normal)
        }
        Ending::Released | Ending::Closing => (None, CloseCode::Away),
    };
    outgoing.cut_short();
    if let Some(words) = words {
        say(outgoing, words).await?;
    }
    Ok(outgoing.close(code).await?)
}

/// Ends the connection so that the last message arrives: incoming bytes are read and dropped.
async fn hang_up(channel: Channel) -> std::io::Result<()> {
    let mut connection = channel.into_inner().into_inner();
    connection.shutdown().await?;
    tokio::io::copy(&mut connection, &mut tokio::io::sink()).await?;
    Ok(())
}

/// The beginning of a text, as long as a message may carry.
fn brief(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}
