//! Runs on a real disk: saved data comes back, torn or altered files get an error message, and nothing
//! panics.

use std::{
    fs,
    path::{Path, PathBuf},
};

use model::{Arithmetic, Network, NetworkSpec};
use tempfile::TempDir;

use engine::Figures;
use engine::optimizers::Method;

use super::*;
use crate::data::{TargetScaling, TargetSchema, preprocessing_of, task_of};

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("runs/first");
    (folder, path)
}

fn report(iteration: u64, train_loss: f64) -> IterationReport {
    IterationReport {
        iteration,
        iterations_max: 60,
        rounds: iteration + 1,
        epochs: 1.0,
        figures: Figures { train_loss, test_accuracy: Some(0.5), ..Figures::UNKNOWN },
        gradient_norm: 1.0,
        step: 1.0,
        volunteers: 2,
        cores: 8,
        examples_per_second: 1e6,
        seconds: 1.5,
        eta_seconds: None,
        method: Method::Lbfgs,
        resumed: false,
    }
}

fn iterations(run: &Path) -> Vec<u64> {
    #[derive(serde::Deserialize)]
    struct Line {
        iteration: u64,
    }
    load_metrics::<Line>(run).unwrap().into_iter().map(|line| line.iteration).collect()
}

#[test]
fn a_new_run_never_takes_the_place_of_anything() {
    let (_folder, path) = folder();
    drop(RunDirectory::create(&path, "seed = 1\n").unwrap());
    assert_eq!(load_config(&path).unwrap(), "seed = 1\n");
    let message = RunDirectory::create(&path, "seed = 2\n").unwrap_err().to_string();
    assert!(message.contains("holds a run already") && message.contains("shoal resume"), "{message}");
    assert_eq!(load_config(&path).unwrap(), "seed = 1\n");

    let occupied = TempDir::new().unwrap();
    fs::write(occupied.path().join("thesis.tex"), "years of work").unwrap();
    assert!(matches!(RunDirectory::create(occupied.path(), ""), Err(RunError::NotEmpty { .. })));
    assert_eq!(fs::read_dir(occupied.path()).unwrap().count(), 1);

    let file = occupied.path().join("thesis.tex");
    assert!(matches!(RunDirectory::create(&file, ""), Err(RunError::Io { .. })));
    assert!(matches!(RunDirectory::open(&file), Err(RunError::NotARun { .. })));
    assert!(matches!(RunDirectory::open(occupied.path()), Err(RunError::NotARun { .. })));
}

#[test]
fn creating_goes_through_after_a_process_died_in_the_middle_of_it() {
    let (_folder, path) = folder();
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("lock"), "1\n").unwrap();
    fs::write(path.join("run.toml.new"), "see").unwrap();
    drop(RunDirectory::create(&path, "seed = 1\n").unwrap());
    assert_eq!(load_config(&path).unwrap(), "seed = 1\n");
}

#[test]
fn one_process_at_a_time() {
    let (_folder, path) = folder();
    let run = RunDirectory::create(&path, "").unwrap();
    let held = RunDirectory::open(&path).unwrap_err();
    assert!(matches!(held, RunError::Held { pid: Some(pid), .. } if pid == process::id()), "{held}");
    drop(run);
    drop(RunDirectory::open(&path).unwrap());
}

#[test]
#[cfg(unix)]
fn deleting_the_lock_file_admits_nobody() {
    let (_folder, path) = folder();
    let run = RunDirectory::create(&path, "").unwrap();
    fs::remove_file(path.join("lock")).unwrap();
    assert!(matches!(RunDirectory::open(&path), Err(RunError::Held { .. })));
    drop(run);
    drop(RunDirectory::open(&path).unwrap());
}

#[test]
#[cfg(unix)]
fn a_directory_in_the_place_of_the_run_is_left_alone() {
    let (_folder, path) = folder();
    let run = RunDirectory::create(&path, "first = 1\n").unwrap();
    fs::rename(&path, path.with_file_name("moved")).unwrap();
    let other = RunDirectory::create(&path, "second = 2\n").unwrap();
    for result in [run.save_config("first = 3\n"), run.save_checkpoint(VERSION, b"state", 1)] {
        assert!(matches!(result, Err(RunError::Gone { .. })), "{result:?}");
    }
    assert_eq!(load_config(&path).unwrap(), "second = 2\n");
    assert!(other.load_checkpoint(VERSION).unwrap().is_none());
    // Once it is back, the run goes on.
    drop(other);
    fs::remove_dir_all(&path).unwrap();
    assert!(matches!(run.save_config("first = 3\n"), Err(RunError::Gone { .. })));
    fs::rename(path.with_file_name("moved"), &path).unwrap();
    run.save_config("first = 3\n").unwrap();
    assert_eq!(load_config(&path).unwrap(), "first = 3\n");
}

