//! The examples of one set, wherever they are: in memory, in columns beside it, or in shards.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use model::{Rows, Targets, Task};
use protocol::plan::SetPlan;
use table::{Preparation, Stored};

use super::{DataError, ExampleTable, FeatureRows, TargetValues, cabinet::Cabinet};

/// See the module's description.
#[derive(Clone, Debug)]
pub enum Examples {
    /// In memory.
    Memory(ExampleTable),
    /// Prepared column by column, and not cut yet.
    Columns(ColumnExamples),
    /// In shards.
    Shards(ShardExamples),
}

/// Examples in columns outside of memory, in the set's order.
#[derive(Clone, Debug)]
pub struct ColumnExamples {
    pub(super) stored: Arc<Stored>,
    pub(super) preparation: Arc<Preparation>,
    pub(super) as_bytes: bool,
    /// The first row among the stored ones.
    pub(super) first: usize,
    /// The targets, which stay in memory.
    pub(super) targets: TargetValues,
}

/// Examples that are read from shards when they are needed.
#[derive(Clone, Debug)]
pub struct ShardExamples {
    pub(super) cabinet: Arc<Cabinet>,
    pub(super) plan: SetPlan,
    pub(super) columns: usize,
    pub(super) task: Task,
    /// Of each shard: classes and how many examples of each; empty where numbers are predicted.
    pub(super) classes: Vec<Vec<(u16, u32)>>,
}

/// Some examples of a set, in memory.
#[derive(Debug)]
pub struct Piece<'a> {
    table: Cow<'a, ExampleTable>,
    range: Range<usize>,
}

impl Examples {
    /// Number of examples.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(table) => table.len(),
            Self::Columns(columns) => columns.targets.len(),
            Self::Shards(shards) => shards.plan.examples as usize,
        }
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Inputs of an example.
    pub fn columns(&self) -> usize {
        match self {
            Self::Memory(table) => table.features().columns(),
            Self::Columns(columns) => columns.preparation.inputs(),
            Self::Shards(shards) => shards.columns,
        }
    }

    /// The examples, if memory holds all of them.
    pub fn in_memory(&self) -> Option<&ExampleTable> {
        match self {
            Self::Memory(table) => Some(table),
            _ => None,
        }
    }

    /// All examples in memory, if they are there or take at most so many bytes there.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn within(&self, bytes_max: usize) -> Result<Option<Cow<'_, ExampleTable>>, DataError> {
        // Four bytes for each value are the most that a piece takes.
        let fits = self.len().saturating_mul(4 * self.columns()) <= bytes_max;
        match self {
            Self::Memory(table) => Ok(Some(Cow::Borrowed(table))),
            _ if fits => Ok(Some(self.piece(0..self.len())?.table)),
            _ => Ok(None),
        }
    }

    /// The examples of a range. Panics on a range outside of the set.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn piece(&self, range: Range<usize>) -> Result<Piece<'_>, DataError> {
        assert!(range.start <= range.end && range.end <= self.len(), "examples of the set");
        let rows = 0..range.len();
        let table = match self {
            Self::Memory(table) => return Ok(Piece { table: Cow::Borrowed(table), range }),
            Self::Columns(columns) => columns.read(range)?,
            Self::Shards(shards) => shards.read(range)?,
        };
        Ok(Piece { table: Cow::Owned(table), range: rows })
    }

    /// Shows all examples in order, those outside of memory in pieces of about so many bytes: a table, and their numbers in
    /// it.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn each_piece(
        &self,
        bytes: usize,
        mut see: impl FnMut(&ExampleTable, Range<usize>),
    ) -> Result<(), DataError> {
        let step = match self {
            Self::Memory(_) => self.len(),
            _ => bytes / (4 * self.columns().max(1)),
        };
        for first in (0..self.len()).step_by(step.max(1)) {
            let piece = self.piece(first..self.len().min(first.saturating_add(step.max(1))))?;
            let (table, range) = piece.of();
            see(table, range);
        }
        Ok(())
    }

    /// How many examples of each of so many classes there are; `None` where numbers are predicted.
    pub fn class_counts(&self, classes: usize) -> Option<Vec<u64>> {
        let mut counts = vec![0; classes];
        match self {
            Self::Memory(table) => count(table.target_values(), 0..self.len(), &mut counts)?,
            Self::Columns(columns) => count(&columns.targets, 0..self.len(), &mut counts)?,
            Self::Shards(shards) => {
                for &(class, examples) in shards.counted()?.iter().flatten() {
                    counts[usize::from(class)] += u64::from(examples);
                }
            }
        }
        Some(counts)
    }

    /// The same of one shard of `plan`, as classes and how many examples of each there are.
    pub(crate) fn classes_in_shard(
        &self,
        plan: &SetPlan,
        shard: u32,
        classes: usize,
    ) -> Option<Vec<(usize, u64)>> {
        let range = plan.examples_in_shard(shard);
        let range = range.start as usize..range.end as usize;
        let mut counts = vec![0; classes];
        match self {
            Self::Memory(table) => count(table.target_values(), range, &mut counts)?,
            Self::Columns(columns) => count(&columns.targets, range, &mut counts)?,
            Self::Shards(shards) => {
                let counted = shards.counted()?.get(shard as usize)?;
                return Some(
                    counted.iter().map(|&(class, examples)| (class.into(), examples.into())).collect(),
                );
            }
        }
        Some(counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect())
    }
}

