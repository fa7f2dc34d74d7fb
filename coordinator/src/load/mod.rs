//! Many volunteers in one process, over real WebSockets, to load a coordinator: honest ones with a given speed, or
//! ones that play an attack.
//!
//! One volunteer's hub computes what is right (`oracle`); all others look their results up. So a thousand of them
//! cost this machine little more than one, and what is measured is the coordinator.

mod attack;
mod bare;
mod guest;
mod oracle;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::Arithmetic;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::volunteer::{Address, Wire, get};

pub use attack::Attack;
pub use bare::fan_out;
use guest::Guest;
use oracle::Oracle;

/// Most volunteers of one process.
pub const VOLUNTEERS_MAX: u32 = 20_000;
/// Loopback addresses that they come from.
const ADDRESSES: u32 = 16;
/// Volunteers that begin at the same time.
const BEGIN_TOGETHER: usize = 200;
/// A coordinator that has not answered for so long does not come back.
const GONE_AFTER: Duration = Duration::from_secs(30);
/// Pause between two looks at the status.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Bytes of the coordinator's status.
const STATUS_BYTES_MAX: usize = 1 << 20;

/// How to load a coordinator.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Volunteers.
    pub volunteers: u32,
    /// Examples a second of each; `None`: as fast as results are known.
    pub speed: Option<f64>,
    /// How long each message from a volunteer takes.
    pub latency: Duration,
    /// Share of the assignments at which a volunteer leaves instead, to come back.
    pub failures: f64,
    /// What they play, if they are not honest.
    pub attack: Option<Attack>,
    /// Results that each of them gets right before.
    pub after: u64,
    /// Whether a volunteer that is found out stays away.
    pub once: bool,
    /// When it ends, unless the training does before.
    pub seconds: u64,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections that were made, and are open.
    pub(crate) made: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) open_most: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) rounds: AtomicU64,
    pub(crate) results: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    /// When the last volunteer was ready for the first time, and when each had its first whole round.
    ready: Mutex<Duration>,
    arrived: Mutex<Vec<Duration>>,
}

impl Counts {
    /// A volunteer is ready, so long after the beginning.
    pub(crate) fn ready(&self, after: Duration) {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = after;
    }

    /// A volunteer has its first whole round.
    pub(crate) fn arrived(&self, after: Duration) {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).push(after);
    }

    /// How long the first rounds took from when the last volunteer was ready.
    fn arrivals(&self) -> Arrivals {
        let ready = *self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        Arrivals::of(arrived.iter().map(|after| after.saturating_sub(ready).as_secs_f64()).collect())
    }
}

/// When so many had a message.
#[derive(Debug, Clone, Copy)]
pub struct Arrivals {
    /// How many.
    pub count: usize,
    /// Seconds until half of them had it.
    pub median: f64,
    /// Seconds until all of them had it.
    pub last: f64,
}

impl Arrivals {
    fn of(mut seconds: Vec<f64>) -> Arrivals {
        seconds.sort_by(f64::total_cmp);
        Arrivals {
            count: seconds.len(),
            median: seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN),
            last: seconds.last().copied().unwrap_or(f64::NAN),
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Most connections at the same time.
    pub open_most: u64,
    /// Connections in all.
    pub made: u64,
    /// Volunteers that were refused or dismissed.
    pub refused: u64,
    /// Rounds that the coordinator opened meanwhile.
    pub rounds: u64,
    /// Results sent.
    pub results: u64,
    /// Bytes that reached the volunteers.
    pub bytes_received: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// When the volunteers had their first whole round, counted from when the last of them was ready.
    pub first_round: Arrivals,
    /// Seconds until the status was there: half of the times, and all.
    pub status_median: f64,
    /// See `status_median`.
    pub status_most: f64,
}

#[derive(Deserialize)]
struct Beginning {
    arithmetic: Arithmetic,
    rounds: u64,
    phase: String,
}

/// Loads the coordinator at `url` until the time is over or the training ends.
///
/// # Errors
/// When there is no coordinator, or an attack is aimed at another machine.
pub async fn run(url: &str, plan: Plan) -> anyhow::Result<Outcome> {
    let address: Address = url.parse()?;
    let target = target(&address).await?;
    if plan.attack.is_some() && !target.ip().is_loopback() {
        bail!("attacks are for coordinators on this machine only; give a loopback address");
    }
    crate::server::connections_max();
    let wire = Wire::new(address.clone(), None)?;
    let beginning = look(&wire).await.context("no coordinator answers")?;
    let counts = Arc::new(Counts::default());
    let oracle = Oracle::start(wire.clone(), beginning.arithmetic);
    let guest = Guest {
        address,
        target,
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        known_answer: model::known_answer::digest(beginning.arithmetic),
        arithmetic: beginning.arithmetic,
        plan: plan.clone(),
        counts: Arc::clone(&counts),
        oracle,
        began: Instant::now(),
    };
    let mut guests = JoinSet::new();
    for number in 0..plan.volunteers {
        let mut guest = guest.clone();
        if target.ip().is_loopback() && target.is_ipv4() {
            guest.source = Ipv4Addr::new(127, 0, 0, 1 + (number % ADDRESSES) as u8).into();
        }
        guests.spawn(guest.live(number));
        if number as usize % BEGIN_TOGETHER == BEGIN_TOGETHER - 1 {
            sleep(Duration::from_millis(50)).await;
        }
    }
    drop(guest);
    let began = Instant::now();
    let end = began + Duration::from_secs(plan.seconds);
    let mut times = Vec::new();
    let mut rounds = beginning.rounds;
    let mut answered = Instant::now();
    let mut ended = None;
    while Instant::now() < end {
        let asked = Instant::now();
        match timeout(Duration::from_secs(60), look(&wire)).await {
            Ok(Ok(status)) => {
                answered = Instant::now();
                rounds = rounds.max(status.rounds);
                times.push(asked.elapsed().as_secs_f64());
                if status.phase == "finished" {
                    break;
                }
            }
            // It may be started again.
            Ok(Err(_)) if answered.elapsed() > GONE_AFTER => {
                ended = Some(answered);
                break;
            }
            Ok(Err(_)) => {}
            Err(_) => times.push(asked.elapsed().as_secs_f64()),
        }
        sleep(LOOK_EVERY).await;
    }
    // The wait for a coordinator that is gone is no load.
    let loaded = ended.unwrap_or_else(Instant::now) - began;
    guests.shutdown().await;
    times.sort_by(f64::total_cmp);
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Ok(Outcome {
        open_most: count(&counts.open_most),
        made: count(&counts.made),
        refused: count(&counts.refused),
        rounds: rounds - beginning.rounds,
        results: count(&counts.results),
        bytes_received: count(&counts.bytes_received),
        first_round: counts.arrivals(),
        seconds: loaded.as_secs_f64(),
        status_median: times.get(times.len() / 2).copied().unwrap_or(f64::NAN),
        status_most: times.last().copied().unwrap_or(f64::NAN),
    })
}

async fn look(wire: &Wire) -> anyhow::Result<Beginning> {
    Ok(serde_json::from_slice(&get(wire, "/api/status", STATUS_BYTES_MAX).await?)?)
}

async fn target(address: &Address) -> anyhow::Result<SocketAddr> {
    if address.is_secure() {
        bail!("shoal load speaks plain HTTP only; give an http:// address");
    }
    let mut found = tokio::net::lookup_host(address.authority()).await?;
    found.next().context("the host has no address")
}
