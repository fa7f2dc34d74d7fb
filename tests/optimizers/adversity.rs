//! Non-finite numbers, functions without a minimum, and answers that do not match the request.

use engine::optimizers::{Ask, BACKTRACKS, Halt, Lbfgs, LbfgsSettings, Scalar, Tell, TellError};
use model::trial_point;

use crate::problems::{Problem, answer, quadratic, rosenbrock_pairs, rosenbrock_start, run};

/// More answers than any of these problems needs.
const LIMIT: usize = 5000;

fn lbfgs(start: &[f64]) -> Lbfgs<f64> {
    Lbfgs::new(start, LbfgsSettings { memory: 10, gradient_tolerance: Some(1e-8) })
}

#[test]
fn a_start_that_is_not_finite_stops_with_words() {
    for (loss, slope) in [(f64::NAN, 1.0), (f64::INFINITY, 1.0), (1.0, f64::NAN), (1.0, f64::INFINITY)] {
        let mut optimizer = lbfgs(&[1.0, 2.0]);
        let gradient = [1.0, slope].into();
        optimizer.tell(Tell::Gradient { loss, gradient }).expect("the answer matches the request");
        let Ask::Stopped(reason) = optimizer.ask() else { panic!("did not stop") };
        assert!(matches!(reason, Halt::NonFiniteStart { .. }));
        assert!(reason.to_string().contains("start point"));
    }
}

#[test]
fn a_gradient_of_zero_is_converged() {
    let outcome = run(&quadratic(2.0), &mut lbfgs(&[1.0; 5]), LIMIT);
    assert_eq!(outcome.stopped, Some(Halt::Converged { gradient_norm: 0.0 }));
    assert_eq!(outcome.evaluations, 1);
}

#[test]
fn nothing_to_optimize_is_converged() {
    let outcome = run(&|_| (0.0, Vec::new()), &mut lbfgs(&[]), LIMIT);
    assert!(matches!(outcome.stopped, Some(Halt::Converged { .. })));
}

#[test]
fn a_trial_point_outside_the_domain_is_only_too_far() {
    // x - ln x for x > 0, and NaN elsewhere. Far from the minimum at 1, the curvature 1/x^2 is so small that
    // quasi-Newton steps overshoot into the forbidden half.
    let mut nans = std::cell::Cell::new(0);
    let barrier = |x: &[f64]| {
        nans.set(nans.get() + usize::from(x[0] <= 0.0));
        (x[0] - x[0].ln(), vec![if x[0] > 0.0 { 1.0 - 1.0 / x[0] } else { f64::NAN }])
    };
    let mut optimizer = lbfgs(&[10.0]);
    let outcome = run(&barrier, &mut optimizer, LIMIT);
    assert!(matches!(outcome.stopped, Some(Halt::Converged { .. })), "{outcome:?}");
    assert!((optimizer.weights()[0] - 1.0).abs() < 1e-6);
    assert!(*nans.get_mut() > 0, "the forbidden half was never met");
}

#[test]
fn not_a_number_at_any_one_point_is_survived() {
    for bad in 1..30 {
        let calls = std::cell::Cell::new(0);
        let sometimes = |x: &[f64]| {
            calls.set(calls.get() + 1);
            let (loss, gradient) = rosenbrock_pairs(x);
            (if calls.get() == bad + 1 { f64::NAN } else { loss }, gradient)
        };
        let outcome = run(&sometimes, &mut lbfgs(&rosenbrock_start(10)), LIMIT);
        assert!(matches!(outcome.stopped, Some(Halt::Converged { .. })), "{bad}: {outcome:?}");
        assert!(outcome.loss < 1e-12);
    }
}

#[test]
fn a_good_loss_with_a_bad_gradient_is_not_accepted() {
    // Without the gradient there is no next direction, however low the loss.
    let problem = |x: &[f64]| (x[0], vec![if x[0] < 0.9 { f64::NAN } else { 1.0 }]);
    let mut optimizer = lbfgs(&[1.0]);
    let outcome = run(&problem, &mut optimizer, LIMIT);
    assert!(outcome.stopped.is_some());
    assert!(optimizer.weights()[0] >= 0.9 && outcome.loss >= 0.9);
}

#[test]
fn losses_that_never_fall_stop_after_two_failed_searches() {
    let up = std::cell::Cell::new(0.0);
    let uphill = |x: &[f64]| {
        up.set(up.get() + 1.0);
        (up.get(), x.to_vec())
    };
    let outcome = run(&uphill, &mut lbfgs(&[1.0, 2.0]), LIMIT);
    assert!(matches!(outcome.stopped, Some(Halt::NoProgress { .. })));
    // The start, then a gradient and a scalars-only round, twice.
    assert_eq!((outcome.evaluations, outcome.loss), (5, 1.0));
}

#[test]
fn a_minimum_much_nearer_than_the_first_step_is_found() {
    // The first step has length 1, 10,000 times the distance to the minimum; the second line search continues
    // where the first one ended.
    let steep = |x: &[f64]| (5e5 * x[0] * x[0], vec![1e6 * x[0]]);
    let mut optimizer = lbfgs(&[1e-4]);
    let outcome = run(&steep, &mut optimizer, LIMIT);
    assert!(matches!(outcome.stopped, Some(Halt::Converged { .. })), "{outcome:?}");
}

