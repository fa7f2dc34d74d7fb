//! One volunteer's connection to the coordinator, without I/O.
//!
//! A hub says hello, keeps shards and the open round, cuts assignments into jobs for its compute
//! workers, merges their integer sums and sends one result for each assignment. It survives
//! disconnection by itself and keeps its shards meanwhile.

mod backoff;
mod crew;
mod shards;
pub(crate) mod status;
mod underway;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use model::Arithmetic;
use protocol::PROTOCOL_VERSION;
use protocol::frame::{DownwardFrame, RoundFrame, VectorChunks, decode_downward};
use protocol::limits::{CORES_MAX, READY_SHARDS_MAX, TEXT_BYTES_MAX};
use protocol::message::{
    FromCoordinator, FromVolunteer, Hello, Ready, Refusal, ResultHeader, Unfit, Welcome,
};
use protocol::pack::packed_bytes;
use protocol::plan::{Assignment, Set, ShardRef, UnitLayout};

use crate::footprint::Footprint;
use crate::message::{FromCompute, Job, ToCompute};
use crate::run::Run;
use crate::shared_round::SharedRound;
use crate::unit::UnitSums;
use backoff::Backoff;
use crew::{Crew, Running};
use shards::{Ended, Key, Shards};
use status::{HubPhase, HubStatus};
use underway::Underway;

/// Assignments a hub holds at once: one under way, one to go on with, and slack for a coordinator
/// that is ahead. More are declined.
pub const ASSIGNMENTS_MAX: usize = 4;
/// Shards downloaded at once.
pub const FETCHES_MAX: usize = 2;
/// Times a shard is asked for before the assignments that need it are declined.
pub const FETCH_ATTEMPTS_MAX: u32 = 3;
/// How long a coordinator may take to answer a hello before the hub tries again, in milliseconds.
pub const GREETING_MS_MAX: u64 = 30_000;
/// How long a coordinator may be silent, in milliseconds, before the hub takes the connection for
/// lost, which a browser may never notice by itself. A coordinator says something every ten
/// seconds, but for those in which a round is on its way: see [`ROUND_MS_MAX`].
pub const SILENCE_MS_MAX: u64 = 60_000;
/// What a round's arrival may add to that, in milliseconds: a message is not seen before it is here
/// whole. As long as a coordinator tries to send one.
pub const ROUND_MS_MAX: u64 = 120_000;
/// The slowest link to allow for, up to [`ROUND_MS_MAX`], in bytes of a round per millisecond.
pub const LINK_BYTES_PER_MS: u64 = 64;
/// Bytes of shards a hub keeps by default.
pub const SHARD_CACHE_BYTES: usize = 512 << 20;
/// Bytes of shards one compute worker keeps by default.
pub const COMPUTE_SHARD_BYTES: usize = 128 << 20;

/// What a hub is told when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which arithmetic this build computes.
    pub arithmetic: Arithmetic,
    /// [`model::known_answer::digest`] as computed on this machine.
    pub known_answer: [u8; 32],
    /// Whether this machine could run the fused arithmetic.
    pub fused_capable: bool,
    /// Cores lent at first; see [`HubInput::Cores`].
    pub cores: u16,
    /// What kind of client this is (a browser's or program's name); cut when too long.
    pub agent: String,
    /// Spreads volunteers' reconnections; any number that differs between volunteers.
    pub seed: u64,
    /// Bytes of shards to keep ([`SHARD_CACHE_BYTES`]). Those in use are kept beyond it.
    pub shard_cache_bytes: usize,
    /// Bytes of shards each compute worker keeps ([`COMPUTE_SHARD_BYTES`]).
    pub compute_shard_bytes: usize,
    /// Bytes of memory that this machine can spare. As many of the cores are used as fit into it by their
    /// [`Footprint`]; no limit by default.
    pub memory_bytes: u64,
    /// Bytes that one program can address, the hub or a compute worker: 4 GiB for WebAssembly of 32 bits, which no device
    /// can help. By default what this build can.
    pub address_space_bytes: u64,
}

