//! The operator's dashboard in a real Chromium, worked with the keyboard alone.

use std::fmt::Write as _;

use serde_json::{Value, json};
use support::browser::Tab;
use support::coordinator::{Coordinator, Volunteer};

use crate::problem::Problem;

const ENTER: &str = "\u{e007}";
const SHIFT_TAB: &str = "\u{e008}\u{e004}";
const RIGHT: &str = "\u{e014}";
const LEFT: &str = "\u{e012}";

fn in_browser(test: impl AsyncFnOnce()) {
    tokio::runtime::Runtime::new().unwrap().block_on(test());
}

fn text(path: std::path::PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

/// The page, opened by the link that the coordinator printed.
pub(crate) async fn opened(coordinator: &Coordinator) -> Tab {
    let tab = Tab::blank().await;
    tab.open_link(coordinator.dashboard()).await;
    tab.until("document.querySelector('#phase')?.textContent.endsWith('.')").await;
    tab.until("location.hash === '' && document.cookie === ''").await;
    tab
}

/// Presses a button that asks whether that is wanted, and says yes.
pub(crate) async fn confirm(tab: &Tab, button: &str) {
    tab.tab_to(button).await;
    tab.press(ENTER).await;
    tab.until("document.querySelector('#confirm').open && document.activeElement.id === 'confirm-no'").await;
    tab.press(SHIFT_TAB).await;
    tab.until("document.activeElement.id === 'confirm-yes'").await;
    tab.press(ENTER).await;
    tab.until(
        "!document.querySelector('#confirm').open && document.querySelector('#outcome').textContent !== ''",
    )
    .await;
}

#[test]
fn a_training_is_operated_by_keyboard() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = problem.endless(2);
        let tab = opened(&coordinator).await;
        tab.until("document.querySelector('#volunteers-empty').checkVisibility()").await;
        let _volunteers = [Volunteer::join(&coordinator, 1), Volunteer::join(&coordinator, 1)];
        coordinator.reaches_iteration(3).await;
        tab.until("document.querySelectorAll('.people tbody tr').length === 3").await;

        tab.tab_to("#pause").await;
        tab.press(" ").await;
        coordinator.has_status(|status| status["sentence"] == "The operator has paused the training.").await;
        tab.until("document.querySelector('#pause').textContent === 'Continue'").await;
        tab.press(" ").await;
        tab.until("document.querySelector('#pause').textContent === 'Pause'").await;
        let text = tab.text("#progress-text").await;
        let seen: u64 = text.split(' ').nth(1).unwrap().replace(',', "").parse().unwrap();
        coordinator.reaches_iteration(seen + 2).await;

        tab.tab_to("#save").await;
        tab.press(ENTER).await;
        tab.until("document.querySelector('#outcome').textContent.startsWith('A checkpoint of iteration')")
            .await;

        // Escape means no.
        tab.tab_to("[data-does=remove]").await;
        tab.press(ENTER).await;
        tab.until("document.querySelector('#confirm').open").await;
        tab.press("\u{e00c}").await;
        tab.until("!document.querySelector('#confirm').open").await;
        coordinator.has_status(|status| status["volunteers"] == 2).await;
        confirm(&tab, "[data-does=remove]").await;
        coordinator.has_status(|status| status["volunteers"] == 1).await;
        tab.until("document.querySelector('#departed').textContent.includes('The operator has removed')")
            .await;
        confirm(&tab, "[data-does=ban]").await;
        coordinator.has_status(|status| status["volunteers"] == 0).await;
        tab.until("document.querySelector('#bans').checkVisibility()").await;
        tab.tab_to("#bans summary").await;
        tab.press(ENTER).await;
        tab.tab_to("#bans button").await;
        tab.press(ENTER).await;
        tab.until("!document.querySelector('#bans').checkVisibility()").await;
        let _welcome = Volunteer::join(&coordinator, 1);
        coordinator.has_status(|status| status["volunteers"] == 1).await;

        confirm(&tab, "#stop").await;
        tab.until("document.title.startsWith('Finished')").await;
        let log = tab.text("#log-list").await;
        for done in
            ["paused", "goes on", "checkpoint", "removed", "banned", "lifted", "ends after this round"]
        {
            assert!(log.contains(done), "{done}: {log}");
        }
        tab.close().await;
        let ended = coordinator.ended();
        assert_eq!(ended.code, Some(130), "as after Ctrl-C: {}", ended.stderr);
    });
}

