//! `shoal inspect DATA`: what was found in data, and what a training would make of it.

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use table::{Becomes, Column, DateFormat, Kind, PreparedColumn, Table, Targets};

use super::args::InspectArgs;
use super::output::results;
use crate::config::{ConfigFile, DataSource, Fraction, RunConfig, STANDARD_INPUT, is_graph};
use crate::data;
use crate::report::words::{count, counted};
use crate::training::{self, Material, Sets};

/// Classes that are listed with their counts.
const SHOWN_CLASSES_MAX: usize = 20;
/// Columns that are listed.
const SHOWN_COLUMNS_MAX: usize = 200;
/// Dates come in seconds.
const SECONDS_IN_DAY: f64 = 86_400.0;
/// With fewer examples, none are set aside for testing: they are only looked at.
const SPLIT_EXAMPLES_MIN: usize = 20;

/// The data that the command line names, unless it names a network or a run.
pub(super) fn source(text: &str) -> anyhow::Result<Option<DataSource>> {
    let path = Path::new(text);
    let network = text.ends_with(".toml") || text.ends_with(".json") || is_graph(text);
    let run = path.join("run.toml").exists();
    // No shorthand of a network has a dot, a slash or a star.
    let place = text.contains(['.', '/', '*']) || path.exists();
    let is_data = text == STANDARD_INPUT || text.starts_with("embedded:") || (place && !network && !run);
    if is_data { text.parse().map(Some).map_err(|problem: String| super::misuse(problem)) } else { Ok(None) }
}

pub(super) fn run(source: &DataSource, args: InspectArgs) -> anyhow::Result<()> {
    let of_network = args.input.is_some() || args.features.is_some() || args.data.is_some();
    if of_network || args.classes.is_some() || args.numbers.is_some() {
        return Err(super::misuse(format!(
            "{source} is data; leave out --data, --input, --features, --classes and --numbers, or name a network"
        )));
    }
    let settings = ConfigFile { data: Some(source.clone()), ..args.reading.0 };
    let mut config = settings.resolve()?;
    let sets = Sets::read(&mut config)?;
    if sets.train.len() < SPLIT_EXAMPLES_MIN {
        config.test_fraction = Some(Fraction::ZERO);
    }
    let found = Found::new(sets, config, false)?;
    print(&found, args.json)
}

/// What a training with these settings would begin with.
pub(super) fn dry_run(mut config: RunConfig, json: bool) -> anyhow::Result<()> {
    let sets = Sets::read(&mut config)?;
    print(&Found::new(sets, config, true)?, json)
}

fn print(found: &Found, json: bool) -> anyhow::Result<()> {
    results(|output| {
        if json {
            Ok(writeln!(output, "{}", serde_json::to_string(found)?)?)
        } else {
            found.write_text(output)
        }
    })
}

/// The printed findings. Field names are those of the JSON.
#[derive(Debug, Serialize)]
struct Found {
    examples: usize,
    test_examples: usize,
    /// Shape of one example, where the examples are images.
    shape: Option<Vec<usize>>,
    columns: Vec<ColumnFound>,
    /// Inputs of a network.
    inputs: usize,
    label: Option<String>,
    /// Classes and how many examples each has; none where numbers are predicted.
    classes: Vec<(String, usize)>,
    /// What was inferred.
    notices: Vec<String>,
    /// What may make figures look better than they are.
    warnings: Vec<String>,
    /// The network that would be trained, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
}

#[derive(Debug, Serialize)]
struct ColumnFound {
    name: String,
    kind: String,
    missing: usize,
    distinct: String,
    range: Option<(f64, f64)>,
    #[serde(skip)]
    date_format: Option<DateFormat>,
    becomes: String,
}

impl Found {
    fn new(sets: Sets, config: RunConfig, with_network: bool) -> anyhow::Result<Self> {
        let table = sets.train.table();
        let described: Vec<Column> = table.columns.iter().map(Column::without_values).collect();
        let labels = table.labels.clone();
        let shape = sets.train.pixels().map(|pixels| pixels.shape.clone());
        let classes = classes(table);
        let mut warnings = data::telling_columns(table);
        let (examples, test_examples) = (sets.train.len(), sets.own_test_examples());
        let Material { data: prepared, network, .. } = sets.prepare(config)?;
        let parts = 1 + usize::from(prepared.validation.is_some()) + usize::from(prepared.test.is_some());
        warnings.extend(data::rare_classes(&classes, parts));
        warnings.extend(data::alike_classes(&classes));
        warnings.extend(data::repeated_examples(&prepared));
        let preparation = &prepared.preparation;
        let becomes = |column: &Column| {
            let learned = preparation.columns.iter().find(|learned| learned.position == column.position);
            match (learned, column.left_out) {
                _ if labels.contains(&column.position) => "predicted".to_owned(),
                (Some(learned), _) => in_words(learned),
                (None, Some(reason)) => format!("left out: {reason}"),
                (None, None) => "left out: the same in every row".to_owned(),
            }
        };
        let columns = described
            .iter()
            .map(|column| ColumnFound {
                name: column.shown(),
                kind: column.kind.to_string(),
                missing: column.missing,
                distinct: column.distinct.to_string(),
                range: column.range,
                date_format: column.date_format,
                becomes: becomes(column),
            })
            .collect();
        Ok(Self {
            examples,
            test_examples,
            shape,
            columns,
            inputs: prepared.preparation.inputs(),
            label: preparation.label_in_words(),
            classes,
            notices: prepared.notices.clone(),
            warnings,
            network: with_network.then(|| {
                let parameters = counted(network.parameters(), "parameter");
                format!("a {} with {parameters}", training::network_in_words(&network))
            }),
        })
    }

