//! One sentence that names what is wrong and says what to do; 2 for what was typed, 1 for what
//! happened. Never a panic, a backtrace or the innards of a type.

use crate::shoal::Folder;

/// Files with one thing wrong each.
const FILES: &[(&str, &str)] = &[
    ("unknown-key.toml", "data = \"classes.csv\"\nminibtach = 10\n"),
    ("wrong-kind.toml", "data = \"classes.csv\"\n\niterations = \"many\"\n"),
    ("percent.toml", "data = \"classes.csv\"\ntarget-accuracy = 97\n"),
    ("not-toml.toml", "data = \"classes.csv\nminibatch = 1\n"),
    ("two-tests.toml", "data = \"classes.csv\"\ntest = \"classes.csv\"\ntest-fraction = 0.1\n"),
    (
        "two-validations.toml",
        "data = \"classes.csv\"\nvalidation = \"classes.csv\"\nvalidation-fraction = 0.1\n",
    ),
    (
        "unknown-layer-key.toml",
        "data = \"classes.csv\"\n[model]\nlayers = [{ kind = \"dense\", width = 3 }]\n",
    ),
    (
        "wrong-layer.toml",
        "data = \"classes.csv\"\n[model]\n[[model.layers]]\nkind = \"dense\"\nunits = \"many\"\n",
    ),
    ("twice.toml", "data = \"classes.csv\"\ntest-fraction = 0.1\ntest_fraction = 0.2\n"),
    ("list.toml", "data = \"classes.csv\"\nminibatch = [5, 10]\n"),
    ("out-of-range.toml", "data = \"classes.csv\"\nminibatch = -5\n"),
    ("unknown-name.toml", "data = \"classes.csv\"\noptimizer = \"adamant\"\n"),
    ("unlike-any-key.toml", "data = \"classes.csv\"\ncolor = 1\n"),
    ("url-as-host.toml", "data = \"classes.csv\"\nallow-host = [\"a.example\", \"http://x.y/\"]\n"),
    ("no-layers.toml", "data = \"classes.csv\"\n[model]\nl2 = 0.1\n"),
    ("empty-network.toml", ""),
    ("list.json", "[]"),
    ("half.json", "{\"layers\": ["),
    ("network.toml", "layers = [{ kind = \"conv\", units = 3 }]\n"),
    ("network.json", "{\"layers\": [{\"kind\": \"dense\"}]}"),
    ("embedding.toml", "layers = [{ kind = \"embedding\", vocabulary = 4, width = 2 }]\n"),
    ("residual.toml", "layers = [{ kind = \"residual\", layers = [{ kind = \"dense\", units = 3 }] }]\n"),
    ("normalized.toml", "layers = [{ kind = \"batch-norm\" }]\n"),
    (
        "nested.toml",
        "data = \"classes.csv\"\n[model]\nlayers = [\n  { kind = \"dense\", units = 3 },\n  { kind = \"dense\", units = 3, \
         activation = \"Relu\" },\n]\n",
    ),
    ("padding.toml", "layers = [\n  { kind = \"conv2d\", channels = 3, kernel = 3, padding = \"sam\" }]\n"),
    ("weightless.toml", "layers = []\nclass-weights = [0, 0]\n"),
    ("ragged.csv", "x,y,side\n1,2,left\n1,2\n3,4,right\n"),
    (
        "text.csv",
        "x,kind\n1,a\ntwo,b\n\
      0,a\n1,b\n4,a\n9,b\n16,a\n25,b\n\
      36,a\n49,b\n64,a\n81,b\n3,a\n24,b\n\
      47,a\n72,b\n2,a\n31,b\n62,a\n95,b\n\
      33,a\n70,b\n12,a\n53,b\n96,a\n44,b\n",
    ),
    ("empty.csv", ""),
];

/// What no message may contain.
const INNARDS: [&str; 11] = [
    "untagged",
    "panicked",
    "RUST_BACKTRACE",
    "Error {",
    "Some(",
    "Os {",
    "ParseIntError",
    "u32",
    "unknown variant",
    "unknown field",
    "invalid type",
];

