//! Whether a leader can be heard: it hears itself.

use std::time::Duration;

use ::gateway::{BROADCAST_EVERY_MS, Broadcast, Term};
use tokio::sync::watch;
use tokio::time::Instant;

use super::bus::LinkError;
use super::link::{Hearing, Link};
use super::subjects::Subjects;

/// A leader whose last words are older than this is not heard: two may be lost.
const HEARD_WITHIN: Duration = Duration::from_millis(3 * BROADCAST_EVERY_MS);

/// What the bus brings back of a leader's own words.
#[derive(Debug)]
pub struct Voice {
    last: watch::Receiver<Option<Instant>>,
    _hearing: Hearing,
}

impl Voice {
    /// Listens to whoever leads that term.
    ///
    /// # Errors
    /// When the bus is closed for good.
    pub async fn of(term: Term, link: &Link, subjects: &Subjects) -> Result<Voice, LinkError> {
        let (heard, last) = watch::channel(None);
        let take = move |bytes: bytes::Bytes, _| {
            if Broadcast::decode(&bytes).is_ok_and(|broadcast| broadcast.term() == term) {
                heard.send_replace(Some(Instant::now()));
            }
        };
        Ok(Voice { last, _hearing: link.hear(&subjects.all, take).await? })
    }

    /// Whether it was heard a moment ago.
    pub fn is_heard(&self) -> bool {
        self.last.borrow().is_some_and(|last| last.elapsed() < HEARD_WITHIN)
    }
}
