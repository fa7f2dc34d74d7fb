//! One core's work: evaluates units and sums them exactly.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::frame::{DownwardFrame, decode_downward};
use protocol::message::FromCoordinator;
use protocol::plan::{Set, UnitLayout};
use protocol::shard::Shard;

use crate::message::{FromCompute, Job, ToCompute};
use crate::run::Run;
use crate::shared_round::SharedRound;
use crate::unit::{Buffers, Unit, UnitOutcome, UnitSums, evaluate_unit};

/// A compute worker without I/O. It checks that its hub's messages are consistent, and answers a job that it
/// cannot do with [`FromCompute::Failed`].
#[derive(Debug, Default)]
pub struct Compute {
    run: Option<Run>,
    round: Option<Round>,
    shards: BTreeMap<(Set, u32), Arc<Shard>>,
    /// For each assignment, the part of its units and its sums so far.
    sums: BTreeMap<u64, (usize, UnitSums)>,
    buffers: Buffers,
}

#[derive(Debug)]
struct Round {
    shared: Arc<SharedRound>,
    /// One layout for each part of the round.
    layouts: Vec<UnitLayout>,
}

/// The reason why a job ended early.
enum Stop {
    Unfit(u32),
    Failed(&'static str),
}

impl Compute {
    /// A compute worker that waits for its setup.
    pub fn new() -> Compute {
        Compute::default()
    }

    /// Carries out a message, however long it takes. Returns the answer, if the message has one.
    pub fn handle(&mut self, message: ToCompute) -> Option<FromCompute> {
        match message {
            ToCompute::Setup(frame) => self.set_up(&frame),
            ToCompute::Round(round) => self.begin_round(round),
            ToCompute::Shard { set, shard, content } => {
                let run = self.run.as_ref()?;
                // The failure to decode a shard is reported only when a job needs the shard.
                let decoded = content.decode(&run.network, &run.welcome.preprocessing).ok()?;
                self.shards.insert((set, shard), decoded);
            }
            ToCompute::DropShard { set, shard } => {
                self.shards.remove(&(set, shard));
            }
            ToCompute::Run(job) => {
                let number = job.job;
                return Some(match self.run(job) {
                    Ok(()) => FromCompute::Done { job: number },
                    Err(Stop::Unfit(unit)) => FromCompute::Unfit { job: number, unit },
                    Err(Stop::Failed(reason)) => FromCompute::Failed { job: number, reason: reason.into() },
                });
            }
            ToCompute::Collect { assignment } => {
                let (_, sums) = self.sums.remove(&assignment)?;
                return Some(FromCompute::Sums { assignment, sums });
            }
            ToCompute::Discard { assignment } => {
                self.sums.remove(&assignment);
            }
        }
        None
    }

    fn set_up(&mut self, frame: &[u8]) {
        // The buffers keep their memory; everything else is dropped.
        *self = Compute { buffers: std::mem::take(&mut self.buffers), ..Compute::default() };
        if let Ok(DownwardFrame::Message(FromCoordinator::Welcome(welcome))) = decode_downward(frame) {
            self.run = Run::new(*welcome).ok();
        }
    }

    fn begin_round(&mut self, shared: Arc<SharedRound>) {
        self.sums.clear();
        self.round = None;
        let Some(run) = &self.run else { return };
        let plan = shared.plan();
        if shared.values().len() == plan.vectors() * run.network.parameters() && run.suits(plan) {
            let layouts = run.lay_out(plan);
            self.round = Some(Round { shared, layouts });
        }
    }

    fn run(&mut self, job: Job) -> Result<(), Stop> {
        let Compute { run, round, shards, sums, buffers } = self;
        let run = run.as_ref().ok_or(Stop::Failed("the compute worker is not set up"))?;
        let Round { shared, layouts } =
            round.as_ref().ok_or(Stop::Failed("the compute worker has no round"))?;
        let (plan, parameters) = (shared.plan(), run.network.parameters());
        for unit in job.units.into_iter().flatten() {
            let unknown = Stop::Failed("the round has no such unit");
            let (part_index, unit_of_part) = plan.locate(unit).ok_or(unknown)?;
            let part = &plan.parts[part_index];
            let zero = || (part_index, UnitSums::zero(&part.work, parameters));
            let (of_part, sums) = sums.entry(job.assignment).or_insert_with(zero);
            if *of_part != part_index {
                return Err(Stop::Failed("the assignment mixes parts of the round"));
            }
            let set = run.set(part.set);
            let layout = &layouts[part_index];
            let examples = layout.examples_of(set, unit_of_part);
            let mut slices = Vec::new();
            for index in layout.shards_of(set, unit_of_part) {
                let shard = shards.get(&(part.set, index)).ok_or(Stop::Failed("a shard cannot be read"))?;
                let held = set.examples_in_shard(index);
                let (start, end) = (examples.start.max(held.start), examples.end.min(held.end));
                let within = (start - held.start) as usize..(end - held.start) as usize;
                let short = Stop::Failed("a shard has too few examples");
                slices.push(shard.slice(within, &run.welcome.preprocessing).ok_or(short)?);
            }
            let input = Unit {
                network: &run.network,
                arithmetic: run.welcome.arithmetic,
                seed: run.welcome.seed,
                minibatch: run.welcome.minibatch,
                plan,
                work: &part.work,
                number: unit_of_part,
                examples: &slices,
                first_example: examples.start,
                weights: shared.vector(0, parameters),
                direction: shared.vector(1, parameters),
            };
            match evaluate_unit(&input, buffers, sums) {
                UnitOutcome::Added => {}
                UnitOutcome::Overflow | UnitOutcome::NonFinite => return Err(Stop::Unfit(unit)),
                UnitOutcome::SumsFull => return Err(Stop::Failed("the sums are full")),
            }
        }
        Ok(())
    }
}