impl Settings {
    /// The usual settings; `known_answer` is taken by computing it here.
    pub fn new(arithmetic: Arithmetic, cores: u16, agent: impl Into<String>, seed: u64) -> Settings {
        Settings {
            arithmetic,
            known_answer: model::known_answer::digest(arithmetic),
            fused_capable: arithmetic == Arithmetic::Fused,
            cores,
            agent: agent.into(),
            seed,
            shard_cache_bytes: SHARD_CACHE_BYTES,
            compute_shard_bytes: COMPUTE_SHARD_BYTES,
            memory_bytes: u64::MAX,
            address_space_bytes: usize::MAX as u64,
        }
    }
}

/// What happens to a hub.
#[derive(Debug)]
pub enum HubInput {
    /// The connection asked for with [`HubOutput::Connect`] is open.
    Connected,
    /// It could not be opened (in time), or is closed.
    Disconnected,
    /// A message from the coordinator.
    Frame(Bytes),
    /// A shard has been downloaded and decompressed.
    ShardArrived {
        /// As given in [`HubOutput::Fetch`].
        fetch: u64,
        /// The encoded shard; the hub checks its hash.
        bytes: Vec<u8>,
    },
    /// A shard could not be downloaded (in time).
    ShardFailed {
        /// As given in [`HubOutput::Fetch`].
        fetch: u64,
    },
    /// A compute worker says something.
    Compute {
        /// Which.
        compute: u32,
        /// What.
        message: FromCompute,
    },
    /// A compute worker could not be started or has died. It is not replaced: too little memory
    /// is the likely reason.
    ComputeFailed {
        /// Which.
        compute: u32,
    },
    /// Lend this many cores from now on; zero pauses.
    Cores(u16),
    /// Time has passed; due whenever [`HubOutput::Wake`] says so, harmless at any other time.
    Tick,
}

/// What a hub wants done.
#[derive(Debug)]
pub enum HubOutput {
    /// Open the connection; answer with `Connected` or `Disconnected`.
    Connect,
    /// Close the connection, after everything sent before has gone out. `Disconnected` may follow
    /// and changes nothing.
    Close,
    /// Send this message.
    Send(Vec<u8>),
    /// Send these messages, one after the other.
    SendVector(VectorChunks),
    /// Download a shard; answer with `ShardArrived` or `ShardFailed`.
    Fetch {
        /// Counts downloads.
        fetch: u64,
        /// What is wanted.
        shard: ShardRef,
        /// Where it is: "/shards/" and the hash in hexadecimal.
        path: String,
        /// Do not answer from a cache: an earlier answer was damaged.
        fresh: bool,
    },
    /// Start a compute worker; numbers are never used again.
    StartCompute {
        /// Its number.
        compute: u32,
    },
    /// End a compute worker, at once if possible. What it still says is ignored.
    StopCompute {
        /// Its number.
        compute: u32,
    },
    /// Pass a message on, in order.
    Compute {
        /// To which compute worker.
        compute: u32,
        /// The message.
        message: ToCompute,
    },
    /// Send [`HubInput::Tick`] at this time (on the clock of the inputs). Replaces earlier wishes.
    Wake {
        /// When.
        at_ms: u64,
    },
}

/// One volunteer.
#[derive(Debug)]
pub struct Hub {
    settings: Settings,
    link: Link,
    /// When the coordinator was last heard.
    heard_ms: u64,
    /// Cores that the hello spoke of.
    greeted_cores: u16,
    backoff: Backoff,
    run: Option<CurrentRun>,
    round: Option<CurrentRound>,
    shards: Shards,
    crew: Crew,
    queue: VecDeque<Underway>,
    /// Cores lent that have no compute worker because it failed.
    failed_cores: u16,
    counters: Counters,
    outputs: VecDeque<HubOutput>,
    wake_ms: Option<u64>,
}

/// Where the connection stands.
#[derive(Debug, PartialEq, Eq)]
enum Link {
    /// To be opened again at that time; why it is not open.
    Waiting { until_ms: u64, why: String },
    /// Asked for.
    Connecting,
    /// Hello is said; an answer must come by then.
    Greeting { until_ms: u64 },
    /// Work may come.
    Open,
    /// Nothing more will happen; why.
    Ended { phase: HubPhase, text: String },
}

#[derive(Debug)]
struct CurrentRun {
    run: Run,
    frame: Bytes,
    footprint: Footprint,
}

