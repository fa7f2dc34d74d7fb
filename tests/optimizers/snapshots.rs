//! A saved optimizer asks the same again and continues with the same bits.

use engine::optimizers::{
    Ask, Auto, Averaged, AveragedSettings, Lbfgs, LbfgsSettings, LearningRate, Optimizer, Outer, Rule,
    Sample, Scalar, Schedule, Stochastic, StochasticSettings, Tell,
};

use crate::problems::{answer, rosenbrock_pairs, rosenbrock_start};
use crate::toy;

/// Enough that the memory is full, pairs have been damped and steps shortened.
const ANSWERS: usize = 60;

#[test]
fn every_snapshot_continues_bit_for_bit_in_training_precision() {
    assert_snapshots_continue::<f32>();
}

#[test]
fn every_snapshot_continues_bit_for_bit_in_double_precision() {
    assert_snapshots_continue::<f64>();
}

/// Replaces the optimizer by a deserialized copy before every single answer, including the start and the
/// middle of line searches, and compares it with an untouched one.
fn assert_snapshots_continue<T: Scalar>() {
    let start: Vec<T> = rosenbrock_start(100).iter().map(|&x| T::from_f64(x)).collect();
    let settings = LbfgsSettings { memory: 5, gradient_tolerance: Some(1e-6) };
    let mut untouched = Lbfgs::new(start, settings);
    let mut saved = untouched.clone();
    let mut line_searches = 0;
    for _ in 0..ANSWERS {
        saved = read_back(&saved);
        let ask = saved.ask();
        assert_eq!(bits(&ask), bits(&untouched.ask()));
        line_searches += usize::from(matches!(ask, Ask::Losses { .. }));
        let Some(reply) = answer(&rosenbrock_pairs, ask) else { break };
        let progress = saved.tell(reply.clone()).expect("the answer matches the request");
        assert_eq!(progress, untouched.tell(reply).expect("the answer matches the request"));
        assert_eq!(to_bytes(&saved), to_bytes(&untouched));
    }
    assert!(line_searches > 0, "no snapshot was taken in the middle of a line search");
    assert!(saved.iteration() > 30);
}

/// Every method, replaced by a deserialized copy before every answer.
#[test]
fn every_method_continues_bit_for_bit_from_every_moment() {
    let local = |learning_rate, outer| AveragedSettings {
        replicas: 6,
        steps: 20,
        learning_rate,
        schedule: Schedule::Constant,
        outer,
    };
    let shaped = Outer::Lbfgs { memory: 3 };
    let searched = local(LearningRate::Searched, shaped);
    let decaying = AveragedSettings { schedule: Schedule::Linear { iterations: 30 }, ..searched };
    let too_high = local(LearningRate::Given(10.0), Outer::Momentum { momentum: 0.9 });
    let too_low = local(LearningRate::Given(0.02), shaped);
    let stochastic = |rule| {
        let schedule = Schedule::Cosine { iterations: 50 };
        let (units, all_units) = (3, 24);
        let settings =
            StochasticSettings { rule, learning_rate: 0.1, may_lower: true, schedule, units, all_units };
        Optimizer::Stochastic(Stochastic::new(toy::start(), settings))
    };
    let methods = [
        Optimizer::Auto(Auto::new(toy::start(), searched, LbfgsSettings::default())),
        Optimizer::Averaged(Averaged::new(toy::start(), decaying)),
        Optimizer::Averaged(Averaged::new(toy::start(), too_high)),
        Optimizer::Averaged(Averaged::new(toy::start(), too_low)),
        Optimizer::Lbfgs(Lbfgs::new(toy::start(), LbfgsSettings::default())),
        Optimizer::Lbfgs(Lbfgs::sampled(
            toy::start(),
            LbfgsSettings::default(),
            Sample { units: 4, overlap: 1 },
        )),
        stochastic(Rule::Momentum),
        stochastic(Rule::AdamW { weight_decay: 0.01 }),
    ];
    for method in methods {
        let (mut untouched, mut saved) = (method.clone(), method);
        for _ in 0..80 {
            let bytes = postcard::to_stdvec(&saved).expect("serializes");
            saved = postcard::from_bytes(&bytes).expect("reads back");
            let ask = saved.ask();
            assert_eq!(ask, untouched.ask());
            let Some(told) = toy::answer(&ask) else { break };
            assert_eq!(saved.tell(told.clone()), untouched.tell(told));
            assert_eq!(saved.weights(), untouched.weights());
        }
        assert!(saved.iteration() > 10);
    }
}

