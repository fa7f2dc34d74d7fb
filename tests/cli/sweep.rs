//! `sweep`: a series of trainings, its tables and charts, and what is kept of it.

use std::path::Path;

use coordinator::sweep::{self, CaseFile};

use crate::shoal::Folder;

/// Small enough for a moment; with a worker of its own.
const SMALL: &str = "--data classes.csv --model mlp:4 --iterations 5 --local-workers 1";

/// The records of a sweep's CSV, each a map from column to value.
fn records(folder: &Folder, name: &str) -> Vec<Record> {
    let text = folder.read(format!("{name}/sweep.csv"));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().map(|record| record.unwrap()).collect()
}

type Record = std::collections::BTreeMap<String, String>;

#[test]
fn every_case_is_trained_with_every_seed_and_compared() {
    let folder = Folder::new();
    let ran = folder
        .run(&format!(
            "sweep {SMALL} --over minibatch=4,8 --over l2=0,1e-3 --seeds 2 --targets accuracy=0.6 loss=0.3,1e-9 \
             --out s --json"
        ))
        .succeeded();
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
    let json = ran.last_json();
    assert_eq!((&json["runs"], &json["finished"], &json["failed"]), (&8.into(), &8.into(), &0.into()));
    assert_eq!(json["cases"].as_array().unwrap().len(), 4);
    assert_eq!(json["cases"][1]["case"], "minibatch=4, l2=1e-3");
    let targets = &json["cases"][0]["targets"];
    assert_eq!((&targets[0]["target"], &targets[0]["reached"]), (&"accuracy 0.6".into(), &2.into()));
    assert!(targets[0]["rounds"].as_f64().unwrap() <= 5.0, "{targets}");
    assert_eq!((&targets[2]["reached"], &targets[2]["seconds"]), (&0.into(), &serde_json::Value::Null));

    let records = records(&folder, "s");
    assert_eq!(records.len(), 8);
    let last = &records[7];
    for (column, value) in [
        ("case", "minibatch=8, l2=1e-3"),
        ("minibatch", "8"),
        ("l2", "1e-3"),
        ("seed", "2"),
        ("ended", "iterations"),
        ("problem", ""),
        ("iterations", "5"),
        ("rounds_to_loss_0.000000001", ""),
    ] {
        assert_eq!(last[column], value, "{column}");
    }
    // Each run is one like any other, and the same one that `train` makes.
    let alone =
        folder.train("--data classes.csv --model mlp:4 --iterations 5 --minibatch 8 --l2 1e-3 --seed 2");
    assert_eq!(last["weights_digest"], alone["weights_digest"].as_str().unwrap());
    assert!(folder.path("s").join(&last["run"]).join("model.safetensors").exists());

    let table = folder.read("s/sweep.md");
    for part in
        ["# classes: minibatch and l2", "Medians over 2 seeds", "rounds until", "never", "(rounds.svg)"]
    {
        assert!(table.contains(part), "{part} is missing in: {table}");
    }
    for chart in ["rounds.svg", "epochs.svg", "seconds.svg"] {
        let chart = folder.read(format!("s/{chart}"));
        assert!(chart.contains("minibatch=4, l2=0") && chart.contains("test accuracy"), "{chart}");
    }
}

#[test]
fn what_is_finished_is_kept_and_a_sweep_can_grow() {
    let folder = Folder::new();
    folder.run(&format!("sweep {SMALL} --over minibatch=8 --seeds 1 --out s")).succeeded();
    let model = folder.path("s/minibatch=8/seed-1/model.safetensors");
    let before = std::fs::metadata(&model).unwrap().modified().unwrap();
    let ran = folder.run(&format!("sweep {SMALL} --over minibatch=8,16 --seeds 2 --out s")).succeeded();
    assert!(ran.stderr.contains("4 runs of 2 cases (1 of them are finished already)"), "{}", ran.stderr);
    assert_eq!(std::fs::metadata(&model).unwrap().modified().unwrap(), before);
    assert!(ran.stdout.contains("Medians over 2 seeds"), "{}", ran.stdout);
    assert_eq!(records(&folder, "s").iter().filter(|record| record["ended"] == "iterations").count(), 4);
    // The same name with other settings would be another run.
    folder
        .run(&format!("sweep {SMALL} --over minibatch=8 --seeds 1 --out s --l2 0.5"))
        .failed(2, &["minibatch=8/seed-1", "another model", "--out"]);
    folder
        .run(&format!("sweep {} --over minibatch=8 --seeds 1 --out s", SMALL.replace('5', "7")))
        .failed(2, &["minibatch=8/seed-1", "iterations = 5, now 7", "--out"]);
}