#[test]
fn a_configuration_can_be_replaced() {
    let (_folder, path) = folder();
    let run = RunDirectory::create(&path, "iterations = 1\n").unwrap();
    run.save_config("iterations = 2\n").unwrap();
    assert_eq!(load_config(&path).unwrap(), "iterations = 2\n");
}

/// The version of the checkpoints saved here.
const VERSION: u32 = 7;

#[test]
fn a_checkpoint_of_another_version_is_refused_with_both_versions() {
    let (_folder, path) = folder();
    let run = RunDirectory::create(&path, "").unwrap();
    run.save_checkpoint(VERSION - 1, b"state", 2).unwrap();
    let message = run.load_checkpoint(VERSION).unwrap_err().to_string();
    assert!(message.contains("file version 6, this shoal reads 7"), "{message}");
}

#[test]
fn the_last_checkpoint_comes_back() {
    let (_folder, path) = folder();
    let run = RunDirectory::create(&path, "").unwrap();
    assert!(run.load_checkpoint(VERSION).unwrap().is_none());
    for state in [b"first".as_slice(), b"", &[7; 100_000]] {
        run.save_checkpoint(VERSION, state, 3).unwrap();
        let loaded = run.load_checkpoint(VERSION).unwrap().unwrap();
        assert_eq!(loaded.state, state);
        assert!(loaded.last_was_damaged.is_none());
    }
}

#[test]
fn a_crash_at_any_point_of_saving_a_checkpoint_loses_only_that_one() {
    let (_folder, path) = folder();
    let run = RunDirectory::create(&path, "").unwrap();
    run.save_checkpoint(VERSION, b"first", 4).unwrap();
    run.save_checkpoint(VERSION, b"second", 5).unwrap();
    // Torn while it was written.
    fs::write(path.join("checkpoint.new"), b"SHOALCK").unwrap();
    assert_eq!(run.load_checkpoint(VERSION).unwrap().unwrap().state, b"second");
    // Stopped between the two renames.
    fs::rename(path.join("checkpoint"), path.join("checkpoint.previous")).unwrap();
    let loaded = run.load_checkpoint(VERSION).unwrap().unwrap();
    assert_eq!(loaded.state, b"second");
    assert!(loaded.last_was_damaged.is_none());
    run.save_checkpoint(VERSION, b"third", 6).unwrap();
    assert_eq!(run.load_checkpoint(VERSION).unwrap().unwrap().state, b"third");
}

#[test]
fn a_training_that_goes_back_leaves_nothing_of_what_it_went_back_for() {
    let (_folder, path) = folder();
    let run = RunDirectory::create(&path, "").unwrap();
    for iteration in 0..8 {
        run.append_metrics(&report(iteration, 0.5)).unwrap();
    }
    run.save_checkpoint(VERSION, b"a lie", 4).unwrap();
    run.save_checkpoint(VERSION, b"the lie, later", 5).unwrap();
    run.rewind(VERSION, b"before the lie", 3, Some(3)).unwrap();
    assert!(run.earlier().is_empty());
    assert_eq!(iterations(&path), [0, 1, 2, 3]);
    assert_eq!(run.load_checkpoint(VERSION).unwrap().unwrap().state, b"before the lie");
    // Even a disk that loses the last one does not bring the lie back.
    fs::remove_file(path.join("checkpoint")).unwrap();
    assert_eq!(run.load_checkpoint(VERSION).unwrap().unwrap().state, b"before the lie");
    run.append_metrics(&report(4, 0.25)).unwrap();
    assert_eq!(iterations(&path), [0, 1, 2, 3, 4]);
    run.rewind(VERSION, b"the start", 0, None).unwrap();
    assert_eq!(iterations(&path), [0_u64; 0]);
}

