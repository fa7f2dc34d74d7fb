//! The engine: everything that decides what a run computes and who computes it.
//!
//! It is pure. [`Engine::handle`] takes one [`Input`] and the time; then [`Engine::poll_output`] is
//! drained; [`Engine::wake_ms`] says when to call again if nothing happens. No clock, no file, no
//! socket, no thread and no randomness is reachable from here, so a whole run with its churn and
//! failures can be replayed in a test, and the weights are a function of the data, the
//! configuration and the seed alone.
//!
//! The walk of a round: the [optimizer](optimizers) asks for a point; [`Engine`] opens a round there and leases its
//! units, which the [ledger] keeps account of, to the [floor]; the floor hands them out to volunteers, judges what
//! comes back and sums it exactly; when all of it is in the ledger the optimizer is told. Between two rounds the state
//! is a [`Snapshot`].
//!
//! This program is coordinator, referee and volunteer in one. Linear regression on four examples:
//!
//! ```
//! use std::collections::VecDeque;
//! use std::sync::Arc;
//!
//! use engine::decoder::Message;
//! use engine::optimizers::{Lbfgs, LbfgsSettings, Optimizer};
//! use engine::{
//!     Audit, Counters, Course, Engine, Identity, Input, KnownScales, LocalHelp, OnLie, Output, Secret, Settings,
//!     Snapshot, Statistics, StopRules,
//! };
//! use model::{Arithmetic, Examples, Features, Network, NetworkSpec, Preprocessing, Rows, Targets, Task};
//! use ndarray::array;
//! use protocol::message::ResultHeader;
//! use protocol::plan::{RoundPlan, SetPlan, SetPlans, ShardRef};
//! use worker::unit::{Buffers, Unit, UnitSums, evaluate_unit, measure_unit};
//!
//! let network = Network::new(&NetworkSpec::from_shorthand("linear")?, 1, Task::Numbers(1))?;
//! let (rows, targets) = (array![[-1.0], [0.0], [1.0], [2.0]], array![[-1.0], [1.0], [3.0], [5.0]]);
//! let preprocessing = Preprocessing::identity(1);
//!
//! // One unit of all four examples, in one shard. There is no validation or test set.
//! let shards = vec![ShardRef { hash: [0; 32], bytes: 0 }];
//! let training = SetPlan { examples: 4, examples_per_unit: 4, units_per_shard: 1, shards };
//! let none = SetPlan { examples: 0, shards: Vec::new(), ..training.clone() };
//! let settings = Settings {
//!     run: 1,
//!     network: network.clone(),
//!     sets: SetPlans { training, validation: none.clone(), test: none },
//!     seed: 1,
//!     minibatch: 4,
//!     stop: StopRules::iterations(20),
//!     evaluate_every: None,
//!     evaluate_training: false,
//!     examines: false,
//!     local_help: LocalHelp::Never,
//!     audit: Audit::None,
//!     on_lie: OnLie::Rewind,
//! };
//! let lbfgs = LbfgsSettings { memory: 5, gradient_tolerance: Some(1e-6) };
//! let no_statistics: Arc<[f32]> = Arc::new([]);
//! let start = Snapshot {
//!     optimizer: Optimizer::Lbfgs(Lbfgs::new(network.initialize(1), lbfgs)),
//!     scales: KnownScales::default(),
//!     statistics: Statistics::new(no_statistics),
//!     counters: Counters::default(),
//!     accepted: None,
//!     course: Course::default(),
//! };
//!
//! // Adds a unit to the sums, if they are wanted, and measures it.
//! let compute = |plan: &RoundPlan, unit: u32, vectors: &[Arc<[f32]>], sums: &mut Option<UnitSums>| {
//!     let (part, number) = plan.locate(unit).expect("a unit of the plan");
//!     let features = Features::new(Rows::F32(rows.view()), &preprocessing);
//!     let examples = [Examples { features, targets: Targets::Numbers(targets.view()) }];
//!     let unit = Unit {
//!         network: &network,
//!         arithmetic: Arithmetic::Portable,
//!         seed: 1,
//!         minibatch: 4,
//!         plan,
//!         work: &plan.parts[part].work,
//!         number,
//!         examples: &examples,
//!         first_example: 0,
//!         weights: &vectors[0],
//!         direction: vectors.get(1).map_or(&[], |direction| direction),
//!     };
//!     let zero = UnitSums::zero(unit.work, network.parameters());
//!     evaluate_unit(&unit, &mut Buffers::default(), sums.get_or_insert(zero));
//!     measure_unit(&unit, &mut Buffers::default())
//! };
//!
//! let mut engine = Engine::new(settings, start, &Secret::new([7; 32]));
//! let identity = Identity { token: 1, address: 1 };
//! let joined = Input::Joined { session: 1, cores: 1, local: false, identity, training_shards: Vec::new() };
//! let mut inputs = VecDeque::from([Input::Begin, joined]);
//! let mut open_round = None;
//! let mut now_ms = 0;
//! while let Some(input) = inputs.pop_front() {
//!     now_ms += 1;
//!     engine.handle(now_ms, input);
//!     while let Some(output) = engine.poll_output() {
//!         match output {
//!             Output::OpenRound { plan, vectors } => open_round = Some((plan, vectors)),
//!             Output::Measure { plan, unit, vectors } => {
//!                 let measure = compute(&plan, unit, &vectors, &mut None);
//!                 inputs.push_back(Input::Measured { round: plan.round, unit, measure });
//!             }
//!             Output::Assign { session, assignment } => {
//!                 let (plan, vectors) = open_round.as_ref().expect("a round is opened first");
//!                 let mut sums = None;
//!                 for unit in assignment.units.into_iter().flatten() {
//!                     compute(plan, unit, vectors, &mut sums);
//!                 }
//!                 let UnitSums { losses, unfit_steps, correct, vector } = sums.expect("a unit");
//!                 let header = ResultHeader {
//!                     run: 1,
//!                     round: plan.round,
//!                     version: plan.version,
//!                     assignment: assignment.assignment,
//!                     losses,
//!                     unfit_steps,
//!                     correct,
//!                     vector_bytes: 0,
//!                 };
//!                 inputs.push_back(Input::Message { session, message: Message::Result { header, vector } });
//!             }
//!             // A program also saves checkpoints, dismisses volunteers and prints figures.
//!             _ => {}
//!         }
//!     }
//! }
//! // The targets are 2 x + 1.
//! assert!(engine.stop_reason().is_some());
//! for (weight, target) in engine.weights().iter().zip([2.0, 1.0]) {
//!     assert!((weight - target).abs() < 1e-3, "{weight} for {target}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod advice;
pub mod aggregator;
mod claims;
mod completion;
mod convictions;
mod course;
pub mod decoder;
mod examination;
mod figures;
pub mod floor;
mod floors;
mod footprint;
pub mod ledger;
mod misfits;
pub mod optimizers;
mod past;
mod piles;
mod ring;
mod rounds;
pub mod scales;
mod settings;
mod snapshot;
mod stopping;
mod tally;
pub mod units;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use protocol::plan::{Assignment, RoundPlan};

