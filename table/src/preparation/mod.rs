//! What each column becomes: learned from the training rows alone, saved with the model, and applied to any
//! table with the same columns.
//!
//! A column of numbers is one input, standardized, with the training rows' median where the cell is missing
//! and, if any was missing in training, a second input that says so. A category is an input for each of its
//! values, one for the rare ones together and one for missing cells, as far as each occurred in training: an
//! input whose weights never learned would decide at random. A date is its days since 1970 and the turns of
//! year, week and day as points on a circle.

mod apply;
mod fit;

use serde::{Deserialize, Serialize};

pub use apply::{InputValues, Inputs, Stored};

use crate::{DateFormat, Kind, PixelScaling, error::ColumnPlace, limits, missing::MISSING_TEXTS};

/// The layout of a saved [`Preparation`].
pub const VERSION: u32 = 1;

/// Values of a category that have an input of their own.
pub const CATEGORY_VALUES_MAX: usize = 32;

/// Rarer values of a category that a preparation remembers, so that a value unseen in training is known as such.
pub const RARE_VALUES_MAX: usize = 1000;

/// How the columns of a data set become the inputs of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Preparation {
    /// [`VERSION`].
    pub version: u32,
    /// Number of columns in the training file, targets included; 0 for images.
    pub width: usize,
    /// Whether the columns have names.
    pub named: bool,
    /// Texts that meant a missing value, beside the usual ones.
    pub missing: Vec<String>,
    /// The input columns, in the training file's order.
    pub columns: Vec<PreparedColumn>,
    /// Images, which stand in place of columns.
    pub pixels: Option<PreparedPixels>,
    /// The target columns.
    pub labels: Vec<LabelColumn>,
    /// What is predicted.
    pub targets: TargetSchema,
}

/// An input column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PreparedColumn {
    /// The name; empty where it has none.
    pub name: String,
    /// Position in the training file, from 0.
    pub position: usize,
    /// What its cells are.
    pub kind: Kind,
    /// How its dates are written.
    pub date_format: Option<DateFormat>,
    /// The inputs that it becomes.
    pub becomes: Becomes,
}

/// The inputs that a column becomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Becomes {
    /// One input, and one for missing cells.
    Number {
        /// The number itself; `None` if it is the same in all training rows, so that only its absence
        /// tells.
        number: Option<Standardized>,
        /// Whether an input says that the cell was missing.
        missing: bool,
    },
    /// An input for each value.
    Category {
        /// The values, in order.
        values: Vec<String>,
        /// The other values that occurred in training; `None` if there were more than [`RARE_VALUES_MAX`].
        rare: Option<Vec<String>>,
        /// Whether an input stands for all other values.
        other: bool,
        /// Whether an input stands for missing cells.
        missing: bool,
    },
    /// Inputs for the parts of a date.
    Date {
        /// Days since 1970.
        days: Option<Standardized>,
        /// Two inputs each for the turns of the year, of the week and of the day.
        year: bool,
        /// The same.
        week: bool,
        /// The same.
        day: bool,
        /// Whether an input says that the cell was missing.
        missing: bool,
    },
}

/// A number on its way to an input: clipped at `low` and `high`, then `(x - shift) / unit` in 64 bits, which
/// is stored in 32 bits; volunteers subtract `offset` and multiply by `scale` in 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Standardized {
    /// The training rows' median, in the stored unit: the value of a missing cell.
    pub median: f64,
    /// 0, or the mean of a column whose values are too far from 0 for 32 bits to tell them apart.
    pub shift: f64,
    /// 1, or the deviation of such a column.
    pub unit: f64,
    /// Smaller values are clipped to this.
    pub low: Option<f64>,
    /// Larger values are clipped to this.
    pub high: Option<f64>,
    /// Mean of the stored values over the training rows (an f32).
    pub offset: f64,
    /// One by their deviation (an f32); 0 for a column that is the same in all training rows and was kept all
    /// the same.
    pub scale: f64,
}

impl Standardized {
    /// The stored value of a cell.
    fn store(&self, value: f64) -> f32 {
        if value.is_nan() {
            return f32::NAN;
        }
        // Not beyond f32, whatever a file to predict holds.
        (((self.clip(value) - self.shift) / self.unit) as f32).clamp(-STORED_MAX, STORED_MAX)
    }

