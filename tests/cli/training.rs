//! `train`, `resume`, Ctrl-C and `demo`.

use std::process::{Command, Stdio};

use support::program::{Ran, Running};

use crate::shoal::{ALONE, Folder};

const SMALL: &str = "--model mlp:4 --minibatch 8 --iterations 6";

#[test]
fn the_last_line_of_json_has_everything_and_standard_output_nothing_else() {
    let folder = Folder::new();
    let ran = folder.run(&format!("train --data classes.csv {SMALL} {ALONE} --json")).succeeded();
    assert_eq!(ran.stdout.lines().count(), 1);
    let result = ran.last_json();
    assert_eq!(result["iterations"], 6);
    // Two features, four units, two classes.
    assert_eq!(result["parameters"], 2 * 4 + 4 + 4 * 2 + 2);
    assert_eq!(result["volunteers"], 0);
    assert_eq!(result["stop_reason"], "iterations");
    assert_eq!(result["weights_digest"].as_str().unwrap().len(), 64);
    for number in ["rounds", "epochs", "seconds", "train_loss", "test_loss", "test_accuracy"] {
        assert!(result[number].is_number(), "{number}: {result}");
    }
    assert!(ran.stderr.contains("iteration 6/6"), "{}", ran.stderr);
}

#[test]
fn the_summary_for_people_says_where_the_model_is_and_what_to_do_with_it() {
    let folder = Folder::new();
    let ran = folder.run(&format!("train --data classes.csv {SMALL} {ALONE}")).succeeded();
    for part in ["test accuracy", "runs/classes", "shoal predict runs/classes", "shoal evaluate runs/classes"]
    {
        assert!(ran.stdout.contains(part), "{part} is missing in: {}", ran.stdout);
    }
}

#[test]
fn binary_cross_entropy_learns_shares_as_they_are_and_refuses_other_numbers() {
    let folder = Folder::new();
    let rows = |large: &str| {
        (0..40).map(|i| format!("{i},{}\n", if i < 20 { "0" } else { large })).collect::<String>()
    };
    std::fs::write(folder.path("shares.csv"), rows("1")).unwrap();
    std::fs::write(folder.path("counts.csv"), rows("2")).unwrap();
    let network = r#"{ "layers": [{ "kind": "dense", "units": 4 }], "loss": "binary-cross-entropy" }"#;
    std::fs::write(folder.path("network.json"), network).unwrap();
    let train = format!("--model network.json --task numbers --minibatch 8 --iterations 12 {ALONE}");
    folder.run(&format!("train --data shares.csv {train} --out mine")).succeeded();
    let predicted = folder.run("predict mine --data shares.csv").succeeded();
    let shares: Vec<f32> =
        predicted.stdout.lines().filter_map(|line| line.rsplit(',').next()?.parse().ok()).collect();
    assert_eq!(shares.len(), 40);
    assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{shares:?}");
    assert!(shares[0] < 0.5 && shares[39] > 0.5, "{shares:?}");
    folder.run(&format!("train --data counts.csv {train}")).failed(2, &["binary cross-entropy", "0 to 1"]);
}

#[test]
fn a_run_directory_is_never_written_over() {
    let folder = Folder::new();
    let train = format!("train --data classes.csv {SMALL} {ALONE}");
    folder.run(&format!("{train} --out mine")).succeeded();
    let before = folder.read("mine/run.toml");
    folder.run(&format!("{train} --seed 2 --out mine")).failed(2, &["mine", "shoal resume", "--out"]);
    assert_eq!(folder.read("mine/run.toml"), before);
    // Without a place of their own, runs are numbered.
    for name in ["runs/classes", "runs/classes-2"] {
        folder.run(&train).succeeded();
        assert!(folder.path(name).join("model.safetensors").exists());
    }
}

