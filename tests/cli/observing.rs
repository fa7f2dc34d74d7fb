//! What a training tells programs: event files for TensorBoard, and lines of JSON.

use std::process::Stdio;

use serde_json::Value;
use support::python;

use crate::shoal::{ALONE, Folder};

#[test]
fn tensorboard_reads_the_course_of_a_training() {
    let folder = Folder::new();
    let metrics = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
    folder.train(
        "--data classes.csv --model mlp:4 --minibatch 8 --iterations 4 --tensorboard events --out run",
    );
    folder.run(&format!("resume run --iterations 6 {ALONE}")).succeeded();
    let code = "
import json
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator('events/run')
events.Reload()
tags = events.Tags()
texts = [events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in tags['tensors']]
scalars = {tag: [[event.step, event.value] for event in events.Scalars(tag)] for tag in tags['scalars']}
print(json.dumps({'texts': texts, 'scalars': scalars}))
";
    let mut command = python::command();
    let printed =
        python::output(command.args(["-c", code]).current_dir(folder.path(".")).stdin(Stdio::null()));
    let read: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert!(read["texts"][0].as_str().unwrap().contains("iterations = "), "{}", read["texts"]);
    let losses: Vec<(u64, f64)> = serde_json::from_value(read["scalars"]["loss/train"].clone()).unwrap();
    let kept = folder.read("run/metrics.jsonl");
    for (line, (step, loss)) in kept.lines().map(metrics).zip(&losses) {
        assert_eq!(line["iteration"], *step);
        let expected = line["train_loss"].as_f64().unwrap();
        assert!((expected - loss).abs() <= 1e-6 * expected.abs().max(1.0), "{expected} {loss}");
    }
    assert_eq!(losses.len(), kept.lines().count());
    for tag in ["accuracy/test", "optimizer/learning_rate", "help/volunteers", "traffic/bytes_sent"] {
        assert!(read["scalars"][tag].is_array(), "{tag}");
    }
}

#[test]
fn standard_error_is_json_line_by_line_if_asked() {
    let folder = Folder::new();
    let ran = folder.run(&format!(
        "--log-format json -v train --data classes.csv --model mlp:4 --minibatch 8 --iterations 3 --out run {ALONE}"
    ));
    let lines: Vec<Value> =
        ran.succeeded().stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let events = |name: &str| lines.iter().filter(|line| line["event"] == name).count();
    assert_eq!((events("listening"), events("iteration"), events("finished")), (1, 4, 1), "{lines:?}");
    assert!(lines.iter().all(|line| line["time"].is_f64() || line["timestamp"].is_string()));
    let failed = folder.run("--log-format json predict run --data nowhere.csv");
    let line: Value = serde_json::from_str(&failed.stderr).unwrap();
    assert!(line["message"].as_str().unwrap().contains("nowhere.csv"));
}
