//! The same bits on every machine: this test runs natively, under emulators of other processors (`tests/run` does that),
//! and, from `worker-wasm/tests/bits.rs`, in browsers; always against the same digests.

mod cases;

use model::Arithmetic;

/// `arithmetic; case; digest` in each line. To write it anew after a change of definition, run the test, which prints what
/// it should be.
const EXPECTED: &str = include_str!("digests.txt");

#[test]
fn every_machine_gives_these_digests() {
    let mut found = String::new();
    for arithmetic in Arithmetic::ALL {
        for (case, digest) in cases::digests(arithmetic) {
            found += &format!("{arithmetic}; {case}; {digest}\n");
        }
    }
    for (found, expected) in found.lines().zip(EXPECTED.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found, EXPECTED, "all of them:\n{found}");
}
