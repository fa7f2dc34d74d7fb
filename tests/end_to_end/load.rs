//! A coordinator under attack: it goes on, and takes no more memory than the formula says.

use std::path::Path;

use coordinator::report::status::OFFENDERS_MAX;
use coordinator::server::worst_case_bytes;
use support::coordinator::{Coordinator, Outcome};
use support::program::{Ran, Running, shoal};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Attackers of each kind, and the seconds that they have.
const ATTACKERS: usize = 100;
const SECONDS: &str = "3";
/// `mlp:256` on MNIST.
const PARAMETERS: usize = 784 * 256 + 256 + 256 * 10 + 10;

/// The most memory that a process has had, in bytes, from the system's own account.
fn memory_most(process: u32) -> u64 {
    let status =
        std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_coordinator_under_attack_goes_on_within_its_memory() {
    let folder = TempDir::new().unwrap();
    // Without patience it goes on until it is killed.
    let what =
        ["--data", "embedded:mnist", "--model", "mlp:256", "--iterations", "100000", "--patience", "0"];
    let arguments = [&what[..], &["--local-workers", "1"]].concat();
    let coordinator = Coordinator::train(folder.path().join("run"), &arguments);
    let url = format!("http://{}", coordinator.address());
    let runtime = Runtime::new().unwrap();
    runtime.block_on(coordinator.has_status(|status| status["rounds"].as_u64() >= Some(1)));
    let before = memory_most(coordinator.process_id());
    for attack in ["unasked", "cores", "slow-writer", "slow-reader", "sleepers"] {
        let count = ATTACKERS.to_string();
        let load = ["load", &url, "--volunteers", &count, "--attack", attack, "--seconds", SECONDS];
        let ran = Ran::of(&mut shoal(load)).succeeded();
        assert!(ran.stdout.contains("volunteers at once"), "{attack}: {}", ran.stdout);
        let taken = memory_most(coordinator.process_id()) - before;
        assert!(taken <= worst_case_bytes(ATTACKERS, PARAMETERS), "{attack}: {taken} bytes");
    }
    let rounds = std::cell::Cell::new(None);
    // It goes on: two more rounds from here.
    runtime.block_on(coordinator.has_status(|status| {
        let now = status["rounds"].as_u64().unwrap();
        let first = rounds.get().unwrap_or(now);
        rounds.set(Some(first));
        now >= first + 2
    }));
}

/// What becomes of volunteers that play an attack.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// They are found out.
    FoundOut,
    /// They stay.
    Stay,
    /// They stay for some seconds, and are found out if the test takes longer.
    StayForSeconds,
}

/// Attacks, how many volunteers play each, and how many results these get right before.
const ATTACKS: [(&str, &str, &str, Fate); 17] = [
    ("zeros", "1", "0", Fate::FoundOut),
    ("flipped", "1", "12", Fate::FoundOut),
    ("scaled", "1", "0", Fate::FoundOut),
    ("negative-loss", "1", "0", Fate::FoundOut),
    ("low-loss", "1", "0", Fate::FoundOut),
    ("all-correct", "1", "0", Fate::FoundOut),
    ("colluding", "2", "0", Fate::FoundOut),
    ("stall", "1", "0", Fate::FoundOut),
    ("false-unfit", "1", "0", Fate::FoundOut),
    ("unasked", "1", "0", Fate::FoundOut),
    ("sleepers", "20", "0", Fate::Stay),
    ("paused", "200", "0", Fate::Stay),
    ("frozen", "3", "5", Fate::Stay),
    ("cores", "20", "0", Fate::StayForSeconds),
    ("slow-reader", "20", "0", Fate::Stay),
    ("slow-writer", "20", "0", Fate::Stay),
    ("half-sent", "20", "0", Fate::StayForSeconds),
];

/// Three volunteers that are honest.
const HONEST: u64 = 3;

/// A training that goes on until it is stopped.
fn endless(folder: &TempDir) -> Coordinator {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/digits.csv.gz");
    let what = ["--data", data, "--model", "mlp:64", "--optimizer", "adam", "--validation-fraction", "0"];
    let round = ["--minibatch", "16", "--minibatches-per-round", "64"];
    let how = ["--local-workers", "0", "--iterations", "1000000"];
    Coordinator::train(folder.path().join("run"), &[&what[..], &round[..], &how[..]].concat())
}

/// `shoal load` beside a test, until it is dropped: its hour is longer than any test takes.
fn load(url: &str, volunteers: &str, more: &[&str]) -> Running {
    let what = ["load", url, "--volunteers", volunteers, "--seconds", "3600"];
    Running::start(shoal([&what[..], more].concat()))
}

fn number(status: &serde_json::Value, name: &str) -> u64 {
    status[name].as_u64().unwrap_or_else(|| panic!("{name} is missing in {status}"))
}

/// Ends a training as Ctrl-C does.
#[cfg(unix)]
fn interrupted(coordinator: Coordinator) -> Ran {
    coordinator.interrupt();
    let ran = coordinator.ended();
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    ran
}

/// Volunteers that help, until they are dropped. They take their time, so that a round has work for others, too.
fn honest_load(url: &str) -> Running {
    load(url, &HONEST.to_string(), &["--speed", "20000"])
}

