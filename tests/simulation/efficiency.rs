//! What backup copies cost, and how long rounds take with them, for few volunteers and for many.
//!
//! `cargo test --release -p engine --test simulation efficiency -- --ignored --nocapture` prints all that is measured: a
//! row has the kind of rounds, the crowd, the number of volunteers, units handed out as copies, a round's length, and
//! its length if nobody ever waited. Time is virtual: the figures depend on the seeds and on the scheduler alone.

use std::collections::BTreeMap;

use engine::LocalHelp;

use crate::problem::{Method, ProblemPlan};
use crate::random::Draw;
use crate::scenario::{Guest, Happening, Scenario};
use crate::timesheet::Spent;
use crate::world::{Report, run};

/// Where all are equally fast, at most so many of a hundred units may be handed out twice.
const COPIED_PERCENT_MAX: f64 = 5.0;
/// One volunteer in five leaves within this time.
const MINUTE_MS: u64 = 60_000;

/// Who the volunteers are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Crowd {
    /// All equally fast, but for a tenth more or less from one piece of work to the next.
    Equal,
    /// Speeds with a standard deviation of 0.75 of their natural logarithm: of a hundred, the fastest is some 30 times
    /// as fast as the slowest.
    LogNormal,
    /// Equally fast, and each minute one in five leaves, half of them without a word; another comes soon after.
    Leaving,
}

/// What rounds consist of.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rounds {
    /// Gradients: many short units, of which a volunteer is given several at once.
    Gradients,
    /// Replicas: few long units.
    Replicas,
}

/// What came of some rounds.
#[derive(Debug)]
struct Measured {
    /// Units handed out as copies, of a hundred units of the rounds. An upper bound on the work done twice: a copy
    /// that is overtaken before it has arrived counts in full.
    copied_percent: f64,
    /// A round's mean length.
    round_ms: f64,
    /// Its length if nobody ever waited and all who were there at first stayed.
    ideal_ms: f64,
}

impl Rounds {
    /// How many units a round has.
    fn units(self, volunteers: u32) -> u32 {
        match self {
            Rounds::Gradients => (16 * volunteers).clamp(64, 8_000),
            // As many as there are by default for two tabs on MNIST, or one and a half for each volunteer.
            Rounds::Replicas => (3 * volunteers / 2).max(15),
        }
    }

    /// What a unit takes on an ordinary core.
    fn unit_ms(self) -> u64 {
        match self {
            Rounds::Gradients => 20,
            Rounds::Replicas => 400,
        }
    }
}

/// Runs some rounds with so many volunteers of one core each.
fn measure(
    rounds: Rounds,
    crowd: Crowd,
    volunteers: u32,
    iterations: u64,
    seed: u64,
    copies: bool,
) -> Measured {
    let mut draw = Draw::new(seed, "efficiency");
    let mut speed = 0.0;
    let guests = (0..volunteers).map(|_| {
        let pace = match crowd {
            Crowd::LogNormal => (0.75 * normal(&mut draw)).exp(),
            Crowd::Equal | Crowd::Leaving => 1.0,
        };
        let unit_ms = rounds.unit_ms() as f64 * pace;
        speed += 1.0 / unit_ms;
        let mut guest = Guest {
            unit_ms: ((0.9 * unit_ms).round() as u64, (1.1 * unit_ms).round() as u64),
            latency_ms: (5, 25),
            download_ms: (20, 100),
            ..Guest::steady(rounds.unit_ms())
        };
        if crowd == Crowd::Leaving {
            guest.happenings.extend(comings_and_goings(&mut draw));
        }
        guest
    });
    let guests = guests.collect();
    let units = rounds.units(volunteers);
    let problem = match rounds {
        Rounds::Gradients => ProblemPlan::plain(units),
        Rounds::Replicas => {
            ProblemPlan { method: Method::Average, replicas: units, ..ProblemPlan::plain(units) }
        }
    };
    let mut scenario = Scenario {
        seed,
        local_help: LocalHelp::Never,
        crowded: true,
        copies,
        ..Scenario::calm(problem, guests)
    };
    scenario.limits.stop.iterations = iterations;
    let report = run(&scenario);
    Measured {
        copied_percent: 100.0 * report.counts.copied_units as f64 / report.counts.units as f64,
        round_ms: report.ended_ms as f64 / report.counts.rounds as f64,
        ideal_ms: f64::from(units) / speed,
    }
}

