//! The one owner of the engine: an OS thread that feeds events to it and carries out its outputs.
//!
//! A long vector operation of the optimizer would starve the heartbeats of a tokio task, so the
//! driver is a thread of its own. It never blocks on anything but its inbox: a session that does
//! not keep up is closed, the referee computes elsewhere, checkpoints are written elsewhere. Only when the training
//! goes back does it wait until the disk has that.

mod census;
mod checkpoint;
mod checkpoint_writer;
mod credits;
pub(crate) mod crowd;
pub mod doors;
pub mod exchange;
mod gallery;
mod helm;
mod operations;
mod people;
mod picture;
pub(crate) mod referee;
pub(crate) mod sessions;
mod tokens;
mod trouble;

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::PROTOCOL_VERSION;
use protocol::message::{Farewell, FinalFigures};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::data::Prepared;
use crate::operator::{Desk, Errand, Examiner, Exams, unix_time};
use crate::report::Summary;
use crate::report::helpers::Helpers;
use crate::report::progress::{Event, Observer, RoundProgress};
use crate::report::status::{DetailPoint, Offender, RunPhase, Status};
use crate::run_directory::RunDirectory;
use crate::scale::{About, Archive, Lead, LeadEvent, LeadOutput, News, PauseSign, Pieces};
use engine::decoder::Message;
use engine::{
    Accepted, Answer, Attendance, Examination, Figures, Identity, Input, Measure, Output, StopReason,
};
use gateway::Term;

use census::Census;
use checkpoint_writer::CheckpointWriter;
use exchange::{DriverHandle, FromSession, Letter, OpenRound, ToSession};
use operations::Wishes;
use people::People;
use picture::Picture;
use sessions::Sessions;
use trouble::Trouble;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use checkpoint_writer::Unwritten;
pub use gallery::{Gallery, SNAPSHOTS_BYTES_MAX, SNAPSHOTS_MAX, Snapshot};
pub use helm::Helm;
pub use picture::{Facts, Limits};
pub use referee::{Referee, ShardReader, Source};

/// Longest time between two renewals of the status for pages and terminals.
const PICTURE_EVERY: Duration = Duration::from_millis(500);

/// Shortest time between two renewals for volunteers that are found out.
const CONVICTIONS_SHOWN_EVERY: Duration = Duration::from_millis(100);

/// Orders to the driver that may wait. There are only a few kinds, and few orders of each.
const ORDERS_MAX: usize = 8;

/// Messages that are taken in before the engine hands out work.
const LETTERS_MAX: usize = 256;

/// Most threads for the optimizer's arithmetic on long vectors. A few exhaust the memory's bandwidth.
const VECTOR_THREADS_MAX: usize = 8;

/// When the first round begins.
#[derive(Debug, Clone, Copy)]
pub struct BeginRule {
    /// Volunteers to wait for.
    pub wait_for: usize,
    /// Begin without them after this long.
    pub patience: Option<Duration>,
}

/// How a training ended.
#[derive(Debug)]
pub struct TrainingOutcome {
    /// Why.
    pub reason: StopReason,
    /// Whether the training has ended for all of its processes; otherwise this one alone was to end.
    pub for_all: bool,
    /// The last accepted point.
    pub last: Option<Accepted>,
    /// The saved model's weights: those of the accepted point with the lowest validation loss, or of the last
    /// without a validation set.
    pub weights: Arc<[f32]>,
    /// The figures of that point.
    pub saved: Option<Accepted>,
    /// What volunteers have found out about these weights since, if they did.
    pub examination: Option<Arc<Examination>>,
    /// The state to resume from.
    pub checkpoint: Checkpoint,
    /// The state before that, if it is being written.
    pub unwritten: Unwritten,
    /// Rounds completed.
    pub rounds: u64,
    /// Epochs completed.
    pub epochs: f64,
    /// Volunteers that were found out, as in the status.
    pub offenders: Vec<Offender>,
    /// Who helped.
    pub helpers: Helpers,
}

