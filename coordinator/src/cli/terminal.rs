//! Shows a training on a terminal: two lines that stay, and other messages above them.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::output::{draw, say};
use super::phones;
use crate::report::progress::{Event, IterationReport, Link, Observer, RoundProgress};
use crate::report::words::{counted, duration, loss, percent, rate};

/// Steps of the bar for one iteration, so that it also moves within a round.
const STEPS: u64 = 1000;

/// Shows the training on a terminal.
pub(super) struct Terminal {
    bars: MultiProgress,
    bar: Option<ProgressBar>,
    last: Option<IterationReport>,
    /// Whether to show a QR code for phones.
    invite_phones: bool,
}

impl Terminal {
    pub(super) fn new(bars: MultiProgress, invite_phones: bool) -> Self {
        Self { bars, bar: None, last: None, invite_phones }
    }

    fn say(&self, line: &str) {
        self.bars.suspend(|| say(line));
    }

    /// The bar, which appears when it is first needed.
    fn bar(&mut self) -> &ProgressBar {
        let bars = &self.bars;
        self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{prefix:.bold} {wide_bar:.cyan/blue.dim}\n{wide_msg}")
                .expect("the template is valid")
                .progress_chars("━╸─");
            bars.add(ProgressBar::new(STEPS).with_style(style))
        })
    }

    fn listening(&self, links: &[Link]) {
        let Some(nearest) = links.first() else { return };
        self.say(&format!("Open {} in a browser to lend it to the training.", nearest.url));
        if !self.invite_phones {
            for link in &links[1..] {
                self.say(&format!("From other machines: {}", link.url));
            }
            return;
        }
        let Some(link) = phones::link(links) else {
            self.say("No network was found. Only this machine can open the page.");
            return;
        };
        self.say(&format!("From phones and other machines on this network: {}", link.url));
        if let Some(code) = phones::qr_code(&link.url) {
            self.bars.suspend(|| draw(&format!("\n{code}\n")));
        }
    }

    fn iteration(&mut self, report: &IterationReport) {
        let mut report = report.clone();
        if let Some(last) = &self.last {
            // Figures stay until there are newer ones, because not every point is evaluated.
            report.figures = report.figures.or(last.figures);
        }
        let mut prefix = format!("iteration {}/{}", report.iteration, report.iterations_max);
        if let Some(seconds) = report.eta_seconds
            && report.iteration < report.iterations_max
        {
            prefix += &format!(", {} left", duration(seconds));
        }
        let message = format!("{} · {}", quality(&report), helpers(&report));
        let bar = self.bar();
        bar.set_length(report.iterations_max.saturating_mul(STEPS));
        bar.set_position(report.iteration.saturating_mul(STEPS));
        bar.set_prefix(prefix);
        bar.set_message(message);
        self.last = Some(report);
    }

    fn round(&mut self, round: &RoundProgress) {
        let Some(mut report) = self.last.clone() else {
            let message = format!(
                "first round: {} of {} · {}",
                round.units_done,
                counted(round.units as usize, "unit"),
                counted(round.volunteers, "volunteer")
            );
            self.bar().set_message(message);
            return;
        };
        report.volunteers = round.volunteers;
        report.cores = round.cores;
        report.examples_per_second = round.examples_per_second;
        self.iteration(&report);
        // Each round counts as an iteration. An iteration of several rounds fills the same part of the bar
        // again.
        let within = STEPS * u64::from(round.units_done) / u64::from(round.units.max(1));
        let position = report.iteration.saturating_mul(STEPS).saturating_add(within.min(STEPS - 1));
        self.bar().set_position(position);
    }
}

impl Observer for Terminal {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Listening { links, dashboard } => {
                self.listening(links);
                self.say(&format!("Your dashboard, for nobody else: {}", dashboard.url()));
            }
            Event::Waiting { sentence } => self.bar().set_message(sentence.clone()),
            Event::Round(round) => self.round(round),
            Event::Iteration(report) => self.iteration(report),
            Event::Note { text } => self.say(text),
            Event::Finished(_) => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
            }
        }
    }
}

/// `loss 0.07981 · accuracy 96.76 %`: short, so that 80 columns hold the whole line.
fn quality(report: &IterationReport) -> String {
    let figures = &report.figures;
    let mut text = format!("loss {}", loss(figures.train_loss));
    if let Some(validation_loss) = figures.validation_loss {
        text += &format!(" · validation {}", loss(validation_loss));
    }
    match (figures.test_accuracy, figures.test_loss) {
        (Some(accuracy), _) => text += &format!(" · accuracy {}", percent(accuracy)),
        (None, Some(test_loss)) => text += &format!(" · test loss {}", loss(test_loss)),
        (None, None) => {}
    }
    text
}

/// `3 volunteers, 11 cores · 18.2 k examples/s`.
fn helpers(report: &IterationReport) -> String {
    let mut text = counted(report.volunteers, "volunteer");
    if report.volunteers > 0 {
        text += &format!(", {}", counted(report.cores, "core"));
    }
    text + &format!(" · {} examples/s", rate(report.examples_per_second))
}
