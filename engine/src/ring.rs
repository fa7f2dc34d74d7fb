//! States that the engine can go back to, should a lie be found in what came after.

use super::snapshot::Snapshot;

/// Bytes that the states together may take, unless [`STATES_MIN`] of them take more.
const RING_BYTES_MAX: usize = 256 << 20;
/// The most states.
const STATES_MAX: usize = 24;
/// The fewest: the first, which is never dropped, and the last.
const STATES_MIN: usize = 2;
/// Bytes of a state for each parameter: its point, the gradient there and a curvature pair. The others it shares
/// with the states before it.
const STATE_BYTES: usize = 16;

/// States between rounds, the oldest first: the first there was, and of the others the denser the newer.
#[derive(Debug)]
pub(super) struct Ring {
    room: usize,
    states: Vec<Snapshot>,
}

impl Ring {
    /// An empty ring for a network of so many parameters; one that remembers nothing if it is never asked.
    pub(super) fn new(parameters: usize, is_needed: bool) -> Ring {
        let room = (RING_BYTES_MAX / (STATE_BYTES * parameters).max(1)).clamp(STATES_MIN, STATES_MAX);
        Ring { room: if is_needed { room } else { 0 }, states: Vec::new() }
    }

    /// Remembers a state, later than all before.
    pub(super) fn push(&mut self, state: Snapshot) {
        if self.room == 0 {
            return;
        }
        if self.states.len() == self.room {
            self.thin(state.counters.rounds);
        }
        self.states.push(state);
    }

    /// Drops the state that is least missed: the one whose neighbors are close together for how long ago it was.
    fn thin(&mut self, now: u64) {
        let rounds = |index: usize| self.states[index].counters.rounds as f64;
        let gap = |index: usize| {
            let next = self.states.get(index + 1).map_or(now, |state| state.counters.rounds) as f64;
            (next - rounds(index - 1)) / (now as f64 - rounds(index) + 1.0)
        };
        let least = (1..self.states.len()).min_by(|&a, &b| gap(a).total_cmp(&gap(b)));
        if let Some(index) = least {
            self.states.remove(index);
        }
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
        let mut ring = Ring::new(1, true);
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
    fn large_states_are_few() {
        let mut ring = Ring::new(1 << 28, true);
        (0..10).for_each(|rounds| ring.push(state(rounds)));
        assert_eq!(ring.states.iter().map(|state| state.counters.rounds).collect::<Vec<_>>(), [0, 9]);
        assert_eq!(ring.go_back(5).unwrap().counters.rounds, 0);
    }
}
