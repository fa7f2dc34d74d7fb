//! Ctrl-C, or the system's request to end: the first time to finish cleanly, the second to end at once.

use std::sync::OnceLock;

use indicatif::MultiProgress;
use tokio::sync::watch;

use super::output::say;

/// The signal that asked this process to end. The numbers are those of Unix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    /// The terminal was closed.
    HangUp = 1,
    /// Ctrl-C.
    Interrupt = 2,
    /// A service manager, or `kill`.
    Terminate = 15,
}

/// The first request. A signal goes to the whole process, so this belongs to the process too.
static FIRST: OnceLock<Signal> = OnceLock::new();

impl Signal {
    /// The code with which shells report a program that the signal ended.
    fn exit_code(self) -> u8 {
        128 + self as u8
    }
}

/// The exit code of a program that ended because it was asked to: 130 for Ctrl-C, 143 for a request to terminate, 129
/// for a closed terminal.
pub(super) fn exit_code() -> u8 {
    FIRST.get().unwrap_or(&Signal::Interrupt).exit_code()
}

/// Turns true when the user asks to stop for the first time; the second time ends the process. `answer` gives
/// the reply to the first request, if any. Call this inside a tokio runtime.
pub(super) fn requested(
    bars: MultiProgress,
    answer: impl FnOnce() -> Option<&'static str> + Send + 'static,
) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    // Before the task first runs: on a busy machine a signal could come sooner, and end the process unsaved.
    let mut signals = Signals::listen();
    tokio::spawn(async move {
        let first = signals.next().await;
        let _ = FIRST.set(first);
        if let Some(answer) = answer() {
            bars.suspend(|| say(answer));
        }
        sender.send_replace(true);
        let second = signals.next().await;
        std::process::exit(second.exit_code().into());
    });
    receiver
}

#[cfg(unix)]
use self::unix::Signals;

#[cfg(unix)]
mod unix {
    use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

    use super::Signal;

    /// The signals that this process handles. A signal that the system does not offer never arrives.
    pub(super) struct Signals {
        hang_up: Option<Stream>,
        interrupt: Option<Stream>,
        terminate: Option<Stream>,
    }

    impl Signals {
        pub(super) fn listen() -> Signals {
            let stream = |kind| signal(kind).ok();
            Signals {
                // A process that `nohup` started must outlive its terminal.
                hang_up: if hang_up_is_ignored() { None } else { stream(SignalKind::hangup()) },
                interrupt: stream(SignalKind::interrupt()),
                terminate: stream(SignalKind::terminate()),
            }
        }

        pub(super) async fn next(&mut self) -> Signal {
            tokio::select! {
                () = received(&mut self.hang_up) => Signal::HangUp,
                () = received(&mut self.interrupt) => Signal::Interrupt,
                () = received(&mut self.terminate) => Signal::Terminate,
            }
        }
    }

    async fn received(stream: &mut Option<Stream>) {
        if let Some(stream) = stream
            && stream.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }

    /// Whether this process was started with hang-ups ignored. Linux tells; other systems count as not
    /// ignoring them.
    fn hang_up_is_ignored() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        ignored.is_some_and(|mask| mask & 1 << (Signal::HangUp as u32 - 1) != 0)
    }
}

/// Ctrl-C is all there is elsewhere.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Signals {
        Signals
    }

    async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            // The system offers no signals, so the process ends in the system's own way.
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}