/// Counts the classes of some examples.
fn count(targets: &TargetValues, range: Range<usize>, counts: &mut [u64]) -> Option<()> {
    let TargetValues::Classes(ids) = targets else { return None };
    ids[range].iter().for_each(|id| counts[usize::from(*id)] += 1);
    Some(())
}

impl ColumnExamples {
    fn read(&self, range: Range<usize>) -> Result<ExampleTable, DataError> {
        let rows = self.first + range.start..self.first + range.end;
        let features = self.stored.piece(&self.preparation, rows, self.as_bytes)?;
        Ok(ExampleTable::of_values(features.into(), self.targets.part(range)))
    }
}

impl ShardExamples {
    fn counted(&self) -> Option<&[Vec<(u16, u32)>]> {
        matches!(self.task, Task::Classes(_)).then_some(&self.classes)
    }

    fn read(&self, range: Range<usize>) -> Result<ExampleTable, DataError> {
        let each = self.plan.examples_per_unit as usize * self.plan.units_per_shard as usize;
        let mut parts = Vec::new();
        let mut next = range.start;
        while next < range.end {
            let shard = next / each.max(1);
            let first = shard * each;
            let end = range.end.min(first + each);
            let bytes = self.cabinet.read(&self.plan.shards[shard].hash)?;
            parts.push(ExampleTable::of_shard(&bytes, self.columns, self.task, next - first..end - first)?);
            next = end;
        }
        ExampleTable::joined(parts).ok_or(DataError::NoExamples)
    }

    /// How the set is cut.
    pub fn plan(&self) -> &SetPlan {
        &self.plan
    }
}

impl Piece<'_> {
    /// The raw features, shape `[examples, features]`.
    pub fn rows(&self) -> Rows<'_> {
        self.table.rows(self.range.clone())
    }

    /// The targets.
    pub fn targets(&self) -> Targets<'_> {
        self.table.targets(self.range.clone())
    }

    /// A table that has the examples among others, and their numbers in it.
    pub fn of(&self) -> (&ExampleTable, Range<usize>) {
        (&self.table, self.range.clone())
    }
}

impl TargetValues {
    /// Number of examples.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(ids) => ids.len(),
            Self::Numbers { values, columns } => values.len() / columns,
        }
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The targets of a range of examples.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        match self {
            Self::Classes(ids) => Self::Classes(ids[range].to_vec()),
            Self::Numbers { values, columns } => Self::Numbers {
                values: values[range.start * columns..range.end * columns].to_vec(),
                columns: *columns,
            },
        }
    }

    fn append(&mut self, more: Self) -> bool {
        match (self, more) {
            (Self::Classes(ids), Self::Classes(more)) => ids.extend(more),
            (Self::Numbers { values, .. }, Self::Numbers { values: more, .. }) => values.extend(more),
            _ => return false,
        }
        true
    }
}

impl ExampleTable {
    /// Some examples of a shard.
    fn of_shard(bytes: &[u8], columns: usize, task: Task, range: Range<usize>) -> Result<Self, DataError> {
        use table::InputValues;
        let shard = protocol::shard::Shard::decode(bytes, columns, task).map_err(DataError::Shard)?;
        let identity = model::Preprocessing::identity(columns);
        let examples = shard.slice(range, &identity).ok_or(DataError::NoExamples)?;
        let features = match examples.features.rows {
            Rows::U8(rows) => InputValues::U8(rows.iter().copied().collect()),
            Rows::F32(rows) => InputValues::F32(rows.iter().copied().collect()),
        };
        let targets = match examples.targets {
            Targets::Classes(ids) => TargetValues::Classes(ids.to_vec()),
            Targets::Numbers(values) => {
                TargetValues::Numbers { values: values.iter().copied().collect(), columns: values.ncols() }
            }
        };
        Ok(Self::of_values(FeatureRows::new(columns, features), targets))
    }

    /// Tables of the same kind, one after the other; `None` if there is none, or they are of several kinds.
    fn joined(parts: Vec<Self>) -> Option<Self> {
        use table::InputValues;
        let mut parts = parts.into_iter();
        let (features, mut targets) = parts.next()?.into_values();
        let columns = features.columns();
        let mut values = features.into_values();
        for part in parts {
            let (features, more) = part.into_values();
            match (&mut values, features.into_values()) {
                (InputValues::U8(values), InputValues::U8(more)) => values.extend(more),
                (InputValues::F32(values), InputValues::F32(more)) => values.extend(more),
                _ => return None,
            }
            if !targets.append(more) {
                return None;
            }
        }
        Some(Self::of_values(FeatureRows::new(columns, values), targets))
    }
}
