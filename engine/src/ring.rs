//! States that the engine can go back to, should a lie be found in what came after.

use super::snapshot::Snapshot;

/// Bytes that the states together may take, unless [`STATES_MIN`] of them take more.
const RING_BYTES_MAX: u64 = 256 << 20;
/// The most states.
const STATES_MAX: usize = 24;
/// The fewest: the first, which is never dropped, and the last.
const STATES_MIN: usize = 2;
/// Bytes of a state for each parameter, beside curvature pairs: its point, the gradient there, the direction or
/// velocity, the next point, one more that some optimizers keep, and the best weights.
const STATE_BYTES: u64 = 24;
/// Bytes of a curvature pair for each parameter. A state shares the older ones with the state before it: it has as many
/// of its own as rounds lie between the two, or all.
const PAIR_BYTES: u64 = 8;

/// States between rounds, the oldest first: the first there was, and of the others the denser the newer.
#[derive(Debug)]
pub(super) struct Ring {
    is_needed: bool,
    parameters: u64,
    pairs: u64,
    states: Vec<Snapshot>,
}

/// Bytes that a state takes which its forerunner of so many rounds before does not.
fn own_bytes(parameters: u64, pairs: u64, gap: u64) -> u64 {
    let own = pairs.min(gap).saturating_mul(PAIR_BYTES).saturating_add(STATE_BYTES);
    parameters.saturating_mul(own)
}

/// Bytes that all states take at most, of a network of so many parameters and with so many curvature pairs.
pub(super) fn worst_case_bytes(parameters: u64, pairs: u64) -> u64 {
    let each = own_bytes(parameters, pairs, pairs);
    each.saturating_mul(STATES_MAX as u64).min(RING_BYTES_MAX).max(each.saturating_mul(STATES_MIN as u64))
}

impl Ring {
    /// An empty ring for a network of so many parameters and an optimizer with at most so many curvature pairs; one
    /// that remembers nothing if it is never asked.
    pub(super) fn new(parameters: usize, pairs: usize, is_needed: bool) -> Ring {
        Ring { is_needed, parameters: parameters as u64, pairs: pairs as u64, states: Vec::new() }
    }

    /// Remembers a state, later than all before.
    pub(super) fn push(&mut self, state: Snapshot) {
        if !self.is_needed {
            return;
        }
        let now = state.counters.rounds;
        let is_full = |ring: &Ring| ring.states.len() >= STATES_MAX || ring.bytes(now) > RING_BYTES_MAX;
        while self.states.len() >= STATES_MIN && is_full(self) {
            self.thin(now);
        }
        self.states.push(state);
    }

    /// Bytes of all states and of one after so many rounds.
    fn bytes(&self, now: u64) -> u64 {
        let mut before = 0;
        let rounds = self.states.iter().map(|state| state.counters.rounds).chain([now]);
        let own = rounds.map(|rounds| {
            let gap = rounds.saturating_sub(std::mem::replace(&mut before, rounds));
            own_bytes(self.parameters, self.pairs, gap)
        });
        own.fold(0, u64::saturating_add)
    }

    fn thin(&mut self, now: u64) {
        let rounds: Vec<u64> = self.states.iter().map(|state| state.counters.rounds).collect();
        if let Some(index) = least_missed(&rounds, now) {
            self.states.remove(index);
        }
    }

    /// Whether it remembers a state in which no more than `rounds` rounds were completed.
    pub(super) fn reaches(&self, rounds: u64) -> bool {
        self.states.first().is_some_and(|first| first.counters.rounds <= rounds)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    /// Forgets all but the first: the training goes back to that one or to before it.
    pub(super) fn keep_first(&mut self) {
        self.states.truncate(1);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.states.clear();
    }

    /// The last state in which no more than `rounds` rounds were completed, without those after it, which are
    /// forgotten.
    pub(super) fn go_back(&mut self, rounds: u64) -> Option<Snapshot> {
        while self.states.len() > 1 && self.states.last()?.counters.rounds > rounds {
            self.states.pop();
        }
        self.states.pop()
    }
}

/// Which of several states to drop when so many rounds are completed: the one whose neighbors are close together for
/// how long ago it was. They are given by their numbers of completed rounds, in increasing order. The first is never
/// dropped.
pub fn least_missed(states: &[u64], now: u64) -> Option<usize> {
    let gap = |index: usize| {
        let next = states.get(index + 1).copied().unwrap_or(now);
        (next as f64 - states[index - 1] as f64) / (now as f64 - states[index] as f64 + 1.0)
    };
    (1..states.len()).min_by(|&a, &b| gap(a).total_cmp(&gap(b)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Course;
    use super::super::figures::Counters;
    use super::super::optimizers::{Lbfgs, LbfgsSettings, Optimizer};
    use super::super::snapshot::{KnownScales, Statistics};
    use super::*;

    fn state(rounds: u64) -> Snapshot {
        let settings = LbfgsSettings { memory: 1, gradient_tolerance: None };
        let none: Arc<[f32]> = Arc::from([]);
        Snapshot {
            optimizer: Optimizer::Lbfgs(Lbfgs::new(vec![0.0], settings)),
            scales: KnownScales::default(),
            statistics: Statistics::new(none),
            counters: Counters { rounds, ..Counters::default() },
            accepted: None,
            course: Course::default(),
        }
    }

    #[test]
    fn the_way_back_is_never_much_longer_than_it_must_be() {
        let mut ring = Ring::new(1, 10, true);
        (0..1000).for_each(|rounds| ring.push(state(rounds)));
        assert_eq!(ring.states.len(), STATES_MAX);
        let kept: Vec<u64> = ring.states.iter().map(|state| state.counters.rounds).collect();
        assert_eq!(kept[0], 0);
        for wanted in 1..1000 {
            let found = kept.iter().rev().find(|rounds| **rounds <= wanted).unwrap();
            let (must, will) = (1000 - wanted, 1000 - found);
            assert!(will <= 2 * must + 4, "{wanted}: {will} rounds instead of {must}: {kept:?}");
        }
        assert_eq!(ring.go_back(999).unwrap().counters.rounds, 999);
        assert_eq!(ring.go_back(0).unwrap().counters.rounds, 0);
        assert!(ring.states.is_empty());
    }

    #[test]
    fn states_that_share_little_are_fewer() {
        for (pairs, least) in [(0, 10), (10, 5)] {
            let mut ring = Ring::new(1 << 20, pairs, true);
            (0..1000).for_each(|rounds| ring.push(state(rounds)));
            let bytes = ring.bytes(999) - own_bytes(1 << 20, pairs as u64, 0);
            assert!(bytes <= RING_BYTES_MAX, "{bytes}");
            assert!((least..STATES_MAX).contains(&ring.states.len()), "{}", ring.states.len());
            assert_eq!(ring.states[0].counters.rounds, 0);
        }
    }

    #[test]
    fn large_states_are_few() {
        let mut ring = Ring::new(1 << 28, 0, true);
        (0..10).for_each(|rounds| ring.push(state(rounds)));
        assert_eq!(ring.states.iter().map(|state| state.counters.rounds).collect::<Vec<_>>(), [0, 9]);
        assert_eq!(ring.go_back(5).unwrap().counters.rounds, 0);
    }
}
