//! Every state of the volunteer's page, as its visitors meet it: its one sentence, its one action, and nothing that
//! axe-core objects to. `waiting`, `changed` and `over` are in [`crate::page`], too.

use serde_json::{Value, json};
use support::browser::Tab;
use support::coordinator::Volunteer;

use crate::page::{in_browser, train};
use crate::problem::Problem;
use crate::relay::Relay;

/// A network whose results no system buffers.
const LARGE: &str = "mlp:2048,768";
/// Connections that fail until the tab and its hub have tried for a dozen seconds.
const REFUSED: u64 = 10;
/// A page asks for the status once a second, so so many answers take no more than three seconds.
const ANSWERS_IN_TIME: u64 = 3;

/// The state that is reached, its sentence, and that the page has one for everybody.
async fn reaches(tab: &Tab, state: &str, fragment: &str) {
    let sentence = tab.reaches(state).await;
    assert!(sentence.contains(fragment), "{state}: {sentence}");
    tab.is_accessible().await;
}

#[test]
fn a_slow_line_and_a_broken_one() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = problem.endless_with(LARGE, 1);
        let relay = Relay::to(&coordinator).await;
        let tab = Tab::blank().await;
        relay.hold(Some("/worker/"));
        tab.goto(&relay.url()).await;
        reaches(&tab, "idle", "Nothing runs until you press Start").await;
        // The coordinator has named the worker, which does not arrive.
        tab.until("document.querySelector('#phase').textContent.startsWith('Waiting for')").await;
        tab.start(1).await;
        reaches(&tab, "loading", "Loading the worker").await;
        relay.hold(Some("/shards/"));
        reaches(&tab, "downloading", "Downloading data").await;
        relay.hold(None);
        reaches(&tab, "computing", "Computing on 1 core.").await;
        relay.be_deaf(true);
        reaches(&tab, "sending", "your upload is the bottleneck").await;
        relay.be_deaf(false);
        tab.reaches("computing").await;

        tab.click("#pause").await;
        reaches(&tab, "paused", "until you continue").await;
        coordinator.has_status(|status| status["cores"] == 0).await;
        counts_its_bytes(&tab, &relay).await;
        // The compute worker's script is still on its way when the line breaks.
        relay.hold(Some("/compute.js"));
        tab.click("#action").await;
        tab.reaches("computing").await;

        relay.be_broken(true);
        relay.hold(None);
        tab.reaches("reconnecting").await;
        tab.until("document.querySelector('#sentence').textContent.includes('this tab keeps trying')").await;
        tab.is_accessible().await;
        tab.until_here(|| relay.refused() >= REFUSED).await;
        let before = relay.statuses();
        relay.be_broken(false);
        let mut answers = 0;
        tab.until_here(|| {
            answers = relay.statuses() - before;
            answers > 0
        })
        .await;
        tab.reaches("computing").await;
        let answers = relay.statuses() - before;
        assert!(answers <= ANSWERS_IN_TIME, "computing only after {answers} answers of the coordinator");
        tab.click("#stop").await;
        reaches(&tab, "idle", "Stopped").await;
        tab.close().await;
    });
}

/// The MB that the page shows are what went over the line, to a twentieth.
async fn counts_its_bytes(tab: &Tab, relay: &Relay) {
    let shown = async |selector: &str, before: &str| {
        let text = tab.text(selector).await;
        let (_, number) = text.rsplit_once(before).unwrap_or(("", &text));
        number.trim_end_matches(" up").trim_end_matches(" MB").trim().parse::<f64>().unwrap()
    };
    for _ in 0..100 {
        let (down, up) = (shown("#down", "~").await, shown("#up", "down, ").await);
        let (really_down, really_up) = relay.bytes();
        let near = |shown: f64, bytes: u64| (shown - bytes as f64 / 1e6).abs() <= 0.05 * bytes as f64 / 1e6;
        if near(down, really_down) && near(up, really_up) && really_up > 2_000_000 {
            return;
        }
        // The next answer of the coordinator brings the page up to date.
        let before = relay.statuses();
        tab.until_here(|| relay.statuses() > before).await;
    }
    let shown = (tab.text("#down").await, tab.text("#up").await);
    panic!("the page shows {shown:?}, but {:?} bytes went down and up", relay.bytes());
}

#[test]
fn a_small_device_is_refused() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = problem.endless_with(LARGE, 1);
        let tab = Tab::blank().await;
        let script = "Object.defineProperty(Navigator.prototype, 'deviceMemory', { get: () => 2 ** -10 });";
        tab.debug("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
        tab.visit(&coordinator, "/", "#start:enabled").await;
        tab.click("#start").await;
        reaches(&tab, "refused", "too large for this device").await;
        tab.close().await;
    });
}

