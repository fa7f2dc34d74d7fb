//! The order in which sessions are sent a large round.
//!
//! Sent to a thousand volunteers at once, a round reaches all of them late. So only a few dozen sessions at a time
//! have a lane, and those they make wait have one soon. A session that is much slower than the others makes way
//! and goes on beside them: a few slow readers must not hold up everybody else.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};

use super::limits::{
    LANE_BYTES_PER_SECOND_MIN, LANE_SHARE, LANE_SPAN, LANE_WAIT_MAX, LANES_MAX, LARGE_ROUND_BYTES,
};

/// The lanes that all sessions share.
#[derive(Debug)]
pub(super) struct Lanes {
    free: Semaphore,
    /// Bytes of rounds that have been sent in lanes.
    bytes: AtomicU64,
}

/// One session's way through the lanes.
#[derive(Debug, Default)]
pub(super) struct Traveler {
    /// The last round showed that it is slow, so that it no longer waits for a lane nor takes one.
    is_slow: bool,
}

impl Lanes {
    pub(super) fn new() -> Lanes {
        Lanes { free: Semaphore::new(LANES_MAX), bytes: AtomicU64::new(0) }
    }
}

impl Traveler {
    /// Sends a round of `length` bytes, in a lane if it is large. `sent` counts the bytes that the session has
    /// sent so far.
    pub(super) async fn send<T>(
        &mut self,
        lanes: &Lanes,
        length: usize,
        sent: &AtomicU64,
        sending: impl Future<Output = T>,
    ) -> T {
        if length < LARGE_ROUND_BYTES {
            return sending.await;
        }
        let lane = if self.is_slow { None } else { lanes.free().await };
        let began = Instant::now();
        let mut progress = Progress { lanes, sent, counted: sent.load(Ordering::Relaxed) };
        let mut sending = std::pin::pin!(sending);
        let falls_behind = async {
            match lane {
                Some(_lane) => progress.falls_behind().await,
                None => pending().await,
            }
        };
        let done = tokio::select! {
            biased;
            result = &mut sending => Some(result),
            () = falls_behind => None,
        };
        let result = match done {
            Some(result) => result,
            None => {
                self.is_slow = true;
                sending.await
            }
        };
        progress.count();
        // Something that hindered it once may be over.
        let enough = LANE_BYTES_PER_SECOND_MIN * LANE_SHARE * (began.elapsed().as_secs() + 1);
        self.is_slow &= (length as u64) < enough;
        result
    }
}

impl Lanes {
    /// A lane, if one becomes free in time.
    async fn free(&self) -> Option<SemaphorePermit<'_>> {
        timeout(LANE_WAIT_MAX, self.free.acquire()).await.ok()?.ok()
    }
}

/// What a session takes in its lane.
struct Progress<'a> {
    lanes: &'a Lanes,
    sent: &'a AtomicU64,
    /// The bytes sent that [`Lanes::bytes`] has.
    counted: u64,
}

impl Progress<'_> {
    /// Adds the bytes that were sent since the last time, and says how many.
    fn count(&mut self) -> u64 {
        let sent = self.sent.load(Ordering::Relaxed);
        let bytes = sent - std::mem::replace(&mut self.counted, sent);
        self.lanes.bytes.fetch_add(bytes, Ordering::Relaxed);
        bytes
    }

    /// Waits until the session takes much less than the average of all lanes.
    async fn falls_behind(&mut self) {
        let mut all_before = self.lanes.bytes.load(Ordering::Relaxed);
        loop {
            sleep(LANE_SPAN).await;
            let own = self.count();
            let all = self.lanes.bytes.load(Ordering::Relaxed);
            if is_behind(own, all - all_before) {
                return;
            }
            all_before = all;
        }
    }
}

/// Whether a session that took `own` bytes in a span makes way, when all lanes took `all`.
fn is_behind(own: u64, all: u64) -> bool {
    own < LANE_BYTES_PER_SECOND_MIN * LANE_SPAN.as_secs() || own * LANE_SHARE * (LANES_MAX as u64) < all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    const LENGTH: usize = 4_000_000;

    /// Sends a round in so many equal pieces, one each second.
    async fn send(lanes: &Lanes, traveler: &mut Traveler, seconds: u64) -> Duration {
        let began = Instant::now();
        let sent = AtomicU64::new(0);
        let sending = async {
            for _ in 0..seconds {
                sleep(Duration::from_secs(1)).await;
                sent.fetch_add(LENGTH as u64 / seconds, Ordering::Relaxed);
            }
        };
        traveler.send(lanes, LENGTH, &sent, sending).await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_of_many_have_it_early() {
        let lanes = Arc::new(Lanes::new());
        let mut sendings = tokio::task::JoinSet::new();
        for _ in 0..2 * LANES_MAX {
            let lanes = Arc::clone(&lanes);
            sendings.spawn(async move { send(&lanes, &mut Traveler::default(), 5).await.as_secs() });
        }
        let mut times = sendings.join_all().await;
        times.sort_unstable();
        assert_eq!((times[LANES_MAX - 1], times[LANES_MAX]), (5, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_ones_make_way_and_still_arrive() {
        let lanes = Arc::new(Lanes::new());
        let mut slow = tokio::task::JoinSet::new();
        for _ in 0..LANES_MAX {
            let lanes = Arc::clone(&lanes);
            slow.spawn(async move {
                let mut traveler = Traveler::default();
                send(&lanes, &mut traveler, 1000).await;
                traveler.is_slow
            });
        }
        tokio::task::yield_now().await;
        assert_eq!(lanes.free.available_permits(), 0);
        let fast = send(&lanes, &mut Traveler::default(), 1).await;
        assert!(fast <= LANE_SPAN + Duration::from_secs(2), "{fast:?}");
        assert!(slow.join_all().await.into_iter().all(|is_slow| is_slow));
    }

    #[tokio::test(start_paused = true)]
    async fn small_rounds_wait_for_nothing() {
        let lanes = Lanes::new();
        let _all = lanes.free.acquire_many(LANES_MAX as u32).await.unwrap();
        let sent = AtomicU64::new(0);
        Traveler::default().send(&lanes, LARGE_ROUND_BYTES - 1, &sent, async {}).await;
    }
}
