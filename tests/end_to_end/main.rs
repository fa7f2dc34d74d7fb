//! End to end: the real binary, real native volunteers and real Chromium tabs.
//!
//! What is asserted is the promise of the product: the same data, seed and configuration give the
//! same weights, bit for bit, whoever helps and whatever happens to them; and the same bits as a
//! plain loop over the model and L-BFGS ([`reference`]).
//!
//! - [`accessible`]: the other pages in all their states, by axe-core
//! - [`bench`]: the benchmark's page
//! - [`dashboard`]: the operator's dashboard
//! - [`foreign`]: a network of another program
//! - [`load`]: a coordinator under attack
//! - [`mirror`]: another address that has the shards
//! - [`page`]: the volunteer's page
//! - [`problem`]: the data set that is trained on
//! - [`reference`]: the plain loop
//! - [`relay`]: a line to the coordinator that breaks when told to
//! - [`states`]: every state of the volunteer's page
//! - [`trying`]: the page that tries a network
//!
//! The browser tests need `chromium` and `chromedriver`; `tests/run` installs them.

mod accessible;
mod bench;
mod dashboard;
mod foreign;
mod load;
mod mirror;
mod page;
mod problem;
mod reference;
mod relay;
mod states;
mod trying;

use model::Arithmetic::{self, Fused, Portable};
use serde_json::json;
use support::browser::Tab;
use support::coordinator::{Coordinator, Volunteer};

use problem::{Options, Problem};

/// Runs `scenario` in both arithmetics and asserts the weights it arrives at.
fn gives_the_reference(scenario: impl AsyncFn(&Problem, Arithmetic) -> String) {
    gives_the_reference_of(&Problem::dense(), scenario);
}

fn gives_the_reference_of(problem: &Problem, scenario: impl AsyncFn(&Problem, Arithmetic) -> String) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for arithmetic in [Portable, Fused] {
        let expected = reference::weights_digest(problem, arithmetic);
        let digest = runtime.block_on(scenario(problem, arithmetic));
        assert_eq!(digest, expected, "{arithmetic} arithmetic");
    }
}

/// A tab that lends itself for a twentieth of its time, so that the training has a middle on a fast machine, too.
async fn lend_gently(coordinator: &Coordinator, cores: u32) -> Tab {
    let tab = Tab::open(coordinator).await;
    choose_effort(&tab, 5).await;
    tab.start(cores).await;
    tab
}

/// Chooses how much of its time a tab computes, in percent; the page itself offers no less than a quarter.
pub(crate) async fn choose_effort(tab: &Tab, percent: u32) {
    let choose = "const effort = document.querySelector('#effort'); \
                  effort.add(new Option(arguments[0], arguments[0])); effort.value = arguments[0]; \
                  effort.dispatchEvent(new Event('change', { bubbles: true }));";
    tab.evaluate(choose, vec![json!(percent.to_string())]).await;
}

/// Waits until the coordinator has counted a result of the tab.
async fn has_helped(tab: &Tab) {
    tab.until("document.querySelector('#examples').textContent !== '0'").await;
}

#[test]
fn the_coordinators_own_worker_alone() {
    gives_the_reference(async |problem, arithmetic| {
        let options = Options { arithmetic, local_workers: "2", ..Options::default() };
        problem.train(&options).result().weights_digest
    });
}

#[test]
fn one_native_volunteer() {
    gives_the_reference(async |problem, arithmetic| {
        let options = Options { arithmetic, wait_for: 1, ..Options::default() };
        let coordinator = problem.train(&options);
        let _volunteer = Volunteer::join(&coordinator, 2);
        let result = coordinator.result();
        assert_eq!(result.volunteers, 1);
        result.weights_digest
    });
}

#[test]
fn three_native_volunteers() {
    gives_the_reference(async |problem, arithmetic| {
        let options = Options { arithmetic, wait_for: 3, ..Options::default() };
        let coordinator = problem.train(&options);
        let _volunteers = [1, 1, 2].map(|cores| Volunteer::join(&coordinator, cores));
        let result = coordinator.result();
        assert_eq!(result.volunteers, 3);
        result.weights_digest
    });
}

#[test]
fn one_tab() {
    gives_the_reference(async |problem, arithmetic| {
        let options = Options { arithmetic, wait_for: 1, ..Options::default() };
        let coordinator = problem.train(&options);
        let tab = Tab::lend(&coordinator, 1).await;
        let result = coordinator.result();
        tab.close().await;
        assert_eq!(result.volunteers, 1);
        result.weights_digest
    });
}

#[test]
fn convolutions_in_a_tab_and_a_native_volunteer() {
    gives_the_reference_of(&Problem::convolutions(), async |problem, arithmetic| {
        let options = Options { arithmetic, wait_for: 1, ..Options::default() };
        let coordinator = problem.train(&options);
        let tab = Tab::lend(&coordinator, 1).await;
        // Beside a faster volunteer it may not finish a piece before the end.
        coordinator.reaches_iteration(1).await;
        let _volunteer = Volunteer::join(&coordinator, 1);
        let result = coordinator.result();
        tab.close().await;
        assert_eq!(result.volunteers, 2);
        result.weights_digest
    });
}

