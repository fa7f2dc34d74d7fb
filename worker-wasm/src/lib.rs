//! The volunteer's worker in a browser.

use wasm_bindgen::prelude::wasm_bindgen;

/// Starts the worker in the Web Worker that loaded this module.
#[wasm_bindgen]
pub fn start() {}
