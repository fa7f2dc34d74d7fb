//! The rate at which bytes must flow.
//!
//! A deadline for a whole message would cut slow volunteers while they make progress, and a deadline for each
//! piece would keep those that send a byte now and then. So bytes are counted over one span of time after the
//! other, and each span must bring [`BYTES_PER_SECOND_MIN`] on average.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::limits::BYTES_PER_SECOND_MIN;

/// Watches over one transfer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    span: Duration,
    /// When the present span ends.
    until: Instant,
    /// Bytes in the present span.
    bytes: u64,
}

/// The bytes flow too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooSlow;

impl Pace {
    /// A transfer that begins now, judged every `span`.
    pub(super) fn new(span: Duration) -> Pace {
        Pace { span, until: Instant::now() + span, bytes: 0 }
    }

    /// When the transfer is judged next.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Notes that bytes have gone through.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Notes that the transfer could not go on for so long, for want of room here.
    pub(super) fn excuse(&mut self, waited: Duration) {
        self.until += waited;
    }

    /// Judges the span that has ended, and begins the next.
    pub(super) fn judge(&mut self) -> Result<(), TooSlow> {
        let enough = enough_in(self.bytes, self.span);
        *self = Pace::new(self.span);
        if enough { Ok(()) } else { Err(TooSlow) }
    }

    /// Waits for a step of the transfer for as long as it keeps pace.
    pub(super) async fn keep<T>(&mut self, step: impl Future<Output = T>) -> Result<T, TooSlow> {
        let mut step = std::pin::pin!(step);
        loop {
            match timeout_at(self.until, &mut step).await {
                Ok(done) => return Ok(done),
                Err(_) => self.judge()?,
            }
        }
    }
}

/// Whether that many bytes are enough for a span of time.
pub(super) fn enough_in(bytes: u64, span: Duration) -> bool {
    bytes as f64 >= BYTES_PER_SECOND_MIN as f64 * span.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::advance;

    use super::*;

    const SPAN: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn slow_and_steady_goes_on_for_ever() {
        let mut pace = Pace::new(SPAN);
        for _ in 0..1000 {
            advance(Duration::from_secs(10)).await;
            pace.count(10 * BYTES_PER_SECOND_MIN as usize);
            assert_eq!(pace.keep(async {}).await, Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_is_not_enough() {
        let mut pace = Pace::new(SPAN);
        pace.count(BYTES_PER_SECOND_MIN as usize * 29);
        assert_eq!(pace.keep(pending::<()>()).await, Err(TooSlow));
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_before_does_not_excuse_a_halt() {
        let mut pace = Pace::new(SPAN);
        pace.count(1 << 30);
        let began = Instant::now();
        assert_eq!(pace.keep(pending::<()>()).await, Err(TooSlow));
        assert_eq!(began.elapsed(), 2 * SPAN);
    }
}
