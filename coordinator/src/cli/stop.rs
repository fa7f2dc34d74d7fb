//! Ctrl-C: once to finish cleanly, twice to end at once.

use std::sync::Arc;

use indicatif::MultiProgress;
use tokio::sync::watch;

use super::launch::Outcome;
use super::output::say;

/// The exit code of a program ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Turns true when the user asks to stop for the first time; the second time ends the process.
/// To be called inside a tokio runtime.
pub(super) fn requested(bars: MultiProgress, outcome: Arc<Outcome>) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        interrupted().await;
        if !outcome.is_shown() {
            bars.suspend(|| say("Stopping and saving; press Ctrl-C again to stop at once."));
        }
        sender.send_replace(true);
        interrupted().await;
        std::process::exit(INTERRUPTED);
    });
    receiver
}

/// Ctrl-C, or on Unix the request of a service manager to terminate.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => return,
                result = tokio::signal::ctrl_c() => if result.is_ok() { return },
            }
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // The system gives no signals; the process then ends in the system's own way.
        std::future::pending::<()>().await;
    }
}
