//! Shows a training in a log: one line for each event, and no line twice.

use super::output::say;
use crate::report::progress::{Event, IterationReport, Observer};
use crate::report::words::{counted, duration, loss, percent, rate};

/// Writes the training as lines to standard error.
#[derive(Default)]
pub(super) struct Lines {
    /// The last sentence without its numbers.
    last_sentence: String,
}

impl Observer for Lines {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Listening { links, dashboard } => {
                say(format!("dashboard: {}", dashboard.url()));
                let urls: Vec<&str> = links.iter().map(|link| link.url.as_str()).collect();
                say(format!("listening on {}", urls.join(" ")));
            }
            Event::Waiting { sentence } => {
                // A countdown gets only one line.
                let essence = sentence.replace(|character: char| character.is_ascii_digit(), "");
                if essence != self.last_sentence {
                    self.last_sentence = essence;
                    say(sentence);
                }
            }
            Event::Iteration(report) => say(line(report)),
            Event::Note { text } => say(text),
            // Only a progress bar shows rounds, and the result follows on standard output.
            Event::Round(_) | Event::Finished(_) => {}
        }
    }
}

fn line(report: &IterationReport) -> String {
    let figures = &report.figures;
    let mut line = format!("iteration {}/{}", report.iteration, report.iterations_max);
    line += &format!(", train loss {}", loss(figures.train_loss));
    // If the round's own loss covers the whole set, once is enough.
    if let Some(whole) = figures.training_set_loss.filter(|whole| *whole != figures.train_loss) {
        line += &format!(" ({} over the whole set)", loss(whole));
    }
    if let Some(validation_loss) = figures.validation_loss {
        line += &format!(", validation loss {}", loss(validation_loss));
    }
    if let Some(accuracy) = figures.validation_accuracy {
        line += &format!(", validation accuracy {}", percent(accuracy));
    }
    if let Some(test_loss) = figures.test_loss {
        line += &format!(", test loss {}", loss(test_loss));
    }
    if let Some(accuracy) = figures.test_accuracy {
        line += &format!(", test accuracy {}", percent(accuracy));
    }
    line += &format!(", {}", counted(report.volunteers, "volunteer"));
    line += &format!(", {} examples/s", rate(report.examples_per_second));
    line += &format!(", {} so far", duration(report.seconds));
    if let Some(seconds) = report.eta_seconds
        && report.iteration < report.iterations_max
    {
        line += &format!(", {} left", duration(seconds));
    }
    line
}
