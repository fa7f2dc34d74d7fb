//! A compute worker: one lent core.

use js_sys::{Array, BigInt64Array};
use wasm_bindgen::prelude::*;
use worker::{Compute, MessagePartsError, ToCompute};

use crate::{parcel, scope};

/// Posted to the hub once, when the first job begins.
pub(crate) const BEGUN: &str = "begun";

/// Starts a compute worker in this Web Worker. `early` holds the hub's messages (in the form of `parcel`)
/// that arrived before this call.
#[wasm_bindgen]
pub fn start_compute(early: Array) {
    console_error_panic_hook::set_once();
    let mut compute = Compute::new();
    let mut begun = false;
    let mut obey = move |data: JsValue| {
        let message = match parcel::open(&data).map(|(header, bulk)| ToCompute::from_parts(&header, bulk)) {
            Some(Ok(message)) => message,
            // The hub learns of this like of any failure of a compute worker.
            Some(Err(error @ MessagePartsError::Memory)) => wasm_bindgen::throw_str(&error.to_string()),
            // Hub and compute worker are one module, so anything else is not a message.
            Some(Err(MessagePartsError::Malformed)) | None => return,
        };
        if matches!(message, ToCompute::Run(_)) && !std::mem::replace(&mut begun, true) {
            scope::post(&BEGUN.into());
        }
        if let Some(answer) = compute.handle(message) {
            let parts = answer.into_parts();
            let vector = BigInt64Array::from(parts.payload.as_slice());
            let (data, transfer) = parcel::wrap(&parts.header, &vector.buffer());
            scope::post_with_transfer(&data, &transfer);
        }
    };
    early.iter().for_each(&mut obey);
    scope::on_message(obey);
}
