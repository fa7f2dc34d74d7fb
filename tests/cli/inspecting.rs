//! `inspect`: what a network costs.

use serde_json::{Value, json};

use crate::shoal::Folder;

#[test]
fn a_table_tells_shapes_parameters_and_costs() {
    let folder = Folder::new();
    let told = folder.run("inspect lenet --input 1x28x28 --classes 10").succeeded().stdout;
    // LeCun and others (1998), counted by hand: 6 x (5 x 5 + 1), 16 x (6 x 5 x 5 + 1), 400 x 120 + 120 and so on.
    for line in [
        "input                1x28x28                      3.1 KB",
        "1 conv2d 5x5, relu   6x28x28         156  235.2 k  18.8 KB",
        "7 dense              10              850    1.7 k     40 B",
    ] {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert!(told.lines().any(|told| words(told) == words(line)), "{line:?} is missing in:\n{told}");
    }
    assert!(told.contains("61,706"), "{told}");
    assert!(told.contains("246.8 KB of weights"), "{told}");
}

#[test]
fn json_has_every_layer_and_the_sums_over_them() {
    let folder = Folder::new();
    let network = json!({"input": [2, 6, 6], "layers": [
        {"kind": "residual", "shortcut": "projection", "layers": [
            {"kind": "conv2d", "channels": 4, "kernel": 3, "padding": "same", "stride": 2, "activation": "none"},
            {"kind": "batch-norm"}]},
        {"kind": "dropout", "rate": 0.5}]});
    folder.write("network.json", &network.to_string());
    let told = folder.run("inspect network.json --classes 3 --minibatch 8 --json").succeeded().last_json();
    let layers: Vec<(&str, &str, Value, u64, u64, u64)> = told["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| {
            let number = |key: &str| layer[key].as_u64().unwrap();
            let text = |key: &str| layer[key].as_str().unwrap();
            let costs = (number("parameters"), number("flops"), number("memory_bytes"));
            (text("number"), text("layer"), layer["output"].clone(), costs.0, costs.1, costs.2)
        })
        .collect();
    // The convolution: 4 x 2 x 3 x 3 + 4 parameters, 36 values of 18 products; the projection: 4 x 2 + 4, of 2.
    assert_eq!(
        layers,
        [
            ("1", "residual", json!([4, 3, 3]), 0, 36, 144),
            ("1.1", "conv2d 3x3, stride 2", json!([4, 3, 3]), 76, 36 * 36, 144),
            ("1.2", "batch-norm", json!([4, 3, 3]), 16, 36 * 8, 144),
            ("1.shortcut", "projection", json!([4, 3, 3]), 12, 36 * 4, 0),
            ("2", "dropout 0.5", json!([4, 3, 3]), 0, 36, 144),
            ("3", "dense", json!([3]), 111, 2 * 36 * 3, 12),
        ]
    );
    let number = |key: &str| told[key].as_u64().unwrap();
    assert_eq!((number("parameters"), number("trainable")), (215, 207));
    let flops: u64 = layers.iter().map(|layer| layer.4).sum();
    assert_eq!((number("flops"), number("training_flops")), (flops, 3 * flops));
    assert_eq!(number("memory_bytes"), 4 * 72 + layers.iter().map(|layer| layer.5).sum::<u64>());
    assert_eq!((number("weights_bytes"), number("sums_bytes")), (4 * 215, 5 * 215));
    // Vectors and sums of 24 bytes a parameter in both; the activations of a minibatch in one.
    assert!(number("hub_bytes") > 24 * 215);
    assert!(number("core_bytes") > number("hub_bytes") + 8 * number("memory_bytes"));
}

/// What the network sees and answers may come from data, and from a run: before its model is saved as after.
#[test]
fn data_and_runs_tell_what_is_not_given() {
    let folder = Folder::new();
    let inspect =
        |arguments: &str| folder.run(&format!("inspect {arguments} --json")).succeeded().last_json();
    let given = inspect("mlp:8 --features 2 --classes 2");
    assert_eq!(inspect("mlp:8 --data classes.csv --label side"), given);
    assert_eq!(inspect("mlp:8 --data embedded:mnist")["parameters"], json!(784 * 8 + 8 + 8 * 10 + 10));
    folder.train("--data classes.csv --label side --model mlp:8 --iterations 2 --out run");
    assert_eq!(inspect("run"), given);
    std::fs::remove_file(folder.path("run/model.safetensors")).unwrap();
    assert_eq!(inspect("run"), given);
}

/// Two columns of integers whose classes no line separates, because they are names and not quantities.
#[test]
fn a_network_that_looks_integers_up_learns_what_they_stand_for() {
    let folder = Folder::new();
    let row =
        |i: u32| format!("{},{},{}\n", i % 4, i / 4 % 4, ["odd", "even"][(i % 4 + i / 4 % 4) as usize % 2]);
    let table: String = (0..160).map(row).collect();
    folder.write("integers.csv", &format!("first,second,sum\n{table}"));
    folder.write(
        "network.toml",
        "layers = [{ kind = \"embedding\", vocabulary = 4, width = 3 }, { kind = \"dense\", units = 8 }]\n",
    );
    let trained =
        folder.train("--data integers.csv --model network.toml --minibatch 16 --iterations 40 --out run");
    assert_eq!(trained["test_accuracy"], json!(1.0), "{trained}");
    let evaluated = folder.run("evaluate run --data integers.csv --json").succeeded().last_json();
    assert_eq!(evaluated["accuracy"], json!(1.0));
    folder.write("others.csv", "first,second,sum\n0,4,even\n");
    folder.run("evaluate run --data others.csv").failed(1, &["example 1", "column 2 (second)", "4 is not"]);
}