#[test]
fn a_clone_is_not_disturbed_by_the_original_going_on() {
    let mut optimizer = Lbfgs::new(rosenbrock_start(10), LbfgsSettings::default());
    for _ in 0..20 {
        let snapshot = optimizer.clone();
        let before = to_bytes(&snapshot);
        let reply = answer(&rosenbrock_pairs, optimizer.ask()).expect("not converged so soon");
        optimizer.tell(reply).expect("the answer matches the request");
        assert_eq!(to_bytes(&snapshot), before);
    }
}

#[test]
fn a_run_of_any_method_is_saved_with_its_method() {
    let start: Vec<f32> = vec![3.0, -4.0];
    let mut optimizer = Optimizer::Lbfgs(Lbfgs::new(start, LbfgsSettings::default()));
    let gradient = |point: &[f32]| Tell::Gradient { loss: 0.0, gradient: point.into() };
    optimizer.tell(gradient(&[3.0, -4.0])).expect("the answer matches the request");
    let bytes = postcard::to_stdvec(&optimizer).expect("serializes");
    let restored: Optimizer = postcard::from_bytes(&bytes).expect("reads back");
    assert_eq!(restored.ask(), optimizer.ask());
    assert_eq!(restored.loss(), Some(0.0));
    // The first step is 1 / ||g|| = 1/5 along -g.
    let Ask::Gradient { point, .. } = restored.ask() else { panic!("no trial point") };
    assert_eq!(*point, [3.0 - 0.2 * 3.0, -4.0 + 0.2 * 4.0]);
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let mut optimizer = Lbfgs::new(rosenbrock_start(4), LbfgsSettings::default());
    for _ in 0..6 {
        let reply = answer(&rosenbrock_pairs, optimizer.ask()).expect("not converged so soon");
        optimizer.tell(reply).expect("the answer matches the request");
    }
    let sound = serde_json::to_value(&optimizer).expect("serializes");
    assert!(serde_json::from_value::<Lbfgs<f64>>(sound.clone()).is_ok());

    // Removing an element from any vector of numbers makes the snapshot unsound.
    let mut arrays = Vec::new();
    find_number_arrays(&sound, &mut Vec::new(), &mut arrays);
    assert!(arrays.len() > 8, "weights, direction, gradient and the memory: {arrays:?}");
    for path in arrays {
        let mut damaged = sound.clone();
        let array = path.iter().fold(&mut damaged, |value, step| match step {
            Step::Key(key) => &mut value[key.as_str()],
            Step::Index(index) => &mut value[index],
        });
        array.as_array_mut().expect("an array").pop();
        assert!(serde_json::from_value::<Lbfgs<f64>>(damaged).is_err(), "{path:?}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Index(usize),
}

fn find_number_arrays(value: &serde_json::Value, path: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
    if let Some(array) = value.as_array() {
        if array.first().is_some_and(serde_json::Value::is_number) {
            found.push(path.clone());
        }
        for (index, child) in array.iter().enumerate() {
            path.push(Step::Index(index));
            find_number_arrays(child, path, found);
            path.pop();
        }
    }
    for (key, child) in value.as_object().into_iter().flatten() {
        path.push(Step::Key(key.clone()));
        find_number_arrays(child, path, found);
        path.pop();
    }
}

fn read_back<T: Scalar>(optimizer: &Lbfgs<T>) -> Lbfgs<T> {
    postcard::from_bytes(&to_bytes(optimizer)).expect("reads back")
}

fn to_bytes<T: Scalar>(optimizer: &Lbfgs<T>) -> Vec<u8> {
    postcard::to_stdvec(optimizer).expect("serializes")
}

/// A request as exact bits: equality of numbers would accept 0 for -0.
fn bits<T: Scalar>(ask: &Ask<T>) -> Vec<u64> {
    let exact = |values: &[T]| values.iter().map(|value| value.to_f64().to_bits()).collect::<Vec<_>>();
    match ask {
        Ask::Gradient { point, .. } => exact(point),
        Ask::Losses { base, direction, steps, .. } => [exact(base), exact(direction), exact(steps)].concat(),
        Ask::Local { .. } | Ask::Stopped(_) => Vec::new(),
    }
}
