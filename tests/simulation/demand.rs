//! What crowds of volunteers can do: a model of one round in virtual time, for crowds too large to simulate whole.
//!
//! `cargo test --release -p engine --test simulation demand -- --ignored --nocapture` prints it. A row has the data set,
//! the method, the number of volunteers and of those on one gateway, units, the share of volunteers that have work, a
//! round's length, the useful work of all that is lent, and how many times as fast the round is as one ordinary core.
//!
//! The model: each volunteer lends one core. Speeds are log-normal around [`CORE_OPERATIONS`] with a standard deviation of
//! 0.75 of the logarithm, as in `efficiency`. A volunteer needs the weights, 4 bytes a parameter, before it begins. Its
//! gateway sends them to one volunteer after the other, the fastest first, and each has them as soon as the gateway's
//! link and its own have carried them. A core does one unit after the other, and begins none that others would be done
//! with before it is (`floor::horizon`). All send their last sum, 4.5 bytes a parameter, when the units are done: their
//! links and their gateway's carry the sums at the same time. Earlier sums travel while cores compute. Shards have been
//! downloaded. Gateways send one sum each to the coordinator.

use crate::gateways::{GATEWAY, LATENCY, LINK_DOWN, LINK_UP};
use crate::random::Draw;

/// Parameters of 784-128-10, of 784-32-10, and of 64-16-10.
const PARAMETERS: f64 = 101_770.0;
const PARAMETERS_OF_SMALL: f64 = 25_450.0;
const PARAMETERS_OF_DIGITS: f64 = 1_210.0;
/// Operations on an example.
const OPERATIONS: f64 = 6.0 * PARAMETERS;
/// Operations a second of an ordinary core in a browser; `docs/measurements.md` has 38 to 55 for one that is fast.
const CORE_OPERATIONS: f64 = 2e10;

/// What rounds consist of, by the rules for so many expected cores (`coordinator/src/config/settle.rs` and
/// `training/cut.rs`).
#[derive(Debug, Clone, Copy)]
enum Method {
    Replicas,
    FullBatch,
}

/// Units of a round, and the seconds that an ordinary core needs for one.
fn units(method: Method, examples: u32, volunteers: u32) -> (u32, f64) {
    match method {
        Method::Replicas => {
            let replicas = (examples / 4000).clamp(8, 32).max(2 * volunteers).min(examples / 200);
            let one_pass = examples.div_ceil(replicas).div_ceil(10);
            let most = (f64::from(volunteers) * 5e10).max(1e11);
            let affordable = (most / (f64::from(replicas) * 10.0 * OPERATIONS)) as u32;
            let steps = one_pass.max(200).min(affordable.max(50));
            (replicas, f64::from(steps) * 10.0 * OPERATIONS / CORE_OPERATIONS)
        }
        Method::FullBatch => {
            let ordinary = (examples / 64).clamp(1, 256).max(examples.div_ceil(1 << 16)).div_ceil(10) * 10;
            let wanted = 50 * volunteers;
            let small = (examples / wanted / 10).max(1).max(examples.div_ceil(1 << 22).div_ceil(10)) * 10;
            let has_enough = wanted <= examples.div_ceil(ordinary);
            let examples_per_unit = if has_enough { ordinary } else { small };
            let units = examples.div_ceil(examples_per_unit);
            (units, f64::from(examples_per_unit) * OPERATIONS / CORE_OPERATIONS)
        }
    }
}

/// A crowd, and how it is spread.
struct Crowd {
    /// What each core takes for the work of an ordinary one, the fastest first.
    paces: Vec<f64>,
    per_gateway: f64,
    /// Of the network that it trains.
    parameters: f64,
}

/// What a round came to.
struct Round {
    seconds: f64,
    /// Seconds of it that weights and sums are on their way, for the average volunteer.
    way: f64,
    /// The share of volunteers with work.
    with_work: f64,
    /// The useful work of all that was lent.
    useful: f64,
}

impl Crowd {
    fn draw(volunteers: u32, per_gateway: f64, parameters: f64) -> Crowd {
        let mut draw = Draw::new(1, "demand");
        let mut normal = || (0..12).map(|_| f64::from(draw.number())).sum::<f64>() / 2.0;
        let mut paces: Vec<f64> = (0..volunteers).map(|_| (0.75 * normal()).exp()).collect();
        paces.sort_by(f64::total_cmp);
        Crowd { paces, per_gateway, parameters }
    }

