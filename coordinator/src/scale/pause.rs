//! A pause that the operator wants, kept in the store so that whoever leads next keeps it.

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Duration, sleep, timeout};

use super::archive::Archive;

/// The pause after a try that failed.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a try that is under way may go on when the sign is dropped.
const LAST_TRY_MAX: Duration = Duration::from_secs(2);

/// Keeps the store's word on the pause at what the operator said last. Dropping it ends that: a change that could not be
/// written is given up, because another process may lead by then.
#[derive(Debug)]
pub struct PauseSign(watch::Sender<bool>);

impl PauseSign {
    /// The sign of a run; the store says `is_paused` now.
    pub fn new(archive: Archive, runtime: &Handle, is_paused: bool) -> PauseSign {
        let (sender, wanted) = watch::channel(is_paused);
        let mut ends = wanted.clone();
        runtime.spawn(async move {
            tokio::select! {
                () = keep(archive, wanted) => {}
                // A request to a store that is away may take long, and be carried out when it is back.
                () = async {
                    dropped(&mut ends).await;
                    sleep(LAST_TRY_MAX).await;
                } => {}
            }
        });
        PauseSign(sender)
    }

    /// The operator pauses the training, or lets it go on.
    pub fn show(&self, is_paused: bool) {
        self.0.send_replace(is_paused);
    }
}

/// Writes what is wanted whenever it changes, until nobody wants anything any more.
async fn keep(archive: Archive, mut wanted: watch::Receiver<bool>) {
    while wanted.changed().await.is_ok() {
        loop {
            let is_paused = *wanted.borrow_and_update();
            match archive.set_paused(is_paused).await {
                Ok(()) => break,
                Err(error) => tracing::warn!("{error}; the next leader does not know of this change yet"),
            }
            if timeout(AGAIN, dropped(&mut wanted.clone())).await.is_ok() {
                return;
            }
        }
    }
}

/// Returns when nobody can want anything any more.
async fn dropped(wanted: &mut watch::Receiver<bool>) {
    while wanted.changed().await.is_ok() {}
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

    /// Another process leads by then, and what it or the operator has said since must hold.
    #[tokio::test(start_paused = true)]
    async fn a_change_that_could_not_be_written_is_given_up_when_the_sign_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().to_str().unwrap().parse().unwrap();
        let archive = Archive::new(Store::open(&url).unwrap());
        // A folder is in the object's place.
        let place = folder.path().join("paused");
        std::fs::create_dir(&place).unwrap();
        assert!(archive.set_paused(true).await.is_err());
        let sign = PauseSign::new(archive.clone(), &Handle::current(), false);
        sign.show(true);
        // The clock goes on by itself, when no try is under way.
        sleep(AGAIN / 2).await;
        drop(sign);
        std::fs::remove_dir(&place).unwrap();
        sleep(AGAIN * 3).await;
        assert!(!place.exists(), "the pause has come back");
        archive.set_paused(true).await.unwrap();
        assert!(place.exists(), "this is where it would be");
    }
}
