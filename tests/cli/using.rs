//! `evaluate` and `predict` with a trained model.

use serde_json::Value;

use crate::shoal::{EXAMPLES, Folder};

fn with_classes() -> (Folder, Value) {
    let folder = Folder::new();
    let result =
        folder.train("--data classes.csv --label side --model mlp:8 --minibatch 8 --iterations 30 --out run");
    (folder, result)
}

/// Rows of CSV, the header first.
fn rows(csv: &str) -> Vec<Vec<&str>> {
    csv.lines().map(|line| line.split(',').collect()).collect()
}

#[test]
fn predictions_name_the_classes_in_the_order_of_the_file() {
    let (folder, _) = with_classes();
    let predicted = folder.run("predict run --data classes.csv").succeeded();
    let predicted = rows(&predicted.stdout);
    assert_eq!(predicted[0], ["prediction", "probability left", "probability right"]);
    assert_eq!(predicted.len(), 1 + EXAMPLES);
    let truth = folder.read(Folder::CLASSES);
    let right =
        predicted.iter().zip(rows(&truth)).skip(1).filter(|(given, truth)| given[0] == truth[2]).count();
    assert!(right >= EXAMPLES * 95 / 100, "only {right} of {EXAMPLES} are right");
    for row in &predicted[1..] {
        let probabilities: Vec<f64> = row[1..].iter().map(|cell| cell.parse().unwrap()).collect();
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{row:?}");
        let likeliest = if probabilities[0] >= probabilities[1] { "left" } else { "right" };
        assert_eq!(row[0], likeliest);
    }
}

#[test]
fn predictions_need_no_label_and_find_columns_by_name() {
    let (folder, _) = with_classes();
    let truth = folder.read(Folder::CLASSES);
    let swapped: String = rows(&truth).iter().map(|row| format!("{},{}\n", row[1], row[0])).collect();
    folder.write("new.csv", &swapped);
    let labeled = folder.run("predict run --data classes.csv").succeeded().stdout;
    assert_eq!(folder.run("predict run --data new.csv").succeeded().stdout, labeled);
}

#[test]
fn an_evaluation_agrees_with_the_predictions() {
    let (folder, _) = with_classes();
    let predicted = folder.run("predict run --data classes.csv").succeeded().stdout;
    let truth = folder.read(Folder::CLASSES);
    let mut confusion = [[0, 0], [0, 0]];
    for (given, truth) in rows(&predicted).iter().zip(rows(&truth)).skip(1) {
        confusion[usize::from(truth[2] == "right")][usize::from(given[0] == "right")] += 1;
    }
    let result = folder.run("evaluate run --data classes.csv --json").succeeded().last_json();
    assert_eq!(result["examples"], EXAMPLES);
    assert_eq!(result["classes"], serde_json::json!(["left", "right"]));
    assert_eq!(result["confusion"], serde_json::json!(confusion));
    let right = confusion[0][0] + confusion[1][1];
    assert_eq!(result["accuracy"].as_f64().unwrap(), f64::from(right) / EXAMPLES as f64);
    assert!(result["loss"].as_f64().unwrap() > 0.0);

    let text = folder.run("evaluate run --data classes.csv").succeeded().stdout;
    assert!(text.contains("confusion matrix"), "{text}");
}

#[test]
fn the_log_loss_is_of_the_probabilities_alone_whatever_the_network_minimizes() {
    let folder = Folder::new();
    folder.write(
        "weighs.toml",
        "label_smoothing = 0.1\nclass_weights = [1.0, 3.0]\nlayers = [{ kind = \"dense\", units = 4 }]",
    );
    folder.train("--data classes.csv --model weighs.toml --minibatch 8 --iterations 3 --out run");
    let predicted = folder.run("predict run --data classes.csv").succeeded().stdout;
    let truth = folder.read(Folder::CLASSES);
    let surprise = |(given, truth): (&Vec<&str>, Vec<&str>)| {
        -given[1 + usize::from(truth[2] == "right")].parse::<f64>().unwrap().ln()
    };
    let rows_of = rows(&predicted);
    let expected = rows_of.iter().zip(rows(&truth)).skip(1).map(surprise).sum::<f64>() / EXAMPLES as f64;
    let result = folder.run("evaluate run --data classes.csv --json").succeeded().last_json();
    let (log_loss, loss) = (result["log_loss"].as_f64().unwrap(), result["loss"].as_f64().unwrap());
    assert!((log_loss - expected).abs() < 1e-4 * expected, "{log_loss} for {expected}");
    assert!((loss - log_loss).abs() > 0.1 * log_loss, "{loss} is the weighted loss");
    let text = folder.run("evaluate run --data classes.csv").succeeded().stdout;
    for figure in
        ["log-loss", "balanced accuracy", "ROC AUC", "calibration error", "to beat", "precision", "weighted"]
    {
        assert!(text.contains(figure), "{figure}: {text}");
    }
}

