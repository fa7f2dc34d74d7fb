//! The same bits in a browser as on every native machine: this file is run by both, against the same constants.
//!
//! In the browser it is compiled once for each build of the worker, with and without relaxed SIMD. Either must
//! give both answers, by whatever instructions it has.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::{wasm_bindgen_test as test, wasm_bindgen_test_configure};

// A volunteer computes in a Web Worker.
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test_configure!(run_in_dedicated_worker);

#[test]
fn portable_arithmetic_gives_the_known_answer() {
    assert_eq!(
        known_answer(model::Arithmetic::Portable),
        "2b99628dc8ddb2ffb755d18c839a7e71ad15b934780bbfe794984e9a51390430"
    );
}

#[test]
fn fused_arithmetic_gives_the_known_answer() {
    assert_eq!(
        known_answer(model::Arithmetic::Fused),
        "aa3555a5d0f3e4cd206e17e0de678ba03a4de48bc414250e5a8f54f104f54369"
    );
}

fn known_answer(arithmetic: model::Arithmetic) -> String {
    model::known_answer::digest(arithmetic).iter().map(|byte| format!("{byte:02x}")).collect()
}
