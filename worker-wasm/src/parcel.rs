//! How a message between hub and compute worker travels by `postMessage`: an array of two
//! `Uint8Array`s, header and payload, whose buffers are handed over instead of copied.

use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

/// The message to post, and what to transfer with it.
pub(crate) fn wrap(header: &[u8], payload: &[u8]) -> (JsValue, JsValue) {
    let (header, payload) = (Uint8Array::from(header), Uint8Array::from(payload));
    let transfer = Array::of2(&header.buffer(), &payload.buffer());
    (Array::of2(&header, &payload).into(), transfer.into())
}

/// Header and payload of a posted message; nothing for anything else.
pub(crate) fn open(data: &JsValue) -> Option<(Vec<u8>, Vec<u8>)> {
    let parcel: &Array = data.dyn_ref()?;
    let part = |index| parcel.get(index).dyn_into::<Uint8Array>().ok().map(|part| part.to_vec());
    Some((part(0)?, part(1)?))
}
