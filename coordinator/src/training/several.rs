//! A training that is one of several processes: when this one leads, and what it leaves for the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use engine::Engine;
use gateway::{LEADER_SILENCE_MS_MAX, Term};
use protocol::message::Welcome;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{Ended, Kept, Material, Role};
use crate::config::RunConfig;
use crate::data::ShardStore;
use crate::driver::{Checkpoint, Facts, Helm, Order, Replaced};
use crate::run_directory::RunDirectory;
use crate::scale::{
    self, Archive, ArchiveError, Elected, Entry, Herald, Lead, Link, Pieces, SavedState, Subjects, Voice,
    Waits, until_there,
};

/// The pause after a try to publish the results; the next is twice as long, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// How often a leader looks in the store whether another process has taken its place.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A leader that is heard stands by when it finds a newer term so many times in a row: until then, whoever leads the
/// newer one may just not have spoken yet.
const LOOKS: u32 = 2;
/// Each time that nobody was heard to lead, it waits for twice as many looks the next time, up to this: two leaders who do
/// not hear each other, and are both heard, do not replace each other all the time.
const LOOKS_MAX: u32 = 64;
/// A leader that was heard at so many looks in a row was not silent for so long that somebody who hears it would have taken
/// its place.
const LOOKS_STEADY: u32 = 1 + (LEADER_SILENCE_MS_MAX / LOOK_EVERY.as_millis() as u64) as u32;
/// The numbers of the first and the last state of a term. The driver counts from 1.
const FIRST: u64 = 0;
const LAST: u64 = u64::MAX;
/// Whoever leads says so in the store more often than this.
const PULSE_AGE_MAX: Duration = Duration::from_secs(30);
/// How long a process that the user wants to end tries to save its last state in the store.
const LAST_SAVING_MAX: Duration = Duration::from_secs(5);

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
    /// The number of the end to which it leads.
    reopenings: u64,
    /// Whether the operator has paused the training under the leader before.
    is_paused: bool,
    /// Says that this process leads until its driver does.
    herald: Option<Herald>,
    /// How often it looks at a newer term before it stands by.
    looks: u32,
    /// Whether it was heard all the time before it found a newer term ([`Lookout`]).
    is_steady: Arc<AtomicBool>,
}

/// What came of the wish to end the training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    /// The training has ended with the results of this process.
    Here,
    /// It has ended with those of another one, which the run's directory has now.
    Elsewhere,
    /// Another process leads it, so that it has not ended.
    Replaced,
    /// The store cannot be written. Another process may end the training again.
    Nowhere,
}

