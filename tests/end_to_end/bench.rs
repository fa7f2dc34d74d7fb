//! The benchmark in a real Chromium: that it measures everything it says, not how fast.

use coordinator::bench::report::{MachineKind, Report};
use model::Arithmetic;
use support::browser::Tab;
use support::program::{Ran, shoal};

use crate::problem::{Options, Problem};

/// Every case on each number of cores in each arithmetic, and a roof for each group.
fn is_whole(report: &Report, cases: &[&str]) {
    let mut counts = vec![1, report.machine.cores];
    counts.dedup();
    assert_eq!(report.machine.kind, MachineKind::Browser);
    assert_eq!(report.missing, [], "Chromium has relaxed SIMD");
    let groups: Vec<_> = Arithmetic::ALL
        .into_iter()
        .flat_map(|arithmetic| counts.iter().map(move |&cores| (arithmetic, cores)))
        .collect();
    let roofs: Vec<_> = report.roofs.iter().map(|roof| (roof.arithmetic, roof.cores)).collect();
    assert_eq!(roofs, groups);
    assert!(report.roofs.iter().all(|roof| roof.gflops >= roof.gflops_median && roof.gflops_median > 0.0));
    let found: Vec<_> =
        report.cases.iter().map(|case| (case.arithmetic, case.cores, case.case.as_str())).collect();
    let expected: Vec<_> = groups
        .iter()
        .flat_map(|&(arithmetic, cores)| cases.iter().map(move |&case| (arithmetic, cores, case)))
        .collect();
    assert_eq!(found, expected);
    for case in &report.cases {
        assert!(case.gflops >= case.gflops_median && case.gflops_median > 0.0, "{case:?}");
        assert!(case.examples_per_second > 0.0 && case.roof_share > 0.0, "{case:?}");
    }
}

#[test]
fn the_program_measures_in_a_browser_without_a_window() {
    let arguments = ["bench", "--browser", "chromium", "--quick", "--json"];
    let ran = Ran::of(&mut shoal(arguments)).succeeded();
    let report = serde_json::from_value(ran.last_json()).unwrap();
    let cases = [
        "mlp-784-256-128-10/10",
        "mlp-784-256-128-10/32",
        "mlp-784-256-128-10/256",
        "mlp-784-256-128-10/10-mnist",
        "local-784-128-10/dense",
        "local-784-128-10/mnist",
        "convnet/32",
    ];
    is_whole(&report, &cases);
}

#[test]
fn the_page_leaves_its_result_for_scripts() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let problem = Problem::dense();
        let options = Options { wait_for: 1, ..Options::default() };
        let coordinator = problem.train(&options);
        let tab = Tab::open(&coordinator).await;
        tab.visit(&coordinator, "/bench?quick&case=local", "#again:enabled").await;
        let result = tab.evaluate("return window.result", vec![]).await;
        tab.close().await;
        is_whole(
            &serde_json::from_value(result).unwrap(),
            &["local-784-128-10/dense", "local-784-128-10/mnist"],
        );
    });
}

/// A training takes no result of a benchmark.
#[test]
fn the_page_says_that_its_result_was_refused() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let problem = Problem::dense();
        let options = Options { wait_for: 1, ..Options::default() };
        let coordinator = problem.train(&options);
        let tab = Tab::open(&coordinator).await;
        tab.visit(&coordinator, "/bench?report&quick&case=local&arithmetic=portable", "#again:enabled").await;
        let result = tab.evaluate("return window.result", vec![]).await;
        tab.close().await;
        let error = result["error"].as_str().unwrap_or_default();
        assert!(error.contains("refused the result (405)"), "{result}");
    });
}
