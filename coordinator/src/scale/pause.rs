//! A pause that the operator wants, kept in the store so that whoever leads next keeps it.

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Duration, sleep};

use super::archive::Archive;

/// The pause after a try that failed.
const AGAIN: Duration = Duration::from_secs(2);

/// Keeps the store's word on the pause at what the operator said last. Dropping it ends that.
#[derive(Debug)]
pub struct PauseSign(watch::Sender<bool>);

impl PauseSign {
    /// The sign of a run; the store says `is_paused` now.
    pub fn new(archive: Archive, runtime: &Handle, is_paused: bool) -> PauseSign {
        let (sender, mut wanted) = watch::channel(is_paused);
        runtime.spawn(async move {
            while wanted.changed().await.is_ok() {
                loop {
                    let is_paused = *wanted.borrow_and_update();
                    match archive.set_paused(is_paused).await {
                        Ok(()) => break,
                        Err(error) => {
                            tracing::warn!("{error}; the next leader does not know of this change yet")
                        }
                    }
                    sleep(AGAIN).await;
                }
            }
        });
        PauseSign(sender)
    }

    /// The operator pauses the training, or lets it go on.
    pub fn show(&self, is_paused: bool) {
        self.0.send_replace(is_paused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[tokio::test(start_paused = true)]
    async fn the_store_says_what_the_operator_said_last() {
        let archive = Archive::new(Store::in_memory());
        let sign = PauseSign::new(archive.clone(), &Handle::current(), false);
        for is_paused in [true, false, true] {
            sign.show(is_paused);
            while archive.is_paused().await.unwrap() != is_paused {
                tokio::task::yield_now().await;
            }
        }
    }
}
