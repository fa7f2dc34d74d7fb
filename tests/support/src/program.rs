//! The binary under test: run to its end, or watched while it runs.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use serde_json::Value;

/// `shoal` with these arguments, about to be run without input, its output kept for the test.
///
/// # Panics
/// Outside of `cargo test` and `cargo bench`, which name the binary to what they run.
pub fn shoal<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let binary =
        std::env::var_os("CARGO_BIN_EXE_shoal").expect("run this with cargo, which names the binary");
    let mut command = Command::new(binary);
    command.args(arguments).env_remove("SHOAL_LOG");
    // Volunteers keep what they are known by: not among the files of whoever runs the tests.
    command.env("XDG_STATE_HOME", std::env::temp_dir().join("shoal-tests"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command left behind.
pub struct Ran {
    command: String,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Ran {
    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be run, or prints bytes that are no text.
    pub fn of(command: &mut Command) -> Ran {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran::new(format!("{command:?}"), status, text(stdout), text(stderr))
    }

    fn new(command: String, status: ExitStatus, stdout: String, stderr: String) -> Ran {
        Ran { command, code: status.code(), stdout, stderr }
    }

    /// Itself.
    ///
    /// # Panics
    /// When it failed.
    pub fn succeeded(self) -> Ran {
        assert_eq!(self.code, Some(0), "{}: {}", self.command, self.stderr);
        self
    }

    /// Checks that it failed with this code, nothing on standard output, and all of `fragments` on standard error.
    ///
    /// # Panics
    /// When it did anything else.
    pub fn failed(&self, code: i32, fragments: &[&str]) {
        let Ran { command, stdout, stderr, .. } = self;
        assert_eq!(self.code, Some(code), "{command}: {stderr}");
        assert_eq!(stdout, "", "{command}");
        for fragment in fragments {
            assert!(stderr.contains(fragment), "{command}: {fragment:?} is missing in: {stderr}");
        }
    }

    /// The object in the last line of standard output.
    ///
    /// # Panics
    /// When there is none.
    pub fn last_json(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?} {}", self.stderr))
    }
}

/// A command under way. Killed when dropped.
pub struct Running {
    command: String,
    child: Child,
    /// The lines of standard error. A thread reads them, so that the command never waits for a reader.
    lines: Receiver<String>,
    said: String,
    /// Reads standard output, so that the command never waits for a reader.
    printed: Option<JoinHandle<String>>,
}

impl Running {
    /// Starts a command that [`shoal`] made.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn start(mut command: Command) -> Running {
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || read_lines(stderr, &sender));
        let stdout = child.stdout.take().unwrap();
        let printed = std::thread::spawn(move || std::io::read_to_string(stdout).unwrap());
        Running { command: format!("{command:?}"), child, lines, said: String::new(), printed: Some(printed) }
    }

    /// Waits for a line of standard error that contains `text`, and gives it.
    ///
    /// # Panics
    /// When the command ends first.
    pub fn says(&mut self, text: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv() else {
                panic!("{} ended before it said {text:?}: {}", self.command, self.said);
            };
            self.said += &line;
            if line.contains(text) {
                return line;
            }
        }
    }

    /// What was read of its standard error so far.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `INT` for Ctrl-C.
    ///
    /// # Panics
    /// When that fails.
    #[cfg(unix)]
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it printed bytes that are no text.
    pub fn ended(mut self) -> Ran {
        self.said.extend(self.lines.iter());
        let stdout = self.printed.take().expect("taken only here").join().unwrap();
        let status = self.child.wait().unwrap();
        Ran::new(std::mem::take(&mut self.command), status, stdout, std::mem::take(&mut self.said))
    }
}

/// Sends the lines as they come, line breaks included.
fn read_lines(stderr: ChildStderr, lines: &Sender<String>) {
    let mut stderr = BufReader::new(stderr);
    loop {
        let mut line = String::new();
        // Nobody may listen any more, but the command must not wait all the same.
        match stderr.read_line(&mut line) {
            Ok(length) if length > 0 => drop(lines.send(line)),
            _ => return,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
