//! `shoal resume`.

use std::path::Path;

use indicatif::MultiProgress;

use super::args::{ResumeArgs, StoppingArgs};
use super::launch::{self, Door, Show, Work};
use super::misuse;
use super::output::say;
use crate::config::{DataSource, RunConfig};
use crate::driver::Checkpoint;
use crate::room;
use crate::run_directory::{self, RunDirectory};
use crate::training;

pub(super) fn run(args: ResumeArgs, bars: MultiProgress) -> anyhow::Result<()> {
    let directory = RunDirectory::open(&args.run)?;
    let file = args.run.join("run.toml");
    let text = run_directory::load_config(&args.run)?;
    let mut config = RunConfig::from_toml(&file, &text)?;
    let json = args.json;
    overrule(&mut config, args);
    config.check()?;
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
    let material = training::prepare(config)?;
    if let Some(checkpoint) = &checkpoint {
        require_same_settings(&material.config, &material.data.fingerprint, checkpoint, &file)?;
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
    launch::train(Work { material, directory, checkpoint, door }, "", show)
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

/// Replaces the run's settings by the flags that are given.
fn overrule(config: &mut RunConfig, args: ResumeArgs) {
    let ResumeArgs { data, iterations, target_accuracy, stopping, serving, .. } = args;
    match data {
        Some(DataSource::Path(path)) => {
            config.data = DataSource::Path(std::path::absolute(&path).unwrap_or(path));
        }
        Some(embedded @ DataSource::EmbeddedMnist) => config.data = embedded,
        None => {}
    }
    if let Some(iterations) = iterations {
        config.iterations = iterations;
    }
    if target_accuracy.is_some() {
        config.target_accuracy = target_accuracy;
    }
    let StoppingArgs { rounds, epochs, max_seconds, target_loss, .. } = stopping;
    let StoppingArgs { gradient_tolerance, relative_decrease, patience, .. } = stopping;
    config.rounds = rounds.or(config.rounds);
    config.epochs = epochs.or(config.epochs);
    config.max_seconds = max_seconds.or(config.max_seconds);
    config.target_loss = target_loss.or(config.target_loss);
    config.gradient_tolerance = gradient_tolerance.or(config.gradient_tolerance);
    config.relative_decrease = relative_decrease.or(config.relative_decrease);
    config.patience = patience.or(config.patience);
    if let Some(listen) = serving.listen {
        config.listen = listen;
    }
    if !serving.allow_host.is_empty() {
        config.allow_host = serving.allow_host;
    }
    if let Some(local_workers) = serving.local_workers {
        config.local_workers = local_workers;
    }
    if let Some(wait_for) = serving.wait_for {
        config.wait_for = wait_for;
        // The time to wait goes with the number of volunteers to wait for.
        config.wait_seconds = None;
    }
    if serving.wait_seconds.is_some() {
        config.wait_seconds = serving.wait_seconds;
    }
}
