//! What is to be predicted: which columns it stands in, whether it is classes or numbers, and the classes'
//! names.

use std::{collections::BTreeMap, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    TableError,
    column::{MISSING_CODE, Texts},
    csv::{number, read::Reading},
    date::DateFormat,
    error::{ColumnPlace, listed, quoted},
    kind::{Facts, Kind},
    limits,
};

/// What kind of target a model predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// One of several classes.
    Classes,
    /// Real numbers.
    Numbers,
}

impl FromStr for TaskKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "classes" => Ok(Self::Classes),
            "numbers" => Ok(Self::Numbers),
            _ => Err("the task must be classes or numbers"),
        }
    }
}

/// What is to be predicted, one entry (or row) an example.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// One of several classes.
    Classes {
        /// Class of each example, an index into `names`.
        ids: Vec<u16>,
        /// The classes as the user wrote them, in id order.
        names: Vec<String>,
    },
    /// One or more real numbers, in the user's units.
    Numbers {
        /// Row-major, shape `[examples, names.len()]`.
        values: Vec<f64>,
        /// Names of the columns.
        names: Vec<String>,
    },
}

impl Targets {
    /// Number of examples.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes { ids, .. } => ids.len(),
            Self::Numbers { values, names } => values.len() / names.len(),
        }
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Column names that are taken for the label when the user does not say which column it is.
const USUAL_LABEL_NAMES: [&str; 3] = ["label", "class", "target"];

/// The columns of a file, by name and by position.
pub(crate) struct Names<'a> {
    pub(crate) path: &'a Path,
    pub(crate) names: Option<&'a [String]>,
    pub(crate) width: usize,
}

impl Names<'_> {
    /// A column by its name, or by its index from 0, or from the end with -1 for the last.
    pub(crate) fn find(&self, flag: &'static str, wanted: &str) -> Result<usize, TableError> {
        if let Some(column) = self.names.and_then(|names| names.iter().position(|name| name == wanted)) {
            return Ok(column);
        }
        let wrong = |problem: String| match flag {
            "label" => TableError::Label { path: self.path.to_owned(), problem },
            flag => TableError::Flag { flag, problem },
        };
        let width = self.width as i64;
        match wanted.parse::<i64>() {
            Ok(index) if (0..width).contains(&index) => Ok(index as usize),
            Ok(index) if (-width..0).contains(&index) => Ok((index + width) as usize),
            Ok(index) => Err(wrong(format!(
                "there is no column {index}; counted from 0, the {width} columns are 0 to {}, or -1 for the last to -{width}",
                width - 1
            ))),
            Err(_) => {
                let wanted = quoted(wanted.as_bytes());
                Err(wrong(match self.names {
                    Some(names) => format!("there is no column {wanted}; the columns are {}", listed(names)),
                    None => format!(
                        "there is no column {wanted}, for the file has no header; give the column's index, from 0, or -1 \
                         for the last"
                    ),
                }))
            }
        }
    }

    /// The columns to predict, each once: those asked for, or the one with a usual name, or the last.
    pub(crate) fn labels(&self, wanted: &[String]) -> Result<Vec<usize>, TableError> {
        if wanted.len() > limits::TARGETS_MAX {
            let limit = limits::TARGETS_MAX as u64;
            return Err(TableError::TooLarge {
                path: self.path.to_owned(),
                what: "columns to predict",
                limit,
            });
        }
        let mut columns = Vec::with_capacity(wanted.len());
        for label in wanted {
            let column = self.find("label", label)?;
            if columns.contains(&column) {
                return Err(TableError::Label {
                    path: self.path.to_owned(),
                    problem: format!("the label {} is named twice; leave one out", quoted(label.as_bytes())),
                });
            }
            columns.push(column);
        }
        if columns.is_empty() {
            let usual = |name: &String| USUAL_LABEL_NAMES.contains(&name.to_ascii_lowercase().as_str());
            let names = self.names.unwrap_or_default();
            let mut named = (0..names.len()).filter(|&column| usual(&names[column]));
            columns.push(match (named.next(), named.next()) {
                (Some(column), None) => column,
                _ => self.width - 1,
            });
        }
        Ok(columns)
    }
}

