//! A volunteer without a browser: lends this machine's cores to a coordinator until the training ends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, bail};
use model::Arithmetic;
use protocol::message::TOKEN_BYTES;
use protocol::plan::ShardRef;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use worker::{HubInput, HubPhase, HubStatus, Settings};

use super::connection::{Connection, Event};
use super::http;
use super::memory;
use super::mirror::{self, Mirror};
use super::runner::{Errand, Runner, settings};
use super::wire::Wire;

/// Bytes of the coordinator's status.
const STATUS_BYTES_MAX: usize = 1 << 20;
/// The default time to try a coordinator that has never answered.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
/// Pause between these tries.
const FIRST_CONTACT_PAUSE: Duration = Duration::from_millis(500);

/// How to volunteer.
#[derive(Debug, Clone)]
pub struct Options {
    /// Cores to lend.
    pub cores: u16,
    /// How long to try a coordinator that has never answered.
    pub give_up_after: Duration,
    /// A PEM file with certificates to trust besides the system's.
    pub ca: Option<PathBuf>,
    /// The random number by which the coordinator knows this volunteer again; zeros for none.
    pub token: [u8; TOKEN_BYTES],
    /// Receives the hub's status.
    pub report: Option<watch::Sender<HubStatus>>,
}

/// The work of a volunteer.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Why it ended, in one sentence.
    pub text: String,
    /// Whether the training has ended; otherwise this volunteer was told to leave.
    pub finished: bool,
    /// Results sent.
    pub assignments: u64,
    /// Work units they covered.
    pub units: u64,
    /// Examples they covered; an example counts each time it is used.
    pub examples: u64,
}

