//! What a training gets without flags: a model that is good on examples it has not seen.

use serde_json::Value;

use crate::shoal::{ALONE, Folder};

/// Two columns and a class: `class` gives it for the example with these cells.
fn table(folder: &Folder, name: &str, examples: usize, class: impl Fn(usize, usize, usize) -> usize) {
    let row = |example: usize| {
        let noise = example.wrapping_mul(2_654_435_761) >> 7;
        let (x, y) = (noise % 19, noise / 19 % 23);
        format!("{x}.5,{y}.25,c{}\n", class(x, y, noise / 437))
    };
    let rows: String = (0..examples).map(row).collect();
    folder.write(name, &format!("x,y,kind\n{rows}"));
}

fn setting(folder: &Folder, run: &str, key: &str) -> toml::Value {
    let run: toml::Table = folder.read(format!("{run}/run.toml")).parse().unwrap();
    run.get(key).unwrap_or_else(|| panic!("run.toml has no {key}")).clone()
}

fn number(result: &Value, path: &str) -> f64 {
    result.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {result}"))
}

#[test]
fn a_small_table_is_cross_validated_and_its_run_toml_repeats_the_choice_to_the_bit() {
    let folder = Folder::new();
    // No line separates these.
    table(&folder, "corners.csv", 400, |x, y, _| usize::from((x > 9) != (y > 11)));
    let ran = folder.run(&format!("train --data corners.csv {ALONE} --json --out run")).succeeded();
    assert!(ran.stderr.contains("Cross-validation in 5 folds chose mlp:"), "{}", ran.stderr);
    let result = ran.last_json();
    assert!(number(&result, "/test_accuracy") > 0.9, "{result}");
    assert_eq!(setting(&folder, "run", "optimizer").as_str(), Some("lbfgs"));
    assert_eq!(setting(&folder, "run", "cross-validation").as_integer(), Some(5));
    assert!(setting(&folder, "run", "model")["l2"].as_float().unwrap() > 0.0);
    assert_eq!(setting(&folder, "run", "iterations").as_integer().unwrap(), result["iterations"]);
    let again = folder.train("--config run/run.toml --out again");
    assert_eq!(again["weights_digest"], result["weights_digest"]);
    let ran = folder.run(&format!("resume run --iterations 300 {ALONE} --json")).succeeded();
    assert!(!ran.stderr.contains("Cross-validation"), "{}", ran.stderr);
}

#[test]
fn columns_that_tell_nothing_do_no_harm() {
    let folder = Folder::new();
    table(&folder, "noise.csv", 300, |_, _, rest| rest % 2);
    let result = folder.train("--data noise.csv --out run");
    let trivial = number(&result, "/test_quality/most_frequent/log_loss");
    assert!(number(&result, "/test_loss") < 1.1 * trivial, "{result}");
}

#[test]
fn what_is_given_is_not_chosen_and_each_rule_can_be_switched_off() {
    let folder = Folder::new();
    table(&folder, "line.csv", 300, |x, y, _| usize::from(x + y > 20));
    folder.train("--data line.csv --model mlp:4 --iterations 7 --out some");
    assert_eq!(setting(&folder, "some", "iterations").as_integer(), Some(7));
    assert_eq!(setting(&folder, "some", "model")["layers"][0]["units"].as_integer(), Some(4));
    let off = "--model mlp:4 --l2 0 --cross-validation 0 --validation-fraction 0 --iterations 5";
    let ran = folder.run(&format!("train --data line.csv {off} {ALONE} --out off")).succeeded();
    assert!(!ran.stderr.contains("Cross-validation") && !ran.stderr.contains("validating"), "{}", ran.stderr);
    assert_eq!(setting(&folder, "off", "model")["l2"].as_float(), Some(0.0));
    assert_eq!(setting(&folder, "off", "optimizer").as_str(), Some("auto"));
    folder
        .run(&format!("train --data line.csv --optimizer adam --cross-validation 3 {ALONE}"))
        .failed(2, &["cross-validation", "L-BFGS"]);
}

#[test]
fn with_many_examples_or_another_method_a_tenth_is_set_aside() {
    let folder = Folder::new();
    table(&folder, "line.csv", 1500, |x, y, _| usize::from(x + y > 20));
    let train = "train --data line.csv --optimizer averaged --model mlp:8 --iterations 4";
    let ran = folder.run(&format!("{train} {ALONE} --json --out run")).succeeded();
    assert!(ran.stderr.contains("validating on 120"), "{}", ran.stderr);
    assert!(ran.last_json()["validation_loss"].is_number(), "{}", ran.stdout);
    assert_eq!(setting(&folder, "run", "patience").as_integer(), Some(10));
    let l2 = setting(&folder, "run", "model")["l2"].as_float().unwrap();
    assert!((l2 * 1080.0 - 4.0).abs() < 1e-3, "{l2}");
}

#[test]
fn balanced_classes_weigh_the_same_however_rare_they_are() {
    let folder = Folder::new();
    // The rare class is hidden among the frequent one.
    table(&folder, "rare.csv", 600, |x, _, rest| usize::from(x > 14 && rest % 3 == 0));
    let train = "--data rare.csv --model linear";
    let recall = |result: &Value| number(result, "/test_quality/by_class/1/recall");
    let (plain, balanced) =
        (folder.train(train), folder.train(&format!("{train} --class-weights balanced --out run")));
    assert!(recall(&balanced) > recall(&plain) + 0.3, "{plain} {balanced}");
    let weights = setting(&folder, "run", "model")["class-weights"].clone();
    assert_eq!(weights.as_array().unwrap().len(), 2);
    folder
        .run(&format!("train --data numbers.csv --task numbers --class-weights balanced {ALONE}"))
        .failed(2, &["class-weights", "numbers have no classes"]);
}
