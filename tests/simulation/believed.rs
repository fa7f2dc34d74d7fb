//! Lies that are in the sums, and how likely it was that they would be found.

use std::collections::BTreeMap;

use engine::{Audit, Identity, NEWCOMER_RESULTS};

/// A wrong result that was counted and not undone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lie {
    pub(crate) guest: usize,
    pub(crate) session: u64,
    /// Rounds completed before the one that counts it, and that one's number.
    pub(crate) rounds: u64,
    pub(crate) round: u64,
    /// One of its units.
    pub(crate) unit: u32,
    /// How many results of its sender had proved right.
    pub(crate) proven: u64,
    /// Whether it is from before the coordinator was killed: what is known of its sender is forgotten, except since when its results are unchecked.
    pub(crate) is_saved: bool,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Believed {
    pub(crate) lies: Vec<Lie>,
    /// Of the open round, how likely it is that each liar's lies in it are not audited.
    open: BTreeMap<usize, f64>,
    pub(crate) found: Found,
}

/// Rounds with lies of somebody that were completed, or in which it was found out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    /// In how many it was found out, in how many that was to be expected, and how far that may be off (a variance).
    pub(crate) found: f64,
    pub(crate) expected: f64,
    pub(crate) variance: f64,
}

impl Believed {
    /// A wrong result was counted.
    pub(crate) fn count(&mut self, audit: Audit, lie: Lie) {
        let probability = match audit {
            Audit::Sample(share) if lie.proven >= NEWCOMER_RESULTS => {
                (NEWCOMER_RESULTS as f64 / lie.proven as f64).powi(2).max(share)
            }
            _ => 1.0,
        };
        *self.open.entry(lie.guest).or_insert(1.0) *= 1.0 - probability;
        self.lies.push(lie);
    }

    /// A volunteer was found out. Without a proof that it lied, only what it did in the open round is undone; nor is more
    /// undone where another who lies in the same way may have vouched for what it did before.
    pub(crate) fn convict(&mut self, identity: Identity, is_undone: bool, round: Option<u64>) {
        let guest = identity.token as usize - 1;
        if let Some(unlikely) = self.open.remove(&guest) {
            self.found.add(1.0, unlikely);
        }
        let is_out = |lie: &Lie| is_undone || Some(lie.round) == round && !lie.is_saved;
        self.lies.retain(|lie| lie.guest != guest || !is_out(lie));
    }

    /// The round before which so many were completed ends without a value: its sums are not used.
    pub(crate) fn round_has_no_value(&mut self, rounds: u64) {
        self.lies.retain(|lie| lie.rounds < rounds);
    }

    /// A round is opened when so many were completed.
    pub(crate) fn open(&mut self, rounds: u64, round: u64) {
        let is_completed = |lie: &Lie| lie.rounds < rounds;
        for (guest, unlikely) in std::mem::take(&mut self.open) {
            if self.lies.iter().any(|lie| lie.guest == guest && lie.rounds + 1 == rounds) {
                self.found.add(0.0, unlikely);
            }
        }
        self.lies.retain(|lie| is_completed(lie) || lie.round == round && !lie.is_saved);
    }

    /// The coordinator was killed, and begins with these.
    pub(crate) fn restart(&mut self, saved: &[Lie]) {
        self.open.clear();
        self.lies = saved.iter().map(|lie| Lie { is_saved: true, ..*lie }).collect();
    }

    /// Those in a state in which so many rounds are completed.
    pub(crate) fn before(&self, rounds: u64) -> Vec<Lie> {
        self.lies.iter().filter(|lie| lie.rounds < rounds).copied().collect()
    }
}

impl Found {
    fn add(&mut self, found: f64, unlikely: f64) {
        self.found += found;
        self.expected += 1.0 - unlikely;
        self.variance += unlikely * (1.0 - unlikely);
    }

    pub(crate) fn merge(&mut self, other: Found) {
        self.found += other.found;
        self.expected += other.expected;
        self.variance += other.variance;
    }
}
