//! What is known of a volunteer beyond its session: it comes back under the same token.

use std::collections::BTreeMap;

/// Who a volunteer says it is, and where it comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// A random number that the volunteer keeps.
    pub token: u128,
    /// Names its network: an IPv4 address, or the first half of an IPv6 address.
    pub address: u128,
}

/// Volunteers that are remembered. Whoever is not there and has done nothing of use is forgotten first.
const RECORDS_MAX: usize = 1 << 16;
/// A volunteer is a newcomer until so many of its results have proved right.
pub const NEWCOMER_RESULTS: u64 = 10;

/// All records, by token.
#[derive(Debug, Default)]
pub(super) struct Records {
    by_token: BTreeMap<u128, Record>,
    /// The number of rounds completed before the first that counts an unchecked result of somebody who was forgotten.
    /// Who is not known may be one of those.
    pub(super) forgotten_since: Option<u64>,
}

/// One volunteer's.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Record {
    /// The session of the volunteer while it is there.
    pub(super) session: Option<u64>,
    /// Results that were accepted.
    pub(super) accepted: u64,
    /// Results that proved right; without audits, all that were accepted.
    pub(super) proven: u64,
    /// The number of rounds completed before the first one that counts a result of it which nobody has checked, or one
    /// for which only it vouched, where it is not known whose.
    pub(super) unchecked_since: Option<u64>,
    /// Whether it was found out once.
    pub(super) has_lied: bool,
    /// When it was last there: rounds in a row that ended with work of it that it left unanswered.
    pub(super) missed: u32,
    /// It gets no work in rounds up to this one.
    pub(super) benched_until: u64,
    /// The round in which it was last there, and the cost of what it was given of it.
    pub(super) last_round: u64,
    pub(super) given: f64,
}

impl Record {
    /// Whether it has yet to prove itself.
    pub(super) fn is_newcomer(&self) -> bool {
        self.proven < NEWCOMER_RESULTS
    }
}

impl Records {
    /// A copy of what is known; nothing, of a stranger.
    pub(super) fn get(&self, token: u128) -> Record {
        self.by_token.get(&token).copied().unwrap_or_default()
    }

    /// The record of a volunteer, to be changed.
    pub(super) fn of(&mut self, token: u128) -> &mut Record {
        if self.by_token.len() >= RECORDS_MAX && !self.by_token.contains_key(&token) {
            self.forget_some();
        }
        let stranger = Record { unchecked_since: self.forgotten_since, ..Record::default() };
        self.by_token.entry(token).or_insert(stranger)
    }

    /// The record of a volunteer that is known.
    pub(super) fn known(&mut self, token: u128) -> Option<&mut Record> {
        self.by_token.get_mut(&token)
    }

    /// A result is counted, in a round before which so many were completed, that is wrong if the volunteer lies.
    pub(super) fn note_unchecked(&mut self, token: u128, rounds: u64) {
        let since = match self.by_token.get_mut(&token) {
            Some(record) => &mut record.unchecked_since,
            None => &mut self.forgotten_since,
        };
        *since = Some(since.map_or(rounds, |since| since.min(rounds)));
    }

    /// A volunteer was found out: it begins as a newcomer again, should it come back. Answers since when results of it
    /// were counted that nobody had checked.
    pub(super) fn convict(&mut self, token: u128) -> Option<u64> {
        let Some(record) = self.known(token) else { return self.forgotten_since };
        let since = record.unchecked_since;
        *record = Record { session: record.session, has_lied: true, ..Record::default() };
        since
    }

    /// A volunteer broke the rules of its channel: it begins as a newcomer again, should it come back. That says
    /// nothing about its earlier results, so it stays known since when they are unchecked.
    pub(super) fn demote(&mut self, token: u128) {
        if let Some(record) = self.known(token) {
            let Record { session, unchecked_since, has_lied, .. } = *record;
            *record = Record { session, unchecked_since, has_lied, ..Record::default() };
        }
    }

    /// What proved right proved nothing.
    pub(super) fn distrust_all(&mut self) {
        self.by_token.values_mut().for_each(|record| record.proven = 0);
    }

    /// Of whom results were counted that nobody has checked, with the number of rounds before the first.
    pub(super) fn unchecked(&self) -> impl Iterator<Item = (u128, u64)> {
        self.by_token.iter().filter_map(|(token, record)| record.unchecked_since.map(|since| (*token, since)))
    }

    /// As [`Records::unchecked`] had it.
    pub(super) fn recall(&mut self, unchecked: &[(u128, u64)], forgotten_since: Option<u64>) {
        self.forgotten_since = forgotten_since;
        for (token, since) in unchecked.iter().take(RECORDS_MAX) {
            self.of(*token).unchecked_since = Some(*since);
        }
    }

