//! The page `/bench` in a browser without a window: starts the browser, waits for the page's result, and ends
//! the browser.

use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::{interval, timeout};

use super::report::{Outcome, Report};
use crate::config::Listen;
use crate::server;

/// Flags for a Chromium without a window, and without traffic of its own.
const FLAGS: [&str; 8] = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// How long the page may take. It needs about half a minute on two cores.
const PAGE_MAX: Duration = Duration::from_secs(300);
/// How often to check that the browser still runs.
const LOOK: Duration = Duration::from_millis(200);

/// Measures in the browser `program`, with the query `query` (such as `quick&case=mlp`) for the page.
///
/// # Errors
/// When the browser cannot be started, ends early or posts nothing in time, or when the page could not
/// measure.
pub async fn measure(program: &Path, query: &str) -> Result<Report> {
    crate::assets::require_worker()?;
    let listener = server::bind(Listen::Tcp((Ipv4Addr::LOCALHOST, 0).into())).await?;
    let url = format!("http://{}/bench?report&{query}", listener.place());
    let (take, taken) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server::serve_bench(listener, take, async {
        let _ = stopped.await;
    }));
    let outcome = of_page(program, &url, taken).await;
    drop(stop);
    serving.await.context("the server failed")?;
    match outcome? {
        Outcome::Measured(report) => Ok(report),
        Outcome::Failed { error } => bail!("the page could not measure: {}", error.escape_debug()),
    }
}

async fn of_page(program: &Path, url: &str, taken: oneshot::Receiver<Outcome>) -> Result<Outcome> {
    let name = program.display();
    let mut browser = Browser::start(program, url).with_context(|| format!("cannot start {name}"))?;
    let mut look = interval(LOOK);
    let ended = async {
        loop {
            look.tick().await;
            if let Some(status) = browser.child.try_wait()? {
                return io::Result::Ok(status);
            }
        }
    };
    let first = async {
        tokio::select! {
            biased;
            outcome = taken => outcome.context("the server ended before the page had finished"),
            status = ended => bail!("{name} ended before its page had finished ({})", status?),
        }
    };
    match timeout(PAGE_MAX, first).await {
        Ok(outcome) => outcome,
        Err(_) => bail!(
            "{name} did not finish the page within {} seconds; try --quick, or another browser",
            PAGE_MAX.as_secs()
        ),
    }
}

/// A browser with a profile of its own. Dropping it ends the browser and deletes the profile.
struct Browser {
    child: Child,
    /// Dropped after the browser has ended.
    _profile: TempDir,
}

impl Browser {
    fn start(program: &Path, url: &str) -> io::Result<Browser> {
        let profile = TempDir::with_prefix("shoal-bench-")?;
        let mut directory = OsString::from("--user-data-dir=");
        directory.push(profile.path());
        let mut command = Command::new(program);
        command.args(FLAGS).arg(directory);
        if is_root() {
            // Chromium refuses to sandbox root's pages.
            command.arg("--no-sandbox");
        }
        command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A process group of its own, so that its children can be ended with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(Browser { child: command.spawn()?, _profile: profile })
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser may have ended by itself, but perhaps not its children.
        #[cfg(unix)]
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_root() -> bool {
    #[cfg(unix)]
    {
        rustix::process::geteuid().is_root()
    }
    #[cfg(not(unix))]
    {
        false
    }
}