#[test]
fn a_damaged_checkpoint_is_told_and_the_one_before_is_used() {
    let (_folder, path) = folder();
    let run = RunDirectory::create(&path, "").unwrap();
    run.save_checkpoint(VERSION, b"the only one", 7).unwrap();
    let file = path.join("checkpoint");
    let good = fs::read(&file).unwrap();
    for length in 0..good.len() {
        fs::write(&file, &good[..length]).unwrap();
        let message = run.load_checkpoint(VERSION).unwrap_err().to_string();
        assert!(message.contains("checkpoint is damaged"), "{length}: {message}");
    }
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 1;
        fs::write(&file, &bad).unwrap();
        let error = run.load_checkpoint(VERSION).unwrap_err();
        assert!(
            matches!(error, RunError::NoGoodCheckpoint { .. } | RunError::OtherVersion { .. }),
            "{position}: {error}"
        );
    }
    fs::write(&file, &good).unwrap();

    run.save_checkpoint(VERSION, b"a second one", 8).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&file, bad).unwrap();
    let loaded = run.load_checkpoint(VERSION).unwrap().unwrap();
    assert_eq!(loaded.state, b"the only one");
    assert!(matches!(loaded.last_was_damaged, Some(RunError::Damaged { .. })));
    // The damaged one is out of the way and cannot take the place of the good one.
    run.save_checkpoint(VERSION, b"third", 9).unwrap();
    fs::remove_file(&file).unwrap();
    assert_eq!(run.load_checkpoint(VERSION).unwrap().unwrap().state, b"the only one");
    run.save_checkpoint(VERSION, b"third", 10).unwrap();
    assert_eq!(run.load_checkpoint(VERSION).unwrap().unwrap().state, b"third");
}

#[test]
fn earlier_states_are_kept_the_denser_the_newer_and_void_ones_are_dropped() {
    let (_folder, path) = folder();
    let run = RunDirectory::create(&path, "").unwrap();
    assert!(run.earlier().is_empty());
    for rounds in 0..100_u64 {
        run.save_checkpoint(VERSION, rounds.to_string().as_bytes(), rounds).unwrap();
    }
    let kept = run.earlier();
    assert_eq!((kept.len(), kept[0], kept[7]), (8, 0, 99));
    for rounds in &kept {
        let state = run.load_earlier(VERSION, *rounds).unwrap();
        assert_eq!(state, Some(rounds.to_string().into_bytes()));
    }
    assert_eq!(run.load_earlier(VERSION, 1).unwrap(), None);
    run.cut_earlier(kept[3]).unwrap();
    assert_eq!(run.earlier(), kept[..4]);
    // The training goes back, and comes by the same numbers again.
    run.save_checkpoint(VERSION, b"again", kept[3]).unwrap();
    assert_eq!(run.load_earlier(VERSION, kept[3]).unwrap(), Some(b"again".to_vec()));
}

#[test]
fn metrics_are_one_line_an_iteration_also_over_a_resume() {
    let (_folder, path) = folder();
    let run = RunDirectory::create(&path, "").unwrap();
    for iteration in 0..4 {
        run.append_metrics(&report(iteration, 0.5)).unwrap();
    }
    drop(run);
    // Resumed from the checkpoint of iteration 1.
    let run = RunDirectory::open(&path).unwrap();
    for iteration in 2..6 {
        run.append_metrics(&report(iteration, f64::NAN)).unwrap();
    }
    assert_eq!(iterations(&path), [0, 1, 2, 3, 4, 5]);
    let values = load_metrics::<serde_json::Value>(&path).unwrap();
    assert_eq!(values[3]["train_loss"], 0.5);
    assert_eq!(values[4]["train_loss"], serde_json::Value::Null);
}

#[test]
fn a_torn_last_line_is_cut_off_wherever_it_is_torn() {
    let (_folder, path) = folder();
    let run = RunDirectory::create(&path, "").unwrap();
    run.append_metrics(&report(0, 0.5)).unwrap();
    run.append_metrics(&report(1, 0.5)).unwrap();
    drop(run);
    let file = path.join("metrics.jsonl");
    let whole = fs::read(&file).unwrap();
    let first = 1 + whole.iter().position(|&byte| byte == b'\n').unwrap();
    for length in first..whole.len() {
        // Some file systems leave zeros where the data did not arrive.
        for tail in [b"".as_slice(), &[0; 9]] {
            fs::write(&file, [&whole[..length], tail].concat()).unwrap();
            let run = RunDirectory::open(&path).unwrap();
            run.append_metrics(&report(1, 0.5)).unwrap();
            assert_eq!(fs::read(&file).unwrap(), whole, "torn at {length}");
        }
    }
}

