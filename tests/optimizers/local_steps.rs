//! Rounds of local steps, and the outer steps from their mean displacement.

use engine::optimizers::{
    Ask, Auto, Averaged, AveragedSettings, Batch, LbfgsSettings, LearningRate, Optimizer, Outer, Schedule,
    Tell,
};

use crate::toy::{CURVATURES, least_loss, run, start};

const RATE: f32 = 0.2;

fn settings(learning_rate: LearningRate, outer: Outer) -> AveragedSettings {
    AveragedSettings { replicas: 6, steps: 20, learning_rate, schedule: Schedule::Constant, outer }
}

fn averaged(learning_rate: LearningRate, outer: Outer) -> Optimizer {
    Optimizer::Averaged(Averaged::new(start(), settings(learning_rate, outer)))
}

const LBFGS: Outer = Outer::Lbfgs { memory: 10 };

/// Rounds until the loss is within `excess` of the minimum.
fn rounds_to(mut optimizer: Optimizer, excess: f64) -> usize {
    let mut rounds = 0;
    while run(&mut optimizer, 1).loss > least_loss() + excess {
        rounds += 1;
        assert!(rounds < 400, "never came near the minimum");
    }
    rounds
}

#[test]
fn curvature_of_displacements_saves_most_of_the_rounds_of_plain_averaging() {
    let shaped = rounds_to(averaged(LearningRate::Given(RATE), LBFGS), 0.01);
    let momentum = rounds_to(averaged(LearningRate::Given(RATE), Outer::Momentum { momentum: 0.5 }), 0.01);
    let plain = rounds_to(averaged(LearningRate::Given(RATE), Outer::Momentum { momentum: 0.0 }), 0.01);
    assert!(2 * shaped < plain, "{shaped} rounds against {plain}");
    assert!(momentum < plain, "{momentum} rounds against {plain}");
}

#[test]
fn plain_averaging_moves_by_the_mean_displacement() {
    let mut optimizer = averaged(LearningRate::Given(RATE), Outer::Momentum { momentum: 0.0 });
    let displacement: Vec<f32> = (0..CURVATURES.len()).map(|index| 0.5 + index as f32).collect();
    optimizer.tell(Tell::Local { loss: 2.0, displacement: displacement.as_slice().into() }).unwrap();
    let Ask::Local { point, draw: 1, .. } = optimizer.ask() else { panic!("no second round") };
    let expected: Vec<f32> = start().iter().zip(&displacement).map(|(w, d)| w + d).collect();
    assert_eq!(*point, *expected);
}

#[test]
fn a_learning_rate_ten_times_too_high_is_survived() {
    // Above this rate, the steepest direction diverges.
    let limit = (2.0 / CURVATURES[CURVATURES.len() - 1]) as f32;
    let mut optimizer = averaged(LearningRate::Given(10.0 * limit), LBFGS);
    let course = run(&mut optimizer, 60);
    assert!(course.loss < least_loss() + 0.01, "{}", course.loss);
    assert!(course.notes.iter().any(|note| note.contains("learning rates below")), "{:?}", course.notes);
}

#[test]
fn a_learning_rate_ten_times_too_low_costs_a_few_rounds() {
    let good = rounds_to(averaged(LearningRate::Given(RATE), LBFGS), 0.01);
    let low = rounds_to(averaged(LearningRate::Given(0.1 * RATE), LBFGS), 0.01);
    assert!(low <= good + 5, "{low} rounds, and {good} with a good rate");

    let mut optimizer = averaged(LearningRate::Given(0.1 * RATE), LBFGS);
    let course = run(&mut optimizer, 20);
    assert!(course.notes[0].contains("rates above"), "{:?}", course.notes);
    // Nothing is discarded: the trials begin where the first step ended.
    let rates: Vec<f32> = course
        .asked
        .iter()
        .filter_map(|ask| match ask {
            Ask::Local { point, learning_rate, .. } if **point != *start() => Some(*learning_rate),
            _ => None,
        })
        .collect();
    assert!(rates[1] > 2.0 * rates[0] && *rates.last().unwrap() > 2.0 * rates[0], "{rates:?}");
}

#[test]
fn a_good_learning_rate_that_is_given_is_kept() {
    let course = run(&mut averaged(LearningRate::Given(RATE), LBFGS), 20);
    assert!(course.notes.is_empty(), "{:?}", course.notes);
    let is_given = |ask: &Ask<f32>| matches!(ask, Ask::Local { learning_rate: RATE, .. });
    assert!(course.asked.iter().all(is_given));
}