    /// After a rewind to a state before which so many rounds were completed: what was done later is undone. What was
    /// done in rounds before which fewer than `irrevocable` were completed stays.
    pub(super) fn rewind(&mut self, rounds: u64, irrevocable: u64) {
        let can_be_undone = |since: &u64| (irrevocable..rounds).contains(since);
        self.forgotten_since = self.forgotten_since.filter(can_be_undone);
        for record in self.by_token.values_mut() {
            record.unchecked_since = record.unchecked_since.filter(can_be_undone);
        }
    }

    /// Makes room: forgets all who are absent and of whom no result counts, or else all who are absent.
    fn forget_some(&mut self) {
        let before = self.by_token.len();
        // Whoever was known before the process began, or broke a rule of its channel, has results that count although
        // none of them was accepted since. A mark that any stranger has tells nothing.
        let of_strangers = self.forgotten_since.unwrap_or(u64::MAX);
        let is_traced = |record: &Record| record.unchecked_since.is_some_and(|since| since < of_strangers);
        let is_of_use = |record: &Record| record.accepted > 0 || is_traced(record);
        self.by_token.retain(|_, record| record.session.is_some() || is_of_use(record));
        // So that not every stranger who comes makes all be looked through.
        if self.by_token.len() > before / 2 {
            let absent = self.by_token.extract_if(.., |_, record| record.session.is_none());
            let unchecked = absent.filter_map(|(_, record)| record.unchecked_since).min();
            self.forgotten_since = self.forgotten_since.into_iter().chain(unchecked).min();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_who_do_nothing_do_not_displace_those_who_do() {
        let mut records = Records::default();
        *records.of(1) = Record { accepted: 5, ..Record::default() };
        (2..=RECORDS_MAX as u128 + 10).for_each(|token| {
            records.of(token);
        });
        assert!(records.by_token.len() < 20);
        assert_eq!(records.get(1).accepted, 5);
        assert_eq!(records.get(7).accepted, 0);
    }

    #[test]
    fn what_somebody_did_who_was_forgotten_may_be_any_strangers() {
        let mut records = Records::default();
        let busy = |since| Record { accepted: 1, unchecked_since: since, ..Record::default() };
        *records.of(1) = busy(Some(9));
        *records.of(2) = busy(Some(4));
        (3..=RECORDS_MAX as u128).for_each(|token| *records.of(token) = busy(None));
        records.of(0);
        assert!(records.by_token.len() == 1, "all had done something and were absent");
        assert_eq!((records.convict(1), records.convict(0)), (Some(4), Some(4)));
        // What was counted since then is undone: nothing is left to be found out.
        records.rewind(4, 0);
        records.of(1);
        assert_eq!((records.convict(1), records.convict(77)), (None, None));
    }

    #[test]
    fn strangers_do_not_displace_whoever_did_something_before_the_process_began() {
        let mut records = Records::default();
        records.recall(&[(1, 4)], None);
        (2..=RECORDS_MAX as u128 + 10).for_each(|token| {
            records.of(token);
        });
        assert_eq!((records.convict(1), records.convict(7)), (Some(4), None));
    }

    /// Strangers begin with the mark of those who were forgotten: that is nothing that they did.
    #[test]
    fn strangers_do_not_displace_those_who_do_after_somebody_was_forgotten() {
        let mut records = Records::default();
        records.recall(&[(1, 4)], Some(6));
        *records.of(2) = Record { accepted: 5, unchecked_since: Some(9), ..Record::default() };
        (3..=RECORDS_MAX as u128 + 10).for_each(|token| {
            records.of(token);
        });
        assert!(records.by_token.len() < 20, "{}", records.by_token.len());
        assert_eq!((records.get(2).accepted, records.forgotten_since), (5, Some(6)));
        assert_eq!((records.convict(1), records.convict(7)), (Some(4), Some(6)));
    }

    #[test]
    fn who_breaks_a_rule_of_the_channel_begins_anew_and_is_still_traced() {
        let mut records = Records::default();
        *records.of(1) = Record { accepted: 50, proven: 20, unchecked_since: Some(7), ..Record::default() };
        records.demote(1);
        assert!(records.get(1).is_newcomer());
        assert_eq!(records.convict(1), Some(7));
        assert_eq!(records.convict(1), None);
    }

    #[test]
    fn a_rewind_undoes_what_was_not_checked_after_it() {
        let mut records = Records::default();
        records.of(1).unchecked_since = Some(4);
        records.of(2).unchecked_since = Some(5);
        records.rewind(5, 0);
        assert_eq!((records.get(1).unchecked_since, records.get(2).unchecked_since), (Some(4), None));
        records.forgotten_since = Some(3);
        records.rewind(5, 5);
        assert_eq!((records.get(1).unchecked_since, records.forgotten_since), (None, None));
    }

    #[test]
    fn words_that_are_forgotten_count_against_the_voucher() {
        let mut records = Records::default();
        records.of(1).unchecked_since = Some(5);
        for (voucher, since) in [(1, 4), (2, 7), (1, 6)] {
            records.note_unchecked(voucher, since);
        }
        assert_eq!((records.convict(1), records.convict(9)), (Some(4), Some(7)));
    }
}