#[derive(Debug)]
struct CurrentRound {
    /// The hub's own number for it.
    number: u64,
    shared: Arc<SharedRound>,
    /// Of each part.
    layouts: Vec<UnitLayout>,
}

/// The hub's own numbers. The coordinator's do not serve: one that is killed and resumed may
/// count again, while something of before is still on its way here.
#[derive(Debug, Default)]
struct Counters {
    round: u64,
    assignment: u64,
    job: u64,
    assignments_done: u64,
    units_done: u64,
    examples_done: u64,
    bytes_sent: u64,
    bytes_received: u64,
}

impl Hub {
    /// A hub that wants to connect: drain its outputs.
    pub fn new(mut settings: Settings) -> Hub {
        settings.cores = settings.cores.min(CORES_MAX);
        cut(&mut settings.agent);
        Hub {
            backoff: Backoff::new(settings.seed),
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
            outputs: VecDeque::from([HubOutput::Connect]),
            wake_ms: None,
        }
    }

    /// Takes note of an event. Time never goes backward.
    pub fn handle(&mut self, now_ms: u64, input: HubInput) {
        if matches!(self.link, Link::Ended { .. }) {
            return;
        }
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
                self.counters.bytes_received += bytes.len() as u64;
                let ended = self.shards.arrived(now_ms, fetch, bytes);
                self.fetch_ended(ended);
            }
            HubInput::ShardFailed { fetch } => {
                let ended = self.shards.failed(now_ms, fetch);
                self.fetch_ended(ended);
            }
            HubInput::Compute { compute, message } => self.compute_says(compute, message),
            HubInput::ComputeFailed { compute } => self.compute_failed(compute),
            HubInput::Cores(cores) => self.lend(cores),
            HubInput::Tick => self.tick(now_ms),
        }
        self.advance(now_ms);
    }

    /// What to do next; `None` until something else happens.
    pub fn poll_output(&mut self) -> Option<HubOutput> {
        self.outputs.pop_front()
    }

    /// What to show.
    pub fn status(&self) -> HubStatus {
        let busy = self.crew.busy();
        let awaited = self.wanted_shards().len();
        let (phase, sentence) = match &self.link {
            Link::Waiting { why, .. } => {
                (HubPhase::Connecting, format!("No connection to the coordinator: {why}. Trying again soon."))
            }
            Link::Connecting | Link::Greeting { .. } => {
                (HubPhase::Connecting, "Connecting to the coordinator.".to_owned())
            }
            Link::Ended { phase, text } => (*phase, text.clone()),
            Link::Open if self.lent() == 0 => (HubPhase::Paused, "Paused: no core is lent.".to_owned()),
            Link::Open if busy > 0 => {
                (HubPhase::Computing, format!("Computing on {}.", counted(busy, "core")))
            }
            Link::Open if awaited > 0 => {
                (HubPhase::Downloading, format!("Downloading data: {} to go.", counted(awaited, "part")))
            }
            Link::Open if self.round.is_none() => {
                (HubPhase::Waiting, "Connected. Waiting for the training to begin a round.".to_owned())
            }
            Link::Open => (HubPhase::Waiting, "Connected. Waiting for the next piece of work.".to_owned()),
        };
        HubStatus {
            phase,
            sentence,
            cores: self.lent(),
            limit: self.memory_limit(),
            busy: busy as u16,
            assignments_done: self.counters.assignments_done,
            units_done: self.counters.units_done,
            examples_done: self.counters.examples_done,
            shards_held: self.shards.held().count() as u32,
            shard_bytes: self.shards.held_bytes() as u64,
            shards_awaited: awaited as u32,
            bytes_sent: self.counters.bytes_sent,
            bytes_received: self.counters.bytes_received,
        }
    }

    /// Cores that can be given work.
    fn lent(&self) -> u16 {
        self.settings.cores.min(self.cores_max()).saturating_sub(self.failed_cores)
    }

    /// Cores for which there is memory.
    fn cores_max(&self) -> u16 {
        let footprint = self.run.as_ref().map(|current| current.footprint);
        footprint.map_or(CORES_MAX, |footprint| footprint.cores(&self.settings))
    }

    fn memory_limit(&self) -> Option<String> {
        let footprint = self.run.as_ref()?.footprint;
        let (used, chosen) = (self.cores_max(), self.settings.cores);
        (used < chosen).then(|| {
            let each = megabytes(footprint.core_bytes);
            format!("{used} of {}: each needs {each} for this network.", counted(chosen.into(), "core"))
        })
    }
}

