//! The engine: everything that decides what a run computes and who computes it.
//!
//! It is pure. [`Engine::handle`] takes one [`Input`] and the time; then [`Engine::poll_output`] is
//! drained; [`Engine::wake_ms`] says when to call again if nothing happens. No clock, no file, no
//! socket, no thread and no randomness is reachable from here, so a whole run with its churn and
//! failures can be replayed in a test, and the weights are a function of the data, the
//! configuration and the seed alone.
//!
//! The walk of a round: the [optimizer](optimizers) asks for a point; [`Engine`] opens a round
//! there; the scheduler hands out units; the validator judges what comes back; the
//! [aggregator] sums it exactly; the optimizer is told. Between two rounds the state is a
//! [`Snapshot`].

#![forbid(unsafe_code)]

mod advice;
pub mod aggregator;
mod answers;
mod completion;
mod course;
pub mod decoder;
mod figures;
mod misfits;
pub mod optimizers;
mod round;
mod rounds;
pub mod scales;
mod scheduler;
mod settings;
mod snapshot;
mod stopping;
mod tally;
mod validator;
mod volunteers;

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::plan::{Assignment, RoundPlan, Set};

use advice::Advice;
use decoder::Message;
use misfits::Suspicion;
use optimizers::Optimizer;
use round::Round;
use snapshot::with_tail;
use volunteers::Volunteers;

pub use course::{Best, Course};
pub use figures::{Accepted, Counters, Figures};
pub use protocol::measure::Measure;
pub use scheduler::{LAST_RESORT_MS, OUTSTANDING_MAX};
pub use settings::{LocalHelp, Settings};
pub use snapshot::{KnownScales, Snapshot, Statistics};
pub use stopping::{StopReason, StopRules};
pub use volunteers::{Attendance, REST_MS};

/// Everything that can happen to the engine. Volunteers are named by their session's number.
#[derive(Debug)]
pub enum Input {
    /// Training may begin (or go on, after a resume).
    Begin,
    /// A volunteer is ready for work.
    Joined {
        /// Its session.
        session: u64,
        /// Cores it lends.
        cores: u16,
        /// Whether it is the coordinator's own worker.
        local: bool,
        /// Shards of the training set that it already holds.
        training_shards: Vec<u32>,
    },
    /// A volunteer is gone.
    Left {
        /// Its session.
        session: u64,
    },
    /// A volunteer that has joined says something.
    Message {
        /// Its session.
        session: u64,
        /// The message, decoded.
        message: Message,
    },
    /// The referee has computed what [`Output::Measure`] asked for.
    Measured {
        /// The request's plan number ([`RoundPlan::round`]).
        round: u64,
        /// What it found.
        measure: Measure,
    },
    /// Time has passed.
    Tick,
    /// Whoever runs the training wants it to end here.
    Stop,
    /// So does the clock: the time given to the training is over.
    TimeIsUp {
        /// The time given.
        seconds: u64,
    },
}

/// What the engine wants done.
#[derive(Debug)]
pub enum Output {
    /// Show this round to every session; it replaces the one before.
    OpenRound {
        /// Its plan.
        plan: RoundPlan,
        /// [`RoundPlan::vectors`] vectors.
        vectors: Vec<Arc<[f32]>>,
    },
    /// Give a volunteer work.
    Assign {
        /// Its session.
        session: u64,
        /// The work.
        assignment: Assignment,
    },
    /// Send a volunteer away.
    Dismiss {
        /// Its session.
        session: u64,
        /// Why, in one sentence.
        text: String,
    },
    /// Have the referee compute one unit and answer with [`Input::Measured`].
    Measure {
        /// The plan it belongs to.
        plan: RoundPlan,
        /// The unit.
        unit: u32,
        /// The plan's vectors.
        vectors: Vec<Arc<[f32]>>,
    },
    /// A point was accepted. The engine is between two rounds: a good moment for a checkpoint.
    Accepted(Accepted),
    /// A line search goes on. The engine is between two rounds.
    Between,
    /// Something a person should know.
    Note(String),
    /// The training has ended; the weights are [`Engine::weights`].
    Finished(StopReason),
}

/// See the module's description.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    optimizer: Optimizer,
    scales: KnownScales,
    statistics: Statistics,
    counters: Counters,
    accepted: Option<Accepted>,
    course: Course,
    stage: Stage,
    volunteers: Volunteers,
    /// When a volunteer's result was last counted, or else the round was opened.
    heard_ms: u64,
    /// Nobody was heard for so long that the coordinator's own worker helps whatever its setting.
    /// Outlasts the round: only a volunteer's result ends it.
    left_alone: bool,
    /// When the round was opened, for the last time if it was more than once.
    opened_ms: u64,
    advice: Advice,
    outputs: VecDeque<Output>,
    wake_ms: Option<u64>,
}

