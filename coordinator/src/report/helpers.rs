//! Who helped, over all processes that trained a run: the account that the report shows.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::words::{bytes, counted, duration, percent};

/// Helpers that are remembered one by one. Whoever comes after them is only counted.
const HELPERS_MAX: usize = 1000;
/// Helpers that the report lists.
const LISTED_MAX: usize = 30;

/// What all helpers did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Helpers {
    /// Examples in results that counted.
    pub counted: u64,
    /// Examples in results that did not: somebody else was first, or it was a check.
    pub uncounted: u64,
    /// One by one, by a number that tells them apart.
    pub(super) helpers: BTreeMap<u64, Helper>,
    /// How many more there were.
    pub(super) more: u64,
}

/// What one helper did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Helper {
    /// Its browser or program.
    pub agent: String,
    /// The most cores that it lent at a time.
    pub cores: u16,
    /// Seconds in which it had work.
    pub seconds: f64,
    /// Examples in its results that counted.
    pub examples: u64,
    /// Bytes sent to it and received from it.
    pub bytes: u64,
}

impl Helpers {
    /// The number of the coordinator's own worker.
    pub const COORDINATOR: u64 = 0;

    /// Adds what a helper did, to what it did before if its number is known.
    pub fn add(&mut self, id: u64, helper: Helper) {
        if let Some(known) = self.helpers.get_mut(&id) {
            known.agent = helper.agent;
            known.cores = known.cores.max(helper.cores);
            known.seconds += helper.seconds;
            known.examples += helper.examples;
            known.bytes += helper.bytes;
        } else if self.helpers.len() < HELPERS_MAX {
            self.helpers.insert(id, helper);
        } else {
            self.more += 1;
        }
    }

    /// Heads and rows of a table, the most helpful first; `None` if the coordinator was alone.
    pub(super) fn table(&self) -> Option<([&'static str; 5], Vec<[String; 5]>)> {
        if self.helpers.keys().all(|&id| id == Self::COORDINATOR) {
            return None;
        }
        let mut helpers: Vec<(&u64, &Helper)> = self.helpers.iter().collect();
        helpers.sort_by_key(|(id, helper)| (Reverse(helper.examples), **id));
        let (listed, rest) = helpers.split_at(helpers.len().min(LISTED_MAX));
        let share = |examples: u64| percent(examples as f64 / self.counted.max(1) as f64);
        let mut rows: Vec<[String; 5]> = listed
            .iter()
            .map(|&(&id, helper)| {
                let name = if id == Self::COORDINATOR { "the coordinator itself" } else { &helper.agent };
                [
                    name.to_owned(),
                    helper.cores.to_string(),
                    duration(helper.seconds),
                    share(helper.examples),
                    bytes(helper.bytes),
                ]
            })
            .collect();
        let left = self.counted.saturating_sub(listed.iter().map(|(_, helper)| helper.examples).sum());
        if left > 0 {
            let more = rest.len() + self.more as usize;
            let name =
                if more > 0 { counted(more, "other") } else { "helpers who had left by then".to_owned() };
            rows.push([name, "–".to_owned(), "–".to_owned(), share(left), "–".to_owned()]);
        }
        Some((["helper", "cores", "computing", "share", "traffic"], rows))
    }

    /// How much was computed and did not count, in a sentence.
    pub(super) fn duplicates(&self) -> Option<String> {
        let all = self.counted + self.uncounted;
        (self.uncounted > 0).then(|| {
            format!(
                "{} of the work did not count, because somebody else was faster or because it checked what somebody \
                 else had computed.",
                percent(self.uncounted as f64 / all as f64)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helper(agent: u64, examples: u64) -> Helper {
        Helper { agent: format!("agent {agent}"), cores: 2, seconds: 3.0, examples, bytes: 1000 }
    }

    #[test]
    fn a_helper_that_comes_again_is_the_same_one() {
        let mut helpers = Helpers { counted: 100, ..Helpers::default() };
        helpers.add(7, helper(7, 10));
        helpers.add(7, Helper { cores: 1, ..helper(7, 15) });
        helpers.add(Helpers::COORDINATOR, helper(0, 70));
        let (_, rows) = helpers.table().unwrap();
        assert_eq!(rows[0], ["the coordinator itself", "2", "3.0 s", "70.00 %", "1.0 KB"]);
        assert_eq!(rows[1], ["agent 7", "2", "6.0 s", "25.00 %", "2.0 KB"]);
        assert_eq!(rows[2][0], "helpers who had left by then");
        assert_eq!((rows[2][3].as_str(), rows.len()), ("5.00 %", 3));
    }

    #[test]
    fn the_table_is_bounded_and_its_shares_add_up() {
        let mut helpers = Helpers::default();
        for id in 0..3 * HELPERS_MAX as u64 {
            helpers.add(id, helper(id, 1 + id % 5));
            helpers.counted += 1 + id % 5;
        }
        assert_eq!(helpers.helpers.len(), HELPERS_MAX);
        let (_, rows) = helpers.table().unwrap();
        assert_eq!(rows.len(), LISTED_MAX + 1);
        assert_eq!(rows[LISTED_MAX][0], "2,970 others");
        let shares = rows.iter().map(|row| row[3].trim_end_matches(" %").parse::<f64>().unwrap());
        assert!((shares.sum::<f64>() - 100.0).abs() < 0.5);
    }

    #[test]
    fn the_coordinator_alone_is_no_table() {
        let mut helpers = Helpers { counted: 5, ..Helpers::default() };
        helpers.add(Helpers::COORDINATOR, helper(0, 5));
        assert_eq!(helpers.table(), None);
        assert_eq!(helpers.duplicates(), None);
    }
}