#[test]
fn the_run_toml_of_a_run_repeats_it_to_the_bit() {
    let folder = Folder::new();
    let first = folder.train(&format!("--data classes.csv {SMALL} --seed 5 --out first"));
    let again = folder.train("--config first/run.toml --out again");
    assert_eq!(again["weights_digest"], first["weights_digest"]);
    let other = folder.train("--config first/run.toml --seed 6 --out other");
    assert_ne!(other["weights_digest"], first["weights_digest"], "a flag wins over the file");
    // The settings of the optimizer in the file are none of another one's.
    let adam = folder.train("--config first/run.toml --optimizer adam --out adam");
    assert_ne!(adam["weights_digest"], first["weights_digest"]);
}

#[test]
fn a_run_goes_on_beyond_its_limit_as_if_it_had_never_stopped() {
    let folder = Folder::new();
    let data = "--data classes.csv --model mlp:4 --minibatch 8";
    let whole = folder.train(&format!("{data} --iterations 9 --out whole"));
    folder.train(&format!("{data} --iterations 4 --out part"));
    let resumed = folder.run(&format!("resume part --iterations 9 {ALONE} --json")).succeeded().last_json();
    assert_eq!(resumed["iterations"], 9);
    assert_eq!(resumed["weights_digest"], whole["weights_digest"]);
}

#[test]
fn a_run_is_not_resumed_on_other_data() {
    let folder = Folder::new();
    folder.train(&format!("--data classes.csv {SMALL} --out run"));
    let changed = folder.read("classes.csv").replacen("0.5", "0.75", 1);
    folder.write("classes.csv", &changed);
    folder.run(&format!("resume run --iterations 9 {ALONE}")).failed(1, &["classes.csv", "not the data"]);
}

#[test]
fn a_run_goes_on_with_data_that_have_moved() {
    let folder = Folder::new();
    let whole = folder.train(&format!("--data classes.csv {SMALL} --out whole"));
    folder.train("--data classes.csv --model mlp:4 --minibatch 8 --iterations 3 --out run");
    std::fs::create_dir(folder.path("elsewhere")).unwrap();
    std::fs::rename(folder.path("classes.csv"), folder.path("elsewhere/moved.csv")).unwrap();
    let resume = format!("resume run --iterations 6 {ALONE} --json");
    folder.run(&resume).failed(1, &["classes.csv", "check the path"]);
    let moved = folder.run(&format!("{resume} --data elsewhere/moved.csv")).succeeded().last_json();
    assert_eq!(moved["weights_digest"], whole["weights_digest"]);
}

#[test]
fn a_run_is_not_resumed_where_columns_or_classes_have_other_names() {
    let folder = Folder::new();
    folder.train(&format!("--data classes.csv --label -1 {SMALL} --out run"));
    let original = folder.read("classes.csv");
    for (before, after) in [("x,y,side", "y,x,side"), ("left", "west")] {
        folder.write("classes.csv", &original.replace(before, after));
        folder.run(&format!("resume run --iterations 9 {ALONE}")).failed(1, &["classes.csv", "not the data"]);
    }
    folder.write("classes.csv", &original);
    folder.run(&format!("resume run --iterations 9 {ALONE}")).succeeded();
}

#[test]
fn a_run_is_not_resumed_with_other_settings() {
    let folder = Folder::new();
    folder.train(&format!("--data classes.csv {SMALL} --out run"));
    let saved = folder.read("run/run.toml");
    for (before, after) in [
        ("seed = 1", "seed = 2"),
        ("minibatch = 8", "minibatch = 4"),
        ("memory = 10", "memory = 9"),
        ("units = 4", "units = 5"),
    ] {
        assert!(saved.contains(before), "{saved}");
        folder.write("run/run.toml", &saved.replace(before, after));
        folder.run(&format!("resume run --iterations 9 {ALONE}")).failed(2, &["run.toml", "differs"]);
    }
    folder.write("run/run.toml", &saved);
    folder.run(&format!("resume run --iterations 9 {ALONE}")).succeeded();
}

