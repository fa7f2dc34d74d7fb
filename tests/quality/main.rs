//! The quality of trained models: the real binary must reach the figures that users may expect, on real data.

use std::path::Path;

use support::coordinator::{Coordinator, Outcome};

fn train(arguments: &[&str]) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    Coordinator::train(directory.path().join("run"), arguments).result()
}

/// The loss on the training examples is all that counts, as in another implementation.
const ALL_EXAMPLES: [&str; 6] = ["--l2", "0", "--validation-fraction", "0", "--cross-validation", "0"];

#[test]
fn mnist_in_sixty_iterations_of_lbfgs() {
    let train_on = ["--data", "embedded:mnist", "--model", "mlp:128", "--optimizer", "lbfgs"];
    let outcome = train(&[&train_on[..], &ALL_EXAMPLES].concat());
    // Another implementation of L-BFGS reaches 0.9676 and 0.080.
    assert!(outcome.test_accuracy >= Some(0.965) && outcome.train_loss <= 0.10, "{outcome:?}");
}

#[test]
fn digits_within_forty_five_rounds_of_lbfgs() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/digits.csv.gz");
    let mut accuracies = Vec::new();
    for seed in ["1", "2", "3"] {
        let data = data.to_str().unwrap();
        let train_on = ["--data", data, "--model", "mlp:64", "--optimizer", "lbfgs", "--iterations", "40"];
        let outcome = train(&[&train_on[..], &["--seed", seed], &ALL_EXAMPLES].concat());
        assert!(outcome.train_loss <= 0.01 && outcome.rounds <= 45, "{outcome:?}");
        accuracies.push(outcome.test_accuracy.unwrap());
    }
    accuracies.sort_by(f64::total_cmp);
    assert!(accuracies[1] >= 0.96, "{accuracies:?}");
}
