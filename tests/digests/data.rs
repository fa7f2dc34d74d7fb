//! The data of the pinned trainings. Any change here changes their digests.

use std::fmt::Write as _;
use std::path::Path;

use tempfile::TempDir;

/// Examples in each generated file.
const EXAMPLES: usize = 240;

/// Networks without a shorthand.
const NETWORKS: &[(&str, &str)] = &[
    (
        "convolutions.json",
        r#"{ "input": [1, 8, 8], "l2": 1e-4, "layers": [
            { "kind": "conv2d", "channels": 4, "kernel": 3, "padding": "same", "activation": "relu" },
            { "kind": "max-pool", "size": 2 },
            { "kind": "conv2d", "channels": 6, "kernel": 3, "activation": "tanh" },
            { "kind": "dense", "units": 12, "activation": "relu" }] }"#,
    ),
    (
        "residual.json",
        r#"{ "input": [1, 8, 8], "layers": [
            { "kind": "conv2d", "channels": 4, "kernel": 3, "padding": "same", "activation": "none" },
            { "kind": "batch-norm" },
            { "kind": "activation", "function": "relu" },
            { "kind": "residual", "shortcut": "projection", "activation": "relu", "layers": [
                { "kind": "conv2d", "channels": 6, "kernel": 3, "stride": 2, "padding": "same", "activation": "relu" },
                { "kind": "dropout", "rate": 0.2 },
                { "kind": "conv2d", "channels": 6, "kernel": 3, "padding": "same", "activation": "none" },
                { "kind": "batch-norm" }] },
            { "kind": "global-average-pool" }] }"#,
    ),
    (
        "normalized.json",
        r#"{ "label_smoothing": 0.1, "class_weights": [1.0, 2.0, 0.5], "layers": [
            { "kind": "dense", "units": 10, "activation": "none" },
            { "kind": "layer-norm" },
            { "kind": "activation", "function": "tanh" },
            { "kind": "dropout", "rate": 0.3 },
            { "kind": "dense", "units": 6, "activation": "relu" }] }"#,
    ),
    (
        "embedding.json",
        r#"{ "layers": [
            { "kind": "embedding", "vocabulary": 6, "width": 3 },
            { "kind": "dense", "units": 8, "activation": "relu" }] }"#,
    ),
    (
        "huber.json",
        r#"{ "loss": "huber", "huber_delta": 0.5, "l1": 1e-3, "layers": [
            { "kind": "dense", "units": 8, "activation": "tanh" }] }"#,
    ),
];

/// A folder with all files that the trainings name.
pub(crate) fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
    for (name, network) in NETWORKS {
        write(name, network);
    }
    let mut random = Random(1);
    let [mut classes, mut numbers, mut words, mut noise] =
        ["x,y,z,kind\n", "a,b,c,first,second\n", "one,two,three,label\n", "p,q,r,label\n"].map(String::from);
    for _ in 0..EXAMPLES {
        let [x, y, z] = random.three(100);
        let kind = ["low", "middle", "high"][usize::from(x + y > 80) + usize::from(x * y > 3000 + 10 * z)];
        writeln!(classes, "{x},{y}.5,-{z},{kind}").unwrap();
        let [a, b, c] = random.three(50);
        writeln!(numbers, "{a},{b},{c},{}.25,{}", 100 + a * b, 7000 - 30 * c).unwrap();
        let [one, two, three] = random.three(6);
        writeln!(words, "{one},{two},{three},{}", if (one + two) % 3 == three % 2 { "yes" } else { "no" })
            .unwrap();
        let [p, q, r] = random.three(20);
        writeln!(noise, "{p},{q},{r},{}", if p + random.below(20) > 20 { "yes" } else { "no" }).unwrap();
    }
    let files =
        [("classes.csv", classes), ("numbers.csv", numbers), ("words.csv", words), ("noise.csv", noise)];
    for (name, content) in files {
        write(name, &content);
    }
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/digits.csv.gz");
    std::fs::copy(digits, folder.path().join("digits.csv.gz")).unwrap();
    folder
}

/// A linear congruential generator with Knuth's constants for MMIX. It gives the same numbers forever,
/// whatever libraries change.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn three(&mut self, bound: u64) -> [u64; 3] {
        [(); 3].map(|()| self.below(bound))
    }
}
