//! A simulated volunteer: a real hub and real compute workers on a machine that sleeps, slows down
//! and loses its connection.

use std::collections::BTreeMap;

use protocol::frame::{DownwardFrame, decode_downward};
use protocol::message::FromCoordinator;
use worker::{Compute, FromCompute, Hub, HubInput, HubOutput, Settings, ToCompute};

use crate::mouth::Mouth;
use crate::problem::Problem;
use crate::scenario::{self, Happening};
use crate::stage::{Event, Item, Stage};

pub(crate) struct Guest {
    number: usize,
    plan: scenario::Guest,
    calm_ms: u64,
    /// Counts the times the page was opened.
    life: u64,
    page: Option<Page>,
    pub(crate) asleep_until_ms: u64,
}

/// The page while it is open.
struct Page {
    hub: Hub,
    computes: BTreeMap<u32, Core>,
    connection: Option<u64>,
    mouth: Mouth,
}

struct Core {
    compute: Compute,
    /// When it has done all it was told.
    free_ms: u64,
}

impl Page {
    /// Sends frames up, in its own manner, if there is a connection.
    fn say(
        &mut self,
        stage: &mut Stage,
        guest: usize,
        calm: bool,
        frames: impl IntoIterator<Item = Vec<u8>>,
    ) {
        let Some(connection) = self.connection else { return };
        for frame in frames {
            for frame in self.mouth.says(stage, guest, calm, frame) {
                stage.send_up(connection, Item::Frame(frame));
            }
        }
    }
}

impl Guest {
    pub(crate) fn new(number: usize, plan: scenario::Guest, calm_ms: u64) -> Guest {
        Guest { number, plan, calm_ms, life: 0, page: None, asleep_until_ms: 0 }
    }

    /// Opens the page, unless it is open.
    pub(crate) fn arrive(&mut self, stage: &mut Stage, problem: &Problem) {
        if self.page.is_some() {
            return;
        }
        self.life += 1;
        stage.sheet.arrives(stage.now_ms, self.number);
        let seed = self.number as u64;
        let mut settings = Settings::new(problem.arithmetic, self.plan.cores, "a simulation", seed);
        settings.shard_cache_bytes = self.plan.shard_bytes;
        settings.compute_shard_bytes = self.plan.shard_bytes;
        let mouth = self.mouth(problem);
        self.page =
            Some(Page { hub: Hub::new(settings), computes: BTreeMap::new(), connection: None, mouth });
        self.drain(stage, problem);
    }

    fn mouth(&self, problem: &Problem) -> Mouth {
        Mouth::new(self.plan.manners, self.plan.lie, problem.network.parameters())
    }

    /// Closes the page.
    pub(crate) fn leave(&mut self, stage: &mut Stage, politely: bool) {
        let Some(page) = self.page.take() else { return };
        stage.sheet.leaves(stage.now_ms, self.number);
        let Some(connection) = page.connection else { return };
        if politely {
            stage.send_up(connection, Item::Close);
        } else {
            let notices_ms = stage.draw.between(0, 10_000);
            stage.cut(connection, notices_ms, 0);
        }
    }

    pub(crate) fn happening(&mut self, stage: &mut Stage, problem: &Problem, happening: Happening) {
        if happening != Happening::Arrive {
            stage.fault(kind(happening), format_args!("{happening:?} of volunteer {}", self.number));
        }
        match happening {
            Happening::Arrive => self.arrive(stage, problem),
            Happening::Leave(politely) => self.leave(stage, politely),
            Happening::Sleep(ms) => self.asleep_until_ms = self.asleep_until_ms.max(stage.now_ms + ms),
            Happening::Cores(cores) => {
                // It is whoever sits there who does this, so the machine is awake.
                self.asleep_until_ms = stage.now_ms;
                self.input(stage, problem, HubInput::Cores(cores));
            }
            Happening::Cut(up_ms, down_ms) => {
                if let Some(connection) = self.page.as_ref().and_then(|page| page.connection) {
                    stage.cut(connection, up_ms, down_ms);
                }
            }
        }
    }

    /// Whether an event is meant for the page that is open now.
    pub(crate) fn lives(&self, life: u64) -> bool {
        self.page.is_some() && self.life == life
    }

    pub(crate) fn connected(&mut self, stage: &mut Stage, problem: &Problem, connection: Option<u64>) {
        let Some(page) = &mut self.page else { return };
        page.connection = connection;
        // Even a bad program does not mix connections up: numbers of before a crash come again.
        page.mouth = Mouth::new(self.plan.manners, self.plan.lie, problem.network.parameters());
        let input = if connection.is_some() { HubInput::Connected } else { HubInput::Disconnected };
        self.input(stage, problem, input);
    }

    pub(crate) fn receive(&mut self, stage: &mut Stage, problem: &Problem, connection: u64, item: Item) {
        let Some(page) = self.page.as_mut().filter(|page| page.connection == Some(connection)) else {
            return;
        };
        match item {
            Item::Frame(frame) => {
                if let Ok(DownwardFrame::Message(FromCoordinator::Assign(assignment))) =
                    decode_downward(&frame)
                {
                    page.mouth.hears(assignment);
                }
                self.input(stage, problem, HubInput::Frame(frame.into()));
            }
            Item::Close => {
                page.connection = None;
                self.input(stage, problem, HubInput::Disconnected);
            }
        }
    }

