//! Volunteers that lie. All of these runs also check the bits: whatever is sent, the weights are those of honest
//! volunteers.

use engine::{Audit, OnLie};

use crate::problem::{Method, ProblemPlan};
use crate::scenario::{Guest, Happening, Lie, LieKind, Scenario};
use crate::world::{Report, run};

/// The default share.
const SAMPLE: Audit = Audit::Sample(0.03);

/// Guests, each at an address of its own.
fn apart(guests: Vec<Guest>) -> Vec<Guest> {
    let apart =
        guests.into_iter().enumerate().map(|(number, guest)| Guest { address: number as u128, ..guest });
    apart.collect()
}

fn audited(problem: ProblemPlan, guests: Vec<Guest>) -> Scenario {
    Scenario { audit: SAMPLE, ..Scenario::calm(problem, apart(guests)) }
}

fn honest(count: usize) -> Vec<Guest> {
    (0..count).map(|_| Guest::steady(10)).collect()
}

fn with(mut guests: Vec<Guest>, more: impl IntoIterator<Item = Guest>) -> Vec<Guest> {
    guests.extend(more);
    guests
}

#[test]
fn a_liar_of_each_kind_among_three_is_found_out_and_costs_little() {
    for method in [Method::Lbfgs, Method::Average, Method::Sgd { learning_rate: 0.1 }] {
        let problem =
            ProblemPlan { method, test: 40, validation: 40, replicas: 40, ..ProblemPlan::plain(60) };
        let time = |report: &Report| report.ended_ms;
        let alone = run(&audited(problem.clone(), honest(3)));
        for kind in LieKind::ALL {
            let report = run(&audited(problem.clone(), with(honest(3), [Guest::liar(kind)])));
            assert_eq!(report.counts.convicted, 1, "{method:?}, {kind:?}");
            assert!(
                time(&report) < time(&alone) * 13 / 10,
                "{kind:?}: {} ms of {}",
                time(&report),
                time(&alone)
            );
        }
    }
}

/// Whoever answers at once is the fastest and gets most of the work. Zeros look like the end of the training.
#[test]
fn a_lazy_liar_ends_no_training() {
    let slow = Guest::steady(100);
    let report = run(&audited(ProblemPlan::plain(20), vec![slow, Guest::liar(LieKind::Zeros)]));
    assert!(report.points > 1 && report.counts.convicted == 1);
}

/// It behaves until it is trusted, and then lies now and then.
#[test]
fn what_a_sleeper_did_while_it_was_trusted_is_undone() {
    let mut rewound = 0;
    for seed in 0..12 {
        let lie = Lie { kind: LieKind::Flipped, after: 60, chance: 30, at_once: true };
        let sleeper = Guest { lie: Some(lie), ..Guest::steady(10) };
        let problem = ProblemPlan { seed, ..ProblemPlan::plain(60) };
        let mut scenario = Scenario { seed, ..audited(problem, with(honest(2), [sleeper])) };
        scenario.limits.stop.iterations = 30;
        let report = run(&scenario);
        rewound += report.faults.get("rewound").copied().unwrap_or(0);
    }
    assert!(rewound > 0, "this must happen to be tested");
}

/// Each evaluation that finds nothing better brings the end nearer.
#[test]
fn nobody_ends_a_training_by_saying_that_nothing_gets_better() {
    let mut lies = 0;
    for seed in 0..12 {
        let lie = Lie { kind: LieKind::Pessimist, after: 40, chance: 100, at_once: true };
        let liar = Guest { lie: Some(lie), ..Guest::steady(10) };
        let problem = ProblemPlan { seed, test: 0, validation: 40, ..ProblemPlan::plain(60) };
        let mut scenario = Scenario { seed, ..audited(problem, with(honest(2), [liar])) };
        (scenario.limits.stop.iterations, scenario.limits.stop.patience) = (20, Some(3));
        let report = run(&scenario);
        lies += report.faults.get("wrong result").copied().unwrap_or(0);
        assert!(!report.faults.contains_key("undetected"), "with seed {seed}");
    }
    assert!(lies > 5, "this must happen to be tested: {lies}");
}

/// The end of a training because of a small decrease follows from ten points, and all of them are checked.
#[test]
fn nobody_ends_a_training_by_making_its_decrease_small() {
    let (mut ended, mut repeated) = (0, 0);
    for seed in 0..24 {
        let lie = Lie { kind: LieKind::LowLoss, after: 90, chance: 8, at_once: true };
        let liar =
            if seed % 2 == 0 { vec![Guest { lie: Some(lie), ..Guest::steady(10) }] } else { honest(1) };
        let problem = ProblemPlan { seed, ..ProblemPlan::plain(60) };
        let mut scenario = Scenario { seed, ..audited(problem, with(honest(2), liar)) };
        (scenario.limits.stop.iterations, scenario.limits.stop.relative_decrease) = (40, Some(0.3));
        let report = run(&scenario);
        repeated += report.faults.get("rewound").copied().unwrap_or(0);
        ended += u64::from(report.happened().any(|(what, _)| what == "ended by decrease"));
    }
    assert!(ended > 5 && repeated > 0, "this must happen to be tested: {ended}, {repeated}");
}

