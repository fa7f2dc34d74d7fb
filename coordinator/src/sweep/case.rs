//! The cases that a sweep compares. Each has a name and the settings in which it differs from the others.

use std::path::Path;
use std::slice;
use std::str::FromStr;

use super::SweepError;
use crate::config::{ConfigError, ConfigFile, Content, Node, SETTINGS};

/// Most cases of a sweep.
pub const CASES_MAX: usize = 256;
/// Bytes of the longest name. The case's folder is named after it, and systems allow 255 bytes.
const NAME_BYTES_MAX: usize = 120;

/// One setting of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The key, as in a configuration file.
    pub key: String,
    /// The value as it was typed, for tables.
    pub text: String,
    value: Node,
}

/// A configuration to compare with others.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its name in tables and charts.
    pub name: String,
    /// The settings in which it differs from the other cases.
    pub settings: Vec<Setting>,
    /// The same as a configuration, which wins over the settings that all cases share.
    pub config: ConfigFile,
}

/// `KEY=V1,V2,...`: a setting and the values to try.
#[derive(Debug, Clone, PartialEq)]
pub struct Over {
    /// One for each value; at least one.
    settings: Vec<Setting>,
}

impl Over {
    /// The setting's key.
    pub fn key(&self) -> &str {
        &self.settings[0].key
    }
}

impl FromStr for Over {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "give a key and its values, such as minibatch=5,10,32".to_owned();
        let (key, values) = text.split_once('=').ok_or_else(form)?;
        let key = key.trim();
        if key.is_empty() || values.trim().is_empty() {
            return Err(form());
        }
        let setting = |text: &str| {
            let text = text.trim();
            if text.is_empty() {
                return Err("there is nothing between two commas".to_owned());
            }
            let setting = Setting::typed(key, text)?;
            understood(Path::new(""), slice::from_ref(&setting)).map_err(|error| without_place(&error))?;
            Ok(setting)
        };
        let settings = split(values).into_iter().map(setting).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { settings })
    }
}

impl Setting {
    /// A value as typed in a shell: a TOML value (`10`, `1e-5`, `true`, `["a", "b"]`), otherwise a text
    /// without quotes.
    fn typed(key: &str, text: &str) -> Result<Self, String> {
        let written = |value: &str| match Node::from_toml(&format!("value = {value}")) {
            Ok(tree) if tree.entries().len() == 1 => tree.get("value").cloned(),
            _ => None,
        };
        let value = match written(text) {
            Some(value) => value,
            None if text.starts_with(['"', '\'', '[', '{']) => {
                return Err(format!("{text} is not closed, or text follows its end"));
            }
            None => Node::text(text),
        };
        let setting = Self::of(key, value);
        Ok(match setting.value.content() {
            Content::Text(_) => setting,
            // As it was written: 1e-5 and not 0.00001.
            _ => Self { text: text.to_owned(), ..setting },
        })
    }

    pub(super) fn of(key: &str, value: Node) -> Self {
        Self { key: key.to_owned(), text: value.to_string(), value }
    }
}

impl Case {
    /// A case of a file; paths are relative to the file's folder. `line` is the case's own.
    pub(super) fn new(
        name: String,
        line: Option<usize>,
        settings: Vec<Setting>,
        file: &Path,
    ) -> Result<Self, SweepError> {
        let refuse = |error: ConfigError| SweepError::CaseFile {
            path: file.to_owned(),
            line: line_of(&error).or(line),
            problem: format!("case \"{name}\": {}", without_place(&error)),
        };
        let config = understood(file, &settings).map_err(refuse)?;
        Ok(Self { name, settings, config })
    }

    /// The name of its folder, which is the same on every system and contains no path.
    pub fn folder(&self) -> String {
        let safe = |character: char| match character {
            '=' | ',' | '.' | '+' | '-' | '_' => character,
            character if character.is_alphanumeric() => character.to_ascii_lowercase(),
            _ => '-',
        };
        let name: String = self.name.chars().map(safe).collect();
        name.trim_matches('.').to_owned()
    }
}

/// Each of the cases (without any, the case that sets nothing) with every combination of the values.
///
/// # Errors
/// When there is nothing to compare, when there are too many cases, or when two have the same name.
pub fn combine(cases: Vec<Case>, over: &[Over]) -> Result<Vec<Case>, SweepError> {
    if cases.is_empty() && over.is_empty() {
        return Err(SweepError::NothingToCompare);
    }
    let sizes = over.iter().map(|over| over.settings.len());
    let count = sizes.chain([cases.len().max(1)]).try_fold(1_usize, usize::checked_mul);
    if count.is_none_or(|count| count > CASES_MAX) {
        return Err(SweepError::TooManyCases);
    }
    for (index, one) in over.iter().enumerate() {
        let key = one.key();
        if over[..index].iter().any(|other| other.key() == key) {
            return Err(SweepError::KeyTwice { key: key.to_owned() });
        }
    }
    let none = Case { name: String::new(), settings: Vec::new(), config: ConfigFile::default() };
    let mut combined = if cases.is_empty() { vec![none] } else { cases };
    for over in over {
        combined = combined
            .iter()
            .flat_map(|case| over.settings.iter().map(|setting| case.with(setting)))
            .collect::<Result<_, _>>()?;
    }
    require_names(&combined)?;
    Ok(combined)
}

