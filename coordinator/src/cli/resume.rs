//! `shoal resume`.

use anyhow::Context as _;
use indicatif::MultiProgress;

use super::args::ResumeArgs;
use super::launch::{self, Show, Work};
use super::misuse;
use super::output::say;
use crate::config::RunConfig;
use crate::driver::Checkpoint;
use crate::run_directory::{self, RunDirectory};

pub(super) fn run(args: ResumeArgs, bars: MultiProgress) -> anyhow::Result<()> {
    let directory = RunDirectory::open(&args.run)?;
    let text = run_directory::load_config(&args.run)?;
    let mut config = RunConfig::from_toml(&args.run.join("run.toml"), &text)?;
    let json = args.json;
    overrule(&mut config, args)?;
    let data = launch::prepare(&mut config)?;
    let network = launch::network(&config, &data)?;
    let checkpoint = load_checkpoint(&directory)?;
    match checkpoint.as_ref().and_then(|checkpoint| checkpoint.snapshot.accepted.as_ref()) {
        Some(accepted) => say(format!("Going on after iteration {}.", accepted.iteration)),
        None => say("Nothing was saved yet; starting at the beginning."),
    }
    // Last, so that a mistake above changes nothing.
    let saved = config.to_toml();
    if saved != text {
        directory.save_config(&saved)?;
    }
    let show = Show { bars, json, invite_phones: false, keep_serving: false };
    launch::train(Work { config, data, network, directory, checkpoint }, show)
}

/// Lays the flags over what the run was started with.
fn overrule(config: &mut RunConfig, args: ResumeArgs) -> anyhow::Result<()> {
    let ResumeArgs { iterations, target_accuracy, serving, .. } = args;
    match iterations {
        Some(0) => return Err(misuse("iterations: give a number from 1")),
        Some(iterations) => config.iterations = iterations,
        None => {}
    }
    if target_accuracy.is_some() {
        config.target_accuracy = target_accuracy;
    }
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
        // Whoever waits for others now says anew for how long.
        config.wait_seconds = None;
    }
    if serving.wait_seconds.is_some() {
        config.wait_seconds = serving.wait_seconds;
    }
    Ok(())
}

fn load_checkpoint(directory: &RunDirectory) -> anyhow::Result<Option<Checkpoint>> {
    let Some(loaded) = directory.load_checkpoint()? else { return Ok(None) };
    if let Some(damage) = loaded.last_was_damaged {
        say(format!("{damage}; going on from the checkpoint before it, to the same result"));
    }
    let checkpoint = Checkpoint::from_bytes(&loaded.state).with_context(|| {
        format!("the checkpoint in {} is of another version of shoal", directory.path().display())
    })?;
    Ok(Some(checkpoint))
}
