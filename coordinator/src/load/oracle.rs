//! Knows the right result of every assignment: an ordinary hub computes each once, and all volunteers share it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use model::Arithmetic;
use protocol::frame::{UpwardFrame, decode_upward};
use protocol::message::{FromCoordinator, FromVolunteer, ResultHeader};
use protocol::pack::unpack;
use protocol::plan::Assignment;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use worker::{HubInput, Settings};

use crate::volunteer::{Errand, Runner, Wire, get, settings};

/// Questions that may wait.
const QUESTIONS_MAX: usize = 1024;
/// Assignments that the hub has at a time.
const AT_ONCE: usize = worker::ASSIGNMENTS_MAX;

/// A right result.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) header: ResultHeader,
    /// The frames of the vector.
    pub(super) chunks: Vec<Bytes>,
}

impl Answer {
    /// Its vector, if it has one.
    ///
    /// # Errors
    /// When it is not of a network with so many parameters.
    pub(super) fn vector(&self, parameters: usize) -> anyhow::Result<Option<Vec<i64>>> {
        if self.chunks.is_empty() {
            return Ok(None);
        }
        // The first byte of each frame names its kind.
        let packed: Vec<u8> = self.chunks.iter().flat_map(|chunk| &chunk[1..]).copied().collect();
        Ok(Some(unpack(&packed, parameters)?))
    }
}

/// The way to the oracle. Cheap to clone.
#[derive(Clone)]
pub(super) struct Oracle(mpsc::Sender<Question>);

enum Question {
    /// And whether nobody else is there.
    Welcome(Bytes, bool),
    Round(u64, Bytes),
    Result(Assignment, oneshot::Sender<Arc<Answer>>),
}

type Units = Vec<(u32, u32)>;

fn units(assignment: &[Range<u32>]) -> Units {
    assignment.iter().map(|range| (range.start, range.end)).collect()
}

impl Oracle {
    /// An oracle for the coordinator at the end of `wire`. It ends with its last clone.
    pub(super) fn start(wire: Wire, arithmetic: Arithmetic) -> Oracle {
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        tokio::spawn(Mind::new(wire, arithmetic).think(asked));
        Oracle(questions)
    }

    /// Tells it of the run. A volunteer that is the only one there may have come to a coordinator that was started again.
    pub(super) async fn welcome(&self, frame: Bytes, is_only: bool) {
        let _ = self.0.send(Question::Welcome(frame, is_only)).await;
    }

    /// Tells it of a round.
    pub(super) async fn round(&self, round: u64, frame: Bytes) {
        let _ = self.0.send(Question::Round(round, frame)).await;
    }

    /// The right result; `None` if the round is over or the result does not fit.
    pub(super) async fn result(&self, assignment: Assignment) -> Option<Arc<Answer>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Question::Result(assignment, answer)).await.ok()?;
        answered.await.ok()
    }
}

struct Mind {
    wire: Wire,
    settings: Settings,
    runner: Runner,
    welcome: Option<Bytes>,
    round: u64,
    /// Whether the next round may be an earlier one: a coordinator that was resumed repeats rounds.
    may_go_back: bool,
    /// Results of this round.
    known: BTreeMap<Units, Arc<Answer>>,
    asking: BTreeMap<Units, Vec<oneshot::Sender<Arc<Answer>>>>,
    waiting: VecDeque<Units>,
    /// What the hub computes, by the numbers given to it.
    under_way: BTreeMap<u64, Units>,
    next: u64,
    arriving: Option<(ResultHeader, Vec<Bytes>, usize)>,
    fetches: JoinSet<(u64, anyhow::Result<Vec<u8>>)>,
}

