//! Turns an HTTP request into a WebSocket.
//!
//! warp can do this itself, but then the size of the buffers, which decides how many volunteers fit into
//! memory, is out of our hands.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

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

use super::limits::{READ_BUFFER_BYTES, WRITE_BUFFER_BYTES_MAX};
use super::routes::{lists, words};

/// A volunteer's channel.
pub(super) type Channel = WebSocketStream<TokioIo<Upgraded>>;

/// The only version of WebSockets there is.
const WEBSOCKET_VERSION: &str = "13";
/// Characters of a handshake's key: 16 bytes in base 64.
const KEY_CHARACTERS: usize = 24;

/// The connection that a request came in on; put among the request's extensions.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// The other end.
    pub(super) address: IpAddr,
    upgrade: Arc<Mutex<Option<OnUpgrade>>>,
}

impl Visitor {
    /// A connection from `address`.
    pub(super) fn new(address: IpAddr) -> Visitor {
        Visitor { address, upgrade: Arc::default() }
    }

    /// The channel, if a request asked for one. To be called when HTTP has ended on the connection.
    pub(super) async fn channel(&self) -> Option<Channel> {
        let upgrade = self.upgrade.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let upgraded = TokioIo::new(upgrade.await.ok()?);
        // Every fragment is flushed before the next is written, so nothing is gained by collecting them;
        // and the smaller limit would panic if it were not above this one.
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
        return only_websockets("This address is for WebSockets: it is where volunteers connect.");
    };
    if !names(&SEC_WEBSOCKET_VERSION, WEBSOCKET_VERSION) {
        return only_websockets("This version of WebSockets is not known here.");
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == KEY_CHARACTERS);
    let accept = key.map(|key| derive_accept_key(key.as_bytes()));
    let Some(accept) = accept.and_then(|accept| HeaderValue::try_from(accept).ok()) else {
        return words(StatusCode::BAD_REQUEST, "The request has no valid Sec-WebSocket-Key.");
    };
    visitor.upgrade.lock().unwrap_or_else(PoisonError::into_inner).replace(upgrade);
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