#[derive(Debug)]
enum Stage {
    /// [`Input::Begin`] has not come.
    Waiting,
    /// The referee measures the first scales for this round.
    Scaling {
        plan: RoundPlan,
        vectors: Vec<Arc<[f32]>>,
    },
    /// A round is under way, perhaps with wider scales than [`Engine::scales`].
    Open {
        round: Box<Round>,
        referee: Option<Suspicion>,
    },
    /// All units of a round are accounted for, and something vanished at its scales: the referee measures one.
    Vanished {
        round: Box<Round>,
    },
    Finished(StopReason),
}

impl Engine {
    /// An engine that goes on from `snapshot`.
    pub fn new(settings: Settings, snapshot: Snapshot) -> Engine {
        Engine {
            settings,
            optimizer: snapshot.optimizer,
            scales: snapshot.scales,
            statistics: snapshot.statistics,
            counters: snapshot.counters,
            accepted: snapshot.accepted,
            course: snapshot.course,
            stage: Stage::Waiting,
            volunteers: Volunteers::default(),
            heard_ms: 0,
            left_alone: false,
            opened_ms: 0,
            advice: Advice::default(),
            outputs: VecDeque::new(),
            wake_ms: None,
        }
    }

    /// The state to go on from: that of the last moment between two rounds.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            optimizer: self.optimizer.clone(),
            scales: self.scales,
            statistics: self.statistics.clone(),
            counters: self.counters,
            accepted: self.accepted,
            course: self.course.clone(),
        }
    }

    /// The weights of the last accepted point, with the statistics it was evaluated with.
    pub fn weights(&self) -> Arc<[f32]> {
        with_tail(self.optimizer.weights(), &self.statistics.accepted)
    }

    /// The last accepted point.
    pub fn accepted(&self) -> Option<&Accepted> {
        self.accepted.as_ref()
    }

    /// The accepted point with the lowest validation loss, whose weights are the ones to keep; `None` without
    /// a validation set.
    pub fn best(&self) -> Option<&Best> {
        self.course.best()
    }

    /// The run's number.
    pub fn run(&self) -> u64 {
        self.settings.run
    }

    /// What has been counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether the training has nothing to do: the point it stands at is the one to stop at.
    pub fn is_at_its_end(&self) -> bool {
        self.stop_rule().is_some()
    }

    /// Units accounted for and units in all, while a round is open.
    pub fn round_progress(&self) -> Option<(u32, u32)> {
        let (Stage::Open { round, .. } | Stage::Vanished { round }) = &self.stage else { return None };
        Some((round.done(), round.plan.units()))
    }

    /// Why the training ended, once it has.
    pub fn stop_reason(&self) -> Option<&StopReason> {
        match &self.stage {
            Stage::Finished(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether the coordinator's own worker is given work at present, be it as the last resort.
    pub fn local_helps(&self) -> bool {
        self.left_alone || scheduler::local_helps(self.settings.local_help, &self.volunteers)
    }

    /// The number of volunteers and their cores.
    pub fn attendance(&self) -> Attendance {
        self.volunteers.attendance()
    }

    /// Whether the session belongs to a connected volunteer other than the coordinator's own worker.
    pub fn has_remote(&self, session: u64) -> bool {
        self.volunteers.get(session).is_some_and(|volunteer| !volunteer.local)
    }

    /// What is to be done next; `None` when there is nothing more for now.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to hand in [`Input::Tick`] if nothing else happens before. Always later than the last
    /// input.
    pub fn wake_ms(&self) -> Option<u64> {
        self.wake_ms
    }

    /// Takes in what happened at `now_ms` (any monotonic clock).
    pub fn handle(&mut self, now_ms: u64, input: Input) {
        match input {
            Input::Begin => {
                if matches!(self.stage, Stage::Waiting) {
                    self.go_on(now_ms);
                }
            }
            Input::Joined { session, cores, local, training_shards } => {
                let existing = |shard: &u32| (*shard as usize) < self.settings.sets.training.shards.len();
                let shards = training_shards.into_iter().filter(existing).map(|shard| (Set::Training, shard));
                self.volunteers.join(session, cores, local, shards.collect());
            }
            Input::Left { session } => self.remove(session),
            Input::Message { session, message } => self.message(now_ms, session, message),
            Input::Measured { round, measure } => self.measured(now_ms, round, measure),
            Input::Tick => {}
            Input::Stop => self.break_off(now_ms, StopReason::Interrupted),
            Input::TimeIsUp { seconds } => self.break_off(now_ms, StopReason::Time(seconds)),
        }
        self.hand_out(now_ms);
    }
}
