//! How many examples of each class lie in each shard of the training set.

use protocol::plan::SetPlan;

use crate::data::Prepared;
use crate::operator::Coverage;

/// Classes that are told apart. Of more, or of none, all examples count together.
const CLASSES_MAX: usize = 50;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Census {
    classes: Vec<String>,
    /// Of each shard: classes and how many examples of each.
    shards: Vec<Vec<(usize, u64)>>,
}

impl Census {
    /// Counts the training examples.
    pub(super) fn of(data: &Prepared, training: &SetPlan) -> Census {
        let names = data.class_names().filter(|names| names.len() <= CLASSES_MAX);
        let shards = (0..training.shards.len() as u32).map(|shard| {
            let counted = names.and_then(|names| data.train.classes_in_shard(training, shard, names.len()));
            counted.unwrap_or_else(|| vec![(0, training.examples_in_shard(shard).len() as u64)])
        });
        let shards = shards.collect();
        Census { classes: names.map_or_else(|| vec![String::new()], <[String]>::to_vec), shards }
    }

    /// All classes with their examples, none of which anybody holds.
    pub(super) fn nothing_held(&self) -> Vec<Coverage> {
        let class = |class: &String| Coverage { class: class.clone(), examples: 0, held: 0 };
        let mut coverage: Vec<Coverage> = self.classes.iter().map(class).collect();
        for (class, count) in self.shards.iter().flatten() {
            coverage[*class].examples += count;
        }
        coverage
    }

    /// Somebody holds a shard.
    pub(super) fn hold(&self, coverage: &mut [Coverage], shard: usize) {
        for (class, count) in self.shards.get(shard).into_iter().flatten() {
            coverage[*class].held += count;
        }
    }
}
