//! A compute worker: one lent core.

use js_sys::Array;
use wasm_bindgen::prelude::*;
use worker::{Compute, ToCompute};

use crate::{parcel, scope};

/// Posted to the hub once, when the first job begins.
pub(crate) const BEGUN: &str = "begun";

/// Starts a compute worker in this Web Worker; `early` holds the hub's messages (see
/// [`crate::parcel`]) that came before this could be called.
#[wasm_bindgen]
pub fn start_compute(early: Array) {
    console_error_panic_hook::set_once();
    let mut compute = Compute::new();
    let mut begun = false;
    let mut obey = move |data: JsValue| {
        let message =
            parcel::open(&data).and_then(|(header, payload)| ToCompute::from_parts(&header, payload).ok());
        // Hub and compute worker are one module, so anything else is no message.
        let Some(message) = message else { return };
        if matches!(message, ToCompute::Run(_)) && !std::mem::replace(&mut begun, true) {
            scope::post(&BEGUN.into());
        }
        if let Some(answer) = compute.handle(message) {
            let parts = answer.into_parts();
            let (data, transfer) = parcel::wrap(&parts.header, &parts.payload);
            scope::post_with_transfer(&data, &transfer);
        }
    };
    early.iter().for_each(&mut obey);
    scope::on_message(obey);
}
