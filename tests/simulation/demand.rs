//! What crowds of volunteers can do: a model of one round in virtual time, for crowds too large to simulate whole.
//!
//! `cargo test --release -p engine --test simulation demand -- --ignored --nocapture` prints it. A row has the data set,
//! the method, the number of volunteers and of those on one gateway, units, the share of volunteers that have work, a
//! round's length, the useful work of all that is lent, and how many times as fast the round is as one ordinary core.
//!
//! The model: each volunteer lends one core. Speeds are log-normal around [`CORE_OPERATIONS`] with a standard deviation of
//! 0.75 of the logarithm, as in `efficiency`. A volunteer needs the weights, 4 bytes a parameter, before it begins, and
//! sends one sum, 4.5 bytes a parameter, when it ends; its link and its gateway's share both bound that. Whoever is done
//! takes the next units, a slice of 400 ms or one unit; when none are left, a unit that is under way is copied by an idle
//! volunteer that would be done with it earlier. Shards have been downloaded. Gateways send one sum each to the
//! coordinator.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::random::Draw;

/// Parameters of 784-128-10.
const PARAMETERS: f64 = 101_770.0;
/// Operations on an example.
const OPERATIONS: f64 = 6.0 * PARAMETERS;
/// Operations a second of an ordinary core in a browser; `docs/measurements.md` has 38 to 55 for one that is fast.
const CORE_OPERATIONS: f64 = 2e10;
/// Bytes a second of a volunteer's link, down and up, and of a gateway's.
const LINK_DOWN: f64 = 50e6 / 8.0;
const LINK_UP: f64 = 10e6 / 8.0;
const GATEWAY: f64 = 10e9 / 8.0;
/// Seconds of the way there and back.
const LATENCY: f64 = 0.05;
const SLICE: f64 = 0.4;

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

/// A round's length in seconds with so many volunteers on a gateway, the share of volunteers with work, and the useful work of all that was lent.
fn round(volunteers: u32, per_gateway: f64, units: u32, unit: f64, draw: &mut Draw) -> (f64, f64, f64) {
    let normal = |draw: &mut Draw| (0..12).map(|_| f64::from(draw.number())).sum::<f64>() / 2.0;
    let paces: Vec<f64> = (0..volunteers).map(|_| (0.75 * normal(draw)).exp()).collect();
    // No more volunteers than units are sent the weights: the fastest, which the coordinator knows by then.
    let mut paces_of_those_with_work = paces.clone();
    paces_of_those_with_work.sort_by(f64::total_cmp);
    paces_of_those_with_work.truncate(units.min(volunteers) as usize);
    let paces_at_work = paces_of_those_with_work;
    let at_gateway = (paces_at_work.len() as f64).min(per_gateway);
    let down = (4.0 * PARAMETERS / LINK_DOWN).max(at_gateway * 4.0 * PARAMETERS / GATEWAY);
    let up = (4.5 * PARAMETERS / LINK_UP).max(at_gateway * 4.5 * PARAMETERS / GATEWAY);
    let begins = LATENCY / 2.0 + down;
    // When each is free, in steps of a nanosecond, so that times have an order.
    let time = |seconds: f64| (seconds * 1e9) as u64;
    let mut free: BinaryHeap<Reverse<(u64, usize)>> =
        (0..paces_at_work.len()).map(|one| Reverse((time(begins), one))).collect();
    let (mut left, mut ends, mut last) = (units, Vec::new(), 0);
    while left > 0 {
        let Reverse((at, one)) = free.pop().expect("somebody is there");
        let each = unit * paces_at_work[one];
        let share = (f64::from(left) / paces_at_work.len() as f64 / 2.0).ceil() as u32;
        let taken = ((SLICE / each) as u32).min(share).clamp(1, left);
        left -= taken;
        let end = at + time(f64::from(taken) * each);
        ends.push((end, f64::from(taken)));
        free.push(Reverse((end, one)));
    }
    // What ends last is copied by whoever is idle before, the fastest first.
    ends.sort_by_key(|(end, _)| Reverse(*end));
    let mut idle: Vec<(u64, usize)> = free.into_iter().map(|Reverse(one)| one).collect();
    idle.sort_by_key(|(at, one)| (time(paces_at_work[*one]), *at));
    for (index, (end, taken)) in ends.iter().enumerate() {
        let copy = idle.get(index).map(|(at, one)| at + time(LATENCY + taken * unit * paces_at_work[*one]));
        let ended = copy.map_or(*end, |copy| copy.min(*end));
        last = last.max(ended);
        if *end <= last {
            break;
        }
    }
    let gateways = (f64::from(volunteers) / per_gateway).ceil();
    let merge = gateways * 4.5 * PARAMETERS / GATEWAY;
    let length = last as f64 / 1e9 + LATENCY / 2.0 + up + merge;
    let lent = length * paces.iter().map(|pace| 1.0 / pace).sum::<f64>();
    (length, paces_at_work.len() as f64 / f64::from(volunteers), f64::from(units) * unit / lent)
}

#[test]
#[ignore = "prints figures for docs/measurements.md"]
#[expect(clippy::print_stdout, reason = "figures for a person")]
fn demand_of_crowds() {
    let print = |name: &str, method: &str, volunteers: u32, (units, unit): (u32, f64)| {
        for per_gateway in [1_000, 10_000] {
            let mut draw = Draw::new(1, "demand");
            let (length, with_work, useful) = round(volunteers, per_gateway.into(), units, unit, &mut draw);
            println!(
                "| {name} | {method} | {volunteers} | {per_gateway} | {units} of {:.1} ms | {:.0} % | {length:.2} s | {:.1} % | {:.0} |",
                1000.0 * unit,
                100.0 * with_work,
                100.0 * useful,
                f64::from(units) * unit / length
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