#[test]
fn a_training_that_is_told_to_goes_on_after_a_lie() {
    // Newcomers are checked in full, so that nothing of the lie remains in any case.
    let guests = with(honest(3), [Guest::liar(LieKind::Scaled)]);
    let scenario = Scenario { on_lie: OnLie::Continue, ..audited(ProblemPlan::plain(60), guests) };
    assert_eq!(run(&scenario).counts.convicted, 1);
}

/// One client that answers with zeros, reports falsely, and comes back, for ever.
#[test]
fn a_script_that_comes_back_again_and_again_stalls_nothing() {
    let without = run(&audited(ProblemPlan::plain(60), honest(3)));
    let mut script = Guest::liar(LieKind::Zeros);
    script.manners.lies = 50;
    let visits = (0..100).map(|number| 80 * number);
    script.happenings =
        visits.flat_map(|at_ms| [(at_ms, Happening::Leave(true)), (at_ms, Happening::Arrive)]).collect();
    let scenario = audited(ProblemPlan::plain(60), with(honest(3), [script]));
    let report = run(&Scenario { calm_ms: 600_000, ..scenario });
    assert!(report.counts.convicted > 3, "{} times", report.counts.convicted);
    assert_eq!(report.counts.rounds, without.counts.rounds, "no round begins again");
    assert!(report.ended_ms < without.ended_ms * 3 / 2, "{} ms, not {}", report.ended_ms, without.ended_ms);
}

/// With volunteers that have proved themselves, audits cost little. They are drawn by lot, so the mean over some trainings
/// counts: of single ones, a quarter lies above.
#[test]
fn audits_of_the_proven_are_few() {
    let percent = |seed| {
        let problem = ProblemPlan { method: Method::Average, replicas: 60, ..ProblemPlan::plain(60) };
        let mut scenario = Scenario { seed, ..audited(problem, honest(3)) };
        scenario.limits.stop.iterations = 300;
        let report = run(&scenario);
        100.0 * report.counts.audited_units as f64 / report.counts.units as f64
    };
    const TRAININGS: u64 = 16;
    let mean = (0..TRAININGS).map(percent).sum::<f64>() / TRAININGS as f64;
    // The share, the newcomers' first results, and the last round, which is confirmed.
    assert!(mean < 5.0, "{mean} %");
}

/// Behind one address all the same: a classroom is checked by its own, with the coordinator's worker among them.
#[test]
fn a_classroom_behind_one_address_trains_and_finds_the_liar() {
    let guests = with(vec![Guest::own(40)], with(honest(6), [Guest::liar(LieKind::OneStep)]));
    let mut scenario = audited(ProblemPlan::plain(120), guests);
    scenario.guests.iter_mut().for_each(|guest| guest.address = 1);
    let report = run(&scenario);
    assert_eq!(report.counts.convicted, 1);
}

/// They connect and never answer: no group waits for them for long, in no round.
#[test]
fn a_hundred_sleepers_beside_three_hold_up_nothing() {
    let time = |sleepers: usize| {
        let asleep = (0..sleepers).map(|_| Guest::asleep_from(1, 10));
        let mut scenario = audited(ProblemPlan::plain(64), with(honest(3), asleep));
        scenario.limits.stop.iterations = 20;
        run(&scenario).ended_ms
    };
    let (none, fifty, hundred) = (time(0), time(50), time(100));
    assert!(
        fifty < none * 3 / 2 && hundred < none * 3 / 2,
        "{none} ms, with fifty {fifty}, with a hundred {hundred}"
    );
}

/// They help for a while and then fall asleep with what they have.
#[test]
fn many_who_fall_asleep_hold_up_no_more_than_a_few_rounds() {
    let time = |sleepers: usize| {
        let asleep = (0..sleepers).map(|_| Guest::asleep_from(700, 10));
        let mut scenario = audited(ProblemPlan::plain(64), with(honest(3), asleep));
        scenario.limits.stop.iterations = 40;
        run(&scenario).ended_ms
    };
    let (none, thirty) = (time(0), time(30));
    assert!(thirty < none * 3 / 2, "{none} ms, with thirty {thirty}");
}

/// Two who say the same are found out as soon as somebody else checks one of them.
#[test]
fn two_who_collude_are_found_out_by_the_coordinators_worker_and_by_the_honest() {
    let mut right = 0;
    for seed in 0..8 {
        let pair = (0..2).map(|_| Guest::liar(LieKind::Zeros));
        let guests = with(vec![Guest::own(10)], with(honest(3), pair));
        let scenario = Scenario { seed, ..audited(ProblemPlan::plain(60), guests) };
        right += run(&scenario).counts.convicted;
    }
    assert_eq!(right, 16);
}