/// How a driver's work ends.
#[derive(Debug)]
pub enum Ending {
    /// The training has ended.
    Trained(Box<TrainingOutcome>),
    /// This process leads no more. A state of it may be under way; it may have one to go on with.
    SteppedDown(Unwritten, Option<Box<Checkpoint>>),
}

/// An order to the driver from the code that runs the training.
#[derive(Debug)]
pub enum Order {
    /// End the training here.
    Stop,
    /// The referee's measurement, for the round and the unit of those numbers.
    Measured(u64, u32, Measure),
    /// Tell the observer this.
    Tell(String),
    /// The referee's sum of units, for the round of that number.
    Recomputed(u64, Option<Answer>),
    /// The referee did not get at the examples to measure.
    NotMeasured(u64, u32),
    /// The same for units to be summed.
    NotRecomputed(u64),
    /// The same for those that nobody waits for.
    NotSpotChecked(u64),
    /// The referee's sum of units that nobody waits for, for the round of that number. Only gateways ask for it.
    SpotChecked(u64, Option<Answer>),
    /// This process is to lead no more, as the store says.
    Replaced(Replaced),
    /// The store says that the training has ended, so that nobody needs to stay.
    Published,
    /// The model is saved: tell the observer.
    Saved(Box<Summary>),
}

/// Why a process is to lead no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// The training has ended in another process.
    Ended,
    /// Another process leads.
    Led,
    /// Another process has a newer term, and is not heard.
    Unheard,
}

/// The channels to a running driver. Its thread ends when `orders` is dropped.
#[derive(Debug)]
pub struct Running {
    /// For sessions.
    pub sessions: DriverHandle,
    /// For the code that runs the training.
    pub orders: mpsc::Sender<Order>,
    /// The status that the page shows.
    pub status: watch::Receiver<Arc<Status>>,
    /// The weights that the page `/try` may have.
    pub gallery: watch::Receiver<Arc<Gallery>>,
    /// Receives one value, when the training has ended here.
    pub outcome: oneshot::Receiver<Ending>,
    /// The thread. It must end before the runtime that it uses for waiting.
    pub thread: std::thread::JoinHandle<()>,
}

/// Everything that a driver needs.
pub struct Setup {
    /// The engine, before its begin.
    pub engine: Helm,
    /// Where the state is saved besides the run's directory, if anywhere; under which term; and what is there of the metrics.
    pub shared: Option<(Term, Archive, Pieces)>,
    /// Whether the operator has paused the training under a leader before.
    pub is_paused: bool,
    /// The facts that do not change during the run.
    pub facts: Facts,
    /// The checkpoint that this training continues, if any.
    pub resumed: Option<Checkpoint>,
    /// The course of the training up to there.
    pub history: Vec<DetailPoint>,
    /// When to begin.
    pub begin: BeginRule,
    /// What ends the training besides the limit on iterations. After its seconds it ends wherever it is; the engine
    /// knows the others.
    pub limits: Limits,
    /// Where metrics and checkpoints go.
    pub directory: Arc<RunDirectory>,
    /// The coordinator's own computation of single units.
    pub referee: Referee,
    /// The data.
    pub data: Arc<Prepared>,
    /// The operator's.
    pub desk: Desk,
    /// Has the network answer examples for the operator.
    pub exams: Arc<Exams>,
    /// Gets the events.
    pub observer: Box<dyn Observer + Send>,
}

