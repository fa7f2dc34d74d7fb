//! The real binary as a coordinator, and native volunteers as processes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::program::{Ran, Running, shoal};

/// How often a condition is looked at, and how many times before the test fails.
const POLL: Duration = Duration::from_millis(20);
const POLLS_MAX: usize = 12_000;

/// The object that a training prints with `--json`, as far as tests read it.
#[derive(Debug, Deserialize)]
pub struct Outcome {
    /// Accepted points.
    pub iterations: u64,
    /// Network rounds.
    pub rounds: u64,
    /// Volunteers that took part.
    pub volunteers: usize,
    /// The mean loss at the last point.
    pub train_loss: f64,
    /// Of the test examples, if there are any.
    pub test_accuracy: Option<f64>,
    /// BLAKE3 of the weights, in hexadecimal.
    pub weights_digest: String,
}

impl Outcome {
    /// What a training printed last.
    ///
    /// # Panics
    /// When it was anything else.
    pub fn of(ran: &Ran) -> Outcome {
        serde_json::from_value(ran.last_json()).unwrap()
    }
}

/// A coordinator under way. Killed when dropped.
pub struct Coordinator {
    process: Running,
    address: String,
    run: PathBuf,
}

impl Coordinator {
    /// `shoal train` with these arguments, into a run directory that does not exist yet, at any free port.
    ///
    /// # Panics
    /// When it ends before it listens.
    pub fn train(run: PathBuf, arguments: &[&str]) -> Coordinator {
        Coordinator::start("train", &[arguments, &["--out", text(&run)]].concat(), "127.0.0.1:0", run.clone())
    }

    /// Ends it as Ctrl-C does, and begins another training at the same address.
    ///
    /// # Panics
    /// When the other one ends before it listens.
    pub fn replace(self, run: PathBuf, arguments: &[&str]) -> Coordinator {
        let Coordinator { process, address, .. } = self;
        drop(process);
        Coordinator::start("train", &[arguments, &["--out", text(&run)]].concat(), &address, run.clone())
    }

    /// Kills it with no chance to clean up, and resumes its run at the same address.
    ///
    /// # Panics
    /// When it ends before it listens.
    pub fn kill_and_resume(self) -> Coordinator {
        let Coordinator { process, address, run } = self;
        drop(process);
        Coordinator::start("resume", &[text(&run)], &address, run.clone())
    }

    fn start(subcommand: &str, arguments: &[&str], listen: &str, run: PathBuf) -> Coordinator {
        let all = [&[subcommand], arguments, &["--json", "--listen", listen]].concat();
        let mut process = Running::start(shoal(all));
        let line = process.says("listening on http://");
        let (_, link) = line.trim().split_once("listening on http://").expect("just found");
        // An invitation may follow.
        let address = link.split('/').next().expect("the first of at least one").to_owned();
        Coordinator { address, process, run }
    }

    /// `host:port` of the page.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The link to its dashboard.
    ///
    /// # Panics
    /// When it has printed none.
    pub fn dashboard(&self) -> &str {
        let line = self.greeting().lines().find_map(|line| line.trim().split_once("dashboard: "));
        line.expect("it prints the link").1
    }

    /// The number of its process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// What it said before it listened.
    pub fn greeting(&self) -> &str {
        self.process.said()
    }

    /// Waits until that iteration is reached.
    ///
    /// # Panics
    /// When it takes minutes.
    pub async fn reaches_iteration(&self, iteration: u64) {
        self.has_status(|status| status["iteration"].as_u64() >= Some(iteration)).await;
    }

    /// Waits for a status that meets a condition.
    ///
    /// # Panics
    /// When it takes minutes.
    pub async fn has_status(&self, condition: impl Fn(&Value) -> bool) {
        until(async || condition(&self.status().await)).await;
    }

    /// Waits until a checkpoint of the middle of the run is there: the first is of its start, and kept
    /// when the second is written.
    ///
    /// # Panics
    /// When it takes minutes.
    pub async fn has_checkpoint(&self) {
        until(async || self.run.join("checkpoint.previous").exists()).await;
    }

    /// Waits for a line of standard error that contains `text`, and gives it.
    ///
    /// # Panics
    /// When it ends first.
    pub fn says(&mut self, text: &str) -> String {
        self.process.says(text)
    }

    /// Ends it as Ctrl-C does.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    #[cfg(unix)]
    pub fn interrupt(&self) {
        self.process.signal("INT");
    }

    /// Waits for the end, whatever it is.
    pub fn ended(self) -> Ran {
        self.process.ended()
    }

    /// The lines of its metrics.
    ///
    /// # Panics
    /// When there are none.
    pub fn metrics(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.run.join("metrics.jsonl")).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for the end. It must have printed one JSON object and nothing else.
    ///
    /// # Panics
    /// When it fails or prints anything else.
    pub fn result(self) -> Outcome {
        let ran = self.process.ended().succeeded();
        assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
        Outcome::of(&ran)
    }

    /// What `/api/status` answers.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn status(&self) -> Value {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!("GET /api/status HTTP/1.0\r\nHost: {}\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }
}

async fn until(condition: impl AsyncFn() -> bool) {
    for _ in 0..POLLS_MAX {
        if condition().await {
            return;
        }
        sleep(POLL).await;
    }
    panic!("waited in vain");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have names in Unicode")
}

/// A native volunteer. Killed when dropped.
pub struct Volunteer(std::process::Child);

impl Volunteer {
    /// `shoal volunteer` with so many cores.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn join(coordinator: &Coordinator, cores: u32) -> Volunteer {
        let (url, cores) = (format!("http://{}", coordinator.address()), cores.to_string());
        let mut command = shoal(["volunteer", &url, "--cores", &cores]);
        Volunteer(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Volunteer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
