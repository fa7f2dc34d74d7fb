//! `--init` and `--model FILE.onnx`: networks and weights from elsewhere, and back.

use std::path::Path;
use std::process::Stdio;

use support::python;

use crate::shoal::{ALONE, Folder};

const ALL: &str = "--minibatch 8 --test-fraction 0";

/// Runs Python code in the folder. Gives what it printed.
fn python(folder: &Folder, code: &str) -> String {
    let mut command = python::command();
    command.arg("-c").arg(code).current_dir(folder.path(".")).stdin(Stdio::null());
    python::output(&mut command).trim().to_owned()
}

#[test]
fn a_run_begins_with_the_weights_of_another() {
    let folder = Folder::new();
    let network =
        r#"{"layers": [{"kind": "dense", "units": 6, "activation": "tanh"}, {"kind": "batch-norm"}]}"#;
    folder.write("network.json", network);
    let first =
        folder.train(&format!("--data classes.csv --model network.json {ALL} --iterations 3 --out first"));
    // The network comes with the weights.
    let same = folder.train(&format!("--data classes.csv --init first {ALL} --iterations 0 --out same"));
    assert_eq!(same["weights_digest"], first["weights_digest"]);
    let file = folder.train(&format!(
        "--data classes.csv --init first/model.safetensors {ALL} --iterations 0 --seed 9 --out file"
    ));
    assert_eq!(file["weights_digest"], first["weights_digest"]);
    // Going on from there is another run than from random weights, to other bits.
    let more = folder.train(&format!("--data classes.csv --init first {ALL} --iterations 3 --out more"));
    let loss = |outcome: &serde_json::Value| outcome["training_set_loss"].as_f64();
    assert!(loss(&more) < loss(&first), "{more} {first}");
    let resumed = folder.run("resume same --iterations 3 --json").succeeded().last_json();
    assert_eq!(resumed["weights_digest"], more["weights_digest"]);
}

#[test]
fn what_does_not_fit_starts_at_random_and_is_named() {
    let folder = Folder::new();
    folder.train(&format!("--data classes.csv --model mlp:5 {ALL} --iterations 1 --out first"));
    let three: String =
        (0..60).map(|i| format!("{},{},{}\n", i % 7, i % 5, ["a", "b", "c"][i % 3])).collect();
    folder.write("three.csv", &format!("x,y,kind\n{three}"));
    let ran = folder.run(&format!(
        "train --data three.csv --init first {ALL} --iterations 1 --local-workers 1 --listen 127.0.0.1:0 --out more"
    ));
    let said = ran.succeeded().stderr;
    assert!(said.contains("first has other classes (left and right), so the output layer starts"), "{said}");
    let ran = folder.run(&format!(
        "train --data classes.csv --init first --model mlp:5,4 {ALL} --iterations 1 {ALONE} --out deeper"
    ));
    let said = ran.succeeded().stderr;
    assert!(said.contains("layers.1.weight [5, 4], layers.1.bias [4], layers.2.weight"), "{said}");
    assert!(said.contains("layers.1.weight [5, 2] are in") || said.contains("layers.1.bias [2]"), "{said}");

    folder
        .run("train --data numbers.csv --model mlp:3 --init first --out other")
        .failed(2, &["first", "none of its weights"]);
    folder.run("train --data classes.csv --init nowhere.onnx").failed(2, &["nowhere.onnx"]);
    folder.run("train --data classes.csv --init runs/nowhere").failed(2, &["cannot read", "runs/nowhere"]);
    folder.write("broken.onnx", "no graph");
    folder.run("train --data classes.csv --init broken.onnx").failed(2, &["broken.onnx"]);
    folder.run("train --data classes.csv --model broken.onnx").failed(2, &["broken.onnx"]);
    folder.run("train --data classes.csv --init classes.csv").failed(2, &["classes.csv", ".safetensors"]);
}

