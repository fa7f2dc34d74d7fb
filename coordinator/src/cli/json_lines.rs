//! Shows a training to a program: one object a line, with `time`, `event` and the event's own fields.
//!
//! | event | fields |
//! | --- | --- |
//! | `listening` | `links`, `dashboard` |
//! | `waiting`, `note`, `message` | `message` |
//! | `round` | units done and in all, volunteers, cores, examples a second |
//! | `iteration` | those of a line of `metrics.jsonl` |
//! | `finished` | those of the outcome that `--json` prints |

use serde_json::{Value, json};

use super::output::tell;
use crate::report::progress::{Event, Observer, RoundProgress};

/// Writes the training as objects to standard error.
pub(super) struct JsonLines;

impl Observer for JsonLines {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Listening { links, dashboard } => {
                let links: Vec<&str> = links.iter().map(|link| link.url.as_str()).collect();
                tell("listening", &json!({ "links": links, "dashboard": dashboard.url() }));
            }
            Event::Waiting { sentence } => tell("waiting", &json!({ "message": sentence })),
            Event::Round(RoundProgress { units_done, units, volunteers, cores, examples_per_second }) => {
                let round = json!({
                    "units_done": units_done,
                    "units": units,
                    "volunteers": volunteers,
                    "cores": cores,
                    "examples_per_second": examples_per_second,
                });
                tell("round", &round);
            }
            Event::Iteration(report) => tell("iteration", report),
            Event::Note { text } => tell("note", &json!({ "message": text })),
            Event::Finished(summary) => {
                let outcome: Value = serde_json::from_str(&summary.to_json()).unwrap_or_default();
                tell("finished", &outcome);
            }
        }
    }
}
