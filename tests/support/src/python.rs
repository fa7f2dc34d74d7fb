//! Python with the packages that other people use Shoal's files with, as `tests/run` installs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs a script of `tests/onnx` with arguments. Gives what it printed.
///
/// # Panics
/// With its messages if it fails.
pub fn run(script: &str, arguments: &[&Path]) -> String {
    let mut command = command();
    output(command.arg(root().join("tests/onnx").join(script)).args(arguments))
}

/// The Python interpreter, about to be run.
pub fn command() -> Command {
    Command::new(root().join("target/tools/python/bin/python"))
}

/// What a command printed.
///
/// # Panics
/// With its messages if it fails.
pub fn output(command: &mut Command) -> String {
    let ran = command.output();
    let ran = ran.unwrap_or_else(|error| panic!("cannot run {command:?} ({error}): tests/run installs it"));
    let (printed, said) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{command:?} failed:\n{printed}{said}");
    printed.into_owned()
}

/// The value of a sample in the answer of `/metrics`, by Prometheus's own parser of OpenMetrics.
///
/// # Panics
/// If the text is not well formed, or has no such sample.
pub fn metric(metrics: &str, name: &str) -> f64 {
    let code = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.argv[1]):
    for sample in family.samples:
        print(sample.name, sample.value)
";
    let printed = output(command().args(["-c", code, metrics]).stdin(Stdio::null()));
    let line = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {printed}")).parse().expect("a number")
}

/// The code of the first block in this language in a page of `docs`.
///
/// # Panics
/// If there is none.
pub fn example(page: &str, language: &str) -> String {
    let text = std::fs::read_to_string(root().join("docs").join(page)).expect("the page is there");
    let opening = format!("```{language}\n");
    let (_, code) = text.split_once(&opening).expect("the page has an example");
    code.split_once("```").expect("the example ends").0.to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