/// Joins the run in the store, if the settings name one, and waits until this process leads. `tell` gets sentences for
/// the user.
///
/// # Errors
/// When bus or store cannot be used, or hold another run. It waits for those that are away.
#[expect(clippy::too_many_arguments, reason = "each is made in another place of a training's beginning")]
pub(super) async fn enter(
    material: &Material,
    facts: Facts,
    welcome: &Welcome,
    shards: &Arc<ShardStore>,
    directory: &RunDirectory,
    Role { stands_by, wants_more, mut kept }: Role,
    stop: watch::Receiver<bool>,
    tell: &mut (dyn FnMut(String) + Send),
) -> Result<Entered> {
    let config = &material.config;
    let Some(store) = &config.store else { return Ok(Entered::Alone) };
    let stopped = || Ok(Entered::Ended(Ended::Stopped));
    let begun = scale::begin(store, (config.to_toml(), facts), welcome, shards, &stop).await?;
    let Some((archive, record)) = begun else { return stopped() };
    if wants_more {
        let reopened = until_there(Waits::Always, &stop, async || take_up(&archive, config).await);
        if reopened.await?.is_none() {
            return stopped();
        }
    }
    let mut part = match &config.link {
        None => {
            let nonce = scale::random()?;
            let take = async || match is_led(&archive).await? {
                true => Ok(None),
                false => scale::next_term(&archive, nonce).await,
            };
            let Some(taken) = until_there(Waits::Always, &stop, take).await? else { return stopped() };
            let Some(term) = taken else {
                bail!(
                    "another process leads the run in the store {store}; stop it first, or join it with --link, the NATS \
                     servers that it uses, and --standby"
                )
            };
            Part {
                archive,
                term,
                pieces: Pieces::default(),
                bus: None,
                reopenings: 0,
                is_paused: false,
                herald: None,
                looks: LOOKS,
                is_steady: Arc::default(),
            }
        }
        Some(link) => {
            let Some(link) = Link::connect(link, "shoal coordinator", &stop).await? else { return stopped() };
            let subjects = Subjects::of(record.realm);
            let seconds = LEADER_SILENCE_MS_MAX / 1_000;
            if kept.is_some() {
                tell("This coordinator takes the next term.".to_owned());
            } else if stands_by {
                tell(format!("Standing by; this coordinator leads when it hears no other for {seconds} s."));
            } else if matches!(archive.newest_term().await, Ok(Some(_))) {
                tell(format!(
                    "This training has begun before; this coordinator leads when it has heard no other for {seconds} s."
                ));
            }
            let entry = match &kept {
                Some(kept) => Entry::Returns(kept.term),
                None if stands_by => Entry::StandsBy,
                None => Entry::Begins,
            };
            let elected = scale::elect(&archive, &link, &subjects, entry, stop.clone()).await?;
            let (term, has_heard) = match elected {
                Elected::Leads { term, has_heard } => (term, has_heard),
                Elected::Stopped => return stopped(),
                Elected::Finished => {
                    let taken = async || take_results(&archive, directory).await;
                    let is_stopped = until_there(Waits::Always, &stop, taken).await?.is_none();
                    return Ok(Entered::Ended(if is_stopped { Ended::Stopped } else { Ended::Elsewhere }));
                }
            };
            tracing::info!(term = term.number, "this coordinator leads");
            tell("This coordinator leads.".to_owned());
            kept = kept.filter(|_| !has_heard);
            let herald = Some(Herald::of(term, link.clone(), subjects.clone()));
            Part {
                archive,
                term,
                pieces: Pieces::default(),
                bus: Some((link, subjects)),
                reopenings: 0,
                is_paused: false,
                herald,
                looks: looks_after(kept.as_deref()),
                is_steady: Arc::default(),
            }
        }
    };
    // Whoever has won a term waits for the store, too: it may be the only one that is left.
    let load = async || match part.archive.has_finished().await? {
        true => take_results(&part.archive, directory).await.map(|()| None),
        false => {
            let (reopenings, is_paused) = (part.archive.reopenings().await?, part.archive.is_paused().await?);
            let newest = if kept.is_none() { part.archive.newest_state().await? } else { None };
            Ok(Some((newest, reopenings, is_paused)))
        }
    };
    let Some(loaded) = until_there(Waits::Always, &stop, load).await? else { return stopped() };
    let Some((newest, reopenings, is_paused)) = loaded else { return Ok(Entered::Ended(Ended::Elsewhere)) };
    (part.reopenings, part.is_paused) = (reopenings, is_paused);
    if let Some(kept) = kept {
        let Kept { checkpoint, .. } = *kept;
        tracing::info!("no other coordinator was heard: this one goes on from its own state");
        return match part.save_first(&checkpoint, directory, &stop).await? {
            true => Ok(Entered::Leads(Box::new(part), Some(Box::new(checkpoint)))),
            false => stopped(),
        };
    }
    let Some(state) = newest else { return Ok(Entered::Leads(Box::new(part), None)) };
    part.pieces = state.pieces.clone();
    let checkpoint = take_state(&state, welcome.run, &part.archive, directory)?;
    Ok(Entered::Leads(Box::new(part), Some(Box::new(checkpoint))))
}

/// Takes up a training that has ended if these settings let it go on.
async fn take_up(archive: &Archive, config: &RunConfig) -> Result<(), ArchiveError> {
    if archive.end().await?.is_none() {
        return Ok(());
    }
    let newest = archive.newest_state().await?;
    let Some(Ok(Checkpoint { snapshot, seconds, .. })) =
        newest.map(|state| Checkpoint::from_bytes(&state.checkpoint))
    else {
        return Ok(());
    };
    let done = snapshot.accepted.map_or(0, |accepted| accepted.iteration);
    let goes_on = config.iterations > done
        && config.rounds.is_none_or(|rounds| rounds > snapshot.counters.rounds)
        && config.max_seconds.is_none_or(|most| most as f64 > seconds);
    if goes_on { archive.reopen().await } else { Ok(()) }
}

