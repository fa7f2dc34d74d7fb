//! The places for volunteers.
//!
//! Whoever has helped always finds one: if all are taken, the stranger that has been there longest makes way. So a
//! crowd that only answers pings keeps out other strangers at most. The strangers of one network do not take all
//! connections that it may have, for a connection comes before anybody can say who it is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::Identity;
use tokio::sync::Notify;

use super::limits::STRANGERS_PER_NETWORK_MAX;
use crate::driver::doors::{Doors, is_this_machine};

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    doors: Doors,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    taken: usize,
    next: u64,
    /// Those that have not helped, as far as is known, by when they came.
    strangers: BTreeMap<u64, (Identity, Arc<Notify>)>,
    /// How many of them each network has.
    networks: BTreeMap<u128, usize>,
}

/// A volunteer's place. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    token: u128,
    has_helped: AtomicBool,
    makes_way: Arc<Notify>,
}

impl Places {
    /// So many places, all free. Who has helped is known at the `doors`.
    pub(super) fn new(most: usize, doors: Doors) -> Arc<Places> {
        Arc::new(Places { most, doors, inner: Mutex::default() })
    }

    /// A place for a volunteer.
    ///
    /// # Errors
    /// When all are taken by those that go before it: a sentence for a person.
    pub(super) fn take(self: &Arc<Self>, identity: Identity) -> Result<Place, String> {
        let Identity { token, address } = identity;
        let has_helped = self.doors.knows(token);
        let mut inner = self.inner();
        let neighbors = inner.networks.get(&address).copied().unwrap_or(0);
        if !has_helped && neighbors >= STRANGERS_PER_NETWORK_MAX && !is_this_machine(address) {
            return Err("This network has as many new volunteers as it may have; try again later.".into());
        }
        if inner.taken >= self.most {
            let stranger = if has_helped { self.first_stranger(&mut inner) } else { None };
            // It has a few seconds for its farewell, in which there is one volunteer more.
            let full = || format!("All {} places for volunteers are taken; try again later.", self.most);
            stranger.ok_or_else(full)?.notify_one();
        }
        let (number, makes_way) = (inner.next, Arc::new(Notify::new()));
        inner.next += 1;
        inner.taken += 1;
        if !has_helped {
            inner.strangers.insert(number, (identity, Arc::clone(&makes_way)));
            *inner.networks.entry(address).or_default() += 1;
        }
        Ok(Place {
            places: Arc::clone(self),
            number,
            token,
            has_helped: AtomicBool::new(has_helped),
            makes_way,
        })
    }

    /// The stranger that came first, whose place is free from now on. Those that have helped by now are none any more.
    fn first_stranger(&self, inner: &mut Inner) -> Option<Arc<Notify>> {
        loop {
            let (number, (Identity { token, .. }, _)) = inner.strangers.first_key_value()?;
            let (number, is_stranger) = (*number, !self.doors.knows(*token));
            let makes_way = inner.leave_strangers(number)?;
            if is_stranger {
                return Some(makes_way);
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// That place is no stranger's any more.
    fn leave_strangers(&mut self, number: u64) -> Option<Arc<Notify>> {
        let (Identity { address, .. }, makes_way) = self.strangers.remove(&number)?;
        if let Some(count) = self.networks.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&address);
            }
        }
        Some(makes_way)
    }
}

impl Place {
    /// Whether its volunteer has helped.
    pub(super) fn has_helped(&self) -> bool {
        if self.has_helped.load(Ordering::Relaxed) {
            return true;
        }
        let has_helped = self.places.doors.knows(self.token);
        if has_helped {
            self.has_helped.store(true, Ordering::Relaxed);
            self.places.inner().leave_strangers(self.number);
        }
        has_helped
    }

    /// Waits until the place is given to somebody else.
    pub(super) async fn is_given_away(&self) {
        self.makes_way.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.places.inner();
        inner.taken -= 1;
        inner.leave_strangers(self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::limits::CONNECTIONS_PER_ADDRESS_MAX;
    use super::*;

    /// Of a network that is not this machine.
    fn volunteer(token: u128) -> Identity {
        Identity { token, address: 192 << 24 }
    }

    fn helped(doors: &Doors, token: u128) {
        doors.helped(volunteer(token));
    }

    #[test]
    fn strangers_make_way_for_those_who_have_helped_and_for_nobody_else() {
        let doors = Doors::default();
        let places = Places::new(3, doors.clone());
        let place = |token| places.take(volunteer(token)).ok();
        let is_given_away = |place: &Place| place.is_given_away().now_or_never().is_some();
        let (first, second, third) = (place(1).unwrap(), place(2).unwrap(), place(3).unwrap());
        assert!(place(4).is_none(), "a stranger");
        helped(&doors, 1);
        helped(&doors, 10);
        let known = place(10).unwrap();
        assert!(!is_given_away(&first), "it has helped by now");
        assert!(is_given_away(&second) && !is_given_away(&third), "the one that came first of the others");
        // Once it has gone, the number is what it was.
        drop(second);
        assert!(place(4).is_none());
        helped(&doors, 11);
        let other = place(11).unwrap();
        assert!(is_given_away(&third));
        helped(&doors, 12);
        assert!(place(12).is_none(), "those that have helped do not make way");
        drop((third, known, first));
        assert!(place(4).is_some());
        drop(other);
        let inner = places.inner();
        assert_eq!((inner.taken, inner.strangers.len(), inner.networks.len()), (0, 0, 0));
    }

    #[test]
    fn strangers_of_one_network_leave_connections_for_those_of_it_that_have_helped() {
        let doors = Doors::default();
        let places = Places::new(10_000, doors.clone());
        let mut taken: Vec<Place> = (0..).map_while(|token| places.take(volunteer(token)).ok()).collect();
        assert_eq!(taken.len(), STRANGERS_PER_NETWORK_MAX);
        const { assert!(STRANGERS_PER_NETWORK_MAX < CONNECTIONS_PER_ADDRESS_MAX) };
        assert!(places.take(Identity { token: 1 << 40, address: 193 << 24 }).is_ok(), "another network");
        helped(&doors, 1 << 41);
        assert!(places.take(volunteer(1 << 41)).is_ok());
        // Whoever helps is no stranger any more.
        assert!(!taken[5].has_helped());
        helped(&doors, 5);
        assert!(taken[5].has_helped());
        taken.push(places.take(volunteer(1 << 42)).unwrap());
        assert!(places.take(volunteer(1 << 43)).unwrap_err().contains("This network"));
        let here = |token| Identity { token, address: 127 << 24 };
        let local: Vec<Place> = (0..2_000).map_while(|token| places.take(here(token << 50)).ok()).collect();
        assert_eq!(local.len(), 2_000);
    }
}