#[test]
fn a_run_is_resumed_only_by_what_a_new_one_would_take() {
    let folder = Folder::new();
    folder.train(&format!("--data classes.csv {SMALL} --out run"));
    let before = folder.read("run/run.toml");
    for (flags, fragments) in [
        ("--iterations 0", ["iterations", "the run has done 6 already"]),
        ("--iterations 5", ["iterations", "the run has done 6 already"]),
        ("--target-accuracy 0", ["target-accuracy", "0.97"]),
        ("--allow-host x.y:1", ["--allow-host", "port"]),
    ] {
        folder.run(&format!("resume run {flags} {ALONE}")).failed(2, &fragments);
    }
    assert_eq!(folder.read("run/run.toml"), before, "a mistake must change nothing");
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_the_run_can_be_resumed_to_the_same_bits() {
    let folder = Folder::new();
    let whole = folder.train(&format!("--data classes.csv {SMALL} --out whole"));
    // It waits for a volunteer that never comes, so that it is interrupted at a known point.
    let arguments = format!("train --data classes.csv {SMALL} {ALONE} --wait-for 1 --out part --json");
    let mut running = folder.start(&arguments);
    running.says("Waiting");
    running.signal("INT");
    let ran = running.ended();
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert!(ran.stderr.contains("press Ctrl-C again"), "{}", ran.stderr);
    let result = ran.last_json();
    assert_eq!(result["stop_reason"], "interrupted");
    assert_eq!(result["run"], "part");

    // What has begun goes on at once, whomever it waited for at its beginning.
    let resumed = folder.run(&format!("resume part {ALONE} --json")).succeeded().last_json();
    assert_eq!(resumed["weights_digest"], whole["weights_digest"]);
}

#[test]
fn the_demo_ends_by_itself_without_a_terminal_or_a_browser() {
    let folder = Folder::new();
    let demo = format!("demo --model linear --iterations 1 --wait-seconds 0 {ALONE} --json");
    let result = folder.run(&demo).succeeded().last_json();
    assert_eq!(result["parameters"], 784 * 10 + 10);
    assert!(folder.path("runs/demo/model.safetensors").exists());
}

#[test]
fn a_port_that_is_taken_is_named_with_what_to_do() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let train = format!("train --data classes.csv {SMALL} --local-workers 1 --out run --listen");
    folder.run(&format!("{train} {address}")).failed(1, &[&address, "--listen"]);
    assert!(!folder.path("run").exists(), "nothing stands in the way of the next try");
    folder.run(&format!("{train} 127.0.0.1:0")).succeeded();
    let resume = "resume run --iterations 9 --listen";
    folder.run(&format!("{resume} {address}")).failed(1, &[&address, "--listen"]);
    folder.run(&format!("{resume} 127.0.0.1:0")).succeeded();
}

#[test]
fn it_says_what_is_predicted_and_how_to_have_it_otherwise() {
    let folder = Folder::new();
    let few: String = (0..40).map(|example| format!("{example},{}\n", example % 4)).collect();
    folder.write("few.csv", &format!("x,age\n{few}"));
    for (data, sentence) in [
        ("classes.csv", "predicting side: 2 classes, testing"),
        ("numbers.csv", "predicting price: a number, inferred from its values (--task classes for classes)"),
        ("few.csv", "predicting age: 4 classes, inferred from its values (--task numbers for numbers)"),
        ("few.csv --task numbers", "predicting age: a number, testing"),
    ] {
        let ran =
            folder.run(&format!("train --data {data} --model linear --iterations 1 {ALONE}")).succeeded();
        assert!(ran.stderr.contains(sentence), "{}", ran.stderr);
    }
}

#[test]
fn a_volunteer_is_not_mute_while_nobody_answers() {
    let folder = Folder::new();
    let mut running = folder.start("volunteer 127.0.0.1:1 --cores 1");
    running.says("No answer from http://127.0.0.1:1: the host refuses the connection");
    let said = running.said();
    assert!(said.contains("Lending 1 core to http://127.0.0.1:1;"), "{said}");
}

