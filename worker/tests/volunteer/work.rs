//! Results equal a direct evaluation, however the work is cut and whoever is first.

use protocol::message::{FromVolunteer, Unfit};
use protocol::plan::Work;
use worker::{HubInput, HubPhase};

use crate::support::{Heard, Volunteer, World, order, result, settings};

#[test]
fn a_session_begins_with_hello_and_ready() {
    let world = World::new();
    let mut volunteer = Volunteer::new(&world, settings(3));
    assert_eq!(volunteer.connects, 1);
    volunteer.tell(HubInput::Connected);
    let heard = volunteer.heard();
    let [Heard::Message(FromVolunteer::Hello(hello))] = heard.as_slice() else { panic!("{heard:?}") };
    assert_eq!((hello.cores, hello.known_answer), (3, [1; 32]));
    assert!(volunteer.computes.is_empty(), "nothing is started for a coordinator that may refuse");
    volunteer.frame(&world.welcome_frame());
    let heard = volunteer.heard();
    let [Heard::Message(FromVolunteer::Ready(ready))] = heard.as_slice() else { panic!("{heard:?}") };
    assert!(ready.training_shards.is_empty());
    assert_eq!(volunteer.computes.len(), 3);
    assert_eq!(volunteer.hub.status().phase, HubPhase::Waiting);
}

#[test]
fn any_number_of_compute_workers_in_any_order_gives_the_same_result() {
    let world = World::new();
    let round = world.gradient_round(1);
    let units = [0..11, 13..round.part(0).end];
    let expected = world.expected(&round, &units);
    for (cores, seed) in [(1, 1), (2, 2), (2, 3), (5, 4), (5, 5), (40, 6)] {
        let mut volunteer = Volunteer::welcomed(&world, cores);
        volunteer.frame(&round.frame());
        volunteer.frame(&round.assign(8, &units));
        volunteer.settle(&world, order(seed));
        let heard = volunteer.heard();
        assert_eq!(heard.len(), 1, "{heard:?}");
        result(&round, 8, &expected, &heard[0]);
        let status = volunteer.hub.status();
        assert_eq!((status.assignments_done, status.units_done), (1, u64::from(expected_units(&units))));
        assert_eq!(status.phase, HubPhase::Waiting);
    }
}

#[test]
fn an_evaluation_counts_losses_and_correct_predictions() {
    let world = World::new();
    let round = world.gradient_round(1);
    let units = [round.part(1)];
    let expected = world.expected(&round, &units);
    assert!(expected.correct > 0 && expected.vector.is_none());
    let mut volunteer = Volunteer::welcomed(&world, 2);
    volunteer.frame(&round.frame());
    volunteer.frame(&round.assign(1, &units));
    volunteer.settle(&world, order(1));
    result(&round, 1, &expected, &volunteer.heard()[0]);
    assert_eq!(volunteer.hub.status().examples_done, 31);
}

#[test]
fn losses_along_a_direction_are_those_of_the_trial_points() {
    let world = World::new();
    let round = world.losses_round(4, &[0.5, -0.25, 1e30]);
    let units = [round.part(0)];
    let expected = world.expected(&round, &units);
    // Far out, the loss leaves the fixed point, which spoils only that step length.
    assert_eq!(expected.unfit_steps, 0b100);
    // The first step's losses equal an evaluation at that point.
    let mut there = world.losses_round(4, &[]);
    there.plan.parts[0].work = Work::Evaluation;
    let point =
        round.vectors[0].iter().zip(&round.vectors[1]).map(|(base, direction)| base + 0.5 * direction);
    there.vectors = vec![point.collect()];
    assert_eq!(world.expected(&there, &units).losses[0], expected.losses[0]);
    let mut volunteer = Volunteer::welcomed(&world, 3);
    volunteer.frame(&round.frame());
    volunteer.frame(&round.assign(1, &units));
    volunteer.settle(&world, order(9));
    result(&round, 1, &expected, &volunteer.heard()[0]);
}

#[test]
fn jobs_shrink_towards_the_end_and_shards_are_downloaded_once() {
    let world = World::new();
    let round = world.gradient_round(1);
    let mut volunteer = Volunteer::welcomed(&world, 2);
    let warm_up = [round.part(0)];
    volunteer.frame(&round.frame());
    volunteer.frame(&round.assign(1, &warm_up));
    volunteer.settle(&world, order(1));
    volunteer.jobs.clear();
    volunteer.frame(&round.assign(2, &warm_up));
    assert!(volunteer.downloads.is_empty());
    volunteer.settle(&world, order(2));
    assert_eq!(volunteer.jobs[0], 8, "a quarter of 29 units, rounded up");
    assert!(volunteer.jobs.is_sorted_by(|a, b| a >= b), "{:?}", volunteer.jobs);
    assert_eq!(volunteer.jobs.last(), Some(&1));
    assert_eq!(volunteer.heard().len(), 2);
}

#[test]
fn the_next_assignment_begins_before_the_last_has_ended() {
    let world = World::new();
    let round = world.gradient_round(1);
    let mut volunteer = Volunteer::welcomed(&world, 2);
    volunteer.frame(&round.frame());
    volunteer.frame(&round.assign(1, &[0..1]));
    volunteer.frame(&round.assign(2, &[1..3]));
    volunteer.download(&world);
    assert_eq!(volunteer.hub.status().busy, 2);
    volunteer.settle(&world, order(3));
    let heard = volunteer.heard();
    assert_eq!(heard.len(), 2);
    for heard in heard {
        let Heard::Result(header, _) = &heard else { panic!("{heard:?}") };
        let units = if header.assignment == 1 { 0..1 } else { 1..3 };
        result(&round, header.assignment, &world.expected(&round, &[units]), &heard);
    }
}

#[test]
fn a_unit_that_does_not_fit_ends_its_assignment() {
    let world = World::new();
    let mut round = world.gradient_round(1);
    round.plan.scales.vector_exponent = 60;
    let mut volunteer = Volunteer::welcomed(&world, 2);
    volunteer.frame(&round.frame());
    volunteer.frame(&round.assign(5, &[0..4]));
    volunteer.settle(&world, || 0);
    let heard = volunteer.heard();
    let [Heard::Message(FromVolunteer::Unfit(Unfit { assignment: 5, round: 1, unit }))] = heard.as_slice()
    else {
        panic!("{heard:?}")
    };
    assert!((0..4).contains(unit));
    // The same weights at a finer scale: the hub must not be affected.
    round.plan.scales.vector_exponent = 24;
    round.plan.round = 2;
    volunteer.frame(&round.frame());
    volunteer.frame(&round.assign(6, &[0..4]));
    volunteer.settle(&world, || 0);
    result(&round, 6, &world.expected(&round, &[0..4]), &volunteer.heard()[0]);
}

#[test]
fn weights_that_are_not_numbers_are_unfit_too() {
    let world = World::new();
    let mut round = world.gradient_round(1);
    round.vectors[0][3] = f32::NAN;
    let mut volunteer = Volunteer::welcomed(&world, 1);
    volunteer.frame(&round.frame());
    volunteer.frame(&round.assign(5, &[2..3]));
    volunteer.frame(&round.assign(6, &[round.part(1)]));
    volunteer.settle(&world, || 0);
    let unit = |assignment, unit| Heard::Message(FromVolunteer::Unfit(Unfit { assignment, round: 1, unit }));
    assert_eq!(volunteer.heard(), [unit(5, 2), unit(6, round.part(1).start)]);
}

fn expected_units(units: &[std::ops::Range<u32>]) -> u32 {
    units.iter().map(|range| range.len() as u32).sum()
}
