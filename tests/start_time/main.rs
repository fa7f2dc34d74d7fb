//! How long a tab takes from Start to its first computation: the real binary and a headless Chromium on loopback.
//!
//! ```text
//! cargo bench --profile release -p coordinator --bench start_time
//! ```
//!
//! Every visit is a browser's first: with nothing in its cache, to a coordinator that has served nobody. What is
//! measured is the page's own `shoal:start-to-computing`, from the press of the button to the first job's being
//! begun, shards included; and the same for a visitor who presses as soon as there is a button.

#![allow(clippy::print_stdout, reason = "its purpose is to print")]

use std::time::Duration;

use support::browser::Tab;
use support::coordinator::Coordinator;

const VISITS: usize = 7;
/// Long enough for the page to have loaded whatever it loads.
const READING: Duration = Duration::from_millis(1500);
const POLL: Duration = Duration::from_millis(50);

const RUNS: [(&str, &[&str]); 2] = [
    (
        "UCI digits, mlp:64",
        &["--data", concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/digits.csv.gz"), "--model", "mlp:64"],
    ),
    ("MNIST, mlp:128", &["--data", "embedded:mnist", "--model", "mlp:128"]),
];

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (name, arguments) in RUNS {
        for (when, reading) in [("after reading the page", READING), ("at once", Duration::ZERO)] {
            let visits = (0..VISITS).map(|_| runtime.block_on(visit(arguments, reading)));
            let mut times: Vec<f64> = visits.collect();
            times.sort_by(f64::total_cmp);
            println!(
                "{name}, Start pressed {when}: best {:.0} ms, median {:.0} ms, worst {:.0} ms from Start to computing",
                times[0],
                times[VISITS / 2],
                times[VISITS - 1],
            );
        }
    }
}

/// Milliseconds.
async fn visit(arguments: &[&str], reading: Duration) -> f64 {
    let volunteers_only = ["--local-workers", "0", "--wait-for", "0"];
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("run");
    let coordinator = Coordinator::train(run, &[arguments, &volunteers_only].concat());
    let tab = Tab::open(&coordinator).await;
    tokio::time::sleep(reading).await;
    tab.start(1).await;
    loop {
        let script = "return performance.getEntriesByName('shoal:start-to-computing')[0]?.duration ?? null";
        if let Some(duration) = tab.evaluate(script, Vec::new()).await.as_f64() {
            tab.close().await;
            return duration;
        }
        tokio::time::sleep(POLL).await;
    }
}
