//! What the engine itself costs with thousands of volunteers, most of whom have nothing to do.

#[expect(clippy::disallowed_types, reason = "the cost is printed, and nothing depends on it")]
use std::time::Instant;

use engine::aggregator::Sums;
use engine::decoder::Message;
use engine::ledger::Partial;
use engine::{
    Audit, Claim, Engine, FromFloor, Identity, Input, LocalHelp, OnLie, Output, Secret, Settings, ToFloor,
};

use crate::problem::{Problem, ProblemPlan, RUN, SEED};
use crate::reference::Limits;

const INPUTS: u64 = 20_000;

/// An engine for a small training, and its problem.
pub(crate) fn engine(plan: &ProblemPlan, audit: Audit) -> (Engine, Problem) {
    let problem = Problem::new(plan);
    let Limits { stop, evaluate_every, evaluate_training, examines } = Limits::iterations(1);
    let settings = Settings {
        run: RUN,
        network: problem.network.clone(),
        sets: problem.sets.clone(),
        seed: SEED,
        minibatch: problem.minibatch,
        stop,
        evaluate_every,
        evaluate_training,
        examines,
        local_help: LocalHelp::Never,
        audit,
        on_lie: OnLie::Rewind,
    };
    (Engine::new(settings, problem.start(), &Secret::new([1; 32])), problem)
}

/// What the engine wants after an input.
pub(crate) fn handle(engine: &mut Engine, now_ms: u64, input: Input) -> Vec<Output> {
    engine.handle(now_ms, input);
    std::iter::from_fn(|| engine.poll_output()).collect()
}

fn joined(session: u64, cores: u16) -> Input {
    let identity = Identity { token: session.into(), address: session.into() };
    Input::Joined { session, cores, local: false, identity, training_shards: Vec::new() }
}

/// Microseconds that an input costs with so many volunteers that have nothing to do and three that work: a change of
/// cores of one that pauses. With `many_floors` the floor says at each input what units it has room for, as a gateway's
/// does.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this measures time")]
fn cost_us(paused: u64, many_floors: bool) -> f64 {
    let (mut engine, _) = engine(&ProblemPlan::plain(64), Audit::Sample(0.03));
    if many_floors {
        engine = engine.for_many_floors();
    }
    for session in 0..paused + 3 {
        handle(&mut engine, 0, joined(session, u16::from(session >= paused)));
    }
    handle(&mut engine, 1, Input::Begin);
    handle(&mut engine, 2, Input::Measured { round: 1, unit: 0, measure: engine::Measure::fitting() });
    let began = Instant::now();
    for number in 0..INPUTS {
        let message = Message::Cores(0);
        handle(&mut engine, 3, Input::Message { session: number % paused.max(1), message });
    }
    began.elapsed().as_secs_f64() * 1e6 / INPUTS as f64
}

/// Strangers have their part of the round, and the rest is free: nobody can be given any of it now.
#[test]
fn an_input_does_not_make_the_engine_look_at_all_strangers() {
    let (mut engine, _) = engine(&ProblemPlan::plain(64), Audit::Sample(0.03));
    (0..2_000).for_each(|session| drop(handle(&mut engine, 0, joined(session, 1))));
    handle(&mut engine, 1, Input::Begin);
    handle(&mut engine, 2, Input::Measured { round: 1, unit: 0, measure: engine::Measure::fitting() });
    let before = engine.effort().volunteers;
    (0..100).for_each(|_| drop(handle(&mut engine, 3, Input::Tick)));
    let looked_at = engine.effort().volunteers - before;
    assert!(looked_at <= 2 * 100, "{looked_at} looks");
}

/// Gateways are asked to confirm what they handed in. Until one has, nothing can come of adding it all up again.
#[test]
fn a_round_that_waits_to_be_confirmed_is_not_added_up_with_each_input() {
    let (engine, problem) = engine(&ProblemPlan::plain(64), Audit::Sample(0.03));
    let mut engine = engine.for_many_floors();
    handle(&mut engine, 1, Input::Begin);
    let told =
        handle(&mut engine, 2, Input::Measured { round: 1, unit: 0, measure: engine::Measure::fitting() });
    let plan = told.into_iter().find_map(|output| match output {
        Output::OpenRound { plan, .. } => Some(plan),
        _ => None,
    });
    let plan = plan.expect("a round is opened");
    let says = |message| Input::Floor { owner: 7, round: plan.round, message };
    let claim = Claim { cores: 4, speed: 1.0, undone: 0, least: plan.units() };
    handle(&mut engine, 3, says(FromFloor::Asks(claim)));
    // Zeros must be confirmed, whatever they mean.
    let sums = Sums::new(&plan, problem.network.parameters());
    let leased: Vec<_> = engine.ledger().expect("it is open").leased_to(7).collect();
    assert_eq!(leased, [0..plan.units()]);
    let told = handle(&mut engine, 4, says(FromFloor::HandsIn(Partial { number: 1, units: leased, sums })));
    let confirms = |output: &Output| matches!(output, Output::Floor { message: ToFloor::Confirm { .. }, .. });
    assert!(told.iter().any(confirms), "{told:?}");
    let before = engine.effort().conclusions;
    (0..100).for_each(|number| drop(handle(&mut engine, 5 + number, Input::Tick)));
    assert_eq!(engine.effort().conclusions, before);
    let parts = (0..plan.parts.len()).collect();
    let told = handle(&mut engine, 200, says(FromFloor::Confirms { parts }));
    assert!(told.iter().any(|output| matches!(output, Output::Measure { .. })), "{told:?}");
    assert_eq!(engine.effort().conclusions, before + 1);
}

#[test]
#[ignore = "prints figures for docs/measurements.md"]
#[expect(clippy::print_stdout, reason = "figures for a person")]
fn cost_of_an_input_with_many_who_pause() {
    for paused in [10, 100, 1_000, 5_000, 10_000] {
        println!("| {paused} | {:.2} us | {:.2} us |", cost_us(paused, false), cost_us(paused, true));
    }
}
