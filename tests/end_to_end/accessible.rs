//! What axe-core says of the pages around the volunteer's: the dashboard, the report, the benchmark and the doors, in all
//! their states. The volunteer's page itself is in [`crate::states`].

use serde_json::json;
use support::browser::Tab;
use support::coordinator::{Coordinator, Volunteer};

use crate::dashboard::{confirm, opened};
use crate::page::in_browser;
use crate::problem::Problem;

/// Light and dark, wide and as narrow as a phone, with plain and with large letters.
async fn is_accessible_everywhere(tab: &Tab) {
    for (width, height, scheme, letters) in
        [(1280, 800, "light", ""), (390, 844, "dark", ""), (360, 640, "light", "200%")]
    {
        look(tab, width, height, scheme, letters).await;
        tab.is_accessible().await;
        let fits = "document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(
            tab.evaluate(&format!("return {fits}"), vec![]).await,
            json!(true),
            "the page scrolls sideways at {width} with letters of {letters}"
        );
    }
    look(tab, 1280, 800, "light", "").await;
}

async fn look(tab: &Tab, width: u32, height: u32, scheme: &str, letters: &str) {
    let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
    tab.debug("Emulation.setDeviceMetricsOverride", metrics).await;
    let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
    tab.debug("Emulation.setEmulatedMedia", features).await;
    tab.evaluate("document.documentElement.style.fontSize = arguments[0]", vec![json!(letters)]).await;
    // Colors change over a moment, and are none of both meanwhile.
    tab.until(
        "document.getAnimations().every((animation) => animation.playState !== 'running' || \
               animation.effect.getComputedTiming().iterations === Infinity)",
    )
    .await;
}

/// Shows every shade of the matrix, in a row of its own: which of them a training shows is chance.
/// (axe-core does not judge texts of one character.)
async fn show_every_shade(tab: &Tab) {
    let row = "const row = document.createElement('tr'); \
               for (const kind of ['right', 'wrong']) for (let shade = 0; shade < 10; shade += 1) { \
               const cell = document.createElement('td'); \
               cell.className = `${kind} s${shade}`; cell.textContent = '17'; row.append(cell); } \
               document.querySelector('.matrix tbody').append(row)";
    tab.evaluate(row, vec![]).await;
}

#[test]
fn the_dashboard_in_every_state() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = problem.endless(2);
        let tab = opened(&coordinator).await;
        tab.until("document.querySelector('#volunteers-empty').checkVisibility()").await;
        is_accessible_everywhere(&tab).await;
        let volunteers = [Volunteer::join(&coordinator, 1), Volunteer::join(&coordinator, 1)];
        coordinator.reaches_iteration(8).await;
        tab.until("document.querySelectorAll('.people tbody tr').length === 3").await;
        tab.until("document.querySelector('.matrix') !== null").await;
        tab.click("#pause").await;
        tab.until("document.querySelector('#pause').textContent === 'Continue'").await;
        tab.evaluate(
            "for (const details of document.querySelectorAll('details')) details.open = true",
            vec![],
        )
        .await;
        show_every_shade(&tab).await;
        is_accessible_everywhere(&tab).await;
        tab.click("#stop").await;
        tab.until("document.querySelector('#confirm').open").await;
        is_accessible_everywhere(&tab).await;
        tab.click("#confirm-no").await;
        tab.until("!document.querySelector('#confirm').open").await;
        confirm(&tab, "[data-does=ban]").await;
        tab.until("document.querySelector('#bans').checkVisibility()").await;
        tab.evaluate("document.querySelector('#bans').open = true", vec![]).await;
        is_accessible_everywhere(&tab).await;
        drop(volunteers);
        // The coordinator is gone without a word.
        drop(coordinator);
        // A page that was busy for some seconds says first that the coordinator is.
        tab.until(
            "document.body.dataset.stale === 'true' && document.querySelector('#stale').checkVisibility() && \
             document.querySelector('#stale').textContent.startsWith('The coordinator has not answered since')",
        )
        .await;
        let sentence = tab.text("#stale").await;
        assert!(sentence.contains("These figures are of"), "{sentence}");
        // Greyed: the figures are fainter than they were.
        let faint = "getComputedStyle(document.querySelector('main .panel dd')).color \
                     !== getComputedStyle(document.body).color";
        assert_eq!(tab.evaluate(&format!("return {faint}"), vec![]).await, json!(true));
        show_every_shade(&tab).await;
        is_accessible_everywhere(&tab).await;
        tab.close().await;
    });
}

#[test]
fn the_end_of_a_training_on_the_dashboard_and_its_report() {
    in_browser(async || {
        let problem = Problem::dense();
        let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        let (data, network, run) = (text(problem.csv()), text(problem.network()), problem.new_run());
        let report = run.join("report.html");
        let what = ["--data", &data, "--model", &network, "--optimizer", "lbfgs", "--iterations", "6"];
        let who = ["--wait-for", "1", "--local-workers", "0", "--validation-fraction", "0.2"];
        let coordinator = Coordinator::train(run, &[&what[..], &who].concat());
        let tab = opened(&coordinator).await;
        let _volunteer = Volunteer::join(&coordinator, 1);
        tab.until("document.title.startsWith('Finished')").await;
        is_accessible_everywhere(&tab).await;
        coordinator.result();
        tab.until("document.querySelector('#stale').textContent.includes('last figures')").await;
        is_accessible_everywhere(&tab).await;
        tab.goto(&format!("file://{}", report.display())).await;
        tab.until("document.body.textContent.includes('Who helped')").await;
        is_accessible_everywhere(&tab).await;
        tab.close().await;
    });
}

#[test]
fn the_doors_closed_and_with_a_wrong_word() {
    in_browser(async || {
        let problem = Problem::dense();
        let data = problem.csv().to_str().unwrap().to_owned();
        let arguments = ["--data", &data, "--model", "mlp:4", "--wait-for", "1", "--invite"];
        let coordinator = Coordinator::train(problem.new_run(), &arguments);
        let tab = Tab::blank().await;
        for (path, right) in [("/", "invite"), ("/dashboard", "operator")] {
            let url = format!("http://{}{path}", coordinator.address());
            tab.goto(&url).await;
            tab.until("document.querySelector('#why').textContent.includes('Open the link')").await;
            is_accessible_everywhere(&tab).await;
            tab.goto(&format!("{url}#{right}=quite-wrong-words")).await;
            tab.until("document.querySelector('#why').textContent.startsWith('This is not the')").await;
            is_accessible_everywhere(&tab).await;
        }
        tab.close().await;
    });
}

#[test]
fn the_benchmark_before_and_after() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = problem.endless(1);
        let tab = Tab::blank().await;
        tab.visit(&coordinator, "/bench", "#again").await;
        is_accessible_everywhere(&tab).await;
        tab.visit(&coordinator, "/bench?quick&case=local", "#again:enabled").await;
        tab.until("window.result !== undefined").await;
        is_accessible_everywhere(&tab).await;
        tab.close().await;
    });
}