use advice::Advice;
use claims::Claims;
use convictions::WaysBack;
use decoder::Message;
use examination::Examining;
use floor::{Floor, FloorEvent};
use ledger::{Ledger, OWN_FLOOR, Owner};
use optimizers::{Iteration, Method, Optimizer};
use past::Kept;
pub use past::Past;
use ring::Ring;
pub use ring::least_missed;
use rounds::OpenRound;
use snapshot::with_tail;

pub use claims::Claim;
pub use course::{Best, Course};
pub use examination::Examination;
pub use figures::{Accepted, Counters, Figures};
#[doc(hidden)]
pub use floor::Effort;
pub use floor::members::Member;
pub use floor::roster::OUTSTANDING_MAX;
pub use floor::scheduler::LAST_RESORT_MS;
pub use floor::standing::NEWCOMER_RESULTS;
pub use floor::volunteers::REST_MS;
pub use floor::{Answer, Attendance, Audit, Identity, Secret};
pub use floors::{FromFloor, ToFloor};
pub use footprint::Load;
pub use protocol::measure::Measure;
pub use settings::{LocalHelp, OnLie, Settings};
pub use snapshot::{KnownScales, Snapshot, Statistics};
pub use stopping::{StopReason, StopRules};

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
        /// Who it is; means nothing for the coordinator's own worker.
        identity: Identity,
        /// Shards of the training set that it already holds.
        training_shards: Vec<u32>,
    },
    /// A volunteer is gone.
    Left {
        /// Its session.
        session: u64,
    },
    /// A volunteer broke the rules of its channel, as no honest one does: its session is over.
    Misbehaved {
        /// Its session.
        session: u64,
        /// What it sent.
        offense: String,
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
        /// The request's unit.
        unit: u32,
        /// What it found.
        measure: Measure,
    },
    /// The coordinator has computed what [`Output::Recompute`] asked for.
    Recomputed {
        /// The request's plan number ([`RoundPlan::round`]).
        round: u64,
        /// What the units sum to; `None` if one of them has no result at the round's scales.
        answer: Option<Answer>,
    },
    /// The referee could not compute what [`Output::Measure`] asked for, because it did not get at the examples. It is
    /// asked again.
    NotMeasured {
        /// The request's plan number ([`RoundPlan::round`]).
        round: u64,
        /// The request's unit.
        unit: u32,
    },
    /// The same for [`Output::Recompute`].
    NotRecomputed {
        /// The request's plan number ([`RoundPlan::round`]).
        round: u64,
    },
    /// What [`Output::Recall`] asked for.
    Recalled {
        /// The number of rounds that was asked for.
        rounds: u64,
        /// The state; `None` if it cannot be had.
        snapshot: Option<Box<Snapshot>>,
    },
    /// A floor in another process says something about a round.
    Floor {
        /// Its number, which is used once.
        owner: Owner,
        /// The round's number.
        round: u64,
        /// What it says.
        message: FromFloor,
    },
    /// In another process a volunteer was found out of whom results were counted that nobody had checked, the first
    /// after so many rounds were completed.
    Convicted {
        /// The number of rounds.
        unchecked_since: u64,
    },
    /// A volunteer was found out in another process. Its sessions here are dismissed. If it lied, what it did here
    /// cannot be trusted either.
    Denounced {
        /// Its token.
        token: u128,
        /// What it sent.
        offense: String,
        /// As in [`FloorEvent::Convicted`].
        is_lie: bool,
    },
    /// The operator does not want a volunteer: its sessions end. What it did counts.
    Banned {
        /// Its token.
        token: u128,
    },
    /// Time has passed.
    Tick,
    /// Hand out no more work. What is under way is taken in all the same.
    Pause,
    /// Hand out work again.
    Continue,
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
    /// Have the coordinator's own computation add up units, to decide what is right, and answer with
    /// [`Input::Recomputed`]. One is asked for at a time; a request of another round is over.
    Recompute {
        /// The plan they belong to.
        plan: RoundPlan,
        /// The units, all of one part.
        units: Vec<Range<u32>>,
        /// The plan's vectors.
        vectors: Vec<Arc<[f32]>>,
    },
    /// A volunteer was found out: it sent something that no honest volunteer sends. It is dismissed besides, if it
    /// is still there.
    Convicted {
        /// Its session.
        session: u64,
        /// Who it said it is.
        identity: Identity,
        /// What it sent.
        offense: String,
        /// As in [`FloorEvent::Convicted`].
        is_lie: bool,
    },
    /// Get a state that was saved before this process began, the one with so many rounds completed, and answer with
    /// [`Input::Recalled`]. Nothing else happens until then.
    Recall {
        /// The number of rounds: one of those that [`Engine::with_past`] was given.
        rounds: u64,
    },
    /// The training went back: points after this iteration are void; after the start point too, if it is `None`.
    Rewound {
        /// The iteration of the last accepted point.
        iteration: Option<u64>,
    },
    /// A volunteer has delivered a valid result.
    Delivered {
        /// Its session.
        session: u64,
        /// The examples in it; 0 if its units are not known any more.
        examples: u64,
        /// Whether they were counted. They were not if somebody else was first with the same units.
        counted: bool,
    },
    /// Tell a floor in another process.
    Floor {
        /// Its number.
        owner: Owner,
        /// What.
        message: ToFloor,
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
    /// The training has ended, and the weights to save are examined.
    examining: Option<Examining>,
    /// What that came to.
    examination: Option<Arc<Examination>>,
    /// The volunteers, and their part of the open round.
    floor: Floor,
    /// Whether there are others, in other processes.
    has_many_floors: bool,
    /// Whether the ledger checks who owns units.
    checks_owners: bool,
    /// For how many partial sums a ledger has room, if not for as many as it finds right.
    partials_max: Option<usize>,
    /// When one of those was last heard.
    floors_heard_ms: u64,
    /// What each floor may have of a round.
    claims: Claims,
    /// When the round was opened, for the last time if it was more than once.
    opened_ms: u64,
    /// Since when no work is handed out because somebody wants a pause.
    paused_ms: Option<u64>,
    /// The plan number and the unit of what the referee could not measure, and when it is asked again.
    to_measure_again: Option<(u64, u32, u64)>,
    /// The last accepted step.
    step: Option<Iteration>,
    advice: Advice,
    /// How often all sums of a round were added up.
    conclusions: u64,
    /// States to go back to.
    ring: Ring,
    ways_back: WaysBack,
    /// The rounds of the last accepted points, up to [`Course::SPAN`], and the last round that was not all checked,
    /// each by the number of those completed before. What was before this process is not known.
    span: VecDeque<u64>,
    unchecked: Option<u64>,
    /// States of before the process began.
    kept: Kept,
    /// Until so many rounds are completed all results are audited, because a liar was found out.
    wary_until: u64,
    /// Unchecked results of the rounds before which fewer than so many were completed stay in the weights: the training
    /// went back for some and found no state early enough.
    irrevocable: u64,
    outputs: VecDeque<Output>,
    /// The time of the last input, until work has been handed out: once after several inputs is enough.
    to_hand_out: Option<u64>,
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
    Open(Box<OpenRound>),
    /// All units of a round are accounted for, and something vanished at its scales: the referee measures one.
    Vanished(Box<OpenRound>),
    /// A state of before the process began was asked for: the one with `kept` rounds completed, to undo results that
    /// were counted since `since` were.
    Recalling {
        since: u64,
        kept: u64,
    },
    Finished(StopReason),
}

