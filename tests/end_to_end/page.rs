//! The volunteer's page in a real Chromium: the states that its visitors meet, and what it tells them.

use serde_json::json;
use support::browser::Tab;
use support::coordinator::{Coordinator, Volunteer};

use crate::problem::Problem;

/// `shoal train` on the problem's data; nobody but volunteers computes.
pub(crate) fn train(problem: &Problem, more: &[&str]) -> Coordinator {
    let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (data, network) = (path(problem.csv()), path(problem.network()));
    let arguments = ["--data", &data, "--model", &network, "--optimizer", "lbfgs", "--local-workers", "0"];
    Coordinator::train(problem.new_run(), &[&arguments[..], more].concat())
}

pub(crate) fn in_browser(test: impl AsyncFnOnce()) {
    tokio::runtime::Runtime::new().unwrap().block_on(test());
}

/// The number before ` of ` and the one after it in `You did 1,200 of 2,400 examples`; nothing of something in a
/// sentence without this, which a tab shows whose results all came too late.
pub(crate) fn did(sentence: &str) -> (f64, f64) {
    let Some((_, counts)) = sentence.split_once("You did ") else { return (0.0, 1.0) };
    let mut numbers = counts.split(" of ").map(|part| {
        let digits: String =
            part.chars().take_while(|c| c.is_ascii_digit() || *c == ',').filter(|c| *c != ',').collect();
        digits.parse().unwrap()
    });
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn every_open_page_sees_the_end_and_the_shares_add_up() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = train(&problem, &["--wait-for", "2", "--iterations", "15"]);
        let looks_on = Tab::open(&coordinator).await;
        let lend = [Tab::lend(&coordinator, 1).await, Tab::lend(&coordinator, 1).await];
        let result = coordinator.result();
        let accuracy = format!("{:.1}\u{a0}%", 100.0 * result.test_accuracy.unwrap());
        let mut share = 0.0;
        for tab in &lend {
            let sentence = tab.reaches("over").await;
            assert!(
                sentence.contains("The training has ended") && sentence.contains(&accuracy),
                "{sentence}"
            );
            let (mine, all) = did(&sentence);
            share += mine / all;
        }
        assert!((share - 1.0).abs() < 0.02, "{share}");
        let sentence = looks_on.reaches("over").await;
        assert!(sentence.contains(&accuracy) && !sentence.contains("You did"), "{sentence}");
        // The coordinator is gone, and no page complains.
        looks_on.until("document.querySelector('#phase').dataset.tone === undefined").await;
        looks_on.close().await;
        for tab in lend {
            tab.close().await;
        }
    });
}

#[test]
fn another_training_at_the_same_address_asks_first() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = problem.endless(1);
        let tab = Tab::lend(&coordinator, 1).await;
        coordinator.reaches_iteration(3).await;
        tab.until("!document.querySelector('#charts').hidden").await;
        tab.is_accessible().await;
        let other = Problem::other();
        let coordinator = other.endless_after(coordinator, "mlp:8", 1);
        let sentence = tab.reaches("changed").await;
        assert!(sentence.contains("Its data would come to you"), "{sentence}");
        tab.is_accessible().await;
        // Its own two answers, and no third.
        assert_eq!(tab.evaluate(PRESSABLE, vec![]).await, json!(["Join", "No thanks"]));
        assert!(tab.evaluate("return document.querySelector('#charts').hidden", vec![]).await == json!(true));
        assert_eq!(tab.text("#examples").await, "0");
        tab.click("#refuse").await;
        tab.reaches("idle").await;
        coordinator.has_status(|status| status["volunteers"] == 0).await;
        tab.click("#start").await;
        coordinator.has_status(|status| status["volunteers"] == 1).await;
        tab.reaches("computing").await;
        tab.close().await;
    });
}