/// One of five leaves each minute, for an hour.
fn comings_and_goings(draw: &mut Draw) -> Vec<(u64, Happening)> {
    let mut happenings = Vec::new();
    for minute in 0..60 {
        if draw.percent(20) {
            let at_ms = minute * MINUTE_MS + draw.between(1, MINUTE_MS - 20_000);
            happenings.push((at_ms, Happening::Leave(draw.percent(50))));
            happenings.push((at_ms + draw.between(1_000, 19_000), Happening::Arrive));
        }
    }
    happenings
}

/// A standard normal number, as a sum of uniform ones (Irwin and Hall).
fn normal(draw: &mut Draw) -> f64 {
    (0..12).map(|_| f64::from(draw.number())).sum::<f64>() / 2.0
}

/// The mean over some seeds.
fn mean(
    rounds: Rounds,
    crowd: Crowd,
    volunteers: u32,
    iterations: u64,
    seeds: u64,
    copies: bool,
) -> Measured {
    let all: Vec<Measured> =
        (0..seeds).map(|seed| measure(rounds, crowd, volunteers, iterations, seed, copies)).collect();
    let mean = |figure: fn(&Measured) -> f64| all.iter().map(figure).sum::<f64>() / all.len() as f64;
    Measured {
        copied_percent: mean(|one| one.copied_percent),
        round_ms: mean(|one| one.round_ms),
        ideal_ms: mean(|one| one.ideal_ms),
    }
}

#[test]
fn equally_fast_volunteers_hardly_do_each_others_work() {
    for rounds in [Rounds::Gradients, Rounds::Replicas] {
        for volunteers in [2, 10, 100] {
            let found = mean(rounds, Crowd::Equal, volunteers, 12, 3, true);
            assert!(found.copied_percent < COPIED_PERCENT_MAX, "{rounds:?}, {volunteers}: {found:?}");
        }
    }
}

/// Prints what is measured, for crowds of all sizes.
#[expect(clippy::print_stdout, reason = "figures for a person")]
fn print(rounds: Rounds, crowd: Crowd) {
    for (volunteers, iterations, seeds) in [(2, 30, 6), (10, 30, 6), (100, 12, 2), (1_000, 4, 1)] {
        let Measured { copied_percent, round_ms, ideal_ms } =
            mean(rounds, crowd, volunteers, iterations, seeds, true);
        println!(
            "| {rounds:?} | {crowd:?} | {volunteers} | {copied_percent:.1} % | {round_ms:.0} ms | {ideal_ms:.0} ms |"
        );
    }
}

/// What copies gain: the mean length of a round of replicas with them and without, for crowds of all sizes.
#[test]
#[ignore = "prints figures for docs/measurements.md"]
#[expect(clippy::print_stdout, reason = "figures for a person")]
fn gain_of_copies() {
    for crowd in [Crowd::Equal, Crowd::LogNormal, Crowd::Leaving] {
        for (volunteers, iterations, seeds) in [(2, 30, 3), (10, 30, 3), (100, 12, 2), (1_000, 4, 1)] {
            let [with, without] = [true, false]
                .map(|copies| mean(Rounds::Replicas, crowd, volunteers, iterations, seeds, copies));
            println!(
                "| {crowd:?} | {volunteers} | {:.0} ms | {:.0} ms | {:.1} % |",
                with.round_ms, without.round_ms, with.copied_percent
            );
        }
    }
}

