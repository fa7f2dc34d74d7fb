//! One WebSocket connection to the coordinator, in a task of its own.
//!
//! Reading and writing go on side by side, so that the two ends cannot wait for each other forever with both
//! pipes full.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use hyper::header::COOKIE;
use protocol::limits::{DOWNWARD_MESSAGE_BYTES_MAX, FRAGMENT_BYTES, PARAMETERS_MAX};
use protocol::pack::packed_bytes_max;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use worker::ASSIGNMENTS_MAX;

use super::http;
use super::wire::{CONNECTING_MAX, Wire};
use crate::server::cookie_of;

/// Frames that may wait for the hub.
const FRAMES_MAX: usize = 4;
/// Frames that may wait for the coordinator: enough for the largest possible results of all assignments that
/// a hub holds. One more frame ends the connection.
const OUTGOING_MAX: usize = ASSIGNMENTS_MAX * (1 + packed_bytes_max(PARAMETERS_MAX).div_ceil(FRAGMENT_BYTES));
/// Time in which the coordinator must accept one message.
const STALL_MAX: Duration = Duration::from_secs(60);
/// Time for the last messages.
const FAREWELL_MAX: Duration = Duration::from_secs(3);

/// An event on a connection.
#[derive(Debug)]
pub(super) enum Event {
    /// It is open. The first event, unless it failed.
    Opened,
    /// A message arrived.
    Frame(Bytes),
    /// It failed or ended, for this reason if there was one. The last event.
    Closed(Option<String>),
}

/// A connection. Dropping it sends the waiting messages and then closes it.
#[derive(Debug)]
pub(super) struct Connection {
    outgoing: mpsc::Sender<Bytes>,
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
}

impl Connection {
    /// Opens the channel of a coordinator.
    pub(super) fn open(wire: Wire) -> Connection {
        let (outgoing, to_send) = mpsc::channel(OUTGOING_MAX);
        let (report, events) = mpsc::channel(FRAMES_MAX);
        let task = tokio::spawn(async move {
            let why = hold(&wire, to_send, &report).await.err().map(|error| format!("{error:#}"));
            if let Some(why) = &why {
                tracing::info!("connection to {}: {why}", wire.address);
            }
            let _ = report.send(Event::Closed(why)).await;
        });
        Connection { outgoing, events, task }
    }

    /// Sends a message, unless the connection has ended. It ends here if [`OUTGOING_MAX`] others still wait.
    pub(super) fn send(&self, frame: Vec<u8>) {
        if let Err(TrySendError::Full(_)) = self.outgoing.try_send(frame.into()) {
            tracing::warn!("the coordinator takes no data; the connection is given up");
            self.task.abort();
        }
    }

    /// The next event. May be canceled.
    pub(super) async fn event(&mut self) -> Event {
        self.events.recv().await.unwrap_or(Event::Closed(None))
    }

    /// Sends the waiting messages, closes the connection and waits for that a short time.
    pub(super) async fn close(self) {
        drop((self.outgoing, self.events));
        let _ = timeout(FAREWELL_MAX, self.task).await;
    }
}

async fn hold(
    wire: &Wire,
    to_send: mpsc::Receiver<Bytes>,
    report: &mpsc::Sender<Event>,
) -> anyhow::Result<()> {
    let opening = async {
        let stream = wire.connect().await?;
        let mut request = wire.address.channel().into_client_request()?;
        if let Some(token) = &wire.address.invite {
            request.headers_mut().insert(COOKIE, cookie_of(token).parse()?);
        }
        match client_async_with_config(request, stream, Some(config())).await {
            Ok(opened) => Ok(opened),
            Err(SocketError::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                bail!("it refuses the channel with {}{}", response.status(), http::sentence(body))
            }
            Err(error) => Err(error.into()),
        }
    };
    let (socket, _) = timeout(CONNECTING_MAX, opening).await.context("it does not answer")??;
    let _ = report.send(Event::Opened).await;
    let (sink, stream) = socket.split();
    tokio::select! {
        read = read(stream, report) => read,
        written = write(sink, to_send) => written,
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(DOWNWARD_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(DOWNWARD_MESSAGE_BYTES_MAX))
}

async fn read(
    mut stream: impl Stream<Item = Result<Message, SocketError>> + Unpin,
    report: &mpsc::Sender<Event>,
) -> anyhow::Result<()> {
    loop {
        // No deadline here: the hub hangs up when it has heard nothing for too long.
        match stream.next().await {
            None | Some(Ok(Message::Close(_))) => return Ok(()),
            Some(Ok(Message::Binary(frame))) => {
                if report.send(Event::Frame(frame)).await.is_err() {
                    // Nobody listens any more. Only the writing side's last messages are awaited.
                    std::future::pending::<()>().await;
                }
            }
            Some(Ok(Message::Text(_))) => bail!("the coordinator sent text instead of a binary frame"),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
}

async fn write(
    mut sink: impl Sink<Message, Error = SocketError> + Unpin,
    mut to_send: mpsc::Receiver<Bytes>,
) -> anyhow::Result<()> {
    while let Some(frame) = to_send.recv().await {
        timeout(STALL_MAX, sink.send(Message::Binary(frame)))
            .await
            .context("the coordinator accepts no data")??;
    }
    timeout(FAREWELL_MAX, sink.close()).await??;
    Ok(())
}
