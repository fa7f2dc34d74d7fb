//! A network of another program, trained by tabs, and used by a third program.

use std::path::Path;

use support::browser::Tab;
use support::coordinator::Coordinator;
use support::program::{Ran, shoal};
use support::python;

#[test]
fn a_pytorch_network_that_two_tabs_trained_is_as_good_in_onnx_runtime() {
    let folder = tempfile::tempdir().unwrap();
    python::run("images.py", &[Path::new("write"), folder.path()]);
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, network, run, exported) =
        (place("images.csv"), place("network.onnx"), place("run"), place("trained.onnx"));
    let arguments = ["--data", &data, "--init", &network, "--label", "kind", "--cross-validation", "0"];
    let more = ["--iterations", "10", "--local-workers", "0", "--wait-for", "2"];
    let coordinator = Coordinator::train(run.clone().into(), &[&arguments[..], &more].concat());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let tabs = [Tab::lend(&coordinator, 1).await, Tab::lend(&coordinator, 1).await];
        assert_eq!(coordinator.result().iterations, 10);
        for tab in tabs {
            tab.close().await;
        }
    });
    Ran::of(&mut shoal(["export", &run, "--output", &exported])).succeeded();
    let evaluated =
        Ran::of(&mut shoal(["evaluate", &run, "--data", &data, "--json"])).succeeded().last_json();
    let accuracy = evaluated["accuracy"].as_f64().unwrap();
    let elsewhere = python::run("images.py", &[Path::new("accuracy"), folder.path()]);
    assert_eq!(elsewhere.trim().parse::<f64>().unwrap(), accuracy);
    assert!(accuracy > 0.8, "{accuracy}");
}