#[test]
fn the_figures_are_those_of_the_metrics_and_charts_are_read_by_keyboard() {
    in_browser(async || {
        let problem = Problem::dense();
        let coordinator = problem.endless(1);
        let tab = opened(&coordinator).await;
        let _volunteer = Volunteer::join(&coordinator, 1);
        coordinator.reaches_iteration(8).await;
        tab.tab_to("#pause").await;
        tab.press(" ").await;
        tab.until("document.querySelector('#pause').textContent === 'Continue'").await;
        let fetched = "window.seen = null; fetch('api/operator?history=1').then((answer) => answer.json()) \
                       .then((answer) => { window.seen = answer.history; })";
        tab.evaluate(fetched, vec![]).await;
        tab.until("window.seen !== null").await;
        let history = tab.evaluate("return window.seen", vec![]).await;
        let (history, metrics) = (history.as_array().unwrap(), coordinator.metrics());
        let of = |points: &[Value], iteration: u64| -> Value {
            points.iter().find(|point| point["iteration"] == iteration).expect("the iteration").clone()
        };
        for iteration in 0..=8 {
            let (shown, kept) = (of(history, iteration), of(&metrics, iteration));
            for key in
                ["train_loss", "test_loss", "test_accuracy", "gradient_norm", "step", "rounds", "seconds"]
            {
                // The browser writes 0.0 as 0.
                assert_eq!(shown[key].as_f64(), kept[key].as_f64(), "{key} of iteration {iteration}");
            }
        }
        tab.until("document.querySelector('#curves').checkVisibility()").await;
        tab.tab_to("#tab-loss").await;
        tab.press(RIGHT).await;
        tab.until("document.activeElement.id === 'tab-accuracy'").await;
        tab.tab_to("#chart .chart-cursor").await;
        tab.press(LEFT).await;
        tab.until("document.querySelector('#chart .chart-readout').textContent.includes('iteration ')").await;
        // The examination of an evaluated point.
        tab.until("document.querySelector('.matrix') !== null").await;
        let wrong = tab.evaluate("return document.querySelectorAll('button.cell').length", vec![]).await;
        if wrong != json!(0) {
            tab.tab_to("button.cell").await;
            tab.press(ENTER).await;
            tab.until("document.querySelectorAll('#examples .example-row').length > 0").await;
        }
        tab.close().await;
    });
}

#[test]
fn hostile_names_are_text_and_never_markup() {
    in_browser(async || {
        let problem = Problem::dense();
        let name = "<img src=x onerror=window.hacked=1>";
        let mut rows = "one,two,kind\n".to_owned();
        for row in 0..200 {
            let class = if row % 2 == 0 { name } else { "</td><script>window.hacked=2</script>" };
            writeln!(rows, "{row},{},{class}", row % 2 * 3 + row % 7).unwrap();
        }
        let data = problem.csv().with_file_name("<b>hostile<b>.csv");
        std::fs::write(&data, rows).unwrap();
        let data = text(data);
        let arguments = ["--data", &data, "--label", "kind", "--model", "mlp:4", "--iterations", "100000"];
        let who = ["--optimizer", "lbfgs", "--wait-for", "1", "--local-workers", "0"];
        let coordinator = Coordinator::train(problem.new_run(), &[&arguments[..], &who].concat());
        let tab = opened(&coordinator).await;
        tab.until("document.querySelector('#coverage').textContent.includes('onerror')").await;
        tab.until("document.querySelector('#headline').textContent.includes('<b>hostile')").await;
        let found = tab.evaluate(
            "return [window.hacked === undefined, document.querySelectorAll('#coverage img, main script, h1 b').length]",
            vec![],
        );
        assert_eq!(found.await, json!([true, 0]));
        tab.close().await;
    });
}
