//! The output layer of a classifier: a class begins with the weights that the source has for a class of its name.
//!
//! Two trainings may have as many classes and other ones. By position alone, a network that knows the digits 0 to
//! 4 would call its 0 a 5.

use std::collections::{HashMap, HashSet};

use model::Network;

use super::listed;
use super::named::Named;
use crate::report::words::bounded;

/// Characters of a class's name in a sentence.
const NAME_CHARACTERS: usize = 40;

/// The classes of a training, and those of a source.
pub(super) struct Classes<'a> {
    pub(super) ours: &'a [String],
    pub(super) theirs: &'a [String],
}

impl Classes<'_> {
    /// Writes to the output layer what the source has for its classes. Returns the number of classes that it has,
    /// and sentences about the others; `None` if the classes are the same, or if the source's output layer is not
    /// for theirs.
    pub(super) fn fill(
        &self,
        named: &mut Named<'_>,
        network: &Network,
        weights: &mut [f32],
        source: &str,
    ) -> Option<(usize, Vec<String>)> {
        if self.ours == self.theirs {
            return None;
        }
        let position: HashMap<&str, usize> =
            self.theirs.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let sources: Vec<Option<usize>> =
            self.ours.iter().map(|name| position.get(name.as_str()).copied()).collect();
        if !named.fill_outputs(network, weights, &sources, self.theirs.len()) {
            return None;
        }
        let found = sources.iter().flatten().count();
        let ours: HashSet<&String> = self.ours.iter().collect();
        let new = shown(self.ours.iter().filter(|name| !position.contains_key(name.as_str())));
        let gone = shown(self.theirs.iter().filter(|name| !ours.contains(name)));
        let mut notes = Vec::new();
        if found == 0 {
            notes.push(format!(
                "{source} has other classes ({}), so the output layer starts at random",
                listed(&gone)
            ));
            return Some((0, notes));
        }
        if !new.is_empty() {
            let its = if new.len() == 1 { "its" } else { "their" };
            notes.push(format!(
                "{source} does not have {}: {its} output weights start at random",
                classes(&new)
            ));
        }
        if !gone.is_empty() {
            notes.push(format!("the data do not have {} of {source}", classes(&gone)));
        }
        Some((found, notes))
    }
}

/// Names as a sentence may have them.
pub(super) fn shown<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    names.into_iter().map(|name| bounded(name, NAME_CHARACTERS)).collect()
}

/// `the class a`, `the classes a and b`.
fn classes(names: &[String]) -> String {
    format!("the class{} {}", if names.len() == 1 { "" } else { "es" }, listed(names))
}