/// With 300 volunteers whose speeds are equal, or differ by a standard deviation of 1 of their natural logarithm, of
/// whom a fifth leaves each minute, and 50 ms between a round's end and the next one's arrival: the useful work of all
/// that is lent, and of all that would be if nobody were ever absent. A round has 50 units for each. The aim is 0.92
/// of what is lent. It also prints what the rest is spent on.
#[test]
#[ignore = "prints figures for docs/measurements.md"]
#[expect(clippy::print_stdout, reason = "figures for a person")]
fn efficiency_of_three_hundred() {
    const VOLUNTEERS: u32 = 300;
    const UNITS_EACH: u32 = 50;
    for (sigma, least) in [(0.0, 0.95), (1.0, 0.935)] {
        let mut draw = Draw::new(1, "three hundred");
        let guests = (0..VOLUNTEERS).map(|_| {
            let unit_ms = 200.0 * (sigma * normal(&mut draw)).exp();
            let mut guest = Guest {
                unit_ms: ((0.95 * unit_ms).round() as u64, (1.05 * unit_ms).round() as u64),
                latency_ms: (25, 25),
                download_ms: (20, 100),
                ..Guest::steady(200)
            };
            guest.happenings.extend(comings_and_goings(&mut draw));
            guest
        });
        let guests = guests.collect();
        let problem = ProblemPlan::plain(UNITS_EACH * VOLUNTEERS);
        let mut scenario =
            Scenario { local_help: LocalHelp::Never, crowded: true, ..Scenario::calm(problem, guests) };
        scenario.limits.stop.iterations = 6;
        let report = run(&scenario);
        let round_ms = report.ended_ms as f64 / report.counts.rounds as f64;
        let copied = 100.0 * report.counts.copied_units as f64 / report.counts.units as f64;
        let shares = shares(&scenario, &report);
        let share = |kind| shares.get(&kind).copied().unwrap_or(0.0);
        let useful = share(Spent::Useful);
        let of_lent = useful / (1.0 - share(Spent::Absent));
        println!(
            "| sigma {sigma} | {of_lent:.3} of what is lent | {useful:.3} of all | round {round_ms:.0} ms | \
             copied {copied:.1} % |"
        );
        for (kind, share) in shares {
            println!("|   {kind:?} | {share:.4} |");
        }
        assert!(of_lent >= least, "{of_lent}");
    }
}

/// The share of each kind of time in that of all volunteers, present or not. A moment counts as much as its volunteer
/// can compute in it.
fn shares(scenario: &Scenario, report: &Report) -> BTreeMap<Spent, f64> {
    let mut work: BTreeMap<Spent, f64> = BTreeMap::new();
    for (guest, spent) in scenario.guests.iter().zip(&report.spent) {
        let unit_ms = (guest.unit_ms.0 + guest.unit_ms.1) as f64 / 2.0;
        for (kind, ms) in spent {
            *work.entry(*kind).or_default() += *ms as f64 / unit_ms;
        }
    }
    let all: f64 = work.values().sum();
    work.into_iter().map(|(kind, work)| (kind, work / all)).collect()
}

#[test]
#[ignore = "prints figures for docs/measurements.md"]
fn efficiency_gradients_equal() {
    print(Rounds::Gradients, Crowd::Equal);
}

#[test]
#[ignore = "prints figures for docs/measurements.md"]
fn efficiency_gradients_log_normal() {
    print(Rounds::Gradients, Crowd::LogNormal);
}

#[test]
#[ignore = "prints figures for docs/measurements.md"]
fn efficiency_gradients_leaving() {
    print(Rounds::Gradients, Crowd::Leaving);
}

#[test]
#[ignore = "prints figures for docs/measurements.md"]
fn efficiency_replicas_equal() {
    print(Rounds::Replicas, Crowd::Equal);
}

#[test]
#[ignore = "prints figures for docs/measurements.md"]
fn efficiency_replicas_log_normal() {
    print(Rounds::Replicas, Crowd::LogNormal);
}

#[test]
#[ignore = "prints figures for docs/measurements.md"]
fn efficiency_replicas_leaving() {
    print(Rounds::Replicas, Crowd::Leaving);
}