    pub(crate) fn compute(
        &mut self,
        stage: &mut Stage,
        problem: &Problem,
        compute: u32,
        message: Option<FromCompute>,
    ) {
        let Some(page) = &mut self.page else { return };
        if page.computes.values().all(|core| core.free_ms <= stage.now_ms) {
            stage.sheet.rests(stage.now_ms, self.number);
        }
        let input = match message {
            Some(message) => HubInput::Compute { compute, message },
            None => {
                page.computes.remove(&compute);
                HubInput::ComputeFailed { compute }
            }
        };
        self.input(stage, problem, input);
    }

    pub(crate) fn shard(&mut self, stage: &mut Stage, problem: &Problem, fetch: u64, bytes: Option<Vec<u8>>) {
        let input = match bytes {
            Some(bytes) => HubInput::ShardArrived { fetch, bytes },
            None => HubInput::ShardFailed { fetch },
        };
        self.input(stage, problem, input);
    }

    pub(crate) fn tick(&mut self, stage: &mut Stage, problem: &Problem) {
        self.input(stage, problem, HubInput::Tick);
    }

    fn input(&mut self, stage: &mut Stage, problem: &Problem, input: HubInput) {
        if let Some(page) = &mut self.page {
            page.hub.handle(stage.now_ms, input);
            self.drain(stage, problem);
        }
    }

    /// Does what the hub wants.
    fn drain(&mut self, stage: &mut Stage, problem: &Problem) {
        let (guest, life, calm) = (self.number, self.life, stage.now_ms >= self.calm_ms);
        let Some(page) = &mut self.page else { return };
        while let Some(output) = page.hub.poll_output() {
            match output {
                HubOutput::Connect => {
                    let latency_ms = stage.draw.between(self.plan.latency_ms.0, self.plan.latency_ms.1);
                    stage.after(latency_ms, Event::Connects { guest, life });
                }
                HubOutput::Close => {
                    if let Some(connection) = page.connection.take() {
                        stage.send_up(connection, Item::Close);
                    }
                }
                HubOutput::Send(frame) => page.say(stage, guest, calm, [frame]),
                HubOutput::SendVector(chunks) => page.say(stage, guest, calm, chunks),
                HubOutput::Fetch { fetch, shard, fresh, .. } => {
                    let ms = stage.draw.between(self.plan.download_ms.0, self.plan.download_ms.1);
                    let mut bytes = problem.shards.get(&shard.hash).cloned();
                    if !calm && stage.draw.percent(self.plan.manners.misses) {
                        stage.fault("download failed", format_args!("volunteer {guest}"));
                        bytes = None;
                    } else if !calm && !fresh && stage.draw.percent(self.plan.manners.damages) {
                        stage.fault("wrong shard bytes", format_args!("volunteer {guest}"));
                        bytes.as_mut().unwrap()[20] ^= 1;
                    }
                    stage.after(ms, Event::Shard { guest, life, fetch, bytes });
                }
                HubOutput::StartCompute { compute } => {
                    page.computes.insert(compute, Core { compute: Compute::new(), free_ms: stage.now_ms });
                }
                HubOutput::StopCompute { compute } => {
                    page.computes.remove(&compute);
                }
                HubOutput::Compute { compute, message } => {
                    let Some(core) = page.computes.get_mut(&compute) else { continue };
                    core.free_ms = core.free_ms.max(stage.now_ms);
                    if let ToCompute::Run(job) = &message {
                        let at_once = self.plan.lie.is_some_and(|lie| lie.at_once);
                        let drawn_ms = stage.draw.between(self.plan.unit_ms.0, self.plan.unit_ms.1);
                        let unit_ms = if at_once { 0 } else { drawn_ms };
                        let units: Vec<_> =
                            job.units.iter().cloned().flatten().map(|unit| (unit, unit_ms)).collect();
                        let begins_ms = core.free_ms;
                        core.free_ms += units.len() as u64 * unit_ms;
                        stage.sheet.computes(stage.now_ms, guest, begins_ms, units);
                    }
                    let answer = if self.plan.posts {
                        post(&mut core.compute, message)
                    } else {
                        core.compute.handle(message)
                    };
                    let dies = answer.is_some() && !calm && stage.draw.percent(self.plan.manners.crashes);
                    if dies {
                        stage.fault("compute worker died", format_args!("one of volunteer {guest}"));
                    }
                    if dies || answer.is_some() {
                        let message = answer.filter(|_| !dies);
                        stage.at(core.free_ms, Event::Compute { guest, life, compute, message });
                    }
                }
                HubOutput::Wake { at_ms } => stage.at(at_ms, Event::Tick { guest, life }),
            }
        }
    }
}

/// Hands a message over as a browser does: in parts, both ways.
fn post(compute: &mut Compute, message: ToCompute) -> Option<FromCompute> {
    let parts = message.into_parts();
    let message = ToCompute::from_parts(&parts.header, parts.payload.bytes().to_vec()).unwrap();
    let parts = compute.handle(message)?.into_parts();
    Some(FromCompute::from_parts(&parts.header, parts.payload).unwrap())
}

fn kind(happening: Happening) -> &'static str {
    match happening {
        Happening::Arrive => "arrived",
        Happening::Leave(true) => "left",
        Happening::Leave(false) => "left without a word",
        Happening::Sleep(scenario::FOR_EVER) => "fell asleep for good",
        Happening::Sleep(_) => "fell asleep",
        Happening::Cores(0) => "paused",
        Happening::Cores(_) => "changed its cores",
        Happening::Cut(..) => "connection broke",
    }
}