/// Command line, exit code, what the message must contain.
const TABLE: &[(&str, i32, &[&str])] = &[
    // Nothing, or nothing that is understood.
    ("", 2, &["Usage: shoal"]),
    ("trian", 2, &["trian", "train"]),
    ("train", 2, &["data is missing", "--data"]),
    ("train --dat classes.csv", 2, &["--dat", "--data"]),
    ("resume", 2, &["<RUN>"]),
    ("evaluate somewhere", 2, &["--data"]),
    ("volunteer", 2, &["<URL>"]),
    ("volunteer http://127.0.0.1:1 --cores 0", 2, &["--cores", "from 1 to 256"]),
    ("volunteer http://127.0.0.1:1 --give-up-after 0", 2, &["--give-up-after", "seconds from 1"]),
    (
        "volunteer http://127.0.0.1:1 --give-up-after 1",
        1,
        &["http://127.0.0.1:1", "refuses the connection", "gave up after 1 s", "--give-up-after"],
    ),
    (
        "volunteer http://typo.invalid:8080 --give-up-after 1",
        1,
        &["http://typo.invalid:8080", "gave up after 1 s", "check the address"],
    ),
    ("volunteer http://", 2, &["http://", "http://192.168.1.20:8080"]),
    ("volunteer ftp://127.0.0.1:1", 2, &["ftp://127.0.0.1:1", "http://192.168.1.20:8080"]),
    ("bench --case resnet", 2, &["--case", "resnet", "mlp-784-256-128-10/32"]),
    ("bench --arithmetic exact", 2, &["--arithmetic", "portable", "fused"]),
    ("bench --browser firefox --case mnist-pass", 2, &["mnist-pass", "--browser"]),
    ("bench --browser no-such-browser --quick", 1, &["cannot start no-such-browser"]),
    ("bench --browser true --quick", 1, &["true ended before"]),
    ("train --data classes.csv --model embedding.toml", 1, &["example 1", "column 1 (x)", "-4.5", "0 to 3"]),
    // What is to be inspected.
    ("inspect", 2, &["<MODEL>"]),
    ("inspect mlp:8", 2, &["--input 1x28x28", "--features 4", "--data"]),
    ("inspect mlp:8 --features 4", 2, &["--classes 10", "--numbers 1"]),
    ("inspect mlp:8 --features 4 --classes 3 --numbers 1", 2, &["--classes", "--numbers"]),
    ("inspect mlp:8 --input 28 --classes 3", 2, &["--input", "3x32x32"]),
    ("inspect mlp:8 --input 0x28x28 --classes 3", 2, &["--input", "3x32x32"]),
    ("inspect cnn:8 --features 7 --classes 3", 2, &["layer 1", "needs an image", "7 values"]),
    ("inspect residual.toml --features 4 --classes 3", 2, &["layer 1", "turns 4 into 3", "projection"]),
    ("inspect mpl:8 --features 4 --classes 3", 2, &["mpl:8", "mlp:128,64"]),
    ("inspect missing.toml --features 4 --classes 3", 2, &["cannot read missing.toml"]),
    ("inspect . --features 4", 2, &["leave out"]),
    ("inspect .", 1, &["."]),
    ("inspect missing.csv", 1, &["missing.csv", "check the path"]),
    ("inspect mlp:8 --features 4 --classes 3 --label kind", 2, &["mlp:8 is no data", "give --data"]),
    ("inspect classes.csv --classes 3", 2, &["classes.csv is data", "name a network"]),
    (
        "inspect normalized.toml --features 1000000 --classes 3 --minibatch 100",
        2,
        &["batch normalization", "smaller minibatch"],
    ),
    ("train --config nested.toml", 2, &["nested.toml, line 5", "did you mean relu?"]),
    (
        "inspect padding.toml --input 1x8x8 --classes 3",
        2,
        &["padding.toml", "\"same\", \"valid\" or a whole number"],
    ),
    ("train --data classes.csv --model weightless.toml", 2, &["class-weights", "not all of them"]),
    (
        "train --data classes.csv --model normalized.toml --minibatch 1",
        2,
        &["one example", "larger minibatch"],
    ),
    ("train --data classes.csv --model mlp:16000,16000", 1, &["of memory", "to spare", "smaller network"]),
    // Values out of range or of the wrong kind.
    ("train --data classes.csv --minibatch 0", 2, &["minibatch", "from 1"]),
    ("train --data classes.csv --minibatch ten", 2, &["--minibatch", "whole number"]),
    ("train --data classes.csv --minibatch -5", 2, &["--minibatch", "whole number"]),
    ("train --data classes.csv --iterations -1", 2, &["--iterations", "whole number"]),
    ("train --data classes.csv --seed -1", 2, &["--seed", "whole number"]),
    ("train --data classes.csv --l2 -1", 2, &["l2", "positive"]),
    ("train --data classes.csv --l2 nan", 2, &["l2"]),
    ("train --data classes.csv --replicas 0", 2, &["replicas", "from 1"]),
    ("train --data classes.csv --replicas 1000", 2, &["replicas", "only", "examples"]),
    (
        "train --data classes.csv --optimizer lbfgs --replicas 4",
        2,
        &["replicas", "auto, averaged and average"],
    ),
    ("train --data classes.csv --optimizer lbfgs --learning-rate 1", 2, &["learning-rate", "leave it out"]),
    ("train --data classes.csv --learning-rate 0", 2, &["--learning-rate", "auto or a positive number"]),
    ("train --data classes.csv --schedule sometimes", 2, &["--schedule", "constant", "linear"]),
    ("train --data classes.csv --sample 100", 2, &["sample", "only the optimizer lbfgs"]),
    ("train --data classes.csv --optimizer lbfgs --overlap 0.2", 2, &["overlap", "--sample"]),
    ("train --data classes.csv --optimizer lbfgs --sample 9 --overlap 0.6", 2, &["overlap", "at most 0.5"]),
    ("train --data classes.csv --optimizer average --outer-momentum 1", 2, &["outer-momentum", "below 1"]),
    ("train --data classes.csv --optimizer sgd --memory 5", 2, &["memory", "curvature"]),
    ("train --data classes.csv --memory 101", 2, &["memory", "to 100"]),
    ("train --data classes.csv --target-accuracy 97", 2, &["--target-accuracy", "0.97"]),
    ("train --data classes.csv --target-accuracy 0", 2, &["target-accuracy"]),
    ("train --data classes.csv --test-fraction 1", 2, &["test-fraction", "below 1"]),
    ("train --data classes.csv --test-fraction -0.1", 2, &["--test-fraction"]),
    ("train --data classes.csv --validation-fraction 1", 2, &["validation-fraction", "below 1"]),
    (
        "train --data classes.csv --validation-fraction 0.001",
        2,
        &["validation fraction", "no example would be left"],
    ),
    ("train --data classes.csv --cross-validation 1", 2, &["cross-validation", "one fold"]),
    (
        "train --data classes.csv --cross-validation 5 --validation-fraction 0.2",
        2,
        &["cross-validation", "take its place"],
    ),
    ("train --data classes.csv --class-weights even", 2, &["even", "balanced"]),
    ("train --data classes.csv --evaluate-every 0", 2, &["evaluate-every", "from 1"]),
    ("train --data classes.csv --rounds 0", 2, &["rounds", "from 1"]),
    ("train --data classes.csv --epochs 0", 2, &["epochs", "above 0"]),
    ("train --data classes.csv --epochs many", 2, &["--epochs", "a number such as"]),
    ("train --data classes.csv --max-seconds 0", 2, &["max-seconds", "from 1"]),
    ("train --data classes.csv --target-loss -1", 2, &["target-loss", "above 0", "0.01"]),
    ("train --data classes.csv --gradient-tolerance nan", 2, &["gradient-tolerance", "above 0"]),
    ("train --data classes.csv --relative-decrease 1", 2, &["relative-decrease", "below 1"]),
    ("train --data classes.csv --arithmetic exact", 2, &["--arithmetic", "portable", "fused"]),
    ("train --data classes.csv --optimizer adamant", 2, &["--optimizer", "lbfgs"]),
    ("train --data classes.csv --task guess", 2, &["--task", "classes", "numbers"]),
    ("train --data classes.csv --listen nowhere", 2, &["--listen", "127.0.0.1:8080"]),
    (
        "train --data classes.csv --listen unix:shoal.sock",
        2,
        &["--listen", "absolute", "unix:/run/shoal/shoal.sock"],
    ),
    (
        "train --data classes.csv --public-url shoal.example.org",
        2,
        &["--public-url", "https://shoal.example.org"],
    ),
    ("train --data classes.csv --local-workers some", 2, &["--local-workers", "auto"]),
    ("train --data classes.csv --wait-for all", 2, &["--wait-for", "whole number"]),
    ("train --data classes.csv --allow-host=", 2, &["--allow-host", "shoal.example.org"]),
    ("train --data classes.csv --allow-host http://x.y/", 2, &["--allow-host", "without http://"]),
    ("train --data classes.csv --allow-host x.y:8080", 2, &["--allow-host", "port"]),
    ("train --data embedded:iris", 2, &["--data", "embedded:mnist"]),
    // Things that contradict each other.
    ("train --data classes.csv --listen unix:/run/shoal.sock", 2, &["listen", "--public-url https://"]),
    (
        "train --data classes.csv --listen unix:/run/shoal.sock --public-url https://x.y --tls-self-signed",
        2,
        &["listen", "leave out --tls-cert, --tls-key and --tls-self-signed"],
    ),
    ("demo --lan --listen unix:/run/shoal.sock --public-url https://x.y", 2, &["--lan", "Unix socket"]),
    (
        "gateway --link nats://127.0.0.1:1 --store s --listen unix:/run/shoal.sock",
        2,
        &["listen", "--public-url https://"],
    ),
    ("train --data classes.csv --test classes.csv --test-fraction 0.2", 2, &["--test ", "--test-fraction"]),
    ("train --data classes.csv --test-fraction 0 --target-accuracy 0.9", 2, &["target-accuracy"]),
    ("train --data numbers.csv --task numbers --target-accuracy 0.9", 2, &["target-accuracy"]),
    (
        "train --data classes.csv --validation classes.csv --validation-fraction 0.2",
        2,
        &["--validation ", "--validation-fraction"],
    ),
    (
        "train --data classes.csv --patience 3 --validation-fraction 0",
        2,
        &["patience", "there are none", "--validation-fraction 0.1", "--validation"],
    ),
    (
        "train --data classes.csv --optimizer average --gradient-tolerance 0.1",
        2,
        &["gradient-tolerance", "local steps measure no gradient"],
    ),
    ("train --config two-validations.toml", 2, &["validation-fraction", "not both"]),
    ("train --data embedded:mnist --label 3", 2, &["MNIST", "--label"]),
    // Networks.
    ("train --data classes.csv --model resnet", 2, &["resnet", "mlp:128,64"]),
    ("train --data classes.csv --model mlp:8,x", 2, &["layer 2", "\"x\""]),
    ("train --data classes.csv --model mlp:0", 2, &["layer 1", "0 units"]),
    ("train --data classes.csv --model mlp:8:cube", 2, &["cube", "tanh"]),
    ("train --data classes.csv --model missing.toml", 2, &["missing.toml"]),
    ("train --data classes.csv --model network.toml", 2, &["network.toml", "line 1", "no \"conv\""]),
    ("train --data classes.csv --model network.json", 2, &["network.json", "line 1", "key units is missing"]),
    (
        "train --data classes.csv --model list.json",
        2,
        &["list.json", "a table with the key layers, not a list"],
    ),
    ("train --data classes.csv --model half.json", 2, &["half.json", "line 1", "ends too early"]),
    ("train --data classes.csv --model empty-network.toml", 2, &["empty-network.toml", "layers", "linear"]),
    // Labels.
    ("train --data classes.csv --label color", 2, &["classes.csv", "color"]),
    ("train --data classes.csv --label 7", 2, &["classes.csv", "7"]),
    // Configuration files.
    ("train --config missing.toml", 2, &["missing.toml"]),
    (
        "train --config unknown-key.toml",
        2,
        &["unknown-key.toml", "line 2", "minibtach", "did you mean minibatch?"],
    ),
    ("train --config unlike-any-key.toml", 2, &["line 2", "color", "data, label", ", out and "]),
    (
        "train --config wrong-kind.toml",
        2,
        &["wrong-kind.toml", "line 3", "iterations: give a whole number", "many"],
    ),
    ("train --config out-of-range.toml", 2, &["line 2", "minibatch: give a whole number from 0", "-5"]),
    ("train --config unknown-name.toml", 2, &["line 2", "optimizer", "no \"adamant\"", "give auto"]),
    ("train --config url-as-host.toml", 2, &["line 2", "allow-host", "\"http://x.y/\"", "shoal.example.org"]),
    ("train --config no-layers.toml", 2, &["no-layers.toml", "layers", "linear"]),
    ("train --config percent.toml", 2, &["percent.toml", "line 2", "target-accuracy", "0.97"]),
    ("train --config not-toml.toml", 2, &["not-toml.toml", "line 1"]),
    ("train --config two-tests.toml", 2, &["test-fraction", "not both"]),
    (
        "train --config wrong-layer.toml",
        2,
        &["wrong-layer.toml", "line 5", "units: give a whole number", "many"],
    ),
    ("train --config twice.toml", 2, &["twice.toml", "line 3", "test-fraction is given twice"]),
    ("train --config list.toml", 2, &["list.toml", "line 2", "minibatch: give a whole number, not a list"]),
    ("train --config unknown-layer-key.toml", 2, &["unknown-layer-key.toml", "line 3", "width"]),
    // Files and folders that are not what they should be.
    ("train --data classes.csv --validation missing.csv", 1, &["missing.csv"]),
    ("train --data missing.csv", 1, &["missing.csv"]),
    ("train --data empty.csv", 1, &["empty.csv"]),
    ("train --data ragged.csv", 1, &["ragged.csv", "line 3"]),
    ("train --data text.csv", 1, &["text.csv", "line 3", "two"]),
    ("resume missing", 2, &["missing", "not a run directory"]),
    ("evaluate missing --data classes.csv", 2, &["missing", "not a run directory"]),
    ("predict . --data classes.csv", 2, &["not a run directory"]),
];

