//! The same bits on every machine: this test runs natively, under emulators of other processors (`tests/run` does that),
//! and, from `worker-wasm/tests/bits.rs`, in browsers; always against the same digests.

mod cases;

#[test]
fn every_machine_gives_the_same_bits() {
    cases::check();
}
