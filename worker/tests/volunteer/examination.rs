//! Counts of an examination equal those of a plain loop, and what does not fit is said.

use model::{
    Arithmetic, Examples, Features, Network, NetworkSpec, Preprocessing, Rows, Scratch, Targets, Task,
};
use ndarray::Array2;
use protocol::examination::{BINS, CONFIDENCE_EXPONENT, Layout, step_of};
use protocol::plan::{Part, RoundPlan, Set, Work};
use protocol::scales::Scales;
use worker::unit::{Buffers, Unit, UnitOutcome, UnitSums, evaluate_unit, measure_unit};

use crate::support::{Volunteer, World, order, result};

const FEATURES: usize = 6;
const EXAMPLES: usize = 700;
const SCALES: Scales =
    Scales { vector_exponent: 21, statistics_exponent: 19, loss_exponent: 0, evaluation_exponent: 17 };

/// Does something with a unit of examples that no network gets all right, at initial weights times `factor`.
fn with_unit<T>(
    network: &Network,
    scales: Scales,
    factor: f32,
    act: impl FnOnce(&Unit<'_>, &[f32], &Examples<'_>) -> T,
) -> T {
    let rows = Array2::from_shape_fn((EXAMPLES, FEATURES), |(i, j)| {
        ((i * 31 + j * 57) * 40_503 % 65_536) as f32 / 16_384.0 - 2.0
    });
    let classes: Vec<u16> = (0..EXAMPLES).map(|i| (i * i % 7 % network.outputs()) as u16).collect();
    let numbers =
        Array2::from_shape_fn((EXAMPLES, network.outputs()), |(i, j)| (i * 13 % 29 + j) as f32 / 9.0);
    let preprocessing = Preprocessing::identity(FEATURES);
    let targets = match network.task() {
        Task::Classes(_) => Targets::Classes(&classes),
        Task::Numbers(_) => Targets::Numbers(numbers.view()),
    };
    let examples = [Examples { features: Features::new(Rows::F32(rows.view()), &preprocessing), targets }];
    let weights: Vec<f32> = network.initialize(3).iter().map(|weight| factor * weight).collect();
    let plan = RoundPlan {
        scales,
        parts: vec![Part::in_turn(Work::Examination, Set::Test, 4)],
        ..RoundPlan::default()
    };
    let unit = Unit {
        network,
        arithmetic: Arithmetic::Portable,
        seed: 1,
        minibatch: 5,
        plan: &plan,
        work: &Work::Examination,
        number: 2,
        examples: &examples,
        first_example: 0,
        weights: &weights,
        direction: &[],
    };
    act(&unit, &weights, &examples[0])
}

fn network(shorthand: &str, task: Task) -> Network {
    Network::new(&NetworkSpec::from_shorthand(shorthand).unwrap(), FEATURES, task).unwrap()
}

fn integer(value: f64, exponent: i32) -> i64 {
    (value * 2f64.powi(exponent)).round_ties_even() as i64
}

#[test]
fn counts_of_classes_are_those_of_a_plain_loop() {
    for (shorthand, classes, expected_steps) in
        [("mlp:2000", 2, 4096), ("mlp:400", 3, 512), ("mlp:60", 3, 64), ("mlp:20", 5, 0)]
    {
        let network = network(shorthand, Task::Classes(classes));
        let layout = Layout::of(network.task(), network.parameters()).unwrap();
        let Layout::Classes { classes, steps } = layout else { panic!("{layout:?}") };
        assert_eq!(steps, expected_steps, "{} parameters", network.parameters());
        with_unit(&network, SCALES, 3.0, |unit, weights, examples| {
            let mut sums = UnitSums::zero(unit.work, network.parameters());
            assert_eq!(evaluate_unit(unit, &mut Buffers::default(), &mut sums), UnitOutcome::Added);

            let (mut answers, mut losses) = (vec![0.0; classes * EXAMPLES], vec![0.0; EXAMPLES]);
            let scratch = &mut Scratch::new();
            let correct = network.evaluate(unit.arithmetic, scratch, weights, examples, &mut losses);
            network.predict(unit.arithmetic, scratch, weights, &examples.features, &mut answers);
            let Targets::Classes(truth) = examples.targets else { panic!("classes") };
            let mut matrix = vec![vec![0i64; classes]; classes];
            let (mut in_bin, mut right) = ([0i64; BINS], [0i64; BINS]);
            let mut confidences = [0.0f64; BINS];
            let mut tables = vec![vec![[0i64; 2]; steps]; classes];
            for (answer, &truth) in answers.chunks(classes).zip(truth) {
                let truth = usize::from(truth);
                let mut named = 0;
                for class in 1..classes {
                    if answer[class] > answer[named] {
                        named = class;
                    }
                }
                matrix[truth][named] += 1;
                let upper = |bin: usize| (bin + 1) as f64 / BINS as f64;
                let bin = (0..BINS).find(|bin| f64::from(answer[named]) <= upper(*bin)).unwrap();
                in_bin[bin] += 1;
                right[bin] += i64::from(truth == named);
                confidences[bin] += f64::from(answer[named]);
                for class in (0..classes).filter(|_| steps > 0) {
                    tables[class][step_of(answer[class], steps)][usize::from(class == truth)] += 1;
                }
            }
            if classes == 2 {
                tables.remove(0);
            }
            let log_loss: f64 = losses.iter().map(|loss| f64::from(*loss)).sum();
            let mut expected = vec![integer(log_loss, SCALES.vector_exponent)];
            expected.extend(confidences.map(|sum| integer(sum, CONFIDENCE_EXPONENT)));
            expected.extend(matrix.concat());
            expected.extend(in_bin);
            expected.extend(right);
            expected.extend(tables.concat().concat());
            expected.resize(network.parameters(), 0);
            assert_eq!(sums.vector.as_ref(), Some(&expected));
            let loss = losses.iter().map(|loss| integer(f64::from(*loss), SCALES.evaluation_exponent));
            assert_eq!((sums.losses, sums.correct), (vec![loss.sum()], u64::from(correct)));
            assert!(layout.is_possible(&expected, EXAMPLES as u64));
            assert!(right.iter().sum::<i64>() < EXAMPLES as i64, "too easy");
        });
    }
}