/// The connection.
impl Hub {
    fn connected(&mut self, now_ms: u64) {
        if self.link != Link::Connecting {
            return;
        }
        self.link = Link::Greeting { until_ms: now_ms.saturating_add(GREETING_MS_MAX) };
        self.greeted_cores = self.lent();
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            arithmetic: self.settings.arithmetic,
            known_answer: self.settings.known_answer,
            cores: self.lent(),
            fused_capable: self.settings.fused_capable,
            agent: self.settings.agent.clone(),
        };
        self.send(FromVolunteer::Hello(hello).encode());
    }

    fn disconnected(&mut self, now_ms: u64, why: &str) {
        if matches!(self.link, Link::Waiting { .. }) {
            return;
        }
        let until_ms = now_ms.saturating_add(self.backoff.next_delay_ms());
        self.link = Link::Waiting { until_ms, why: why.to_owned() };
        self.forget_round();
    }

    /// Closes from this side, to try again later.
    fn hang_up(&mut self, now_ms: u64, why: &str) {
        self.outputs.push_back(HubOutput::Close);
        self.disconnected(now_ms, why);
    }

    /// Closes for good.
    fn end(&mut self, phase: HubPhase, text: String) {
        self.forget_round();
        self.shards.clear();
        self.stop_crew_beyond(0);
        self.outputs.push_back(HubOutput::Close);
        self.link = Link::Ended { phase, text };
    }

    fn tick(&mut self, now_ms: u64) {
        match self.link {
            Link::Waiting { until_ms, .. } if now_ms >= until_ms => {
                self.link = Link::Connecting;
                self.outputs.push_back(HubOutput::Connect);
            }
            Link::Greeting { until_ms } if now_ms >= until_ms => {
                self.hang_up(now_ms, "the coordinator did not answer");
            }
            Link::Open if now_ms >= self.silent_until_ms() => {
                self.hang_up(now_ms, "nothing was heard from the coordinator for too long");
            }
            _ => {}
        }
        // Whatever is still awaited is wished for again, in case this came too early.
        self.wake_ms = None;
    }

    /// When the coordinator has been silent for too long.
    fn silent_until_ms(&self) -> u64 {
        let parameters = self.run.as_ref().map_or(0, |current| current.run.network.parameters() as u64);
        // The largest rounds carry two vectors of f32.
        let round_ms = (8 * parameters / LINK_BYTES_PER_MS).min(ROUND_MS_MAX);
        self.heard_ms.saturating_add(SILENCE_MS_MAX + round_ms)
    }

    fn frame(&mut self, now_ms: u64, bytes: &Bytes) {
        let open = self.link == Link::Open;
        match decode_downward(bytes) {
            Ok(DownwardFrame::Message(FromCoordinator::Welcome(welcome))) if !open => {
                self.welcome(*welcome, bytes);
            }
            Ok(DownwardFrame::Message(FromCoordinator::Refused { reason, text })) => {
                self.refused(now_ms, reason, text);
            }
            Ok(DownwardFrame::Message(FromCoordinator::Finished { text })) => {
                self.end(HubPhase::Finished, text)
            }
            Ok(DownwardFrame::Message(FromCoordinator::Assign(assignment))) if open => {
                self.assign(assignment)
            }
            Ok(DownwardFrame::Message(FromCoordinator::Heartbeat)) => {}
            Ok(DownwardFrame::Round(round)) if open => self.begin_round(now_ms, round, bytes),
            Ok(_) => self.hang_up(now_ms, "the coordinator sent a message out of its order"),
            Err(error) => self.hang_up(now_ms, &format!("a message cannot be read: {error}")),
        }
    }

    fn welcome(&mut self, mut welcome: Welcome, frame: &Bytes) {
        // A session's number is all in which two welcomes of one run may differ.
        welcome.session = 0;
        if self.run.as_ref().is_none_or(|current| current.run.welcome != welcome) {
            if welcome.arithmetic != self.settings.arithmetic {
                let text = format!(
                    "This run uses {} arithmetic and this worker computes {}.",
                    welcome.arithmetic, self.settings.arithmetic
                );
                return self.end(HubPhase::Stopped, text);
            }
            let run = match Run::new(welcome) {
                Ok(run) => run,
                Err(error) => {
                    let text = format!("This worker cannot set up the coordinator's network: {error}");
                    return self.end(HubPhase::Stopped, text);
                }
            };
            let footprint = run.footprint(&self.settings);
            self.shards.clear();
            self.run = Some(CurrentRun { run, frame: frame.clone(), footprint });
            self.crew.forget_run();
            if self.cores_max() == 0 {
                return self.end(HubPhase::Stopped, too_large(footprint, &self.settings));
            }
        }
        self.stop_crew_beyond(self.lent().into());
        self.backoff.reset();
        self.link = Link::Open;
        let training = self.shards.held().filter(|(set, _)| *set == Set::Training);
        let training_shards = training.map(|(_, index)| index).take(READY_SHARDS_MAX).collect();
        self.send(FromVolunteer::Ready(Ready { training_shards }).encode());
        // The hello may be out of date: the number of cores can change while the welcome is awaited.
        if self.lent() != self.greeted_cores {
            self.send(FromVolunteer::Cores(self.lent()).encode());
        }
    }

    fn refused(&mut self, now_ms: u64, reason: Refusal, text: String) {
        match reason {
            Refusal::Full => self.hang_up(now_ms, text.trim_end_matches('.')),
            Refusal::OtherVersion | Refusal::OtherArithmetic | Refusal::OtherBits | Refusal::Misbehaved => {
                self.end(HubPhase::Stopped, text)
            }
        }
    }

    fn send(&mut self, frame: Vec<u8>) {
        self.counters.bytes_sent += frame.len() as u64;
        self.outputs.push_back(HubOutput::Send(frame));
    }
}