/// A process that is asked to end says by its exit code what asked: 128 and the signal's number, as shells have it.
#[cfg(unix)]
#[test]
fn a_training_that_is_asked_to_end_saves_and_exits_as_the_signal_has_it() {
    let folder = Folder::new();
    // Under nohup, which its children inherit, a closed terminal ends nothing.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
    let hang_up_counts = u64::from_str_radix(ignored.trim(), 16).is_ok_and(|mask| mask & 1 == 0);
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        if signal == "HUP" && !hang_up_counts {
            continue;
        }
        let run = format!("asked-by-{signal}");
        // L-BFGS would end by itself soon.
        let train = format!(
            "train --data classes.csv --model mlp:4 --minibatch 8 --optimizer sgd --iterations 1000000000 {ALONE} \
             --out {run}"
        );
        let mut running = folder.start(&train);
        running.says("iteration 3/");
        running.signal(signal);
        let ran = running.ended();
        assert_eq!(ran.code, Some(code), "{signal}: {}", ran.stderr);
        assert!(ran.stderr.contains("Stopping and saving"), "{signal}: {}", ran.stderr);
        assert!(folder.path(&run).join("model.safetensors").exists(), "{signal}");
    }
}

/// Files may not grow beyond a few thousand bytes: much like a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_of_once_and_leaves_no_torn_files() {
    let folder = Folder::new();
    let shoal = env!("CARGO_BIN_EXE_shoal");
    let train = format!(
        "train --data classes.csv --model mlp:2000 --iterations 20 {ALONE} --out run --save-seconds 1"
    );
    let script = format!("trap '' XFSZ; ulimit -f 4; exec {shoal} {train}");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(folder.path("")).env("TMPDIR", folder.path(""));
    let ran = Ran::of(&mut command);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    for (what, most) in [("checkpoints cannot be written", 1), ("the metrics cannot be written", 1)] {
        let told = ran.stderr.lines().filter(|line| line.contains(what)).count();
        assert!(told <= most, "{what}: {told} times in {}", ran.stderr);
    }
    assert!(ran.stderr.contains("make room") && ran.stderr.contains("shoal resume run"), "{}", ran.stderr);
    assert!(ran.stderr.contains("tried again for 1 s"), "{}", ran.stderr);
    let left = std::fs::read_dir(folder.path("run")).unwrap().map(|entry| entry.unwrap().file_name());
    let torn: Vec<_> = left.filter(|name| name.to_string_lossy().ends_with(".new")).collect();
    assert!(torn.is_empty(), "{torn:?}");
}

/// A model that no disk has room for is not lost: the dashboard has it, and it is whole.
#[cfg(target_os = "linux")]
#[test]
fn the_model_of_a_training_with_a_full_disk_is_downloaded() {
    let folder = Folder::new();
    let train = "train --data classes.csv --model mlp:2000 --test-fraction 0 --iterations 5";
    let room = folder.train(train.trim_start_matches("train ").trim());
    let script = format!(
        "trap '' XFSZ; ulimit -f 4; exec {} {train} {ALONE} --out full --save-seconds 3600",
        env!("CARGO_BIN_EXE_shoal")
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(folder.path("")).env("TMPDIR", folder.path(""));
    command.env("SHOAL_OPERATOR_TOKEN", "whoever-operates").env_remove("SHOAL_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(command);
    let line = running.says("listening on ");
    let address = line.split("listening on ").nth(1).unwrap().split(' ').next().unwrap().trim().to_owned();
    running.says("the dashboard offers it for download");
    let ask = |path: &str, more: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--header", "Authorization: Bearer whoever-operates"]);
        Ran::of(curl.args(more).arg(format!("{address}{path}")).current_dir(folder.path("")))
    };
    let seen = ask("/api/operator", &[]).succeeded().last_json();
    assert_eq!(seen["unsaved_model"], true, "{seen}");
    ask("/api/operator/model", &["--output", "taken.safetensors"]).succeeded();
    running.signal("INT");
    let ran = running.ended();
    assert!(ran.code != Some(0) && ran.stderr.contains("make room"), "{:?} {}", ran.code, ran.stderr);
    let again = folder
        .train("--data classes.csv --init taken.safetensors --test-fraction 0 --iterations 0 --out again");
    assert_eq!(again["weights_digest"], room["weights_digest"]);
}
