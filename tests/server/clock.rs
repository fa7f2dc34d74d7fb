//! Time in these tests: it stands still where a deadline matters, and no wait is for ever.

use std::pin::pin;
use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{advance, pause};

/// No wait in these tests lasts nearly as long; it turns a hang into a failure.
const HANG: Duration = Duration::from_secs(60);

/// What a timer may be late: timers count whole milliseconds.
const LATE: Duration = Duration::from_millis(1);

/// A clock that stands still but for what the test lets pass, so that no deadline passes by accident, however slow the
/// machine is, and none has to be waited for.
pub(crate) struct Clock {
    _stands: mpsc::Sender<()>,
}

impl Clock {
    /// Stops the clock of this test's runtime.
    pub(crate) fn stop() -> Clock {
        pause();
        // With all tasks waiting for the network, tokio would move a stopped clock to the next deadline. It does not while
        // a blocking task runs; this one does until the sender is dropped.
        let (stands, until) = mpsc::channel::<()>();
        spawn_blocking(move || until.recv());
        Clock { _stands: stands }
    }

    /// Lets a span of time pass.
    pub(crate) async fn pass(&self, span: Duration) {
        advance(span + LATE).await;
    }

    /// Lets time pass, span after span, until something has happened.
    pub(crate) async fn pass_until<T>(&self, span: Duration, happened: impl Future<Output = T>) -> T {
        let mut happened = pin!(in_time(happened));
        loop {
            tokio::select! {
                biased;
                result = &mut happened => return result,
                () = self.pass(span) => {}
            }
        }
    }
}

/// Waits, and fails if it takes for ever. This goes by real time, whatever the runtime's clock does.
pub(crate) async fn in_time<T>(wait: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        result = wait => result,
        _ = hang() => panic!("this hangs"),
    }
}

/// Comes to an end after [`HANG`].
fn hang() -> oneshot::Receiver<()> {
    type Wait = (Instant, oneshot::Sender<()>);
    static WAITS: LazyLock<mpsc::Sender<Wait>> = LazyLock::new(|| {
        let (sender, waits) = mpsc::channel::<Wait>();
        std::thread::spawn(move || {
            // All are equally long, so that they end in the order in which they begin.
            for (begun, end) in waits {
                if !end.is_closed() {
                    std::thread::sleep((begun + HANG).saturating_duration_since(Instant::now()));
                }
                let _ = end.send(());
            }
        });
        sender
    });
    let (end, ended) = oneshot::channel();
    WAITS.send((Instant::now(), end)).expect("the thread never ends");
    ended
}