/// As many classes are not the same classes: a class goes on with the weights of a class of its name, wherever it
/// was, and a new one starts at random.
#[test]
fn classes_keep_their_weights_by_their_names() {
    let folder = Folder::new();
    folder.train(&format!("--data classes.csv --model mlp:5 {ALL} --iterations 2 --out first"));
    folder.run("export first --output first.onnx").succeeded();
    folder.run("export first --output first.safetensors").succeeded();
    for (data, renamed) in [("more", "left=left right=up"), ("turned", "left=zebra right=left")] {
        let mut text = folder.read("classes.csv");
        for pair in renamed.split(' ') {
            let (from, to) = pair.split_once('=').unwrap();
            text = text.replace(&format!(",{from}\n"), &format!(",{to}\n"));
        }
        folder.write(&format!("{data}.csv"), &text);
        for init in ["first", "first.onnx", "first.safetensors"] {
            let out = format!("{data}-{init}");
            let ran = folder.run(&format!(
                "train --data {data}.csv --init {init} --model mlp:5 {ALL} --iterations 0 {ALONE} --out {out}"
            ));
            let said = ran.succeeded().stderr;
            let new = if data == "more" { "up" } else { "zebra" };
            assert!(said.contains(&format!("does not have the class {new}: its output weights")), "{said}");
            assert!(said.contains("the data do not have the class right of"), "{said}");
            let kept = python(
                &folder,
                &format!(
                    "
import json, numpy as np
from safetensors import safe_open
def opened(run):
    with safe_open(run + '/model.safetensors', 'np') as file:
        names = json.loads(file.metadata()['shoal'])['preparation']['targets']['classes']
        return names, {{name: file.get_tensor(name) for name in file.keys()}}
(old, before), (new, after) = opened('first'), opened('{out}')
a, b = old.index('left'), new.index('left')
print(all(np.array_equal(before[n], after[n]) for n in before if n.startswith('layers.0')),
    np.array_equal(before['layers.1.weight'][:, a], after['layers.1.weight'][:, b]),
    before['layers.1.bias'][a] == after['layers.1.bias'][b],
    bool(np.isin(after['layers.1.weight'][:, 1 - b], before['layers.1.weight']).any()))
"
                ),
            );
            assert_eq!(kept, "True True True False", "{out}");
        }
    }
    // A file of another program has no names.
    folder.run("export first --output plain.onnx --without-preparation").succeeded();
    let plain = "
import onnx
model = onnx.load('plain.onnx')
del model.metadata_props[:]
onnx.save(model, 'plain.onnx')
";
    assert_eq!(python(&folder, plain), "");
    let ran = folder
        .run(&format!("train --data turned.csv --init plain.onnx {ALL} --iterations 0 {ALONE} --out plain"));
    let said = ran.succeeded().stderr;
    assert!(
        said.contains("plain.onnx does not name its classes; its outputs are taken for left and zebra"),
        "{said}"
    );
}

/// A network in the style of PyTorch, written with ONNX's own package: imported, trained for no iteration and
/// exported, it answers as before; trained, its exported accuracy is the one that `evaluate` gives.
#[test]
fn a_network_of_pytorch_goes_in_and_out() {
    let folder = Folder::new();
    let made = python(
        &folder,
        "
import numpy as np, onnx, onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
rng = np.random.default_rng(3)
w = {'fc1.weight': (6, 2), 'fc1.bias': (6,), 'fc2.weight': (2, 6), 'fc2.bias': (2,)}
w = {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in w.items()}
save_file(w, 'torch.safetensors')
nodes = [
    helper.make_node('Gemm', ['x', 'fc1.weight', 'fc1.bias'], ['h'], transB=1),
    helper.make_node('Relu', ['h'], ['r']),
    helper.make_node('Gemm', ['r', 'fc2.weight', 'fc2.bias'], ['y'], transB=1),
]
value = helper.make_tensor_value_info
graph = helper.make_graph(nodes, 'net', [value('x', TensorProto.FLOAT, ['n', 2])],
    [value('y', TensorProto.FLOAT, ['n', 2])], [numpy_helper.from_array(a, n) for n, a in w.items()])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), 'torch.onnx')
",
    );
    assert_eq!(made, "");
    let options = format!("--data classes.csv --label side {ALL}");
    let of_graph = folder.train(&format!("{options} --init torch.onnx --iterations 0 --out graph"));
    let of_tensors = folder
        .train(&format!("{options} --model mlp:6 --init torch.safetensors --iterations 0 --out tensors"));
    assert_eq!(of_graph["weights_digest"], of_tensors["weights_digest"]);
    folder.run("export graph --output back.onnx --without-preparation").succeeded();
    let same = "
