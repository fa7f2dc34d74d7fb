//! The same bits in a browser as on every native machine: both run these cases against the same digests. For
//! the browser, this test is compiled once for each build of the worker, with and without relaxed SIMD. Each
//! build must give the digests of both arithmetics.

#[path = "../../model/tests/bits/cases.rs"]
mod cases;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::{wasm_bindgen_test as test, wasm_bindgen_test_configure};

// A volunteer computes in a Web Worker.
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test_configure!(run_in_dedicated_worker);

#[test]
fn every_layer_gives_the_same_bits() {
    cases::check();
}