impl Engine {
    /// An engine that goes on from `snapshot`. `secret` decides who is audited; it never touches the weights.
    pub fn new(settings: Settings, snapshot: Snapshot, secret: &Secret) -> Engine {
        let rewinds = settings.rewinds();
        Engine {
            floor: Floor::new(settings.floor(), secret, snapshot.counters.assignment),
            ring: Ring::new(settings.network.parameters(), snapshot.optimizer.pairs_max(), rewinds),
            ways_back: WaysBack::default(),
            span: VecDeque::new(),
            unchecked: None,
            kept: Kept::default(),
            wary_until: 0,
            irrevocable: 0,
            settings,
            optimizer: snapshot.optimizer,
            scales: snapshot.scales,
            statistics: snapshot.statistics,
            counters: snapshot.counters,
            accepted: snapshot.accepted,
            course: snapshot.course,
            stage: Stage::Waiting,
            examining: None,
            examination: None,
            has_many_floors: false,
            checks_owners: true,
            partials_max: None,
            floors_heard_ms: 0,
            claims: Claims::default(),
            opened_ms: 0,
            paused_ms: None,
            to_measure_again: None,
            step: None,
            advice: Advice::default(),
            conclusions: 0,
            outputs: VecDeque::new(),
            to_hand_out: None,
            wake_ms: None,
        }
    }