#[test]
fn a_sweep_does_not_go_on_with_other_data() {
    let folder = Folder::new();
    let sweep = |seeds| folder.run(&format!("sweep {SMALL} --over minibatch=8 --seeds {seeds} --out s"));
    sweep(1).succeeded();
    let original = folder.read("classes.csv");
    folder.write("classes.csv", &original.replace("4.5,", "3.5,"));
    sweep(2).failed(2, &["seed-1", "other data", "--out"]);
    folder.write("classes.csv", &original);
    sweep(2).succeeded();
    folder.run("sweep --data - --over minibatch=8").failed(2, &["standard input", "name a file"]);
}

#[test]
fn a_setting_that_is_left_out_later_is_noticed() {
    let folder = Folder::new();
    let sweep =
        |flags: &str| folder.run(&format!("sweep {SMALL} --over minibatch=8 --seeds 1 --out s {flags}"));
    sweep("--learning-rate 0.25 --evaluate-every 2").succeeded();
    let part = "learning-rate = 0.25, now missing";
    sweep("--evaluate-every 2").failed(2, &["minibatch=8/seed-1", part, "--out"]);
    sweep("--learning-rate 0.25").failed(2, &["evaluate-every = 2, now missing"]);
    sweep("--learning-rate 0.25 --evaluate-every 2").succeeded();
    // Without the request, the run's own settings tell as much as they can.
    std::fs::remove_file(folder.path("s/minibatch=8/seed-1/request.toml")).unwrap();
    sweep("--learning-rate 0.25").failed(2, &["evaluate-every = 2, now missing"]);
    sweep("--learning-rate 0.25 --evaluate-every 2").succeeded();
}

#[test]
fn runs_are_judged_and_stopped_as_train_does() {
    let folder = Folder::new();
    let flags = "--validation-fraction 0.25 --evaluate-every 1 --evaluate-training";
    let small = SMALL.replace("--iterations 5", "");
    let ended = |name: &str, stopping: &str| -> String {
        folder
            .run(&format!("sweep {small} --over minibatch=8 --seeds 1 {flags} {stopping} --out {name}"))
            .succeeded();
        records(&folder, name)[0]["ended"].clone()
    };
    assert_eq!(ended("a", "--iterations 20 --rounds 3"), "rounds");
    assert_eq!(ended("b", "--iterations 20 --target-loss 0.6"), "target-loss");
    assert_eq!(ended("c", "--iterations 20 --target-accuracy 0.5"), "target-accuracy");
    assert_eq!(ended("d", "--iterations 500 --patience 1 --l2 0.1"), "patience");
    let metrics = folder.read("a/minibatch=8/seed-1/metrics.jsonl");
    for line in metrics.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["validation_loss"].is_number() && line["training_set_loss"].is_number(), "{line}");
    }
}

#[test]
fn a_case_that_fails_is_a_row_with_its_reason() {
    let folder = Folder::new();
    folder.write(
        "cases.toml",
        "data = \"classes.csv\"\nmodel = \"mlp:4\"\niterations = 2\nlocal-workers = 1\nseeds = [7]\n\
         targets = \"accuracy=0.5\"\n\
         [[case]]\nname = \"good | plain\"\n[[case]]\nname = \"bad\"\nmodel = \"lenet\"\n\
         [[case]]\nname = \"no data\"\ndata = \"absent.csv\"\n",
    );
    let ran = folder.run("sweep --cases cases.toml --out s");
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("2 of 3 runs failed; sweep.md says why"), "{}", ran.stderr);
    let records = records(&folder, "s");
    assert_eq!(
        records.iter().map(|record| &*record["ended"]).collect::<Vec<_>>(),
        ["iterations", "failed", "failed"]
    );
    assert_eq!(records[0]["seed"], "7");
    assert!(records[2]["problem"].contains("absent.csv"), "{records:?}");
    let table = folder.read("s/sweep.md");
    assert!(table.contains("- no data, seed 7: cannot") && table.contains("good \\| plain"), "{table}");
    assert!(ran.stdout.contains("0 of 1, 1 failed"), "{}", ran.stdout);
}

