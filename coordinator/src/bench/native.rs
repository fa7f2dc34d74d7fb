//! Measures the cases natively, in threads. `web/bench/measure.js` does the same in a browser.

use std::num::NonZero;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use bench::{Bench, Case, ROOF};
use model::Arithmetic;

use super::mnist_shard;
use super::pass::{self, FullPass};
use super::report::{CaseReport, Machine, MachineKind, Report, Roof};

/// Most cores to measure, as many as a volunteer may lend.
const CORES_MAX: usize = 256;
const GIGA: f64 = 1e9;

/// What to measure, and how thoroughly.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The cases.
    pub cases: Vec<&'static Case>,
    /// Whether to measure a whole pass over MNIST too.
    pub pass: bool,
    /// The arithmetics.
    pub arithmetics: Vec<Arithmetic>,
    /// The lengths of the measurement.
    pub rhythm: Rhythm,
}

/// How long to measure a case.
#[derive(Debug, Clone, Copy)]
pub struct Rhythm {
    /// Time until caches, clocks and, in a browser, the compiler have settled.
    pub warm_up: Duration,
    /// Length of one round.
    pub round: Duration,
    /// Number of rounds.
    pub rounds: u32,
}

impl Rhythm {
    /// Takes some seconds for all cases together.
    pub const THOROUGH: Rhythm =
        Rhythm { warm_up: Duration::from_millis(100), round: Duration::from_millis(40), rounds: 10 };
    /// Gives numbers that only show that everything works.
    pub const QUICK: Rhythm =
        Rhythm { warm_up: Duration::from_millis(2), round: Duration::from_millis(2), rounds: 3 };
}

/// Measures the plan. `tell` learns what comes next.
pub fn measure(plan: &Plan, mut tell: impl FnMut(String)) -> Report {
    let cores = thread::available_parallelism().map_or(1, NonZero::get).min(CORES_MAX);
    let mut report = Report {
        machine: Machine {
            kind: MachineKind::Native,
            name: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
            cores,
        },
        roofs: Vec::new(),
        cases: Vec::new(),
        missing: Vec::new(),
    };
    let mut counts = vec![1, cores];
    counts.dedup();
    let pass = plan.pass.then(FullPass::prepare);
    for &arithmetic in &plan.arithmetics {
        for &cores in &counts {
            let mut run = |case: &'static Case| {
                let on = if cores == 1 { "one core".to_owned() } else { format!("{cores} cores") };
                tell(format!("{}, {arithmetic}, on {on}", case.name));
                measure_case(case, arithmetic, cores, plan.rhythm)
            };
            let before = ROOF.iter().map(&mut run).collect::<Vec<_>>();
            let found = plan.cases.iter().map(|case| (case.name, case.examples(), run(case)));
            let mut found = found.collect::<Vec<_>>();
            if let Some(pass) = &pass {
                let speed = measure_pass(pass, arithmetic, cores, plan.rhythm.rounds);
                found.push((pass::NAME, pass.examples(), speed));
            }
            let after = ROOF.iter().map(&mut run);
            let roof = before.into_iter().chain(after).max_by(|one, other| one.best.total_cmp(&other.best));
            let roof = roof.expect("there are roofs");
            report.cases.extend(found.into_iter().map(|(case, examples, speed)| CaseReport {
                case: case.to_owned(),
                arithmetic,
                cores,
                gflops: speed.best / GIGA,
                gflops_median: speed.median / GIGA,
                examples_per_second: speed.best / speed.operations_per_step * examples as f64,
                roof_share: speed.best / roof.best,
            }));
            report.roofs.push(Roof {
                arithmetic,
                cores,
                gflops: roof.best / GIGA,
                gflops_median: roof.median / GIGA,
            });
        }
    }
    report
}

/// Operations a second of all cores together.
#[derive(Debug, Clone, Copy)]
struct Speed {
    best: f64,
    median: f64,
    operations_per_step: f64,
}

/// Measures rounds in which `cores` threads run the case at the same time.
fn measure_case(case: &Case, arithmetic: Arithmetic, cores: usize, rhythm: Rhythm) -> Speed {
    let mnist = mnist_shard();
    let together = Barrier::new(cores);
    let one_core = || {
        let mut bench = Bench::new(case, arithmetic, &mnist).expect("the shard is our own");
        let steps = warm_up(&mut bench, rhythm);
        let mut operations = 0.0;
        let rounds = (0..rhythm.rounds).map(|_| {
            together.wait();
            let began = Instant::now();
            operations = bench.run(steps);
            operations / began.elapsed().as_secs_f64()
        });
        let rounds = rounds.collect::<Vec<_>>();
        (rounds, operations / f64::from(steps))
    };
    let cores: Vec<(Vec<f64>, f64)> = thread::scope(|scope| {
        let threads = (0..cores).map(|_| scope.spawn(one_core)).collect::<Vec<_>>();
        threads.into_iter().map(|thread| thread.join().expect("no case panics")).collect()
    });
    let of_round = |round: usize| cores.iter().map(|(rounds, _)| rounds[round]).sum();
    Speed::of((0..rhythm.rounds as usize).map(of_round).collect(), cores[0].1)
}

fn measure_pass(pass: &FullPass, arithmetic: Arithmetic, cores: usize, passes: u32) -> Speed {
    let operations = pass.operations();
    let durations = pass.measure(arithmetic, cores, passes);
    Speed::of(durations.iter().map(|took| operations / took.as_secs_f64()).collect(), operations)
}

impl Speed {
    /// The speed in some rounds, at least one.
    fn of(mut rounds: Vec<f64>, operations_per_step: f64) -> Speed {
        rounds.sort_by(f64::total_cmp);
        Speed { best: rounds[rounds.len() - 1], median: rounds[rounds.len() / 2], operations_per_step }
    }
}

/// Runs the case until everything has settled. Returns the number of steps that fill a round.
fn warm_up(bench: &mut Bench, rhythm: Rhythm) -> u32 {
    let began = Instant::now();
    let mut steps = 1u32;
    loop {
        let this = Instant::now();
        bench.run(steps);
        let took = this.elapsed();
        let enough = took >= rhythm.round / 4;
        if enough && began.elapsed() >= rhythm.warm_up {
            let fitting = f64::from(steps) * rhythm.round.as_secs_f64() / took.as_secs_f64();
            return fitting.round().max(1.0) as u32;
        }
        if !enough {
            steps = steps.saturating_mul(2);
        }
    }
}
