//! Every optimizer from the command line, on sound data and on odd data: it ends, and says why.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::shoal::{ALONE, EXAMPLES, Folder};

#[test]
fn every_optimizer_learns_where_a_line_lies() {
    let folder = Folder::new();
    for (number, flags) in [
        "auto",
        "averaged",
        "averaged --schedule linear --learning-rate 0.3 --replicas 3 --local-steps 20",
        "average --learning-rate 0.3",
        "average --outer-momentum 0.9 --learning-rate 0.3",
        "lbfgs",
        "lbfgs --sample 32 --overlap 0.5",
        "sgd --minibatches-per-round 2 --learning-rate 0.5",
        "momentum --minibatches-per-round 1 --schedule cosine",
        "adam --minibatches-per-round 3 --learning-rate 0.05",
        "adamw --minibatches-per-round 2 --learning-rate 0.05",
    ]
    .into_iter()
    .enumerate()
    {
        let data = "--data classes.csv --model mlp:8 --minibatch 8 --iterations 40";
        let result = folder.train(&format!("{data} --optimizer {flags} --out run-{number}"));
        assert!(result["test_accuracy"].as_f64().unwrap() >= 0.85, "{flags}: {result}");
    }
}

#[test]
fn a_learning_rate_far_off_is_survived() {
    let folder = Folder::new();
    let train = |rate, out| {
        let flags = "train --data classes.csv --model mlp:8 --minibatch 8 --optimizer averaged --iterations 30 --l2 0";
        folder.run(&format!("{flags} --learning-rate {rate} {ALONE} --json --out {out}")).succeeded()
    };
    let ran = train("10", "high");
    assert!(ran.stderr.contains("learning rates below"), "{}", ran.stderr);
    assert!(ran.last_json()["test_accuracy"].as_f64().unwrap() >= 0.85, "{}", ran.stdout);
}

/// Trains on handwritten digits; gives its metrics, a line an iteration.
fn digits(folder: &Folder, flags: &str, out: &str) -> Vec<Value> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/digits.csv.gz");
    let data = data.display();
    let model = "--model mlp:64 --optimizer averaged --evaluate-training --l2 0 --validation-fraction 0";
    folder.train(&format!("--data {data} {model} {flags} --out {out}"));
    let lines = folder.read(format!("{out}/metrics.jsonl"));
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_learning_rate_ten_times_too_low_or_too_high_costs_a_few_rounds() {
    let folder = Folder::new();
    let rounds = |rate: &str| {
        let metrics = digits(&folder, &format!("--iterations 30 --learning-rate {rate}"), rate);
        let done = metrics.iter().find(|point| point["training_set_loss"].as_f64().unwrap() <= 0.01);
        done.unwrap_or_else(|| panic!("{rate} did not get there"))["rounds"].as_u64().unwrap()
    };
    let good = rounds("0.3");
    for rate in ["0.03", "1", "3"] {
        let far_off = rounds(rate);
        assert!(far_off <= good + 5, "{far_off} rounds with {rate}, {good} with a good rate");
    }
}

#[test]
fn the_start_points_loss_is_that_of_the_learning_rate_found_there() {
    let folder = Folder::new();
    let searched = digits(&folder, "--iterations 2", "searched");
    let first_loss = |metrics: &[Value]| metrics[0]["train_loss"].as_f64().unwrap();
    let lowest = ["0.1", "0.3", "0.9"]
        .into_iter()
        .map(|rate| first_loss(&digits(&folder, &format!("--iterations 2 --learning-rate {rate}"), rate)));
    let lowest = lowest.fold(f64::INFINITY, f64::min);
    // Each trial takes the examples in an order of its own, which changes the loss by some percent.
    let loss = first_loss(&searched);
    assert!((loss / lowest - 1.0).abs() < 0.1, "{loss}, and the best of the rates has {lowest}");
    assert_eq!(searched[0]["rounds"], 0);
    assert!(searched[1]["rounds"].as_u64().unwrap() >= 2, "trials are rounds: {}", searched[1]);
    let iterations: Vec<_> = searched.iter().map(|point| point["iteration"].as_u64().unwrap()).collect();
    assert_eq!(iterations, [0, 1, 2]);
}

#[test]
fn odd_data_end_with_a_reason_and_finite_numbers() {
    let folder = Folder::new();
    let table = |row: &dyn Fn(usize) -> String, rows: usize| {
        let mut table = String::from("x,y,side\n");
        (0..rows).for_each(|index| writeln!(table, "{}", row(index)).unwrap());
        table
    };
    let scattered = |index: usize| index * 37 % 11;
    folder.write("one-example.csv", &table(&|_| "1.5,2.5,7".to_owned(), 1));
    let side = |index: usize| if scattered(index) % 2 == 0 { "left" } else { "right" };
    folder.write("constant.csv", &table(&|index| format!("3.25,0,{}", side(index)), EXAMPLES));
    let shuffled =
        |index: usize| format!("{},{},{}", index % 9, index * 7 % 13, side(index * index + index / 3));
    folder.write("shuffled.csv", &table(&shuffled, EXAMPLES));
    for (data, flags) in [
        ("one-example.csv", "--task numbers --test-fraction 0 --keep x --keep y"),
        ("constant.csv", "--task classes --keep x"),
        ("shuffled.csv", "--task classes"),
    ] {
        for optimizer in ["auto", "averaged", "average", "lbfgs", "adam"] {
            let out = format!("{optimizer}-{data}");
            let result = folder.train(&format!(
                "--data {data} --label side --model mlp:4 --iterations 25 --optimizer {optimizer} \
                 {flags} --out {out}"
            ));
            let reason = result["stop_reason"].as_str().unwrap();
            assert!(["iterations", "converged", "no-progress"].contains(&reason), "{out}: {result}");
            assert!(result["train_loss"].as_f64().unwrap() < 1.5, "{out}: {result}");
        }
    }
}