/// Starts the driver's thread.
///
/// # Errors
/// When the system cannot start another thread.
pub fn start(setup: Setup, runtime: Handle) -> std::io::Result<Running> {
    prepare_vector_threads();
    let (orders_sender, orders) = mpsc::channel(ORDERS_MAX);
    let (round_sender, round) = watch::channel(None);
    let (sessions, inbox) = DriverHandle::new(round);
    let (outcome_sender, outcome) = oneshot::channel();
    let resume_is_news =
        setup.resumed.as_ref().is_some_and(|checkpoint| checkpoint.snapshot.accepted.is_some());
    let picture = Picture::new(setup.facts, setup.limits, setup.resumed.as_ref(), setup.history);
    let (status_sender, status) = watch::channel(Arc::new(picture.status()));
    let mut first = Gallery::default();
    if let Some(accepted) = setup.engine.accepted() {
        first.add(accepted.iteration, setup.engine.weights());
    }
    let (gallery_sender, gallery) = watch::channel(Arc::new(first));
    let census = Census::of(&setup.data, &setup.referee.sets.training);
    let examiner = Examiner::start(setup.exams, setup.engine.weights())?;
    let referee = referee::start(setup.referee, orders_sender.downgrade(), runtime.clone())?;
    let archive = setup.shared.as_ref().map(|(_, archive, _)| archive.clone());
    let sign = archive.map(|archive| PauseSign::new(archive, &runtime, setup.is_paused));
    let checkpoints = CheckpointWriter::start(Arc::clone(&setup.directory), setup.shared, runtime.clone())?;
    let driver = Driver {
        is_paused: setup.is_paused,
        engine: setup.engine,
        runtime,
        began: Instant::now(),
        training_began: None,
        training_seconds: None,
        says_farewell: false,
        earlier: setup.resumed,
        begin: setup.begin,
        seconds_max: setup.limits.seconds,
        inbox,
        orders,
        desk: setup.desk,
        wishes: Wishes::of_several(sign),
        people: People::new(setup.directory.load_helpers(), Instant::now()),
        latest_session: None,
        census,
        examiner,
        present: Sessions::new(sessions.doors.clone(), sessions.lines.clone()),
        resume_is_news,
        metrics_trouble: Trouble::default(),
        checkpoint_trouble: Trouble::default(),
        round: round_sender,
        status: status_sender,
        gallery: gallery_sender,
        outcome: Some(outcome_sender),
        picture,
        pictured: None,
        referee,
        checkpoints,
        directory: setup.directory,
        observer: setup.observer,
    };
    let thread = std::thread::Builder::new().name("engine".into()).spawn(move || driver.run())?;
    Ok(Running { sessions, orders: orders_sender, status, gallery, outcome, thread })
}

/// Sets the names and the number of the threads for the optimizer's arithmetic. Their number does not
/// influence the result.
fn prepare_vector_threads() {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(cores.min(VECTOR_THREADS_MAX))
        .thread_name(|index| format!("vectors {index}"));
    // This fails if the process has such threads already, and they serve as well.
    let _ = pool.build_global();
}

struct Driver {
    /// Whether it begins with a pause.
    is_paused: bool,
    engine: Helm,
    runtime: Handle,
    began: Instant,
    /// When the first round of this process began.
    training_began: Option<Instant>,
    /// How long the training took, once it has ended.
    training_seconds: Option<f64>,
    /// Whether volunteers are told that the training has ended.
    says_farewell: bool,
    earlier: Option<Checkpoint>,
    begin: BeginRule,
    seconds_max: Option<u64>,
    inbox: mpsc::Receiver<Letter>,
    orders: mpsc::Receiver<Order>,
    /// What the operator wants and sees.
    desk: Desk,
    wishes: Wishes,
    people: People,
    /// The highest number of a session that has joined.
    latest_session: Option<u64>,
    census: Census,
    examiner: Examiner,
    /// The sessions that have joined.
    present: Sessions,
    /// The metrics do not tell yet that the training was resumed.
    resume_is_news: bool,
    metrics_trouble: Trouble,
    checkpoint_trouble: Trouble,
    round: watch::Sender<Option<Arc<OpenRound>>>,
    status: watch::Sender<Arc<Status>>,
    gallery: watch::Sender<Arc<Gallery>>,
    outcome: Option<oneshot::Sender<Ending>>,
    picture: Picture,
    /// When the status was last renewed.
    pictured: Option<Instant>,
    referee: referee::Requests,
    checkpoints: CheckpointWriter,
    directory: Arc<RunDirectory>,
    observer: Box<dyn Observer + Send>,
}

/// The event that wakes the driver.
enum Wake {
    Letter(Letter),
    /// Other processes of the training.
    Process(LeadEvent),
    Order(Order),
    Errand(Errand),
    Time,
    /// The code that runs the training has dropped the driver.
    End,
}