/// How a label column is read: as text for classes, or as numbers. `several`: it is one of more, which are
/// numbers.
pub(crate) fn reading(
    path: &Path,
    place: &ColumnPlace,
    facts: &Facts,
    (kind, style, date): (Kind, number::Style, Option<DateFormat>),
    task: Option<TaskKind>,
    several: bool,
) -> Result<Reading, TableError> {
    let wrong = |problem: String| Err(TableError::Label { path: path.to_owned(), problem });
    let cell = |seen: Option<&crate::kind::Seen>| seen.map_or(String::new(), |seen| quoted(&seen.cell));
    if facts.present() == 0 {
        return wrong(format!("the label, {place}, has no value in any row; is it the right column?"));
    }
    if several && task == Some(TaskKind::Classes) {
        return wrong("several label columns can only be numbers, not classes; name one".to_owned());
    }
    let told = task.is_none();
    let task = match task {
        Some(task) => task,
        None if several => TaskKind::Numbers,
        None => match kind {
            Kind::Number if facts.texts > facts.styled => {
                let seen = facts.first_text.as_ref();
                return wrong(format!(
                    "the label {} on line {} is not a number, but nearly all others are; correct it, say --missing TEXT if \
                     it stands for a missing one, or --task classes if these are names",
                    cell(seen),
                    seen.map_or(0, |seen| seen.line + 1)
                ));
            }
            Kind::Number if facts.infinite.is_some() => {
                let seen = facts.infinite.as_ref();
                return wrong(format!(
                    "the label {} on line {} is not a finite number; correct it, or say --missing TEXT if it stands for a \
                     missing one",
                    cell(seen),
                    seen.map_or(0, |seen| seen.line + 1)
                ));
            }
            Kind::Number if facts.integers && style == number::Style::Plain => {
                let different = facts.distinct().at_least();
                let few = different <= limits::INFERRED_CLASSES_MAX && 2 * different <= facts.present();
                if few { TaskKind::Classes } else { TaskKind::Numbers }
            }
            Kind::Number => TaskKind::Numbers,
            Kind::Date => {
                return wrong(format!(
                    "the labels, such as {}, are dates; say --task numbers to predict the time since 1970 in seconds, or \
                     --task classes if each is a name",
                    cell(facts.first_text.as_ref())
                ));
            }
            Kind::Boolean | Kind::Category | Kind::Text => TaskKind::Classes,
        },
    };
    Ok(match (task, kind) {
        // Nobody said that they are classes, so each value is one.
        (TaskKind::Classes, Kind::Number) if told && facts.integers => Reading::Integers,
        (TaskKind::Classes, _) => Reading::Texts,
        (TaskKind::Numbers, Kind::Boolean) => Reading::Booleans,
        (TaskKind::Numbers, Kind::Date) => Reading::Dates(date.unwrap_or(DateFormat::ISO)),
        // The first cell that is none is an error with its place.
        (TaskKind::Numbers, _) => Reading::Numbers(style),
    })
}

/// The classes that occur among some labels, in id order: as the file's first line names them; else by value
/// where all are integers; else by text. Where it was told from their values that integers are classes, each
/// value is one class, however it is written; where the user said so, each text is.
pub(crate) fn classes(path: &Path, labels: &Texts, merge: bool) -> Result<Vec<String>, TableError> {
    let counts = labels.counts(0..labels.len());
    let occurring: Vec<&String> =
        labels.texts().iter().zip(&counts).filter(|(_, count)| **count > 0).map(|(text, _)| text).collect();
    let mut names: Vec<(Option<i64>, String)> = occurring
        .iter()
        .map(|text| {
            let canonical = canonical(text);
            let integer = canonical.parse().ok();
            (integer, if merge && integer.is_some() { canonical } else { (*text).clone() })
        })
        .collect();
    if names.iter().any(|(integer, _)| integer.is_none()) {
        names.iter_mut().for_each(|(integer, _)| *integer = None);
    }
    names.sort();
    names.dedup();
    let names: Vec<String> = names.into_iter().map(|(_, name)| name).collect();
    if names.len() < 2 {
        return Err(TableError::Label {
            path: path.to_owned(),
            problem: format!(
                "every label is {}; there is nothing to learn (is it the right column?)",
                quoted(names.first().map_or("", String::as_str).as_bytes())
            ),
        });
    }
    if names.len() > limits::CLASSES_MAX {
        return Err(TableError::TooManyClasses { path: path.to_owned() });
    }
    Ok(names)
}

