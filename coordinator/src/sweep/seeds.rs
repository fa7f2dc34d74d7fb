//! The seeds of a sweep. Every case runs with each of them.

use std::str::FromStr;

/// Most seeds of a sweep.
const SEEDS_MAX: u64 = 100;
/// The default number of seeds: the fewest for which one deviating run cannot decide the median.
const DEFAULT: u64 = 3;

/// Seeds, in the order of the runs; each once, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds(Vec<u64>);

impl Seeds {
    /// A single seed.
    pub fn one(seed: u64) -> Self {
        Self(vec![seed])
    }

    /// The seeds.
    pub fn as_slice(&self) -> &[u64] {
        &self.0
    }
}

impl Default for Seeds {
    fn default() -> Self {
        Self((1..=DEFAULT).collect())
    }
}

impl FromStr for Seeds {
    type Err = String;

    /// `3` for the seeds 1, 2 and 3, or a list such as `4,7`.
    fn from_str(text: &str) -> Result<Self, String> {
        let problem =
            || format!("give a number of seeds from 1 to {SEEDS_MAX}, or a list of seeds such as 4,7");
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| problem());
        if !text.contains(',') {
            return match number(text)? {
                count if (1..=SEEDS_MAX).contains(&count) => Ok(Self((1..=count).collect())),
                _ => Err(problem()),
            };
        }
        // A comma after it makes a single number a list of one seed.
        let list = text.trim().trim_end_matches(',');
        let seeds = list.split(',').map(number).collect::<Result<Vec<_>, _>>()?;
        if seeds.len() as u64 > SEEDS_MAX {
            return Err(problem());
        }
        match (1..seeds.len()).find(|&index| seeds[..index].contains(&seeds[index])) {
            Some(index) => Err(format!("the seed {} is given twice", seeds[index])),
            None => Ok(Self(seeds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_number_of_them_or_a_list() {
        let seeds = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.0);
        assert_eq!(seeds("3").unwrap(), [1, 2, 3]);
        assert_eq!(seeds("4, 7").unwrap(), [4, 7]);
        assert_eq!(seeds("9,").unwrap(), [9]);
        for text in ["0", "101", "", ",", "some", "1,-2", "1,,2"] {
            assert!(seeds(text).unwrap_err().contains("such as 4,7"), "{text}");
        }
        assert_eq!(seeds("1,2,1").unwrap_err(), "the seed 1 is given twice");
    }
}