#[test]
fn a_loss_without_a_minimum_does_not_go_on_for_ever() {
    let linear = |x: &[f64]| (x[0] - 2.0 * x[1], vec![1.0, -2.0]);
    let hill = |x: &[f64]| (-x[0] * x[0] - x[1], vec![-2.0 * x[0], -1.0]);
    assert_ends::<f32>(&linear);
    assert_ends::<f64>(&linear);
    assert_ends::<f32>(&hill);
    assert_ends::<f64>(&hill);
}

fn assert_ends<T: Scalar>(problem: Problem) {
    let mut optimizer = Lbfgs::new([T::from_f64(1.0), T::from_f64(1.0)], LbfgsSettings::default());
    let outcome = run(problem, &mut optimizer, LIMIT);
    assert!(matches!(outcome.stopped, Some(Halt::NoProgress { .. })), "{:?}", outcome.stopped);
    assert!(outcome.loss.is_finite() && outcome.loss < -1e30);
    assert!(optimizer.weights().iter().all(|weight| weight.to_f64().is_finite()));
}

#[test]
fn a_loss_that_does_not_change_does_not_go_on_for_ever() {
    // The loss is so coarse that the expected decrease is lost in its rounding.
    let coarse = |x: &[f64]| (1e30 + x[0], vec![1.0]);
    let outcome = run(&coarse, &mut Lbfgs::new([0.0], LbfgsSettings::default()), LIMIT);
    assert!(matches!(outcome.stopped, Some(Halt::Flat { .. })), "{:?}", outcome.stopped);
}

#[test]
fn training_precision_ends_at_the_precision_of_the_weights() {
    let start: Vec<f32> = rosenbrock_start(20).iter().map(|&x| x as f32).collect();
    let mut optimizer = Lbfgs::new(start, LbfgsSettings::default());
    let outcome = run(&rosenbrock_pairs, &mut optimizer, LIMIT);
    assert!(outcome.stopped.is_some());
    assert!(outcome.loss < 1e-9, "{}", outcome.loss);
}

#[test]
fn an_answer_to_another_question_is_an_error_and_changes_nothing() {
    let mut optimizer = lbfgs(&rosenbrock_start(6));
    let mut shortened = 0;
    while let Some(right) = answer(&rosenbrock_pairs, optimizer.ask()) {
        let losses = |count| Tell::Losses(vec![0.0; count]);
        let gradient = |count| Tell::Gradient { loss: 0.0, gradient: vec![1.0; count].into() };
        let (wrong_kind, wrong_lengths) = match &right {
            Tell::Gradient { .. } => (losses(BACKTRACKS), [gradient(0), gradient(5), gradient(7)]),
            _ => {
                shortened += 1;
                (gradient(6), [losses(0), losses(BACKTRACKS - 1), losses(BACKTRACKS + 1)])
            }
        };
        let before = postcard::to_stdvec(&optimizer).expect("serializes");
        assert!(matches!(optimizer.tell(wrong_kind), Err(TellError::WrongKind { .. })));
        for wrong in wrong_lengths {
            assert!(matches!(optimizer.tell(wrong), Err(TellError::WrongLength { .. })));
        }
        assert_eq!(postcard::to_stdvec(&optimizer).expect("serializes"), before);
        optimizer.tell(right).expect("the answer matches the request");
    }
    assert!(shortened > 0, "no line search was met");
    let last = Tell::Gradient { loss: 0.0, gradient: vec![1.0; 6].into() };
    assert!(matches!(optimizer.tell(last), Err(TellError::Stopped)));
}

#[test]
fn the_lowest_of_the_passing_losses_is_chosen() {
    let mut optimizer = Lbfgs::new([4.0f32, 0.0], LbfgsSettings::default());
    let gradient = |loss, slope: f32| Tell::Gradient { loss, gradient: [slope, 0.0].into() };
    optimizer.tell(gradient(1.0, 2.0)).expect("the start");
    optimizer.tell(gradient(5.0, 2.0)).expect("a trial point that is too high");
    let Ask::Losses { base, direction, steps, .. } = optimizer.ask() else { panic!("no line search") };
    // The first step was 1 / ||g|| = 1/2.
    assert_eq!(steps, [0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625, 0.001953125]);
    assert_eq!((&base[..], &direction[..]), (&[4.0, 0.0][..], &[-2.0, -0.0][..]));
    // Only values that are not losses are lower than the best step that passes.
    let losses = vec![f64::NAN, f64::NEG_INFINITY, 0.9, 0.7, 0.7, 0.8, 2.0, f64::INFINITY];
    optimizer.tell(Tell::Losses(losses)).expect("one loss a step");
    let Ask::Gradient { point, .. } = optimizer.ask() else { panic!("no trial point") };
    assert_eq!(point, trial_point(&base, &direction, steps[3]).collect());
    let accepted = optimizer.tell(gradient(0.7, 1.0)).expect("the best point").accepted.expect("it passes");
    assert_eq!((accepted.iteration, accepted.step, accepted.backtracked), (1, 0.03125, true));
    assert_eq!(optimizer.loss(), Some(0.7));
}
