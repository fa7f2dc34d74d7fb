//! Says that a leader leads while it cannot do so itself: until its state is loaded.

use ::gateway::{BROADCAST_EVERY_MS, Broadcast, Term};
use tokio::task::JoinHandle;
use tokio::time::{Duration, interval};

use super::link::Link;
use super::subjects::Subjects;

/// Says so until it is dropped. Without it, other standbys would take one term after the other while a large state is on
/// its way, and gateways would send their volunteers away.
#[derive(Debug)]
pub struct Herald(JoinHandle<()>);

impl Herald {
    /// Says that somebody leads that term.
    pub fn of(term: Term, link: Link, subjects: Subjects) -> Herald {
        Herald(tokio::spawn(async move {
            let mut ticks = interval(Duration::from_millis(BROADCAST_EVERY_MS));
            loop {
                ticks.tick().await;
                link.say(&subjects.all, None, Broadcast::Leads { term }.encode());
            }
        }))
    }
}

impl Drop for Herald {
    fn drop(&mut self) {
        self.0.abort();
    }
}
