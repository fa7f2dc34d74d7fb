//! Every error that a person may read names a place and a remedy.
//!
//! This test reads the texts of all `#[error("...")]` attributes. It cannot judge a text that ends in another
//! message (`{problem}`); the tests of the command line check such messages.

use std::path::Path;

/// Files whose errors go from one part of the program to another, or to a remote end. They ask no person to
/// act.
const UNSEEN: [(&str, &str); 14] = [
    ("coordinator/src/cli/mod.rs", "the message has been shown already, or is the whole of another one"),
    ("coordinator/src/cli/output.rs", "the end of a pipe, which is no failure"),
    ("coordinator/src/driver/", "the engine's thread has ended; sessions end with it"),
    ("coordinator/src/operator/actions.rs", "an answer over HTTP"),
    ("coordinator/src/server/body.rs", "an answer over HTTP"),
    ("coordinator/src/server/gate.rs", "an answer over HTTP"),
    ("coordinator/src/server/ending.rs", "why a session ended, for the log"),
    ("engine/src/decoder.rs", "why a volunteer is dismissed, for the log"),
    (
        "engine/src/optimizers/mod.rs",
        "a caller's mistake, or why a training ended, which its summary explains",
    ),
    ("model/src/exact.rs", "sums are checked before they are added"),
    ("protocol/", "frames, answered to the other end"),
    ("worker/", "between a hub and its compute workers"),
    ("bench/", "between the benchmark and its page"),
    ("worker-wasm/", "between the worker and its page"),
];

/// Fields that hold a complete message with its remedy.
const COMPOSED: [&str; 10] = [
    "{first}",
    "{problem}",
    "{hint}",
    "{source}",
    "{message}",
    "{shortcut}",
    "{damaged}",
    "remedy(source)",
    "transparent",
    "{expected}",
];

/// Phrases that tell a person to act, or that state the right value.
const REMEDIES: [&str; 29] = [
    "use ", "give ", "write ", "name ", "choose ", "check ", "fetch ", "correct ", "put ", "leave ",
    "start ", "wait ", "move ", "make ", "free ", "open ", "go on ", "resume", "needs ", "must ", "predict ",
    "number ", "is the ", "report ", "group ", "bring ", "split ", "add ", "is it ",
];

/// Whether the text names a place: by a field, or by the name of a setting.
fn names_a_place(text: &str) -> bool {
    text.contains('{') || text.contains("--") || text.contains("minibatch") || text.contains("class-weights")
}

#[test]
fn every_error_names_a_place_and_a_remedy() {
    let mut errors = Vec::new();
    for folder in ["model", "protocol", "worker", "bench", "engine", "worker-wasm", "coordinator", "table"] {
        errors.extend(texts(folder));
    }
    assert!(errors.len() > 60, "only {} errors are found: has their attribute changed?", errors.len());
    let seen = errors.iter().filter(|(file, _)| !UNSEEN.iter().any(|(unseen, _)| file.starts_with(unseen)));
    let is_poor = |text: &str| {
        let says_what_to_do = COMPOSED.iter().chain(&REMEDIES).any(|part| text.contains(part));
        !names_a_place(text) && !text.contains("transparent") || !says_what_to_do
    };
    let poor: Vec<String> =
        seen.filter(|(_, text)| is_poor(text)).map(|(file, text)| format!("{file}: {text}")).collect();
    assert!(poor.is_empty(), "these name no place, or no remedy:\n{}", poor.join("\n"));
}

/// The texts of all error attributes in a crate's source, each with its file.
fn texts(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let source = root.join(folder).join("src");
    if !source.exists() {
        return Vec::new();
    }
    let mut texts = Vec::new();
    for file in super::rust_files(&source) {
        let code = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        for (begins, _) in code.match_indices("#[error(") {
            let rest = &code[begins..];
            // A closing bracket may follow a parenthesis inside a text.
            let ends = rest.find(")]\n").unwrap_or(rest.len());
            texts.push((name.clone(), rest[..ends].split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    texts
}
