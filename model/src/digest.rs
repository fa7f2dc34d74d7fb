//! The fingerprint that shows whether two runs ended with the same weights.

/// BLAKE3 of the weights as consecutive little-endian `f32`.
pub fn weights_digest(weights: &[f32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    update(&mut hasher, weights);
    *hasher.finalize().as_bytes()
}

/// Feeds `values` to `hasher` as little-endian bytes, one buffer at a time.
pub(crate) fn update(hasher: &mut blake3::Hasher, values: &[f32]) {
    let mut bytes = [0u8; 4096];
    for chunk in values.chunks(bytes.len() / 4) {
        for (bytes, value) in bytes.chunks_exact_mut(4).zip(chunk) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        hasher.update(&bytes[..4 * chunk.len()]);
    }
}
