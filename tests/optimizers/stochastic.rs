//! Methods that take gradients on parts of the examples: the first steps of SGD, momentum, Adam and AdamW,
//! computed by hand, and their convergence; L-BFGS on samples.

use engine::optimizers::{
    Ask, Batch, Halt, Lbfgs, LbfgsSettings, Optimizer, Rule, Sample, Schedule, Segment, Stochastic,
    StochasticSettings, Tell,
};

use crate::toy::{EXAMPLES, UNIT, least_loss, run, start};

const ALL_UNITS: u32 = (EXAMPLES / UNIT) as u32;

fn stochastic(start: Vec<f32>, rule: Rule, learning_rate: f32) -> Optimizer {
    of_units(3, start, rule, learning_rate)
}

fn of_units(units: u32, start: Vec<f32>, rule: Rule, learning_rate: f32) -> Optimizer {
    let (schedule, all_units) = (Schedule::Constant, ALL_UNITS);
    let settings = StochasticSettings { rule, learning_rate, may_lower: false, schedule, units, all_units };
    Optimizer::Stochastic(Stochastic::new(start, settings))
}

/// The point after each of some gradients, for a single weight that begins at 1, with a learning rate of 0.1.
fn points(rule: Rule, gradients: &[f32]) -> Vec<f32> {
    let mut optimizer = stochastic(vec![1.0], rule, 0.1);
    let point_after = |gradient: &f32| {
        let answer = Tell::Segments(vec![(1.0, [*gradient].into())]);
        optimizer.tell(answer).unwrap();
        let Ask::Gradient { point, .. } = optimizer.ask() else { panic!("it stopped") };
        point[0]
    };
    gradients.iter().map(point_after).collect()
}

fn assert_close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} is not {expected}");
    }
}

#[test]
fn steps_are_those_of_the_definitions() {
    assert_close(&points(Rule::Sgd, &[2.0, -1.0]), &[1.0 - 0.2, 0.8 + 0.1]);
    // v = 2, then 0.9 * 2 - 1 = 0.8.
    let momentum = [1.0 - 0.1 * (2.0 + 0.9 * 2.0), 0.62 - 0.1 * (-1.0 + 0.9 * 0.8)];
    assert_close(&points(Rule::Momentum, &[2.0, -1.0]), &momentum);
    // Bias-corrected means: first 2 and 4; then (0.9 * 0.2 - 0.1) / 0.19 and (0.999 * 0.004 + 0.001) /
    // 0.001999.
    let (mean, square): (f64, f64) = (0.08 / 0.19, 0.004_996 / 0.001_999);
    let adam = [1.0 - 0.1, 0.9 - 0.1 * mean / square.sqrt()];
    assert_close(&points(Rule::Adam, &[2.0, -1.0]), &adam);
    let decayed = 1.0 - 0.1 * 0.5 - 0.1;
    let adam_w = [decayed, decayed - 0.1 * 0.5 * decayed - 0.1 * mean / square.sqrt()];
    assert_close(&points(Rule::AdamW { weight_decay: 0.5 }, &[2.0, -1.0]), &adam_w);
}

#[test]
fn every_rule_goes_down_on_batches_that_follow_one_another() {
    for (rule, rate) in [(Rule::Sgd, 0.5), (Rule::Momentum, 0.1), (Rule::Adam, 0.1)] {
        let mut optimizer = stochastic(start(), rule, rate);
        let course = run(&mut optimizer, 300);
        assert!(course.loss < least_loss() + 0.02, "{rule:?}: {}", course.loss);
        for (round, ask) in course.asked.iter().enumerate() {
            let Ask::Gradient { batch, mask_epoch, .. } = ask else { panic!("{ask:?}") };
            let round = round as u64;
            assert_eq!(*batch, Batch::Segments(vec![Segment { first: 3 * round, units: 3 }]));
            assert_eq!(*mask_epoch, round);
        }
    }
}