/// Helps the coordinator at `url`, an [`Address`](super::Address), until the training ends or `shutdown` completes.
///
/// If the coordinator has answered once, the volunteer waits for it without limit, so that it may be
/// restarted. Fails when the coordinator never answers, or refuses this volunteer.
pub async fn run(url: &str, options: Options, shutdown: impl Future<Output = ()>) -> anyhow::Result<Summary> {
    let wire = Wire::new(url.parse()?, options.ca.as_deref())?;
    tokio::pin!(shutdown);
    let Beginning { arithmetic, shard_url } = tokio::select! {
        beginning = first_contact(&wire, &options) => beginning?,
        () = &mut shutdown => return Ok(Summary {
            text: format!("Left before the coordinator at {} answered.", wire.address),
            finished: false,
            assignments: 0,
            units: 0,
            examples: 0,
        }),
    };
    let agent = format!("shoal {} on {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS);
    let settings = Settings {
        memory_bytes: memory::spare_bytes(),
        token: options.token,
        ..settings(arithmetic, options.cores, agent)
    };
    let mirror = shard_url.and_then(|url| mirror(&url, &wire, options.ca.as_deref()));
    let mut volunteer = Native {
        runner: Runner::new(settings),
        wire,
        mirror,
        connection: None,
        why: None,
        fetches: JoinSet::new(),
    };
    let told_to_leave = loop {
        volunteer.perform();
        let status = volunteer.status();
        let is_last = status.phase.is_last();
        if let Some(report) = &options.report {
            report.send_if_modified(|shown| std::mem::replace(shown, status.clone()) != status);
        }
        if is_last {
            break false;
        }
        tokio::select! {
            () = volunteer.event() => {}
            () = &mut shutdown => break true,
        }
    };
    let status = volunteer.runner.status();
    if let Some(connection) = volunteer.connection.take() {
        connection.close().await;
    }
    if status.phase == HubPhase::Stopped {
        return Err(anyhow!(status.sentence));
    }
    Ok(Summary {
        text: if told_to_leave { "Left before the training ended.".into() } else { status.sentence },
        finished: !told_to_leave,
        assignments: status.assignments_done,
        units: status.units_done,
        examples: status.examples_done,
    })
}

/// The mirror that the coordinator names, if it can be used.
fn mirror(url: &str, wire: &Wire, ca: Option<&Path>) -> Option<Mirror> {
    match Mirror::of(url, &wire.address, ca) {
        Ok(mirror) => {
            tracing::info!("asking {} for the data first", mirror.address());
            Some(mirror)
        }
        Err(error) => {
            let address = &wire.address;
            tracing::warn!(
                "all data come from {address}, because the --shard-url that it names cannot be used: {error:#}"
            );
            None
        }
    }
}

struct Native {
    runner: Runner,
    wire: Wire,
    /// Where else shards are.
    mirror: Option<Mirror>,
    connection: Option<Connection>,
    /// Why the last connection ended.
    why: Option<String>,
    /// Downloads by the hub's numbers. At most [`worker::FETCHES_MAX`].
    fetches: JoinSet<Fetched>,
}

/// A download by the hub's number, what came of it, and whether the mirror failed.
type Fetched = (u64, anyhow::Result<Vec<u8>>, bool);

impl Native {
    /// Does what the hub asks for.
    fn perform(&mut self) {
        while let Some(errand) = self.runner.errand() {
            match errand {
                Errand::Connect => self.connection = Some(Connection::open(self.wire.clone())),
                Errand::Close => {
                    if let Some(connection) = self.connection.take() {
                        tokio::spawn(connection.close());
                    }
                }
                Errand::Send(frame) => {
                    if let Some(connection) = &self.connection {
                        connection.send(frame);
                    }
                }
                Errand::Fetch { fetch, shard, path, fresh } => self.fetch(fetch, shard, path, fresh),
            }
        }
    }

    /// The hub's status. While there is no connection, it says why.
    fn status(&self) -> HubStatus {
        let mut status = self.runner.status();
        if let Some(why) = self.why.as_ref().filter(|_| status.phase == HubPhase::Connecting) {
            status.sentence = format!("Not connected to {}: {why}. Trying again.", self.wire.address);
        }
        status
    }

    /// Waits for the next event and tells the hub. May be canceled.
    async fn event(&mut self) {
        let Native { runner, mirror, connection, why, fetches, .. } = self;
        let from_connection = async {
            match connection {
                Some(connection) => connection.event().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = runner.event() => {}
            event = from_connection => match event {
                Event::Opened => {
                    *why = None;
                    runner.handle(HubInput::Connected);
                }
                Event::Frame(frame) => runner.handle(HubInput::Frame(frame)),
                Event::Closed(because) => {
                    *connection = None;
                    *why = because;
                    runner.handle(HubInput::Disconnected);
                }
            },
            Some(Ok((fetch, result, mirror_failed))) = fetches.join_next() => {
                if let Some(mirror) = mirror.as_mut().filter(|_| mirror_failed) {
                    mirror.failed();
                }
                match result {
                    Ok(bytes) => runner.handle(HubInput::ShardArrived { fetch, bytes }),
                    Err(error) => {
                        tracing::info!("a shard could not be downloaded: {error:#}");
                        runner.handle(HubInput::ShardFailed { fetch });
                    }
                }
            },
        }
    }

    fn fetch(&mut self, fetch: u64, shard: ShardRef, path: String, fresh: bool) {
        let wire = self.wire.clone();
        let mirror = self.mirror.as_mut().and_then(|mirror| mirror.ask(fresh));
        self.fetches.spawn(async move {
            let (result, mirror_failed) = mirror::download(mirror, &wire, &path, shard.bytes as usize).await;
            (fetch, result, mirror_failed)
        });
    }
}

/// The part of the coordinator's status that a volunteer needs before it computes anything.
#[derive(Deserialize)]
struct Beginning {
    arithmetic: Arithmetic,
    /// Where else shards are.
    #[serde(default)]
    shard_url: Option<String>,
}

/// Asks how the run begins. Repeats the question for some time, because coordinator and volunteers
/// may be started together. Reports each new reason for a missing answer.
async fn first_contact(wire: &Wire, options: &Options) -> anyhow::Result<Beginning> {
    let until = Instant::now() + options.give_up_after;
    let address = &wire.address;
    loop {
        let answer = timeout_at(until, http::get(wire, "/api/status", STATUS_BYTES_MAX)).await;
        let error = match answer.unwrap_or_else(|_| Err(anyhow!("the host does not answer"))) {
            Ok(status) => match serde_json::from_slice::<Beginning>(&status) {
                Ok(beginning) => return Ok(beginning),
                // Waiting does not turn another program into a coordinator.
                Err(_) => bail!(
                    "the program that answers at {address} is not a Shoal coordinator; check host and port"
                ),
            },
            Err(error) => error,
        };
        let seconds = options.give_up_after.as_secs();
        if Instant::now() + FIRST_CONTACT_PAUSE >= until {
            bail!(
                "no coordinator answers at {address}: {error:#}; gave up after {seconds} s; check the address \
                 and that the coordinator is running (--give-up-after tries for longer)"
            );
        }
        if let Some(report) = &options.report {
            let sentence = format!("No answer from {address}: {error:#}. Trying for {seconds} s.");
            report.send_if_modified(|shown| {
                std::mem::replace(&mut shown.sentence, sentence.clone()) != sentence
            });
        }
        sleep(FIRST_CONTACT_PAUSE).await;
    }
}
