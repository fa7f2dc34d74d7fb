//! Counts of open connections, in all and from each address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::CONNECTIONS_PER_ADDRESS_MAX;

/// Counts the open connections.
#[derive(Debug)]
pub(super) struct Slots {
    all: Arc<Semaphore>,
    by_address: Mutex<BTreeMap<IpAddr, usize>>,
}

/// One connection's place. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Slot {
    _counted: Option<Counted>,
    _place: OwnedSemaphorePermit,
}

/// One connection of an address. Dropping it counts it out.
#[derive(Debug)]
pub(super) struct Counted {
    slots: Arc<Slots>,
    address: Option<IpAddr>,
}

impl Slots {
    /// No connection is open yet, and at most `most` may be.
    pub(super) fn new(most: usize) -> Arc<Slots> {
        Arc::new(Slots { all: Arc::new(Semaphore::new(most)), by_address: Mutex::default() })
    }

    /// Waits until there is room for another connection.
    pub(super) async fn place(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.all).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Gives a place to a connection from `address`; `None` if that address has the most it may have. A
    /// connection of a trusted proxy has no address of its own.
    pub(super) fn occupy(
        self: &Arc<Self>,
        place: OwnedSemaphorePermit,
        address: Option<IpAddr>,
    ) -> Option<Slot> {
        let counted = match address {
            Some(address) => Some(self.count(address)?),
            None => None,
        };
        Some(Slot { _counted: counted, _place: place })
    }

    /// Counts one more connection of an address; `None` if it has the most it may have.
    pub(super) fn count(self: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        let address = counted_as(address);
        if let Some(address) = address {
            let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let open = by_address.entry(address).or_default();
            if *open >= CONNECTIONS_PER_ADDRESS_MAX {
                return None;
            }
            *open += 1;
        }
        Some(Counted { slots: Arc::clone(self), address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut by_address = self.slots.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = by_address.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                by_address.remove(&address);
            }
        }
    }
}

/// The address under which a connection is counted: its IPv4 address, or its /64 network, which an IPv6
/// provider gives to one customer. This machine's own connections are not counted.
pub(super) fn counted_as(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V4(address) => Some(address.into()),
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            Some(Ipv6Addr::from(network).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(slots: &Arc<Slots>, address: &str) -> Option<Slot> {
        slots.occupy(slots.place().await, Some(address.parse().unwrap()))
    }

    #[tokio::test]
    async fn one_address_cannot_take_all_places() {
        let most = 2 * CONNECTIONS_PER_ADDRESS_MAX;
        let slots = Slots::new(most);
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_PER_ADDRESS_MAX {
            held.push(open(&slots, "192.0.2.1").await.expect("a place"));
        }
        assert!(open(&slots, "192.0.2.1").await.is_none());
        assert!(open(&slots, "::ffff:192.0.2.1").await.is_none(), "the same address in other clothes");
        assert!(open(&slots, "192.0.2.2").await.is_some());
        held.pop();
        assert!(open(&slots, "192.0.2.1").await.is_some());
        drop(held);
        assert!(slots.by_address.lock().unwrap().is_empty());
        assert_eq!(slots.all.available_permits(), most);
    }

    #[tokio::test]
    async fn a_network_of_ipv6_counts_as_one_and_this_machine_as_none() {
        assert_eq!(
            counted_as("2001:db8::1".parse().unwrap()),
            counted_as("2001:db8::ffff:2".parse().unwrap())
        );
        assert_ne!(
            counted_as("2001:db8::1".parse().unwrap()),
            counted_as("2001:db8:0:1::1".parse().unwrap())
        );
        assert_eq!(counted_as("127.0.0.1".parse().unwrap()), None);
        assert_eq!(counted_as("::1".parse().unwrap()), None);
        assert_eq!(counted_as("::ffff:127.0.0.1".parse().unwrap()), None);
    }
}
