//! A training that is one of several processes: when this one leads, and what it leaves for the others.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use engine::Engine;
use gateway::{LEADER_SILENCE_MS_MAX, Term};
use protocol::message::Welcome;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Ended, Material};
use crate::data::ShardStore;
use crate::driver::{Checkpoint, Facts, Helm};
use crate::run_directory::RunDirectory;
use crate::scale::{self, Archive, ArchiveError, Elected, Lead, Link, Pieces, SavedState, Subjects};

/// Pause between two tries to publish the results.
const PAUSE: Duration = Duration::from_secs(2);

/// What becomes of this process.
pub(super) enum Entered {
    /// It is the only one, and its state is in its directory alone.
    Alone,
    /// It leads, or is the only one that has its state in a store; from this state if there is one.
    Leads(Box<Part>, Option<Box<Checkpoint>>),
    /// It is over, or not wanted.
    Ended(Ended),
}

/// The part of a process whose state is in a store.
pub(super) struct Part {
    archive: Archive,
    term: Term,
    /// What of the directory's metrics the store has.
    pieces: Pieces,
    /// The way to other processes, if there may be any.
    bus: Option<(Link, Subjects)>,
}

/// Joins the run in the store, if the settings name one, and waits until this process leads. `tell` gets sentences for
/// the user.
///
/// # Errors
/// When bus or store cannot be used, or hold another run.
#[expect(clippy::too_many_arguments, reason = "each is made in another place of a training's beginning")]
pub(super) async fn enter(
    material: &Material,
    facts: Facts,
    welcome: &Welcome,
    shards: &Arc<ShardStore>,
    directory: &RunDirectory,
    stands_by: bool,
    stop: watch::Receiver<bool>,
    tell: &mut (dyn FnMut(String) + Send),
) -> Result<Entered> {
    let config = &material.config;
    let Some(store) = &config.store else { return Ok(Entered::Alone) };
    let (archive, record) = scale::begin(store, (config.to_toml(), facts), welcome, shards).await?;
    let mut part = match &config.link {
        None => {
            let (term, pieces) = (scale::next_term(&archive).await?, Pieces::default());
            Part { archive, term, pieces, bus: None }
        }
        Some(link) => {
            let (link, subjects) =
                (Link::connect(link, "shoal coordinator").await?, Subjects::of(record.realm));
            let seconds = LEADER_SILENCE_MS_MAX / 1_000;
            if stands_by {
                tell(format!("Standing by; this coordinator leads when none is heard for {seconds} s."));
            } else if archive.newest_term().await?.is_some() {
                tell(format!(
                    "This training has begun before; this coordinator leads when no other is heard for {seconds} s."
                ));
            }
            let term = match scale::elect(&archive, &link, &subjects, !stands_by, stop).await? {
                Elected::Leads(term) => term,
                Elected::Stopped => return Ok(Entered::Ended(Ended::Stopped)),
                Elected::Finished => {
                    take_results(&archive, directory).await?;
                    return Ok(Entered::Ended(Ended::Elsewhere));
                }
            };
            tracing::info!(term = term.number, "this coordinator leads");
            tell("This coordinator leads.".to_owned());
            Part { archive, term, pieces: Pieces::default(), bus: Some((link, subjects)) }
        }
    };
    if part.archive.has_finished().await? {
        take_results(&part.archive, directory).await?;
        return Ok(Entered::Ended(Ended::Elsewhere));
    }
    let Some(state) = part.archive.newest_state().await? else {
        return Ok(Entered::Leads(Box::new(part), None));
    };
    part.pieces = state.pieces.clone();
    let checkpoint = take_state(&state, welcome.run, &part.archive, directory)?;
    Ok(Entered::Leads(Box::new(part), Some(Box::new(checkpoint))))
}

/// The state of the process that led before. Its metrics become those of the run's directory.
fn take_state(
    state: &SavedState,
    run: u64,
    archive: &Archive,
    directory: &RunDirectory,
) -> Result<Checkpoint> {
    let place = || format!("cannot go on from the state in the store {}", archive.store());
    let checkpoint = Checkpoint::from_bytes(&state.checkpoint).with_context(place)?;
    if checkpoint.run != run {
        bail!(ArchiveError::OtherRun(archive.store().to_string()));
    }
    directory.replace_metrics(&state.metrics)?;
    directory.cut_metrics(checkpoint.snapshot.accepted.map(|accepted| accepted.iteration))?;
    Ok(checkpoint)
}

/// Takes over the files of a training that has ended in another process.
async fn take_results(archive: &Archive, directory: &RunDirectory) -> Result<()> {
    for (name, bytes) in archive.results().await? {
        directory.save_result(&name, &bytes)?;
    }
    Ok(())
}

impl Part {
    pub(super) fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Where checkpoints are saved, under which term, and what is there of the metrics.
    pub(super) fn shared(&self) -> (Term, Archive, Pieces) {
        (self.term, self.archive.clone(), self.pieces.clone())
    }

    /// The engine of this term.
    pub(super) async fn helm(&self, engine: Engine, parameters: usize) -> Result<Helm> {
        let Some((link, subjects)) = &self.bus else { return Ok(Helm::Alone(Box::new(engine))) };
        let (link, subjects) = (link.clone(), subjects.clone());
        let lead = Lead::new(self.term, engine, parameters, &self.archive, link, subjects).await?;
        Ok(Helm::Leads(Box::new(lead)))
    }

    /// Puts the results into the store and says there that the training has ended. What cannot be written is tried
    /// again for so many seconds. After that, another process that takes over ends the training once more.
    pub(super) async fn publish(&self, directory: &RunDirectory, seconds: u32) {
        let until = Instant::now() + Duration::from_secs(seconds.into());
        loop {
            match self.try_publish(directory).await {
                Ok(()) => return,
                Err(error) if Instant::now() < until => tracing::warn!("{error}; trying again"),
                Err(error) => {
                    let path = directory.path().display();
                    tracing::error!("{error}; the results are in {path} alone");
                    return;
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn try_publish(&self, directory: &RunDirectory) -> Result<(), ArchiveError> {
        for (name, bytes) in directory.results() {
            self.archive().save_result(name, bytes.into()).await?;
        }
        self.archive().finish(self.term).await?;
        Ok(())
    }
}