/// One tab through the states that need no other training: what the visitor chooses, and what the browser does to it.
#[test]
fn a_tab_is_paused_frozen_and_comes_back() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = problem.endless(2);
        let tab = Tab::open(&coordinator).await;
        let metrics = |width: u32, height: u32| json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true });
        tab.debug("Emulation.setDeviceMetricsOverride", metrics(360, 640)).await;
        tab.reaches("idle").await;
        tab.until(
            "(() => { const { top, bottom } = document.querySelector('#start').getBoundingClientRect(); \
                   return top >= 0 && bottom <= innerHeight; })()",
        )
        .await;
        // What it costs is read before it is begun.
        tab.until(
            "document.querySelector('#costs').getBoundingClientRect().bottom <= \
             document.querySelector('.dock').getBoundingClientRect().top",
        )
        .await;
        tab.debug("Emulation.setDeviceMetricsOverride", metrics(320, 640)).await;
        tab.until("document.documentElement.scrollWidth <= innerWidth").await;
        tab.start(1).await;
        tab.reaches("waiting").await;
        tab.is_accessible().await;
        let _volunteer = Volunteer::join(&coordinator, 1);
        coordinator.reaches_iteration(2).await;
        tab.until("!document.querySelector('#charts').hidden").await;
        // Narrow, and with letters of twice the size.
        for size in ["", "200%"] {
            tab.evaluate(&format!("document.documentElement.style.fontSize = '{size}'"), vec![]).await;
            tab.until("document.documentElement.scrollWidth <= innerWidth && innerWidth === 320").await;
        }
        tab.evaluate("document.documentElement.style.fontSize = ''", vec![]).await;
        // Letters of a chart are as large on a phone as anywhere.
        tab.until(
            "(() => { const chart = document.querySelector('#chart svg'); \
                   return chart.clientWidth / chart.viewBox.baseVal.width > 0.7; })()",
        )
        .await;
        assert_eq!(tab.reaches("computing").await, "Computing on 1 core.");
        tab.until("document.title.startsWith('Computing')").await;
        tab.tab_to("#pause").await;
        tab.press("\u{e007}").await;
        tab.reaches("paused").await;
        // The keyboard goes on where the answer is.
        tab.until("document.activeElement.id === 'action'").await;
        coordinator.has_status(|status| status["cores"] == 1).await;
        tab.click("#action").await;
        tab.reaches("computing").await;
        tab.debug("Page.setWebLifecycleState", json!({ "state": "frozen" })).await;
        coordinator.has_status(|status| status["volunteers"] == 1).await;
        tab.debug("Page.setWebLifecycleState", json!({ "state": "active" })).await;
        coordinator.has_status(|status| status["volunteers"] == 2).await;
        tab.click("#stop").await;
        tab.reaches("idle").await;
        coordinator.has_status(|status| status["volunteers"] == 1).await;
        tab.close().await;
    });
}

/// The texts of the buttons that can be pressed in the card where a device is lent.
const PRESSABLE: &str = "return [...document.querySelectorAll('#lend button')].filter((button) => \
    !button.disabled && button.checkVisibility()).map((button) => button.textContent)";

/// What the pages' modules make of values, as they are loaded by the page itself.
#[test]
fn numbers_read_naturally_and_every_fish_is_in_sight() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = train(&problem, &["--wait-for", "1", "--iterations", "10"]);
        let tab = Tab::open(&coordinator).await;
        let read = "const [done] = arguments; import(new URL('words.js', location)).then((words) => done([ \
            [0, 49_000, 61_234_567, 999_600_000, 3.4e12].map(words.megabytes), \
            [59, 61, 3600, 3725, 90_000].map(words.duration), \
            [0, 731, 7200, 9e7].map(words.roughly), \
            [0, 1e-6, 0.9712, 0.99999, 1].map(words.share), \
            [0, 0.94, 0.999, 1].map(words.certainty), \
            [123_456_789, 123_456_789_012].map(words.large), \
            [850, 18_234, 1.23e9].map(words.rate), \
        ]));";
        let expected = json!([
            ["0 MB", "0 MB", "61 MB", "1.0 GB", "3.4 TB"],
            ["59 s", "1 min 1 s", "1 h", "1 h 2 min", "1 d 1 h"],
            ["10 seconds", "12 minutes", "2 hours", "1,042 days"],
            ["0.0\u{a0}%", "under 0.1\u{a0}%", "97.1\u{a0}%", "over 99.9\u{a0}%", "100.0\u{a0}%"],
            ["0\u{a0}%", "94\u{a0}%", "over 99\u{a0}%", "100\u{a0}%"],
            ["123,456,789", "123 billion"],
            ["850", "18.2 k", "1,230 M"],
        ]);
        assert_eq!(tab.evaluate_async(read).await, expected);
        let draw = "const [done] = arguments; const school = document.querySelector('#school'); \
            import(new URL('volunteer/school.js', location)).then(({ drawSchool }) => { \
                const cut = []; \
                for (let fish = 1; fish <= 90; fish += 1) { \
                    drawSchool(school, fish, true); \
                    const { top, bottom } = school.getBoundingClientRect(); \
                    for (const one of school.querySelectorAll('.fish')) { \
                        one.style.animation = 'none'; \
                        const place = one.getBoundingClientRect(); \
                        if (place.top < top || place.bottom > bottom) cut.push(fish); \
                    } \
                } \
                done(cut); \
            });";
        for (width, height) in [(360, 640), (1280, 800), (2560, 1200)] {
            let metrics =
                json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
            tab.debug("Emulation.setDeviceMetricsOverride", metrics).await;
            assert_eq!(tab.evaluate_async(draw).await, json!([]), "fish are cut off at {width}");
        }
        tab.close().await;
    });
}

