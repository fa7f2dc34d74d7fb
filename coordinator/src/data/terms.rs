//! A [`Preparation`] in the terms of the crate `model`, which knows no columns or names.

use model::{Preprocessing, Task};
use table::{Preparation, TargetSchema};

/// What a network predicts that is trained on data of this preparation.
pub fn task_of(preparation: &Preparation) -> Task {
    // The readers keep both counts far below u32 (`table::limits`), and a model file is checked when it is
    // loaded.
    let count = |names: &[String]| u32::try_from(names.len()).unwrap_or(u32::MAX);
    match &preparation.targets {
        TargetSchema::Classes(names) => Task::Classes(count(names)),
        TargetSchema::Numbers(names) => Task::Numbers(count(names)),
    }
}

/// The preprocessing that volunteers apply to stored values.
pub fn preprocessing_of(preparation: &Preparation) -> Preprocessing {
    let (offset, scale) = preparation.standardization();
    Preprocessing { offset, scale }
}
