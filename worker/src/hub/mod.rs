//! One volunteer's connection to the coordinator, without I/O.
//!
//! A hub says hello, keeps shards and the open round, cuts assignments into jobs for its compute workers,
//! merges their integer sums and sends one result for each assignment. It reconnects by itself and keeps its
//! shards in the meantime.

mod assignments;
mod backoff;
mod credits;
mod crew;
mod downloads;
mod events;
mod hiring;
mod jobs;
mod link;
mod shards;
pub(crate) mod status;
mod texts;
mod underway;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use protocol::limits::CORES_MAX;
use protocol::message::FinalFigures;
use protocol::plan::UnitLayout;

use crate::footprint::Footprint;
use crate::run::Run;
use crate::settings::Settings;
use crate::shared_round::SharedRound;
use backoff::Backoff;
use credits::Credits;
use crew::Crew;
use hiring::Hiring;
use link::Link;
use shards::Shards;
use underway::Underway;

pub use assignments::ASSIGNMENTS_MAX;
pub use events::{HubInput, HubOutput};
pub use hiring::START_ATTEMPTS_MAX;
pub use link::{GREETING_MS_MAX, LINK_BYTES_PER_MS, ROUND_MS_MAX, SILENCE_MS_MAX};
pub use shards::{FETCH_ATTEMPTS_MAX, FETCHES_MAX};

/// The longest time between two inputs that counts as computing: what is longer was a machine asleep.
const COMPUTING_GAP_MS_MAX: u64 = 60_000;

/// A volunteer's connection, its shards, its open round and its assignments.
///
/// Feed it with [`Hub::handle`], then drain [`Hub::poll_output`].
#[derive(Debug)]
pub struct Hub {
    settings: Settings,
    link: Link,
    /// When the last message from the coordinator arrived.
    heard_ms: u64,
    /// The number of cores in the hello.
    greeted_cores: u16,
    backoff: Backoff,
    run: Option<CurrentRun>,
    round: Option<CurrentRound>,
    shards: Shards,
    crew: Crew,
    queue: VecDeque<Underway>,
    /// Cores whose compute worker has failed.
    failed_cores: u16,
    hiring: Hiring,
    counters: Counters,
    credits: Credits,
    finals: Option<FinalFigures>,
    /// The time of the last input.
    last_ms: u64,
    outputs: VecDeque<HubOutput>,
    wake_ms: Option<u64>,
}

impl Hub {
    /// A hub whose first output asks for a connection.
    pub fn new(mut settings: Settings) -> Hub {
        settings.cores = settings.cores.min(CORES_MAX);
        texts::cut(&mut settings.agent);
        Hub {
            backoff: Backoff::new(settings.seed),
            hiring: Hiring::new(settings.seed),
            settings,
            link: Link::Connecting,
            heard_ms: 0,
            greeted_cores: 0,
            run: None,
            round: None,
            shards: Shards::default(),
            crew: Crew::default(),
            queue: VecDeque::new(),
            failed_cores: 0,
            counters: Counters::default(),
            credits: Credits::default(),
            finals: None,
            last_ms: 0,
            outputs: VecDeque::from([HubOutput::Connect]),
            wake_ms: None,
        }
    }