    /// Knows of lies that the snapshot may hold. States with these numbers of rounds completed can be had by
    /// [`Output::Recall`].
    pub fn with_past(mut self, past: &Past, kept: Vec<u64>) -> Engine {
        self.wary_until = past.wary_until;
        self.floor.recall_unchecked(&past.unchecked, past.forgotten_since);
        self.kept = Kept::new(kept);
        self
    }

    /// What goes with [`Engine::snapshot`].
    pub fn past(&self) -> Past {
        let (unchecked, forgotten_since) = self.floor.unchecked();
        Past { unchecked, forgotten_since, wary_until: self.wary_until }
    }

    /// Hands out no copies of what volunteers have until nobody has been heard for [`LAST_RESORT_MS`]: to measure what
    /// copies gain.
    pub fn without_copies(mut self) -> Engine {
        self.floor = self.floor.without_copies();
        self
    }

    /// The state to go on from: that of the last moment between two rounds.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            optimizer: self.optimizer.clone(),
            scales: self.scales,
            statistics: self.statistics.clone(),
            counters: self.counters(),
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

    /// The last step that was accepted, by this engine or since it was restored.
    pub fn last_step(&self) -> Option<&Iteration> {
        self.step.as_ref()
    }

    /// Whether no work is handed out because of [`Input::Pause`].
    pub fn is_paused(&self) -> bool {
        self.paused_ms.is_some()
    }

