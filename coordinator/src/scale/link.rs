//! The bus between a coordinator that leads, its gateways and its standbys: messages of at most 64 KB over NATS.
//!
//! A message may be lost, and nobody waits for one. What must arrive is said again by the state machines of the crate
//! [`gateway`]. Credentials come from the environment, never from the URL: a URL stands in process lists and logs.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::gateway::MESSAGE_BYTES_MAX;
use async_nats::{Client, ConnectOptions, Event, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::bus::{LinkError, Subject};
use super::waiting::stopped;
use crate::config::LinkUrl;

/// How often it is said that no server answers.
const SAY_EVERY: Duration = Duration::from_secs(15);
/// A connection that does not answer twice in a row is opened again.
const PING_EVERY: Duration = Duration::from_secs(2);
/// The longest pause between two tries to connect.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Messages of one subject that may wait to be read. More are dropped, as if they were lost.
const INCOMING_MAX: usize = 4096;
/// Messages that may wait to be sent. More are dropped.
const OUTGOING_MAX: usize = 1024;

/// Environment variables with credentials.
const USER: &str = "NATS_USER";
const PASSWORD: &str = "NATS_PASSWORD";
const TOKEN: &str = "NATS_TOKEN";
/// The path of a file with a seed.
const NKEY: &str = "NATS_NKEY";
/// The path of a file with certificates that are trusted besides those of the system.
const CA: &str = "NATS_CA";

/// A connection to the bus. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Link {
    client: Client,
    outgoing: mpsc::Sender<Letter>,
}

#[derive(Debug)]
struct Letter {
    to: Subject,
    reply: Option<Subject>,
    bytes: Bytes,
}

/// Reads the messages on a subject until it is dropped.
#[derive(Debug)]
pub struct Hearing(JoinHandle<()>);

impl Drop for Hearing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Link {
    /// Connects to the bus, however long that takes; `name` shows on the server. `None` if `stop` turned true meanwhile.
    ///
    /// # Errors
    /// When a server refuses, or the credentials cannot be used.
    pub async fn connect(
        url: &LinkUrl,
        name: &str,
        stop: &watch::Receiver<bool>,
    ) -> Result<Option<Link>, LinkError> {
        let failed = |problem: String| LinkError::Connect { url: url.to_string(), problem };
        let addresses: Vec<String> = url.addresses().map(str::to_owned).collect();
        let connecting = async {
            let mut said: Option<Instant> = None;
            loop {
                match options(name)?.connect(&addresses[..]).await {
                    Ok(client) => return Ok(client),
                    Err(error) if is_final(&error) => return Err(failed(error.to_string())),
                    Err(error) => {
                        if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                            said = Some(Instant::now());
                            tracing::warn!("{}; trying until it answers", failed(error.to_string()));
                        }
                        sleep(RECONNECT_PAUSE_MAX).await;
                    }
                }
            }
        };
        let mut stop = stop.clone();
        let client = tokio::select! {
            client = connecting => client?,
            () = stopped(&mut stop) => return Ok(None),
        };
        let (outgoing, mut letters) = mpsc::channel::<Letter>(OUTGOING_MAX);
        let sender = client.clone();
        tokio::spawn(async move {
            while let Some(Letter { to, reply, bytes }) = letters.recv().await {
                // A message that is lost is said again.
                let _ = match reply {
                    Some(reply) => sender.publish_with_reply(to.0, reply.0, bytes).await,
                    None => sender.publish(to.0, bytes).await,
                };
            }
            let _ = sender.flush().await;
        });
        Ok(Some(Link { client, outgoing }))
    }

    /// Says something to whoever hears `to`; answers go to `reply`. The message is dropped if too many wait.
    pub fn say(&self, to: &Subject, reply: Option<&Subject>, bytes: Vec<u8>) {
        if bytes.len() > MESSAGE_BYTES_MAX {
            tracing::debug!(%to, bytes = bytes.len(), "a message is too long for the bus");
            return;
        }
        let letter = Letter { to: to.clone(), reply: reply.cloned(), bytes: bytes.into() };
        if self.outgoing.try_send(letter).is_err() {
            tracing::debug!(%to, "a message is dropped: too many wait to be sent");
        }
    }

    /// A subject that nobody else has.
    pub fn own_subject(&self) -> Subject {
        Subject::new(self.client.new_inbox())
    }

    /// Has `take` called with every message on a subject and the subject for answers. It must not block.
    ///
    /// # Errors
    /// When the connection is closed for good.
    pub async fn hear(
        &self,
        subject: &Subject,
        mut take: impl FnMut(Bytes, Option<Subject>) + Send + 'static,
    ) -> Result<Hearing, LinkError> {
        let failed = |problem: String| LinkError::Hear { subject: subject.clone(), problem };
        let mut messages: Subscriber =
            self.client.subscribe(subject.0.clone()).await.map_err(|error| failed(error.to_string()))?;
        let task = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                if message.payload.len() <= MESSAGE_BYTES_MAX {
                    take(message.payload, message.reply.map(|reply| Subject::new(reply.into_string())));
                }
            }
        });
        Ok(Hearing(task))
    }

    /// Waits until all that was said before is with the server, or for a second.
    pub async fn settle(&self) {
        const SETTLE_MAX: Duration = Duration::from_secs(1);
        let settled = async {
            while self.outgoing.capacity() < OUTGOING_MAX {
                tokio::task::yield_now().await;
            }
            let _ = self.client.flush().await;
        };
        let _ = timeout(SETTLE_MAX, settled).await;
    }
}