    /// A round of so many units, each of which takes an ordinary core so many seconds.
    fn round(&self, units: u32, unit: f64) -> Round {
        // No more volunteers than units are sent the weights: the fastest, which the coordinator knows by then.
        let at_work = &self.paces[..self.paces.len().min(units as usize)];
        let at_gateway = (at_work.len() as f64).min(self.per_gateway);
        let bytes = |each: f64| each * self.parameters;
        // Gateways have volunteers of all speeds, so one of them has every so manieth.
        let turn = |index: usize| at_gateway * index as f64 / at_work.len() as f64 + 1.0;
        let arrives = |index: usize| {
            LATENCY / 2.0 + bytes(4.0) / LINK_DOWN + turn(index).floor() * bytes(4.0) / GATEWAY
        };
        let gateways = (self.paces.len() as f64 / self.per_gateway).ceil();
        let up = (bytes(4.5) / LINK_UP).max(at_gateway * bytes(4.5) / GATEWAY);
        let back = LATENCY / 2.0 + up + gateways * bytes(4.5) / GATEWAY;
        // Units that are done so many seconds after the round began.
        let done_in = |seconds: f64| -> f64 {
            let done =
                |(index, pace): (usize, &f64)| ((seconds - arrives(index)).max(0.0) / (unit * pace)).floor();
            at_work.iter().enumerate().map(done).sum()
        };
        let (mut too_short, mut enough) = (0.0, unit);
        while done_in(enough) < f64::from(units) {
            (too_short, enough) = (enough, 2.0 * enough);
        }
        for _ in 0..24 {
            let middle = f64::midpoint(too_short, enough);
            if done_in(middle) < f64::from(units) { too_short = middle } else { enough = middle }
        }
        let way = (0..at_work.len()).map(arrives).sum::<f64>() / at_work.len() as f64 + back;
        let seconds = enough + back;
        let lent = seconds * self.paces.iter().map(|pace| 1.0 / pace).sum::<f64>();
        let with_work = at_work.len() as f64 / self.paces.len() as f64;
        Round { seconds, way, with_work, useful: f64::from(units) * unit / lent }
    }

    /// Seconds of a unit with which a round of so many units takes so long; `None` if weights and sums take longer.
    fn unit_for(&self, seconds: f64, units: u32) -> Option<f64> {
        let (mut short, mut long) = (1e-6, seconds);
        for _ in 0..24 {
            let middle = f64::midpoint(short, long);
            if self.round(units, middle).seconds <= seconds { short = middle } else { long = middle }
        }
        (self.round(units, short).seconds <= seconds).then_some(short)
    }
}

#[test]
#[ignore = "prints figures for docs/measurements.md"]
#[expect(clippy::print_stdout, reason = "figures for a person")]
fn demand_of_crowds() {
    let print = |name: &str, method: &str, volunteers: u32, (units, unit): (u32, f64)| {
        for per_gateway in [1_000, 10_000] {
            let crowd = Crowd::draw(volunteers, per_gateway.into(), PARAMETERS);
            let Round { seconds, with_work, useful, .. } = crowd.round(units, unit);
            println!(
                "| {name} | {method} | {volunteers} | {per_gateway} | {units} of {:.1} ms | {:.0} % | {seconds:.2} s | {:.1} % | {:.0} |",
                1000.0 * unit,
                100.0 * with_work,
                100.0 * useful,
                f64::from(units) * unit / seconds
            );
        }
    };
    for (name, examples) in [("MNIST", 60_000), ("1 million", 1_000_000), ("100 million", 100_000_000)] {
        for (method, named) in [(Method::Replicas, "replicas"), (Method::FullBatch, "full batch")] {
            for volunteers in [1_000, 10_000, 100_000] {
                print(name, named, volunteers, units(method, examples, volunteers));
            }
        }
    }
    // As long as a user makes them: 10,000 steps.
    for volunteers in [1_000, 10_000, 100_000] {
        let unit = 10_000.0 * 10.0 * OPERATIONS / CORE_OPERATIONS;
        print("100 million", "replicas, --local-steps 10000", volunteers, (2 * volunteers, unit));
    }
}

/// How much of what 100,000 volunteers lend is useful in rounds of five seconds, by the number of gateways and of units
/// that a core does in a round.
#[test]
#[ignore = "prints figures for docs/measurements.md"]
#[expect(clippy::print_stdout, reason = "figures for a person")]
fn efficiency_of_rounds_of_five_seconds() {
    let networks =
        [("784-128-10", PARAMETERS), ("784-32-10", PARAMETERS_OF_SMALL), ("64-16-10", PARAMETERS_OF_DIGITS)];
    for (network, parameters) in networks {
        for gateways in [1, 10, 100, 1_000] {
            let crowd = Crowd::draw(100_000, 100_000.0 / f64::from(gateways), parameters);
            let way = crowd.round(100_000, 1.0).way;
            let useful = [2, 5, 10, 20, 50].map(|per_core| {
                let units = per_core * 100_000;
                let unit = crowd.unit_for(5.0, units);
                unit.map_or("none".to_owned(), |unit| {
                    format!("{:.0} %", 100.0 * crowd.round(units, unit).useful)
                })
            });
            println!("| {network} | {gateways} | {way:.2} s | {} |", useful.join(" | "));
        }
    }
}
