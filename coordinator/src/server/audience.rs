//! The pages that look at the training, so that it can wait until all of them have seen its end.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

/// Pages that are remembered. Others are answered, but nobody waits for them.
const PAGES_MAX: usize = 4096;
/// A page that has not asked for this long is closed. A hidden page asks every two seconds.
const RECENT: Duration = Duration::from_secs(4);
/// The longest wait for pages to see the end.
const LINGER_MAX: Duration = Duration::from_secs(5);
/// Time between two looks at who is still to be told.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// See the module's description. Each open page has chosen a random number, by which it is known here.
#[derive(Debug, Default)]
pub struct Audience(Mutex<BTreeMap<u64, Seen>>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    /// Whether it was shown the end of the training.
    told: bool,
}

impl Audience {
    /// A page was shown the status; `is_final` says whether that told the end of the training.
    pub(super) fn saw(&self, page: u64, is_final: bool) {
        let now = Instant::now();
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() >= PAGES_MAX && !pages.contains_key(&page) {
            pages.retain(|_, seen| now - seen.at < RECENT);
            if pages.len() >= PAGES_MAX {
                return;
            }
        }
        pages.insert(page, Seen { at: now, told: is_final });
    }

    /// Waits until every open page has seen the end, but not for long.
    pub async fn all_told(&self) {
        let told = async {
            while self.waits() {
                sleep(LOOK_EVERY).await;
            }
        };
        let _ = timeout(LINGER_MAX, told).await;
    }

    fn waits(&self) -> bool {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.values().any(|seen| !seen.told && seen.at.elapsed() < RECENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_have_not_seen_the_end_are_waited_for() {
        let audience = Audience::default();
        assert!(!audience.waits(), "nobody looks");
        audience.saw(1, false);
        audience.saw(2, true);
        assert!(audience.waits());
        audience.saw(1, true);
        assert!(!audience.waits());
    }

    #[test]
    fn any_number_of_pages_is_bounded() {
        let audience = Audience::default();
        (0..2 * PAGES_MAX as u64).for_each(|page| audience.saw(page, true));
        assert!(audience.0.lock().unwrap().len() <= PAGES_MAX);
    }
}
