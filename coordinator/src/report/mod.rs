//! The outcome of a training: the object that `--json` prints and the lines that people read. [`progress`]
//! holds the events of a training, [`status`] the state that the pages show.

mod curves;
pub mod helpers;
pub mod marks;
mod mistakes;
mod page;
pub mod progress;
pub(crate) mod quality;
pub mod status;
pub(crate) mod tensorboard;
pub(crate) mod words;

use engine::{Figures, StopReason};
use serde::Serialize;

pub(crate) use self::mistakes::{ShownMistake, cells, show as show_mistakes};
pub use self::page::Report;
use self::status::Offender;
use self::words::{count, counted, duration, loss, percent};
use crate::quality::Quality;

/// The outcome of a training. Field names are those of the JSON. Unknown values are `null` there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Accepted optimizer steps.
    pub iterations: u64,
    /// The iteration of the saved model: the one with the lowest validation loss, or the last without a
    /// validation set.
    pub saved_iteration: u64,
    /// Rounds over the volunteers.
    pub rounds: u64,
    /// Passes over the training data.
    pub epochs: f64,
    /// Seconds of training, those before a resume included.
    pub seconds: f64,
    /// Number of parameters of the network.
    pub parameters: usize,
    /// The figures of the saved model; `None` if no point was accepted.
    #[serde(flatten, serialize_with = "Figures::serialize_known")]
    pub figures: Option<Figures>,
    /// All other figures on the test examples, as `shoal evaluate` gives them; `None` without test examples,
    /// or if they are too many to go through once more. Of many, volunteers count what the figures need: then all but
    /// the areas under ROC curves are `shoal evaluate`'s, up to the rounding of sums.
    pub test_quality: Option<Quality>,
    /// BLAKE3 of the saved model's little-endian f32 weights, in hexadecimal.
    pub weights_digest: String,
    /// Volunteers that helped at some time, without the coordinator's own worker.
    pub volunteers: usize,
    /// Volunteers that were found out, as in the status.
    pub offenders: Vec<Offender>,
    /// Why the training ended.
    pub stop_reason: StopReason,
    /// The run directory, as the user would type it.
    pub run: String,
}

impl Summary {
    /// The object that `--json` prints, on one line.
    pub fn to_json(&self) -> String {
        // Only maps with keys that are not strings can fail. A number that is not finite becomes null.
        serde_json::to_string(self).expect("a summary is plain data")
    }

    /// The lines that people read: the result, its place and the commands that use it.
    pub fn to_text(&self) -> String {
        let mut rows = vec![
            ("ended", self.stop_reason.to_string()),
            (
                "work",
                format!(
                    "{}, {}, {:.1} epochs in {}, {}",
                    counted(self.iterations as usize, "iteration"),
                    counted(self.rounds as usize, "round"),
                    self.epochs,
                    duration(self.seconds),
                    counted(self.volunteers, "volunteer"),
                ),
            ),
        ];
        let known = |name, value: Option<String>| value.map(|value| (name, value));
        let figures = self.figures.unwrap_or(Figures::UNKNOWN);
        if figures.validation_loss.is_some() {
            let best = format!("iteration {}, with the lowest validation loss", self.saved_iteration);
            rows.push(("model", best));
        }
        rows.extend(known("train loss", figures.training_set_loss.map(loss)));
        // The mean over the examples of the round that led to the model, before or while the weights moved.
        let on_the_way = self.figures.map(|figures| figures.train_loss);
        let is_news = |mean: &f64| mean.is_finite() && Some(*mean) != figures.training_set_loss;
        let on_the_way = on_the_way.filter(is_news);
        rows.extend(known(
            "  on the way",
            on_the_way.map(|mean| format!("{} in the model's round", loss(mean))),
        ));
        rows.extend(known(
            "validation",
            figures.validation_loss.map(|found| validation(found, figures.validation_accuracy)),
        ));
        rows.extend(known("test loss", figures.test_loss.map(loss)));
        rows.extend(known("test accuracy", figures.test_accuracy.map(percent)));
        match &self.test_quality {
            Some(quality) => rows.extend(quality::rows(quality)),
            None if figures.test_loss.is_some() => rows.push((
                "  and more",
                "not measured with so many test examples; shoal evaluate does it".to_owned(),
            )),
            None => {}
        }
        rows.push((
            "weights",
            format!("{} parameters, digest {}", count(self.parameters), self.weights_digest),
        ));
        if !self.offenders.is_empty() {
            let who = self
                .offenders
                .iter()
                .map(|one| format!("{} (session {}): {}", one.agent, one.session, one.offense));
            rows.push(("found out", who.collect::<Vec<_>>().join("; ")));
        }
        rows.push(("saved in", self.run.clone()));
        let run = shell_word(&self.run);
        match &self.stop_reason {
            StopReason::Interrupted => rows.push(("go on", format!("shoal resume {run}"))),
            StopReason::Iterations(_) => {
                let more = self.iterations.saturating_mul(2).max(1);
                rows.push(("go on", format!("shoal resume {run} --iterations {more}")));
            }
            StopReason::Rounds(_) => {
                rows.push((
                    "go on",
                    format!("shoal resume {run} --rounds {}", self.rounds.saturating_mul(2)),
                ));
            }
            StopReason::Epochs(_) => {
                let more = (2.0 * self.epochs).ceil();
                rows.push(("go on", format!("shoal resume {run} --epochs {more}")));
            }
            StopReason::Time(_) => {
                let more = (2.0 * self.seconds).ceil();
                rows.push(("go on", format!("shoal resume {run} --max-seconds {more}")));
            }
            _ => {}
        }
        rows.push(("report", format!("{}/report.html", self.run)));
        rows.push(("measure it", format!("shoal evaluate {run} --data PATH")));
        rows.push(("use it", format!("shoal predict {run} --data PATH")));
        rows.iter().map(|(name, value)| format!("{name:<15}{value}\n")).collect()
    }
}

