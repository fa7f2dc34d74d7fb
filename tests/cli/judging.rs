//! How good the weights are, which are kept, and when to stop.

use serde_json::Value;

use crate::shoal::{ALONE, EXAMPLES, Folder};

const SMALL: &str = "--model mlp:4 --minibatch 8 --optimizer lbfgs";

/// Labels that have nothing to do with the columns: whatever is learned of them is learned by heart.
fn shuffled(folder: &Folder) {
    let row = |example: usize| {
        let noise = example.wrapping_mul(2_654_435_761) >> 7;
        format!("{}.5,{}.25,{}\n", noise % 19, noise / 19 % 23, ["left", "right"][noise / 437 % 2])
    };
    let rows: String = (0..EXAMPLES).map(row).collect();
    folder.write("shuffled.csv", &format!("x,y,side\n{rows}"));
}

fn metrics(folder: &Folder, run: &str) -> Vec<Value> {
    let text = folder.read(format!("{run}/metrics.jsonl"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_rule_ends_the_training_and_says_so() {
    let folder = Folder::new();
    for (rule, reason) in [
        ("--rounds 3", "rounds"),
        ("--epochs 2", "epochs"),
        ("--target-accuracy 0.8", "target-accuracy"),
        ("--target-loss 0.5", "target-loss"),
        ("--gradient-tolerance 0.05", "gradient-tolerance"),
        ("--relative-decrease 0.9", "relative-decrease"),
    ] {
        let result = folder.train(&format!("--data classes.csv {SMALL} --l2 0.01 {rule}"));
        assert_eq!(result["stop_reason"], reason, "{result}");
        assert!(result["iterations"].as_u64().unwrap() < 60, "{rule}: {result}");
    }
}

#[test]
fn a_target_loss_is_that_of_the_whole_training_set_whatever_a_round_looks_at() {
    let folder = Folder::new();
    let train = "--data classes.csv --model mlp:4 --minibatch 8 --iterations 400 --target-loss 0.3";
    for optimizer in ["lbfgs", "average", "momentum"] {
        let result = folder.train(&format!("{train} --optimizer {optimizer}"));
        assert_eq!(result["stop_reason"], "target-loss", "{optimizer}: {result}");
        assert!(result["training_set_loss"].as_f64().unwrap() <= 0.3, "{optimizer}: {result}");
    }
}

#[test]
fn time_decides_where_a_run_ends_and_no_weight_before() {
    let folder = Folder::new();
    let train = "--data classes.csv --model mlp:4 --minibatch 8 --optimizer sgd";
    let timed = folder.train(&format!("{train} --iterations 1000000000 --max-seconds 1 --out timed"));
    assert_eq!(timed["stop_reason"], "max-seconds", "{timed}");
    assert!(timed["seconds"].as_f64().unwrap() >= 1.0, "{timed}");
    let counted = folder.train(&format!("{train} --iterations {} --out counted", timed["iterations"]));
    assert_eq!(counted["weights_digest"], timed["weights_digest"]);
    let low = format!("resume timed --rounds 1 {ALONE}");
    folder.run(&low).failed(2, &["rounds", "has done"]);
    let again = folder.run(&format!("resume timed --max-seconds 1 {ALONE} --json")).succeeded().last_json();
    assert_eq!(again["weights_digest"], timed["weights_digest"]);
}

#[test]
fn with_a_validation_set_the_best_weights_are_kept_and_not_the_last() {
    let folder = Folder::new();
    shuffled(&folder);
    let train =
        "--data shuffled.csv --model mlp:16 --minibatch 8 --optimizer lbfgs --validation-fraction 0.3";
    let ran = folder.run(&format!("train {train} --patience 5 {ALONE} --out run --json")).succeeded();
    assert!(ran.stderr.contains("validating on 19"), "{}", ran.stderr);
    let result = ran.last_json();
    assert_eq!(result["stop_reason"], "patience", "{result}");
    let best = |line: &&Value| line["validation_loss"].as_f64().unwrap();
    let lines = metrics(&folder, "run");
    let best = lines.iter().min_by(|one, other| best(one).total_cmp(&best(other))).unwrap();
    for (result_key, line_key) in [
        ("saved_iteration", "iteration"),
        ("validation_loss", "validation_loss"),
        ("validation_accuracy", "validation_accuracy"),
        ("test_loss", "test_loss"),
        ("train_loss", "train_loss"),
    ] {
        assert_eq!(result[result_key], best[line_key], "{result_key}");
    }
    let (saved, last) = (result["saved_iteration"].as_u64().unwrap(), result["iterations"].as_u64().unwrap());
    assert_eq!(last, saved + 5);
    // The model on the disk is the one that was the best at that moment.
    let until = folder.train(&format!("{train} --iterations {} --out until", saved.max(1)));
    assert_eq!(until["weights_digest"], result["weights_digest"]);
}

#[test]
fn patience_goes_on_after_a_stop_as_if_there_had_been_none() {
    let folder = Folder::new();
    shuffled(&folder);
    let train = "--data shuffled.csv --model mlp:16 --minibatch 8 --optimizer lbfgs --validation-fraction 0.3 \
                 --patience 6 --evaluate-every 2";
    let limit = "--iterations 60";
    let whole = folder.train(&format!("{train} {limit} --out whole"));
    assert_eq!(whole["stop_reason"], "patience");
    let saved = whole["saved_iteration"].as_u64().unwrap();
    folder.train(&format!("{train} --iterations {} --out part", saved + 3));
    let resumed = folder.run(&format!("resume part {limit} {ALONE} --json")).succeeded().last_json();
    for key in ["weights_digest", "stop_reason", "iterations", "saved_iteration", "validation_loss"] {
        assert_eq!(resumed[key], whole[key], "{key}");
    }
}

#[test]
fn points_are_evaluated_as_often_as_asked_and_at_the_end() {
    let folder = Folder::new();
    folder.write("held.csv", "x,y,side\n3,2,right\n-3,-1,left\n");
    folder.train(&format!(
        "--data classes.csv {SMALL} --iterations 8 --evaluate-every 3 --validation held.csv --out run"
    ));
    for line in metrics(&folder, "run") {
        let (rounds, iteration) = (line["rounds"].as_u64().unwrap(), line["iteration"].as_u64().unwrap());
        let expected = rounds == 0 || iteration == 8;
        assert!(!expected || line["test_loss"].is_number(), "{line}");
        assert_eq!(line["test_loss"].is_number(), line["validation_loss"].is_number(), "{line}");
    }
    let evaluated = metrics(&folder, "run").iter().filter(|line| line["test_loss"].is_number()).count();
    assert!((3..=5).contains(&evaluated), "{evaluated}");
}

#[test]
fn data_that_teach_nothing_end_with_a_reason() {
    let folder = Folder::new();
    let rows = |row: &dyn Fn(usize) -> String| (0..20).map(row).collect::<String>();
    folder.write("one-class.csv", &format!("x,side\n{}", rows(&|index| format!("{index},left\n"))));
    folder.write("one-number.csv", &format!("x,price\n{}", rows(&|index| format!("{index},7.5\n"))));
    folder.write("one-example.csv", "x,price\n1,7.5\n");
    let train = "train --model mlp:4 --task numbers --data";
    folder.run("train --data one-class.csv").failed(2, &["every label is \"left\"", "nothing to learn"]);
    folder
        .run(&format!("{train} one-example.csv"))
        .failed(2, &["no example would be left to test with", "--test-fraction 0"]);
    for optimizer in ["auto", "lbfgs", "sgd"] {
        let ran = folder.run(&format!("{train} one-number.csv --optimizer {optimizer} {ALONE} --json"));
        let result = ran.succeeded().last_json();
        let reason = result["stop_reason"].as_str().unwrap();
        assert!(["converged", "no-progress", "iterations"].contains(&reason), "{optimizer}: {result}");
        assert!(result["train_loss"].as_f64().unwrap() < 0.1, "{optimizer}: {result}");
    }
}