    /// The run's number.
    pub fn run(&self) -> u64 {
        self.settings.run
    }

    /// The method by which the optimizer goes on from there.
    pub fn method(&self) -> Method {
        self.optimizer.method()
    }

    /// What has been counted.
    pub fn counters(&self) -> Counters {
        Counters { assignment: self.floor.assignment(), ..self.counters }
    }

    /// Whether the training has nothing to do: the point it stands at is the one to stop at.
    pub fn is_at_its_end(&self) -> bool {
        self.stop_rule().is_some()
    }

    /// Units accounted for and units in all, while a round is open.
    pub fn round_progress(&self) -> Option<(u32, u32)> {
        let (Stage::Open(round) | Stage::Vanished(round)) = &self.stage else { return None };
        Some((self.floor.done(), round.plan.units()))
    }

    /// The units accounted for, while a round is open.
    pub fn accounted_units(&self) -> Vec<Range<u32>> {
        self.floor.accounted()
    }

    /// Why the training ended, once it has.
    pub fn stop_reason(&self) -> Option<&StopReason> {
        match &self.stage {
            Stage::Finished(reason) => Some(reason),
            _ => None,
        }
    }

    /// What volunteers have found out about the saved weights since the training ended, if they did.
    pub fn examination(&self) -> Option<&Arc<Examination>> {
        self.examination.as_ref()
    }

    /// Whether the training has ended and the saved weights are examined.
    pub fn is_examining(&self) -> bool {
        self.examining.is_some()
    }

    /// Whether the coordinator's own worker is given work at present, be it as the last resort.
    pub fn local_helps(&self) -> bool {
        self.floor.local_helps()
    }

    /// What has been gone through so far, for tests of what inputs cost.
    #[doc(hidden)]
    pub fn effort(&self) -> Effort {
        Effort { conclusions: self.conclusions, ..self.floor.effort() }
    }

    /// The number of volunteers and their cores.
    pub fn attendance(&self) -> Attendance {
        self.floor.attendance()
    }

    /// All who are connected, by session.
    pub fn members(&self, now_ms: u64) -> impl Iterator<Item = Member> {
        self.floor.members(now_ms)
    }

    /// How many hold each shard of the training set.
    pub fn copies(&self) -> impl Iterator<Item = usize> {
        self.floor.copies()
    }

    /// Whether the session belongs to a connected volunteer, other than the coordinator's own worker, that has had
    /// a result accepted.
    pub fn has_helped(&self, session: u64) -> bool {
        self.floor.has_helped(session)
    }

