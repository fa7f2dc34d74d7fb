//! What crowds at gateways come to: the engine, the ledger and the gateways themselves in virtual time.
//!
//! `cargo test --release -p engine --test simulation crowds -- --ignored --nocapture` prints it. Volunteers lend one core
//! each, of log-normal speed with a standard deviation of 0.75 of the logarithm. Weights of 4 bytes a parameter and sums
//! of 4.5 take their time on the links of `lines`: a gateway sends one volunteer its weights after the other, and takes
//! one sum after the other. Its link is as fast for each volunteer as one of 10 Gb/s is that a thousand share.

use engine::Audit;

use super::lines::{GATEWAY, LATENCY, Traffic};
use super::run_right;
use super::scenario::{Scenario, Store};
use crate::problem::ProblemPlan;
use crate::random::Draw;

/// Units that a volunteer of ordinary speed does in a round.
const UNITS_EACH: u64 = 20;
/// How long a volunteer of ordinary speed computes in a round, in milliseconds.
const ROUND_MS: u64 = 4_300;

/// A crowd spread evenly over gateways, and what its rounds would take if nobody ever waited, in milliseconds.
fn crowd(gateways: usize, at_each: usize, parameters: f64, audit: Audit) -> (Scenario, f64) {
    let mut draw = Draw::new(1, "crowds at gateways");
    let mut speed = 0.0;
    let mut pace = || {
        let normal = (0..12).map(|_| f64::from(draw.number())).sum::<f64>() / 2.0;
        let ms = ((ROUND_MS / UNITS_EACH) as f64 * (0.75 * normal).exp()).round().max(1.0);
        speed += 1.0 / ms;
        ms as u64
    };
    let people = (0..gateways).map(|_| (0..at_each).map(|_| pace()).collect()).collect();
    let units = (speed * ROUND_MS as f64) as u32;
    let problem = ProblemPlan { units_per_shard: 512, ..ProblemPlan::plain(units) };
    let sums_ms = (1000.0 * (LATENCY + 4.5 * parameters / GATEWAY)) as u64;
    let scenario = Scenario {
        gateways: people,
        iterations: 12,
        audit,
        traffic: Some(Traffic {
            weights: 4.0 * parameters,
            sums: 4.5 * parameters,
            gateway: GATEWAY * at_each as f64 / 1000.0,
        }),
        store: Store { fails: 0, damages: 0, delay_ms: (sums_ms, sums_ms), is_racy: false },
        ..Scenario::calm(1, problem)
    };
    (scenario, f64::from(units) / speed)
}

#[test]
fn newcomers_do_not_all_wait_for_the_few_who_proved_themselves_first() {
    let (scenario, least_ms) = crowd(1, 100, 1_000.0, Audit::Sample(0.03));
    let happened = run_right(&Scenario { iterations: 1, ..scenario });
    let took_ms = happened["milliseconds of the first round"] as f64;
    // All is computed twice.
    assert!(took_ms < 5.0 * least_ms, "{took_ms} ms, where {least_ms} ms would be enough");
}

/// How much of what is lent is useful.
#[test]
#[ignore = "prints figures for docs/measurements.md"]
#[expect(clippy::print_stdout, reason = "figures for a person")]
fn volunteers_at_gateways() {
    for parameters in [2_410.0, 25_450.0, 101_770.0] {
        for audit in [Audit::None, Audit::Sample(0.03)] {
            for (gateways, at_each) in [(1, 200), (4, 50)] {
                let (scenario, least_ms) = crowd(gateways, at_each, parameters, audit);
                let round_ms = run_right(&scenario)["milliseconds a round"] as f64;
                println!(
                    "| {gateways} | {parameters} | {audit:?} | {:.2} s | {:.1} % |",
                    round_ms / 1000.0,
                    100.0 * least_ms / round_ms
                );
            }
        }
    }
}
