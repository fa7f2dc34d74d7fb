//! Searches the source for code that must not be there.
//!
//! The `clippy.toml` of each pure crate forbids reading a clock, but only if somebody runs clippy and nobody
//! writes an `allow`. This test reads every file and names the line, whatever the file allows.

mod mentions;
mod messages;

use std::fs;
use std::path::{Path, PathBuf};

use mentions::mentions;

/// Crates that must not reach the outside world.
const PURE: [&str; 7] = ["model", "protocol", "worker", "bench", "engine", "gateway", "onnx"];

/// Paths to the outside world: the runtime, files, sockets, threads, clocks, randomness from the operating
/// system, and the ways to import one of these under another name. The threads of rayon are allowed: they
/// change no bit.
const IMPURE: [&str; 17] = [
    "tokio",
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::thread",
    "std::process",
    "std::os",
    "Instant",
    "SystemTime",
    "getrandom",
    "OsRng",
    "thread_rng",
    "rand::rng",
    "use std",
    "std::*",
    "extern crate",
];

/// Floating-point operations whose results depend on the platform's library, and containers whose order
/// depends on chance.
const UNSTEADY: [&str; 15] = [
    "HashMap",
    "HashSet",
    "RandomState",
    ".exp",
    ".ln",
    ".tanh",
    ".sin",
    ".cos",
    ".powf",
    ".powi",
    ".dot",
    ".sum_axis",
    "f32::exp",
    "f64::exp",
    "f64::ln",
];

/// The only folder that may contain `unsafe`.
const KERNELS: &str = "model/src/kernels";

#[test]
fn the_pure_parts_reach_nothing_outside() {
    let found = PURE.iter().flat_map(|name| lines_with(&source(name), &IMPURE)).collect::<Vec<_>>();
    assert!(found.is_empty(), "these lines reach outside:\n{}", found.join("\n"));
}

#[test]
fn the_pure_parts_use_nothing_that_differs_between_machines() {
    let found = PURE.iter().flat_map(|name| lines_with(&source(name), &UNSTEADY)).collect::<Vec<_>>();
    assert!(found.is_empty(), "these lines may differ between machines:\n{}", found.join("\n"));
}

#[test]
fn unsafe_stands_in_the_kernels_only() {
    let crates = PURE.iter().chain(&["worker-wasm", "coordinator"]);
    let lines = crates.flat_map(|name| lines_with(&source(name), &["unsafe"]));
    let found = lines.filter(|line| !line.starts_with(KERNELS)).collect::<Vec<_>>();
    assert!(found.is_empty(), "unsafe outside the kernels:\n{}", found.join("\n"));
    assert!(lines_with(KERNELS, &["unsafe"]).next().is_some(), "the kernels have moved: {KERNELS}");
}

#[test]
fn every_pure_crate_has_the_same_lints() {
    let lints = |name| fs::read_to_string(root().join(name).join("clippy.toml")).unwrap();
    for name in PURE {
        assert_eq!(lints(name), lints("model"), "{name}/clippy.toml");
    }
    for path in ["std::time::Instant", "std::fs::read", "std::net::TcpStream", "std::thread::spawn"] {
        assert!(lints("model").contains(&format!("\"{path}\"")), "{path} is allowed");
    }
}

