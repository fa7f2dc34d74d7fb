//! Random numbers for splitting and shuffling: ChaCha8, one stream for each purpose, so that adding a purpose never
//! changes what another one draws.

pub(super) use protocol::draw::shuffle;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

/// The stream of `purpose` under the run's `seed`. Its key is derived by BLAKE3 from both.
pub(super) fn stream(seed: u64, purpose: &str) -> ChaCha8Rng {
    let mut material = seed.to_le_bytes().to_vec();
    material.extend_from_slice(purpose.as_bytes());
    ChaCha8Rng::from_seed(blake3::derive_key("shoal data 2026 random stream", &material))
}
