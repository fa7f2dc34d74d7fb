//! Sets of units. Units of a round mostly lie side by side, so a set is a few ranges, however many units it has.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of a round's units, as ranges that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Units {
    /// The end of each range, by its start.
    ranges: BTreeMap<u32, u32>,
    count: u32,
}

impl Units {
    /// How many units there are.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The units as ranges, in increasing order, neither empty nor touching.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u32>> {
        self.ranges.iter().map(|(start, end)| *start..*end)
    }

    /// The units one by one, in increasing order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.ranges().flatten()
    }

    /// Whether a unit is among them.
    pub fn contains(&self, unit: u32) -> bool {
        self.range_before(unit).is_some_and(|range| range.contains(&unit))
    }

    /// Whether all of these units are among them.
    pub fn contains_all(&self, units: &[Range<u32>]) -> bool {
        let is_inside = |units: &Range<u32>| {
            units.is_empty() || self.range_before(units.start).is_some_and(|range| units.end <= range.end)
        };
        units.iter().all(is_inside)
    }

    /// Adds units. Answers with how many of them are new.
    pub fn insert(&mut self, units: Range<u32>) -> u32 {
        if units.is_empty() {
            return 0;
        }
        let before = self.count;
        let mut whole = units;
        // A range that begins before these units and reaches them, then all that begin inside or right behind them.
        let reaching = self.range_before(whole.start).filter(|range| range.end >= whole.start);
        let inside = self.ranges.range(whole.start..=whole.end).map(|(start, end)| *start..*end);
        let absorbed: Vec<Range<u32>> = reaching.into_iter().chain(inside).collect();
        for range in absorbed {
            if self.ranges.remove(&range.start).is_some() {
                self.count -= range.end - range.start;
                whole = whole.start.min(range.start)..whole.end.max(range.end);
            }
        }
        self.count += whole.end - whole.start;
        self.ranges.insert(whole.start, whole.end);
        self.count - before
    }

    /// Removes units. Answers with how many of them were there.
    pub fn remove(&mut self, units: Range<u32>) -> u32 {
        if units.is_empty() {
            return 0;
        }
        let before = self.count;
        let reaching = self.range_before(units.start).filter(|range| range.end > units.start);
        let inside = self.ranges.range(units.clone()).map(|(start, end)| *start..*end);
        let touched: Vec<Range<u32>> = reaching.into_iter().chain(inside).collect();
        for range in touched {
            if self.ranges.remove(&range.start).is_none() {
                continue;
            }
            self.count -= range.end - range.start;
            for rest in [range.start..units.start.min(range.end), units.end.max(range.start)..range.end] {
                if !rest.is_empty() {
                    self.count += rest.end - rest.start;
                    self.ranges.insert(rest.start, rest.end);
                }
            }
        }
        before - self.count
    }

    /// Takes out the first units, no more than `most` in no more than `ranges_max` ranges.
    pub fn take(&mut self, most: u32, ranges_max: usize) -> Vec<Range<u32>> {
        let mut taken = Vec::new();
        let mut left = most;
        while let Some((&start, &end)) = self.ranges.first_key_value().filter(|_| left > 0) {
            if taken.len() == ranges_max {
                break;
            }
            let cut = end.min(start.saturating_add(left));
            self.remove(start..cut);
            left -= cut - start;
            taken.push(start..cut);
        }
        taken
    }

    /// The range that begins last of those that begin at this unit or before it.
    fn range_before(&self, unit: u32) -> Option<Range<u32>> {
        self.ranges.range(..=unit).next_back().map(|(start, end)| *start..*end)
    }
}

impl FromIterator<Range<u32>> for Units {
    fn from_iter<I: IntoIterator<Item = Range<u32>>>(ranges: I) -> Units {
        let mut units = Units::default();
        ranges.into_iter().for_each(|range| {
            units.insert(range);
        });
        units
    }
}

/// How many units the ranges hold.
pub fn count(units: &[Range<u32>]) -> u32 {
    units.iter().map(|range| range.end - range.start).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_units_are_taken_within_both_bounds() {
        let mut units = Units::from_iter([0..4, 6..8, 10..20]);
        assert_eq!(units.take(5, 9), [0..4, 6..7]);
        assert_eq!(units.take(9, 1), [7..8]);
        assert_eq!(units.take(100, 9), [10..20]);
        assert!(units.is_empty() && units.take(1, 1).is_empty());
    }

    proptest! {
        #[test]
        fn a_set_of_ranges_is_a_set(
            changes in prop::collection::vec((any::<bool>(), 0u32..40, 0u32..12), 1..40),
        ) {
            let (mut units, mut plain) = (Units::default(), BTreeSet::new());
            for (adds, start, length) in changes {
                let range = start..start + length;
                let before = plain.len();
                if adds {
                    plain.extend(range.clone());
                    prop_assert_eq!(units.insert(range.clone()) as usize, plain.len() - before);
                    prop_assert!(units.contains_all(std::slice::from_ref(&range)));
                } else {
                    plain.retain(|unit| !range.contains(unit));
                    prop_assert_eq!(units.remove(range) as usize, before - plain.len());
                }
                prop_assert_eq!(units.len() as usize, plain.len());
                prop_assert!(units.iter().eq(plain.iter().copied()));
                let ranges: Vec<_> = units.ranges().collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "they touch: {ranges:?}");
                prop_assert!((0..60).all(|unit| units.contains(unit) == plain.contains(&unit)));
            }
        }
    }
}
