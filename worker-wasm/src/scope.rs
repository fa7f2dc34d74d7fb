//! The services of this Web Worker's global scope: clock, timers, messages, addresses.

use std::cell::Cell;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent, RequestInit};

/// Milliseconds since this worker began. The value never decreases.
pub(crate) fn now_ms() -> u64 {
    scope().performance().map_or(0.0, |clock| clock.now()) as u64
}

/// Hands every message posted to this worker to `listener`, as long as the worker lives.
pub(crate) fn on_message(mut listener: impl FnMut(JsValue) + 'static) {
    let listener = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| listener(event.data()));
    scope().set_onmessage(Some(listener.into_js_value().unchecked_ref()));
}

/// Posts to the creator of this worker.
pub(crate) fn post(data: &JsValue) {
    // Posting fails only for data that cannot be cloned, and only plain data and buffers are posted.
    let _ = scope().post_message(data);
}

/// Posts like [`post`], but transfers buffers instead of copying them.
pub(crate) fn post_with_transfer(data: &JsValue, transfer: &JsValue) {
    let _ = scope().post_message_with_transfer(data, transfer);
}

/// Ends this worker and the workers it created.
pub(crate) fn close() {
    scope().close();
}

/// Begins a request. `address` is a URL, or a path relative to this worker's script.
pub(crate) fn fetch(address: &str, request: &RequestInit) -> Promise {
    scope().fetch_with_str_and_init(address, request)
}

/// The address of a WebSocket beside this worker's script, wherever a proxy has put it.
pub(crate) fn socket_address(name: &str) -> String {
    let location = scope().location();
    let protocol = if location.protocol() == "https:" { "wss:" } else { "ws:" };
    let path = location.pathname();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{protocol}//{}{folder}/{name}", location.host())
}

/// The scheme, host and port that this worker's script came from.
pub(crate) fn origin() -> String {
    scope().location().origin()
}

/// The browser's user-agent string.
pub(crate) fn user_agent() -> String {
    scope().navigator().user_agent().unwrap_or_default()
}

/// A timer that can be set again and again. A dropped timer never fires.
pub(crate) struct Timer {
    function: Closure<dyn FnMut()>,
    handle: Cell<Option<i32>>,
}

impl Timer {
    /// A timer that is not set yet.
    pub(crate) fn new(function: impl FnMut() + 'static) -> Timer {
        Timer { function: Closure::new(function), handle: Cell::new(None) }
    }

    /// Makes the timer fire once, `wait_ms` milliseconds from now. This replaces the time set before.
    pub(crate) fn set(&self, wait_ms: u64) {
        self.clear();
        // Larger waits would wrap around to zero.
        let wait_ms = i32::try_from(wait_ms).unwrap_or(i32::MAX);
        let function = self.function.as_ref().unchecked_ref();
        self.handle
            .set(scope().set_timeout_with_callback_and_timeout_and_arguments_0(function, wait_ms).ok());
    }

    fn clear(&self) {
        if let Some(handle) = self.handle.take() {
            scope().clear_timeout_with_handle(handle);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.clear();
    }
}

fn scope() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}
