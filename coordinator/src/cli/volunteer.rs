//! `shoal volunteer`: lends this machine's cores to a training elsewhere.

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;
use worker::{HubPhase, HubStatus};

use super::args::VolunteerArgs;
use super::output::{has_screen, results, say};
use super::{Interrupted, misuse, stop};
use crate::config::LOCAL_WORKERS_MAX;
use crate::report::words::counted;
use crate::volunteer::{self, Address, AddressError, Identity, Options};

const LEAVING: &str = "Leaving; press Ctrl-C again to leave at once.";

pub(super) fn run(args: VolunteerArgs, bars: MultiProgress) -> anyhow::Result<()> {
    let address: Address = args.url.parse().map_err(|error: AddressError| misuse(error.to_string()))?;
    let cores = args.cores.unwrap_or_else(all_but_one);
    let give_up_after =
        args.give_up_after.map_or(volunteer::GIVE_UP_AFTER, |seconds| Duration::from_secs(seconds.into()));
    let identity = match &args.identity {
        Some(file) => Identity::of_file(file)?,
        None => Identity::of_user()?,
    };
    let token = identity.token(address.authority());
    say(format!("Lending {} to {address}; Ctrl-C ends it.", counted(cores.into(), "core")));
    let summary = Runtime::new()?.block_on(async {
        let (report, status) = watch::channel(beginning(cores));
        let mut stop = stop::requested(bars.clone(), || Some(LEAVING));
        let shutdown = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let watching = tokio::spawn(show(address, status, bars));
        let options = Options { cores, give_up_after, ca: args.ca, token, report: Some(report) };
        let summary = volunteer::run(&args.url, options, shutdown).await;
        // The sender is gone, so this ends, and the screen is clear before the result.
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
    })?;
    if summary.finished { Ok(()) } else { Err(Interrupted.into()) }
}

/// The status shown at the beginning.
fn beginning(cores: u16) -> HubStatus {
    HubStatus {
        phase: HubPhase::Connecting,
        sentence: "Connecting.".to_owned(),
        cores,
        limit: None,
        busy: 0,
        assignments_done: 0,
        units_done: 0,
        examples_done: 0,
        shards_held: 0,
        shard_bytes: 0,
        shards_awaited: 0,
        bytes_sent: 0,
        bytes_received: 0,
        computing_ms: 0,
        examples_counted: 0,
        examples_of_all: 0,
        results_late: 0,
        finals: None,
    }
}

fn all_but_one() -> u16 {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    u16::try_from(cores - 1).unwrap_or(LOCAL_WORKERS_MAX).clamp(1, LOCAL_WORKERS_MAX)
}

/// Shows the status until it can no longer change: on a terminal as one line that stays, otherwise as a line
/// for every important change.
async fn show(address: Address, mut status: watch::Receiver<HubStatus>, bars: MultiProgress) {
    const TICK: Duration = Duration::from_millis(120);
    /// A running coordinator has answered by then.
    const PATIENCE: Duration = Duration::from_secs(2);
    let bar = has_screen().then(|| {
        let style =
            ProgressStyle::with_template("{spinner:.cyan} {wide_msg}").expect("the template is valid");
        let bar = bars.add(ProgressBar::new_spinner().with_style(style));
        bar.enable_steady_tick(TICK);
        bar
    });
    let tell = |sentence: &str| match &bar {
        Some(bar) => bar.set_message(sentence.to_owned()),
        None => say(sentence),
    };
    let first = status.borrow_and_update().clone();
    tell(&first.sentence);
    let (mut shown, mut limit, mut connected) = (first, None, false);
    let mut changed = match timeout(PATIENCE, status.changed()).await {
        Ok(changed) => changed,
        Err(_) => {
            tell(&format!("No answer yet from {address}; still trying."));
            status.changed().await
        }
    };
    while changed.is_ok() {
        let now = status.borrow_and_update().clone();
        if limit != now.limit {
            if let Some(limit) = &now.limit {
                bars.suspend(|| say(format!("Lending {limit}")));
            }
            limit.clone_from(&now.limit);
        }
        match &bar {
            Some(bar) => {
                let so_far = format!("{} so far", counted(now.examples_done as usize, "example"));
                bar.set_message(format!("{} · {so_far}", now.sentence));
            }
            // Computing and waiting alternate many times a second.
            None if is_routine(shown.phase) && is_routine(now.phase) => {}
            // Before there ever was a connection, each new reason why is worth a line.
            None if shown.phase != now.phase || (!connected && shown.sentence != now.sentence) => {
                say(&now.sentence);
            }
            None => {}
        }
        connected |= now.phase != HubPhase::Connecting;
        shown = now;
        changed = status.changed().await;
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn is_routine(phase: HubPhase) -> bool {
    matches!(phase, HubPhase::Waiting | HubPhase::Downloading | HubPhase::Computing)
}