/// The digest of the weights after so many iterations, of a training that nobody attacks.
fn honest_digest(folder: &TempDir, iterations: u64) -> String {
    let settings = folder.path().join("run/run.toml");
    let (settings, out) = (settings.to_str().unwrap(), folder.path().join("honest"));
    let what = ["train", "--config", settings, "--out", out.to_str().unwrap(), "--json"];
    let iterations = iterations.to_string();
    let how = ["--iterations", &iterations, "--local-workers", "1", "--listen", "127.0.0.1:0"];
    Outcome::of(&Ran::of(&mut shoal([&what[..], &how[..]].concat())).succeeded()).weights_digest
}

#[cfg(unix)]
#[test]
fn beside_each_attack_three_honest_volunteers_come_to_the_honest_weights() {
    let (folder, runtime) = (TempDir::new().unwrap(), Runtime::new().unwrap());
    let coordinator = endless(&folder);
    let url = format!("http://{}", coordinator.address());
    let honest = honest_load(&url);
    runtime.block_on(coordinator.has_status(|status| number(status, "rounds") >= 10));
    for (attack, count, after, fate) in ATTACKS {
        // Those before have left.
        runtime.block_on(coordinator.has_status(|status| number(status, "volunteers") == HONEST));
        let before = runtime.block_on(coordinator.status());
        // Whoever came back could lie again just before the end, when nobody finds it out any more.
        let mut how = vec!["--attack", attack, "--after", after];
        how.extend((after != "0" && fate == Fate::FoundOut).then_some("--once"));
        let crowd = load(&url, count, &how);
        runtime.block_on(coordinator.has_status(|status| match fate {
            Fate::FoundOut => number(status, "offenders_count") > number(&before, "offenders_count"),
            Fate::Stay | Fate::StayForSeconds => {
                number(status, "volunteers") == HONEST + count.parse::<u64>().unwrap()
            }
        }));
        // With all of them there, it goes on.
        let rounds = number(&runtime.block_on(coordinator.status()), "rounds");
        runtime.block_on(coordinator.has_status(|status| number(status, "rounds") >= rounds + 3));
        drop(crowd);
    }
    let ran = interrupted(coordinator);
    drop(honest);
    let (outcome, json) = (Outcome::of(&ran), ran.last_json());
    assert_eq!(outcome.weights_digest, honest_digest(&folder, outcome.iterations));
    // Each kind is named, and nobody who is honest.
    let offenders: Vec<&str> =
        json["offenders"].as_array().unwrap().iter().filter_map(|one| one["agent"].as_str()).collect();
    let agents = |fate| {
        let of_fate = ATTACKS.iter().filter(move |attack| attack.3 == fate);
        of_fate.map(|(attack, ..)| format!("shoal load {attack}")).collect::<Vec<String>>()
    };
    let found_out = agents(Fate::FoundOut);
    let may_be = [&found_out[..], &agents(Fate::StayForSeconds)].concat();
    assert!(offenders.iter().all(|agent| may_be.iter().any(|known| known == agent)), "{offenders:?}");
    for agent in &found_out {
        // The log sums up what is more than twenty a minute, and the object names the last of them.
        assert!(offenders.len() >= 20 || ran.stderr.contains(agent.as_str()), "{agent}: {}", ran.stderr);
        assert!(offenders.len() >= OFFENDERS_MAX || offenders.contains(&agent.as_str()), "{offenders:?}");
    }
    assert!(ran.stderr.contains("a volunteer is found out"), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn a_lie_that_is_found_out_does_not_come_back_with_a_kill() {
    let (folder, runtime) = (TempDir::new().unwrap(), Runtime::new().unwrap());
    let mut coordinator = endless(&folder);
    let url = format!("http://{}", coordinator.address());
    let _honest = honest_load(&url);
    // Of a newcomer's results, nearly all are checked at once. Of the next ones more and more are not: the training goes
    // back to before the first of these, whether or not a lie counted.
    let liar = load(&url, "1", &["--attack", "flipped", "--after", "60", "--once"]);
    coordinator.says("goes back to iteration");
    drop(liar);
    // It knows nobody any more. The honest ones come back.
    let coordinator = coordinator.kill_and_resume();
    let rounds = number(&runtime.block_on(coordinator.status()), "rounds");
    runtime.block_on(coordinator.has_status(|status| {
        number(status, "volunteers") == HONEST && number(status, "rounds") >= rounds + 10
    }));
    let lines: Vec<u64> = coordinator.metrics().iter().map(|line| number(line, "iteration")).collect();
    assert_eq!(lines, (0..lines.len() as u64).collect::<Vec<u64>>(), "without a hole");
    let outcome = Outcome::of(&interrupted(coordinator));
    assert_eq!(outcome.weights_digest, honest_digest(&folder, outcome.iterations));
}

#[test]
fn attacks_are_for_this_machine_only() {
    let load = ["load", "http://192.0.2.1:8080", "--volunteers", "1", "--attack", "zeros"];
    Ran::of(&mut shoal(load)).failed(1, &["on this machine only", "loopback"]);
}
