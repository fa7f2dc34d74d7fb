//! Runs that a program left half done, kept in `tests/data/runs` with the versions it wrote them in.
//!
//! A change to the content of run directories concerns the runs that people have begun: either the program still
//! reads the old content, or it refuses in words. `tests/data/README.md` says how to keep a run of a new version.

use std::fs;
use std::path::{Path, PathBuf};

use coordinator::driver::Checkpoint;
use protocol::PROTOCOL_VERSION;

use crate::shoal::{ALONE, Folder};

/// The run directories of one program.
struct Kept {
    checkpoint_version: u32,
    protocol_version: u16,
    runs: Vec<PathBuf>,
}

#[test]
fn a_kept_run_is_resumed_to_the_same_bits_or_refused_with_both_versions() {
    let mut resumed = 0;
    for Kept { checkpoint_version, protocol_version, runs } in kept() {
        for run in runs {
            let folder = Folder::new();
            let name = run.file_name().unwrap().to_str().unwrap();
            copy(&run, &folder.path(name));
            // A run.toml holds the data's absolute path, which is another one here.
            let data = fs::canonicalize(kept_folder().join("data.csv")).unwrap();
            let settings = folder.read(format!("{name}/run.toml"));
            let settings = settings.replace("\"data.csv\"", &format!("\"{}\"", data.display()));
            folder.write(&format!("{name}/run.toml"), &settings);
            let resume = format!("resume {name} {ALONE} --json");
            if checkpoint_version != Checkpoint::VERSION {
                let (found, reads) = (checkpoint_version, Checkpoint::VERSION);
                let sentence = format!("(file version {found}, this shoal reads {reads})");
                folder.run(&resume).failed(1, &[name, "another version of shoal", &sentence]);
            } else if protocol_version != PROTOCOL_VERSION {
                let sentence =
                    format!("(protocol version {protocol_version}, this shoal has {PROTOCOL_VERSION})");
                folder.run(&resume).failed(1, &[name, "another version of shoal", &sentence]);
            } else {
                let whole = folder.train(&format!("--config {name}/run.toml --out whole"));
                let ran = folder.run(&resume).succeeded();
                assert!(ran.stderr.contains("Continuing after iteration"), "{name}: {}", ran.stderr);
                assert_eq!(ran.last_json()["weights_digest"], whole["weights_digest"], "{name}");
                resumed += 1;
            }
        }
    }
    assert!(
        resumed > 0,
        "tests/data/runs has no run of checkpoint version {}, protocol version {PROTOCOL_VERSION}; add one as \
         tests/data/README.md says",
        Checkpoint::VERSION
    );
}

fn kept_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/runs")
}

/// What is kept, by folders that are named like `checkpoint-3-protocol-6`.
fn kept() -> Vec<Kept> {
    let folders = entries(&kept_folder()).into_iter().filter(|path| path.is_dir());
    let versions = |folder: &Path| {
        let name = folder.file_name()?.to_str()?;
        let (checkpoint, protocol) = name.strip_prefix("checkpoint-")?.split_once("-protocol-")?;
        Some((checkpoint.parse().ok()?, protocol.parse().ok()?))
    };
    folders
        .map(|folder| {
            let named = versions(&folder);
            let (checkpoint_version, protocol_version) =
                named.unwrap_or_else(|| panic!("{} does not name its versions", folder.display()));
            Kept { checkpoint_version, protocol_version, runs: entries(&folder) }
        })
        .collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in entries(from) {
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}
