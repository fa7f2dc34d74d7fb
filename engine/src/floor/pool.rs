//! Volunteers of whom one is drawn by lot, first its network and then itself: so whoever has many tabs at one address
//! is drawn no more often than others at theirs.

use std::collections::BTreeMap;

use super::secret::Chance;

/// Sessions by network. All that is done with it takes time that hardly depends on how many there are.
#[derive(Debug, Default)]
pub(super) struct Pool {
    networks: Vec<(u128, Vec<u64>)>,
    /// Where a network is among these.
    network_places: BTreeMap<u128, usize>,
    /// Where a session is: its network, and its place there.
    places: BTreeMap<u64, (u128, usize)>,
}

impl Pool {
    /// Adds a session, or takes it out.
    pub(super) fn set(&mut self, session: u64, network: u128, is_in: bool) {
        let before = self.places.get(&session).map(|(network, _)| *network);
        if before == is_in.then_some(network) {
            return;
        }
        self.remove(session);
        if is_in {
            let next = self.networks.len();
            let place = *self.network_places.entry(network).or_insert(next);
            if place == next {
                self.networks.push((network, Vec::new()));
            }
            let sessions = &mut self.networks[place].1;
            self.places.insert(session, (network, sessions.len()));
            sessions.push(session);
        }
    }

    /// Takes a session out.
    pub(super) fn remove(&mut self, session: u64) {
        let Some((network, place)) = self.places.remove(&session) else { return };
        let network_place = self.network_places[&network];
        let sessions = &mut self.networks[network_place].1;
        sessions.swap_remove(place);
        if let Some(moved) = sessions.get(place) {
            self.places.insert(*moved, (network, place));
        } else if sessions.is_empty() {
            self.networks.swap_remove(network_place);
            self.network_places.remove(&network);
            if let Some((moved, _)) = self.networks.get(network_place) {
                self.network_places.insert(*moved, network_place);
            }
        }
    }

    /// How many are in it.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many are at another address.
    pub(super) fn elsewhere(&self, network: u128) -> usize {
        self.len() - self.at(network).len()
    }

    /// Those at an address.
    pub(super) fn at(&self, network: u128) -> &[u64] {
        self.network_places.get(&network).map_or(&[], |place| &self.networks[*place].1)
    }

    /// Draws one at another address.
    pub(super) fn draw_elsewhere(&self, network: u128, chance: &mut Chance) -> Option<u64> {
        let own = self.network_places.get(&network);
        let networks = self.networks.len() - usize::from(own.is_some());
        let drawn = (networks > 0).then(|| chance.below(networks))?;
        // The places after its own move up by one.
        let place = drawn + usize::from(own.is_some_and(|own| drawn >= *own));
        let sessions = &self.networks[place].1;
        Some(sessions[chance.below(sessions.len())])
    }

    /// Draws one at that address.
    pub(super) fn draw_at(&self, network: u128, chance: &mut Chance) -> Option<u64> {
        let sessions = self.at(network);
        (!sessions.is_empty()).then(|| sessions[chance.below(sessions.len())])
    }
}

#[cfg(test)]
mod tests {
    use super::super::secret::Secret;
    use super::*;

    #[test]
    fn networks_are_drawn_alike_however_many_are_at_one_address() {
        let mut pool = Pool::default();
        (0..500).for_each(|session| pool.set(session, 1, true));
        [(500, 2), (501, 3), (502, 4)].into_iter().for_each(|(session, at)| pool.set(session, at, true));
        let mut chance = Chance::new(&Secret::new([1; 32]));
        assert!((0..3_000).all(|_| pool.draw_elsewhere(1, &mut chance).unwrap() >= 500));
        let mut networks = [0; 3];
        for _ in 0..3_000 {
            networks[match pool.draw_elsewhere(4, &mut chance).unwrap() {
                500 => 1,
                501 => 2,
                _ => 0,
            }] += 1;
        }
        assert!(networks.iter().all(|count| (900..1_100).contains(count)), "{networks:?}");
        assert_eq!((pool.elsewhere(1), pool.at(1).len(), pool.at(9).len()), (3, 500, 0));
    }

    #[test]
    fn who_is_taken_out_is_drawn_no_more() {
        let mut pool = Pool::default();
        let mut chance = Chance::new(&Secret::new([1; 32]));
        for step in 0..5_000 {
            let session = chance.below(40) as u64;
            pool.set(session, u128::from(session % 7), step % 3 > 0);
            for (session, (network, place)) in &pool.places {
                assert_eq!(pool.at(*network)[*place], *session);
            }
            assert!(pool.networks.iter().all(|(_, sessions)| !sessions.is_empty()));
            assert_eq!(pool.networks.iter().map(|(_, sessions)| sessions.len()).sum::<usize>(), pool.len());
        }
        (0..40).for_each(|session| pool.remove(session));
        assert_eq!((pool.len(), pool.draw_elsewhere(9, &mut chance)), (0, None));
        assert_eq!(pool.draw_at(1, &mut chance), None);
    }
}
