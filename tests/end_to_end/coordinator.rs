//! The real binary as child processes.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use model::Arithmetic;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::problem::{ITERATIONS, MINIBATCH, Problem, SEED};

const SHOAL: &str = env!("CARGO_BIN_EXE_shoal");

/// How often a condition is looked at, and how many times before the test fails.
const POLL: Duration = Duration::from_millis(20);
const POLLS_MAX: usize = 6000;

/// What tests vary. Nobody but volunteers computes unless `local_workers` says so.
pub(crate) struct Options {
    pub(crate) arithmetic: Arithmetic,
    pub(crate) local_workers: &'static str,
    pub(crate) wait_for: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { arithmetic: Arithmetic::Portable, local_workers: "0", wait_for: 0 }
    }
}

/// The object that `--json` prints.
#[derive(Debug, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) iterations: u64,
    pub(crate) volunteers: usize,
    pub(crate) weights_digest: String,
}

/// A coordinator under way. Killed when dropped.
pub(crate) struct Coordinator {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// What it said before it listened.
    greeting: String,
    address: String,
    run: PathBuf,
}

impl Coordinator {
    /// `shoal train` on the problem.
    pub(crate) fn train(problem: &Problem, options: &Options) -> Coordinator {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let arguments = [
            ["--data", &text(problem.csv())],
            ["--model", &text(problem.network())],
            ["--test-fraction", "0.2"],
            ["--minibatch", &MINIBATCH.to_string()],
            ["--optimizer", "lbfgs"],
            ["--iterations", &ITERATIONS.to_string()],
            ["--seed", &SEED.to_string()],
            ["--arithmetic", &options.arithmetic.to_string()],
            ["--local-workers", options.local_workers],
            ["--wait-for", &options.wait_for.to_string()],
        ];
        Coordinator::serve(problem, &arguments.concat())
    }

    /// `shoal train` with these arguments, in a new run among the problem's.
    pub(crate) fn serve(problem: &Problem, arguments: &[&str]) -> Coordinator {
        let run = problem.new_run();
        let mut command = Command::new(SHOAL);
        command.arg("train").arg("--out").arg(&run).args(arguments);
        command.args(["--json", "--listen", "127.0.0.1:0"]);
        Coordinator::start(command, run)
    }

    /// Kills it with no chance to clean up, and resumes its run at the same address.
    pub(crate) fn kill_and_resume(mut self) -> Coordinator {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut command = Command::new(SHOAL);
        command.arg("resume").arg(&self.run).args(["--json", "--listen", &self.address]);
        Coordinator::start(command, self.run.clone())
    }

    fn start(mut command: Command, run: PathBuf) -> Coordinator {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended before it listened: {said}");
            said += &line;
            if let Some((_, address)) = line.trim().split_once("listening on http://") {
                break address.to_owned();
            }
        };
        Coordinator { child, stderr, greeting: said, address, run }
    }

    /// `host:port` of the page.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Waits until that iteration is reached.
    pub(crate) async fn reaches_iteration(&self, iteration: u64) {
        self.until(async || self.iteration().await >= iteration).await;
    }

    /// Waits until a checkpoint of the middle of the run is there: the first is of its start, and kept
    /// when the second is written.
    pub(crate) async fn has_checkpoint(&self) {
        self.until(async || self.run.join("checkpoint.previous").exists()).await;
    }

    /// The iteration that a resumed run goes on after.
    pub(crate) fn goes_on_after(&self) -> u64 {
        let (_, rest) =
            self.greeting.split_once("Continuing after iteration ").expect("it says where it goes on");
        rest.split('.').next().unwrap().parse().unwrap()
    }

    /// Waits for the end; what it printed must be one JSON object and nothing else.
    pub(crate) fn result(mut self) -> Outcome {
        let (mut said, mut printed) = (String::new(), String::new());
        self.stderr.read_to_string(&mut said).unwrap();
        self.child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {said}");
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed:?} {said}"))
    }

    async fn iteration(&self) -> u64 {
        #[derive(Deserialize)]
        struct Status {
            iteration: u64,
        }
        let mut stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let request = format!("GET /api/status HTTP/1.0\r\nHost: {}\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<Status>(body).unwrap().iteration
    }

    async fn until(&self, condition: impl AsyncFn() -> bool) {
        for _ in 0..POLLS_MAX {
            if condition().await {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("waited in vain");
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A native volunteer. Killed when dropped.
pub(crate) struct Volunteer(Child);

impl Volunteer {
    pub(crate) fn join(coordinator: &Coordinator, cores: u32) -> Volunteer {
        let mut command = Command::new(SHOAL);
        command.args([
            "volunteer",
            &format!("http://{}", coordinator.address()),
            "--cores",
            &cores.to_string(),
        ]);
        Volunteer(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Volunteer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