impl Driver {
    fn run(mut self) {
        if self.is_paused {
            self.pause();
        }
        self.show();
        loop {
            self.begin_if_due();
            match self.wait() {
                Wake::Letter(letter) => self.letters(letter),
                Wake::Order(Order::Stop) => self.stop_here(),
                Wake::Order(Order::Measured(round, unit, measure)) => {
                    self.referee.measured(round, unit);
                    self.engine(Input::Measured { round, unit, measure })
                }
                Wake::Order(Order::Tell(text)) => self.tell(Some(text)),
                Wake::Order(Order::Recomputed(round, answer)) => {
                    self.engine(Input::Recomputed { round, answer });
                }
                Wake::Order(Order::Replaced(replaced)) => self.step_down(replaced),
                Wake::Order(Order::Published) => self.published(),
                Wake::Order(Order::NotMeasured(round, unit)) => {
                    self.engine(Input::NotMeasured { round, unit });
                }
                Wake::Order(Order::NotRecomputed(round)) => self.engine(Input::NotRecomputed { round }),
                Wake::Order(Order::SpotChecked(..) | Order::NotSpotChecked(_)) => {}
                Wake::Order(Order::Saved(summary)) => self.saved(&summary),
                Wake::Errand(errand) => self.errand(errand),
                Wake::Process(event) => {
                    self.engine.take(self.now_ms(), event);
                    self.carry_out_all();
                }
                Wake::Time => self.engine(Input::Tick),
                Wake::End => return,
            }
            self.end_if_time_is_up();
            if self.pictured.is_none_or(|at| at.elapsed() >= PICTURE_EVERY) {
                self.show();
            }
        }
    }

