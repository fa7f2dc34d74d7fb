//! What may not be in the source, looked for in the source.
//!
//! The compiler cannot promise that the engine is pure: nothing keeps a module from reading a
//! clock. This reads every file and names the line that does.

use std::fs;
use std::path::{Path, PathBuf};

/// Where nothing may reach the outside world.
const PURE: [&str; 5] = ["model/src", "protocol/src", "worker/src", "bench/src", "engine/src"];

/// What does. Randomness from the operating system, clocks, files, sockets, threads and the runtime.
const IMPURE: [&str; 12] = [
    "tokio",
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::thread",
    "Instant",
    "SystemTime",
    "getrandom",
    "OsRng",
    "thread_rng",
    "rand::rng",
];

/// Results of floating-point operations that depend on the platform's library, and containers whose
/// order depends on chance.
const UNSTEADY: [&str; 11] = [
    "HashMap",
    "HashSet",
    ".exp()",
    ".ln()",
    ".tanh()",
    ".sin()",
    ".cos()",
    ".powf(",
    ".powi(",
    ".dot(",
    ".sum_axis(",
];

/// Where `unsafe` may stand.
const KERNELS: &str = "model/src/kernels";

#[test]
fn the_pure_parts_reach_nothing_outside() {
    let found = PURE.iter().flat_map(|folder| lines_with(folder, &IMPURE)).collect::<Vec<_>>();
    assert!(found.is_empty(), "these lines reach outside:\n{}", found.join("\n"));
}

#[test]
fn the_pure_parts_use_nothing_that_differs_between_machines() {
    let found = PURE.iter().flat_map(|folder| lines_with(folder, &UNSTEADY)).collect::<Vec<_>>();
    assert!(found.is_empty(), "these lines may differ between machines:\n{}", found.join("\n"));
}

#[test]
fn unsafe_stands_in_the_kernels_only() {
    let crates = [
        "model/src",
        "protocol/src",
        "worker/src",
        "engine/src",
        "bench/src",
        "worker-wasm/src",
        "coordinator/src",
    ];
    let lines =
        crates.iter().flat_map(|folder| lines_with(folder, &["unsafe {", "unsafe fn", "unsafe impl"]));
    let found = lines.filter(|line| !line.starts_with(KERNELS)).collect::<Vec<_>>();
    assert!(found.is_empty(), "unsafe outside the kernels:\n{}", found.join("\n"));
    assert!(lines_with(KERNELS, &["unsafe {"]).next().is_some(), "the kernels have moved: {KERNELS}");
}

/// Lines of code below `folder` that contain one of `words`, as `file:line: text`. Comments and
/// the module of tests at a file's end do not count.
fn lines_with<'a>(folder: &str, words: &'a [&str]) -> impl Iterator<Item = String> + use<'a> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = rust_files(&root.join(folder));
    assert!(!files.is_empty(), "{folder} has moved");
    files.into_iter().flat_map(move |file| {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().enumerate();
        let code = code.map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()));
        let hits = code.filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        hits.map(|(number, line)| format!("{name}:{number}: {}", line.trim())).collect::<Vec<_>>()
    })
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