/// Rounds and assignments.
impl Hub {
    fn begin_round(&mut self, now_ms: u64, round: RoundFrame<'_>, frame: &Bytes) {
        self.forget_round();
        let suits = |run: &Run| round.parameters() == run.network.parameters() && run.suits(&round.plan);
        let Some(CurrentRun { run, .. }) = self.run.as_ref().filter(|current| suits(&current.run)) else {
            return self.hang_up(now_ms, "the coordinator sent a round that does not suit its network");
        };
        self.counters.round += 1;
        self.round = Some(CurrentRound {
            number: self.counters.round,
            layouts: run.lay_out(&round.plan),
            shared: Arc::new(SharedRound::new(round.plan, frame.slice_ref(round.vectors))),
        });
    }

    /// Drops the round and its assignments. Compute workers drop their sums when the next begins.
    fn forget_round(&mut self) {
        self.round = None;
        self.queue.clear();
    }

    fn assign(&mut self, assignment: Assignment) {
        let (Some(CurrentRun { run, .. }), Some(round)) = (&self.run, &self.round) else { return };
        if assignment.round != round.shared.plan().round {
            return;
        }
        let number = assignment.assignment;
        if self.lent() == 0 {
            return self.decline(number, "no core is lent");
        }
        if self.queue.len() >= ASSIGNMENTS_MAX {
            return self.decline(number, "too many assignments at once");
        }
        self.counters.assignment += 1;
        let key = self.counters.assignment;
        let CurrentRound { shared, layouts, .. } = round;
        match Underway::new(key, assignment, shared.plan(), layouts, |set| run.set(set)) {
            Some(underway) => self.queue.push_back(underway),
            None => self.decline(number, "its units are not units of one part of the round"),
        }
    }

    fn decline(&mut self, assignment: u64, reason: &str) {
        let mut reason = reason.to_owned();
        cut(&mut reason);
        self.send(FromVolunteer::Decline { assignment, reason }.encode());
    }

    /// Takes an assignment out of the queue and its sums out of the compute workers.
    fn give_up(&mut self, index: usize) -> Option<Underway> {
        let underway = self.queue.remove(index)?;
        for compute in underway.sharers() {
            let message = ToCompute::Discard { assignment: underway.key };
            self.outputs.push_back(HubOutput::Compute { compute, message });
        }
        Some(underway)
    }

