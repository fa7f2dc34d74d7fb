//! The processes of a training, and where they meet.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::ports;
use support::program::{Ran, shoal};
use tempfile::TempDir;

use crate::bucket::Bucket;
use crate::faults::Fault;
use crate::relay::Relay;

/// What is trained.
const TASK: [&str; 10] = [
    "--data",
    "embedded:mnist",
    "--model",
    "mlp:24",
    "--optimizer",
    "lbfgs",
    "--validation-fraction",
    "0",
    "--cross-validation",
    "0",
];
/// The operator's token.
const OPERATOR: &str = "the-operators-own-token";
/// Iterations that are enough for a few faults.
pub(crate) const FEW: u32 = 12;
/// Iterations that outlast a browser's start and what must happen in their middle, on a fast machine, too.
pub(crate) const MANY: u32 = 60;
/// Iterations that nobody waits for.
pub(crate) const ENDLESS: u32 = 100_000;
const GATEWAYS: usize = 3;
const VOLUNTEERS: usize = 4;
/// What a coordinator says when it has won a term, before the term's number.
pub(crate) const LEADS: &str = "this coordinator leads term=";
/// What it says when it begins to listen.
pub(crate) const STANDS_BY: &str = "Standing by;";
/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(50);

/// The model of a single process after so many iterations, as the bytes of its file.
pub(crate) fn reference(iterations: u32) -> Vec<u8> {
    static MODELS: Mutex<BTreeMap<u32, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let train = || {
        let folder = TempDir::new().unwrap();
        let (run, count) = (folder.path().join("run"), iterations.to_string());
        let alone =
            ["train", "--listen", "127.0.0.1:0", "--out", run.to_str().unwrap(), "--iterations", &count];
        Ran::of(&mut shoal([&alone[..], &TASK].concat())).succeeded();
        std::fs::read(run.join("model.safetensors")).unwrap()
    };
    MODELS.lock().unwrap().entry(iterations).or_insert_with(train).clone()
}

/// A coordinator that trains by itself, with its state in a store.
pub(crate) fn alone(run: &Path, store: &Path, iterations: u32) -> Command {
    let (run, store, iterations) = (run.to_str().unwrap(), store.to_str().unwrap(), iterations.to_string());
    let places =
        ["train", "--listen", "127.0.0.1:0", "--out", run, "--store", store, "--iterations", &iterations];
    shoal([&places[..], &TASK].concat())
}

/// Where the processes keep their objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Folder,
    Bucket,
}

/// What the test sees of the store.
enum Store {
    Folder(PathBuf),
    Bucket(Bucket),
}

/// The run's place in the bucket.
const IN_BUCKET: &str = "bucket/runs/one";

impl Store {
    fn url(&self) -> String {
        match self {
            Store::Folder(path) => path.to_str().unwrap().to_owned(),
            Store::Bucket(_) => format!("s3://{IN_BUCKET}"),
        }
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        match self {
            Store::Folder(_) => Vec::new(),
            Store::Bucket(bucket) => bucket.environment(),
        }
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        match self {
            Store::Folder(path) => std::fs::read(path.join(key)).ok(),
            Store::Bucket(bucket) => bucket.get(&format!("{IN_BUCKET}/{key}")).map(Vec::from),
        }
    }

    /// Names that sort as the states were saved.
    fn newest_state(&self) -> Option<String> {
        let names: Vec<String> = match self {
            Store::Folder(path) => {
                let entries = std::fs::read_dir(path.join("checkpoints")).ok()?;
                // The store writes a file under another name first.
                let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
                names.filter(|name| !name.contains('#')).collect()
            }
            Store::Bucket(bucket) => bucket.list(&format!("{IN_BUCKET}/checkpoints/")),
        };
        names.into_iter().max()
    }
}

/// A process that is started again whenever it is killed. Its output goes to a file.
struct Actor {
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    log: PathBuf,
    child: Child,
}

