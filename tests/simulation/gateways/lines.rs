//! What weights and sums take on their way.

/// Bytes a second of a volunteer's link, down and up, and of a gateway's.
pub(crate) const LINK_DOWN: f64 = 50e6 / 8.0;
pub(crate) const LINK_UP: f64 = 10e6 / 8.0;
pub(crate) const GATEWAY: f64 = 10e9 / 8.0;
/// Seconds of the way there and back.
pub(crate) const LATENCY: f64 = 0.05;

/// What takes time on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traffic {
    /// Bytes of a round's weights, and of a result's sums.
    pub(super) weights: f64,
    pub(super) sums: f64,
    /// Bytes a second of a gateway's link, each way.
    pub(super) gateway: f64,
}

/// A way that carries one thing after the other.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// When it has carried all that it was given, in milliseconds.
    free_ms: f64,
}

impl Line {
    /// When so many bytes are through that are given to it at `now_ms`, in milliseconds.
    pub(super) fn carry(&mut self, now_ms: u64, bytes: f64, bytes_a_second: f64) -> u64 {
        self.free_ms = self.free_ms.max(now_ms as f64) + 1000.0 * bytes / bytes_a_second;
        self.free_ms.round() as u64
    }
}

/// Milliseconds that so many bytes take one way.
pub(super) fn way_ms(bytes: f64, bytes_a_second: f64) -> u64 {
    (1000.0 * (LATENCY / 2.0 + bytes / bytes_a_second)).round() as u64
}