#[test]
fn mistakes_are_found_before_anything_is_written() {
    let folder = Folder::new();
    folder.write("no-cases.toml", "seeds = 2\n");
    folder.write("no-name.toml", "[[case]]\nl2 = 0.1\n");
    folder.write("bad-key.toml", "[[case]]\nname = \"one\"\nminibtach = 3\n");
    folder.write("bad-shared.toml", "minibtach = 3\n[[case]]\nname = \"one\"\n");
    folder.write("bad-seeds.toml", "seeds = 0\n[[case]]\nname = \"one\"\n");
    folder.write("twice.toml", "[[case]]\nname = \"one\"\n[[case]]\nname = \"One\"\n");
    let table: &[(&str, &[&str])] = &[
        ("", &["nothing to compare", "--over", "--cases"]),
        ("--over minibatch", &["minibatch=5,10,32"]),
        ("--over minibtach=5", &["did you mean minibatch?"]),
        ("--over minibatch=many", &["--over", "give a whole number, not \"many\""]),
        ("--over minibatch=8,0", &["case \"minibatch=0\"", "from 1"]),
        ("--over optimizer=adamant", &["there is no \"adamant\""]),
        ("--over model=mlp:4,mlp:x", &["case \"model=mlp:x\"", "mlp"]),
        ("--over seed=1,2", &["--seeds"]),
        ("--over minibatch=8 --seeds 0", &["--seeds", "such as 4,7"]),
        ("--over minibatch=8 --seeds 2 --seed 1", &["--seeds", "--seed"]),
        ("--over minibatch=8 --targets accuracy=97", &["0.97 for 97 %"]),
        ("--cases absent.toml", &["absent.toml"]),
        ("--cases no-cases.toml", &["no-cases.toml", "[[case]]"]),
        ("--cases no-name.toml", &["no-name.toml, line 1: every case needs a name"]),
        ("--cases bad-key.toml", &["bad-key.toml, line 3: case \"one\"", "did you mean minibatch?"]),
        ("--cases bad-shared.toml", &["bad-shared.toml, line 1: ", "did you mean minibatch?"]),
        ("--cases bad-seeds.toml", &["bad-seeds.toml, line 1: seeds", "such as 4,7"]),
        ("--cases twice.toml", &["case \"One\"", "another case"]),
    ];
    for (arguments, fragments) in table {
        folder.run(&format!("sweep {SMALL} {arguments} --out s")).failed(2, fragments);
    }
    std::fs::create_dir(folder.path("full")).unwrap();
    folder.write("full/something", "");
    folder
        .run(&format!("sweep {SMALL} --over minibatch=8 --out full"))
        .failed(2, &["full is not empty", "--out"]);
    // Found by every run, so that none was begun.
    folder.run("sweep --data absent.csv --over minibatch=8 --out s").failed(1, &["absent.csv"]);
    folder.run(&format!("sweep {SMALL} --label z --over minibatch=8 --out s")).failed(2, &["z"]);
    assert!(!folder.path("s").exists());
}

#[test]
fn the_case_files_of_the_repository_are_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments");
    for name in ["minibatch.toml", "optimizers.toml", "replicas.toml", "schedules.toml"] {
        let file = CaseFile::read(&folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        for case in sweep::combine(file.cases, &[]).unwrap() {
            let config = case.config.or(file.shared.clone()).resolve();
            assert!(config.is_ok(), "{name}, {}: {config:?}", case.name);
        }
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_is_done_and_the_sweep_goes_on_to_the_same_bits() {
    let folder = Folder::new();
    // The second case waits for a volunteer that never comes, so that it is interrupted at a known point.
    folder.write("waits.toml", &cases("wait-for = 1"));
    let arguments = "sweep --cases waits.toml --out s --json";
    let mut running = folder.start(arguments);
    running.says("Waiting");
    running.signal("INT");
    let ran = running.ended();
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert!(ran.stderr.contains("with --out s"), "{}", ran.stderr);
    assert_eq!(ran.last_json()["finished"], 1);
    let ended = |records: &[Record]| -> Vec<String> {
        records.iter().map(|record| record["ended"].clone()).collect()
    };
    assert_eq!(ended(&records(&folder, "s")), ["iterations", "", ""]);

    folder.write("goes.toml", &cases("wait-for = 0"));
    folder.run("sweep --cases goes.toml --out s").succeeded();
    let went_on = records(&folder, "s");
    assert_eq!(ended(&went_on), ["iterations", "iterations", "iterations"]);
    folder.run("sweep --cases goes.toml --out whole").succeeded();
    for (part, whole) in went_on.iter().zip(&records(&folder, "whole")) {
        assert_eq!(part["weights_digest"], whole["weights_digest"]);
    }
}

#[cfg(unix)]
fn cases(second: &str) -> String {
    format!(
        "data = \"classes.csv\"\nmodel = \"mlp:4\"\niterations = 4\nlocal-workers = 1\nseeds = 1\n\
         [[case]]\nname = \"first\"\n[[case]]\nname = \"second\"\nl2 = 0.001\n{second}\n[[case]]\nname = \"third\"\nl2 = 0.1\n"
    )
}