    fn wait(&mut self) -> Wake {
        let now_ms = self.now_ms();
        let until_engine = self.engine.wake_ms().map(|at| Duration::from_millis(at.saturating_sub(now_ms)));
        let timeout = until_engine.unwrap_or(PICTURE_EVERY).min(PICTURE_EVERY).min(self.time_left());
        let (inbox, orders, errands) = (&mut self.inbox, &mut self.orders, &mut self.desk.errands);
        let engine = &mut self.engine;
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                order = orders.recv() => order.map_or(Wake::End, Wake::Order),
                Some(errand) = errands.recv() => Wake::Errand(errand),
                event = engine.event() => Wake::Process(event),
                Some(letter) = inbox.recv() => Wake::Letter(letter),
                () = tokio::time::sleep(timeout) => Wake::Time,
            }
        })
    }

    /// Hands a message to the engine, with those that have come meanwhile: it hands out work once after all of them.
    fn letters(&mut self, first: Letter) {
        self.session(first.session, first.message);
        for _ in 1..LETTERS_MAX {
            let Ok(letter) = self.inbox.try_recv() else { break };
            self.session(letter.session, letter.message);
        }
        self.carry_out_all();
    }

    fn session(&mut self, session: u64, message: FromSession) {
        match message {
            FromSession::Joined(joined) => {
                if let Some(reason) = self.engine.stop_reason().filter(|_| self.says_farewell) {
                    let farewell = self.farewell(reason);
                    let _ = joined.outbox.try_send(ToSession::Finish(farewell.into()));
                    return;
                }
                if let Some(older) = self.present.join(session, &joined) {
                    self.end_older(older);
                }
                self.people.join(session, &joined, Instant::now());
                self.latest_session = self.latest_session.max(Some(session));
                let exchange::Joined { cores, local, identity, training_shards, .. } = joined;
                self.engine.handle(
                    self.now_ms(),
                    Input::Joined { session, cores, local, identity, training_shards },
                );
            }
            FromSession::Said(message) => {
                if let Message::Declined { assignment, reason } = &message {
                    tracing::debug!(session, assignment, ?reason, "a volunteer declined an assignment");
                }
                let is_result = matches!(message, Message::Result { .. });
                self.engine.handle(self.now_ms(), Input::Message { session, message });
                if is_result && self.engine.has_helped(session) {
                    self.present.note_help(session);
                }
            }
            FromSession::Misbehaved { offense } => {
                self.engine.handle(self.now_ms(), Input::Misbehaved { session, offense });
            }
            FromSession::Left => self.leave(session),
        }
    }

    /// Ends a session whose volunteer has a newer one.
    fn end_older(&mut self, session: u64) {
        self.present.send(session, ToSession::Replace);
        self.leave(session);
    }

    fn leave(&mut self, session: u64) {
        self.forget(session);
        self.engine.handle(self.now_ms(), Input::Left { session });
    }

    fn forget(&mut self, session: u64) {
        self.present.forget(session);
        self.people.leave(session, None, Instant::now());
    }

    fn begin_if_due(&mut self) {
        let is_paused = self.wishes.paused.is_some();
        if self.training_began.is_some() || self.engine.stop_reason().is_some() || is_paused {
            return;
        }
        let enough = self.attendance().volunteers >= self.begin.wait_for;
        let impatient = self.begin.patience.is_some_and(|patience| self.began.elapsed() >= patience);
        if enough || impatient || self.engine.is_at_its_end() || self.time_left().is_zero() {
            self.training_began = Some(Instant::now());
            self.picture.training_begins();
            self.engine(Input::Begin);
        }
    }

    /// The rest of the time given to the training. Waiting for volunteers does not use it up.
    fn time_left(&self) -> Duration {
        let Some(seconds) = self.seconds_max.filter(|_| self.engine.stop_reason().is_none()) else {
            return Duration::MAX;
        };
        Duration::try_from_secs_f64(seconds as f64 - self.seconds()).unwrap_or(Duration::ZERO)
    }

    fn end_if_time_is_up(&mut self) {
        if let Some(seconds) =
            self.seconds_max.filter(|_| self.training_began.is_some() && self.time_left().is_zero())
        {
            self.engine(Input::TimeIsUp { seconds });
        }
    }

    /// Hands an input to the engine and carries out its outputs. Then does the same for every session that
    /// did not keep up meanwhile.
    fn engine(&mut self, input: Input) {
        self.engine.handle(self.now_ms(), input);
        self.carry_out_all();
    }

    fn carry_out_all(&mut self) {
        loop {
            while let Some(output) = self.engine.poll_output() {
                match output {
                    LeadOutput::Engine(output) => {
                        let is_between = matches!(output, Output::Accepted(_) | Output::Between);
                        self.carry_out(output);
                        if is_between && self.wishes.stops {
                            self.engine.handle(self.now_ms(), Input::Stop);
                        }
                    }
                    LeadOutput::Struck(strike) => self.present.struck(&strike),
                    LeadOutput::Banned { token, is_banned: true } => {
                        self.present.doors().ban(token);
                        if !self.desk.bans.inherit(token, unix_time()) {
                            tracing::warn!(
                                "an earlier coordinator has banned more volunteers than the dashboard lists"
                            );
                        }
                    }
                    LeadOutput::Banned { token, is_banned: false } => {
                        self.present.doors().unban(token);
                        self.desk.bans.disinherit(token);
                    }
                    LeadOutput::StepDown(_) => self.step_down(Replaced::Led),
                }
            }
            let Some(session) = self.present.take_lost() else { return };
            self.engine.handle(self.now_ms(), Input::Left { session });
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::OpenRound { plan, vectors } => {
                self.referee.opened(plan.round);
                self.round.send_replace(Some(Arc::new(OpenRound::new(plan, &vectors))));
            }
            Output::Assign { session, assignment } => {
                self.present.send(session, ToSession::Assign(assignment))
            }
            Output::Dismiss { session, text } => {
                self.present.send(session, ToSession::Dismiss { text: text.clone() });
                self.people.leave(session, Some(text), Instant::now());
                self.forget(session);
            }
            Output::Measure { plan, unit, vectors } => {
                self.referee.measure(referee::Request { plan, units: vec![unit..unit + 1], vectors });
            }
            Output::Recompute { plan, units, vectors } => {
                self.referee.recompute(referee::Request { plan, units, vectors });
            }
            Output::Convicted { session, identity, offense, .. } => {
                self.convicted(session, identity, offense)
            }
            Output::Recall { rounds } => self.recall(rounds),
            Output::Rewound { iteration } => self.rewound(iteration),
            Output::Delivered { session, examples, counted } => {
                self.people.count(session, examples, counted);
                self.present.credits().count(session, counted.then_some(examples));
            }
            Output::Accepted(accepted) => self.accepted(&accepted),
            Output::Between => {
                self.picture.between(self.engine.counters());
                self.offer_checkpoint();
            }
            Output::Note(text) => self.observer.event(&Event::Note { text }),
            // Those of other processes are the leader's affair.
            Output::Floor { .. } => {}
            Output::Finished(reason) => self.finished(reason),
        }
    }

    /// This process is to end, and not the training: a standby goes on with it. But if the operator has stopped the
    /// training, it ends for all, and they are told.
    fn stop_here(&mut self) {
        if let Some(lead) = self.engine.lead()
            && lead.engine().stop_reason().is_none()
            && !self.wishes.stops
        {
            lead.resign();
        }
        self.engine(Input::Stop);
    }

    /// What this process does counts no more. Once the training has ended here, the store decides.
    fn step_down(&mut self, replaced: Replaced) {
        let Some(sender) = self.outcome.take() else { return };
        let why = match replaced {
            Replaced::Ended => "the training has ended in another process",
            Replaced::Led => "another coordinator leads",
            Replaced::Unheard => {
                "another coordinator has a newer term and is not heard; taking the next term"
            }
        };
        tracing::warn!("{why}");
        if let Some(lead) = self.engine.lead() {
            lead.retire();
        }
        let checkpoint = (replaced == Replaced::Unheard).then(|| Box::new(self.checkpoint()));
        let _ = sender.send(Ending::SteppedDown(self.checkpoints.finish(), checkpoint));
    }

    /// Nobody needs to stay.
    fn published(&mut self) {
        let now_ms = self.now_ms();
        if let Some(lead) = self.engine.lead() {
            lead.published(now_ms);
        }
        self.carry_out_all();
        self.say_farewell();
    }

    /// Tells the volunteers of this process that the training has ended, once.
    fn say_farewell(&mut self) {
        let Some(reason) = self.engine.stop_reason() else { return };
        let farewell = self.farewell(reason);
        if !std::mem::replace(&mut self.says_farewell, true) {
            self.present.finish(|credit| ToSession::Finish(Farewell { credit, ..farewell.clone() }.into()));
        }
    }

    fn convicted(&mut self, session: u64, identity: Identity, offense: String) {
        let agent = self.present.convicted(session, identity, &offense);
        let iteration = self.engine.accepted().map_or(0, |accepted| accepted.iteration);
        self.people.fail(session, &offense);
        let offender = Offender { session, agent, offense, iteration };
        self.picture.convicted(offender);
        // Of a crowd that is dismissed, the status tells now and then.
        if self.pictured.is_none_or(|at| at.elapsed() >= CONVICTIONS_SHOWN_EVERY) {
            self.show();
        }
    }

    /// Gives the engine a state that was saved before this process began.
    fn recall(&mut self, rounds: u64) {
        let loaded = self.directory.load_earlier(Checkpoint::VERSION, rounds);
        let checkpoint = match loaded {
            Ok(state) => state.and_then(|state| Checkpoint::from_bytes(&state).ok()),
            Err(error) => {
                self.tell(Some(format!("an earlier state cannot be read: {error}")));
                None
            }
        };
        let run = self.engine.run();
        let snapshot =
            checkpoint.filter(|checkpoint| checkpoint.run == run).map(|one| Box::new(one.snapshot));
        self.engine.handle(self.now_ms(), Input::Recalled { rounds, snapshot });
    }

    /// The training has gone back: what was reported after that iteration is void. It is saved before anything else
    /// happens, or a process that dies now would go on from the lie when it is resumed, and know nobody.
    fn rewound(&mut self, iteration: Option<u64>) {
        self.picture.rewound(iteration);
        self.hang(|gallery| gallery.rewind(iteration));
        let checkpoint = self.checkpoint();
        let point = self.engine.accepted().map_or(0, |accepted| accepted.iteration);
        self.wishes.handed_over(self.engine.counters().rounds, point);
        self.checkpoints.rewind(&checkpoint);
        self.note_written();
    }

    fn accepted(&mut self, accepted: &Accepted) {
        let seconds = self.seconds();
        let weights = self.engine.weights();
        self.hang(|gallery| gallery.add(accepted.iteration, weights));
        let method = self.engine.method();
        self.picture.accepted(accepted, self.engine.last_step(), method, self.engine.counters(), seconds);
        let attendance = self.attendance();
        let mut report = self.picture.report(accepted, method, attendance, seconds);
        report.resumed = self.resume_is_news;
        let metrics = self.directory.append_metrics(&report).map_err(|error| error.to_string());
        let metrics = metrics.map(|is_new| self.resume_is_news &= !is_new);
        let note = self.metrics_trouble.note("the metrics", metrics);
        self.tell(note);
        self.observer.event(&Event::Iteration(report));
        let is_evaluated = accepted.figures.test_loss.or(accepted.figures.validation_loss).is_some();
        self.note_point(accepted.iteration, is_evaluated);
        self.offer_checkpoint();
        self.show();
    }

    /// Changes the weights that the page `/try` may have.
    fn hang(&self, change: impl FnOnce(&mut Gallery)) {
        self.gallery.send_modify(|gallery| change(Arc::make_mut(gallery)));
    }

    fn offer_checkpoint(&mut self) {
        if self.checkpoints.is_due() {
            self.write_checkpoint();
        }
        self.note_written();
    }

    fn write_checkpoint(&mut self) {
        let checkpoint = self.checkpoint();
        let iteration = self.engine.accepted().map_or(0, |accepted| accepted.iteration);
        self.wishes.handed_over(self.engine.counters().rounds, iteration);
        self.checkpoints.write(checkpoint, self.people.helpers());
    }

    fn note_written(&mut self) {
        if let Some(written) = self.checkpoints.take_written() {
            self.wishes.written(written.is_ok());
            let note =
                self.checkpoint_trouble.note("checkpoints", written.map_err(|error| error.to_string()));
            self.tell(note);
        }
    }

    fn tell(&mut self, note: Option<String>) {
        if let Some(text) = note {
            self.observer.event(&Event::Note { text });
        }
    }

    fn checkpoint(&self) -> Checkpoint {
        let earlier = self.earlier.as_ref().map_or(0, |earlier| earlier.volunteers);
        let volunteers = earlier + self.present.helped();
        let (run, seconds) = (self.engine.run(), self.seconds());
        let protocol = PROTOCOL_VERSION;
        Checkpoint {
            protocol,
            run,
            snapshot: self.engine.snapshot(),
            seconds,
            volunteers,
            past: self.engine.past(),
        }
    }

    fn finished(&mut self, reason: StopReason) {
        self.training_seconds = Some(self.seconds());
        let unwritten = self.checkpoints.finish();
        let helpers = self.people.helpers();
        let for_all = reason != StopReason::Interrupted || self.wishes.stops;
        // Whoever leads may be replaced until the store has the results: its volunteers stay until then, as those of
        // gateways do.
        if !for_all || self.engine.lead().is_none() {
            self.say_farewell();
        }
        self.picture.ended(ended(&reason));
        let counters = self.engine.counters();
        let last = self.engine.accepted().copied();
        let (weights, saved) = match self.engine.best() {
            Some(best) => (Arc::clone(&best.weights), Some(best.point)),
            None => (self.engine.weights(), last),
        };
        let saved_iteration = saved.map_or(0, |point| point.iteration);
        self.hang(|gallery| gallery.finish(saved_iteration, Arc::clone(&weights)));
        let outcome = TrainingOutcome {
            reason,
            for_all,
            last,
            weights,
            saved,
            examination: self.engine.examination().cloned(),
            checkpoint: self.checkpoint(),
            unwritten,
            rounds: counters.rounds,
            epochs: self.picture.epochs(counters),
            offenders: self.picture.status().offenders,
            helpers,
        };
        self.show();
        if let Some(sender) = self.outcome.take() {
            let _ = sender.send(Ending::Trained(Box::new(outcome)));
        }
    }

    /// The last message to a volunteer, without its credit.
    fn farewell(&self, reason: &StopReason) -> Farewell {
        let best = self.engine.best().map(|best| best.point);
        let point = best.or(self.engine.accepted().copied());
        let figures = point.map(|point| final_figures(point.iteration, &point.figures)).unwrap_or_default();
        Farewell { text: ended(reason), figures, ..Farewell::default() }
    }

    fn saved(&mut self, summary: &Summary) {
        self.picture.saved(summary.figures);
        self.show();
        self.observer.event(&Event::Finished(summary.clone()));
    }

    /// Renews the status, and tells the observer the round's progress or why there is none.
    fn show(&mut self) {
        self.pictured = Some(Instant::now());
        self.present.sum_up_lines();
        let waited = self.began.elapsed();
        let progress = self.engine.round_progress();
        self.picture.round(progress);
        let fused_capable =
            self.present.fused_capable() + self.gateways().map(|about| about.fused_capable).sum::<usize>();
        let attendance = self.attendance();
        self.picture.renew(
            attendance,
            fused_capable,
            self.begin,
            waited,
            self.engine.local_helps(),
            self.seconds(),
        );
        self.present.credits().show();
        self.save_if_wanted();
        self.show_operator();
        let status = self.picture.status();
        match (status.phase, progress) {
            (RunPhase::Waiting, _) => {
                self.observer.event(&Event::Waiting { sentence: status.sentence.clone() })
            }
            (RunPhase::Training, Some((units_done, units))) => {
                self.observer.event(&Event::Round(RoundProgress {
                    units_done,
                    units,
                    volunteers: status.volunteers,
                    cores: status.cores,
                    examples_per_second: status.examples_per_second,
                }))
            }
            _ => {}
        }
        self.tell_gateways(&status);
        self.status.send_replace(Arc::new(status));
    }

    /// Who is there, here and at all gateways.
    fn attendance(&mut self) -> Attendance {
        let own = self.engine.attendance();
        self.gateways().fold(own, |all, about| Attendance {
            volunteers: all.volunteers + about.volunteers,
            cores: all.cores + about.cores,
        })
    }

    /// What the gateways tell of themselves; nothing without any.
    pub(super) fn gateways(&mut self) -> impl Iterator<Item = &About> {
        self.engine.lead().into_iter().flat_map(Lead::gateways)
    }

    /// Has the pages of gateways show this status.
    fn tell_gateways(&mut self, status: &Status) {
        let own = self.present.credits().of_all();
        if let Some(lead) = self.engine.lead() {
            let elsewhere: u64 = lead.gateways().map(|about| about.examples).sum();
            self.present.credits().set_elsewhere(elsewhere);
            let examples = own + elsewhere;
            let (history, marks) = (Arc::clone(&status.history), Arc::clone(&status.marks));
            lead.tell_news(|| News { status: status.clone(), history, marks, examples });
        }
    }

    /// Seconds of training so far, including those before a resume.
    fn seconds(&self) -> f64 {
        if let Some(seconds) = self.training_seconds {
            return seconds;
        }
        let earlier = self.earlier.as_ref().map_or(0.0, |earlier| earlier.seconds);
        let paused = self.wishes.paused.map_or(Duration::ZERO, |since| since.elapsed()) + self.wishes.rested;
        let trained = self.training_began.map(|began| began.elapsed().saturating_sub(paused));
        earlier + trained.unwrap_or_default().as_secs_f64()
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

/// The figures of a point that volunteers are told at the end.
pub(crate) fn final_figures(iteration: u64, figures: &Figures) -> FinalFigures {
    FinalFigures {
        iteration,
        accuracy: figures.test_accuracy.or(figures.validation_accuracy),
        loss: figures.test_loss.or(figures.validation_loss),
    }
}

fn ended(reason: &StopReason) -> String {
    match reason {
        StopReason::Interrupted => "The training has ended: its operator stopped it.".to_owned(),
        reason => format!("The training has ended: {reason}."),
    }
}