/// `loss 0.1234, accuracy 96.76 %`.
fn validation(found: f64, accuracy: Option<f64>) -> String {
    let accuracy = accuracy.map_or_else(String::new, |accuracy| format!(", accuracy {}", percent(accuracy)));
    format!("loss {}{accuracy}", loss(found))
}

/// The text as one word of a shell command.
fn shell_word(text: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "/._-+:@%,".contains(character);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::quality::{ClassQuality, ClassTally};

    /// Nine examples of one class are recognized, one of another is not.
    fn test_quality() -> ClassQuality {
        let mut tally = ClassTally::new(2, 10);
        tally.add(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 1], &[0.75, 0.25].repeat(10));
        tally.finish(&["no".to_owned(), "yes".to_owned()], 0.4)
    }

    pub(crate) fn summary() -> Summary {
        Summary {
            iterations: 60,
            saved_iteration: 52,
            rounds: 63,
            epochs: 63.0,
            seconds: 130.0,
            parameters: 101_770,
            figures: Some(Figures {
                train_loss: 0.079_81,
                training_set_loss: Some(0.078_9),
                validation_accuracy: Some(0.95),
                test_accuracy: Some(0.9676),
                ..Figures::UNKNOWN
            }),
            weights_digest: "ab".repeat(32),
            volunteers: 3,
            offenders: Vec::new(),
            test_quality: Some(Quality::Classes(Box::new(test_quality()))),
            stop_reason: StopReason::TargetAccuracy(0.96),
            run: "runs/it's mine".to_owned(),
        }
    }

    #[test]
    fn the_json_object_has_every_field_on_one_line() {
        let json = summary().to_json();
        assert!(!json.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        for (field, expected) in [
            ("iterations", serde_json::json!(60)),
            ("saved_iteration", serde_json::json!(52)),
            ("training_set_loss", serde_json::json!(0.078_9)),
            ("validation_loss", serde_json::Value::Null),
            ("validation_accuracy", serde_json::json!(0.95)),
            ("rounds", serde_json::json!(63)),
            ("epochs", serde_json::json!(63.0)),
            ("seconds", serde_json::json!(130.0)),
            ("parameters", serde_json::json!(101_770)),
            ("train_loss", serde_json::json!(0.079_81)),
            ("test_loss", serde_json::Value::Null),
            ("test_accuracy", serde_json::json!(0.9676)),
            ("weights_digest", serde_json::json!("ab".repeat(32))),
            ("volunteers", serde_json::json!(3)),
            ("stop_reason", serde_json::json!("target-accuracy")),
        ] {
            assert_eq!(value[field], expected, "{field}");
        }
        let quality = &value["test_quality"];
        assert_eq!(quality["most_frequent"]["accuracy"], 0.9, "{quality}");
        assert_eq!(quality["balanced_accuracy"], 0.5, "{quality}");
        assert_eq!(quality["confusion"], serde_json::json!([[9, 0], [1, 0]]), "{quality}");
    }

    #[test]
    fn a_number_that_is_not_finite_is_null_in_json() {
        let json = Summary { figures: Some(Figures::UNKNOWN), ..summary() }.to_json();
        assert!(json.contains(r#""train_loss":null"#), "{json}");
    }

    #[test]
    fn commands_in_the_text_can_be_pasted_into_a_shell() {
        let text = summary().to_text();
        assert!(text.contains(r"shoal predict 'runs/it'\''s mine' --data PATH"), "{text}");
    }

    #[test]
    fn an_accuracy_stands_beside_what_it_has_to_beat() {
        let text = summary().to_text();
        for expected in ["50.00 % of each class", "90.00 % by always naming the most frequent class"] {
            assert!(text.contains(expected), "{text}");
        }
        let figures = Some(Figures { test_loss: Some(0.5), ..Figures::UNKNOWN });
        let text = Summary { figures, test_quality: None, ..summary() }.to_text();
        assert!(text.contains("not measured with so many test examples"), "{text}");
    }

    #[test]
    fn only_an_interrupted_or_exhausted_run_is_offered_to_be_resumed() {
        let text = |stop_reason| Summary { stop_reason, ..summary() }.to_text();
        assert!(text(StopReason::Interrupted).contains("shoal resume"));
        assert!(text(StopReason::Iterations(60)).contains("--iterations 120"));
        assert!(text(StopReason::Rounds(63)).contains("--rounds 126"));
        assert!(text(StopReason::Epochs(63.0)).contains("--epochs 126\n"));
        assert!(text(StopReason::Time(130)).contains("--max-seconds 260\n"));
        assert!(!text(StopReason::TargetAccuracy(0.96)).contains("shoal resume"));
    }
}
