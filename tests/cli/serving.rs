//! `serve`: a model over HTTP, and `/metrics` of it and of a training.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

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
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}{length}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // What the server does not want it does not read to its end.
    let _ = stream.write_all(body.as_bytes());
    answer(stream)
}

/// Status and body of an answer.
fn answer(mut stream: TcpStream) -> (u16, String) {
    let mut answer = Vec::new();
    // A server that has not read everything resets the connection after its answer.
    let _ = stream.read_to_end(&mut answer);
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
        (JSON, "[[1, 2, 3]]", 400, "more than 2 cells"),
        (JSON, "[[1]]", 400, "1 cell,"),
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
    assert_eq!(python::metric(&metrics, "shoal_predict_rows_total"), 83.0);
    assert!(python::metric(&metrics, "shoal_sent_bytes_total") > 1000.0);
    #[cfg(unix)]
    {
        running.signal("TERM");
        assert_eq!(running.ended().code, Some(0));
    }
}

/// Every wrong body gets one sentence, the server's memory stays bounded, and it goes on to answer.
#[test]
fn no_body_harms_the_server() {
    let folder = Folder::new();
    folder.train("--data classes.csv --label side --model mlp:4 --minibatch 8 --iterations 5 --out run");
    let (running, address) = serve(&folder, "run");
    let nested = format!("[{{\"x\": {}1", "[".repeat(1_000_000));
    let ignored = format!("{{\"x\": 1, \"y\": 2, \"z\": {}", "[".repeat(1_000_000));
    let many_rows = format!("[{}]", vec!["[1,2]"; 1_000_000].join(","));
    let many_objects = format!("[{}]", vec![r#"{"x":1,"y":2}"#; 1_000_000].join(","));
    let csv_rows = format!("x,y\n{}", "1,2\n".repeat(1_000_000));
    let carriage_returns = format!("x,y\r{}", "1,2\r".repeat(1_000_000));
    let wide = format!("x,y{}\n1,2\n", ",c".repeat(7_000_000));
    let wide_list = format!("[{}1]", "1,".repeat(7_000_000));
    let one_cell = format!("x,y\n{},2\n", "a".repeat(16_000_000));
    let one_text = format!("{{\"x\": \"{}\", \"y\": 2}}", "a".repeat(16_000_000));
    let indices: String = (0..60_000).map(|i| format!("1 {}:1\n", 1_000_000 - i % 7)).collect();
    let too_long = " ".repeat((16 << 20) + 1);
    for (headers, body, code, words) in [
        (JSON, "", 400, "not JSON"),
        (JSON, "\u{0}\u{0}", 400, "not JSON"),
        (JSON, "[{\"x\": NaN, \"y\": 1}]", 400, "not JSON"),
        (JSON, "[{\"x\": 1e999, \"y\": 1}]", 400, "number out of range"),
        (JSON, "[{\"x\": 1, \"y\": 2}] 7", 400, "trailing"),
        (JSON, "[{\"x\": 1, \"y\": 2}, 7]", 400, "row 2"),
        (JSON, "[1, {}]", 400, "row 1"),
        (JSON, "[{\"x\": {\"a\": 1}, \"y\": 2}]", 400, "row 1"),
        (JSON, "{\"x\": 1, \"x\": 2, \"y\": 3}", 400, "column x twice"),
        (JSON, "{\"x\": \"many\", \"y\": 3}", 400, "row 1, column 1 (x): "),
        (JSON, "[[1, 2], [\"many\\nlines\", 3], [4, 5], [6, \"few\"]]", 400, "row 2, column 1 (x): "),
        (JSON, &nested, 400, "row 1"),
        (JSON, &ignored, 400, "not JSON"),
        (JSON, &many_rows, 400, "65536 rows"),
        (JSON, &many_objects, 400, "65536 rows"),
        (JSON, &wide_list, 400, "more than 2 cells"),
        (JSON, &one_text, 400, "row"),
        (JSON, &too_long, 413, "larger than 16 MB"),
        (CSV, "", 400, "rows"),
        (CSV, "x,y\n\"1,2\n3,4\n", 400, "never closed"),
        (CSV, "x,y\n1\n", 400, "line 2: 1 cell"),
        (CSV, "x,y\n1,2\nmany,2\n", 400, "line 3, column 1 (x): "),
        (CSV, &csv_rows, 400, "rows"),
        (CSV, &carriage_returns, 400, "rows"),
        (CSV, &wide, 400, "columns"),
        (CSV, &one_cell, 400, "x"),
        (CSV, &indices, 400, "x"),
        (CSV, "PAR1PAR1", 400, "x"),
        (CSV, "PK\u{3}\u{4}", 400, "zip archive"),
        ("Content-Type: text/csv\r\nContent-Encoding: gzip\r\n", "x,y\n1,2\n", 415, "compressed"),
        ("", "x,y\n1,2\n", 400, "not JSON"),
        ("Content-Type: multipart/form-data; boundary=x\r\n", "x", 415, "application/json or text/csv"),
    ] {
        let began = &body[..body.len().min(40)];
        let (status, answer) = ask(&address, "POST", "/predict", headers, body);
        let is_about = answer.to_lowercase().contains(&words.to_lowercase());
        assert_eq!((status, is_about), (code, true), "{began:?}: {answer}");
        let sentence = answer.strip_suffix(".\n").unwrap_or_else(|| panic!("{began:?}: {answer}"));
        assert!(!sentence.contains(['\n', '\u{0}']) && sentence.chars().count() < 300, "{began:?}: {answer}");
        assert!(!sentence.starts_with(|first: char| first.is_lowercase()), "{began:?}: {answer}");
    }
    // A million times as long when it is decompressed.
    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(&mut std::io::repeat(b'1').take(1 << 30), &mut compressed).unwrap();
    let compressed = compressed.finish().unwrap();
    let (status, answer) = send(&address, CSV, |stream| {
        write!(stream, "Content-Length: {}\r\n\r\n", compressed.len())?;
        stream.write_all(&compressed)
    });
    assert_eq!((status, answer.contains("compressed")), (400, true), "{answer}");

    let chunked = "Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n";
    let (status, answer) =
        send(&address, chunked, |stream| write!(stream, "\r\n8\r\nx,y\n1,2\n\r\n0\r\n\r\n"));
    assert_eq!((status, answer.lines().count()), (200, 2), "{answer}");
    let (status, answer) = send(&address, chunked, |stream| {
        write!(stream, "\r\n")?;
        loop {
            write!(stream, "10000\r\n{}\r\n", " ".repeat(0x10000))?;
        }
    });
    assert_eq!((status, answer.contains("larger than 16 MB")), (413, true), "{answer}");
    let (status, answer) = send(&address, chunked, |stream| write!(stream, "\r\nwhatever\r\n"));
    assert_eq!(status, 400, "{answer}");

    // Numbers that no network can take.
    let (status, answer) = ask(&address, "POST", "/predict", JSON, "[{\"x\": 1e300, \"y\": -1e300}]");
    assert!(status == 400 && answer.contains("too large"), "{answer}");

    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kib < 600 << 10, "a peak of {kib} KiB");
    }
    drop(running);
}

/// Status and body of a `POST /predict` whose end a function writes. The server may answer before it has all of it.
fn send(
    address: &str,
    headers: &str,
    end: impl FnOnce(&mut TcpStream) -> std::io::Result<()>,
) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "POST /predict HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}").unwrap();
    let _ = end(&mut stream);
    answer(stream)
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
    assert_eq!(python::metric(&metrics, "shoal_training_phase"), 0.0);
    assert_eq!(python::metric(&metrics, "shoal_training_iterations_limit"), 60.0);
}