/// At least one violation for each word: without one, a misspelled word would go unnoticed.
const VIOLATIONS: [(&str, &str); 42] = [
    ("tokio", "async fn go() { tokio::spawn(async {}); }"),
    ("std::fs", "use std::fs;"),
    ("std::fs", "use std::{fs, io};"),
    ("std::fs", "use ::std::fs::File as Document;"),
    ("std::fs", "use std::{\n    collections::BTreeMap,\n    fs::{self, read},\n};"),
    ("std::fs", "fn go() -> bool { std :: fs :: exists(\"x\").is_ok() }"),
    ("std::fs", "macro_rules! go { () => { std::fs::read(\"x\") }; }"),
    ("std::net", "use std::{net::{TcpStream as Wire}, sync::Arc};"),
    ("std::io", "use std::{fs, io};"),
    ("std::io", "use std::io::prelude::*;"),
    ("std::env", "const HOME: fn() = || drop(std::env::var(\"HOME\"));"),
    ("std::thread", "use std::thread::{self};"),
    ("std::thread", "fn go() { std::thread::spawn(|| {}); }"),
    ("std::process", "use std::process::Command;"),
    ("std::os", "use std::os::unix::net::UnixStream;"),
    ("Instant", "use std::time::{Duration, Instant};"),
    ("Instant", "use std::time::*; fn go() { Instant::now(); }"),
    ("SystemTime", "fn go(_: std::time::SystemTime) {}"),
    ("getrandom", "fn go() { getrandom::fill(&mut []).unwrap(); }"),
    ("OsRng", "use rand_core::OsRng;"),
    ("thread_rng", "use rand::thread_rng as rng;"),
    ("rand::rng", "fn go() { rand::rng(); }"),
    ("use std", "use std as other;"),
    ("use std", "use std::{self as other};"),
    ("std::*", "use std::*;"),
    ("extern crate", "extern crate std as other;"),
    ("HashMap", "use std::collections::{BTreeMap, HashMap};"),
    ("HashSet", "fn go(_: std::collections::HashSet<u8>) {}"),
    ("RandomState", "use std::hash::RandomState;"),
    (".exp", "fn go(x: f64) -> f64 { x.exp() }"),
    (".exp", "fn go(x: f64) -> f64 { x\n    .exp() }"),
    (".ln", "fn go(x: f64) -> f64 { (x + 1.0).ln() }"),
    (".tanh", "fn go(x: f64) -> f64 { x.tanh() }"),
    (".sin", "fn go(x: f64) -> f64 { x.sin() }"),
    (".cos", "fn go(x: f64) -> f64 { x.cos() }"),
    (".powf", "fn go(x: f64) -> f64 { x.powf(0.3) }"),
    (".powi", "fn go(x: f64) -> f64 { x.powi(3) }"),
    (".dot", "fn go(x: A) -> A { x.dot(&x) }"),
    (".sum_axis", "fn go(x: A) -> A { x.sum_axis(0) }"),
    ("f32::exp", "fn go(x: &[f32]) { x.iter().copied().map(f32::exp); }"),
    ("f64::exp", "fn go(x: &[f64]) { x.iter().copied().map(f64::exp); }"),
    ("f64::ln", "fn go(x: &[f64]) { x.iter().copied().map(f64::ln); }"),
];

#[test]
fn every_kind_of_violation_is_found() {
    for (word, violation) in VIOLATIONS {
        let found = mentions(violation);
        assert!(found.iter().any(|mention| mention.is_of(word)), "{word} in {violation:?}: {found:?}");
    }
    for word in IMPURE.iter().chain(&UNSTEADY) {
        assert!(VIOLATIONS.iter().any(|(shown, _)| shown == word), "no violation shows {word}");
    }
}

#[test]
fn what_is_no_violation_is_not_found() {
    let innocent = "//! Reads no clock: see `std::time::Instant`.
        use std::collections::BTreeMap; // not HashMap
        use std::{fmt, sync::Arc};
        use crate::fs::std as net;
        /// Without tokio, std::fs and .exp().
        fn go(env: &str, std: f64) -> String { format!(\"std::fs {env} {}\", std.sqrt() * libm::exp(std)) }
        #[cfg(test)]
        mod tests { use std::fs; fn go(x: f64) -> f64 { x.exp() } }";
    let words = IMPURE.iter().chain(&UNSTEADY);
    let found = mentions(innocent);
    let wrong = words.flat_map(|word| found.iter().filter(move |mention| mention.is_of(word)));
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<&mentions::Mention>::new());
}

#[test]
fn a_violation_is_named_by_its_line() {
    let found = mentions("use std::sync::Arc;\nuse std::{\n    sync::Mutex,\n    io,\n};");
    let lines = found.iter().filter(|mention| mention.is_of("std::io")).map(|mention| mention.line);
    assert_eq!(lines.collect::<Vec<_>>(), [4]);
}

/// The lines of code in `folder` that mention one of `words`, as `file:line: mention`.
fn lines_with<'a>(folder: &str, words: &'a [&str]) -> impl Iterator<Item = String> + use<'a> {
    let files = rust_files(&root().join(folder));
    assert!(!files.is_empty(), "{folder} has moved");
    files.into_iter().flat_map(move |file| {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        let hits = mentions(&text).into_iter().filter(|mention| words.iter().any(|word| mention.is_of(word)));
        hits.map(|mention| format!("{name}:{}: {}", mention.line, mention.text)).collect::<Vec<_>>()
    })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn source(name: &str) -> String {
    format!("{name}/src")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
