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
        "2a2d848cd98d461b40518dd90feefae1f42066f64783cbceef5c500cc7e518e9"
    );
}

#[test]
fn fused_arithmetic_gives_the_known_answer() {
    assert_eq!(
        known_answer(model::Arithmetic::Fused),
        "4bfc7184f476561979bad38bc069f22a932c001d1e2738b0f2d07d2f07058da4"
    );
}

fn known_answer(arithmetic: model::Arithmetic) -> String {
    model::known_answer::digest(arithmetic).iter().map(|byte| format!("{byte:02x}")).collect()
}
