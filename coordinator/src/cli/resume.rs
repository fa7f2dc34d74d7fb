//! `shoal resume`.

use std::path::Path;

use indicatif::MultiProgress;
use tokio::runtime::Runtime;

use super::args::{Flags, ResumeArgs};
use super::launch::{self, Door, Place, Show, Work};
use super::misuse;
use super::output::say;
use crate::config::{ConfigFile, RunConfig, StoreUrl};
use crate::driver::Checkpoint;
use crate::room;
use crate::run_directory::{self, RunDirectory};
use crate::scale;
use crate::training;

pub(super) fn run(args: ResumeArgs, bars: MultiProgress) -> anyhow::Result<()> {
    if let Some(store) = store_of(&args.run) {
        return from_store(store, args, bars);
    }
    // A path that leads to no run at all is what is wrong, whatever else is said.
    if args.out.is_some() && args.run.join("run.toml").exists() {
        return Err(misuse(
            "--out: a run goes on in the directory that it has; only one from a store needs another",
        ));
    }
    let directory = RunDirectory::open(&args.run)?;
    let file = args.run.join("run.toml");
    let text = run_directory::load_config(&args.run)?;
    let mut config = RunConfig::from_toml(&file, &text)?;
    let ResumeArgs { settings: Flags(settings), json, standby, .. } = args;
    let wants_more = !standby && names_limit(&settings);
    if settings.wait_for.is_some() || settings.wait_seconds.is_none() {
        // The run has begun, so it goes on at once unless this command says otherwise. The time to wait goes
        // with the number of volunteers to wait for.
        (config.wait_for, config.wait_seconds) = (0, None);
    }
    config.overrule(settings)?;
    config.draw_invite()?;
    config.check()?;
    launch::require_link(standby, &config)?;
    let checkpoint = launch::load_checkpoint(&directory)?;
    if let Some(checkpoint) = &checkpoint {
        require_more(&config, checkpoint)?;
        // Compare with the fingerprint in run.toml before reading the data. Changed settings also change the
        // prepared data, and the error would then blame the data.
        let recorded = config.data_fingerprint.as_deref();
        if let Some(recorded) = recorded.and_then(|text| blake3::Hash::from_hex(text).ok()) {
            require_same_settings(&config, recorded.as_bytes(), checkpoint, &file)?;
        }
    }
    let mut material = training::prepare(config)?;
    if let Some(checkpoint) = &checkpoint {
        require_same_settings(&material.config, &material.data.fingerprint, checkpoint, &file)?;
    }
    if checkpoint.is_none() {
        launch::tell(material.read_start()?);
    }
    room::check(&material.network, training::load_of(&material), directory.path())?;
    let door = Door::open(&material.config)?;
    match checkpoint.as_ref().and_then(|checkpoint| checkpoint.snapshot.accepted.as_ref()) {
        Some(accepted) => say(format!("Continuing after iteration {}.", accepted.iteration)),
        None => say("The run has no checkpoint yet; starting at the beginning."),
    }
    // Last, so that an error above changes nothing.
    let saved = material.config.to_toml();
    if saved != text {
        directory.save_config(&saved)?;
    }
    let show = Show { bars, json, invite_phones: false, keep_serving: false };
    launch::train(Work { material, directory, checkpoint, door, stands_by: standby, wants_more }, "", show)
}

/// The store that the argument names: a URL, or a folder that has a run's record and is no run directory.
fn store_of(run: &Path) -> Option<StoreUrl> {
    let text = run.to_str()?;
    let is_store = text.contains("://") || (run.join("run").is_file() && !run.join("run.toml").exists());
    is_store.then(|| text.parse().ok()).flatten()
}

/// Goes on from the state in a store, in a directory of its own. Without --link it does so alone.
fn from_store(store: StoreUrl, args: ResumeArgs, bars: MultiProgress) -> anyhow::Result<()> {
    let ResumeArgs { settings: Flags(settings), json, standby, out, .. } = args;
    let wants_more = !standby && names_limit(&settings);
    let record = Runtime::new()?.block_on(scale::find(&store))?;
    let mut config = RunConfig::from_toml(&args.run.join("run"), &record.settings)?;
    (config.link, config.store) = (None, Some(store));
    (config.wait_for, config.wait_seconds) = (0, None);
    config.overrule(settings)?;
    config.check()?;
    launch::require_link(standby, &config)?;
    let place = out.map_or_else(|| Place::Numbered(config.data.name()), Place::Exactly);
    let show = Show { bars, json, invite_phones: false, keep_serving: false };
    launch::begin_or_go_on(config, place, (standby, wants_more), show)
}

/// Whether the command line says how far the training is to go: then one that has ended may go on. A service that starts
/// again says nothing of that.
fn names_limit(settings: &ConfigFile) -> bool {
    settings.iterations.is_some()
        || settings.rounds.is_some()
        || settings.epochs.is_some()
        || settings.max_seconds.is_some()
}

/// Refuses limits that the run has passed. Only the data can tell this of epochs; a run past that limit ends
/// at once.
fn require_more(config: &RunConfig, checkpoint: &Checkpoint) -> anyhow::Result<()> {
    let Checkpoint { snapshot, seconds, .. } = checkpoint;
    let iterations = snapshot.accepted.map_or(0, |accepted| accepted.iteration);
    let below = |setting: &str, limit: u64, done: u64| {
        (limit < done).then(|| {
            misuse(format!(
                "{setting}: the run has done {done} already, more than {limit}; give a larger number"
            ))
        })
    };
    let no_limit = u64::MAX;
    let too_low = below("iterations", config.iterations, iterations)
        .or_else(|| below("rounds", config.rounds.unwrap_or(no_limit), snapshot.counters.rounds))
        .or_else(|| below("max-seconds", config.max_seconds.unwrap_or(no_limit), *seconds as u64));
    too_low.map_or(Ok(()), Err)
}

/// Refuses a checkpoint that was made with other settings.
fn require_same_settings(
    config: &RunConfig,
    data_fingerprint: &[u8; 32],
    checkpoint: &Checkpoint,
    file: &Path,
) -> anyhow::Result<()> {
    if training::run_number(config, data_fingerprint) == checkpoint.run {
        return Ok(());
    }
    Err(misuse(format!(
        "{} differs from the settings that this run was trained with; restore it, or start a new run with \
         shoal train --config",
        file.display()
    )))
}
