//! The addresses from which nobody may help. They are forgotten when the process ends.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Addresses that are banned at a time.
const BANS_MAX: usize = 4096;

/// See the module's description. An address is a network as [`engine::Identity::address`] names it.
#[derive(Debug, Default)]
pub struct Bans {
    networks: Mutex<BTreeMap<u128, Ban>>,
    /// By token, which volunteers choose: it must never pass for a network.
    inherited: Mutex<BTreeMap<u128, Ban>>,
}

/// One banned address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ban {
    /// The address, or the network of an IPv6 address.
    pub address: String,
    /// The program of the volunteer that was banned.
    pub agent: String,
    /// When, in seconds since 1970.
    pub time: u64,
    /// Tokens of the volunteers that were sent away with it.
    #[serde(skip)]
    pub tokens: Vec<u128>,
}

impl Bans {
    fn networks(&self) -> MutexGuard<'_, BTreeMap<u128, Ban>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inherited(&self) -> MutexGuard<'_, BTreeMap<u128, Ban>> {
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an address is banned.
    pub fn contains(&self, address: u128) -> bool {
        self.networks().contains_key(&address)
    }

    /// Bans an address. Returns false if there is no room for another.
    pub fn add(&self, address: u128, ban: Ban) -> bool {
        let mut bans = self.networks();
        let fits = bans.len() < BANS_MAX || bans.contains_key(&address);
        if fits {
            let tokens = ban.tokens.clone();
            bans.entry(address).or_insert(Ban { tokens: Vec::new(), ..ban }).tokens.extend(tokens);
        }
        fits
    }

    /// An earlier coordinator of this training has banned a volunteer, and only its token is known: it stands in the list
    /// under a name of its own, so that the ban can be lifted. Returns false if there is no room for another.
    pub fn inherit(&self, token: u128, time: u64) -> bool {
        let mut inherited = self.inherited();
        let fits = inherited.len() < BANS_MAX || inherited.contains_key(&token);
        if fits {
            let address = format!("volunteer {token:032x}");
            let agent = "banned under an earlier coordinator".to_owned();
            inherited.insert(token, Ban { address, agent, time, tokens: vec![token] });
        }
        fits
    }

    /// The ban of a volunteer of which only the token is known is lifted.
    pub fn disinherit(&self, token: u128) {
        self.inherited().remove(&token);
    }

    /// Lifts a ban by its address as it is written; answers with it if there was one.
    pub fn lift(&self, address: &str) -> Option<Ban> {
        let take = |mut bans: MutexGuard<'_, BTreeMap<u128, Ban>>| {
            let key = bans.iter().find(|(_, ban)| ban.address == address).map(|(key, _)| *key)?;
            bans.remove(&key)
        };
        take(self.networks()).or_else(|| take(self.inherited()))
    }

    /// All bans, in no order that means anything.
    pub(crate) fn all(&self) -> Vec<Ban> {
        self.networks().values().chain(self.inherited().values()).cloned().collect()
    }
}

/// The address, or the network of an IPv6 address, as people write it.
pub(crate) fn address_in_words(address: u128) -> String {
    match u32::try_from(address) {
        // Of an IPv6 address only the first half is left, and the loopback's is zero.
        Ok(0) => "::/64".to_owned(),
        Ok(address) => Ipv4Addr::from(address).to_string(),
        Err(_) => format!("{}/64", Ipv6Addr::from(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(address: u128) -> Ban {
        Ban { address: address_in_words(address), agent: "a test".into(), time: 1, tokens: vec![7] }
    }

    #[test]
    fn a_ban_holds_until_it_is_lifted_and_their_number_is_bounded() {
        let bans = Bans::default();
        assert!(bans.add(0x7f00_0001, ban(0x7f00_0001)));
        assert!(bans.contains(0x7f00_0001) && !bans.contains(2));
        assert_eq!(bans.lift("127.0.0.2"), None);
        assert_eq!(bans.lift("127.0.0.1").unwrap().tokens, [7]);
        assert!(!bans.contains(0x7f00_0001));
        assert!((0..BANS_MAX as u128).all(|address| bans.add(address, ban(address))));
        assert!(!bans.add(BANS_MAX as u128, ban(BANS_MAX as u128)));
        assert!(bans.add(3, ban(3)), "banned already");
    }

    #[test]
    fn bans_of_an_earlier_coordinator_are_listed_and_can_be_lifted() {
        let bans = Bans::default();
        let token = 0x7f00_0001;
        assert!(bans.inherit(token, 5) && bans.inherit(token + 1, 5));
        assert!(!bans.contains(token), "a token is no network");
        assert!(bans.add(token + 1, ban(token + 1)));
        bans.disinherit(token + 1);
        assert!(bans.contains(token + 1) && bans.all().len() == 2);
        assert_eq!(bans.lift("volunteer 0000000000000000000000007f000001").unwrap().tokens, [token]);
        assert_eq!(bans.all(), [ban(token + 1)]);
    }

    #[test]
    fn addresses_are_written_as_people_write_them() {
        assert_eq!(address_in_words(0xc0a8_0114), "192.168.1.20");
        assert_eq!(address_in_words(0x2001_0db8 << 96), "2001:db8::/64");
    }
}