    /// The value within the bounds.
    fn clip(&self, value: f64) -> f64 {
        let value = self.low.map_or(value, |low| value.max(low));
        self.high.map_or(value, |high| value.min(high))
    }

    /// Whether cells within the bounds are stored as they are.
    fn is_plain(&self) -> bool {
        self.shift == 0.0 && self.unit == 1.0
    }
}

/// Seconds of a day.
const DAY: f64 = 86_400.0;
/// The largest stored magnitude: the subtraction of a mean and the product with a scale stay finite.
const STORED_MAX: f32 = 1e30;

/// Images, or other examples whose values have no names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PreparedPixels {
    /// Shape of one example.
    pub shape: Vec<usize>,
    /// How its values are scaled.
    pub scaling: PixelScaling,
    /// Offsets and scales (f32 each): one each for all values, or one for each.
    pub offset: Vec<f64>,
    /// The same.
    pub scale: Vec<f64>,
}

/// A column to predict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LabelColumn {
    /// The name; empty where it has none.
    pub name: String,
    /// Position in the training file, from 0.
    pub position: usize,
    /// What its cells are.
    pub kind: Kind,
    /// How its dates are written.
    pub date_format: Option<DateFormat>,
}

/// What is predicted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSchema {
    /// Names of the classes, in id order.
    Classes(Vec<String>),
    /// Names of the number columns.
    Numbers(Vec<String>),
}

impl Preparation {
    /// Inputs of the network.
    pub fn inputs(&self) -> usize {
        match &self.pixels {
            Some(pixels) => pixels.shape.iter().product(),
            None => self.columns.iter().map(|column| column.becomes.inputs()).sum(),
        }
    }

    /// What is predicted as a person would call it, such as `price` or `column 5`; `None` for images, whose
    /// labels have no name.
    pub fn label_in_words(&self) -> Option<String> {
        const NAMED_MAX: usize = 3;
        let shown = |label: &LabelColumn| {
            if label.name.is_empty() { format!("column {}", label.position + 1) } else { label.name.clone() }
        };
        let names: Vec<String> = self.labels.iter().take(NAMED_MAX).map(shown).collect();
        match self.labels.len() {
            0 => None,
            count if count > NAMED_MAX => {
                Some(format!("{} and {} more", names.join(", "), count - NAMED_MAX))
            }
            _ => Some(names.join(", ")),
        }
    }

    /// Every text that stands for a missing cell, the usual ones first.
    pub fn missing_texts(&self) -> Vec<String> {
        let usual = MISSING_TEXTS.iter().map(|&text| text.to_owned());
        let mut texts: Vec<String> = usual.collect();
        for own in self.missing.iter().map(|text| text.trim()) {
            if !texts.iter().any(|text| text == own) {
                texts.push(own.to_owned());
            }
        }
        texts
    }

    /// The classes in id order; `None` when numbers are predicted.
    pub fn class_names(&self) -> Option<&[String]> {
        match &self.targets {
            TargetSchema::Classes(names) => Some(names),
            TargetSchema::Numbers(_) => None,
        }
    }

    /// A name for each input, such as `color=red`; for pixels their position.
    pub fn input_names(&self) -> Vec<String> {
        if self.pixels.is_some() {
            return (0..self.inputs()).map(|index| format!("value {}", index + 1)).collect();
        }
        self.columns.iter().flat_map(PreparedColumn::input_names).collect()
    }

    /// Where the value of each input stands in the training file, for messages: `column 2 (age)`.
    pub fn input_places(&self) -> Vec<String> {
        if self.pixels.is_some() {
            return self.input_names();
        }
        let places = |column: &PreparedColumn| vec![column.place().to_string(); column.becomes.inputs()];
        self.columns.iter().flat_map(places).collect()
    }

    /// Offset and scale of each input, as volunteers apply them to stored values: `(stored - offset) *
    /// scale`.
    pub fn standardization(&self) -> (Vec<f32>, Vec<f32>) {
        let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        if let Some(PreparedPixels { offset, scale, .. }) = &self.pixels {
            let each = |values: &[f64]| match values {
                [one] => vec![*one as f32; self.inputs()],
                values => narrow(values),
            };
            return (each(offset), each(scale));
        }
        let (mut offset, mut scale) = (Vec::new(), Vec::new());
        for column in &self.columns {
            let number = column.becomes.number();
            if let Some(number) = number {
                offset.push(number.offset as f32);
                scale.push(number.scale as f32);
            }
            for _ in usize::from(number.is_some())..column.becomes.inputs() {
                offset.push(0.0);
                scale.push(1.0);
            }
        }
        (offset, scale)
    }