impl Actor {
    fn start(arguments: Vec<String>, environment: Vec<(&'static str, String)>, log: PathBuf) -> Actor {
        let child = spawn(&arguments, &environment, &log);
        Actor { arguments, environment, log, child }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn start_again(&mut self) {
        self.child = spawn(&self.arguments, &self.environment, &self.log);
    }

    fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.kill();
    }
}

fn signal(process: &Child, signal: &str) {
    let sent = Command::new("kill").args(["-s", signal, &process.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn spawn(arguments: &[String], environment: &[(&str, String)], log: &Path) -> Child {
    let file = std::fs::File::options().create(true).append(true).open(log).unwrap();
    let mut command = shoal(arguments.iter().map(String::as_str));
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.env("SHOAL_OPERATOR_TOKEN", OPERATOR);
    command.env("SHOAL_LOG", "info").env("NO_COLOR", "1").stdout(Stdio::null()).stderr(file).spawn().unwrap()
}

/// A training under way.
pub(crate) struct Cast {
    folder: TempDir,
    store: Store,
    nats: Nats,
    nats_port: u16,
    /// The standby's way to the NATS server, if it has one of its own.
    relay: Option<Relay>,
    coordinators: Vec<Actor>,
    gateways: Vec<Actor>,
    volunteers: Vec<Actor>,
}

/// A NATS server. Dropping it ends it.
pub(crate) struct Nats(Child);

/// A NATS server with these options.
pub(crate) fn nats(port: u16, options: &[&str]) -> Nats {
    let mut command = Command::new("nats-server");
    command.args(["-a", "127.0.0.1", "-p", &port.to_string()]).args(options);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Nats(command.spawn().expect("nats-server is installed by tests/run"))
}

impl Nats {
    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.end();
    }
}

impl Cast {
    /// Starts everybody, for so many iterations.
    pub(crate) fn begin(place: Place, iterations: u32) -> Cast {
        Cast::begin_where(place, &["--iterations", &iterations.to_string()], true)
    }

    /// The same with a standby that hears the others through a relay.
    pub(crate) fn begin_with_relay(iterations: u32) -> Cast {
        let limits = ["--iterations", &iterations.to_string()];
        Cast::begin_with(Place::Folder, &limits, true, Some(Relay::serve()))
    }

    /// The same over a bucket that is out of order, without a NATS server.
    pub(crate) fn begin_without_store_and_nats(iterations: u32) -> Cast {
        Cast::begin_where(Place::Bucket, &["--iterations", &iterations.to_string()], false)
    }

    /// Starts everybody, for so many seconds.
    pub(crate) fn begin_for_seconds(seconds: u32) -> Cast {
        Cast::begin_where(
            Place::Folder,
            &["--max-seconds", &seconds.to_string(), "--iterations", "100000"],
            true,
        )
    }

    fn begin_where(place: Place, limits: &[&str], is_there: bool) -> Cast {
        Cast::begin_with(place, limits, is_there, None)
    }

    fn begin_with(place: Place, limits: &[&str], is_there: bool, relay: Option<Relay>) -> Cast {
        let folder = TempDir::new().unwrap();
        let store = match place {
            Place::Folder => Store::Folder(folder.path().join("store")),
            Place::Bucket => Store::Bucket(Bucket::serve()),
        };
        if let Store::Bucket(bucket) = &store {
            bucket.be_out_of_order(!is_there);
        }
        let (url, environment) = (store.url(), store.environment());
        let nats_port = ports::free();
        let mut cast = Cast {
            nats: nats(nats_port, &[]),
            nats_port,
            relay,
            folder,
            store,
            coordinators: Vec::new(),
            gateways: Vec::new(),
            volunteers: Vec::new(),
        };
        if !is_there {
            cast.nats.end();
        }
        let shared = ["--link", &format!("nats://127.0.0.1:{nats_port}"), "--store", &url].map(str::to_owned);
        for name in ["one", "two"] {
            let mut arguments = vec!["train".to_owned(), "--local-workers".into(), "0".into()];
            let (listen, out) = (format!("127.0.0.1:{}", ports::free()), cast.path(name));
            arguments.extend(["--listen".into(), listen, "--out".into(), out]);
            arguments.extend(limits.iter().map(|word| (*word).to_owned()));
            arguments.extend(shared.iter().cloned().chain(TASK.map(str::to_owned)));
            if name == "two" {
                arguments.push("--standby".into());
                if let Some(relay) = &cast.relay {
                    relay.leads_to(nats_port);
                    let link = arguments.iter().position(|argument| argument == "--link").expect("a link");
                    arguments[link + 1] = format!("nats://127.0.0.1:{}", relay.port());
                }
                // A standby that hears nobody for long leads: the first coordinator may take longer to start.
                if is_there {
                    cast.says(0, LEADS);
                }
            }
            let log = cast.log_path(name);
            cast.coordinators.push(Actor::start(arguments, environment.clone(), log));
        }
        let pages = [(); GATEWAYS].map(|()| format!("127.0.0.1:{}", ports::free()));
        for (index, page) in pages.iter().enumerate() {
            let mut arguments = vec!["gateway".to_owned(), "--listen".into(), page.clone()];
            arguments.extend(shared.iter().cloned());
            let log = cast.log_path(&format!("gateway-{index}"));
            cast.gateways.push(Actor::start(arguments, environment.clone(), log));
        }
        for index in 0..VOLUNTEERS {
            let url = format!("http://{}", pages[index % GATEWAYS]);
            let give_up = ["--cores", "1", "--give-up-after", "600", "-v"].map(str::to_owned);
            let arguments = ["volunteer".to_owned(), url].into_iter().chain(give_up).collect();
            let log = cast.log_path(&format!("volunteer-{index}"));
            cast.volunteers.push(Actor::start(arguments, environment.clone(), log));
        }
        cast
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// The page of a gateway.
    pub(crate) fn page(&mut self, index: usize) -> String {
        let url = format!("http://{}/", self.gateways[index].arguments[2]);
        self.wait("a gateway serves", |cast| cast.gateways[index].log().contains("Volunteers join at"));
        url
    }

    /// The link to the dashboard of the coordinator that leads.
    pub(crate) fn dashboard(&self) -> String {
        format!("http://{}/dashboard#operator={OPERATOR}", self.coordinators[self.leader()].host())
    }

    /// Kills a gateway, for good.
    pub(crate) fn kill_gateway(&mut self, index: usize) {
        self.gateways[index].kill();
    }

    /// The metrics of the coordinator that leads and of the gateways, once these have heard of the training.
    pub(crate) fn metrics(&mut self) -> Vec<String> {
        for index in 0..GATEWAYS {
            self.page(index);
        }
        let mut found = Vec::new();
        self.wait("gateways have heard of the training", |cast| {
            let leader = cast.leader();
            let servers = std::iter::once(&cast.coordinators[leader]).chain(&cast.gateways);
            // A server may just be starting.
            found = servers.map(|server| server.metrics().unwrap_or_default()).collect();
            found.iter().all(|metrics: &String| metrics.contains("\nshoal_training_phase 1"))
        });
        found
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    fn wait(&mut self, what: &str, mut condition: impl FnMut(&mut Cast) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < until, "waited in vain until {what}:\n{}", self.logs());
            sleep(POLL);
        }
    }

    fn logs(&self) -> String {
        let all = self.coordinators.iter().chain(&self.gateways).chain(&self.volunteers);
        let tail = |actor: &Actor| {
            let log = actor.log();
            let lines: Vec<&str> = log.lines().collect();
            format!("== {}\n{}\n", actor.log.display(), lines[lines.len().saturating_sub(30)..].join("\n"))
        };
        all.map(tail).collect()
    }

    /// Waits until so many states have been saved.
    pub(crate) fn reaches(&mut self, states: usize) {
        let mut seen = std::collections::BTreeSet::new();
        self.wait("a state is saved", |cast| {
            seen.extend(cast.store.newest_state());
            seen.len() >= states || cast.is_over()
        });
    }

    /// Waits until another state is saved.
    pub(crate) fn goes_on(&mut self) {
        let before = self.store.newest_state();
        self.wait("the training goes on", |cast| cast.store.newest_state() > before || cast.is_over());
    }

    /// Whether the training has ended.
    fn is_over(&self) -> bool {
        self.store.get("final").is_some()
    }

    /// The coordinator that leads: the last that said so.
    pub(crate) fn leader(&self) -> usize {
        let term = |actor: &Actor| {
            let log = actor.log();
            let line = log.lines().rev().find(|line| line.contains(LEADS))?;
            line.rsplit_once("term=")?.1.trim().parse::<u64>().ok()
        };
        (0..self.coordinators.len()).max_by_key(|index| term(&self.coordinators[*index])).expect("two")
    }

    /// Does something to a part of it.
    pub(crate) fn suffers(&mut self, fault: &Fault) {
        if self.is_over() {
            return;
        }
        let pause = |ms: u64| sleep(Duration::from_millis(ms));
        match *fault {
            Fault::KillLeader { ms } => {
                let leader = self.leader();
                self.coordinators[leader].kill();
                pause(ms);
                self.coordinators[leader].restart_as_standby();
            }
            Fault::FreezeLeader { ms } => {
                let leader = self.leader();
                self.coordinators[leader].freeze(ms);
            }
            Fault::KillStandby { ms } => {
                let standby = 1 - self.leader();
                self.coordinators[standby].kill();
                pause(ms);
                self.coordinators[standby].restart_as_standby();
            }
            Fault::FreezeStandby { ms } => {
                let standby = 1 - self.leader();
                self.coordinators[standby].freeze(ms);
            }
            Fault::KillGateway { index, ms } => {
                self.gateways[index % GATEWAYS].kill();
                pause(ms);
                self.gateways[index % GATEWAYS].start_again();
            }
            Fault::FreezeGateway { index, ms } => self.gateways[index % GATEWAYS].freeze(ms),
            Fault::KillVolunteer { index, ms } => {
                self.volunteers[index % VOLUNTEERS].kill();
                pause(ms);
                self.volunteers[index % VOLUNTEERS].start_again();
            }
            Fault::FreezeVolunteer { index, ms } => self.volunteers[index % VOLUNTEERS].freeze(ms),
            Fault::KillNats { ms } => {
                self.nats.end();
                pause(ms);
                self.nats = nats(self.nats_port, &[]);
            }
            Fault::FreezeNats { ms } => {
                signal(&self.nats.0, "STOP");
                pause(ms);
                signal(&self.nats.0, "CONT");
            }
            Fault::BreakStore { ms } => match &self.store {
                Store::Folder(_) => pause(ms),
                Store::Bucket(bucket) => {
                    bucket.be_out_of_order(true);
                    pause(ms);
                    bucket.be_out_of_order(false);
                }
            },
            Fault::Nothing { ms } => pause(ms),
        }
    }

    /// Freezes the coordinator that leads for so long, and until another leads: it comes back just past its deadline.
    pub(crate) fn freeze_leader_until_replaced(&mut self, ms: u64) {
        let leader = self.leader();
        signal(&self.coordinators[leader].child, "STOP");
        sleep(Duration::from_millis(ms));
        self.wait("the standby leads", |cast| cast.leader() != leader || cast.is_over());
        signal(&self.coordinators[leader].child, "CONT");
    }

    /// The same without a coordinator that was killed for good.
    pub(crate) fn ends_without(mut self, coordinator: usize) -> Vec<u8> {
        self.coordinators.remove(coordinator);
        self.ends()
    }

    /// Waits for the end: the results are in the store, and who served them goes. Gives the model's file.
    pub(crate) fn ends(mut self) -> Vec<u8> {
        self.ends_for_all()
    }

    /// The model's file with which the training has ended.
    pub(crate) fn model(&self) -> Vec<u8> {
        let end: serde_json::Value = serde_json::from_slice(&self.store.get("final").unwrap()).unwrap();
        let results = end["results"].as_str().unwrap();
        self.store.get(&format!("{results}/model.safetensors")).unwrap()
    }

    /// The same, and where the test looks afterward is still there.
    pub(crate) fn ends_for_all(&mut self) -> Vec<u8> {
        self.wait("the training has ended", |cast| cast.is_over());
        // A volunteer that was started after the end waits for somebody to come back.
        self.wait("coordinators and gateways have ended", |cast| {
            let mut all = cast.coordinators.iter_mut().chain(&mut cast.gateways);
            all.all(Actor::is_over)
        });
        self.model()
    }

    /// Where the model's file is in a coordinator's run directory.
    pub(crate) fn path_of_model(&self, coordinator: usize) -> PathBuf {
        self.folder.path().join(["one", "two"][coordinator]).join("model.safetensors")
    }

    /// Where the store is, if it is a folder.
    pub(crate) fn place(&self) -> &Path {
        match &self.store {
            Store::Folder(path) => path,
            Store::Bucket(_) => panic!("the store is a bucket"),
        }
    }

    /// The store, if it is a bucket.
    pub(crate) fn bucket(&self) -> &Bucket {
        match &self.store {
            Store::Bucket(bucket) => bucket,
            Store::Folder(_) => panic!("the store is a folder"),
        }
    }

    /// Waits until the bucket has refused something.
    pub(crate) fn is_refused(&mut self) {
        self.wait("the store refuses a request", |cast| cast.bucket().refusals() > 0);
    }

    /// Whether all coordinators and gateways are there.
    pub(crate) fn are_all_there(&mut self) -> bool {
        !self.coordinators.iter_mut().chain(&mut self.gateways).any(Actor::is_over)
    }

    /// Kills the coordinator that leads, for good.
    pub(crate) fn kill_leader(&mut self) {
        let leader = self.leader();
        self.coordinators[leader].kill();
    }

    /// Cuts the standby off from the NATS server, or lets it through again.
    pub(crate) fn cut_off_standby(&self, is_cut: bool) {
        let relay = self.relay.as_ref().expect("a relay");
        relay.leads_to(if is_cut { 0 } else { self.nats_port });
    }

    /// Waits until a coordinator has said something so many times.
    pub(crate) fn says_times(&mut self, coordinator: usize, words: &str, times: usize) {
        self.wait(words, |cast| cast.coordinators[coordinator].log().matches(words).count() >= times);
    }

    /// Keeps all volunteers from working until [`Cast::thaw_volunteers`].
    pub(crate) fn freeze_volunteers(&self) {
        self.volunteers.iter().for_each(|volunteer| signal(&volunteer.child, "STOP"));
    }

    /// Lets them go on.
    pub(crate) fn thaw_volunteers(&self) {
        self.volunteers.iter().for_each(|volunteer| signal(&volunteer.child, "CONT"));
    }

    /// Presses Ctrl-C at a coordinator.
    pub(crate) fn interrupt(&self, coordinator: usize) {
        signal(&self.coordinators[coordinator].child, "INT");
    }

    /// Waits until the gateways have ended.
    pub(crate) fn gateways_end(&mut self) {
        self.wait("gateways have ended", |cast| cast.gateways.iter_mut().all(Actor::is_over));
    }

    /// Waits until a coordinator says that.
    pub(crate) fn says(&mut self, coordinator: usize, words: &str) {
        self.wait(words, |cast| cast.coordinators[coordinator].log().contains(words));
    }

    /// Does something on the dashboard of the coordinator that leads.
    pub(crate) fn operator(&mut self, action: &str) {
        let leader = self.leader();
        let answer = self.coordinators[leader].ask(&format!("POST /api/operator/{action}"), "").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Waits until the store has, or has not, an object.
    pub(crate) fn keeps(&mut self, key: &str, is_there: bool) {
        self.wait(key, |cast| cast.store.get(key).is_some() == is_there);
    }

    /// Waits until an object of the store has changed so many times.
    pub(crate) fn changes(&mut self, key: &str, times: usize) {
        let mut seen = std::collections::BTreeSet::new();
        self.wait(key, |cast| {
            seen.extend(cast.store.get(key));
            seen.len() > times
        });
    }

    /// Waits until the dashboard of the coordinator that leads says that of the training.
    pub(crate) fn shows(&mut self, words: &str) {
        self.wait(words, |cast| {
            // Its server may just be starting.
            let answer = cast.coordinators[cast.leader()].ask("GET /api/operator", "");
            answer.is_ok_and(|answer| answer.contains(words))
        });
    }

    /// Starts the NATS server again.
    pub(crate) fn start_nats(&mut self) {
        self.nats = nats(self.nats_port, &[]);
    }
}

impl Actor {
    /// Where its server listens.
    fn host(&self) -> &str {
        let at = self.arguments.iter().position(|argument| argument == "--listen").expect("a server");
        &self.arguments[at + 1]
    }

    /// What it answers to a request of the operator.
    fn ask(&self, request: &str, body: &str) -> io::Result<String> {
        let host = self.host();
        let mut stream = TcpStream::connect(host)?;
        let length = body.len();
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {OPERATOR}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// What it answers to `GET /metrics`.
    fn metrics(&self) -> io::Result<String> {
        let answer = self.ask("GET /metrics", "")?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(body.to_owned())
    }

    fn freeze(&self, ms: u64) {
        signal(&self.child, "STOP");
        sleep(Duration::from_millis(ms));
        signal(&self.child, "CONT");
    }

    /// A coordinator that was killed goes on in the run directory that it had, if it had led and so had one.
    fn restart_as_standby(&mut self) {
        if let Some(out) = self.arguments.iter().position(|argument| argument == "--out") {
            let run = self.arguments[out + 1].clone();
            if Path::new(&run).join("run.toml").exists() {
                self.arguments = vec!["resume".to_owned(), run, "--standby".to_owned()];
            }
        }
        self.start_again();
    }
}