#[test]
fn every_mistake_gets_its_sentence_and_its_exit_code() {
    let folder = Folder::new();
    for (name, content) in FILES {
        folder.write(name, content);
    }
    for (arguments, code, fragments) in TABLE {
        let ran = folder.run(arguments);
        ran.failed(*code, fragments);
        for innards in INNARDS {
            assert!(!ran.stderr.contains(innards), "shoal {arguments}: {}", ran.stderr);
        }
    }
    assert!(!folder.path("runs").exists(), "a mistake must leave nothing behind");
}

#[test]
fn an_error_of_ours_is_exactly_one_line() {
    let folder = Folder::new();
    for arguments in ["train", "train --data missing.csv", "train --data classes.csv --model resnet"] {
        let ran = folder.run(arguments);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    }
}

#[test]
fn a_wrong_log_filter_is_named() {
    let folder = Folder::new();
    let output = folder.command("evaluate x --data y").env("SHOAL_LOG", "coordinator=loud").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("SHOAL_LOG"), "{stderr}");
}

#[test]
fn help_and_version_are_no_errors() {
    let folder = Folder::new();
    for arguments in ["--help", "--version", "demo --help", "train --help", "resume --help", "predict -h"] {
        assert!(!folder.run(arguments).succeeded().stdout.is_empty());
    }
}

#[test]
fn help_states_every_default() {
    let folder = Folder::new();
    let help = folder.run("train --help").succeeded().stdout;
    let words: Vec<&str> = help.split_whitespace().collect();
    let help = words.join(" ");
    for default in ["mlp:128 for images", "10]", "60,", "1]", "portable]", "127.0.0.1:8080]", "auto]", "0.2,"]
    {
        assert!(help.contains(&format!("[default: {default}")), "{default} is missing in: {help}");
    }
}