impl Mind {
    fn new(wire: Wire, arithmetic: Arithmetic) -> Mind {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(64) as u16);
        let settings = settings(arithmetic, cores, "load".into());
        Mind {
            wire,
            runner: Runner::new(settings.clone()),
            settings,
            welcome: None,
            round: 0,
            may_go_back: false,
            known: BTreeMap::new(),
            asking: BTreeMap::new(),
            waiting: VecDeque::new(),
            under_way: BTreeMap::new(),
            next: 1,
            arriving: None,
            fetches: JoinSet::new(),
        }
    }

    async fn think(mut self, mut asked: mpsc::Receiver<Question>) {
        loop {
            self.perform();
            tokio::select! {
                question = asked.recv() => match question {
                    Some(question) => self.hear(question),
                    None => return,
                },
                () = self.runner.event() => {}
                Some(Ok((fetch, result))) = self.fetches.join_next() => self.runner.handle(match result {
                    Ok(bytes) => HubInput::ShardArrived { fetch, bytes },
                    Err(_) => HubInput::ShardFailed { fetch },
                }),
            }
        }
    }

    fn hear(&mut self, question: Question) {
        match question {
            Question::Welcome(frame, is_only) => {
                if self.welcome.is_none() {
                    self.runner.handle(HubInput::Frame(frame.clone()));
                }
                self.welcome = Some(frame);
                self.may_go_back |= is_only;
            }
            Question::Round(round, frame) => {
                let goes_back = std::mem::take(&mut self.may_go_back) && round < self.round;
                if goes_back {
                    self.begin_again();
                }
                if goes_back || round > self.round {
                    self.round = round;
                    self.known.clear();
                    self.asking.clear();
                    self.waiting.clear();
                    self.under_way.clear();
                    self.runner.handle(HubInput::Frame(frame));
                }
            }
            Question::Result(assignment, answer) if assignment.round == self.round => {
                let units = units(&assignment.units);
                if let Some(known) = self.known.get(&units) {
                    let _ = answer.send(Arc::clone(known));
                } else {
                    let askers = self.asking.entry(units.clone()).or_default();
                    if askers.is_empty() {
                        self.waiting.push_back(units);
                    }
                    askers.push(answer);
                }
            }
            Question::Result(..) => {}
        }
        self.runner.handle(HubInput::Frame(FromCoordinator::Heartbeat.encode().into()));
        self.assign();
    }

    /// With another hub: one does not take an earlier round than it had.
    fn begin_again(&mut self) {
        self.runner = Runner::new(self.settings.clone());
        self.arriving = None;
        self.fetches = JoinSet::new();
        self.perform();
        if let Some(welcome) = &self.welcome {
            self.runner.handle(HubInput::Frame(welcome.clone()));
        }
    }

    fn assign(&mut self) {
        while self.under_way.len() < AT_ONCE {
            let Some(units) = self.waiting.pop_front() else { return };
            let assignment = Assignment {
                assignment: self.next,
                round: self.round,
                units: units.iter().map(|&(start, end)| start..end).collect(),
            };
            self.under_way.insert(self.next, units);
            self.next += 1;
            self.runner.handle(HubInput::Frame(FromCoordinator::Assign(assignment).encode().into()));
        }
    }

    fn perform(&mut self) {
        while let Some(errand) = self.runner.errand() {
            match errand {
                Errand::Connect => self.runner.handle(HubInput::Connected),
                Errand::Close => {}
                Errand::Send(frame) => self.said(frame.into()),
                Errand::Fetch { fetch, shard, path, fresh: _ } => {
                    let wire = self.wire.clone();
                    self.fetches.spawn(async move { (fetch, get(&wire, &path, shard.bytes as usize).await) });
                }
            }
        }
    }

    /// What the hub says to its coordinator.
    fn said(&mut self, frame: Bytes) {
        match decode_upward(&frame) {
            Ok(UpwardFrame::Chunk(chunk)) => {
                let length = chunk.len();
                if let Some((_, chunks, missing)) = &mut self.arriving {
                    *missing = missing.saturating_sub(length);
                    chunks.push(frame);
                }
            }
            Ok(UpwardFrame::Message(FromVolunteer::Result(header))) => {
                let missing = header.vector_bytes as usize;
                self.arriving = Some((header, Vec::new(), missing));
            }
            Ok(UpwardFrame::Message(FromVolunteer::Unfit(unfit))) => self.give_up(unfit.assignment),
            Ok(UpwardFrame::Message(FromVolunteer::Decline { assignment, .. })) => self.give_up(assignment),
            _ => {}
        }
        if let Some((header, chunks, _)) = self.arriving.take_if(|(_, _, missing)| *missing == 0) {
            if let Some(units) = self.under_way.remove(&header.assignment) {
                let answer = Arc::new(Answer { header, chunks });
                for asker in self.asking.remove(&units).unwrap_or_default() {
                    let _ = asker.send(Arc::clone(&answer));
                }
                self.known.insert(units, answer);
            }
            self.assign();
        }
    }

    fn give_up(&mut self, assignment: u64) {
        if let Some(units) = self.under_way.remove(&assignment) {
            self.asking.remove(&units);
        }
        self.assign();
    }
}
