//! Another address that has the shards besides the coordinator, for volunteers outside a browser; and whether it is
//! one, for the coordinator that names it.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use protocol::plan::ShardRef;
use tokio::time::{Instant, sleep};

use super::address::Address;
use super::http::{self, Patience};
use super::wire::Wire;
use crate::config::ShardUrl;

/// How long a shard may take from there. After that the coordinator is asked, which is as good.
const PATIENCE: Patience = Patience { whole: Duration::from_secs(60), quiet: Duration::from_secs(15) };

/// How often the coordinator looks at the start whether it has the shards, and how long it waits in between.
const PROBES_MAX: usize = 3;
const PROBE_PAUSE: Duration = Duration::from_secs(10);

/// A mirror, and when it is asked.
pub(super) struct Mirror {
    wire: Wire,
    patience: Patience,
    state: worker::Mirror,
    began: Instant,
}

impl Mirror {
    /// The mirror that the coordinator at `coordinator` names. `ca` as for [`Wire::new`].
    ///
    /// # Errors
    /// When it is none, or one at which a coordinator elsewhere has no business to send this machine.
    pub(super) fn of(named: &str, coordinator: &Address, ca: Option<&Path>) -> anyhow::Result<Mirror> {
        let url: ShardUrl = named.parse().map_err(anyhow::Error::msg)?;
        url.check_for(coordinator.secure).map_err(anyhow::Error::msg)?;
        if url.is_loopback() && !coordinator.is_loopback() {
            bail!(
                "{url} is an address of this machine itself; give --shard-url one that all volunteers reach"
            );
        }
        Mirror::new(&url, ca, PATIENCE)
    }

    fn new(url: &ShardUrl, ca: Option<&Path>, patience: Patience) -> anyhow::Result<Mirror> {
        let wire = Wire::new(url.to_string().parse()?, ca)?;
        Ok(Mirror { wire, patience, state: worker::Mirror::default(), began: Instant::now() })
    }

    /// Where it is.
    pub(super) fn address(&self) -> &Address {
        &self.wire.address
    }

    /// The way to it, if it is to be tried first. `fresh` as in [`worker::Mirror::is_asked`].
    pub(super) fn ask(&mut self, fresh: bool) -> Option<(Wire, Patience)> {
        let now_ms = self.now_ms();
        self.state.is_asked(now_ms, fresh).then(|| (self.wire.clone(), self.patience))
    }

    /// It did not give what it was asked for.
    pub(super) fn failed(&mut self) {
        let now_ms = self.now_ms();
        self.state.failed(now_ms);
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

/// Downloads the shard at `path` from the mirror if there is one, or else from the coordinator. Whoever has the bytes
/// checks their hash. Also says whether the mirror failed.
pub(super) async fn download(
    mirror: Option<(Wire, Patience)>,
    coordinator: &Wire,
    path: &str,
    shard_bytes: usize,
) -> (anyhow::Result<Vec<u8>>, bool) {
    let has_mirror = mirror.is_some();
    if let Some((wire, patience)) = mirror {
        match http::get_kept(&wire, path, shard_bytes, patience).await {
            Ok(bytes) => return (Ok(bytes), false),
            Err(error) => {
                let address = &wire.address;
                tracing::info!(
                    "a shard does not come from {address}: {error:#}; asking the coordinator for a while"
                );
            }
        }
    }
    (http::get(coordinator, path, shard_bytes).await, has_mirror)
}

/// Warns when volunteers that ask at `url` for shards do not get them, which they do not say: they ask whoever sent them
/// there. `shard` is one of the run's, `page` the origin of a page.
pub(crate) async fn warn_of_mirror(url: ShardUrl, shard: Option<ShardRef>, page: String) {
    if let Some(warning) = url.warning() {
        tracing::warn!("{warning}");
    }
    let Some(shard) = shard else { return };
    let mut problem = None;
    for _ in 0..PROBES_MAX {
        match probe(&url, &shard, &page).await {
            Ok(()) => return,
            Err(error) => problem = Some(error),
        }
        // What delivers the data may have been started at the same time.
        sleep(PROBE_PAUSE).await;
    }
    if let Some(error) = problem {
        tracing::warn!(
            "--shard-url: as far as this machine can see, volunteers will take the data from here, and not from {url}: \
             {error:#}"
        );
    }
}

/// Whether that shard is at the address, and `page` may read it in a browser.
///
/// # Errors
/// What is wrong.
pub(super) async fn probe(url: &ShardUrl, shard: &ShardRef, page: &str) -> anyhow::Result<()> {
    let wire = Wire::new(url.to_string().parse()?, None)?;
    let path = format!("/shards/{}", shard.name());
    let (bytes, allowed) = http::get_kept_for(page, &wire, &path, shard.bytes as usize, PATIENCE).await?;
    if *blake3::hash(&bytes).as_bytes() != shard.hash {
        bail!("what it has as {path} is another file; give it the files of this run's store");
    }
    if !allowed {
        bail!(
            "it gives {path} without the header Access-Control-Allow-Origin to a page at {page}; have it send *"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinator_sends_nobody_to_places_where_it_has_no_business() {
        let mirror = |named: &str, coordinator: &str| Mirror::of(named, &coordinator.parse().unwrap(), None);
        for (named, coordinator) in [
            ("http://127.0.0.1:9000", "http://shoal.example:8080"),
            ("http://localhost/x", "http://192.168.1.20:8080"),
            ("http://data.example", "https://shoal.example"),
            ("file:///etc/passwd", "http://shoal.example"),
            ("", "http://shoal.example"),
        ] {
            assert!(mirror(named, coordinator).is_err(), "{named} of {coordinator}");
        }
        for (named, coordinator) in [
            ("http://127.0.0.1:9000", "http://127.0.0.1:8080"),
            ("http://127.0.0.1:9000", "http://[::1]:8080"),
            ("http://localhost.:9000", "http://shoal.localhost:8080"),
            ("http://192.168.1.20:9000/x", "http://192.168.1.20:8080"),
        ] {
            assert!(mirror(named, coordinator).is_ok(), "{named} of {coordinator}");
        }
    }
}
