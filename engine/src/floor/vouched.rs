//! Who vouched for whose results, where nobody else did.
//!
//! A volunteer that is drawn to check a result, and finds the same, vouches for its author. Should it be found out
//! itself, that proves nothing any more: what nobody else has checked is unchecked after all.

use std::collections::BTreeMap;

/// Pairs that are remembered; some tens of bytes each.
const PAIRS_MAX: usize = 1 << 16;

/// Pairs of a voucher and an author, by their tokens.
#[derive(Debug, Default)]
pub(super) struct Vouched {
    by_pair: BTreeMap<(u128, u128), Word>,
}

/// What a volunteer vouched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    /// The number of rounds completed before the first that counts a result for which only it vouched; `None` if no
    /// such result can be undone any more.
    pub(super) since: Option<u64>,
    /// How many such results there are.
    pub(super) results: u64,
}

impl Vouched {
    /// In a round before which so many were completed, only `voucher` vouched for a result of `author`. Where that is
    /// one pair too many, another one is forgotten: answers with its voucher, and since when it vouched.
    pub(super) fn note(&mut self, voucher: u128, author: u128, rounds: u64) -> Option<(u128, u64)> {
        let pair = (voucher, author);
        let mut forgotten = None;
        if self.by_pair.len() >= PAIRS_MAX && !self.by_pair.contains_key(&pair) {
            let next = self.by_pair.range(pair..).next().or_else(|| self.by_pair.iter().next());
            if let Some(next) = next.map(|(pair, _)| *pair) {
                let since = self.by_pair.remove(&next).and_then(|word| word.since);
                forgotten = since.map(|since| (next.0, since));
            }
        }
        let word = self.by_pair.entry(pair).or_insert(Word { since: None, results: 0 });
        word.since = Some(word.since.map_or(rounds, |since| since.min(rounds)));
        word.results += 1;
        forgotten
    }

    /// The word of a volunteer counts no more. Answers with those whom it vouched for.
    pub(super) fn withdraw(&mut self, voucher: u128) -> Vec<(u128, Word)> {
        let of_voucher = self.by_pair.range((voucher, 0)..=(voucher, u128::MAX));
        let of_voucher: Vec<_> = of_voucher.map(|((_, author), word)| (*author, *word)).collect();
        of_voucher.iter().for_each(|(author, _)| {
            self.by_pair.remove(&(voucher, *author));
        });
        of_voucher
    }

    /// After a rewind to a state before which so many rounds were completed: what was done later is undone. What was
    /// done in rounds before which fewer than `irrevocable` were completed stays.
    pub(super) fn rewind(&mut self, rounds: u64, irrevocable: u64) {
        self.by_pair.retain(|_, word| word.since.is_none_or(|since| since < rounds));
        for word in self.by_pair.values_mut() {
            word.since = word.since.filter(|since| *since >= irrevocable);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_counts_from_its_first_round_until_it_is_withdrawn_or_undone() {
        let mut vouched = Vouched::default();
        [(1, 2, 5), (1, 2, 7), (1, 3, 6), (2, 3, 4)]
            .into_iter()
            .for_each(|(voucher, author, rounds)| assert!(vouched.note(voucher, author, rounds).is_none()));
        vouched.rewind(6, 5);
        assert_eq!(vouched.withdraw(1), [(2, Word { since: Some(5), results: 2 })]);
        assert!(vouched.withdraw(1).is_empty());
        vouched.note(4, 3, 5);
        assert_eq!(vouched.withdraw(2), [(3, Word { since: None, results: 1 })]);
        assert_eq!(vouched.withdraw(4), [(3, Word { since: Some(5), results: 1 })]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut vouched = Vouched::default();
        let pairs = (0..PAIRS_MAX as u128 + 10).map(|author| vouched.note(author % 7, author, 1));
        let forgotten: Vec<(u128, u64)> = pairs.flatten().collect();
        assert_eq!(vouched.by_pair.len(), PAIRS_MAX);
        assert!(
            forgotten.len() == 10 && forgotten.iter().all(|(voucher, since)| *voucher < 7 && *since == 1)
        );
    }
}
