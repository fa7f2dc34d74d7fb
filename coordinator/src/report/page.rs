//! `report.html`: what a training came to, in one file that needs no program, no script and no network.

use std::fmt::Write;

use engine::Figures;

use super::curves::{Line, chart};
use super::helpers::Helpers;
use super::marks::Marks;
use super::words::{brief, count, counted, duration, loss, percent, steers};
use super::{ShownMistake, Summary};
use crate::quality::{ClassQuality, ColumnQuality, Quality};
use crate::report::status::CurvePoint;

/// Classes of a confusion matrix that is printed whole. Of more classes only the frequent mistakes are listed.
const MATRIX_CLASSES_MAX: usize = 20;
/// Mistakes that are listed.
const MISTAKES_MAX: usize = 10;
/// A loss this many times its lowest value is worth a warning.
const WORTH_A_WARNING: f64 = 1.05;
/// Quantile of the normal distribution for an interval that holds the truth 19 times in 20.
const QUANTILE: f64 = 1.96;

const STYLE: &str = include_str!("page.css");

/// What a report tells.
#[derive(Debug)]
pub struct Report<'a> {
    /// The outcome.
    pub summary: &'a Summary,
    /// The course of the training.
    pub course: &'a [CurvePoint],
    /// What is trained, in words.
    pub title: String,
    /// The network in words.
    pub network: String,
    /// The data as the user named them.
    pub data: String,
    /// BLAKE3 of the prepared data, in hexadecimal.
    pub data_digest: String,
    /// Examples of the training, validation and test sets.
    pub examples: [usize; 3],
    /// All settings of the run, as a TOML file.
    pub settings: String,
    /// Who helped.
    pub helpers: &'a Helpers,
    /// The worst mistakes on the test examples.
    pub(crate) mistakes: Vec<ShownMistake>,
}

