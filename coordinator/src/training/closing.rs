//! The figures of the saved weights, measured once these are final exactly as `shoal evaluate` does, so that
//! a training and an evaluation of its model agree.

use engine::{Examination, Figures, StopReason};
use model::Network;
use model::exact::to_f64;

use crate::data::{DataError, Examples, Prepared};
use crate::inference::Trained;
use crate::quality;
use crate::report::{ShownMistake, Summary, show_mistakes};
use crate::run_directory::SavedModel;

/// Most floating-point operations for measuring a set once more: some seconds on one core. Of a larger test set,
/// volunteers count what its figures need ([`engine::Examination`]). Without that, and of other sets, the loss and accuracy
/// remain that volunteers last measured during the training, exactly but in another order of additions: `shoal
/// evaluate` measures the other figures.
const OPERATIONS_MAX: f64 = 3e11;
/// The same after a limit on the time: whoever gave one does not want to wait long after it.
const OPERATIONS_AFTER_TIME_MAX: f64 = 3e10;
/// Bytes of a test set outside of memory that is brought into it for the figures beside loss and accuracy.
const JUDGED_BYTES_MAX: usize = 256 << 20;

/// Whether this machine measures the examples by itself.
pub(super) fn is_quick(network: &Network, examples: &Examples) -> bool {
    operations(network, examples) <= OPERATIONS_MAX
}

fn operations(network: &Network, examples: &Examples) -> f64 {
    network.layers().iter().map(|layer| layer.flops as f64).sum::<f64>() * examples.len() as f64
}

/// Replaces the figures measured on the way by the figures of the saved weights, on large test sets by those that
/// volunteers have found. Gives the worst mistakes on the test examples, if this machine has found the figures.
pub(super) fn measure(
    summary: &mut Summary,
    model: &SavedModel,
    data: &Prepared,
    examination: Option<&Examination>,
) -> Vec<ShownMistake> {
    let operations_max = match summary.stop_reason {
        StopReason::Time(_) => OPERATIONS_AFTER_TIME_MAX,
        _ => OPERATIONS_MAX,
    };
    measure_within(operations_max, summary, model, data, examination)
}

fn measure_within(
    operations_max: f64,
    summary: &mut Summary,
    model: &SavedModel,
    data: &Prepared,
    examination: Option<&Examination>,
) -> Vec<ShownMistake> {
    let trained = Trained::of(model);
    let is_quick = |examples: &&Examples| operations(&model.network, examples) <= operations_max;
    // Without what cannot be read, the figures of the training stand.
    let measure = |examples: &Examples| {
        let found = trained.measure_all(examples).inspect_err(unread).ok()?;
        let count = examples.len() as f64;
        Some((found.loss_sum / count, data.class_names().map(|_| found.correct as f64 / count)))
    };
    let figures = summary.figures.get_or_insert(Figures::UNKNOWN);
    if let Some((loss, _)) = Some(&data.train).filter(is_quick).and_then(measure) {
        figures.training_set_loss = Some(loss);
    }
    if let Some((loss, accuracy)) = data.validation.as_ref().filter(is_quick).and_then(measure) {
        (figures.validation_loss, figures.validation_accuracy) = (Some(loss), accuracy);
    }
    let Some(test) = &data.test else { return Vec::new() };
    if !is_quick(&test) {
        if let Some(found) = examination {
            let count = test.len() as f64;
            figures.test_loss = Some(to_f64(found.loss, found.scales.evaluation_exponent) / count);
            figures.test_accuracy = data.class_names().map(|_| found.correct as f64 / count);
            let quality = quality::of_examination(model, test, found);
            summary.test_quality = quality.inspect_err(unread).ok().flatten();
        }
        return Vec::new();
    }
    let Some((loss, accuracy)) = measure(test) else { return Vec::new() };
    (figures.test_loss, figures.test_accuracy) = (Some(loss), accuracy);
    let Some(table) = test.within(JUDGED_BYTES_MAX).inspect_err(unread).ok().flatten() else {
        return Vec::new();
    };
    let (quality, worst) = quality::judge(model, &table, loss);
    summary.test_quality = Some(quality);
    show_mistakes(&worst, &table, &data.preparation, data.target_scaling.as_ref())
}