#[test]
fn damaged_metrics_are_told_by_line() {
    let (_folder, path) = folder();
    drop(RunDirectory::create(&path, "").unwrap());
    let cases = [
        ("{\"iteration\":0}\nnonsense\n{\"iteration\":1}\n", "line 2"),
        ("{\"iteration\":1}\n{\"iteration\":1}\n", "line 2: iteration 1 does not follow"),
    ];
    for (content, expected) in cases {
        fs::write(path.join("metrics.jsonl"), content).unwrap();
        let message = RunDirectory::open(&path).unwrap_err().to_string();
        assert!(message.contains("metrics.jsonl is damaged") && message.contains(expected), "{message}");
    }
}

fn saved(targets: TargetSchema) -> SavedModel {
    let labels = match &targets {
        TargetSchema::Classes(_) => ["yes", "no"],
        TargetSchema::Numbers(_) => ["0.5", "0.25"],
    };
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("a.csv");
    let [one, other] = labels;
    let rows =
        format!("a,b,\"c \"\"quoted\"\"\",kind\n0.1,1e30,3,{one}\n0.3,-7e29,x,{other}\n0.7,,x,{one}\n");
    fs::write(&file, rows).unwrap();
    let data = crate::data::load(&file, &crate::data::ReadOptions::default()).unwrap();
    let mut preparation = crate::data::prepare(data.train, None, 0.0, 1).unwrap().preparation;
    preparation.targets = targets;
    let spec = NetworkSpec::from_shorthand("mlp:5,4:tanh").unwrap();
    let network = Network::new(&spec, preparation.inputs(), task_of(&preparation)).unwrap();
    SavedModel {
        weights: network.initialize(7).into(),
        network,
        arithmetic: Arithmetic::Fused,
        seed: u64::MAX,
        target_scaling: match &preparation.targets {
            TargetSchema::Classes(_) => None,
            TargetSchema::Numbers(_) => {
                Some(TargetScaling { mean: vec![1.0 / 3.0], deviation: vec![f64::MIN_POSITIVE] })
            }
        },
        preprocessing: preprocessing_of(&preparation),
        preparation,
    }
}

