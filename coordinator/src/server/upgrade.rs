//! Turns an HTTP request into a WebSocket.
//!
//! Warp can do this itself, but it does not let us choose the size of the buffers, which decides how many
//! volunteers fit into memory.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use protocol::limits::UPWARD_MESSAGE_BYTES_MAX;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use warp::Reply;
use warp::http::StatusCode;
use warp::http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use warp::reply::Response;

use super::Peer;
use super::connections::Counted;
use super::intake::{Buffers, Intake};
use super::limits::{READ_BUFFER_BYTES, WRITE_BUFFER_BYTES_MAX};
use super::replies::{lists, words};
use super::visit::Visit;

/// A volunteer's channel.
pub(super) type Channel = WebSocketStream<Intake<TokioIo<Upgraded>>>;

/// The only version of WebSockets.
const WEBSOCKET_VERSION: &str = "13";
/// Characters of a handshake's key: 16 bytes in base 64.
const KEY_CHARACTERS: usize = 24;

/// The connection of a request, kept among the request's extensions.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// The other end.
    pub(super) peer: Peer,
    /// Whether this server encrypts the connection.
    pub(super) encrypted: bool,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The request that is being answered. On one connection, one comes after the other.
    visit: Option<Visit>,
    upgrade: Option<OnUpgrade>,
    /// The visitor's own count, where the connection is a proxy's.
    counted: Option<Counted>,
}

impl Visitor {
    /// A connection from `peer`.
    pub(super) fn new(peer: Peer, encrypted: bool) -> Visitor {
        Visitor { peer, encrypted, inner: Arc::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes who makes the request that is being answered.
    pub(super) fn visits(&self, visit: Visit) {
        self.inner().visit = Some(visit);
    }

    /// The visitor's address: that of the last request, or the other end's.
    pub(super) fn address(&self) -> IpAddr {
        self.inner().visit.as_ref().map_or(self.peer.ip(), |visit| visit.address)
    }

    /// Whether the visitor's connection is encrypted.
    pub(super) fn is_secure(&self) -> bool {
        self.inner().visit.as_ref().map_or(self.encrypted, |visit| visit.secure)
    }

    /// Keeps the count of the visitor's connections for as long as this one is open.
    pub(super) fn keep(&self, counted: Counted) {
        self.inner().counted = Some(counted);
    }

    /// The channel, if a request asked for one. Call this when HTTP has ended on the connection.
    pub(super) async fn channel(&self, buffers: &Arc<Buffers>) -> Option<Channel> {
        let upgrade = self.inner().upgrade.take()?;
        let upgraded = Intake::new(TokioIo::new(upgrade.await.ok()?), Arc::clone(buffers));
        // Each fragment is flushed before the next is written, so collecting them gains nothing. The library
        // panics unless the maximum is above this size.
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
            .max_message_size(Some(UPWARD_MESSAGE_BYTES_MAX))
            .max_frame_size(Some(UPWARD_MESSAGE_BYTES_MAX));
        Some(WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await)
    }
}

/// Answers a request for a channel (RFC 6455, section 4.2), and remembers to open it.
pub(super) fn answer(headers: &HeaderMap, upgrade: Option<OnUpgrade>, visitor: &Visitor) -> Response {
    let names =
        |name: &HeaderName, word: &str| lists(headers, name).any(|item| item.eq_ignore_ascii_case(word));
    let asked = names(&CONNECTION, "upgrade") && names(&UPGRADE, "websocket");
    let (true, Some(upgrade)) = (asked, upgrade) else {
        return only_websockets(
            "This address is for volunteers' WebSockets; a proxy in front must pass the headers Upgrade and Connection on.",
        );
    };
    if !names(&SEC_WEBSOCKET_VERSION, WEBSOCKET_VERSION) {
        return only_websockets("This coordinator speaks version 13 of WebSockets only.");
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == KEY_CHARACTERS);
    let accept = key.map(|key| derive_accept_key(key.as_bytes()));
    let Some(accept) = accept.and_then(|accept| HeaderValue::try_from(accept).ok()) else {
        return words(StatusCode::BAD_REQUEST, "The request has no valid Sec-WebSocket-Key.");
    };
    visitor.inner().upgrade = Some(upgrade);
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

fn only_websockets(sentence: &str) -> Response {
    let mut response = words(StatusCode::UPGRADE_REQUIRED, sentence);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(WEBSOCKET_VERSION));
    response
}
