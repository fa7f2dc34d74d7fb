//! `serve`: a model over HTTP, and `/metrics` of it and of a training.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::{Value, json};
use support::program::Running;
use support::python;

use crate::shoal::Folder;

/// A server of a trained model, and its address.
fn serve(folder: &Folder, arguments: &str) -> (Running, String) {
    let mut running = folder.start(&format!("serve {arguments} --listen 127.0.0.1:0"));
    let line = running.says("http://");
    let address = line.split("http://").nth(1).unwrap().split([';', ' ']).next().unwrap().trim().to_owned();
    (running, address)
}

/// Status and body of a request.
fn ask(address: &str, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}{length}\r\n{body}"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

const JSON: &str = "Content-Type: application/json\r\n";
const CSV: &str = "Content-Type: text/csv\r\n";

#[test]
fn a_model_is_served_as_predict_answers() {
    let folder = Folder::new();
    folder.train("--data classes.csv --label side --model mlp:4 --minibatch 8 --iterations 5 --out run");
    let (running, address) = serve(&folder, "run");
    let (status, csv) = ask(&address, "POST", "/predict", CSV, &folder.read(Folder::CLASSES));
    assert_eq!(status, 200, "{csv}");
    assert_eq!(csv, folder.run("predict run --data classes.csv").succeeded().stdout);

    let first: Vec<String> = csv.lines().nth(1).unwrap().split(',').map(str::to_owned).collect();
    let truth = folder.read(Folder::CLASSES);
    let row: Vec<f64> =
        truth.lines().nth(1).unwrap().split(',').take(2).map(|cell| cell.parse().unwrap()).collect();
    for body in
        [json!({"y": row[1], "x": row[0]}), json!([{"x": row[0].to_string(), "y": row[1]}]), json!([row])]
    {
        let (status, answer) = ask(&address, "POST", "/predict", JSON, &body.to_string());
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let prediction = &answer["predictions"][0];
        assert_eq!(prediction["label"], *first[0]);
        let right = prediction["probabilities"]["right"].as_f64().unwrap();
        assert!((right - first[2].parse::<f64>().unwrap()).abs() < 1e-5);
    }

    for (headers, body, code, words) in [
        (JSON, "{\"x\": 1}", 400, "no value for the column y"),
        (JSON, "[[1, 2, 3]]", 400, "3 cells"),
        (JSON, "{", 400, "not JSON"),
        (JSON, "7", 400, "object"),
        (JSON, "[{\"x\": [1], \"y\": 2}]", 400, "list"),
        (CSV, "a,b\n1,2\n", 400, "x"),
        ("Content-Type: image/png\r\n", "x", 415, "application/json or text/csv"),
    ] {
        let (status, answer) = ask(&address, "POST", "/predict", headers, body);
        assert_eq!((status, answer.contains(words)), (code, true), "{body}: {answer}");
        assert!(!answer.contains("/tmp"), "{answer}");
    }
    let (status, answer) = ask(&address, "POST", "/predict", "Content-Length: 99999999\r\n", "");
    assert!(matches!(status, 400 | 413), "{answer}");
    let (status, model) = ask(&address, "GET", "/model", "", "");
    let model: Value = serde_json::from_str(&model).unwrap();
    assert_eq!((status, &model["classes"]), (200, &json!(["left", "right"])));
    assert!(ask(&address, "GET", "/", "", "").1.contains("try/main.js"));

    let (status, metrics) = ask(&address, "GET", "/metrics", "", "");
    assert_eq!(status, 200);
    assert_eq!(parsed(&metrics, "shoal_predict_rows_total"), 83.0);
    assert!(parsed(&metrics, "shoal_sent_bytes_total") > 1000.0);
    #[cfg(unix)]
    {
        running.signal("TERM");
        assert_eq!(running.ended().code, Some(0));
    }
}

/// The value of a sample, by Prometheus's own parser of OpenMetrics, which refuses what is not well formed.
fn parsed(metrics: &str, name: &str) -> f64 {
    let code = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.argv[1]):
    for sample in family.samples:
        print(sample.name, sample.value)
";
    let mut command = python::command();
    let printed = python::output(command.args(["-c", code, metrics]).stdin(Stdio::null()));
    let line = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {printed}")).parse().unwrap()
}

#[test]
fn a_training_has_metrics_for_its_operator() {
    let folder = Folder::new();
    let mut command = folder.command(
        "train --data classes.csv --model mlp:4 --iterations 60 --minibatch 8 --wait-for 1 --listen 127.0.0.1:0 --out run \
         --log-format json",
    );
    command.env("SHOAL_METRICS_TOKEN", "secret");
    let mut running = Running::start(command);
    let listening: Value = serde_json::from_str(&running.says("\"listening\"")).unwrap();
    let address = listening["links"][0].as_str().unwrap();
    let address = address.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    assert_eq!(ask(&address, "GET", "/metrics", "", "").0, 401);
    let (status, metrics) = ask(&address, "GET", "/metrics", "Authorization: Bearer secret\r\n", "");
    assert_eq!(status, 200, "{metrics}");
    assert_eq!(parsed(&metrics, "shoal_training_phase"), 0.0);
    assert_eq!(parsed(&metrics, "shoal_training_iterations_limit"), 60.0);
}