/// Whether somebody leads whom a process without a bus does not hear. Looks for a while if somebody has led last who did
/// not say that he does not any more.
async fn is_led(archive: &Archive) -> Result<bool, ArchiveError> {
    let Some(pulse) = archive.pulse().await? else { return Ok(false) };
    if archive.has_finished().await? {
        return Ok(false);
    }
    let seconds = PULSE_AGE_MAX.as_secs();
    tracing::warn!("another process led this run before; watching for {seconds} s whether it still does");
    let until = Instant::now() + PULSE_AGE_MAX;
    while Instant::now() < until {
        sleep(PAUSE).await;
        match archive.pulse().await? {
            None => return Ok(false),
            Some(now) if now != pulse => return Ok(true),
            Some(_) => {}
        }
    }
    Ok(false)
}

/// The state of the process that led before. It and its metrics become those of the run's directory. If this process has
/// led before that one, its own earlier states may hold a lie that the training has gone back for since, and nobody
/// remembers the liar any more.
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
    directory.adopt(Checkpoint::VERSION, &state.checkpoint, checkpoint.snapshot.counters.rounds)?;
    directory.replace_metrics(&state.metrics)?;
    Ok(checkpoint)
}

/// Takes over the files of a training that has ended in another process.
async fn take_results(archive: &Archive, directory: &RunDirectory) -> Result<(), ArchiveError> {
    let Some(end) = archive.end().await? else { return Ok(()) };
    for (name, bytes) in archive.results(&end).await? {
        directory.save_result(&name, &bytes)?;
    }
    Ok(())
}

