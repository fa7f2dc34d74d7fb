//! A file of cases: settings that all cases share, and a table for each case with its name and its own
//! settings.

use std::path::Path;

use toml::{Table, Value};

use super::SweepError;
use super::case::{CASES_MAX, Case, Setting};
use super::seeds::Seeds;
use super::targets::{Target, Targets};
use crate::config::{self, ConfigFile, Node};

/// Keys of the sweep itself, besides the keys of a configuration.
const CASES: &str = "case";
const SEEDS: &str = "seeds";
const TARGETS: &str = "targets";
const NAME: &str = "name";

/// The contents of a file of cases.
#[derive(Debug, Default)]
pub struct CaseFile {
    /// The settings that the cases share. Flags win over them.
    pub shared: ConfigFile,
    /// The cases.
    pub cases: Vec<Case>,
    /// The seeds, if the file gives them.
    pub seeds: Option<Seeds>,
    /// The targets.
    pub targets: Vec<Target>,
}

impl CaseFile {
    /// Reads a file. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// When the file cannot be read, has no cases, or has an unknown or invalid setting.
    pub fn read(path: &Path) -> Result<Self, SweepError> {
        let refuse =
            |problem: &str| SweepError::CaseFile { path: path.to_owned(), problem: problem.to_owned() };
        let mut table = config::read_table(path)?;
        let seeds =
            table.remove(SEEDS).map(|value| seeds(&value)).transpose().map_err(|problem| refuse(&problem))?;
        let targets = table.remove(TARGETS).map(|value| targets(&value)).transpose();
        let targets = targets.map_err(|problem| refuse(&problem))?.unwrap_or_default();
        let cases = match table.remove(CASES) {
            Some(Value::Array(cases)) if !cases.is_empty() && cases.len() <= CASES_MAX => cases,
            Some(Value::Array(cases)) if cases.len() > CASES_MAX => return Err(SweepError::TooManyCases),
            _ => {
                return Err(refuse(
                    "it has no cases; write [[case]] above the settings of each, with a name",
                ));
            }
        };
        let case = |value| match value {
            Value::Table(table) => case(table, path),
            _ => Err(refuse("a case is a table; write [[case]] above its settings")),
        };
        let cases = cases.into_iter().map(case).collect::<Result<_, _>>()?;
        let values: Vec<Node> = table.values().map(Node::from_value).collect();
        let shared = ConfigFile::from_entries(path, table.keys().map(String::as_str).zip(&values))
            .map_err(|error| refuse(&super::case::without_place(&error)))?;
        Ok(Self { shared, cases, seeds, targets })
    }
}

fn case(mut table: Table, path: &Path) -> Result<Case, SweepError> {
    let Some(Value::String(name)) = table.remove(NAME) else {
        let problem = "every case needs a name, such as name = \"small steps\"".to_owned();
        return Err(SweepError::CaseFile { path: path.to_owned(), problem });
    };
    let settings = table.into_iter().map(|(key, value)| Setting::of(&key, value)).collect();
    Case::new(name, settings, path)
}

/// `3`, `"1,2"` or `[1, 2]`.
fn seeds(value: &Value) -> Result<Seeds, String> {
    let text = match value {
        // A comma keeps a list of one seed from being read as a number of seeds.
        Value::Array(list) => list.iter().map(|seed| format!("{seed},")).collect(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    text.parse().map_err(|problem| format!("{SEEDS}: {problem}"))
}

/// `"loss=0.05"` or a list of such texts.
fn targets(value: &Value) -> Result<Vec<Target>, String> {
    let one = |value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.parse().map(|Targets(targets)| targets).map_err(|problem| format!("{TARGETS}: {problem}"))
    };
    match value {
        Value::Array(list) => Ok(list.iter().map(one).collect::<Result<Vec<_>, _>>()?.concat()),
        value => one(value),
    }
}
