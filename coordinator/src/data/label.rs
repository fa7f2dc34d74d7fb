//! The label column of a CSV file: collected as text and as numbers at once, then taken for what it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    DataError, TargetColumn, TaskKind,
    csv_file::{Place, number, utf8},
    error::quoted,
    limits,
};

/// One label column while it is read.
#[derive(Default)]
pub(super) struct LabelColumn {
    rows: usize,
    texts: Texts,
    /// Stops growing at the first cell that is not a number.
    numbers: Vec<f32>,
    first_text: Option<(u64, String)>,
    first_fraction: Option<u64>,
    /// What the integers 0, 1, ... stand for, where the file's first line says so.
    class_names: Option<Vec<String>>,
}

/// The different texts seen, each with an id in order of appearance; given up when there are too many for classes.
#[derive(Default)]
struct Texts {
    ids: Vec<u32>,
    id_of_text: BTreeMap<String, u32>,
    first_lines: Vec<u64>,
    too_many: bool,
}

impl LabelColumn {
    /// An empty column; `class_names` are what its integers 0, 1, ... stand for, where the file says so.
    pub(super) fn new(class_names: Option<Vec<String>>) -> Self {
        Self { class_names, ..Self::default() }
    }

    /// Takes the next cell.
    pub(super) fn push(&mut self, cell: &[u8], place: &Place<'_>) -> Result<(), DataError> {
        if cell.is_empty() {
            return Err(place.error("the label is missing; fill it in or remove the row".to_owned()));
        }
        self.rows += 1;
        if let Some(names) = &self.class_names {
            let index = std::str::from_utf8(cell).ok().and_then(|text| text.parse::<usize>().ok());
            let Some(name) = index.and_then(|index| names.get(index)) else {
                return Err(place.error(format!(
                    "the label {} is not one of 0 to {}, for which the first line has names",
                    quoted(cell),
                    names.len() - 1
                )));
            };
            self.first_text.get_or_insert((place.line, name.clone()));
            self.texts.push(name, place.line);
            return Ok(());
        }
        let text = utf8(cell).map_err(|problem| place.error(problem))?;
        match number(cell) {
            Ok(value) => {
                if value.fract() != 0.0 {
                    self.first_fraction.get_or_insert(place.line);
                }
                if self.first_text.is_none() {
                    self.numbers.push(value);
                }
            }
            Err(_) => {
                self.first_text.get_or_insert((place.line, quoted(cell)));
            }
        }
        self.texts.push(text, place.line);
        Ok(())
    }

    /// Takes the column for classes or numbers, as asked or by the rule of [`super::LoadOptions::task`].
    pub(super) fn into_targets(
        self,
        path: &Path,
        name: String,
        task: Option<TaskKind>,
    ) -> Result<TargetColumn, DataError> {
        if let (None, Some((line, text)), Some(fraction_line)) = (task, &self.first_text, self.first_fraction)
        {
            return Err(DataError::Label {
                path: path.to_owned(),
                problem: format!(
                    "the label {text} on line {line} is not a number, but the one on line {fraction_line} is; correct \
                     it, or ask for classes if these are names"
                ),
            });
        }
        match task.unwrap_or(self.inferred()) {
            TaskKind::Classes => self.into_classes(path),
            TaskKind::Numbers => {
                let values = self.into_numbers(path)?;
                Ok(TargetColumn::Numbers { values, names: vec![name] })
            }
        }
    }

    fn inferred(&self) -> TaskKind {
        let different = self.texts.first_lines.len();
        let few =
            !self.texts.too_many && different <= limits::MAX_INFERRED_CLASSES && 2 * different <= self.rows;
        let integers = self.first_fraction.is_none();
        if self.first_text.is_some() || (integers && few) { TaskKind::Classes } else { TaskKind::Numbers }
    }

    /// Classes in the order of the file's first line; else by value where all are integers; else by text.
    fn into_classes(self, path: &Path) -> Result<TargetColumn, DataError> {
        if self.texts.too_many {
            return Err(DataError::TooManyClasses { path: path.to_owned() });
        }
        let integers = self.first_text.is_none() && self.first_fraction.is_none();
        let names = match &self.class_names {
            Some(names) => names.clone(),
            None if integers => {
                let texts: BTreeSet<(Option<i64>, String)> = self
                    .texts
                    .id_of_text
                    .keys()
                    .map(|text| canonical(text))
                    .map(|text| (text.parse().ok(), text))
                    .collect();
                texts.into_iter().map(|(_, text)| text).collect()
            }
            None => self.texts.id_of_text.keys().cloned().collect(),
        };
        if names.len() < 2 {
            return Err(DataError::Label {
                path: path.to_owned(),
                problem: format!(
                    "every label is {}; there is nothing to learn (is it the right column?)",
                    quoted(names.first().map_or("", String::as_str).as_bytes())
                ),
            });
        }
        let ids = self.class_ids(path, &names)?;
        Ok(TargetColumn::Classes { ids, names })
    }

    /// The id of every label among `names`, the classes of a model.
    pub(super) fn class_ids(&self, path: &Path, names: &[String]) -> Result<Vec<u16>, DataError> {
        let id_of_name: BTreeMap<&str, u16> = names.iter().map(String::as_str).zip(0..=u16::MAX).collect();
        let mut class_of_text = vec![0; self.texts.first_lines.len()];
        let mut unknown: Option<(u64, &str)> = None;
        for (text, &id) in &self.texts.id_of_text {
            let class = id_of_name.get(text.as_str()).or_else(|| id_of_name.get(canonical(text).as_str()));
            match class {
                Some(&class) => class_of_text[id as usize] = class,
                None => {
                    let line = self.texts.first_lines[id as usize];
                    if unknown.is_none_or(|(earliest, _)| line < earliest) {
                        unknown = Some((line, text));
                    }
                }
            }
        }
        if let Some((line, text)) = unknown {
            return Err(DataError::Mismatch {
                path: path.to_owned(),
                problem: format!(
                    "the label {} on line {line} is not a class of the training data",
                    quoted(text.as_bytes())
                ),
            });
        }
        if self.texts.too_many {
            return Err(DataError::TooManyClasses { path: path.to_owned() });
        }
        Ok(self.texts.ids.iter().map(|&id| class_of_text[id as usize]).collect())
    }

    /// Every label as a number.
    pub(super) fn into_numbers(self, path: &Path) -> Result<Vec<f32>, DataError> {
        match self.first_text {
            None => Ok(self.numbers),
            Some((line, text)) => Err(DataError::Label {
                path: path.to_owned(),
                problem: format!("the label {text} on line {line} is not a number"),
            }),
        }
    }
}

impl Texts {
    fn push(&mut self, text: &str, line: u64) {
        if self.too_many {
            return;
        }
        let id = match self.id_of_text.get(text) {
            Some(&id) => id,
            None if self.first_lines.len() == limits::MAX_CLASSES => {
                *self = Self { too_many: true, ..Self::default() };
                return;
            }
            None => {
                let id = self.first_lines.len() as u32;
                self.id_of_text.insert(text.to_owned(), id);
                self.first_lines.push(line);
                id
            }
        };
        self.ids.push(id);
    }
}

/// One way to write an integer, so that 1, 01 and 1.0 are one class. Other text is left alone.
fn canonical(text: &str) -> String {
    const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0; // 2^53
    if let Ok(integer) = text.parse::<i64>() {
        return integer.to_string();
    }
    match text.parse::<f64>() {
        Ok(value) if value.fract() == 0.0 && value.abs() < EXACT_INTEGERS => (value as i64).to_string(),
        _ => text.to_owned(),
    }
}