/// Whether trying again is of no use.
fn is_final(error: &async_nats::ConnectError) -> bool {
    use async_nats::ConnectErrorKind::{Authentication, AuthorizationViolation, ServerParse, Tls};
    let text = error.to_string();
    matches!(error.kind(), Authentication | AuthorizationViolation | ServerParse | Tls)
        // The client says so of a certificate in words alone.
        || text.contains("certificate")
        || text.contains("authorization violation")
}

fn options(name: &str) -> Result<ConnectOptions, LinkError> {
    let is_lost = Arc::new(AtomicBool::new(false));
    let mut options = ConnectOptions::new()
        .name(name)
        .ping_interval(PING_EVERY)
        .subscription_capacity(INCOMING_MAX)
        .client_capacity(OUTGOING_MAX)
        .reconnect_delay_callback(|tries| {
            RECONNECT_PAUSE_MAX
                .min(Duration::from_millis(50 * u64::try_from(tries).unwrap_or(u64::MAX).min(1000)))
        })
        .event_callback(move |event| {
            let is_lost = Arc::clone(&is_lost);
            async move {
                match event {
                    Event::Connected if is_lost.swap(false, Ordering::Relaxed) => {
                        // As loud as the loss was.
                        tracing::warn!("connected to NATS again");
                    }
                    Event::Connected => tracing::info!("connected to NATS"),
                    Event::Disconnected => {
                        is_lost.store(true, Ordering::Relaxed);
                        tracing::warn!("the connection to NATS is lost; reconnecting");
                    }
                    Event::ServerError(error) => tracing::warn!("NATS: {error}"),
                    event => tracing::debug!("NATS: {event}"),
                }
            }
        });
    let value = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(user) = value(USER) {
        let without = || LinkError::Credentials(format!("{USER} is set and {PASSWORD} is not"));
        options = options.user_and_password(user, value(PASSWORD).ok_or_else(without)?);
    } else if let Some(token) = value(TOKEN) {
        options = options.token(token);
    } else if let Some(path) = value(NKEY) {
        let unreadable = |error| LinkError::Credentials(format!("{NKEY} names {path}: {error}"));
        let seed = std::fs::read_to_string(&path).map_err(unreadable)?;
        let seed = seed.trim();
        // The client would try to connect with it again and again.
        let is_no_seed =
            |_| LinkError::Credentials(format!("{NKEY} names {path}, which is not the seed of an nkey"));
        nkeys::KeyPair::from_seed(seed).map_err(is_no_seed)?;
        options = options.nkey(seed.to_owned());
    }
    if let Some(path) = value(CA) {
        options = options.add_root_certificates(PathBuf::from(path));
    }
    Ok(options)
}