fn classes() -> TargetSchema {
    TargetSchema::Classes(vec!["yes".to_owned(), "no".to_owned()])
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_model_comes_back_with_every_bit() {
    for targets in [classes(), TargetSchema::Numbers(vec!["price".to_owned()])] {
        let (_folder, path) = folder();
        let run = RunDirectory::create(&path, "").unwrap();
        assert!(load_model(&path).unwrap_err().to_string().contains("has no model yet"));
        let mut model = saved(targets);
        let mut weights = model.weights.to_vec();
        weights[..3].copy_from_slice(&[f32::NAN, -0.0, 1e-42]);
        model.weights = weights.into();
        run.save_model(&model).unwrap();
        let loaded = load_model(&path).unwrap();
        assert_eq!(bits(&loaded.weights), bits(&model.weights));
        assert_eq!(bits(&loaded.preprocessing.offset), bits(&model.preprocessing.offset));
        assert_eq!(bits(&loaded.preprocessing.scale), bits(&model.preprocessing.scale));
        assert_eq!(loaded.network.spec(), model.network.spec());
        assert_eq!(loaded.preparation, model.preparation);
        assert_eq!(loaded.target_scaling, model.target_scaling);
        assert_eq!((loaded.arithmetic, loaded.seed), (model.arithmetic, model.seed));
        // The same model is the same file.
        let file = fs::read(path.join("model.safetensors")).unwrap();
        run.save_model(&model).unwrap();
        assert_eq!(fs::read(path.join("model.safetensors")).unwrap(), file);
    }
}

#[test]
fn weights_are_found_by_their_names() {
    let model = saved(classes());
    let bytes = model.to_bytes(Path::new("m")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let bias = file.tensor("layers.1.bias").unwrap();
    assert_eq!(bias.shape(), [4]);
    let block = model.network.layout().iter().find(|block| block.name == "layers.1.bias").unwrap();
    let expected: Vec<u8> = model.weights[block.range.clone()].iter().flat_map(|w| w.to_le_bytes()).collect();
    assert_eq!(bias.data(), expected);
}

#[test]
fn a_model_whose_parts_do_not_fit_is_not_written_over_a_good_one() {
    let (_folder, path) = folder();
    let run = RunDirectory::create(&path, "").unwrap();
    let good = saved(classes());
    run.save_model(&good).unwrap();
    let mut short = good.clone();
    short.weights = short.weights[1..].into();
    assert!(matches!(run.save_model(&short), Err(RunError::Unwritable { .. })));
    let mut infinite = good.clone();
    infinite.preprocessing.scale[0] = f32::INFINITY;
    assert!(matches!(run.save_model(&infinite), Err(RunError::Unwritable { .. })));
    assert_eq!(load_model(&path).unwrap().weights, good.weights);
}

#[test]
fn every_damage_to_a_model_file_is_an_error_and_never_a_panic() {
    let path = Path::new("model.safetensors");
    let good = saved(classes()).to_bytes(path).unwrap();
    for length in 0..good.len() {
        assert!(SavedModel::from_bytes(path, &good[..length]).is_err(), "cut to {length}");
    }
    let weights_at = weights_start(&good);
    for position in 0..good.len() {
        for flip in [1, 0x10, 0x80] {
            let mut bad = good.clone();
            bad[position] ^= flip;
            let result = SavedModel::from_bytes(path, &bad);
            // In the metadata a flipped bit may give another valid file (a name, a seed); in the weights it may not.
            assert!(position < weights_at || result.is_err(), "bit {flip:#x} of byte {position}");
        }
    }
}

fn weights_start(file: &[u8]) -> usize {
    8 + u64::from_le_bytes(*file.first_chunk().unwrap()) as usize
}

#[test]
fn a_model_file_tampered_with_is_told_by_what_is_wrong() {
    let path = Path::new("model.safetensors");
    let good = saved(classes()).to_bytes(path).unwrap();
    let cases = [
        ("\\\"version\\\":2", "\\\"version\\\":3", "another version of shoal"),
        ("\\\"position\\\":0", "\\\"position\\\":9", "a column stands outside the file"),
        ("\\\"unit\\\":1.0", "\\\"unit\\\":0.0", "the standardization must be finite"),
        ("[\\\"yes\\\",\\\"no\\\"]", "[\\\"yes,no\\\"]    ", "its network cannot be built"),
        ("layers.0.bias", "layers.0.bios", "the tensor layers.0.bias is missing"),
        ("\"shoal\"", "\"whale\"", "it has no `shoal` metadata"),
    ];
    for (from, to, expected) in cases {
        let header = String::from_utf8(good[8..weights_start(&good)].to_vec()).unwrap();
        assert!(header.contains(from), "{from} in {header}");
        let changed = header.replacen(from, to, 1);
        assert_eq!(changed.len(), header.len());
        let bytes = [&good[..8], changed.as_bytes(), &good[weights_start(&good)..]].concat();
        let message = SavedModel::from_bytes(path, &bytes).unwrap_err().to_string();
        assert!(message.contains("model.safetensors") && message.contains(expected), "{expected}: {message}");
    }
}

/// They are no loss. The checkpoints and the model are.
#[cfg(target_os = "linux")]
#[test]
fn earlier_states_make_way_on_a_full_disk() {
    let (_folder, path) = folder();
    let directory = RunDirectory::create(&path, "").unwrap();
    // `/dev/full` is a disk without room. The failed write removes the link: then there is room.
    let fill = |file| std::os::unix::fs::symlink("/dev/full", path.join(file)).unwrap();
    let keep = |numbers: [u8; 2]| {
        for rounds in numbers {
            directory.save_checkpoint(1, &[rounds], rounds.into()).unwrap();
        }
    };
    let last = || directory.load_checkpoint(1).unwrap().unwrap().state;
    keep([3, 6]);
    fill("checkpoint.new");
    directory.save_checkpoint(1, &[9], 9).unwrap();
    assert_eq!((last(), directory.earlier()), (vec![9], vec![9]));

    keep([10, 12]);
    fill("checkpoint.new");
    directory.rewind(1, &[11], 11, None).unwrap();
    assert_eq!((last(), directory.earlier()), (vec![11], vec![]));

    keep([13, 14]);
    fill("checkpoint.previous.new");
    directory.replace_checkpoints(1, &[14], 14).unwrap();
    assert_eq!((last(), directory.earlier()), (vec![14], vec![]));

    keep([15, 16]);
    fill("model.safetensors.new");
    directory.save_model(&saved(classes())).unwrap();
    assert_eq!((last(), directory.earlier()), (vec![16], vec![]));
}

/// What no room would mend costs no earlier state.
#[test]
fn earlier_states_stay_where_they_would_not_help() {
    let (_folder, path) = folder();
    let directory = RunDirectory::create(&path, "").unwrap();
    directory.save_checkpoint(1, &[3], 3).unwrap();
    std::fs::create_dir(path.join("checkpoint.new")).unwrap();
    directory.save_checkpoint(1, &[6], 6).unwrap_err();
    assert_eq!(directory.earlier(), [3]);
}