impl Part {
    /// Where checkpoints are saved, under which term, and what is there of the metrics.
    pub(super) fn shared(&self) -> (Term, Archive, Pieces) {
        (self.term, self.archive.clone(), self.pieces.clone())
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// The engine of this term.
    pub(super) async fn helm(&self, engine: Engine, parameters: usize) -> Result<Helm> {
        let Some((link, subjects)) = &self.bus else { return Ok(Helm::Alone(Box::new(engine))) };
        let (link, subjects) = (link.clone(), subjects.clone());
        let lead = Lead::new(self.term, engine, parameters, &self.archive, link, subjects).await?;
        Ok(Helm::Leads(Box::new(lead)))
    }

    /// The driver says from now on that this process leads.
    pub(super) fn hush(&mut self) {
        self.herald = None;
    }

    /// Tells the driver when the store says that this process is to lead no more: messages may not reach it.
    pub(super) fn look_after(&self, orders: &mpsc::Sender<Order>) -> JoinHandle<()> {
        let (archive, term, orders) = (self.archive.clone(), self.term, orders.downgrade());
        let (bus, looks) = (self.bus.clone(), self.bus.as_ref().map(|_| self.looks));
        let is_steady = Arc::clone(&self.is_steady);
        tokio::spawn(async move {
            let voice = match &bus {
                Some((link, subjects)) => Voice::of(term, link, subjects).await.ok(),
                None => None,
            };
            let mut lookout = Lookout::new(looks);
            let mut looked = Instant::now();
            for number in 0.. {
                if let Err(error) = archive.beat(term, number).await {
                    tracing::debug!("{error}");
                }
                sleep(LOOK_EVERY).await;
                // Whoever did not run was not heard either.
                let has_run = std::mem::replace(&mut looked, Instant::now()).elapsed() < 2 * LOOK_EVERY;
                let is_heard = has_run && voice.as_ref().is_some_and(Voice::is_heard);
                let is_over = match archive.newest_term().await {
                    Ok(newest) => lookout.is_over(newest > Some(term), is_heard),
                    Err(_) => false,
                };
                is_steady.store(lookout.is_steady(), Ordering::Relaxed);
                let replaced = match archive.has_finished().await {
                    Ok(true) => Some(Replaced::Ended),
                    _ if is_over && lookout.is_steady() => Some(Replaced::Unheard),
                    _ => is_over.then_some(Replaced::Led),
                };
                let Some(orders) = orders.upgrade() else { return };
                if let Some(replaced) = replaced {
                    let _ = orders.send(Order::Replaced(replaced)).await;
                    return;
                }
            }
        })
    }

    /// What this process goes on with if it steps down now; `None` if that is for others to say.
    pub(super) fn keep(&self, checkpoint: Checkpoint) -> Option<Box<Kept>> {
        let (link, subjects) = self.bus.as_ref().filter(|_| self.is_steady.load(Ordering::Relaxed))?;
        let herald = Some(Herald::of(self.term, link.clone(), subjects.clone()));
        Some(Box::new(Kept { checkpoint, looks: self.looks, term: self.term, _herald: herald }))
    }

    /// Saves the state with which this process goes on, before it leads: those of older terms are not to be gone on from.
    /// Answers whether that is done; `stop` may have turned true.
    async fn save_first(
        &mut self,
        checkpoint: &Checkpoint,
        directory: &RunDirectory,
        stop: &watch::Receiver<bool>,
    ) -> Result<bool> {
        directory.cut_metrics(checkpoint.snapshot.accepted.map(|accepted| accepted.iteration))?;
        let (bytes, metrics) = (checkpoint.to_bytes(), directory.metrics_from(|_| 0)?);
        let save = async || {
            let mut pieces = Pieces::default();
            self.archive.save(self.term, FIRST, bytes.clone(), &metrics, &mut pieces).await.map(|()| pieces)
        };
        let Some(pieces) = until_there(Waits::Always, stop, save).await? else { return Ok(false) };
        self.pieces = pieces;
        Ok(true)
    }

    /// Saves the state at which the training has ended here, so that whoever takes over has no round to repeat.
    pub(super) async fn save_last(
        &self,
        checkpoint: Vec<u8>,
        directory: &RunDirectory,
        stop: &watch::Receiver<bool>,
    ) -> Result<()> {
        // What the directory has may be more than what the store had last: all of it is looked at once more.
        let metrics = directory.metrics_from(|_| 0)?;
        let save = async || {
            let mut pieces = Pieces::default();
            self.archive.save(self.term, LAST, checkpoint.clone(), &metrics, &mut pieces).await
        };
        if *stop.borrow() {
            // Whoever wants this process to end does not wait for long. A standby repeats what is not there.
            if !matches!(timeout(LAST_SAVING_MAX, save()).await, Ok(Ok(()))) {
                tracing::warn!("the last state cannot be written to the store {}", self.archive.store());
            }
            return Ok(());
        }
        until_there(Waits::Always, stop, save).await?;
        Ok(())
    }

    /// Puts the results into the store, and says there that the training has ended, with them. Waits for a store that is
    /// away until `stop` turns true. A process without a bus, which nobody waits for, gives up after so many seconds.
    pub(super) async fn publish(
        &self,
        directory: &RunDirectory,
        reason: &str,
        seconds: u32,
        stop: &watch::Receiver<bool>,
    ) -> Published {
        let until = Instant::now() + Duration::from_secs(seconds.into());
        let mut pause = PAUSE;
        loop {
            match self.try_publish(directory, reason).await {
                Ok(published) => return published,
                Err(error) => {
                    let gives_up = *stop.borrow() || self.bus.is_none() && Instant::now() >= until;
                    if gives_up || error.downcast_ref().is_none_or(|error| !may_pass(error)) {
                        let path = directory.path().display();
                        tracing::error!("{error:#}; the results are only in {path}, not in the store");
                        return Published::Nowhere;
                    }
                    tracing::warn!("{error:#}; trying again to write the results to the store");
                }
            }
            let _ = timeout(pause, scale::stopped(&mut stop.clone())).await;
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    async fn try_publish(&self, directory: &RunDirectory, reason: &str) -> Result<Published> {
        let archive = &self.archive;
        if archive.end().await?.is_none() {
            if archive.newest_term().await? > Some(self.term) {
                return Ok(Published::Replaced);
            }
            let own = archive.save_results(self.term, directory.results(), reason.to_owned()).await?;
            if archive.finish(self.reopenings, &own).await?.results == own.results {
                return Ok(Published::Here);
            }
            // Others are named as those of the training.
            archive.remove_results(&own).await?;
        }
        take_results(archive, directory).await?;
        Ok(Published::Elsewhere)
    }

    /// Waits until what the leader said last is on its way, and says in the store that it does not lead any more.
    pub(super) async fn settle(&self) {
        let _ = timeout(LAST_SAVING_MAX, self.rest()).await;
        if let Some((link, _)) = &self.bus {
            link.settle().await;
        }
    }
}

/// Looks at the newest term in the store, again and again.
///
/// Whoever is cut off from the bus takes a term beside a leader that is heard. That is no reason to go at once. But states
/// are ordered by term, so what the leader saves from then on would be lost with it. It therefore takes the term after that
/// one.
#[derive(Debug)]
struct Lookout {
    /// After how many looks a leader that is heard goes; `None` without a bus on which others say that they lead.
    looks: Option<u32>,
    /// Looks in a row that found a newer term while this leader was heard, and so would have heard another one.
    newer: u32,
    /// Looks at which it was heard, before there was a newer term, since the last at which it was not.
    heard: u32,
}

impl Lookout {
    fn new(looks: Option<u32>) -> Lookout {
        Lookout { looks, newer: 0, heard: 0 }
    }

    /// Whether the leader is to go: the store has a newer term, or not, and others hear it, or do not.
    fn is_over(&mut self, is_newer: bool, is_heard: bool) -> bool {
        if !is_heard {
            self.heard = 0;
        } else if !is_newer {
            self.heard += 1;
        }
        let Some(looks) = self.looks else { return is_newer };
        self.newer = if is_newer && is_heard { self.newer + 1 } else { 0 };
        self.newer >= looks
    }

    /// Whether nobody had a reason to take a newer term who hears this leader. Otherwise the newer one's may have been the
    /// better state, even if nobody leads it any more.
    fn is_steady(&self) -> bool {
        self.heard >= LOOKS_STEADY
    }
}

/// How many looks it takes a leader to stand by that comes to lead with what it kept.
fn looks_after(kept: Option<&Kept>) -> u32 {
    kept.map_or(LOOKS, |kept| LOOKS_MAX.min(2 * kept.looks))
}

impl Part {
    async fn rest(&self) -> Result<(), ArchiveError> {
        // Somebody else may lead by now, and say so.
        if self.archive.newest_term().await? == Some(self.term) { self.archive.rest().await } else { Ok(()) }
    }
}

/// Whether trying again may help.
fn may_pass(error: &ArchiveError) -> bool {
    matches!(error, ArchiveError::Store(error) if error.may_pass(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn saved(rounds: u64) -> SavedState {
        let checkpoint = Checkpoint::sample(rounds).to_bytes();
        SavedState { checkpoint, metrics: Vec::new(), pieces: Pieces::default() }
    }

    #[test]
    fn a_leader_goes_for_a_newer_term_if_it_would_have_heard_whose_that_is() {
        let mut alone = Lookout::new(None);
        assert!(!alone.is_over(false, false) && alone.is_over(true, false));
        let mut cut_off = Lookout::new(Some(2));
        assert!((0..10).all(|_| !cut_off.is_over(true, false)), "others lead, or nobody hears anybody");
        let mut heard = Lookout::new(Some(2));
        let looks = [(true, true), (false, true), (true, true), (true, false), (true, true), (true, true)];
        let is_over = looks.map(|(is_newer, is_heard)| heard.is_over(is_newer, is_heard));
        assert_eq!(is_over, [false, false, false, false, false, true]);
    }

    /// Who was not heard for a while may have been replaced by somebody who is gone by now, and knew more.
    #[test]
    fn only_a_leader_that_was_heard_all_the_time_keeps_its_state() {
        let is_steady = |looks: &[(bool, bool)]| {
            let mut lookout = Lookout::new(Some(2));
            looks.iter().for_each(|(is_newer, is_heard)| {
                lookout.is_over(*is_newer, *is_heard);
            });
            lookout.is_steady()
        };
        assert!(is_steady(&[(false, true), (false, true), (false, true), (true, true), (true, true)]));
        assert!(!is_steady(&[(false, true), (false, true), (true, true), (true, true)]), "too short a time");
        let gap = [(false, true), (false, true), (false, true), (false, false), (true, true), (true, true)];
        assert!(!is_steady(&gap));
        let away = [(false, true), (false, true), (false, true), (true, false), (true, true), (true, true)];
        assert!(!is_steady(&away));
    }

    #[test]
    fn whoever_takes_a_state_from_the_store_keeps_none_of_its_own_that_do_not_lead_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let directory = RunDirectory::create(&path, "").unwrap();
        let archive = Archive::new(Store::in_memory());
        for rounds in [60, 80] {
            directory.save_checkpoint(Checkpoint::VERSION, &saved(rounds).checkpoint, rounds).unwrap();
        }
        // Its own last state leads on from all that it has.
        take_state(&saved(80), 1, &archive, &directory).unwrap();
        assert_eq!(directory.earlier(), [60, 80]);
        // Another process may have gone back behind them since.
        take_state(&saved(150), 1, &archive, &directory).unwrap();
        assert!(directory.earlier().is_empty(), "{:?}", directory.earlier());
        let rounds = || {
            let state = directory.load_checkpoint(Checkpoint::VERSION).unwrap().unwrap().state;
            Checkpoint::from_bytes(&state).unwrap().snapshot.counters.rounds
        };
        assert_eq!(rounds(), 150);
        std::fs::remove_file(path.join("checkpoint")).unwrap();
        assert_eq!(rounds(), 150);
    }
}
