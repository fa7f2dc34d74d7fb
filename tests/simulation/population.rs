//! Honest volunteers beside everybody who hinders them. All of these runs check the bits as well.

use engine::Audit;

use crate::problem::ProblemPlan;
use crate::random::Draw;
use crate::scenario::{Guest, Happening, Lie, LieKind, Manners, Scenario};
use crate::world::run;

/// Crowds that are drawn.
const CROWDS: u64 = 24;
/// Honest volunteers, who are there from the beginning to the end.
const HONEST: usize = 3;
/// Rounds may take so many times as long as without the others.
const TIMES_MAX: u64 = 3;

/// Somebody who hinders.
fn nuisance(draw: &mut Draw) -> Guest {
    let steady = Guest::steady(10);
    let lie = |kind, after| Some(Lie { kind, after, chance: 100, at_once: true });
    match draw.between(0, 9) {
        0 => Guest { lie: lie(draw.of(&LieKind::ALL), draw.of(&[0, 12])), ..steady },
        1 => Guest { manners: Manners { lies: 100, ..Manners::default() }, ..steady },
        2 => Guest { manners: Manners { mangles: 100, ..Manners::default() }, ..steady },
        3 => Guest { manners: Manners { declines: 100, ..Manners::default() }, ..steady },
        4 => Guest { manners: Manners { doubles: 100, echoes: 100, ..Manners::default() }, ..steady },
        5 => Guest::asleep_from(draw.between(0, 2_000), 10),
        6 => Guest { unit_ms: (2_000, 2_000), ..steady },
        7 => Guest { latency_ms: (1_000, 3_000), ..steady },
        8 => Guest { happenings: visits(draw.between(20, 200)), ..steady },
        _ => Guest { lie: lie(LieKind::Zeros, 1), happenings: visits(draw.between(50, 500)), ..steady },
    }
}

/// It comes and goes, for a minute.
fn visits(every_ms: u64) -> Vec<(u64, Happening)> {
    let moments = (0..60_000 / every_ms).map(|number| number * every_ms);
    moments.flat_map(|at_ms| [(at_ms, Happening::Leave(false)), (at_ms + 1, Happening::Arrive)]).collect()
}

#[test]
fn rounds_take_at_most_three_times_as_long_whoever_else_is_there() {
    let honest = || (0..HONEST).map(|_| Guest::steady(10)).collect::<Vec<Guest>>();
    let scenario = |guests: Vec<Guest>| {
        let apart = guests.into_iter().enumerate();
        let guests = apart.map(|(number, guest)| Guest { address: number as u128, ..guest }).collect();
        Scenario { audit: Audit::Sample(0.03), ..Scenario::calm(ProblemPlan::plain(60), guests) }
    };
    let alone_ms = run(&scenario(honest())).ended_ms;
    for seed in 0..CROWDS {
        let mut draw = Draw::new(seed, "population");
        let mut guests = honest();
        let hundreds = draw.percent(10);
        guests.extend((0..draw.between(2, 10)).map(|_| nuisance(&mut draw)));
        if hundreds {
            guests.extend((0..100).map(|_| Guest::asleep_from(draw.between(0, 500), 10)));
        }
        let report = run(&Scenario { seed, calm_ms: 120_000, crowded: true, ..scenario(guests) });
        assert!(
            report.ended_ms <= TIMES_MAX * alone_ms,
            "crowd {seed}: {} ms instead of {alone_ms}",
            report.ended_ms
        );
    }
}

/// Their cores are no reason to give those who deliver less.
#[test]
fn hundreds_who_never_answer_hold_nobody_up() {
    let honest = || (0..HONEST).map(|_| Guest::steady(10)).collect::<Vec<Guest>>();
    let scenario = |guests| Scenario {
        audit: Audit::Sample(0.03),
        crowded: true,
        ..Scenario::calm(ProblemPlan::plain(240), guests)
    };
    let alone_ms = run(&scenario(honest())).ended_ms;
    let mut guests = honest();
    guests.extend((0..300).map(|_| Guest::asleep_from(30, 10)));
    let ms = run(&Scenario { calm_ms: 120_000, ..scenario(guests) }).ended_ms;
    assert!(ms <= alone_ms * 3 / 2, "{ms} ms instead of {alone_ms}");
}
