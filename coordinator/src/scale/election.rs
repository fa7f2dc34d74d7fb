//! How this process comes to lead: it waits while somebody else does.

use std::time::{Duration, Instant};

use ::gateway::{Broadcast, Standby, StandbyInput, StandbyOutput, Term};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::ScaleError;
use super::archive::{Archive, ArchiveError};
use super::link::Link;
use super::subjects::Subjects;

/// Broadcasts that may wait to be read.
const HEARD_MAX: usize = 256;
/// How long the results may take after the end, and how often they are looked for.
const PUBLISHED_MAX: Duration = Duration::from_secs(60);
const PUBLISHED_PAUSE: Duration = Duration::from_millis(200);
/// The longest wait for something to happen.
const TICK_MAX: Duration = Duration::from_secs(5);

/// How waiting ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elected {
    /// This process leads, in this term.
    Leads(Term),
    /// The training has ended.
    Finished,
    /// The user wants this process to end.
    Stopped,
}

/// Waits until this process leads, the training has ended, or `stop` turns true. One that `begins` looks for a leader
/// in the store and leads at once if nobody ever has; a standby listens first.
///
/// # Errors
/// When the bus is closed for good.
pub async fn elect(
    archive: &Archive,
    link: &Link,
    subjects: &Subjects,
    begins: bool,
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
    let mut standby = if begins { Standby::beginning(0, nonce) } else { Standby::new(0, nonce) };
    loop {
        while let Some(output) = standby.poll_output() {
            let input = match output {
                StandbyOutput::Lead(term) => return Ok(Elected::Leads(term)),
                StandbyOutput::Finished => {
                    if is_published(archive).await {
                        return Ok(Elected::Finished);
                    }
                    // The leader was lost before it had published the results: somebody must end the training again.
                    standby = Standby::new(now_ms(), nonce);
                    continue;
                }
                StandbyOutput::FindNewest => find_newest(archive).await,
                StandbyOutput::Create(term) => {
                    archive.create_term(term).await.map(|()| StandbyInput::Created)
                }
            };
            let input = input.unwrap_or_else(|error| {
                tracing::warn!("{error}");
                StandbyInput::StoreFailed
            });
            standby.handle(now_ms(), input);
        }
        let wake =
            standby.wake_ms().map_or(TICK_MAX, |at| Duration::from_millis(at.saturating_sub(now_ms())));
        tokio::select! {
            Some(broadcast) = broadcasts.recv() => standby.handle(now_ms(), StandbyInput::Heard(broadcast)),
            () = sleep(wake.min(TICK_MAX)) => standby.handle(now_ms(), StandbyInput::Tick),
            _ = stop.wait_for(|stop| *stop) => return Ok(Elected::Stopped),
        }
    }
}

/// Waits until the results are in the store, which is after the leader says that the training has ended.
async fn is_published(archive: &Archive) -> bool {
    let until = Instant::now() + PUBLISHED_MAX;
    while Instant::now() < until {
        match archive.has_finished().await {
            Ok(true) => return true,
            Ok(false) => {}
            Err(error) => tracing::warn!("{error}"),
        }
        sleep(PUBLISHED_PAUSE).await;
    }
    false
}

async fn find_newest(archive: &Archive) -> Result<StandbyInput, ArchiveError> {
    if archive.has_finished().await? {
        return Ok(StandbyInput::Ended);
    }
    archive.newest_term().await.map(StandbyInput::Newest)
}
