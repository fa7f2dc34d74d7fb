//! Another address that has the shards besides the coordinator: which downloads go there.

/// Milliseconds for which a mirror that failed is left alone. Downloads meanwhile do not wait for its silence again.
const REST_MS: u64 = 60_000;

/// Decides which downloads a volunteer tries at a mirror first. What a mirror does not give, or gives wrongly, comes
/// from the coordinator.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mirror {
    rests_until_ms: u64,
}

impl Mirror {
    /// Bytes that may travel for a shard of so many bytes. It may be compressed, and incompressible data grow a little.
    pub const fn wire_bytes_max(shard_bytes: usize) -> usize {
        shard_bytes.saturating_add(shard_bytes / 100 + 1024)
    }

    /// Whether bytes are compressed with gzip, as a store keeps shards: no shard begins so.
    pub fn is_gzip(bytes: &[u8]) -> bool {
        bytes.starts_with(&[0x1f, 0x8b])
    }

    /// Whether to try a download at the mirror first. `fresh` is that of [`HubOutput::Fetch`](crate::HubOutput::Fetch):
    /// an earlier answer was damaged, which may have been the mirror's.
    pub fn is_asked(&mut self, now_ms: u64, fresh: bool) -> bool {
        if fresh {
            self.failed(now_ms);
        }
        now_ms >= self.rests_until_ms
    }

    /// The mirror did not answer, or not with a shard's bytes.
    pub fn failed(&mut self, now_ms: u64) {
        self.rests_until_ms = now_ms.saturating_add(REST_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_that_failed_rests_for_a_while() {
        let mut mirror = Mirror::default();
        assert!(mirror.is_asked(0, false) && mirror.is_asked(7, false));
        mirror.failed(10);
        assert!(!mirror.is_asked(10, false) && !mirror.is_asked(REST_MS + 9, false));
        assert!(mirror.is_asked(REST_MS + 10, false));
    }

    #[test]
    fn what_was_damaged_comes_from_the_coordinator_and_so_does_what_follows() {
        let mut mirror = Mirror::default();
        assert!(!mirror.is_asked(500, true) && !mirror.is_asked(501, false));
        assert!(mirror.is_asked(500 + REST_MS, false));
    }

    #[test]
    fn a_shard_is_told_from_a_compressed_one() {
        assert!(
            Mirror::is_gzip(&[0x1f, 0x8b, 8, 0]) && !Mirror::is_gzip(b"SHRD") && !Mirror::is_gzip(&[0x1f])
        );
    }
}
