//! The identity of a run: the settings and the data that its weights depend on.
//!
//! A run's number is a hash of a text that has a line for each of them: `minibatch=10`. Names and values are
//! the ones in `run.toml`, which users keep in files of their own; they stay when a type or a variant is
//! renamed. The network's own keys have underscores here, as they once had everywhere. A setting that is not
//! given has no line, so a new optional setting leaves the numbers of older runs alone.
//!
//! A change of the text for a given run makes its checkpoints useless. Raise
//! [`Checkpoint::VERSION`](crate::driver::Checkpoint::VERSION) then, so that the user learns why.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::config::{RunConfig, SETTINGS};

/// Names a run by everything that its weights depend on. `data_fingerprint` is
/// [`Prepared::fingerprint`](crate::data::Prepared::fingerprint).
pub fn run_number(config: &RunConfig, data_fingerprint: &[u8; 32]) -> u64 {
    let digest = blake3::hash(text(config, data_fingerprint).as_bytes());
    let (first, _) = digest.as_bytes().split_first_chunk().expect("a digest has 32 bytes");
    u64::from_le_bytes(*first)
}

fn text(config: &RunConfig, data_fingerprint: &[u8; 32]) -> String {
    let mut lines = BTreeMap::new();
    lines.insert("data".to_owned(), blake3::Hash::from_bytes(*data_fingerprint).to_hex().to_string());
    lines.insert("protocol".to_owned(), protocol::PROTOCOL_VERSION.to_string());
    let mut settings = serde_json::to_value(config).expect("every setting has a form in JSON");
    if let Some(network) = settings["model"].as_object_mut() {
        *network =
            std::mem::take(network).into_iter().map(|(key, value)| (key.replace('-', "_"), value)).collect();
    }
    // The table does not mark the settings for reading and splitting the data: the data's fingerprint covers
    // their effect.
    for setting in SETTINGS.iter().filter(|setting| setting.identity) {
        if let Some(value) = settings.get(setting.key) {
            collect(setting.key, value, &mut lines);
        }
    }
    lines.into_iter().fold(String::new(), |mut text, (name, value)| {
        writeln!(text, "{name}={value}").expect("writing to a string does not fail");
        text
    })
}

/// Gives each value within `value` a line. `model.layers.0.units` is the path of the first layer's width.
fn collect(path: &str, value: &Value, lines: &mut BTreeMap<String, String>) {
    match value {
        Value::Null => {}
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                collect(&format!("{path}.{index}"), value, lines);
            }
        }
        Value::Object(values) => {
            for (name, value) in values {
                collect(&format!("{path}.{name}"), value, lines);
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            lines.insert(path.to_owned(), value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Settings that a run's number was made from when runs first had numbers of this kind.
    const FIRST: [&str; 16] = [
        "arithmetic",
        "learning-rate",
        "local-steps",
        "memory",
        "minibatch",
        "minibatches-per-round",
        "model",
        "optimizer",
        "outer-momentum",
        "overlap",
        "replicas",
        "sample",
        "schedule",
        "schedule-iterations",
        "seed",
        "weight-decay",
    ];

    const FILE: &str = r#"
        data = "flowers.csv"
        minibatch = 10
        optimizer = "adamw"
        learning-rate = 0.1
        schedule = "cosine"
        schedule-iterations = 50
        minibatches-per-round = 4
        weight-decay = 0.01
        iterations = 50
        seed = 3
        arithmetic = "fused"
        listen = "127.0.0.1:8080"
        local-workers = "auto"
        wait-for = 0
        evaluate-every = 2

        [model]
        input = [1, 8, 8]
        l2 = 0.0
        layers = [
            { kind = "conv2d", channels = 4, kernel = 3, padding = "same" },
            { kind = "batch-norm" },
            { kind = "dense", units = 8, activation = "tanh" },
        ]
    "#;

    fn config(file: &str) -> RunConfig {
        RunConfig::from_toml(Path::new("run.toml"), file).unwrap()
    }

    #[test]
    fn a_run_is_known_by_the_same_lines_for_ever() {
        let mut config = config(FILE);
        let lines = text(&config, &[0xab; 32]);
        let expected = format!(
            r#"arithmetic="fused"
data={}
evaluate-every=2
learning-rate=0.10000000149011612
minibatch=10
minibatches-per-round=4
model.input.0=1
model.input.1=8
model.input.2=8
model.l2=0.0
model.layers.0.activation="relu"
model.layers.0.channels=4
model.layers.0.groups=1
model.layers.0.kernel=3
model.layers.0.kind="conv2d"
model.layers.0.padding="same"
model.layers.0.stride=1
model.layers.1.kind="batch-norm"
model.layers.2.activation="tanh"
model.layers.2.kind="dense"
model.layers.2.units=8
optimizer="adamw"
protocol={}
schedule="cosine"
schedule-iterations=50
seed=3
weight-decay=0.009999999776482582
"#,
            "ab".repeat(32),
            protocol::PROTOCOL_VERSION
        );
        assert_eq!(lines, expected, "runs that people have begun could not be resumed");

        let number = run_number(&config, &[0xab; 32]);
        config.iterations += 1;
        assert_eq!(run_number(&config, &[0xab; 32]), number);
        assert_ne!(run_number(&config, &[0xac; 32]), number);
        config.seed += 1;
        assert_ne!(run_number(&config, &[0xab; 32]), number);
    }

    #[test]
    fn no_setting_leaves_the_identity() {
        for key in FIRST {
            let setting = SETTINGS.iter().find(|setting| setting.key == key);
            assert!(setting.is_some_and(|setting| setting.identity), "{key}");
        }
    }

    #[test]
    fn the_keys_of_the_network_keep_their_underscores() {
        let smoothed = FILE.replace("l2 = 0.0", "l2 = 0.0\n        label-smoothing = 0.5");
        let lines = text(&config(&smoothed), &[0; 32]);
        assert!(lines.contains("\nmodel.label_smoothing=0.5\n"), "{lines}");
    }
}
