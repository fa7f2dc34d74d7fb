//! What the engine itself costs with thousands of volunteers, most of whom have nothing to do.

#[expect(clippy::disallowed_types, reason = "the cost is printed, and nothing depends on it")]
use std::time::Instant;

use engine::decoder::Message;
use engine::{Audit, Engine, Identity, Input, LocalHelp, OnLie, Secret, Settings};

use crate::problem::{Problem, ProblemPlan, RUN, SEED};
use crate::reference::Limits;

const INPUTS: u64 = 20_000;

/// Microseconds that an input costs with so many volunteers that have nothing to do and three that work: a change of
/// cores of one that pauses. With `many_floors` the floor says at each input what units it has room for, as a gateway's
/// does.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this measures time")]
fn cost_us(paused: u64, many_floors: bool) -> f64 {
    let problem = Problem::new(&ProblemPlan::plain(64));
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
        audit: Audit::Sample(0.03),
        on_lie: OnLie::Rewind,
    };
    let mut engine = Engine::new(settings, problem.start(), &Secret::new([1; 32]));
    if many_floors {
        engine = engine.for_many_floors();
    }
    let mut handle = |now_ms, input| {
        engine.handle(now_ms, input);
        while engine.poll_output().is_some() {}
    };
    for session in 0..paused + 3 {
        let cores = u16::from(session >= paused);
        let identity = Identity { token: session.into(), address: session.into() };
        handle(0, Input::Joined { session, cores, local: false, identity, training_shards: Vec::new() });
    }
    handle(1, Input::Begin);
    handle(2, Input::Measured { round: 1, measure: engine::Measure::fitting() });
    let began = Instant::now();
    for number in 0..INPUTS {
        handle(3, Input::Message { session: number % paused.max(1), message: Message::Cores(0) });
    }
    began.elapsed().as_secs_f64() * 1e6 / INPUTS as f64
}

#[test]
#[ignore = "prints figures for docs/measurements.md"]
#[expect(clippy::print_stdout, reason = "figures for a person")]
fn cost_of_an_input_with_many_who_pause() {
    for paused in [10, 100, 1_000, 5_000, 10_000] {
        println!("| {paused} | {:.2} us | {:.2} us |", cost_us(paused, false), cost_us(paused, true));
    }
}
