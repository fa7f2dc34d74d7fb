//! Ctrl-C: once to finish cleanly, twice to end at once.

use indicatif::MultiProgress;
use tokio::sync::watch;

use super::output::say;

/// The exit code of a program ended by Ctrl-C.
pub(super) const INTERRUPTED: u8 = 130;

/// Turns true when the user asks to stop for the first time; the second time ends the process. `answer` gives
/// the reply to the first, if any. Call this inside a tokio runtime.
pub(super) fn requested(
    bars: MultiProgress,
    answer: impl FnOnce() -> Option<&'static str> + Send + 'static,
) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        interrupted().await;
        if let Some(answer) = answer() {
            bars.suspend(|| say(answer));
        }
        sender.send_replace(true);
        interrupted().await;
        std::process::exit(INTERRUPTED.into());
    });
    receiver
}

/// Waits for Ctrl-C, or on Unix for a service manager's request to terminate.
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
        // The system offers no signals, so the process ends in the system's own way.
        std::future::pending::<()>().await;
    }
}
