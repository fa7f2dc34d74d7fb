//! What the page and the hub worker say to each other: plain objects with a `type`.

use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;
use worker::HubStatus;

use crate::scope;

/// What the page says. In JavaScript: `{type: "start", cores: 3, fused_capable: true, memory_bytes: 2e9}`,
/// `{type: "cores", cores: 2}`, `{type: "stop"}`.
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
    },
    /// Lend this many cores from now on.
    Cores {
        /// Cores to lend.
        cores: u16,
    },
    /// Lend nothing more.
    Stop,
}

/// What the page is told. `{type: "status", ...}` has the fields of [`HubStatus`].
/// web/hub.js adds `{type: "failed", text}` for when this module cannot even be loaded.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum ToPage<'a> {
    /// How things stand.
    Status(&'a HubStatus),
    /// A compute worker begins its first job. Said at once, unlike what is a status.
    Begun,
    /// The hub has met a mistake of its own and can do nothing more.
    Failed {
        /// Which.
        text: &'a str,
    },
}

impl FromPage {
    /// The message, or nothing if this is none.
    pub(crate) fn read(data: JsValue) -> Option<FromPage> {
        serde_wasm_bindgen::from_value(data).ok()
    }
}

impl ToPage<'_> {
    /// Tells the page.
    pub(crate) fn post(&self) {
        if let Ok(data) = serde_wasm_bindgen::to_value(self) {
            scope::post(&data);
        }
    }
}