/// The default method.
#[test]
fn local_steps_in_a_tab_and_natively() {
    let problem = Problem::normalized();
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (data, network) = (text(problem.csv()), text(problem.network()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for arithmetic in [Portable, Fused] {
        let name = arithmetic.to_string();
        let run = |local_workers, wait_for| {
            let arguments =
                ["--data", &data, "--model", &network, "--arithmetic", &name, "--iterations", "8"];
            let who = ["--local-workers", local_workers, "--wait-for", wait_for];
            Coordinator::train(problem.new_run(), &[&arguments[..], &who].concat())
        };
        let native = run("2", "0").result();
        // Alone, a tab computes every unit. Beside a faster volunteer it may not finish one before the end.
        runtime.block_on(async {
            let coordinator = run("0", "1");
            let tab = Tab::lend(&coordinator, 1).await;
            let alone = coordinator.result();
            tab.close().await;
            assert_eq!((alone.iterations, alone.volunteers), (8, 1));
            assert_eq!(alone.weights_digest, native.weights_digest, "{arithmetic} arithmetic, a tab alone");

            let coordinator = run("0", "2");
            let tab = Tab::lend(&coordinator, 1).await;
            let _volunteer = Volunteer::join(&coordinator, 1);
            let together = coordinator.result();
            tab.close().await;
            assert_eq!(together.iterations, 8);
            assert_eq!(together.weights_digest, native.weights_digest, "{arithmetic} arithmetic, both");
        });
    }
}

/// The same bits as natively. Prints what the tab takes, which is more than its vectors: page, script and connection.
#[test]
#[expect(clippy::print_stdout, reason = "the figure is measured here")]
fn twenty_million_parameters_in_a_tab() {
    let problem = Problem::large();
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (data, network) = (text(problem.csv()), text(problem.network()));
    let run = |local_workers, wait_for| {
        let arguments = ["--data", &data, "--model", &network, "--minibatch", "100", "--iterations", "1"];
        let who = ["--local-workers", local_workers, "--wait-for", wait_for];
        Coordinator::train(problem.new_run(), &[&arguments[..], &who].concat())
    };
    let native = run("1", "0").result();
    let coordinator = run("0", "1");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let tab = Tab::lend(&coordinator, 1).await;
        let result = coordinator.result();
        println!("the tab's peak: {} MB", tab.peak_bytes() / 1_000_000);
        tab.close().await;
        assert_eq!((result.iterations, result.volunteers), (1, 1));
        assert_eq!(result.weights_digest, native.weights_digest);
    });
}

#[test]
fn two_tabs_and_one_killed_in_the_middle() {
    gives_the_reference(async |problem, arithmetic| {
        let options = Options { arithmetic, wait_for: 2, ..Options::default() };
        let coordinator = problem.train(&options);
        let stays = lend_gently(&coordinator, 1).await;
        let dies = lend_gently(&coordinator, 2).await;
        coordinator.reaches_iteration(5).await;
        has_helped(&dies).await;
        dies.kill();
        choose_effort(&stays, 100).await;
        let result = coordinator.result();
        stays.close().await;
        assert_eq!(result.volunteers, 2);
        result.weights_digest
    });
}

#[test]
fn two_tabs_and_a_volunteer_that_joins_late() {
    gives_the_reference(async |problem, arithmetic| {
        let options = Options { arithmetic, wait_for: 2, ..Options::default() };
        let coordinator = problem.train(&options);
        let tabs = [Tab::lend(&coordinator, 1).await, Tab::lend(&coordinator, 1).await];
        coordinator.reaches_iteration(5).await;
        let _late = Volunteer::join(&coordinator, 1);
        let result = coordinator.result();
        for tab in tabs {
            tab.close().await;
        }
        assert!(result.volunteers >= 2);
        result.weights_digest
    });
}

#[test]
fn the_coordinator_killed_and_resumed_under_a_tab() {
    gives_the_reference(async |problem, arithmetic| {
        let options = Options { arithmetic, wait_for: 1, ..Options::default() };
        let coordinator = problem.train(&options);
        let tab = lend_gently(&coordinator, 1).await;
        coordinator.reaches_iteration(5).await;
        // Checkpoints are a second apart.
        coordinator.has_checkpoint().await;
        // The tab stays open, reconnects by itself and goes on.
        let coordinator = coordinator.kill_and_resume();
        choose_effort(&tab, 100).await;
        let greeting = coordinator.greeting();
        let (_, after) =
            greeting.split_once("Continuing after iteration ").expect("it says where it goes on");
        assert!(!after.starts_with("0."), "not from the start: {greeting}");
        let result = coordinator.result();
        tab.close().await;
        assert_eq!(result.iterations, problem::ITERATIONS);
        result.weights_digest
    });
}