#[test]
fn a_learning_rate_far_too_high_ends_with_a_reason_and_finite_weights() {
    let mut optimizer = stochastic(start(), Rule::Sgd, 1e6);
    let course = run(&mut optimizer, 500);
    let reason = course.stopped.expect("it never stops");
    assert!(reason.contains("learning rate"), "{reason}");
    assert!(optimizer.weights().iter().all(|weight| weight.is_finite()));
}

#[test]
fn only_a_gradient_over_all_examples_can_say_that_there_is_nothing_left_to_learn() {
    let flat = || Tell::Segments(vec![(1.0, [0.0].into())]);
    for rule in [Rule::Sgd, Rule::Momentum, Rule::Adam, Rule::AdamW { weight_decay: 0.0 }] {
        let mut on_a_sample = of_units(ALL_UNITS - 1, vec![1.0], rule, 0.1);
        on_a_sample.tell(flat()).unwrap();
        let Ask::Gradient { point, .. } = on_a_sample.ask() else { panic!("{rule:?} gave up") };
        assert_eq!(*point, [1.0], "{rule:?}");
        let progress = on_a_sample.tell(Tell::Segments(vec![(1.0, [2.0].into())])).unwrap();
        assert!(progress.accepted.is_some(), "{rule:?}");
        let Ask::Gradient { point, .. } = on_a_sample.ask() else { panic!("{rule:?} gave up") };
        assert!(point[0] < 1.0, "{rule:?} stays where it is");

        let mut on_all = of_units(ALL_UNITS, vec![1.0], rule, 0.1);
        on_all.tell(flat()).unwrap();
        assert!(matches!(on_all.ask(), Ask::Stopped(Halt::Converged { .. })), "{rule:?}");
    }
}

/// Four units per sample, one of them shared with the next sample.
fn sampled() -> Optimizer {
    let sample = Sample { units: 4, overlap: 1 };
    Optimizer::Lbfgs(Lbfgs::sampled(start(), LbfgsSettings::default(), sample))
}

#[test]
fn samples_overlap_and_losses_are_those_of_the_same_sample() {
    let mut optimizer = sampled();
    let course = run(&mut optimizer, 40);
    assert!(course.loss < least_loss() + 0.05, "{}", course.loss);
    let sample = |iteration: u64| {
        let first = 3 * iteration;
        let segment = |first, units| Segment { first, units };
        Batch::Segments(vec![segment(first, 1), segment(first + 1, 2), segment(first + 3, 1)])
    };
    let (mut iteration, mut searches) = (0, 0);
    for pair in course.asked.windows(2) {
        match &pair[1] {
            Ask::Gradient { batch, .. } => {
                // The first trial point after an accepted point uses the next sample.
                let is_next = *batch == sample(iteration + 2);
                iteration += u64::from(is_next);
                assert_eq!(*batch, sample(iteration + 1));
            }
            Ask::Losses { batch, .. } => {
                searches += 1;
                assert_eq!(*batch, sample(iteration));
            }
            ask => panic!("{ask:?}"),
        }
    }
    assert!(iteration > 15, "{iteration} iterations, {searches} line searches");
}

#[test]
fn curvature_comes_from_the_same_examples_at_both_ends_of_a_step() {
    // Every segment is a parabola of curvature 4 around its own center, so only differences on the same
    // segment reveal the curvature; with it, the second step ends at the minimum of the current sample.
    let mut optimizer = Optimizer::Lbfgs(Lbfgs::sampled(
        vec![0.0f32],
        LbfgsSettings::default(),
        Sample { units: 4, overlap: 1 },
    ));
    let center = |first: u64| 1.0 + (first % 5) as f32;
    let answer = |optimizer: &mut Optimizer| {
        let Ask::Gradient { point, batch: Batch::Segments(segments), .. } = optimizer.ask() else { panic!() };
        let miss = |segment: &Segment| point[0] - center(segment.first);
        let parts = segments.iter().map(|s| (f64::from(2.0 * miss(s) * miss(s)), [4.0 * miss(s)].into()));
        optimizer.tell(Tell::Segments(parts.collect())).unwrap();
        let units = |s: &Segment| s.units as f32;
        segments.iter().map(|s| units(s) * center(s.first)).sum::<f32>()
            / segments.iter().map(units).sum::<f32>()
    };
    answer(&mut optimizer);
    let best = answer(&mut optimizer);
    let Ask::Gradient { point, .. } = optimizer.ask() else { panic!("the first step was rejected") };
    assert!((point[0] - best).abs() < 1e-5, "{} is not {best}", point[0]);
}