impl Case {
    fn with(&self, setting: &Setting) -> Result<Self, SweepError> {
        let mut case = self.clone();
        // A typed value wins over a file, even over a case's own setting of that key.
        case.settings.retain(|own| own.key != setting.key);
        case.settings.push(setting.clone());
        let own = format!("{}={}", setting.key, setting.text);
        case.name = if case.name.is_empty() { own } else { format!("{}, {own}", case.name) };
        let above = understood(Path::new(""), slice::from_ref(setting));
        let above = above.expect("it was understood when it was typed");
        case.config = above.or(case.config);
        Ok(case)
    }
}

/// Refuses names that cannot be a folder or fit a line of a table, and names that are used twice.
fn require_names(cases: &[Case]) -> Result<(), SweepError> {
    for (index, case) in cases.iter().enumerate() {
        let refuse =
            |problem: &str| Err(SweepError::Case { case: case.name.clone(), problem: problem.to_owned() });
        let folder = case.folder();
        if !folder.contains(char::is_alphanumeric) {
            return refuse("give it a name with a letter or a digit");
        }
        if case.name.len() > NAME_BYTES_MAX {
            return refuse(&format!("its name is longer than {NAME_BYTES_MAX} bytes"));
        }
        if case.name.contains(char::is_control) {
            return refuse("its name has more than one line");
        }
        if cases[..index].iter().any(|other| other.folder() == folder) {
            return refuse("another case has the same or nearly the same name; give each its own");
        }
    }
    Ok(())
}

/// The settings as a configuration, read like a configuration file.
fn understood(file: &Path, settings: &[Setting]) -> Result<ConfigFile, ConfigError> {
    for Setting { key, value, .. } in settings {
        let name = key.replace('_', "-");
        if let Some(known) = SETTINGS.iter().find(|known| known.key == name)
            && let Some(problem) = known.not_in_cases
        {
            let problem = format!("{name}: {problem}");
            return Err(ConfigError::Parse {
                path: file.to_owned(),
                line: value.line().unwrap_or(1),
                problem,
            });
        }
    }
    ConfigFile::from_entries(file, settings.iter().map(|setting| (setting.key.as_str(), &setting.value)))
}

/// The problem without its line number.
pub(super) fn without_place(error: &ConfigError) -> String {
    match error {
        ConfigError::Parse { problem, .. } => problem.clone(),
        error => error.to_string(),
    }
}

/// The line of the problem.
pub(super) fn line_of(error: &ConfigError) -> Option<usize> {
    match error {
        ConfigError::Parse { line, .. } => Some(*line),
        _ => None,
    }
}

/// The texts between commas. Commas in quotes or brackets do not separate.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth, mut quote) = (0, 0_usize, None);
    for (position, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), character) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.push(&text[start..position]);
                start = position + 1;
            }
            (None, _) => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(over: &[&str]) -> Vec<String> {
        let over: Vec<Over> = over.iter().map(|text| text.parse().unwrap()).collect();
        combine(Vec::new(), &over).unwrap().into_iter().map(|case| case.name).collect()
    }

    #[test]
    fn several_keys_make_every_combination() {
        assert_eq!(
            names(&["minibatch=5,10", "l2=0,1e-5"]),
            ["minibatch=5, l2=0", "minibatch=5, l2=1e-5", "minibatch=10, l2=0", "minibatch=10, l2=1e-5"]
        );
    }

    #[test]
    fn a_comma_in_quotes_does_not_end_a_value() {
        assert_eq!(names(&["model=\"mlp:64,32\",linear"]), ["model=mlp:64,32", "model=linear"]);
        assert_eq!(names(&["label=['a', 'b'],c"]).len(), 2);
    }

    #[test]
    fn values_are_refused_as_in_a_file() {
        for (text, problem) in [
            ("minibatch", "such as minibatch=5,10,32"),
            ("minibatch=", "such as minibatch=5,10,32"),
            ("minibatch=5,,6", "between two commas"),
            ("minibatch=many", "minibatch: give a whole number, not \"many\""),
            ("minibtach=5", "did you mean minibatch?"),
            ("optimizer=adamant", "there is no \"adamant\""),
            ("model=\"mlp:64", "not closed"),
            ("seed=1,2", "--seeds"),
            ("out=here", "--out"),
        ] {
            let error = text.parse::<Over>().unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn cases_that_cannot_be_told_apart_are_refused() {
        let combine = |over: &[&str]| {
            let over: Vec<Over> = over.iter().map(|text| text.parse().unwrap()).collect();
            combine(Vec::new(), &over).unwrap_err().to_string()
        };
        assert!(combine(&[]).contains("--over"));
        assert!(combine(&["minibatch=5,5"]).contains("minibatch=5"));
        assert!(combine(&["minibatch=5", "minibatch=6"]).contains("minibatch"));
        let many: Vec<String> = (1..=CASES_MAX + 1).map(|value| value.to_string()).collect();
        assert!(combine(&[&format!("minibatch={}", many.join(","))]).contains("256"));
    }

    #[test]
    fn a_folder_is_nothing_but_a_name() {
        for (name, folder) in [
            ("minibatch=5, l2=1e-5", "minibatch=5,-l2=1e-5"),
            ("../../etc", "-..-etc"),
            ("averaged, R = 8", "averaged,-r-=-8"),
            ("model=a/b.toml", "model=a-b.toml"),
        ] {
            let case = Case { name: name.to_owned(), settings: Vec::new(), config: ConfigFile::default() };
            assert_eq!(case.folder(), folder);
        }
    }
}