    /// Whether the parts fit together, as they do unless a model file was tampered with; else what does not.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), &'static str> {
        let count = self.inputs();
        let targets = match &self.targets {
            TargetSchema::Classes(names) => {
                (1..=limits::CLASSES_MAX).contains(&names.len()) && self.labels.len() <= 1
            }
            TargetSchema::Numbers(names) => {
                (1..=limits::TARGETS_MAX).contains(&names.len()) && self.labels.len() == names.len()
            }
        };
        let within = |position: usize| position < self.width;
        let positions = self.columns.iter().all(|column| within(column.position))
            && self.labels.iter().all(|label| within(label.position));
        let finite =
            self.columns.iter().all(|column| column.becomes.number().is_none_or(Standardized::is_sound));
        let pixels = self.pixels.as_ref().is_none_or(|pixels| {
            let lengths =
                pixels.offset.len() == pixels.scale.len() && [1, count].contains(&pixels.offset.len());
            let all = pixels.offset.iter().chain(&pixels.scale);
            lengths && self.columns.is_empty() && all.into_iter().all(|&value| (value as f32).is_finite())
        });
        if self.version != VERSION {
            Err("the preparation has another version")
        } else if count == 0 || count > limits::COLUMNS_MAX {
            Err("the number of inputs is out of range")
        } else if !targets {
            Err("the number of targets is out of range")
        } else if !positions {
            Err("a column stands outside the file")
        } else if !finite || !pixels {
            Err("the standardization must be finite")
        } else {
            Ok(())
        }
    }
}

impl Standardized {
    fn is_sound(&self) -> bool {
        let cuts = [self.low, self.high].into_iter().flatten();
        let all = [self.median, self.shift, self.unit, self.offset, self.scale].into_iter().chain(cuts);
        let narrow = [self.median, self.offset, self.scale].iter().all(|&value| (value as f32).is_finite());
        all.into_iter().all(f64::is_finite) && narrow && self.unit > 0.0
    }
}

impl Becomes {
    /// Inputs that are made.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Number { number, missing } => usize::from(number.is_some()) + usize::from(*missing),
            Self::Category { values, other, missing, .. } => {
                values.len() + usize::from(*other) + usize::from(*missing)
            }
            Self::Date { days, year, week, day, missing } => {
                let turns = [year, week, day].into_iter().filter(|turn| **turn).count();
                usize::from(days.is_some()) + 2 * turns + usize::from(*missing)
            }
        }
    }

    /// The first input, where it is a number.
    fn number(&self) -> Option<&Standardized> {
        match self {
            Self::Number { number, .. } | Self::Date { days: number, .. } => number.as_ref(),
            Self::Category { .. } => None,
        }
    }
}

impl PreparedColumn {
    /// The name in messages.
    pub fn place(&self) -> ColumnPlace {
        ColumnPlace { index: self.position, name: (!self.name.is_empty()).then(|| self.name.clone()) }
    }

    fn input_names(&self) -> Vec<String> {
        let name =
            if self.name.is_empty() { format!("column {}", self.position + 1) } else { self.name.clone() };
        let mut names = Vec::with_capacity(self.becomes.inputs());
        let absent = match &self.becomes {
            Becomes::Number { number, missing } => {
                names.extend(number.map(|_| name.clone()));
                missing
            }
            Becomes::Category { values, other, missing, .. } => {
                names.extend(values.iter().map(|value| format!("{name}={value}")));
                names.extend(other.then(|| format!("{name}=(other)")));
                missing
            }
            Becomes::Date { days, year, week, day, missing } => {
                names.extend(days.map(|_| name.clone()));
                for (turn, part) in [(year, "year"), (week, "week"), (day, "day")] {
                    if *turn {
                        names.extend(["sine", "cosine"].map(|wave| format!("{name} ({part}, {wave})")));
                    }
                }
                missing
            }
        };
        names.extend(absent.then(|| format!("{name} (missing)")));
        names
    }
}