#[test]
fn a_lower_learning_rate_after_a_wild_one_starts_afresh() {
    let displacement = |size: f32| vec![size; CURVATURES.len()].into();
    let mut optimizer = averaged(LearningRate::Given(RATE), LBFGS);
    let wild = Tell::Local { loss: 1e9, displacement: displacement(100.0) };
    assert!(!optimizer.tell(wild).unwrap().starts_afresh);
    let wilder = Tell::Local { loss: 1e12, displacement: displacement(-1e3) };
    assert!(optimizer.tell(wilder).unwrap().starts_afresh);
}

#[test]
fn a_learning_rate_is_found_from_rounds_at_the_start_point() {
    let mut optimizer = averaged(LearningRate::Searched, LBFGS);
    let course = run(&mut optimizer, 40);
    let rates: Vec<f32> = course
        .asked
        .iter()
        .map_while(|ask| match ask {
            Ask::Local { point, learning_rate, .. } if **point == *start() => Some(*learning_rate),
            _ => None,
        })
        .collect();
    assert!((2..=6).contains(&rates.len()), "{rates:?}");
    assert!(course.notes[0].contains("found the learning rate"), "{:?}", course.notes);
    assert!(course.loss < least_loss() + 0.01, "{}", course.loss);
}

#[test]
fn each_round_has_a_draw_of_its_own() {
    let course = run(&mut averaged(LearningRate::Searched, LBFGS), 30);
    for (round, ask) in course.asked.iter().enumerate() {
        let Ask::Local { draw, replicas: 6, steps: 20, .. } = ask else { panic!("{ask:?}") };
        assert_eq!(*draw, round as u64);
    }
}

#[test]
fn a_loss_that_only_rises_ends_the_run_with_a_reason() {
    let mut optimizer = averaged(LearningRate::Given(RATE), LBFGS);
    let mut answers = 0;
    let reason = loop {
        if let Ask::Stopped(reason) = optimizer.ask() {
            break reason.to_string();
        }
        answers += 1;
        assert!(answers < 100, "it never stops");
        let displacement = vec![0.01; CURVATURES.len()].into();
        optimizer.tell(Tell::Local { loss: f64::from(answers).exp2(), displacement }).unwrap();
    };
    assert!(reason.contains("learning rate"), "{reason}");
    assert_eq!(**optimizer.weights(), *start());
}

#[test]
fn a_step_of_curvature_that_fails_gives_way_to_the_mean_displacement() {
    let mut optimizer = averaged(LearningRate::Given(RATE), LBFGS);
    run(&mut optimizer, 5);
    let good = optimizer.weights().clone();
    let nan = vec![f32::NAN; CURVATURES.len()].into();
    let progress = optimizer.tell(Tell::Local { loss: f64::INFINITY, displacement: nan }).unwrap();
    assert!(progress.accepted.is_none() && progress.note.is_some());
    assert_eq!(*optimizer.weights(), good);
    let Ask::Local { learning_rate, .. } = optimizer.ask() else { panic!("it gave up") };
    assert_eq!(learning_rate, RATE);
    assert!(run(&mut optimizer, 40).loss < least_loss() + 0.01);
}

#[test]
fn auto_finishes_on_all_examples_once_local_steps_have_stalled() {
    let first = settings(LearningRate::Given(RATE), LBFGS);
    let mut optimizer = Optimizer::Auto(Auto::new(start(), first, LbfgsSettings::default()));
    let course = run(&mut optimizer, 80);
    let is_full = |ask: &Ask<f32>| matches!(ask, Ask::Gradient { batch: Batch::Full, .. });
    let switch = course.asked.iter().position(is_full).expect("it never switched");
    let is_local = |ask: &Ask<f32>| matches!(ask, Ask::Local { .. });
    assert!(course.asked[..switch].iter().all(is_local));
    assert!(!course.asked[switch..].iter().any(is_local));
    assert!(course.notes.iter().any(|note| note.contains("stalled")), "{:?}", course.notes);
    assert!(course.stopped.is_some());
    assert!(course.loss < least_loss() + 1e-6, "{} above {}", course.loss, least_loss());
    assert!(optimizer.iteration() > switch as u64 / 2);
}