    fn write_text(&self, output: &mut dyn Write) -> anyhow::Result<()> {
        write!(output, "{}", counted(self.examples, "example"))?;
        if self.test_examples > 0 {
            write!(output, " and {} to test with", count(self.test_examples))?;
        }
        if let Some(shape) = &self.shape {
            let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
            write!(
                output,
                ", each of {} {}",
                sizes.join(" x "),
                if sizes == ["1"] { "value" } else { "values" }
            )?;
        }
        writeln!(output, "; a network gets {}.", counted(self.inputs, "input"))?;
        self.write_columns(output)?;
        if !self.classes.is_empty() {
            let label = self.label.as_deref().unwrap_or("the label");
            writeln!(output, "\n{} of {label}", counted(self.classes.len(), "class"))?;
            for (class, examples) in self.classes.iter().take(SHOWN_CLASSES_MAX) {
                writeln!(output, "{:>10}  {}", count(*examples), table::error::plain(class))?;
            }
            if self.classes.len() > SHOWN_CLASSES_MAX {
                writeln!(output, "and {} more", count(self.classes.len() - SHOWN_CLASSES_MAX))?;
            }
        }
        if !self.notices.is_empty() || !self.warnings.is_empty() {
            writeln!(output)?;
        }
        for notice in &self.notices {
            writeln!(output, "Note: {notice}.")?;
        }
        for warning in &self.warnings {
            writeln!(output, "Warning: {warning}.")?;
        }
        if let Some(network) = &self.network {
            writeln!(output, "\nThe network would be {network}. Nothing was trained.")?;
        }
        Ok(())
    }

    fn write_columns(&self, output: &mut dyn Write) -> anyhow::Result<()> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let mut rows =
            vec![["column", "kind", "missing", "distinct", "from", "to", "becomes"].map(str::to_owned)];
        for column in self.columns.iter().take(SHOWN_COLUMNS_MAX) {
            let bound = |bound: Option<f64>| match bound {
                None => String::new(),
                Some(moment) if column.kind == Kind::Date.to_string() => {
                    table::moment_in_words(moment / SECONDS_IN_DAY, column.date_format)
                }
                Some(number) => number.to_string(),
            };
            rows.push([
                table::error::plain(&column.name),
                column.kind.clone(),
                if column.missing == 0 { String::new() } else { count(column.missing) },
                column.distinct.clone(),
                bound(column.range.map(|(least, _)| least)),
                bound(column.range.map(|(_, greatest)| greatest)),
                column.becomes.clone(),
            ]);
        }
        writeln!(output)?;
        let width = |place: usize| rows.iter().map(|row| row[place].chars().count()).max().unwrap_or(0);
        let widths: [usize; 7] = std::array::from_fn(width);
        for row in &rows {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(output, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        if self.columns.len() > SHOWN_COLUMNS_MAX {
            writeln!(output, "and {} more", counted(self.columns.len() - SHOWN_COLUMNS_MAX, "column"))?;
        }
        Ok(())
    }
}

fn classes(table: &Table) -> Vec<(String, usize)> {
    let Some(Targets::Classes { ids, names }) = &table.targets else { return Vec::new() };
    let mut counts = vec![0; names.len()];
    for &id in ids {
        counts[usize::from(id)] += 1;
    }
    names.iter().cloned().zip(counts).collect()
}

fn in_words(column: &PreparedColumn) -> String {
    let missing = |missing: bool| if missing { ", one for missing cells" } else { "" };
    match &column.becomes {
        Becomes::Number { number: Some(_), missing: absent } => {
            format!("a number, standardized{}", missing(*absent))
        }
        Becomes::Number { .. } => "an input for missing cells".to_owned(),
        Becomes::Category { values, other, missing: absent, .. } => format!(
            "{}{}{}",
            counted(values.len(), "value"),
            if *other { ", one input for all others" } else { "" },
            missing(*absent)
        ),
        Becomes::Date { year, week, day, missing: absent, .. } => {
            let turns = [(*year, "year"), (*week, "week"), (*day, "day")];
            let turns: Vec<&str> =
                turns.into_iter().filter(|(used, _)| *used).map(|(_, name)| name).collect();
            let turns =
                if turns.is_empty() { String::new() } else { format!(", turn of the {}", turns.join(", ")) };
            format!("days{turns}{}", missing(*absent))
        }
    }
}
