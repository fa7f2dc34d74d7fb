//! The same bits on every machine: this test runs natively, under emulators of other processors (`tests/run`
//! does that), and, from `worker-wasm/tests/bits.rs`, in browsers; always against the same digests.

mod cases;

use model::{Arithmetic, instruction_set};

/// Names the instructions ([`instruction_set`]) that whoever runs this test means to test.
const EXPECTED_SET: &str = "SHOAL_INSTRUCTION_SET";

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "the caller says in the environment which instructions it means"
)]
fn every_machine_gives_the_same_bits() {
    if let Ok(expected) = std::env::var(EXPECTED_SET) {
        let sets = Arithmetic::ALL.map(instruction_set);
        assert!(sets.iter().all(|set| *set == expected), "{EXPECTED_SET}={expected}, but this ran {sets:?}");
    }
    cases::check();
}