import numpy as np, onnxruntime
x = np.random.default_rng(5).normal(0, 1, (20, 2)).astype(np.float32)
(y,) = onnxruntime.InferenceSession('torch.onnx').run(None, {'x': x})
(p,) = onnxruntime.InferenceSession('back.onnx').run(['probabilities'], {'input': x})
e = np.exp(y - y.max(axis=1, keepdims=True))
print(np.abs(p - e / e.sum(axis=1, keepdims=True)).max() < 1e-5)
";
    assert_eq!(python(&folder, same), "True");

    folder.train(&format!("{options} --model torch.onnx --iterations 20 --out trained"));
    folder.run("export trained --output trained.onnx").succeeded();
    let accuracy = "
import csv, numpy as np, onnxruntime
rows = list(csv.DictReader(open('classes.csv')))
x = np.array([[float(row['x']), float(row['y'])] for row in rows], np.float32)
(label,) = onnxruntime.InferenceSession('trained.onnx').run(['label'], {'input': x})
print(np.mean([row['side'] == given for row, given in zip(rows, label)]))
";
    let exported: f64 = python(&folder, accuracy).parse().unwrap();
    let evaluated = folder.run("evaluate trained --data classes.csv --json").succeeded().last_json();
    assert_eq!(evaluated["accuracy"].as_f64().unwrap(), exported);
    assert!(exported > 0.9, "{exported}");
}

/// A state dict has the weights of the graph that PyTorch exported beside it, under other names.
#[test]
fn a_state_dict_of_pytorch_fits_the_layers_of_its_network() {
    let folder = Folder::new();
    let of_pytorch = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/pytorch");
    let place = |name: &str| of_pytorch.join(name).to_str().unwrap().to_owned();
    let row = |i: usize| {
        (0..36).map(|x| format!("{},", (i * 37 + x * 11) % 29)).collect::<String>() + &(i % 3).to_string()
    };
    folder.write("rows.csv", &(0..60).map(|i| row(i) + "\n").collect::<String>());
    let options = format!("--data rows.csv --header false --task classes {ALL} --iterations 0");
    for (name, renamed) in
        [("convolutions", "conv1 as layers.0, conv2 as layers.2"), ("dense", "1 as layers.1")]
    {
        let (graph, tensors) = (place(&format!("{name}.onnx")), place(&format!("{name}.safetensors")));
        let of_graph = folder.train(&format!("{options} --init {graph} --out {name}-graph"));
        let ran = folder.run(&format!(
            "train {options} --model {graph} --init {tensors} --out {name}-tensors {ALONE} --json"
        ));
        let ran = ran.succeeded();
        assert!(ran.stderr.contains(renamed), "{}", ran.stderr);
        assert_eq!(ran.last_json()["weights_digest"], of_graph["weights_digest"], "{name}");
    }
    // `bn` and `block1.bn1` have equal shapes and no order.
    let block =
        r#"{"kind": "conv2d", "channels": 4, "kernel": 3, "padding": "same"}, {"kind": "batch-norm"}"#;
    folder
        .write("network.json", &format!(r#"{{"input": [1, 6, 6], "layers": [{block}, {block}, {block}]}}"#));
    folder
        .run(&format!("train {options} --model network.json --init {}", place("residual.safetensors")))
        .failed(2, &["cannot be told", "block1.bn1"]);
}

#[test]
fn frozen_layers_keep_the_weights_that_they_began_with() {
    let folder = Folder::new();
    folder.train(&format!("--data classes.csv --model mlp:6,5 --l2 0.01 {ALL} --iterations 2 --out first"));
    for optimizer in ["auto", "average", "lbfgs", "sgd", "adam"] {
        folder.train(&format!(
            "--data classes.csv --init first --freeze 1 {ALL} --optimizer {optimizer} --iterations 3 --out {optimizer}"
        ));
        let compared = python(
            &folder,
            &format!(
                "
import numpy as np
from safetensors.numpy import load_file
before, after = load_file('first/model.safetensors'), load_file('{optimizer}/model.safetensors')
print([name for name in sorted(before) if np.array_equal(before[name], after[name])])
"
            ),
        );
        assert_eq!(compared, "['layers.0.bias', 'layers.0.weight']", "{optimizer}");
    }
    let train = "train --data classes.csv --init first";
    folder.run(&format!("{train} --freeze 4")).failed(2, &["no layer 4"]);
    folder
        .run(&format!("{train} --freeze 1 --freeze 2 --freeze 3"))
        .failed(2, &["no layer is left to learn"]);
    folder.run(&format!("{train} --freeze 1 --optimizer adamw")).failed(2, &["adamw"]);
}