#[test]
fn a_schedule_shortens_the_steps() {
    let settings = StochasticSettings {
        rule: Rule::Sgd,
        learning_rate: 1.0,
        may_lower: false,
        schedule: Schedule::Linear { iterations: 10 },
        units: 1,
        all_units: ALL_UNITS,
    };
    let mut optimizer = Optimizer::Stochastic(Stochastic::new(vec![0.0], settings));
    let mut last = 0.0;
    for iteration in 0..12 {
        optimizer.tell(Tell::Segments(vec![(1.0, [1.0].into())])).unwrap();
        let Ask::Gradient { point, .. } = optimizer.ask() else { panic!("it stopped") };
        let step = last - point[0];
        let expected = (1.0 - 0.098 * iteration as f32).max(0.02);
        assert!((step - expected).abs() < 1e-5, "iteration {iteration}: {step}");
        last = point[0];
    }
}

/// Half of `curvature` times the square of the only weight: with a rate above 2 / curvature, the loss rises,
/// ever faster.
fn descend(rule: Rule, may_lower: bool, curvature: f32, rounds: usize) -> (Optimizer, Vec<String>) {
    let (schedule, units, all_units) = (Schedule::Constant, 1, ALL_UNITS);
    let settings = StochasticSettings { rule, learning_rate: 0.1, may_lower, schedule, units, all_units };
    let mut optimizer = Optimizer::Stochastic(Stochastic::new(vec![1.0], settings));
    let mut notes = Vec::new();
    for _ in 0..rounds {
        let Ask::Gradient { point, .. } = optimizer.ask() else { break };
        let loss = f64::from(0.5 * curvature * point[0] * point[0]);
        let answer = Tell::Segments(vec![(loss, [curvature * point[0]].into())]);
        notes.extend(optimizer.tell(answer).unwrap().note);
    }
    (optimizer, notes)
}

#[test]
fn a_given_learning_rate_that_is_too_high_is_named_and_the_last_good_weights_are_kept() {
    for rule in [Rule::Sgd, Rule::Momentum] {
        let (optimizer, _) = descend(rule, false, 100.0, 1000);
        let Ask::Stopped(reason) = optimizer.ask() else { panic!("it never stops") };
        assert!(matches!(reason, Halt::Diverged { .. }), "{reason}");
        assert!(reason.to_string().contains("learning rate of 1.000e-1"), "{reason}");
        assert!(optimizer.weights()[0].abs() <= 1.03, "{:?}: {}", rule, optimizer.weights()[0]);
    }
}

#[test]
fn a_learning_rate_that_nobody_gave_is_lowered_until_it_suits() {
    for rule in [Rule::Sgd, Rule::Momentum] {
        let (optimizer, notes) = descend(rule, true, 1000.0, 2000);
        assert!(!notes.is_empty() && notes.iter().all(|note| note.contains("learning rate")), "{notes:?}");
        assert!(matches!(optimizer.ask(), Ask::Gradient { .. }));
        assert!(optimizer.weights()[0].abs() < 1e-3, "{:?}: {}", rule, optimizer.weights()[0]);
    }
    // Nothing helps if the loss has no lower point at all; the search ends.
    let (optimizer, notes) = descend(Rule::Sgd, true, 1e9, 2000);
    assert!(matches!(optimizer.ask(), Ask::Stopped(Halt::Diverged { .. })));
    assert_eq!(notes.len(), 6);
}