    /// What is to be done next; `None` when there is nothing more for now.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty()
            && let Some(now_ms) = self.to_hand_out.take()
        {
            self.wake_ms = None;
            if matches!(self.stage, Stage::Open(_)) && !self.is_paused() {
                let help_ms = if self.has_many_floors { self.lease_to_own_floor(now_ms) } else { None };
                self.floor.hand_out(now_ms);
                self.wake_ms = self.floor.wake_ms().into_iter().chain(help_ms).min();
                self.heed_floor(now_ms);
            }
            self.wake_ms = self.wake_ms.into_iter().chain(self.measure_again_ms()).min();
        }
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
            Input::Joined { session, cores, local, identity, training_shards } => {
                self.floor.join(session, cores, local, identity, training_shards);
            }
            Input::Left { session } => self.floor.leave(session),
            Input::Misbehaved { session, offense } => self.floor.disbar(session, offense),
            Input::Message { session, message } => self.floor.message(now_ms, session, message),
            Input::Measured { round, unit, measure } => self.measured(now_ms, round, unit, measure),
            Input::Recomputed { round, answer } => self.floor.recomputed(round, answer),
            Input::NotMeasured { round, unit } => self.not_measured(now_ms, round, unit),
            Input::NotRecomputed { round } => self.floor.not_recomputed(now_ms, round),
            Input::Recalled { rounds, snapshot } => self.recalled(now_ms, rounds, snapshot),
            Input::Floor { owner, round, message } => self.floor_says(now_ms, owner, round, message),
            Input::Convicted { unchecked_since } => self.go_back(now_ms, unchecked_since),
            Input::Banned { token } => self.floor.ban(token),
            Input::Denounced { token, offense, is_lie } => {
                if let Some(since) = self.floor.denounce(token, &offense, is_lie) {
                    self.go_back(now_ms, since);
                }
            }
            Input::Tick => {}
            Input::Pause => {
                self.paused_ms.get_or_insert(now_ms);
            }
            Input::Continue => self.end_pause(now_ms),
            Input::Stop => self.break_off(now_ms, StopReason::Interrupted),
            Input::TimeIsUp { seconds } => self.break_off(now_ms, StopReason::Time(seconds)),
        }
        self.measure_again_if_due(now_ms);
        self.heed_floor(now_ms);
        self.to_hand_out = Some(now_ms);
    }

    /// Does what the floor wants, and goes on if it has done all there is.
    fn heed_floor(&mut self, now_ms: u64) {
        while let Some(event) = self.floor.poll_event() {
            self.heed(now_ms, event);
        }
        self.complete_if_done(now_ms);
    }

    fn heed(&mut self, now_ms: u64, event: FloorEvent) {
        match event {
            FloorEvent::Assign { session, assignment } => {
                self.outputs.push_back(Output::Assign { session, assignment });
            }
            FloorEvent::Dismiss { session, text } => {
                self.outputs.push_back(Output::Dismiss { session, text })
            }
            FloorEvent::Delivered { session, examples, counted } => {
                self.outputs.push_back(Output::Delivered { session, examples, counted });
            }
            FloorEvent::Convicted { session, identity, offense, is_lie, unchecked_since } => {
                self.outputs.push_back(Output::Convicted { session, identity, offense, is_lie });
                if let Some(since) = unchecked_since {
                    self.go_back(now_ms, since);
                }
            }
            FloorEvent::Tainted { partials } => self.take_out(OWN_FLOOR, &partials),
            FloorEvent::Recompute { round: number, units } => {
                let Some(round) = self.open_round().filter(|round| round.plan.round == number) else {
                    return;
                };
                let (plan, vectors) = (round.plan.clone(), round.vectors.clone());
                self.outputs.push_back(Output::Recompute { plan, units, vectors });
            }
            FloorEvent::Unfit { round: number, unit } => {
                if self.open_round().is_some_and(|round| round.plan.round == number) {
                    self.reported(OWN_FLOOR, unit);
                }
            }
        }
    }

    /// The account of the open round's units.
    pub fn ledger(&self) -> Option<&Ledger> {
        self.open_round().map(|round| &round.ledger)
    }

    fn open_round(&self) -> Option<&OpenRound> {
        match &self.stage {
            Stage::Open(round) | Stage::Vanished(round) => Some(round),
            _ => None,
        }
    }

    /// Partial sums do not count any more, because a lie was among them.
    fn take_out(&mut self, owner: Owner, partials: &[u64]) {
        let mut others = Vec::new();
        let had_vanished = matches!(self.stage, Stage::Vanished(_));
        self.stage = match std::mem::replace(&mut self.stage, Stage::Waiting) {
            // All was accounted for, and now it is not.
            Stage::Open(mut round) | Stage::Vanished(mut round) => {
                others = round.ledger.take_out(owner, partials);
                round.is_nothing = false;
                round.confirmed.remove(&owner);
                Stage::Open(round)
            }
            stage => stage,
        };
        self.undo(others);
        if had_vanished {
            self.look_into_next();
        }
    }

    /// The time of the pause counts as if it had not been: nobody was asked for anything.
    fn end_pause(&mut self, now_ms: u64) {
        let Some(since_ms) = self.paused_ms.take() else { return };
        self.opened_ms += now_ms.saturating_sub(since_ms.max(self.opened_ms));
        self.floor.end_pause(now_ms);
    }
}
