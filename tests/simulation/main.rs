//! Whole runs in virtual time: one real engine, real hubs and compute workers, real frames between
//! them, and a world in which whatever can go wrong does. A run is a function of its seed.
//!
//! - `scenario`: what a run is made from, as data.
//! - `problem`: the data set and the network; `reference`: the same training as one plain loop.
//! - `oracle`: trainings by the textbook, which share nothing with the engine.
//! - `stage`: time, events and connections; `world`: the run.
//! - `host`: the coordinator; `guest`: a volunteer; `mouth`: what it sends instead of the truth.
//! - `watch`: what must be true of the engine at every moment.
//! - `believed`: lies that are counted and not found.
//! - `cases`: single things that go wrong, each written down; `lies`: volunteers that lie.
//! - `population`: all of them together, and how long rounds take beside them.
//! - `misfits`: which answer of the referee is to which question.
//! - `hall`: one floor, and crowds of scripts that have nothing to compute.
//! - `gateways`: several coordinators and gateways, with a bus and a store that fail.
//! - `efficiency`: what backup copies cost and gain, and with `timesheet` what lent time is spent on; `cost`: what the engine itself costs;
//!   `demand`: a model of what crowds can do.
//!
//! `SHOAL_SIMULATION_SEEDS=n` runs n seeds instead of 1,000, `SHOAL_SIMULATION_SEED=n` just that one.

mod believed;
mod cases;
mod cost;
mod demand;
mod efficiency;
mod examined;
mod gateways;
mod guest;
mod hall;
mod host;
mod lies;
mod misfits;
mod mouth;
mod oracle;
mod population;
mod problem;
mod random;
mod reference;
mod scenario;
mod stage;
mod timesheet;
mod watch;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use believed::Found;
use scenario::Scenario;

/// Seeds run by default.
const SEEDS: u64 = 1_000;

#[test]
#[allow(clippy::disallowed_methods, reason = "the environment names the seeds, and all cores replay them")]
fn the_same_bits_whoever_helps_and_whatever_goes_wrong() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    if let Some(seed) = number("SHOAL_SIMULATION_SEED") {
        world::run(&Scenario::draw(seed));
        return;
    }
    let seeds = number("SHOAL_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let (next, happened, found) =
        (AtomicU64::new(0), Mutex::new(BTreeMap::new()), Mutex::new(Found::default()));
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let report = world::run(&Scenario::draw(seed));
                    found.lock().unwrap().merge(report.found);
                    let mut happened = happened.lock().unwrap();
                    for (what, count) in report.happened() {
                        *happened.entry(what).or_insert(0) += count;
                    }
                }
            });
        }
    });
    let (happened, found) = (happened.into_inner().unwrap(), found.into_inner().unwrap());
    // Liars are found out as often as is promised, but for chance. A round that is killed counts for neither.
    let least = found.expected - 4.0 * found.variance.sqrt() - 1.0;
    assert!(
        found.found >= least,
        "{found:?}, of which {} are believed",
        happened.get("undetected").unwrap_or(&0)
    );
    if seeds >= SEEDS {
        // A simulation in which nothing goes wrong shows nothing.
        let missing: Vec<_> =
            HAPPENS.iter().filter(|what| happened.get(*what).is_none_or(|count| *count == 0)).collect();
        assert!(missing.is_empty(), "never happened: {missing:?} in {happened:#?}");
    }
}

/// What must happen somewhere in [`SEEDS`] runs.
const HAPPENS: [&str; 51] = [
    "all places taken",
    "backup task",
    "best point before the last",
    "changed its cores",
    "check",
    "clock jumped",
    "colluders",
    "compute worker died",
    "connection broke",
    "convicted",
    "declined",
    "disk full",
    "dismissed",
    "download failed",
    "duplicate result",
    "ended by accuracy",
    "ended by decrease",
    "ended by epochs",
    "ended by gradient",
    "ended by iterations",
    "ended by loss",
    "ended by patience",
    "ended by rounds",
    "ended by the optimizer",
    "examined",
    "fell asleep",
    "fell asleep for good",
    "froze",
    "killed",
    "left",
    "left without a word",
    "lie about a unit",
    "line search",
    "malformed result",
    "old result again",
    "operator paused",
    "paused",
    "point without a value",
    "point without an evaluation",
    "recalled",
    "replaced",
    "restart without the test set",
    "rewound",
    "result overtaken",
    "scale moved",
    "step out of range",
    "stopped",
    "torn write",
    "wrong result",
    "wrong shard bytes",
    "round opened again",
];
