//! The numbers from which tests and the script behind `jax/reference.json` make their inputs.

/// `count` numbers in -1 .. 1 that are exact in 32 bits, in a fixed sequence: `numbers` in
/// `jax/generate.py`.
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let number = |index: usize| {
        let mut hashed = (index as u64 + 1 + seed * 1_000_003).wrapping_mul(2_654_435_761) as u32;
        hashed ^= hashed >> 15;
        hashed = hashed.wrapping_mul(2_246_822_519);
        hashed ^= hashed >> 13;
        (hashed >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(number).collect()
}