#[test]
fn sums_of_errors_are_those_of_a_plain_loop() {
    let network = network("mlp:5", Task::Numbers(3));
    with_unit(&network, SCALES, 3.0, |unit, weights, examples| {
        let mut sums = UnitSums::zero(unit.work, network.parameters());
        assert_eq!(evaluate_unit(unit, &mut Buffers::default(), &mut sums), UnitOutcome::Added);
        let mut answers = vec![0.0; 3 * EXAMPLES];
        network.predict(unit.arithmetic, &mut Scratch::new(), weights, &examples.features, &mut answers);
        let Targets::Numbers(truth) = examples.targets else { panic!("numbers") };
        let error = |i: usize, j: usize| f64::from(answers[3 * i + j]) - f64::from(truth[(i, j)]);
        let sum =
            |of: fn(f64) -> f64, column: usize| (0..EXAMPLES).map(|i| of(error(i, column))).sum::<f64>();
        let absolute = (0..3).map(|column| integer(sum(f64::abs, column), SCALES.vector_exponent));
        let squared = (0..3).map(|column| integer(sum(|e| e * e, column), SCALES.statistics_exponent));
        let mut expected: Vec<i64> = absolute.chain(squared).collect();
        expected.resize(network.parameters(), 0);
        assert_eq!((sums.vector, sums.correct), (Some(expected), 0));
    });
}

#[test]
fn a_sum_that_does_not_fit_is_measured_and_adds_nothing() {
    let network = network("mlp:5", Task::Numbers(1));
    for (scales, vector_fits, statistics_fit, loss_fits) in [
        (Scales { vector_exponent: 60, ..SCALES }, false, true, true),
        (Scales { statistics_exponent: 60, ..SCALES }, true, false, true),
        (Scales { evaluation_exponent: 60, ..SCALES }, true, true, false),
        (SCALES, true, true, true),
    ] {
        with_unit(&network, scales, 3.0, |unit, _, _| {
            let measure = measure_unit(unit, &mut Buffers::default());
            assert_eq!(
                (measure.vector_fits, measure.statistics_fit, measure.loss_fits, measure.finite),
                (vector_fits, statistics_fit, loss_fits, true)
            );
            assert!(measure.largest > 1.0 && measure.largest_statistic > 1.0 && measure.loss > 1.0);
            let zero = UnitSums::zero(unit.work, network.parameters());
            let mut sums = zero.clone();
            let outcome = evaluate_unit(unit, &mut Buffers::default(), &mut sums);
            let fits = measure.fits();
            assert_eq!(outcome, if fits { UnitOutcome::Added } else { UnitOutcome::Overflow });
            assert_eq!(sums != zero, fits);
        });
    }
    with_unit(&network, SCALES, f32::INFINITY, |unit, _, _| {
        let mut sums = UnitSums::zero(unit.work, network.parameters());
        assert_eq!(evaluate_unit(unit, &mut Buffers::default(), &mut sums), UnitOutcome::NonFinite);
        assert!(!measure_unit(unit, &mut Buffers::default()).finite);
    });
}

#[test]
fn any_number_of_compute_workers_counts_the_same() {
    let world = World::of("mlp:9:tanh");
    let round = world.examination_round(1);
    let units = [0..2, 3..round.part(0).end];
    let expected = world.expected(&round, &units);
    for (cores, seed) in [(1, 1), (2, 2), (5, 4)] {
        let mut volunteer = Volunteer::welcomed(&world, cores);
        volunteer.frame(&round.frame());
        volunteer.frame(&round.assign(8, &units));
        volunteer.settle(&world, order(seed));
        let heard = volunteer.heard();
        result(&round, 8, &expected, &heard[0]);
    }
}

#[test]
fn an_examination_that_the_network_has_no_room_for_is_no_round_of_its_run() {
    // 46 + 9 counts, and 53 parameters.
    let world = World::of("mlp:5:tanh");
    let round = world.examination_round(1);
    let mut volunteer = Volunteer::welcomed(&world, 1);
    volunteer.frame(&round.frame());
    assert!(volunteer.closed);
}
