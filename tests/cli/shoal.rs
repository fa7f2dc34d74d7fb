//! Runs the binary in a temporary folder with a few files in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
        command.args(arguments.split_whitespace()).current_dir(self.folder.path()).env_remove("SHOAL_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Ran {
        Ran::of(arguments, self.command(arguments).output().unwrap())
    }

    /// Trains with this machine alone, on any free port. Gives the object that `--json` prints.
    pub(crate) fn train(&self, arguments: &str) -> Value {
        self.run(&format!("train {arguments} {ALONE} --json")).succeeded().last_json()
    }
}

/// Flags of a training without volunteers that can run beside others.
pub(crate) const ALONE: &str = "--local-workers 1 --listen 127.0.0.1:0";

/// What a run of the binary left behind.
pub(crate) struct Ran {
    arguments: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(arguments: &str, output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            arguments: arguments.to_owned(),
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "shoal {}: {}", self.arguments, self.stderr);
        self
    }

    /// It failed with this code, nothing on standard output, and all of `fragments` in what it said.
    pub(crate) fn failed(&self, code: i32, fragments: &[&str]) {
        let Self { arguments, stdout, stderr, .. } = self;
        assert_eq!(self.code, Some(code), "shoal {arguments}: {stderr}");
        assert_eq!(stdout, "", "shoal {arguments}");
        for fragment in fragments {
            assert!(stderr.contains(fragment), "shoal {arguments}: {fragment:?} is missing in: {stderr}");
        }
    }

    pub(crate) fn last_json(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}