    /// Handles an event at `now_ms`, in milliseconds on any clock that never goes backward.
    pub fn handle(&mut self, now_ms: u64, input: HubInput) {
        if matches!(self.link, Link::Ended { .. }) {
            return;
        }
        if self.crew.busy() > 0 {
            self.counters.computing_ms += now_ms.saturating_sub(self.last_ms).min(COMPUTING_GAP_MS_MAX);
        }
        self.last_ms = now_ms;
        match input {
            HubInput::Connected => self.connected(now_ms),
            HubInput::Disconnected if self.link == Link::Connecting => {
                self.disconnected(now_ms, "it cannot be reached");
            }
            HubInput::Disconnected => self.disconnected(now_ms, "the connection was lost"),
            HubInput::Frame(bytes) => {
                self.counters.bytes_received += bytes.len() as u64;
                if matches!(self.link, Link::Greeting { .. } | Link::Open) {
                    self.heard_ms = now_ms;
                    self.frame(now_ms, &bytes);
                }
            }
            HubInput::ShardArrived { fetch, bytes } => {
                let ended = self.shards.arrived(now_ms, fetch, bytes);
                self.fetch_ended(ended);
            }
            HubInput::ShardLent { fetch, shard } => {
                let ended = self.shards.lent(fetch, shard);
                self.fetch_ended(ended);
            }
            HubInput::ShardFailed { fetch } => {
                let ended = self.shards.failed(now_ms, fetch);
                self.fetch_ended(ended);
            }
            HubInput::Compute { compute, message } => self.compute_says(compute, message),
            HubInput::ComputeFailed { compute } => self.compute_failed(compute),
            HubInput::ComputeUnreached { compute } => self.compute_unreached(now_ms, compute),
            HubInput::Cores(cores) => self.lend(cores),
            HubInput::Retry => self.retry(now_ms),
            HubInput::Tick => self.tick(now_ms),
        }
        self.advance(now_ms);
    }

    /// The next action; `None` until another event.
    pub fn poll_output(&mut self) -> Option<HubOutput> {
        self.outputs.pop_front()
    }

    /// Takes every step that has become possible.
    fn advance(&mut self, now_ms: u64) {
        if self.link == Link::Open {
            while self.is_short_of_crew() && self.hiring.is_due(now_ms) {
                let compute = self.crew.hire();
                self.outputs.push_back(HubOutput::StartCompute { compute });
            }
            // Comes before new jobs, so that a finished assignment's sums do not wait behind them.
            self.collect();
            let idle: Vec<u32> = self.crew.idle().collect();
            for compute in idle {
                self.give_job(compute);
            }
            self.fetch(now_ms);
        }
        self.set_wake(now_ms);
    }

    fn set_wake(&mut self, now_ms: u64) {
        let at_ms = match &self.link {
            Link::Waiting { until_ms, .. } | Link::Held { until_ms, .. } | Link::Greeting { until_ms } => {
                Some(*until_ms)
            }
            Link::Open => {
                let again_ms = self.shards.again_ms(now_ms, &self.wanted_shards());
                let hire_ms = self.is_short_of_crew().then_some(self.hiring.at_ms());
                [again_ms, hire_ms].into_iter().flatten().chain([self.silent_until_ms()]).min()
            }
            Link::Connecting | Link::Ended { .. } => None,
        };
        // Each frame moves the time at which the coordinator counts as silent. The earlier request stands and
        // is renewed when it is due.
        let stands = self.link == Link::Open && self.wake_ms.is_some_and(|wish| Some(wish) <= at_ms);
        if let Some(at_ms) = at_ms.filter(|_| !stands && at_ms != self.wake_ms) {
            self.outputs.push_back(HubOutput::Wake { at_ms });
            self.wake_ms = Some(at_ms);
        }
    }
}

#[derive(Debug)]
struct CurrentRun {
    run: Run,
    frame: Bytes,
    footprint: Footprint,
}

#[derive(Debug)]
struct CurrentRound {
    /// The hub's own number for the round.
    number: u64,
    shared: Arc<SharedRound>,
    /// One layout for each part of the round.
    layouts: Vec<UnitLayout>,
}

/// The hub's own numbers. It cannot use the coordinator's: a coordinator that was killed and resumed counts
/// from its checkpoint again, while earlier messages are still on their way here.
#[derive(Debug, Default)]
struct Counters {
    round: u64,
    assignment: u64,
    job: u64,
    assignments_done: u64,
    units_done: u64,
    examples_done: u64,
    computing_ms: u64,
    bytes_sent: u64,
    bytes_received: u64,
}
