//! Runs the binary in a temporary folder with a few files in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::program::{Ran, Running, shoal};
use tempfile::TempDir;

/// Examples in [`Folder::CLASSES`] and [`Folder::NUMBERS`].
pub(crate) const EXAMPLES: usize = 80;

/// A folder of a test's own.
pub(crate) struct Folder {
    folder: TempDir,
}

impl Folder {
    /// Two classes that a line separates; the label is called `side`.
    pub(crate) const CLASSES: &str = "classes.csv";
    /// Numbers far from zero and one: `price` is 100,000 + 2,000 `size`.
    pub(crate) const NUMBERS: &str = "numbers.csv";

    pub(crate) fn new() -> Self {
        let folder = Self { folder: TempDir::new().unwrap() };
        let mut classes = String::from("x,y,side\n");
        let mut numbers = String::from("size,price\n");
        for example in 0..EXAMPLES as i32 {
            let (x, y) = (example % 9 - 4, example * 7 % 11 - 5);
            let side = if x + y > 0 { "right" } else { "left" };
            classes += &format!("{x}.5,{y}.25,{side}\n");
            let size = example * 3 % 50;
            numbers += &format!("{size},{}\n", 100_000 + 2_000 * size);
        }
        folder.write(Self::CLASSES, &classes);
        folder.write(Self::NUMBERS, &numbers);
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: impl AsRef<Path>) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// The binary, about to be run here with arguments separated by spaces.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = shoal(arguments.split_whitespace());
        command.current_dir(self.folder.path());
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// Like [`Folder::run`], but watched while it runs.
    pub(crate) fn start(&self, arguments: &str) -> Running {
        Running::start(self.command(arguments))
    }

    /// Trains with this machine alone, on any free port. Gives the object that `--json` prints.
    pub(crate) fn train(&self, arguments: &str) -> Value {
        self.run(&format!("train {arguments} {ALONE} --json")).succeeded().last_json()
    }
}

/// Flags of a training without volunteers that can run beside others.
pub(crate) const ALONE: &str = "--local-workers 1 --listen 127.0.0.1:0";
