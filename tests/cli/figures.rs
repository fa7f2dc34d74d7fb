//! The figures at the end of a training are the saved model's, none is zero by accident, and none stands alone that
//! misleads.

use crate::shoal::{ALONE, Folder};

const OPTIMIZERS: [&str; 8] = ["auto", "averaged", "average", "lbfgs", "sgd", "momentum", "adam", "adamw"];

/// With statistics of its own and masks, which training and inference treat differently.
const NORMALIZES_AND_DROPS: &str = r#"layers = [
    { kind = "dense", units = 6, activation = "tanh" },
    { kind = "batch-norm" },
    { kind = "dropout", rate = 0.2 },
]"#;

#[test]
fn the_last_figures_are_those_of_an_evaluation_of_the_saved_weights() {
    let folder = Folder::new();
    folder.write("normalizes.toml", NORMALIZES_AND_DROPS);
    for data in ["classes.csv", "numbers.csv"] {
        for model in ["mlp:4", "normalizes.toml"] {
            for optimizer in OPTIMIZERS {
                let run = format!("{data}-{model}-{optimizer}");
                // The test examples are the training examples.
                let result = folder.train(&format!(
                    "--data {data} --test {data} --model {model} --minibatch 8 --iterations 7 --optimizer {optimizer} \
                     --out {run}"
                ));
                let found =
                    folder.run(&format!("evaluate {run} --data {data} --json")).succeeded().last_json();
                let loss = found["loss"].as_f64().unwrap();
                for figure in ["training_set_loss", "test_loss"] {
                    let told = result[figure].as_f64().unwrap();
                    assert!(
                        (told - loss).abs() <= 1e-6 * loss.abs(),
                        "{run}: {figure} {told}, evaluated {loss}"
                    );
                }
                let quality = result["test_quality"].as_object().unwrap();
                let least = if data == "classes.csv" { "roc_auc" } else { "columns" };
                assert!(quality.contains_key(least), "{run}: {quality:?}");
                for (figure, told) in quality {
                    assert_eq!(*told, found[figure], "{run}: {figure}");
                }
            }
        }
    }
}

/// A learning rate so high that the first point is wild left a scale at which all later losses were rounded to zero.
#[test]
fn a_wild_first_point_ends_in_no_loss_of_zero() {
    let folder = Folder::new();
    let row = |i: usize| {
        let (a, b) = (i * 7 % 12, i * 11 % 15);
        format!("{a},{b},c{}\n", usize::from(a > 4) + usize::from(b > 6))
    };
    folder.write("zero.csv", &(0..300).map(row).collect::<String>());
    let train = "train --data zero.csv --model mlp:32 --learning-rate 3e4 --iterations 20 --out run --json";
    let result = folder.run(&format!("{train} {ALONE}")).last_json();
    let found = folder.run("evaluate run --data zero.csv --json").succeeded().last_json();
    let (told, evaluated) = (result["test_loss"].as_f64().unwrap(), found["loss"].as_f64().unwrap());
    assert!(told > 1e-6 && evaluated > 1e-6, "{told}, {evaluated}: {result}");
}

#[test]
fn a_run_that_diverges_fails_names_the_learning_rate_and_keeps_sound_weights() {
    let folder = Folder::new();
    for optimizer in ["sgd", "momentum"] {
        let train = format!("--data numbers.csv --model mlp:8 --minibatch 8 --optimizer {optimizer}");
        let ran =
            folder.run(&format!("train {train} --learning-rate 1e4 {ALONE} --json --out bad-{optimizer}"));
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        let result = ran.last_json();
        assert_eq!(result["stop_reason"], "diverged", "{result}");
        assert!(result["training_set_loss"].as_f64().unwrap() < 10.0, "{result}");
        let ran = folder.run(&format!("train {train} --learning-rate 1e4 {ALONE} --out said-{optimizer}"));
        assert!(ran.stdout.contains("learning rate"), "{}", ran.stdout);
        // Nobody has given this one, so that it may be lowered.
        let result = folder.train(&format!("{train} --out good-{optimizer}"));
        assert!(result["test_loss"].as_f64().unwrap() < 0.5, "{optimizer}: {result}");
    }
}

#[test]
fn batch_statistics_go_back_with_the_weights_of_a_run_that_diverges() {
    let folder = Folder::new();
    folder.write(
        "normalized.toml",
        "layers = [{ kind = \"dense\", units = 8 }, { kind = \"batch-norm\" }, { kind = \"activation\", function = \"relu\" }]",
    );
    let train = "--data numbers.csv --model normalized.toml --minibatch 8 --optimizer sgd --learning-rate 10";
    let ran = folder.run(&format!("train {train} {ALONE} --out diverged"));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let good = "the iterations that were not given up";
    let loss = |run: &str| {
        folder.run(&format!("evaluate {run} --data numbers.csv --json")).succeeded().last_json()["loss"]
            .as_f64()
            .unwrap()
    };
    let kept = loss("diverged");
    let same = (0..4).any(|iterations| {
        let out = format!("first-{iterations}");
        folder.run(&format!("train {train} {ALONE} --iterations {iterations} --out {out}"));
        loss(&out) == kept
    });
    assert!(same, "{good} have another loss than {kept}");
}

#[test]
fn an_accuracy_below_that_of_the_most_frequent_class_is_seen_for_what_it_is() {
    let folder = Folder::new();
    // One in twenty is positive, and nothing tells which.
    let row =
        |i: usize| format!("{},{},{}\n", i * 7 % 13, i * 5 % 11, if i % 20 == 7 { "yes" } else { "no" });
    folder.write("rare.csv", &(0..400).map(row).collect::<String>());
    let train = format!("train --data rare.csv --model linear --iterations 5 {ALONE}");
    let ran = folder.run(&format!("{train} --json")).succeeded();
    let result = ran.last_json();
    let quality = &result["test_quality"];
    assert!((quality["most_frequent"]["accuracy"].as_f64().unwrap() - 0.95).abs() < 0.05, "{result}");
    assert!(quality["balanced_accuracy"].as_f64().unwrap() < 0.7, "{result}");
    let text = folder.run(&train).succeeded().stdout;
    assert!(
        text.contains("always naming the most frequent class") && text.contains("of each class"),
        "{text}"
    );
}
