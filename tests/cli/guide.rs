//! The guide: every command in it is run, in order, each page in a folder of its own.
//!
//! A block of commands begins with ```` ```sh ````. `sh serve` stays in the background until the page has another such
//! block; its address replaces the guide's. Blocks marked `root` or `internet` are only read by a shell.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::program::{Ran, Running, shoal};
use tempfile::TempDir;

/// What is different in a test: other addresses, and trainings that are soon over.
const REPLACEMENTS: [(&str, &str); 4] = [
    ("shoal demo --lan", "shoal demo --listen 127.0.0.1:0 --iterations 2 --model mlp:8"),
    ("shoal train ", "shoal train --listen 127.0.0.1:0 --iterations 5 --cross-validation 0 "),
    ("shoal serve ", "shoal serve --listen 127.0.0.1:0 "),
    ("shoal resume ", "shoal resume --listen 127.0.0.1:0 "),
];
/// The address of the guide's coordinator.
const ADDRESS: &str = "192.168.1.20:8080";

/// A block of commands, and what it is marked with.
struct Block {
    mark: String,
    commands: String,
}

fn blocks(page: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(page).unwrap();
    let mut blocks = Vec::new();
    let mut rest = text.as_str();
    while let Some((_, after)) = rest.split_once("\n```sh") {
        let (mark, after) = after.split_once('\n').unwrap();
        let (commands, after) = after.split_once("```").expect("a block ends");
        blocks.push(Block { mark: mark.trim().to_owned(), commands: commands.to_owned() });
        rest = after;
    }
    blocks
}

/// A folder with the program, and the table that the guide speaks of.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    symlink(shoal([]).get_program(), folder.path().join("bin/shoal")).unwrap();
    let mut houses = String::from("area,year,town,garden,price\n");
    for row in 0..60 {
        let (area, town) = (50 + row * 7 % 90, ["Ulm", "Bonn", "Jena"][row % 3]);
        let garden = if row % 4 == 0 { "yes" } else { "no" };
        let _ =
            writeln!(houses, "{area},{},{town},{garden},{}", 1950 + row % 70, 2000 * area + 1000 * (row % 3));
    }
    std::fs::create_dir(folder.path().join("here")).unwrap();
    std::fs::write(folder.path().join("here/houses.csv"), houses).unwrap();
    folder
}

fn bash(folder: &Path, arguments: &[&str]) -> Command {
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("bash");
    command.args(arguments).current_dir(folder.join("here"));
    command.env("PATH", format!("{}:{path}", folder.join("bin").display())).env_remove("SHOAL_LOG");
    command.env("SHOAL_OPERATOR_TOKEN", "a-token-for-the-guide");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Does what a page of the guide says.
fn follow(name: &str) {
    let page = PathBuf::from("../docs/guide").join(name);
    let folder = folder();
    let mut served: Option<Running> = None;
    let mut address = ADDRESS.to_owned();
    let blocks = blocks(&page);
    assert!(blocks.len() > 2, "{name} has commands");
    for Block { mark, commands } in blocks {
        let mut script = commands.replace(ADDRESS, &address);
        if matches!(mark.as_str(), "root" | "internet") {
            Ran::of(&mut bash(folder.path(), &["-n", "-c", &script])).succeeded();
            continue;
        }
        for (guide, test) in REPLACEMENTS {
            script = script.replace(guide, test);
        }
        match mark.as_str() {
            "serve" => {
                // The one before ends first: it may hold the run.
                drop(served.take());
                let script = format!("exec {}", script.trim());
                let mut running = Running::start(bash(folder.path(), &["-euo", "pipefail", "-c", &script]));
                let line = running.says(" on http://");
                let (_, found) = line.split_once(" on http://").unwrap();
                address = found.split([' ', ';', '/']).next().unwrap().trim().to_owned();
                served = Some(running);
            }
            "" => {
                let ran = Ran::of(&mut bash(folder.path(), &["-euo", "pipefail", "-c", &script]));
                let ran = ran.succeeded();
                assert!(!ran.stdout.is_empty() || !ran.stderr.is_empty(), "{script} says nothing");
                if commands.contains("shoal volunteer") {
                    // A volunteer is told of the end before the model is saved.
                    served.take().expect("a coordinator").ended().succeeded();
                }
            }
            other => panic!("{name}: a block is marked {other}"),
        }
    }
}

#[test]
fn a_classroom() {
    follow("classroom.md");
}

#[test]
fn ones_own_data() {
    follow("own-data.md");
}

#[test]
fn the_dashboard() {
    follow("dashboard.md");
}

#[test]
fn a_public_run() {
    follow("public-run.md");
}