impl Report<'_> {
    /// The whole file.
    pub fn to_html(&self) -> String {
        let mut page = String::new();
        let title = format!("Report on {}", self.title);
        let _ = write!(
            page,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{}</h1>\n",
            escape(&title),
            escape(&title)
        );
        self.answer(&mut page);
        self.curves(&mut page);
        if let Some(Quality::Classes(quality)) = &self.summary.test_quality {
            classes(&mut page, quality);
        }
        if let Some(Quality::Numbers { columns }) = &self.summary.test_quality {
            page += "<h2>Predicted numbers</h2>\n";
            let rows = columns.iter().map(|column| {
                let r2 = column.r2.map_or_else(|| "–".to_owned(), |r2| format!("{r2:.4}"));
                [
                    escape(&column.name),
                    loss(column.rmse),
                    loss(column.mae),
                    r2,
                    format!("{} / {}", loss(column.mean.rmse), loss(column.mean.mae)),
                ]
            });
            let heads = [
                "label",
                "root mean squared error",
                "mean absolute error",
                "R²",
                "both for always predicting the mean",
            ];
            table(&mut page, &heads, rows);
        }
        self.worst(&mut page);
        self.facts(&mut page);
        self.who_helped(&mut page);
        self.use_it(&mut page);
        self.cautions(&mut page);
        page += "</main>\n</body>\n</html>\n";
        page
    }

    fn answer(&self, page: &mut String) {
        let figures = self.summary.figures.unwrap_or(Figures::UNKNOWN);
        let answer = match (&self.summary.test_quality, figures.test_accuracy, figures.test_loss) {
            (Some(Quality::Numbers { columns }), ..) => self.misses(columns),
            (_, Some(accuracy), _) => {
                format!("The network gets {} of {} right.", percent(accuracy), self.test_examples())
            }
            (_, None, Some(found)) => {
                format!("The network's mean loss on {} is {}.", self.test_examples(), loss(found))
            }
            (_, None, None) => {
                "There were no test examples, so nobody knows how good the network is.".to_owned()
            }
        };
        let _ = writeln!(page, "<p class=\"answer\">{}</p>", escape(&answer));
        if let Some(warning) = self.warning() {
            let _ = writeln!(page, "<p class=\"warning\">{}</p>", escape(&warning));
        }
    }

    /// By how much predicted numbers are wrong.
    fn misses(&self, columns: &[ColumnQuality]) -> String {
        let miss = |column: &ColumnQuality| {
            let name = if column.name.is_empty() { "the number" } else { &column.name };
            format!("{name} by {}", loss(column.mae))
        };
        let all = columns.iter().map(miss).collect::<Vec<_>>().join(", ");
        let beside = match columns {
            [one] => format!(" Always answering with their mean would miss it by {}.", loss(one.mean.mae)),
            _ => String::new(),
        };
        format!("On {}, the network misses {all} on average.{beside}", self.test_examples())
    }

    fn test_examples(&self) -> String {
        format!("{} that it was not trained on", counted(self.examples[2], "example"))
    }

    /// A warning if the loss on examples kept aside rose again before the end.
    fn warning(&self) -> Option<String> {
        let figures = self.summary.figures?;
        let (kept, end): (fn(&CurvePoint) -> Option<f64>, _) = match figures.validation_loss {
            // The saved weights are the best by validation, whatever came after them.
            Some(_) => return None,
            None => (|point| point.test_loss, figures.test_loss?),
        };
        let measured = self.course.iter().filter_map(|point| Some((point.iteration, kept(point)?)));
        let (iteration, lowest) = measured.min_by(|one, other| one.1.total_cmp(&other.1))?;
        (end > WORTH_A_WARNING * lowest && iteration < self.summary.iterations).then(|| {
            format!(
                "The loss on the test examples was {} at iteration {iteration} and rose to {}: the network has begun \
                 to memorize its training examples. Set examples aside with --validation-fraction 0.1, and the best \
                 weights are kept.",
                loss(lowest),
                loss(end)
            )
        })
    }

    fn curves(&self, page: &mut String) {
        let line = |name, style, value: fn(&CurvePoint) -> Option<f64>| Line {
            name,
            style,
            points: self
                .course
                .iter()
                .filter_map(|point| Some((point.iteration as f64, value(point)?)))
                .filter(|(_, value)| value.is_finite())
                .collect(),
        };
        let accuracies = [
            line("test", "test", |point| point.test_accuracy),
            line("validation", "validation", |point| point.validation_accuracy),
        ];
        let losses = [
            line("test", "test", |point| point.test_loss),
            line("validation", "validation", |point| point.validation_loss),
            line("training", "train", |point| point.training_set_loss),
            line("on the way", "way", CurvePoint::on_the_way_loss),
        ];
        // What rounds measure on the way is another quantity: it is drawn only where there is nothing better.
        let shown = if losses[..2].iter().any(|line| line.points.len() > 1) { 3 } else { 4 };
        let marks = Marks::of(self.course);
        let drawn = [
            ("Accuracy", chart(&accuracies, marks.list(), |share| format!("{} %", brief(100.0 * share)))),
            ("Loss", chart(&losses[..shown], marks.list(), brief)),
        ];
        for (name, drawing) in drawn {
            let Some(drawing) = drawing else { continue };
            let _ = writeln!(
                page,
                "<h2>{name}</h2>\n<figure>\n{drawing}<figcaption>{name} by iteration. The saved weights are those of \
                 iteration {}.</figcaption>\n</figure>",
                self.summary.saved_iteration
            );
        }
    }

    fn worst(&self, page: &mut String) {
        if self.mistakes.is_empty() {
            return;
        }
        page.push_str("<h2>The worst mistakes</h2>\n");
        if self.mistakes.iter().all(|mistake| mistake.picture.is_some()) {
            page.push_str("<div class=\"pictures\">\n");
            for ShownMistake { picture, truth, said, .. } in &self.mistakes {
                let picture = picture.as_deref().unwrap_or_default();
                let _ = writeln!(
                    page,
                    "<figure>{picture}<figcaption>taken for {}; it is {}</figcaption></figure>",
                    escape(said),
                    escape(truth)
                );
            }
            page.push_str("</div>\n");
            return;
        }
        let names = self.mistakes.first().map_or(&[][..], |mistake| &mistake.cells);
        page.push_str("<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr>");
        let heads = ["the model's answer", "the truth"].into_iter();
        for head in heads.chain(names.iter().map(|(name, _)| name.as_str())) {
            let _ = write!(page, "<th scope=\"col\">{}</th>", escape(head));
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        for ShownMistake { cells, truth, said, .. } in &self.mistakes {
            let values = [said, truth].into_iter().chain(cells.iter().map(|(_, value)| value));
            let row: String = values.map(|value| format!("<td>{}</td>", escape(value))).collect();
            let _ = writeln!(page, "<tr>{row}</tr>");
        }
        page.push_str("</tbody></table></div>\n");
    }

    fn facts(&self, page: &mut String) {
        let Summary { rounds, epochs, seconds, parameters, weights_digest, volunteers, .. } = self.summary;
        let [training, validation, test] = self.examples.map(count);
        let rows = [
            ("data", format!("{}, BLAKE3 {} as prepared", self.data, self.data_digest)),
            ("split", format!("{training} to train on, {validation} to validate with, {test} to test with")),
            ("network", format!("{} with {}", self.network, counted(*parameters, "parameter"))),
            ("ended", self.summary.stop_reason.to_string()),
            (
                "work",
                format!(
                    "{}, {}, {epochs:.1} epochs in {}",
                    counted(self.summary.iterations as usize, "iteration"),
                    counted(*rounds as usize, "round"),
                    duration(*seconds)
                ),
            ),
            ("helpers", counted(*volunteers, "volunteer")),
            ("weights", format!("BLAKE3 {weights_digest}")),
        ];
        page.push_str("<h2>What was run</h2>\n<dl>\n");
        for (name, value) in rows {
            let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
        }
        let _ = writeln!(page, "</dl>\n<h3>All settings</h3>\n<pre>{}</pre>", escape(&self.settings));
    }

    fn who_helped(&self, page: &mut String) {
        let Some((heads, rows)) = self.helpers.table() else { return };
        page.push_str("<h2>Who helped</h2>\n");
        // A volunteer says itself what it is.
        table(page, &heads, rows.into_iter().map(|row| row.map(|cell| escape(&cell))));
        page.push_str(
            "<p class=\"note\">A share is that of all examples in results that counted. Computing is the time in which \
             there was work for a helper.",
        );
        if let Some(sentence) = self.helpers.duplicates() {
            let _ = write!(page, " {}", escape(&sentence));
        }
        page.push_str("</p>\n");
    }

    fn use_it(&self, page: &mut String) {
        let run = super::shell_word(&self.summary.run);
        let commands = [
            format!("shoal predict {run} --data new.csv"),
            format!("shoal evaluate {run} --data more.csv"),
            format!("shoal resume {run}"),
        ];
        let commands = commands.map(|command| escape(&command)).join("\n");
        let _ = writeln!(
            page,
            "<h2>How to use it</h2>\n<pre>{commands}</pre>\n<p>In Python, \
             <code>safetensors.numpy.load_file(\"model.safetensors\")</code> gives the weights by layer.</p>"
        );
    }

    fn cautions(&self, page: &mut String) {
        page.push_str("<h2>Cautions</h2>\n<ul>\n");
        let accuracy = self.summary.figures.and_then(|figures| figures.test_accuracy);
        if let Some(accuracy) = accuracy.filter(|_| self.examples[2] > 0) {
            let (low, high) = interval(accuracy, self.examples[2]);
            let _ = writeln!(
                page,
                "<li>With {}, the true accuracy may well lie anywhere from {} to {} (19 times in 20).</li>",
                counted(self.examples[2], "test example"),
                percent(low),
                percent(high)
            );
        }
        if let Some(Quality::Classes(quality)) = &self.summary.test_quality {
            let _ = writeln!(
                page,
                "<li>Always naming the most frequent class, {}, would get {} right.</li>",
                escape(&quality.most_frequent.class),
                percent(quality.most_frequent.accuracy)
            );
        }
        if self.summary.volunteers > 0 {
            page.push_str("<li>The training data were sent to every volunteer.</li>\n");
        }
        page.push_str("<li>The figures hold for data like these, and for no others.</li>\n</ul>\n");
    }
}