/// What the visitor chose, and what the device does: effort, limit on traffic, battery.
#[test]
fn a_battery_and_a_limit_pause_the_tab_and_it_can_go_on() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = problem.endless_with("mlp:64", 1);
        let tab = Tab::blank().await;
        let script = "navigator.getBattery = async () => (window.supply ??= Object.assign(new EventTarget(), { charging: true }));";
        tab.debug("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
        tab.visit(&coordinator, "/", "#start:enabled").await;
        let choose = "for (const [id, value] of arguments) { const field = document.querySelector(id); \
                      field.value = value; \
                      if (field.value !== value) { field.add(new Option(value, value)); field.value = value; } \
                      field.dispatchEvent(new Event('change', { bubbles: true })); }";
        tab.evaluate("document.querySelector('#choices').open = true", vec![]).await;
        tab.evaluate(choose, vec![json!(["#effort", "25"])]).await;
        tab.start(1).await;
        tab.reaches("computing").await;
        tab.evaluate("supply.charging = false; supply.dispatchEvent(new Event('chargingchange'))", vec![])
            .await;
        reaches(&tab, "paused", "runs on battery").await;
        coordinator.has_status(|status| status["cores"] == 0).await;
        tab.click("#action").await;
        tab.reaches("computing").await;
        tab.evaluate(choose, vec![json!(["#traffic", "0.01"])]).await;
        reaches(&tab, "paused", "the limit you chose").await;
        tab.click("#stop").await;
        tab.reaches("idle").await;
        // The choices are kept; lending is not.
        tab.visit(&coordinator, "/", "#start:enabled").await;
        assert_eq!(tab.evaluate("return document.querySelector('#effort').value", vec![]).await, json!("25"));
        tab.reaches("idle").await;
        tab.close().await;
    });
}

#[test]
fn six_tabs_share_the_work_and_say_how() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = train(&problem, &["--wait-for", "6", "--iterations", "12"]);
        let tab = Tab::open(&coordinator).await;
        let mut handles = vec![tab.handle().await];
        tab.start(1).await;
        for _ in 1..6 {
            handles.push(tab.beside().await);
            tab.goto(&format!("http://{}/", coordinator.address())).await;
            tab.start(1).await;
        }
        // Every page has been told of the end when the program has ended.
        let result = coordinator.result();
        assert_eq!(result.iterations, 12);
        let mut sum = 0.0;
        for handle in &handles {
            tab.front(handle).await;
            let (mine, all) = crate::page::did(&tab.reaches("over").await);
            sum += mine / all;
        }
        assert!((sum - 1.0).abs() < 0.02, "{sum}");
        tab.close().await;
    });
}

/// A page that is left says goodbye at once, and one that is come back to goes on or says that it has stopped.
#[test]
fn a_page_that_is_left_is_no_ghost() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = problem.endless_with("mlp:64", 1);
        let _volunteer = Volunteer::join(&coordinator, 1);
        let tab = Tab::open(&coordinator).await;
        let watch = "window.isKept = true; \
                     addEventListener('pageshow', ({ persisted }) => { window.cameBack = persisted; });";
        tab.evaluate(watch, vec![]).await;
        tab.start(1).await;
        tab.reaches("computing").await;
        coordinator.has_status(|status| status["volunteers"] == 2).await;
        tab.visit(&coordinator, "/bench", "#again").await;
        tab.is_accessible().await;
        coordinator.has_status(|status| status["volunteers"] == 1).await;
        tab.back().await;
        tab.until("document.querySelector('#lend') !== null").await;
        // The browser has kept the page as it was left, or loads it anew.
        if tab.evaluate("return window.isKept ?? null", vec![]).await == Value::Bool(true) {
            tab.until("window.cameBack === true").await;
            tab.reaches("computing").await;
            coordinator.has_status(|status| status["volunteers"] == 2).await;
        } else {
            tab.reaches("idle").await;
        }
        tab.close().await;
    });
}

#[test]
fn the_main_states_in_firefox() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = problem.endless(1);
        let tab = Tab::firefox().await;
        tab.goto(&format!("http://{}/", coordinator.address())).await;
        reaches(&tab, "idle", "Nothing runs until you press Start").await;
        tab.start(1).await;
        reaches(&tab, "computing", "Computing on 1 core.").await;
        tab.click("#pause").await;
        reaches(&tab, "paused", "until you continue").await;
        tab.click("#action").await;
        tab.reaches("computing").await;
        coordinator.reaches_iteration(2).await;
        tab.click("#stop").await;
        reaches(&tab, "idle", "Stopped").await;
        tab.close().await;
    });
}
