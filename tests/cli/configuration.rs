//! Files and flags together.

use std::path::Path;

use coordinator::config::{ConfigFile, DataSource, Fraction, LeftOpen, LocalWorkers, ModelChoice, RunConfig};
use model::{Arithmetic, NetworkSpec};

use crate::shoal::Folder;

/// Every key that a file may have, none of them with its default.
const EVERYTHING: &str = r#"
data = "table.csv"
label = ["price", 3]
task = "numbers"
header = true
test = "test.csv"
validation = "validation.csv"
evaluate-every = 4
evaluate-training = true
rounds = 50
epochs = 7
max-seconds = 600
target-loss = 0.05
gradient-tolerance = 1e-4
relative-decrease = 0.001
patience = 5
model = "mlp:8"
l2 = 0.001
minibatch = 7
optimizer = "lbfgs"
sample = 500
overlap = 0.2
memory = 7
iterations = 9
seed = 12
arithmetic = "fused"
listen = "0.0.0.0:9000"
allow-host = "shoal.example.org"
local-workers = 2
wait-for = 3
wait-seconds = 30
out = "somewhere"
"#;

fn read(folder: &Folder, text: &str) -> ConfigFile {
    folder.write("config.toml", text);
    ConfigFile::read(&folder.path("config.toml")).unwrap()
}

#[test]
fn a_file_can_say_everything() {
    let folder = Folder::new();
    let file = read(&folder, EVERYTHING);
    assert_eq!(file.out.as_deref(), Some(folder.path("somewhere").as_path()));
    let config = file.resolve().unwrap();
    assert_eq!(config.data, DataSource::Path(folder.path("table.csv")));
    assert_eq!(config.label, ["price", "3"]);
    assert_eq!(config.test, Some(folder.path("test.csv")));
    assert_eq!(config.header, Some(true));
    assert_eq!(config.validation, Some(folder.path("validation.csv")));
    assert_eq!((config.evaluate_every, config.evaluate_training), (Some(4), true));
    assert_eq!((config.rounds, config.epochs, config.max_seconds), (Some(50), Some(7.0), Some(600)));
    assert_eq!((config.target_loss, config.gradient_tolerance), (Some(0.05), Some(1e-4)));
    assert_eq!((config.relative_decrease, config.patience), (Some(0.001), Some(5)));
    assert_eq!(config.model.layers, NetworkSpec::from_shorthand("mlp:8").unwrap().layers);
    assert_eq!(config.model.l2, 0.001);
    assert_eq!((config.minibatch, config.iterations, config.seed), (7, 9, 12));
    assert_eq!((config.sample, config.overlap, config.memory), (Some(500), Fraction::new(0.2), Some(7)));
    assert_eq!(config.arithmetic, Arithmetic::Fused);
    assert_eq!(config.listen, "0.0.0.0:9000".parse().unwrap());
    assert_eq!(config.allow_host, ["shoal.example.org".parse().unwrap()]);
    assert_eq!(config.local_workers, LocalWorkers::Count(2));
    assert_eq!((config.wait_for, config.wait_seconds), (3, Some(30)));
}

#[test]
fn what_run_toml_says_is_read_back_the_same() {
    let folder = Folder::new();
    let averaged = "data = \"a.csv\"\noptimizer = \"averaged\"\nreplicas = 9\nlocal-steps = 70\n\
                    learning-rate = 0.1\nschedule = \"linear\"\nschedule-iterations = 50";
    let smoothed =
        "data = \"a.csv\"\n[model]\nlayers = []\nlabel-smoothing = 0.1\nclass-weights = [1.0, 2.5]";
    let stochastic = "data = \"a.csv\"\noptimizer = \"adamw\"\nlearning-rate = \"auto\"\n\
                      minibatches-per-round = 3\nweight-decay = 0.1";
    for text in [
        EVERYTHING,
        averaged,
        stochastic,
        smoothed,
        "data = \"embedded:mnist\"",
        "data = \"a b's.csv\"\nlocal-workers = \"auto\"",
    ] {
        let mut config = read(&folder, text).resolve().unwrap();
        // What is written is given.
        config.left_open = LeftOpen::default();
        let back = RunConfig::from_toml(Path::new("run.toml"), &config.to_toml()).unwrap();
        assert_eq!(back, config);
        // And as the configuration of another run.
        assert_eq!(read(&folder, &config.to_toml()).resolve().unwrap(), config);
    }
}

#[test]
fn a_flag_wins_over_the_file_and_leaves_the_rest() {
    let folder = Folder::new();
    let flags = ConfigFile {
        seed: Some(99),
        model: Some(ModelChoice::Text("linear".to_owned())),
        ..ConfigFile::default()
    };
    let config = flags.or(read(&folder, EVERYTHING)).resolve().unwrap();
    assert_eq!(config.seed, 99);
    assert_eq!(config.model.layers, []);
    assert_eq!(config.model.l2, 0.001, "the file's l2 goes with any network");
    assert_eq!(config.minibatch, 7);
}

#[test]
fn test_examples_and_a_test_fraction_hide_each_other() {
    let folder = Folder::new();
    let half = Fraction::new(0.5);
    let flags = ConfigFile { test_fraction: half, validation_fraction: half, ..ConfigFile::default() };
    let config = flags.or(read(&folder, EVERYTHING)).resolve().unwrap();
    assert_eq!((config.test, config.test_fraction), (None, half));
    assert_eq!((config.validation, config.validation_fraction), (None, half));
}

#[test]
fn a_network_is_a_shorthand_a_file_or_a_table() {
    let folder = Folder::new();
    let toml = "layers = [{ kind = \"dense\", units = 5, activation = \"tanh\" }]\n";
    folder.write("network.toml", toml);
    let expected = NetworkSpec::from_shorthand("mlp:5:tanh").unwrap();
    folder.write("network.json", &expected.to_json());
    for model in ["model = \"mlp:5:tanh\"", "model = \"network.toml\"", "model = \"network.json\""] {
        let config = read(&folder, &format!("data = \"a.csv\"\n{model}")).resolve().unwrap();
        assert_eq!(config.model, expected, "{model}");
    }
    let config = read(&folder, &format!("data = \"a.csv\"\n[model]\n{toml}")).resolve().unwrap();
    assert_eq!(config.model, expected);
}

#[test]
fn an_address_may_be_given_in_part() {
    for (given, meant) in [
        ("9000", "127.0.0.1:9000"),
        (":9000", "127.0.0.1:9000"),
        ("localhost:9000", "127.0.0.1:9000"),
        ("localhost", "127.0.0.1:8080"),
        ("0.0.0.0", "0.0.0.0:8080"),
        ("::1", "[::1]:8080"),
        ("[::]:80", "[::]:80"),
        ("unix:/run/shoal/shoal.sock", "unix:/run/shoal/shoal.sock"),
    ] {
        let listen: coordinator::config::Listen = given.parse().unwrap();
        assert_eq!(listen.to_string(), meant, "{given}");
    }
}

#[test]
fn keys_have_hyphens_and_may_be_given_with_underscores() {
    let folder = Folder::new();
    let text = "data = \"a.csv\"\ntest_fraction = 0.3\n[model]\nlayers = []\nlabel_smoothing = 0.1";
    let config = read(&folder, text).resolve().unwrap();
    assert_eq!((config.test_fraction, config.model.label_smoothing), (Fraction::new(0.3), 0.1));
    let written = config.to_toml();
    assert!(
        written.contains("test-fraction = 0.3") && written.contains("label-smoothing = 0.1"),
        "{written}"
    );
}
