//! The same bits on every machine. This test runs natively, under emulators of other processors (from
//! `tests/run`), and in browsers (from `worker-wasm/tests/bits.rs`), always against the same digests.

mod cases;

use model::{Arithmetic, instruction_set};

/// The environment variable with the instruction set ([`instruction_set`]) that the caller means to test.
const EXPECTED_SET: &str = "SHOAL_INSTRUCTION_SET";

#[test]
#[allow(clippy::disallowed_methods, reason = "the caller names the instruction set in the environment")]
fn every_machine_gives_the_same_bits() {
    if let Ok(expected) = std::env::var(EXPECTED_SET) {
        let sets = Arithmetic::ALL.map(instruction_set);
        assert!(sets.iter().all(|set| *set == expected), "{EXPECTED_SET}={expected}, but this ran {sets:?}");
    }
    cases::check();
}
