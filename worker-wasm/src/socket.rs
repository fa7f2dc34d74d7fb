//! The hub's WebSocket: at most one connection at a time, without events from earlier ones.

use std::rc::Rc;

use js_sys::ArrayBuffer;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{BinaryType, Event, MessageEvent, WebSocket};

use worker::Bulk;

use crate::listener::Listener;
use crate::parcel::Contents;
use crate::scope::{self, Timer};

/// The name under which the coordinator listens for volunteers.
const PATH: &str = "channel";
/// Milliseconds before an attempt to open a connection is abandoned.
const OPENING_MS: u64 = 15_000;
/// The close code of an ordinary end.
const NORMAL_CLOSURE: u16 = 1000;

/// An event on the connection.
pub(crate) enum SocketNews {
    /// It is open.
    Opened,
    /// A message arrived.
    Message(Vec<u8>),
    /// It could not be opened in time, or is closed.
    Closed,
}

/// The connection and the function that gets its events.
pub(crate) struct Connections {
    open: Option<Connection>,
    tell: Rc<dyn Fn(SocketNews)>,
}

struct Connection {
    socket: WebSocket,
    _impatience: Timer,
    _listeners: [Listener; 3],
}

impl Connections {
    /// No connection yet.
    pub(crate) fn new(tell: impl Fn(SocketNews) + 'static) -> Connections {
        Connections { open: None, tell: Rc::new(tell) }
    }

    /// Opens a connection in place of an earlier one.
    pub(crate) fn open(&mut self) -> Result<(), JsValue> {
        self.close();
        let socket = WebSocket::new(&scope::socket_address(PATH))?;
        socket.set_binary_type(BinaryType::Arraybuffer);

        let tell = self.tell.clone();
        let opened = move |_: Event| tell(SocketNews::Opened);
        let tell = self.tell.clone();
        let heard = move |event: Event| {
            let event: MessageEvent = event.unchecked_into();
            // The coordinator sends no text.
            if let Ok(buffer) = event.data().dyn_into::<ArrayBuffer>() {
                match Contents(buffer).bytes() {
                    Ok(message) => tell(SocketNews::Message(message)),
                    // The page shows the error that ends the hub.
                    Err(_) => wasm_bindgen::throw_str("there is too little memory for a round"),
                }
            }
        };
        let tell = self.tell.clone();
        // This event follows every error.
        let closed = move |_: Event| tell(SocketNews::Closed);
        let listeners = [
            Listener::new(&socket, "open", opened)?,
            Listener::new(&socket, "message", heard)?,
            Listener::new(&socket, "close", closed)?,
        ];

        let waiting = socket.clone();
        let impatience = Timer::new(move || {
            if waiting.ready_state() == WebSocket::CONNECTING {
                let _ = waiting.close();
            }
        });
        impatience.set(OPENING_MS);
        self.open = Some(Connection { socket, _impatience: impatience, _listeners: listeners });
        Ok(())
    }

    /// Sends a message. On a closing connection, the message is lost, as it would be a moment later.
    pub(crate) fn send(&self, bytes: &[u8]) {
        if let Some(Connection { socket, .. }) = &self.open {
            let _ = socket.send_with_u8_array(bytes);
        }
    }

    /// Bytes of sent messages that wait for the network.
    pub(crate) fn unsent_bytes(&self) -> u32 {
        self.open.as_ref().map_or(0, |connection| connection.socket.buffered_amount())
    }

    /// Closes the connection, if there is one, after all sent messages have gone out.
    pub(crate) fn close(&mut self) {
        if let Some(Connection { socket, .. }) = self.open.take() {
            let _ = socket.close_with_code(NORMAL_CLOSURE);
        }
    }
}