    fn decline_at(&mut self, index: usize, reason: &str) {
        if let Some(underway) = self.give_up(index) {
            self.decline(underway.assignment.assignment, reason);
        }
    }

    fn decline_all(&mut self, reason: &str) {
        while !self.queue.is_empty() {
            self.decline_at(0, reason);
        }
    }

    fn find(&self, key: u64) -> Option<usize> {
        self.queue.iter().position(|underway| underway.key == key)
    }

    fn send_result(&mut self, mut underway: Underway) {
        let (Some(CurrentRun { run, .. }), Some(round)) = (&self.run, &self.round) else { return };
        let UnitSums { losses, unfit_steps, correct, vector } = underway.take_sums();
        let vector = vector.unwrap_or_default();
        let vector_bytes = packed_bytes(&vector);
        let plan = round.shared.plan();
        let header = ResultHeader {
            run: run.welcome.run,
            round: plan.round,
            version: plan.version,
            assignment: underway.assignment.assignment,
            losses,
            unfit_steps,
            correct,
            vector_bytes: u32::try_from(vector_bytes).expect("parameters are limited to fewer bytes"),
        };
        self.counters.assignments_done += 1;
        self.counters.units_done += u64::from(underway.assignment.unit_count());
        self.counters.examples_done += underway.examples;
        self.send(FromVolunteer::Result(header).encode());
        if vector_bytes > 0 {
            self.counters.bytes_sent += vector_bytes as u64;
            self.outputs.push_back(HubOutput::SendVector(VectorChunks::new(vector)));
        }
    }
}

/// Shards.
impl Hub {
    /// What the units not yet given out need and the hub does not have, most urgent first.
    fn wanted_shards(&self) -> Vec<(Key, ShardRef)> {
        let Some(CurrentRun { run, .. }) = &self.run else { return Vec::new() };
        let mut missing = self.needed_shards(run);
        missing.retain(|(key, _)| !self.shards.holds(*key));
        missing
    }

    fn needed_shards(&self, run: &Run) -> Vec<(Key, ShardRef)> {
        let mut seen = BTreeSet::new();
        let mut needed = Vec::new();
        for underway in &self.queue {
            let set = underway.part.set;
            for index in underway.pending_shards() {
                if seen.insert((set, index))
                    && let Some(shard) = run.set(set).shards.get(index as usize)
                {
                    needed.push(((set, index), *shard));
                }
            }
        }
        needed
    }

    fn fetch(&mut self, now_ms: u64) {
        let Some(CurrentRun { run, .. }) = &self.run else { return };
        let needed = self.needed_shards(run);
        let limit = self.settings.shard_cache_bytes;
        let urgent = self.queue.iter().find_map(Underway::next_shards).map_or(0, |shards| shards.len());
        let (begun, evicted) = self.shards.begin_fetches(now_ms, limit, &needed, urgent);
        for key in evicted {
            self.crew.drop_shard(key, &mut self.outputs);
        }
        for shards::Fetch { fetch, shard, fresh } in begun {
            let path = format!("/shards/{}", shard.name());
            self.outputs.push_back(HubOutput::Fetch { fetch, shard, path, fresh });
        }
    }

    fn fetch_ended(&mut self, ended: Ended) {
        let Ended::GivenUp((set, shard)) = ended else { return };
        let needs = |underway: &Underway| {
            underway.part.set == set && underway.pending_shards().any(|index| index == shard)
        };
        while let Some(index) = self.queue.iter().position(needs) {
            self.decline_at(index, "a shard could not be downloaded, or is not what its name says");
        }
    }
}

/// Compute workers.
impl Hub {
    fn lend(&mut self, cores: u16) {
        self.settings.cores = cores.min(CORES_MAX);
        self.failed_cores = 0;
        self.cores_changed();
    }

    fn compute_failed(&mut self, compute: u32) {
        if !self.crew.remove(compute) {
            return;
        }
        // One that failed for want of memory still holds what it had.
        self.outputs.push_back(HubOutput::StopCompute { compute });
        self.compute_lost(compute);
        self.failed_cores += 1;
        self.cores_changed();
        if self.lent() == 0 {
            let text = "The compute workers failed to start or to go on; there may be too little memory.";
            self.end(HubPhase::Stopped, text.to_owned());
        }
    }