fn classes(page: &mut String, quality: &ClassQuality) {
    page.push_str("<h2>By class</h2>\n");
    let rows = quality.by_class.iter().enumerate().map(|(index, class)| {
        let given = quality.pairs.iter().filter(|((_, named), _)| *named == index).map(|(_, found)| found);
        // Of nothing there is no share.
        let is_given = given.sum::<u64>() > 0;
        let known = |value: String, is_known: bool| if is_known { value } else { "–".to_owned() };
        [
            escape(&class.class),
            count(class.examples as usize),
            known(percent(class.precision), is_given),
            known(percent(class.recall), class.examples > 0),
            known(format!("{:.4}", class.f1), is_given || class.examples > 0),
        ]
    });
    table(page, &["class", "examples", "precision", "recall", "F1"], rows);
    if let Some(confusion) =
        quality.confusion.as_ref().filter(|_| quality.classes.len() <= MATRIX_CLASSES_MAX)
    {
        page.push_str("<h2>What was taken for what</h2>\n<div class=\"scroll\" tabindex=\"0\"><table class=\"matrix\">\n<thead><tr><th>true class</th>");
        for class in &quality.classes {
            let _ = write!(page, "<th scope=\"col\">{}</th>", escape(class));
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        for (class, row) in quality.classes.iter().zip(confusion) {
            let all: u64 = row.iter().sum();
            let _ = write!(page, "<tr><th scope=\"row\">{}</th>", escape(class));
            for found in row {
                let _ = write!(page, "<td class=\"s{}\">{found}</td>", found * 9 / all.max(1));
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody></table></div>\n");
    }
    let mut mistakes: Vec<_> = quality.pairs.iter().filter(|((truth, named), _)| truth != named).collect();
    mistakes.sort_by_key(|(pair, found)| (std::cmp::Reverse(**found), **pair));
    if !mistakes.is_empty() {
        page.push_str("<h2>The most frequent mistakes</h2>\n");
        let name = |class: usize| quality.classes.get(class).map_or_else(String::new, |name| escape(name));
        let rows = mistakes
            .into_iter()
            .take(MISTAKES_MAX)
            .map(|((truth, named), found)| [name(*truth), name(*named), count(*found as usize)]);
        table(page, &["true class", "named", "times"], rows);
    }
}

/// A table whose cells are HTML already.
fn table<const N: usize>(page: &mut String, heads: &[&str; N], rows: impl Iterator<Item = [String; N]>) {
    page.push_str("<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr>");
    for head in heads {
        let _ = write!(page, "<th scope=\"col\">{head}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        page.push_str("<tr>");
        for cell in row {
            let _ = write!(page, "<td>{cell}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

/// The interval that holds the true share 19 times in 20, when `share` of so many examples was found (E. B. Wilson,
/// Probable Inference, the Law of Succession, and Statistical Inference, 1927).
fn interval(share: f64, examples: usize) -> (f64, f64) {
    let (examples, square) = (examples as f64, QUANTILE * QUANTILE);
    let center = share + square / (2.0 * examples);
    let spread = QUANTILE * (share * (1.0 - share) / examples + square / (4.0 * examples * examples)).sqrt();
    let whole = 1.0 + square / examples;
    ((center - spread) / whole, (center + spread) / whole)
}

/// Text as HTML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Other control characters are not allowed in HTML.
            command if steers(command) && command != '\n' && command != '\t' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::helpers::Helper;

    #[test]
    fn whoever_helped_is_listed_and_a_name_is_no_markup() {
        let summary = crate::report::tests::summary();
        let mut helpers = Helpers { counted: 10, uncounted: 30, ..Helpers::default() };
        let page = |helpers: &Helpers| {
            let report = Report {
                summary: &summary,
                course: &[],
                title: String::new(),
                network: String::new(),
                data: String::new(),
                data_digest: String::new(),
                examples: [100, 0, 10],
                settings: String::new(),
                helpers,
                mistakes: Vec::new(),
            };
            report.to_html()
        };
        assert!(!page(&helpers).contains("Who helped"));
        let agent = "<img src=x onerror='alert(1)'> on \u{202e}Linux".to_owned();
        helpers.add(9, Helper { agent, cores: 3, seconds: 61.0, examples: 10, bytes: 2_000_000 });
        let page = page(&helpers);
        let (_, table) = page.split_once("<h2>Who helped</h2>").unwrap();
        assert!(table.contains("<td>3</td><td>1 min 01 s</td><td>100.00 %</td><td>2.0 MB</td>"), "{table}");
        assert!(
            table.contains("&lt;img src=x onerror=&#39;alert(1)&#39;&gt;") && !page.contains("<img"),
            "{table}"
        );
        assert!(table.contains("75.00 % of the work did not count"), "{table}");
    }

    #[test]
    fn names_from_the_data_are_text_and_never_markup() {
        assert_eq!(
            escape("<script>alert(\"it's\" & 1)</script>\u{0}"),
            "&lt;script&gt;alert(&quot;it&#39;s&quot; &amp; 1)&lt;/script&gt;\u{fffd}"
        );
    }

    /// Wilson's interval at 95 %, computed with Python's floats.
    #[test]
    fn a_small_test_set_gives_a_wide_interval() {
        let close = |found: (f64, f64), low: f64, high: f64| {
            assert!((found.0 - low).abs() < 1e-3 && (found.1 - high).abs() < 1e-3, "{found:?}");
        };
        close(interval(0.9, 10), 0.5958, 0.9821);
        close(interval(0.9, 10_000), 0.8940, 0.9057);
        close(interval(1.0, 10), 0.7225, 1.0);
    }
}
