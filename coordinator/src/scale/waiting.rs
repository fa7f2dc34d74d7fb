//! Waits for a store that is away, until it is back or the user wants this process to end.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::archive::ArchiveError;

/// The pause after a try that failed; the next is twice as long, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Which failures of a store are waited out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Those of a store that may come back. Whoever starts with wrong credentials or a wrong name learns it at once.
    WhileAway,
    /// All: the store has worked before.
    Always,
}

/// Makes a request until it succeeds. `None` if `stop` turned true first: a wait never outlives the wish to end it.
///
/// # Errors
/// When trying again is of no use.
pub async fn until_there<T>(
    waits: Waits,
    stop: &watch::Receiver<bool>,
    mut request: impl AsyncFnMut() -> Result<T, ArchiveError>,
) -> Result<Option<T>, ArchiveError> {
    let mut stop = stop.clone();
    let trying = async {
        let mut pause = PAUSE;
        loop {
            match request().await {
                Err(ArchiveError::Store(error)) if error.may_pass(waits == Waits::Always) => {
                    let seconds = pause.as_secs_f64();
                    tracing::warn!("{error}; waiting for the store, the next try is in {seconds} s");
                    sleep(pause).await;
                    pause = PAUSE_MAX.min(pause * 2);
                }
                done => return done.map(Some),
            }
        }
    };
    tokio::select! {
        // What is done is done, also when there is a wish to end.
        biased;
        done = trying => done,
        () = stopped(&mut stop) => Ok(None),
    }
}

/// Returns when `stop` turns true. Without a sender it never does.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use object_store::Error;

    use super::*;
    use crate::store::StoreError;

    fn failed(source: Error) -> ArchiveError {
        StoreError::Request {
            verb: "read",
            key: "run".to_owned(),
            url: "s3://bucket".to_owned(),
            source: Box::new(source),
        }
        .into()
    }

    fn away() -> ArchiveError {
        failed(Error::Generic { store: "S3", source: "no answer".into() })
    }

    fn refused() -> ArchiveError {
        failed(Error::Unauthenticated { path: "run".to_owned(), source: "a wrong key".into() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_is_waited_for() {
        let (_sender, stop) = watch::channel(false);
        let mut tries = 0;
        let request = async || {
            tries += 1;
            if tries < 9 { Err(away()) } else { Ok(tries) }
        };
        assert_eq!(until_there(Waits::WhileAway, &stop, request).await.unwrap(), Some(9));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_to_end_ends_the_wait() {
        let (sender, stop) = watch::channel(false);
        let stopping = async {
            tokio::task::yield_now().await;
            sender.send_replace(true);
        };
        let (waited, ()) =
            tokio::join!(until_there(Waits::Always, &stop, async || Err::<(), _>(away())), stopping);
        assert_eq!(waited.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_starts_with_a_wrong_key_learns_it_at_once() {
        let (_sender, stop) = watch::channel(false);
        let request = async || Err::<(), _>(refused());
        assert!(until_there(Waits::WhileAway, &stop, request).await.is_err());
        let mut tries = 0;
        let request = async || {
            tries += 1;
            if tries < 3 { Err(refused()) } else { Ok(()) }
        };
        assert_eq!(until_there(Waits::Always, &stop, request).await.unwrap(), Some(()));
    }
}
