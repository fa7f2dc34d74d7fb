//! The messages between the page and the hub worker: plain objects with a `type`.

use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;
use worker::HubStatus;

use crate::scope;

/// A message from the page. In JavaScript: `{type: "start", cores: 3, fused_capable: true, memory_bytes:
/// 2e9, effort: 100, token: "0123456789abcdef0123456789abcdef", mirror: "https://data.example.org"}`, `{type: "effort", effort: 50}`, `{type: "cores", cores: 2}`, `{type: "retry"}`, `{type: "stop"}`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum FromPage {
    /// Lend this device.
    Start {
        /// Cores to lend.
        cores: u16,
        /// Whether this browser could run the fused arithmetic.
        fused_capable: bool,
        /// Memory that the tab may take.
        memory_bytes: u64,
        /// The share of its time that each core works, in percent.
        effort: u8,
        /// The number by which the coordinator knows this volunteer again, in hexadecimal; anything else for none.
        token: String,
        /// The address that has the shards besides the coordinator; empty for none. Pages that were opened before
        /// there were such addresses do not say.
        #[serde(default)]
        mirror: String,
    },
    /// Let each core work for this share of its time.
    Effort {
        /// In percent.
        effort: u8,
    },
    /// Lend this many cores from now on.
    Cores {
        /// Cores to lend.
        cores: u16,
    },
    /// The coordinator answers again: connect now.
    Retry,
    /// Lend nothing more.
    Stop,
}

/// A message to the page. `{type: "status", status, unsent_bytes}` has a [`HubStatus`]. `web/hub.js` adds `{type:
/// "failed", text}` for the case that this module cannot be loaded.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum ToPage<'a> {
    /// The hub's status.
    Status {
        /// The status itself.
        status: &'a HubStatus,
        /// Bytes of messages that wait to be sent.
        unsent_bytes: u32,
    },
    /// A download of so many bytes from a mirror has ended, which the browser's own measurements do not tell.
    Downloaded {
        /// The bytes.
        bytes: usize,
    },
    /// A compute worker begins its first job. Unlike a status, this is sent at once.
    Begun,
    /// The hub has failed and can do nothing more.
    Failed {
        /// The error.
        text: &'a str,
    },
}

impl FromPage {
    /// Reads a message; `None` if `data` is not one.
    pub(crate) fn read(data: JsValue) -> Option<FromPage> {
        serde_wasm_bindgen::from_value(data).ok()
    }
}

impl ToPage<'_> {
    /// Sends the message to the page.
    pub(crate) fn post(&self) {
        if let Ok(data) = serde_wasm_bindgen::to_value(self) {
            scope::post(&data);
        }
    }
}