    fn cores_changed(&mut self) {
        if self.link == Link::Open {
            self.send(FromVolunteer::Cores(self.lent()).encode());
            if self.lent() == 0 {
                self.decline_all("no core is lent");
            }
        }
        self.stop_crew_beyond(self.lent().into());
    }

    fn stop_crew_beyond(&mut self, count: usize) {
        while self.crew.len() > count
            && let Some(compute) = self.crew.dismiss()
        {
            self.outputs.push_back(HubOutput::StopCompute { compute });
            self.compute_lost(compute);
        }
    }

    fn compute_lost(&mut self, compute: u32) {
        for underway in &mut self.queue {
            underway.lost(compute);
        }
    }

    fn compute_says(&mut self, compute: u32, message: FromCompute) {
        match message {
            FromCompute::Done { job } => {
                let Some(running) = self.crew.ended(compute, job) else { return };
                if let Some(index) = self.find(running.assignment) {
                    self.queue[index].done(compute);
                }
            }
            FromCompute::Unfit { job, unit } => {
                let Some(running) = self.crew.ended(compute, job) else { return };
                let Some(index) = self.find(running.assignment) else { return };
                let Some(underway) = self.give_up(index) else { return };
                let Assignment { assignment, round, .. } = underway.assignment;
                self.send(FromVolunteer::Unfit(Unfit { assignment, round, unit }).encode());
            }
            FromCompute::Failed { job, reason } => {
                let Some(running) = self.crew.ended(compute, job) else { return };
                if let Some(index) = self.find(running.assignment) {
                    self.decline_at(index, &reason);
                }
            }
            FromCompute::Sums { assignment, sums } => {
                let Some(index) = self.find(assignment) else { return };
                if !self.queue[index].collected(compute, sums) {
                    self.decline_at(index, "its sums do not add up");
                }
            }
        }
    }

    /// Does whatever has become possible.
    fn advance(&mut self, now_ms: u64) {
        if self.link == Link::Open {
            while self.crew.len() < usize::from(self.lent()) {
                let compute = self.crew.hire();
                self.outputs.push_back(HubOutput::StartCompute { compute });
            }
            // Before new jobs, so that a finished assignment's sums do not wait behind them.
            self.collect();
            let idle: Vec<u32> = self.crew.idle().collect();
            for compute in idle {
                self.give_job(compute);
            }
            self.fetch(now_ms);
        }
        self.set_wake(now_ms);
    }

    /// Gives an idle compute worker its share of the first assignment that has units whose shards
    /// are here: half of what each would get if all went equally fast, so that the last pieces are small.
    fn give_job(&mut self, compute: u32) {
        let (Some(current), Some(round)) = (&self.run, &self.round) else { return };
        let crew_size = self.crew.len() as u32;
        let limit = self.settings.compute_shard_bytes as u64;
        for index in 0..self.queue.len() {
            let underway = &mut self.queue[index];
            let share = underway.pending_units().div_ceil(2 * crew_size).max(1);
            let set = underway.part.set;
            let size = |index: u32| current.run.decoded_bytes(set, index);
            let (mut needed, mut bytes) = (BTreeSet::new(), 0u64);
            let mut segments = Vec::new();
            // First what it already has, then what nobody has, then anything.
            for preference in 0..3 {
                let wanted = share - segments.iter().map(units_of).sum::<u32>();
                let more = underway.give(compute, wanted, |shards| {
                    let keys = || shards.clone().map(|index| (set, index));
                    let suits = match preference {
                        0 => keys().all(|key| self.crew.holds(compute, key)),
                        1 => keys().all(|key| self.shards.holds(key) && !self.crew.anyone_holds(key)),
                        _ => keys().all(|key| self.shards.holds(key)),
                    };
                    let new = || keys().filter(|key| !needed.contains(key));
                    let more = new().fold(0u64, |sum, (_, index)| sum.saturating_add(size(index)));
                    let fits = more == 0 || needed.is_empty() || bytes.saturating_add(more) <= limit;
                    if suits && fits {
                        bytes = bytes.saturating_add(more);
                        needed.extend(keys());
                    }
                    suits && fits
                });
                segments.extend(more);
                if segments.iter().map(units_of).sum::<u32>() >= share {
                    break;
                }
            }
            if segments.is_empty() {
                continue;
            }
            segments.sort_by_key(|segment| segment.units.start);
            let given: BTreeSet<Key> = segments
                .iter()
                .flat_map(|segment| segment.shards.clone())
                .map(|index| (set, index))
                .collect();
            self.crew.set_up(compute, &current.frame, &mut self.outputs);
            self.crew.show_round(compute, round.number, &round.shared, &mut self.outputs);
            let shards = &mut self.shards;
            let content = |key: Key| Some((shards.content(key)?, current.run.decoded_bytes(key.0, key.1)));
            self.crew.supply(compute, &given, limit, content, &mut self.outputs);
            self.counters.job += 1;
            let units = segments.into_iter().map(|segment| segment.units).collect();
            let job = Job { job: self.counters.job, assignment: underway.key, units };
            // A compute worker keeps the sums of one assignment at a time.
            for other in self.queue.iter_mut().filter(|other| other.key != job.assignment) {
                if other.collect_from(compute) {
                    let message = ToCompute::Collect { assignment: other.key };
                    self.outputs.push_back(HubOutput::Compute { compute, message });
                }
            }
            self.crew.begin(compute, Running { job: job.job, assignment: job.assignment });
            self.outputs.push_back(HubOutput::Compute { compute, message: ToCompute::Run(job) });
            return;
        }
    }

