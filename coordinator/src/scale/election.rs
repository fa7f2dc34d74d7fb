//! How this process comes to lead: it waits while somebody else does.

use std::time::{Duration, Instant};

use ::gateway::{Broadcast, Standby, StandbyInput, StandbyOutput, Term};
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::ScaleError;
use super::archive::{Archive, ArchiveError};
use super::link::Link;
use super::subjects::Subjects;
use super::waiting::stopped;

/// Broadcasts that may wait to be read.
const HEARD_MAX: usize = 256;
/// The longest wait for something to happen.
const TICK_MAX: Duration = Duration::from_secs(5);

/// How a process comes to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It looks for a leader in the store, and leads at once if nobody ever has.
    Begins,
    /// It listens first.
    StandsBy,
    /// It has led this term, and has heard nobody lead a newer one for long: it takes the next one at once. Nobody else
    /// listens for less time, so nobody takes it first.
    Returns(Term),
}

/// How waiting ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elected {
    /// This process leads.
    Leads {
        /// Its term.
        term: Term,
        /// Whether another leader was heard while it waited.
        has_heard: bool,
    },
    /// The training has ended.
    Finished,
    /// The user wants this process to end.
    Stopped,
}

/// Waits until this process leads, the training has ended, or `stop` turns true.
///
/// # Errors
/// When the bus is closed for good.
pub async fn elect(
    archive: &Archive,
    link: &Link,
    subjects: &Subjects,
    entry: Entry,
    mut stop: watch::Receiver<bool>,
) -> Result<Elected, ScaleError> {
    let (heard, mut broadcasts) = mpsc::channel(HEARD_MAX);
    let _hearing = link
        .hear(&subjects.all, move |bytes, _| {
            if let Ok(broadcast) = Broadcast::decode(&bytes) {
                // One that is lost is said again.
                let _ = heard.try_send(broadcast);
            }
        })
        .await?;
    let began = Instant::now();
    let now_ms = || began.elapsed().as_millis() as u64;
    let nonce = super::random()?;
    let mut standby = match entry {
        Entry::Begins => Standby::beginning(0, nonce),
        Entry::StandsBy => Standby::new(0, nonce),
        Entry::Returns(_) => Standby::taking(0, nonce),
    };
    let mut has_heard = false;
    let mut request: Option<BoxFuture<'_, StandbyInput>> = None;
    loop {
        while let Some(output) = standby.poll_output() {
            // One that is under way is of no use any more.
            request =
                Some(match output {
                    StandbyOutput::Lead(term) => return Ok(Elected::Leads { term, has_heard }),
                    StandbyOutput::Finished => return Ok(Elected::Finished),
                    StandbyOutput::FindNewest => Box::pin(async { input(find_newest(archive).await) }),
                    StandbyOutput::Create(term) => Box::pin(async move {
                        input(archive.create_term(term).await.map(|()| StandbyInput::Created))
                    }),
                });
        }
        let wake =
            standby.wake_ms().map_or(TICK_MAX, |at| Duration::from_millis(at.saturating_sub(now_ms())));
        let happens = tokio::select! {
            // Whoever was frozen hears first what was said meanwhile.
            biased;
            () = stopped(&mut stop) => return Ok(Elected::Stopped),
            // Its own words are no leader's any more.
            Some(broadcast) = broadcasts.recv() => {
                if matches!(entry, Entry::Returns(led) if broadcast.term() <= led) {
                    continue;
                }
                has_heard = true;
                StandbyInput::Heard(broadcast)
            }
            answer = pending_if_none(&mut request) => {
                request = None;
                answer
            }
            () = sleep(wake.min(TICK_MAX)) => StandbyInput::Tick,
        };
        standby.handle(now_ms(), happens);
    }
}

/// The answer of the store to a request, if there is one under way.
async fn pending_if_none(request: &mut Option<BoxFuture<'_, StandbyInput>>) -> StandbyInput {
    match request {
        Some(request) => request.await,
        None => std::future::pending().await,
    }
}

fn input(answer: Result<StandbyInput, ArchiveError>) -> StandbyInput {
    answer.unwrap_or_else(|error| {
        tracing::warn!("{error}; trying again");
        StandbyInput::StoreFailed
    })
}

async fn find_newest(archive: &Archive) -> Result<StandbyInput, ArchiveError> {
    if archive.has_finished().await? {
        return Ok(StandbyInput::Ended);
    }
    archive.newest_term().await.map(StandbyInput::Newest)
}
