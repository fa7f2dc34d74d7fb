//! What an examination must come to: one loop over the test examples, one at a time.

use engine::{Audit, Examination};
use model::{Scratch, Targets, Task};
use protocol::examination::{BINS, Layout, step_of};
use protocol::plan::{Part, Set, Work};

use crate::problem::{Problem, ProblemPlan};
use crate::scenario::{Guest, Lie, LieKind, Scenario};
use crate::world::{Report, run};

/// Asserts that the volunteers' sums are those of a plain loop at these weights.
pub(crate) fn check(problem: &Problem, weights: &[f32], found: &Examination) {
    let (network, set) = (&problem.network, problem.set(Set::Test));
    let layout = Layout::of(network.task(), network.parameters()).expect("it was examined");
    assert_eq!(found.vector.len(), network.parameters());
    assert!(layout.is_possible(&found.vector, set.examples.into()));
    let (outputs, scratch) = (network.outputs(), &mut Scratch::new());
    let mut expected = vec![0; layout.len()];
    let (mut all_losses, mut correct) = (0, 0);
    for unit in 0..set.units() {
        // Real numbers are summed in a unit and rounded once.
        let mut reals = vec![0.0; layout.reals()];
        for example in set.examples_of(unit) {
            let example = problem.examples(Set::Test, example..example + 1);
            let (mut answer, mut loss) = (vec![0.0; outputs], [0.0]);
            correct += network.evaluate(problem.arithmetic, scratch, weights, &example, &mut loss);
            network.predict(problem.arithmetic, scratch, weights, &example.features, &mut answer);
            let scale = 2f64.powi(found.scales.evaluation_exponent);
            all_losses += (f64::from(loss[0]) * scale).round_ties_even() as i64;
            match (&example.targets, layout) {
                (Targets::Classes(classes), Layout::Classes { classes: count, steps }) => {
                    let truth = usize::from(classes[0]);
                    let named = (0..count).rev().max_by(|a, b| answer[*a].total_cmp(&answer[*b])).unwrap();
                    let bin = (0..BINS - 1)
                        .find(|bin| f64::from(answer[named]) * 15.0 <= (bin + 1) as f64)
                        .unwrap_or(BINS - 1);
                    // The simulation has no network with smoothing or class weights.
                    reals[0] += f64::from(loss[0]);
                    reals[1 + bin] += f64::from(answer[named]);
                    let counts = &mut expected[layout.reals()..];
                    counts[truth * count + named] += 1;
                    let (bins, tables) = counts[count * count..].split_at_mut(2 * BINS);
                    bins[bin] += 1;
                    bins[BINS + bin] += i64::from(truth == named);
                    let curves = if count == 2 { 1..2 } else { 0..count };
                    for (table, class) in curves.enumerate().filter(|_| steps > 0) {
                        let step = step_of(answer[class], steps);
                        tables[2 * (table * steps + step) + usize::from(class == truth)] += 1;
                    }
                }
                (Targets::Numbers(numbers), Layout::Numbers { columns }) => {
                    for column in 0..columns {
                        let error = f64::from(answer[column]) - f64::from(numbers[(0, column)]);
                        reals[column] += error.abs();
                        reals[columns + column] += error * error;
                    }
                }
                _ => panic!("examples of another kind"),
            }
        }
        for (real, sum) in reals.iter().enumerate() {
            let scale = 2f64.powi(layout.exponent_of(real, &found.scales));
            expected[real] += (sum * scale).round_ties_even() as i64;
        }
    }
    assert_eq!((found.loss, found.correct), (all_losses, u64::from(correct)));
    expected.resize(network.parameters(), 0);
    assert_eq!(found.vector, expected);
}

/// Networks with room for all tables, for few of their steps, and for none; and numbers.
const NETWORKS: [(Task, &str); 5] = [
    (Task::Classes(2), "mlp:1200"),
    (Task::Classes(3), "mlp:100"),
    (Task::Classes(3), "mlp:12"),
    (Task::Classes(2), "mlp:12"),
    (Task::Numbers(2), "mlp:4"),
];

fn scenario(task: Task, network: &'static str, guests: Vec<Guest>) -> Scenario {
    let problem = ProblemPlan { task, network, test: 79, validation: 9, ..ProblemPlan::plain(12) };
    let mut scenario = Scenario::calm(problem, guests);
    scenario.limits.stop.iterations = 3;
    scenario.limits.examines = true;
    scenario
}

fn examinations(report: &Report) -> u64 {
    report.happened().filter(|(what, _)| *what == "examined").map(|(_, count)| count).sum()
}

#[test]
fn volunteers_count_what_one_loop_counts() {
    for (task, network) in NETWORKS {
        for speeds in [&[10][..], &[5, 7, 30], &[3, 3, 4, 9, 11, 40, 2, 6, 100]] {
            let guests = speeds.iter().copied().map(Guest::steady).collect();
            let report = run(&scenario(task, network, guests));
            assert_eq!(examinations(&report), 1, "{task:?} {network}");
            let (plan, vectors) = report.opened.last().expect("a round");
            assert_eq!(plan.parts, [Part::in_turn(Work::Examination, Set::Test, 20)]);
            assert_ne!(vectors[0], report.opened[0].1[0], "the weights that were saved");
        }
    }
}

#[test]
fn a_network_with_too_few_parameters_for_the_counts_is_not_examined() {
    let scenario = scenario(Task::Classes(3), "mlp:4", vec![Guest::steady(10)]);
    assert_eq!(examinations(&run(&scenario)), 0);
}

/// Nobody computes the examination again later, so all of it is confirmed at once.
#[test]
fn a_liar_changes_no_count() {
    for kind in LieKind::ALL {
        for (task, network) in NETWORKS {
            // Only its last results are lies.
            let lie = Lie { kind, after: 10, chance: 100, at_once: false };
            let liar = Guest { lie: Some(lie), address: 9, ..Guest::steady(10) };
            let guests = vec![Guest::steady(10), Guest { address: 1, ..Guest::steady(12) }, liar];
            let scenario = Scenario { audit: Audit::Sample(0.03), ..scenario(task, network, guests) };
            assert_eq!(examinations(&run(&scenario)), 1, "{kind:?} {task:?} {network}");
        }
    }
}
