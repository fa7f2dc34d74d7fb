//! The writing half of a volunteer's channel.
//!
//! A large message goes out in fragments of the one buffer that all sessions share. Each fragment is written
//! when the network has accepted the last one, so a slow volunteer costs one fragment of memory, not one
//! message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::SplitSink;
use futures_util::{FutureExt, Sink, SinkExt};
use protocol::limits::FRAGMENT_BYTES;
use protocol::message::FromCoordinator;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

use super::Deadlines;
use super::limits::WORDS_FRAGMENT_BYTES;
use super::pace::{Pace, TooSlow};
use super::upgrade::Channel;

/// Why nothing more can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// The connection is closed or broken.
    Gone,
    /// The other end has accepted too little for too long.
    Stalled,
}

/// The writing half of a channel. Every method may be canceled: the next call goes on with a message that was
/// begun.
#[derive(Debug)]
pub(super) struct Outgoing<S = SplitSink<Channel, Message>> {
    sink: S,
    unsent: Option<Unsent>,
    heartbeat: Interval,
    stall: Duration,
    /// Watches over the message that is being sent.
    pace: Pace,
    taken: Arc<AtomicU64>,
    /// Whether a message was sent since the last heartbeat.
    has_spoken: bool,
}

/// The rest of a message.
#[derive(Debug)]
struct Unsent {
    rest: Bytes,
    begun: bool,
    is_round: bool,
}

impl<S: Sink<Message, Error = SocketError> + Unpin> Outgoing<S> {
    /// Writes to `sink`.
    pub(super) fn new(sink: S, deadlines: &Deadlines) -> Self {
        let mut heartbeat = interval(deadlines.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once, but no heartbeat is due yet.
        heartbeat.reset();
        Outgoing {
            sink,
            unsent: None,
            heartbeat,
            stall: deadlines.stall,
            pace: Pace::new(deadlines.stall),
            taken: Arc::default(),
            has_spoken: false,
        }
    }

    /// Counts the bytes of messages that the network has accepted. An end that takes many is alive, even if its
    /// own messages wait behind ours.
    pub(super) fn taken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.taken)
    }

    /// Sends a message, after the rest of one that was begun.
    pub(super) async fn send(&mut self, message: Bytes) -> Result<(), Lost> {
        self.begin(message, false).await
    }

    /// Sends a round's frame, which [`Outgoing::cut_short`] may end early.
    pub(super) async fn send_round(&mut self, frame: Bytes) -> Result<(), Lost> {
        self.begin(frame, true).await
    }

    async fn begin(&mut self, message: Bytes, is_round: bool) -> Result<(), Lost> {
        self.finish().await?;
        self.unsent = Some(Unsent { rest: message, begun: false, is_round });
        self.pace = Pace::new(self.stall);
        self.finish().await
    }

    /// Leaves out the rest of a round's frame. Of one that was begun, only the end is still to be sent.
    pub(super) fn cut_short(&mut self) {
        let Some(unsent) = self.unsent.take_if(|unsent| unsent.is_round) else { return };
        self.unsent = unsent.begun.then_some(Unsent { rest: Bytes::new(), ..unsent });
    }

    /// Sends the rest of a message that was begun.
    pub(super) async fn finish(&mut self) -> Result<(), Lost> {
        while let Some(unsent) = &self.unsent {
            let most = if unsent.is_round { FRAGMENT_BYTES } else { WORDS_FRAGMENT_BYTES };
            let length = unsent.rest.len().min(most);
            let is_last = length == unsent.rest.len();
            let kind = if unsent.begun { Data::Continue } else { Data::Binary };
            let fragment = Frame::message(unsent.rest.slice(..length), OpCode::Data(kind), is_last);
            self.feed(Message::Frame(fragment)).await?;
            // Nothing may be awaited between the feed and this line, because the fragment must count as sent.
            self.unsent = self.unsent.take().filter(|_| !is_last).map(|unsent| Unsent {
                rest: unsent.rest.slice(length..),
                begun: true,
                ..unsent
            });
            self.flush().await?;
            self.taken.fetch_add(length as u64, Ordering::Relaxed);
            self.pace.count(length);
            // Control frames may stand between fragments.
            self.has_spoken |= is_last;
            if !is_last && self.heartbeat.tick().now_or_never().is_some() {
                self.ping().await?;
            }
        }
        Ok(())
    }

    /// Waits until a heartbeat is due.
    pub(super) async fn quiet(&mut self) {
        self.heartbeat.tick().await;
    }

    /// Sends a heartbeat, unless a message was sent since the last one, and a ping. The ping alone would not
    /// do, because a page in a browser never sees it.
    pub(super) async fn beat(&mut self) -> Result<(), Lost> {
        self.ping().await?;
        if !self.has_spoken {
            self.send(FromCoordinator::Heartbeat.encode().into()).await?;
        }
        self.has_spoken = false;
        Ok(())
    }

    /// Sends a ping, which the other end answers.
    async fn ping(&mut self) -> Result<(), Lost> {
        if self.unsent.is_none() {
            self.pace = Pace::new(self.stall);
        }
        self.feed(Message::Ping(Bytes::new())).await?;
        self.flush().await
    }

    /// Closes the channel.
    pub(super) async fn close(&mut self, code: CloseCode) -> Result<(), Lost> {
        self.pace = Pace::new(self.stall);
        self.feed(Message::Close(Some(CloseFrame { code, reason: Default::default() }))).await?;
        self.flush().await
    }

    /// The sink, for closing the connection behind it.
    pub(super) fn into_sink(self) -> S {
        self.sink
    }

    async fn feed(&mut self, message: Message) -> Result<(), Lost> {
        written(self.pace.keep(self.sink.feed(message)).await)
    }

    async fn flush(&mut self) -> Result<(), Lost> {
        written(self.pace.keep(self.sink.flush()).await)
    }
}

fn written(result: Result<Result<(), SocketError>, TooSlow>) -> Result<(), Lost> {
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Lost::Gone),
        Err(TooSlow) => Err(Lost::Stalled),
    }
}