fn unread(error: &DataError) {
    tracing::warn!("the final figures are those of the training: {error}");
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::fs;

    use engine::scales;
    use model::{Arithmetic, Examples as Slice, Features, NetworkSpec};
    use protocol::examination::{Layout, STEPS_MAX};
    use protocol::plan::{Part, RoundPlan, Set, Work};
    use protocol::scales::Scales;
    use serde_json::Value;
    use worker::unit::{Buffers, Unit, UnitOutcome, UnitSums, evaluate_unit, measure_unit};

    use super::*;
    use crate::data::{ReadOptions, load, prepare};

    const EXAMPLES_PER_UNIT: usize = 7;

    /// The label of an example.
    type Label = fn(usize) -> String;

    /// A model that is wrong now and then, and data to judge it on; the last column is the label.
    fn judged(label: Label, spec: &str) -> (SavedModel, Prepared) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.csv");
        let mut rows = "a,b,label\n".to_owned();
        for i in 0..400 {
            writeln!(rows, "{},{},{}", i * 7919 % 613, i * 31 % 97, label(i)).unwrap();
        }
        fs::write(&file, rows).unwrap();
        let loaded = load(&file, &ReadOptions::default()).unwrap();
        let data = prepare(loaded.train, None, 0.5, 1).unwrap();
        let spec = NetworkSpec::from_json(spec).unwrap();
        let network = Network::new(&spec, data.preparation.inputs(), data.task()).unwrap();
        let model = SavedModel {
            weights: network.initialize(7).into(),
            network,
            arithmetic: Arithmetic::Portable,
            seed: 1,
            target_scaling: data.target_scaling.clone(),
            preprocessing: data.preprocessing.clone(),
            preparation: data.preparation.clone(),
        };
        (model, data)
    }

    /// What volunteers find, the last unit first.
    fn examine(model: &SavedModel, data: &Prepared) -> Examination {
        let table = data.test.as_ref().unwrap().in_memory().unwrap();
        let units = table.len().div_ceil(EXAMPLES_PER_UNIT);
        let part = Part::in_turn(Work::Examination, Set::Test, units as u32);
        let mut plan = RoundPlan { parts: vec![part], scales: Scales::default(), ..RoundPlan::default() };
        let with_unit = |plan: &RoundPlan, number: usize, act: &mut dyn FnMut(&Unit<'_>)| {
            let range = number * EXAMPLES_PER_UNIT..table.len().min((number + 1) * EXAMPLES_PER_UNIT);
            let features = Features::new(table.rows(range.clone()), &model.preprocessing);
            act(&Unit {
                network: &model.network,
                arithmetic: model.arithmetic,
                seed: 1,
                minibatch: 1,
                plan,
                work: &Work::Examination,
                number: number as u32,
                examples: &[Slice { features, targets: table.targets(range.clone()) }],
                first_example: range.start as u32,
                weights: &model.weights,
                direction: &[],
            });
        };
        let mut measured = None;
        with_unit(&plan, 0, &mut |unit| measured = Some(measure_unit(unit, &mut Buffers::default())));
        plan.scales = scales::for_unit(&measured.unwrap());
        let mut sums = UnitSums::zero(&Work::Examination, model.network.parameters());
        for number in (0..units).rev() {
            with_unit(&plan, number, &mut |unit| {
                let outcome = evaluate_unit(unit, &mut Buffers::default(), &mut sums);
                assert_eq!(outcome, UnitOutcome::Added);
            });
        }
        let UnitSums { losses, correct, vector, .. } = sums;
        Examination { scales: plan.scales, loss: losses[0], correct, vector: vector.unwrap() }
    }

    fn summary() -> Summary {
        Summary { figures: None, test_quality: None, ..crate::report::tests::summary() }
    }

    /// Numbers in the order of the keys, with the names of where they are; names and absent figures as they are.
    fn leaves(place: &str, value: &Value, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| leaves(&format!("{place}/{key}"), value, found))
            }
            Value::Array(all) => {
                all.iter().enumerate().for_each(|(i, value)| leaves(&format!("{place}/{i}"), value, found));
            }
            leaf => found.push((place.to_owned(), leaf.clone())),
        }
    }

    #[test]
    fn the_figures_that_volunteers_count_are_those_of_an_evaluation() {
        let class = |i: usize| format!("c{}", i * 7919 % 613 / 250 + i % 11 / 10);
        let rare = |i: usize| if i * 31 % 97 > 80 || i.is_multiple_of(17) { "yes" } else { "no" }.to_owned();
        let number = |i: usize| format!("{}.5", 1000 + i * 31 % 97 + i % 13);
        let wide = r#"{"layers": [{"kind": "dense", "units": 1700}]}"#;
        let smooth = r#"{"layers": [{"kind": "dense", "units": 90}], "label-smoothing": 0.1, "class-weights": [1, 2, 3, 4]}"#;
        let small = r#"{"layers": [{"kind": "dense", "units": 20}]}"#;
        let cases: [(Label, &str); 5] =
            [(class, wide), (class, smooth), (rare, wide), (rare, small), (number, small)];
        for (label, spec) in cases {
            let (model, data) = judged(label, spec);
            let examination = examine(&model, &data);
            let (mut own, mut counted) = (summary(), summary());
            assert!(!measure_within(f64::INFINITY, &mut own, &model, &data, None).is_empty());
            assert!(measure_within(0.0, &mut counted, &model, &data, Some(&examination)).is_empty());

            let (own_figures, figures) = (own.figures.unwrap(), counted.figures.unwrap());
            assert_eq!(figures.test_accuracy, own_figures.test_accuracy);
            let (loss, expected) = (figures.test_loss.unwrap(), own_figures.test_loss.unwrap());
            assert!((loss - expected).abs() < 1e-6 * expected, "{loss}, {expected}");

            let json =
                |summary: &Summary| serde_json::to_value(summary.test_quality.as_ref().unwrap()).unwrap();
            let (expected, mut found) = (json(&own), json(&counted));
            let within = found.as_object_mut().and_then(|map| map.remove("roc_auc_within"));
            let layout = Layout::of(model.network.task(), model.network.parameters()).unwrap();
            let has_curves = layout.tables(&examination.vector).count() > 0;
            assert_eq!(within.is_some(), has_curves, "{layout:?}");
            let within = within.and_then(|within| within.as_f64()).unwrap_or(0.0);
            let is_fine = matches!(layout, Layout::Classes { steps: STEPS_MAX, .. });
            assert!(within < if is_fine { 0.002 } else { 0.05 }, "{within} of {layout:?}");
            let (mut one, mut other) = (Vec::new(), Vec::new());
            leaves("", &expected, &mut one);
            leaves("", &found, &mut other);
            assert_eq!(one.len(), other.len());
            for ((place, expected), (_, found)) in one.iter().zip(&other) {
                let is_area = place.contains("roc_auc");
                if is_area && !has_curves {
                    assert!(found.is_null(), "{place}");
                    continue;
                }
                // Counts, and what is computed from nothing else, are the same to the bit.
                let is_summed =
                    ["log_loss", "calibration", "mae", "rmse", "r2"].iter().any(|name| place.contains(name));
                let tolerance = if is_area {
                    within
                } else if is_summed {
                    1e-6
                } else {
                    0.0
                };
                match (expected.as_f64(), found.as_f64()) {
                    (Some(expected), Some(found)) => {
                        let miss = (expected - found).abs();
                        let scale = if is_area { 1.0 } else { expected.abs() };
                        assert!(miss <= tolerance * scale, "{place}: {found}, evaluated {expected}");
                    }
                    _ => assert_eq!(expected, found, "{place}"),
                }
            }
        }
    }

    #[test]
    fn counts_of_other_examples_give_no_figures() {
        let (model, data) =
            judged(|i| format!("c{}", i % 2), r#"{"layers": [{"kind": "dense", "units": 20}]}"#);
        let examination = examine(&model, &data);
        for change in [
            |found: &mut Examination| found.vector[17] += 1,
            |found: &mut Examination| found.vector[17] = i64::MIN,
            |found: &mut Examination| found.vector.truncate(20),
        ] {
            let mut changed = examination.clone();
            change(&mut changed);
            let mut summary = summary();
            measure_within(0.0, &mut summary, &model, &data, Some(&changed));
            assert_eq!(summary.test_quality, None);
        }
    }
}
