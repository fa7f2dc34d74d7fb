//! `export`: files for other programs, used by these programs.

use std::path::Path;
use std::process::{Command, Stdio};

use support::python;

use crate::shoal::Folder;

/// The rows of `predict`'s output, without the header, as the documentation's examples print them.
fn predicted(folder: &Folder, data: &str) -> Vec<Vec<String>> {
    let csv = folder.run(&format!("predict run --data {data}")).succeeded().stdout;
    csv.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// Runs an example of the documentation in the folder.
fn run_example(folder: &Folder, example: &str) -> Vec<Vec<String>> {
    let mut command = python::command();
    command.arg("-c").arg(example).current_dir(folder.path(".")).stdin(Stdio::null());
    let printed = python::output(&mut command);
    printed.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// Equal texts; numbers within 1e-5 of each other.
fn assert_alike(ours: &[Vec<String>], theirs: &[Vec<String>]) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().flatten().zip(theirs.iter().flatten()) {
        match (ours.parse::<f64>(), theirs.parse::<f64>()) {
            (Ok(our), Ok(their)) => {
                assert!((our - their).abs() <= 1e-5 * our.abs().max(1.0), "{our} {their}")
            }
            _ => assert_eq!(ours, theirs),
        }
    }
}

#[test]
fn the_documented_example_answers_in_onnx_runtime_as_predict_does() {
    let folder = Folder::new();
    folder.train("--data classes.csv --label side --model mlp:8 --minibatch 8 --iterations 5 --out run");
    let said = folder.run("export run --format onnx --output model.onnx --license MIT").succeeded();
    assert_eq!(said.stdout, "");
    let answers = run_example(&folder, &python::example("export.md", "python"));
    assert_alike(&predicted(&folder, "classes.csv"), &answers);
    // A program that writes endings in capitals is understood, and the network can be looked at.
    folder.run("export run --output MODEL.ONNX").succeeded();
    let inspected = folder.run("inspect MODEL.ONNX --json").succeeded().last_json();
    let of_run = folder.run("inspect run --json").succeeded().last_json();
    assert_eq!(inspected["parameters"], of_run["parameters"]);
    assert!(of_run["parameters"].as_u64() > Some(0), "{of_run}");
    let metadata = run_example(
        &folder,
        "import onnx; print(*(p.key + '=' + p.value for p in onnx.load('model.onnx').metadata_props), sep='\\n')",
    )
    .into_iter()
    .map(|cells| cells.join(","))
    .collect::<Vec<_>>();
    assert!(metadata.contains(&r#"classes=["left","right"]"#.to_owned()), "{metadata:?}");
    assert!(metadata.contains(&r#"columns=["x","y"]"#.to_owned()), "{metadata:?}");
    assert!(metadata.contains(&"license=MIT".to_owned()), "{metadata:?}");
    assert!(metadata.iter().any(|entry| entry.starts_with("digest=") && entry.len() == 7 + 64));
}

#[test]
fn the_documented_example_answers_in_a_web_page_as_predict_does() {
    let folder = Folder::new();
    folder.train("--data classes.csv --label side --model mlp:8 --minibatch 8 --iterations 5 --out run");
    folder.run("export run --output model.onnx").succeeded();
    // The rows of the example.
    folder.write("rows.csv", "x,y\n-3.5,2.25\n4.5,1.25\n");
    folder.write("example.mjs", &python::example("export.md", "js"));
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/node/node_modules");
    std::os::unix::fs::symlink(packages, folder.path("node_modules")).unwrap();
    let mut node = Command::new("node");
    node.arg("example.mjs").current_dir(folder.path(".")).stdin(Stdio::null());
    let printed = python::output(&mut node);
    let answers: Vec<Vec<String>> =
        printed.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
    assert_alike(&predicted(&folder, "rows.csv"), &answers);
}

#[test]
fn weights_for_pytorch_and_numpy_are_those_of_the_model() {
    let folder = Folder::new();
    folder.train("--data numbers.csv --label price --task numbers --model mlp:4 --minibatch 8 --iterations 5 --out run");
    folder.run("export run --output model.safetensors").succeeded();
    folder.run("export run --output model.npz").succeeded();
    let checked = run_example(
        &folder,
        "
import numpy as np
from safetensors.numpy import load_file
ours, torch, own = np.load('model.npz'), load_file('model.safetensors'), load_file('run/model.safetensors')
assert set(ours) == set(own) == set(torch)
for name in own:
    assert np.array_equal(ours[name], own[name])
    assert np.array_equal(torch[name], own[name].T)
print(ours['layers.0.weight'].shape, torch['layers.0.weight'].shape)
",
    );
    assert_eq!(checked.concat().concat(), "(1 4) (4 1)");
}

#[test]
fn the_last_weights_are_there_beside_the_best() {
    let folder = Folder::new();
    let noise = |from: usize| -> String {
        let row = |i: usize| format!("{},{},{}\n", i * 37 % 91, i * 53 % 89, ["a", "b"][i * i % 7 % 2]);
        "x,y,kind\n".to_owned() + &(from..from + 90).map(row).collect::<String>()
    };
    folder.write("noise.csv", &noise(0));
    folder.write("more.csv", &noise(1000));
    let settings = "--data noise.csv --model mlp:16 --test-fraction 0 --cross-validation 0 --optimizer lbfgs --l2 0 \
                    --iterations 30 --patience 0";
    let chosen = folder.train(&format!("{settings} --validation more.csv --out run"));
    assert!(chosen["saved_iteration"].as_u64() < Some(30), "{chosen}");
    // The same training without a choice saves its last weights.
    folder.train(&format!("{settings} --validation-fraction 0 --out unchosen"));
    let exported = |flags: &str| {
        folder.run(&format!("export {flags} --output model.npz")).succeeded();
        std::fs::read(folder.path("model.npz")).unwrap()
    };
    assert_eq!(exported("run --last"), exported("unchosen"));
    assert_eq!(exported("run --best"), exported("run"));
    assert!(exported("run --last") != exported("run"));
    let loss = |flags: &str| {
        let evaluated = folder.run(&format!("evaluate {flags} --data noise.csv --json")).succeeded();
        evaluated.last_json()["loss"].as_f64().unwrap()
    };
    assert_eq!(loss("run --last"), loss("unchosen"));
    assert!(loss("run --last") < loss("run --best"));
    let predicted = |flags: &str| folder.run(&format!("predict {flags} --data more.csv")).succeeded().stdout;
    assert_eq!(predicted("run --last"), predicted("unchosen"));

    folder.run("export run --last --best --output model.npz").failed(2, &["--last", "--best"]);
    std::fs::remove_file(folder.path("run/checkpoint")).unwrap();
    // Not there if the training was over before its second checkpoint.
    let _ = std::fs::remove_file(folder.path("run/checkpoint.previous"));
    folder
        .run("export run --last --output model.npz")
        .failed(1, &["run", "no checkpoint", "leave --last out"]);
    folder.run("export run --output model.npz").succeeded();
}

#[test]
fn what_cannot_be_exported_is_said() {
    let folder = Folder::new();
    folder.run("export nowhere --output model.onnx").failed(2, &["nowhere", "run directory"]);
    folder.run("export run --output model.bin").failed(2, &["model.bin", "--format onnx"]);
    folder.run("export run --output model.npz --without-preparation").failed(2, &["--without-preparation"]);
    folder.run("export run --output model.onnx --format pickle").failed(2, &["pickle", "safetensors"]);
}