    /// Asks for the sums of assignments that have been given out, and sends what is complete.
    fn collect(&mut self) {
        for underway in &mut self.queue {
            for compute in underway.collect() {
                let message = ToCompute::Collect { assignment: underway.key };
                self.outputs.push_back(HubOutput::Compute { compute, message });
            }
        }
        while let Some(index) = self.queue.iter().position(Underway::is_complete) {
            if let Some(underway) = self.queue.remove(index) {
                self.send_result(underway);
            }
        }
    }

    fn set_wake(&mut self, now_ms: u64) {
        let at_ms = match &self.link {
            Link::Waiting { until_ms, .. } | Link::Greeting { until_ms } => Some(*until_ms),
            Link::Open => {
                let again_ms = self.shards.again_ms(now_ms, &self.wanted_shards());
                let silent_ms = self.silent_until_ms();
                Some(again_ms.map_or(silent_ms, |at_ms| at_ms.min(silent_ms)))
            }
            Link::Connecting | Link::Ended { .. } => None,
        };
        // With every frame the coordinator may be silent for longer; the wish for the earlier time
        // stands then, and is renewed when it is due.
        let stands = self.link == Link::Open && self.wake_ms.is_some_and(|wish| Some(wish) <= at_ms);
        if let Some(at_ms) = at_ms.filter(|_| !stands && at_ms != self.wake_ms) {
            self.outputs.push_back(HubOutput::Wake { at_ms });
            self.wake_ms = Some(at_ms);
        }
    }
}

/// Why not even one core can help.
fn too_large(footprint: Footprint, settings: &Settings) -> String {
    let one = footprint.hub_bytes.max(footprint.core_bytes);
    if one > settings.address_space_bytes {
        return format!(
            "This training is too large for this kind of worker: it needs {} in one piece, and can have no more \
             than {}, on any device.",
            megabytes(one),
            megabytes(settings.address_space_bytes),
        );
    }
    format!(
        "This training is too large for this device: with one core it needs {}, and {} can be spared.",
        megabytes(footprint.hub_bytes.saturating_add(footprint.core_bytes)),
        megabytes(settings.memory_bytes),
    )
}

/// A size as people read it, rounded up.
fn megabytes(bytes: u64) -> String {
    const MEGA: u64 = 1_000_000;
    if bytes < 1000 * MEGA {
        format!("{} MB", bytes.div_ceil(MEGA))
    } else {
        format!("{:.1} GB", bytes.div_ceil(100 * MEGA) as f64 / 10.0)
    }
}

fn units_of(segment: &underway::Segment) -> u32 {
    segment.units.len() as u32
}

/// Cuts a text to what a message may carry.
fn cut(text: &mut String) {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
}

fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