/// The id of every label among `names`; `None` where the label is missing.
pub(crate) fn class_ids(
    path: &Path,
    labels: &Texts,
    names: &[String],
) -> Result<Vec<Option<u16>>, TableError> {
    let id_of_name: BTreeMap<&str, u16> = names.iter().map(String::as_str).zip(0..=u16::MAX).collect();
    let mut id_of_value: BTreeMap<String, u16> = BTreeMap::new();
    for (name, id) in names.iter().zip(0..=u16::MAX) {
        id_of_value.entry(canonical(name)).or_insert(id);
    }
    let used = labels.counts(0..labels.len());
    let mut class_of_code = Vec::with_capacity(used.len());
    for (code, text) in labels.texts().iter().enumerate() {
        let class = id_of_name.get(text.as_str()).or_else(|| id_of_value.get(&canonical(text)));
        if class.is_none() && used[code] > 0 {
            let line = match labels.first_line(code) {
                0 => String::new(),
                line => format!(" on line {line}"),
            };
            return Err(TableError::Mismatch {
                path: path.to_owned(),
                problem: format!(
                    "the label {}{line} is not a class of the training data, which are {}; correct it or leave it out",
                    quoted(text.as_bytes()),
                    listed(names)
                ),
            });
        }
        class_of_code.push(class.copied());
    }
    let id = |&code: &u32| if code == MISSING_CODE { None } else { class_of_code[code as usize] };
    Ok(labels.codes().iter().map(id).collect())
}

/// One way to write an integer, so that 1, 01 and 1.0 are one class. Other text is left alone.
fn canonical(text: &str) -> String {
    const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0; // 2^53
    if let Ok(integer) = text.parse::<i64>() {
        return integer.to_string();
    }
    match number::whole(text.as_bytes()).map(|scanned| scanned.value) {
        Some(value) if value.fract() == 0.0 && value.abs() < EXACT_INTEGERS => (value as i64).to_string(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(labels: &[&str]) -> Texts {
        let mut texts: Vec<String> = Vec::new();
        let mut lines = Vec::new();
        let codes = labels
            .iter()
            .zip(2..)
            .map(|(label, line)| match texts.iter().position(|text| text == label) {
                _ if label.is_empty() => MISSING_CODE,
                Some(at) => at as u32,
                None => {
                    texts.push((*label).to_owned());
                    lines.push(line);
                    texts.len() as u32 - 1
                }
            })
            .collect();
        Texts::new(codes, texts, lines)
    }

    #[test]
    fn integers_are_sorted_as_numbers_and_are_one_class_unless_the_user_says_otherwise() {
        let labels = texts(&["10", "9", "10.0", "09"]);
        let names = classes(Path::new("a"), &labels, true).unwrap();
        assert_eq!(names, ["9", "10"]);
        assert_eq!(class_ids(Path::new("a"), &labels, &names).unwrap(), [Some(1), Some(0), Some(1), Some(0)]);
        let names = classes(Path::new("a"), &texts(&["007", "7"]), false).unwrap();
        assert_eq!(names, ["007", "7"]);
        let large = texts(&["16777217", "16777216"]);
        assert_eq!(classes(Path::new("a"), &large, true).unwrap(), ["16777216", "16777217"]);
    }

    #[test]
    fn a_label_that_is_missing_has_no_class_and_an_unknown_one_is_an_error() {
        let names = ["a".to_owned(), "1".to_owned()];
        assert_eq!(
            class_ids(Path::new("f"), &texts(&["a", "", "1.0"]), &names).unwrap(),
            [Some(0), None, Some(1)]
        );
        let message = class_ids(Path::new("f"), &texts(&["a", "b"]), &names).unwrap_err().to_string();
        assert!(message.contains("the label \"b\" on line 3 is not a class"), "{message}");
    }
}
