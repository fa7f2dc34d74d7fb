//! `shoal volunteer`: this machine's cores for a training elsewhere.

use std::io::{self, IsTerminal as _};
use std::num::NonZero;
use std::thread;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use worker::{HubStatus, Phase};

use super::args::VolunteerArgs;
use super::output::{results, say};
use super::stop;
use crate::config::LOCAL_WORKERS_MAX;
use crate::report::words::{count, counted};
use crate::volunteer::{self, Options};

const LEAVING: &str = "Leaving; press Ctrl-C again to leave at once.";

pub(super) fn run(args: VolunteerArgs, bars: MultiProgress) -> anyhow::Result<()> {
    let cores = args.cores.unwrap_or_else(all_but_one);
    say(format!("Lending {} to {}; Ctrl-C ends it.", counted(cores.into(), "core"), args.url));
    let summary = Runtime::new()?.block_on(async {
        let (report, status) = watch::channel(beginning(cores));
        let mut stop = stop::requested(bars.clone(), || Some(LEAVING));
        let shutdown = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let watching = tokio::spawn(show(status, bars));
        let options = Options { cores, report: Some(report) };
        let summary = volunteer::run(&args.url, options, shutdown).await;
        // The sender is gone, so that this ends, and the screen is tidy before the result.
        let _ = watching.await;
        summary
    })?;
    results(|output| {
        writeln!(output, "{}", summary.text)?;
        writeln!(
            output,
            "Contributed {} on {} in {}.",
            counted(summary.units as usize, "work unit"),
            counted(summary.examples as usize, "example"),
            counted(summary.assignments as usize, "result"),
        )?;
        Ok(())
    })
}

/// What is shown until there is something to show.
fn beginning(cores: u16) -> HubStatus {
    HubStatus {
        phase: Phase::Connecting,
        sentence: "Connecting.".to_owned(),
        cores,
        busy: 0,
        assignments_done: 0,
        units_done: 0,
        examples_done: 0,
        shards_held: 0,
        shard_bytes: 0,
        shards_awaited: 0,
        bytes_sent: 0,
        bytes_received: 0,
    }
}

fn all_but_one() -> u16 {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    u16::try_from(cores - 1).unwrap_or(LOCAL_WORKERS_MAX).clamp(1, LOCAL_WORKERS_MAX)
}

/// Shows what goes on, until nothing more can: on a terminal as one line that stays, else as a line
/// for every change that means something.
async fn show(mut status: watch::Receiver<HubStatus>, bars: MultiProgress) {
    const TICK: Duration = Duration::from_millis(120);
    let bar = io::stderr().is_terminal().then(|| {
        let style =
            ProgressStyle::with_template("{spinner:.cyan} {wide_msg}").expect("the template is valid");
        let bar = bars.add(ProgressBar::new_spinner().with_style(style));
        bar.enable_steady_tick(TICK);
        bar
    });
    let mut shown: Option<Phase> = None;
    while status.changed().await.is_ok() {
        let now = status.borrow_and_update().clone();
        match &bar {
            Some(bar) => {
                let so_far = format!("{} examples so far", count(now.examples_done as usize));
                bar.set_message(format!("{} · {so_far}", now.sentence));
            }
            // Computing and waiting take turns many times a second.
            None if shown.is_some_and(is_routine) && is_routine(now.phase) => {}
            None if shown != Some(now.phase) => say(&now.sentence),
            None => {}
        }
        shown = Some(now.phase);
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn is_routine(phase: Phase) -> bool {
    matches!(phase, Phase::Waiting | Phase::Downloading | Phase::Computing)
}
