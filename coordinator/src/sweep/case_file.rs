//! A file of cases: settings that all cases share, and a table for each case with its name and its own
//! settings.

use std::path::Path;

use super::SweepError;
use super::case::{CASES_MAX, Case, Setting, line_of, without_place};
use super::seeds::Seeds;
use super::targets::{Target, Targets};
use crate::config::{self, ConfigFile, Content, Node};

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
        let refuse = |line: Option<usize>, problem: String| SweepError::CaseFile {
            path: path.to_owned(),
            line,
            problem,
        };
        let tree = config::read_tree(path)?;
        let seeds =
            tree.get(SEEDS).map(|value| seeds(value).map_err(|problem| refuse(value.line(), problem)));
        let targets =
            tree.get(TARGETS).map(|value| targets(value).map_err(|problem| refuse(value.line(), problem)));
        let cases = match tree.get(CASES).map(Node::content) {
            Some(Content::List(cases)) if cases.len() > CASES_MAX => return Err(SweepError::TooManyCases),
            Some(Content::List(cases)) if !cases.is_empty() => cases,
            _ => {
                let problem = "it has no cases; write [[case]] above the settings of each, with a name";
                return Err(refuse(None, problem.to_owned()));
            }
        };
        let case = |node: &Node| {
            let (name, settings) = case(node).map_err(|problem| refuse(node.line(), problem))?;
            Case::new(name, node.line(), settings, path)
        };
        let shared = tree.entries().iter().filter(|entry| ![SEEDS, TARGETS, CASES].contains(&&*entry.key));
        let shared = ConfigFile::from_entries(path, shared.map(|entry| (entry.key.as_str(), &entry.value)))
            .map_err(|error| refuse(line_of(&error), without_place(&error)))?;
        Ok(Self {
            shared,
            cases: cases.iter().map(case).collect::<Result<_, _>>()?,
            seeds: seeds.transpose()?,
            targets: targets.transpose()?.unwrap_or_default(),
        })
    }
}

/// The name and the settings of a case.
fn case(node: &Node) -> Result<(String, Vec<Setting>), String> {
    let Content::Table(entries) = node.content() else {
        return Err("a case is a table; write [[case]] above its settings".to_owned());
    };
    let Some(Content::Text(name)) = node.get(NAME).map(Node::content) else {
        return Err("every case needs a name, such as name = \"small steps\"".to_owned());
    };
    let settings = entries.iter().filter(|entry| entry.key != NAME);
    let settings = settings.map(|entry| Setting::of(&entry.key, entry.value.clone())).collect();
    Ok((name.clone(), settings))
}

/// `3`, `"1,2"` or `[1, 2]`.
fn seeds(value: &Node) -> Result<Seeds, String> {
    let text = match value.content() {
        // A comma keeps a list of one seed from being read as a number of seeds.
        Content::List(list) => list.iter().map(|seed| format!("{seed},")).collect(),
        _ => value.to_string(),
    };
    text.parse().map_err(|problem| format!("{SEEDS}: {problem}"))
}

/// `"loss=0.05"` or a list of such texts.
fn targets(value: &Node) -> Result<Vec<Target>, String> {
    let one = |value: &Node| {
        value
            .to_string()
            .parse()
            .map(|Targets(targets)| targets)
            .map_err(|problem| format!("{TARGETS}: {problem}"))
    };
    match value.content() {
        Content::List(list) => Ok(list.iter().map(one).collect::<Result<Vec<_>, _>>()?.concat()),
        _ => one(value),
    }
}
