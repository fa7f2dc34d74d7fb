//! A coordinator under attack: it goes on, and takes no more memory than the formula says.

use std::path::Path;

use coordinator::server::worst_case_bytes;
use support::coordinator::Coordinator;
use support::program::{Ran, shoal};
use tempfile::TempDir;

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
    let runtime = tokio::runtime::Runtime::new().unwrap();
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

#[test]
fn attacks_are_for_this_machine_only() {
    let load = ["load", "http://192.0.2.1:8080", "--volunteers", "1", "--attack", "zeros"];
    Ran::of(&mut shoal(load)).failed(1, &["on this machine only", "loopback"]);
}