/// What a visitor reads before anything has been computed.
#[test]
fn the_page_says_who_asks_and_why_and_shows_no_empty_panel() {
    in_browser(async || {
        let problem = Problem::dense();
        let words = [
            "--purpose",
            "Tell five kinds of shells apart",
            "--operator",
            "The marine lab",
            "--wait-for",
            "2",
        ];
        let coordinator = train(&problem, &words);
        let tab = Tab::open(&coordinator).await;
        tab.until("document.querySelector('#headline').textContent === 'Tell five kinds of shells apart'")
            .await;
        let operator = tab.text("#operator").await;
        assert_eq!(operator, format!("Run by The marine lab ({}).", coordinator.address()));
        tab.until(
            "document.querySelector('#cost-time').textContent === 'Ends with the training, or when you stop'",
        )
        .await;
        let meaning = tab.text("#meaning").await;
        let meaning = meaning.split_whitespace().collect::<Vec<_>>().join(" ");
        for what in ["browser and of its operating system", "network address", "number of cores"] {
            assert!(meaning.contains(what), "{meaning}");
        }
        // Nothing has been measured: no chart, no bar, and no room for them.
        for part in ["#charts", "#first-round", "#validation", "#test"] {
            let height = format!("return document.querySelector('{part}').getBoundingClientRect().height");
            assert_eq!(tab.evaluate(&height, vec![]).await, json!(0), "{part}");
        }
        tab.close().await;
    });
}

#[test]
fn without_scripts_the_page_offers_nothing_to_press() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = train(&problem, &["--wait-for", "1", "--iterations", "10"]);
        let tab = Tab::blank().await;
        tab.debug("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
        tab.goto(&format!("http://{}/", coordinator.address())).await;
        // What has been loaded without scripts stays so.
        tab.debug("Emulation.setScriptExecutionDisabled", json!({ "value": false })).await;
        assert_eq!(tab.evaluate(PRESSABLE, vec![]).await, json!([]));
        let advice = tab.text("#no-script").await;
        assert!(advice.contains("Allow JavaScript"), "{advice}");
        tab.until("document.querySelector('#no-script').checkVisibility()").await;
        tab.close().await;
    });
}

/// The loss of a round and the loss on examples kept aside are never one line.
#[test]
fn a_line_of_the_chart_is_one_quantity() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = train(&problem, &["--wait-for", "1", "--iterations", "10"]);
        let tab = Tab::open(&coordinator).await;
        let draw = "const [points, done] = arguments; \
            document.querySelector('#charts').hidden = false; \
            import(new URL('volunteer/curves.js', location)).then(({ draw }) => { \
                draw({ points, marks: [] }, []); \
                const details = document.querySelector('#chart details'); \
                details.open = true; \
                details.addEventListener('toggle', () => done([...details.querySelectorAll('tr')].map((row) => \
                    [...row.cells].slice(1).map((cell) => cell.textContent))), { once: true }); \
            });";
        let point = |iteration: u32, way: f64, whole: Option<f64>, test: Option<f64>, method: &str| {
            json!({
                "iteration": iteration, "seconds": iteration, "train_loss": way, "training_set_loss": whole,
                "test_loss": test, "method": method,
            })
        };
        // An untrained point, rounds of local steps, and then L-BFGS, whose rounds measure a point.
        let kept_aside = [
            point(0, 0.61, None, Some(2.48), "local"),
            point(1, 0.5, None, Some(0.9), "local"),
            point(2, 0.02, None, Some(0.8), "lbfgs"),
        ];
        let rows = tab.evaluate_async_with(draw, vec![json!(kept_aside)]).await;
        assert_eq!(rows, json!([["test"], ["2.48"], ["0.900"], ["0.800"]]));
        let without = [
            point(0, 2.5, Some(2.5), None, "local"),
            point(1, 0.9, Some(0.7), None, "local"),
            point(2, 0.6, Some(0.5), None, "local"),
            point(3, 0.4, Some(0.4), None, "lbfgs"),
        ];
        tab.evaluate("document.querySelector('#chart details').open = false", vec![]).await;
        let rows = tab.evaluate_async_with(draw, vec![json!(without)]).await;
        let expected = json!([
            ["training", "on the way"],
            ["2.50", "–"],
            ["0.700", "0.900"],
            ["0.500", "0.600"],
            ["0.400", "–"],
        ]);
        assert_eq!(rows, expected);
        tab.close().await;
    });
}

#[test]
fn a_browser_that_starts_no_worker_is_told_apart_from_a_silent_coordinator() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = train(&problem, &["--wait-for", "1", "--iterations", "10"]);
        let tab = Tab::blank().await;
        let script = "window.Worker = class { constructor() { throw new Error('not here'); } };";
        tab.debug("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
        tab.visit(&coordinator, "/", "#start:enabled").await;
        tab.click("#start").await;
        let sentence = tab.reaches("blocked").await;
        assert!(sentence.contains("cannot run in this browser"), "{sentence}");
        tab.is_accessible().await;
        tab.until("document.querySelector('#phase').textContent.startsWith('Waiting for')").await;
        tab.close().await;
    });
}