#[test]
fn an_evaluation_on_the_test_examples_gives_the_figures_of_the_training() {
    let folder = Folder::new();
    let truth = folder.read(Folder::CLASSES);
    let lines: Vec<&str> = truth.lines().collect();
    folder.write("test.csv", &[&lines[..1], &lines[61..]].concat().join("\n"));
    let trained = folder.train("--data classes.csv --test test.csv --model mlp:4 --minibatch 8 --out run");
    let result = folder.run("evaluate run --data test.csv --json").succeeded().last_json();
    assert_eq!(result["accuracy"], trained["test_accuracy"]);
    let (ours, theirs) = (result["loss"].as_f64().unwrap(), trained["test_loss"].as_f64().unwrap());
    // The training's figure is an exact sum, rounded once; ours is added up in f64.
    assert!((ours - theirs).abs() <= 1e-5 * theirs.abs().max(1e-3), "{ours} and {theirs}");
}

#[test]
fn numbers_are_predicted_in_the_units_of_the_user() {
    let folder = Folder::new();
    folder.train("--data numbers.csv --label price --task numbers --model linear --minibatch 8 --out run");
    let truth = folder.read(Folder::NUMBERS);
    let predicted = folder.run("predict run --data numbers.csv").succeeded().stdout;
    let predicted = rows(&predicted);
    assert_eq!(predicted[0], ["price"]);
    for (given, truth) in predicted.iter().zip(rows(&truth)).skip(1) {
        let (given, truth): (f64, f64) = (given[0].parse().unwrap(), truth[1].parse().unwrap());
        assert!((given - truth).abs() < 200.0, "{given} for {truth}");
    }
    let result = folder.run("evaluate run --data numbers.csv --json").succeeded().last_json();
    assert_eq!(result["columns"][0]["name"], "price");
    assert!(result["columns"][0]["rmse"].as_f64().unwrap() < 200.0, "{result}");
    assert!(result["columns"][0]["r2"].as_f64().unwrap() > 0.999, "{result}");
}

#[test]
fn a_file_that_does_not_fit_the_model_is_named() {
    let (folder, _) = with_classes();
    folder.run("predict run --data numbers.csv").failed(1, &["numbers.csv"]);
    folder.run("predict run --data embedded:mnist").failed(2, &["MNIST"]);
    let unlabeled =
        folder.read(Folder::CLASSES).replace(",left", "").replace(",right", "").replace(",side", "");
    folder.write("unlabeled.csv", &unlabeled);
    let ran = folder.run("evaluate run --data unlabeled.csv");
    assert!(matches!(ran.code, Some(1 | 2)), "{}", ran.stderr);
    assert!(ran.stderr.contains("unlabeled.csv"), "{}", ran.stderr);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (folder, _) = with_classes();
    let mut child = folder.command("predict run --data classes.csv").spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

/// Its weights are as they were at the start, for want of anything to learn from.
#[test]
fn a_column_that_was_constant_in_training_decides_nothing() {
    let folder = Folder::new();
    let rows = |constant: &str| {
        let row = |i: usize| format!("{},{constant},{}\n", i % 11, if i % 11 > 5 { "k1" } else { "k0" });
        format!("a,b,kind\n{}", (0..60).map(row).collect::<String>())
    };
    folder.write("train.csv", &rows("5"));
    folder.write("other.csv", &rows("100"));
    folder.train("--data train.csv --model mlp:8 --minibatch 8 --iterations 5 --out run");
    let predicted = |data: &str| folder.run(&format!("predict run --data {data}")).succeeded().stdout;
    assert_eq!(predicted("other.csv"), predicted("train.csv"));
}
