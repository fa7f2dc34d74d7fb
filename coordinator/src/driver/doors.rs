//! Who may join now, and who must wait.
//!
//! Whoever was dismissed waits before it may come back, each time for twice as long. It is known by the token that
//! it keeps. It could come back with another, so strangers from its network wait too, but not long: a school may
//! share one address. Whoever has helped before never waits for its neighbors. Nobody can keep a network closed:
//! after each wait strangers may come for a while, whatever others do, and where somebody has helped the waits are
//! shorter.
//!
//! The driver writes what becomes of volunteers, and sessions ask before they let one in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::Identity;
use protocol::limits::WAIT_SECONDS_MAX;

use crate::report::words::duration;

/// Volunteers, and networks, that are remembered for a dismissal. Those are forgotten first that wait least.
const WAITS_MAX: usize = 1 << 14;
/// Volunteers that are remembered for their help. Those are forgotten first that have helped first.
const KNOWN_MAX: usize = 1 << 16;
/// How long a dismissed volunteer waits.
const OF_VOLUNTEERS: Rule = Rule {
    first: Duration::from_secs(30),
    most: Duration::from_secs(WAIT_SECONDS_MAX as u64),
    memory: Duration::from_secs(6 * 60 * 60),
    open: Duration::ZERO,
};
/// How long strangers from its network wait.
const OF_NETWORKS: Rule = Rule {
    first: Duration::from_secs(2),
    most: Duration::from_secs(2 * 60),
    memory: Duration::from_secs(10 * 60),
    open: Duration::from_secs(10),
};
/// How long strangers wait at most where others of their network have helped.
const AMONG_HELPERS_MAX: Duration = Duration::from_secs(8);

/// Seconds after which volunteers try again whom nobody lets in for now.
const CLOSED_SECONDS: u32 = 3;

/// See the module's description. Clones share what they know.
#[derive(Debug, Clone, Default)]
pub struct Doors(Arc<Mutex<Inner>>);

/// Why a volunteer must wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// How long, in seconds.
    pub seconds: u32,
    /// The reason and the time in one or two sentences for a person.
    pub text: String,
}

#[derive(Debug)]
struct Inner {
    volunteers: Waits,
    networks: Waits,
    /// Why nobody may come in now, if so.
    closed: Option<&'static str>,
    /// Banned until the process ends.
    banned: BTreeSet<u128>,
    known: Known,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner {
            volunteers: Waits::new(OF_VOLUNTEERS),
            networks: Waits::new(OF_NETWORKS),
            closed: None,
            banned: BTreeSet::new(),
            known: Known::default(),
        }
    }
}

/// How long somebody waits after a dismissal.
#[derive(Debug, Clone, Copy)]
struct Rule {
    /// The first time. Each time after that it is twice as long.
    first: Duration,
    /// Never longer than this.
    most: Duration,
    /// How long after its end a wait is remembered.
    memory: Duration,
    /// How long after its end no other begins.
    open: Duration,
}

#[derive(Debug)]
struct Waits {
    rule: Rule,
    by_key: BTreeMap<u128, Dismissed>,
}

#[derive(Debug)]
struct Dismissed {
    times: u32,
    until: Instant,
    offense: String,
}

/// Those who have helped.
#[derive(Debug, Default)]
struct Known {
    /// Tokens, each with the network from which it helped first, and its number in `in_order`.
    tokens: BTreeMap<u128, (u128, u64)>,
    /// Tokens by the order in which they helped first.
    in_order: BTreeMap<u64, u128>,
    next: u64,
    /// How many there are in each network.
    networks: BTreeMap<u128, usize>,
}

impl Doors {
    /// Whether a volunteer may join.
    ///
    /// # Errors
    /// When it must wait: why, and how long.
    pub fn judge(&self, now: Instant, identity: Identity) -> Result<(), Wait> {
        let inner = self.inner();
        if let Some(why) = inner.closed {
            return Err(Wait { seconds: CLOSED_SECONDS, text: format!("{why} Trying again in a moment.") });
        }
        if inner.banned.contains(&identity.token) {
            let text = "Whoever runs this training does not want help from this volunteer.".into();
            return Err(Wait { seconds: WAIT_SECONDS_MAX, text });
        }
        if let Some((seconds, offense)) = inner.volunteers.wait(now, identity.token) {
            let time = duration(seconds.into());
            let text = format!(
                "The coordinator dismissed this volunteer because it sent {offense}. It may come back in {time}."
            );
            return Err(Wait { seconds, text });
        }
        let may_pass = is_this_machine(identity.address) || inner.known.tokens.contains_key(&identity.token);
        if let Some((seconds, _)) = inner.networks.wait(now, identity.address).filter(|_| !may_pass) {
            let time = duration(seconds.into());
            let text = format!(
                "The coordinator has just dismissed a volunteer from this network. New ones may join in {time}."
            );
            return Err(Wait { seconds, text });
        }
        Ok(())
    }

    /// Lets nobody in for now, for this reason: a sentence for people.
    pub fn close(&self, why: &'static str) {
        self.inner().closed = Some(why);
    }

    /// Lets volunteers in again.
    pub fn open(&self) {
        self.inner().closed = None;
    }

    /// A volunteer was dismissed because it sent that.
    pub fn dismissed(&self, now: Instant, identity: Identity, offense: &str) {
        let mut inner = self.inner();
        inner.known.remove(identity.token);
        let has_helpers = inner.known.networks.contains_key(&identity.address);
        let most = if has_helpers { AMONG_HELPERS_MAX } else { Duration::MAX };
        inner.volunteers.add(now, identity.token, offense, Duration::MAX);
        inner.networks.add(now, identity.address, offense, most);
    }

    /// A result of a volunteer has counted.
    pub fn helped(&self, identity: Identity) {
        self.inner().known.add(identity);
    }

    /// Whether a result of a volunteer has counted.
    pub fn knows(&self, token: u128) -> bool {
        self.inner().known.tokens.contains_key(&token)
    }

    /// The operator does not want a volunteer in this process any more.
    pub fn ban(&self, token: u128) {
        let mut inner = self.inner();
        if inner.banned.len() < WAITS_MAX {
            inner.banned.insert(token);
        }
    }

    /// The operator wants it back.
    pub fn unban(&self, token: u128) {
        self.inner().banned.remove(&token);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waits {
    fn new(rule: Rule) -> Waits {
        Waits { rule, by_key: BTreeMap::new() }
    }

    /// One more dismissal, for which nobody waits longer than `most`.
    fn add(&mut self, now: Instant, key: u128, offense: &str, most: Duration) {
        let Rule { first, memory, open, .. } = self.rule;
        let most = most.min(self.rule.most);
        let is_forgotten = |dismissed: &Dismissed| now >= dismissed.until + memory;
        if self.by_key.len() >= WAITS_MAX && !self.by_key.contains_key(&key) {
            self.by_key.retain(|_, dismissed| !is_forgotten(dismissed));
            let least = self.by_key.iter().min_by_key(|(_, dismissed)| dismissed.until);
            if let Some(key) = least.map(|(key, _)| *key).filter(|_| self.by_key.len() >= WAITS_MAX) {
                self.by_key.remove(&key);
            }
        }
        let before = self.by_key.get(&key).filter(|dismissed| !is_forgotten(dismissed));
        let times = before.map_or(0, |dismissed| dismissed.times);
        let length = first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(most);
        let until = match before {
            // It is waited for already, or the time between two waits is not over.
            Some(before) if !open.is_zero() && now < before.until + open => before.until,
            _ => now + length,
        };
        let dismissed = Dismissed { times: times.saturating_add(1), until, offense: offense.to_owned() };
        self.by_key.insert(key, dismissed);
    }

    /// The whole seconds that are left to wait, and why.
    fn wait(&self, now: Instant, key: u128) -> Option<(u32, &str)> {
        let dismissed = self.by_key.get(&key)?;
        let left = dismissed.until.saturating_duration_since(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX).min(WAIT_SECONDS_MAX);
        (seconds > 0).then_some((seconds, dismissed.offense.as_str()))
    }
}

impl Known {
    fn add(&mut self, identity: Identity) {
        if self.tokens.contains_key(&identity.token) {
            return;
        }
        self.tokens.insert(identity.token, (identity.address, self.next));
        *self.networks.entry(identity.address).or_default() += 1;
        self.in_order.insert(self.next, identity.token);
        self.next += 1;
        if self.tokens.len() > KNOWN_MAX
            && let Some((_, first)) = self.in_order.pop_first()
        {
            self.remove(first);
        }
    }

    fn remove(&mut self, token: u128) {
        let Some((network, number)) = self.tokens.remove(&token) else { return };
        self.in_order.remove(&number);
        if let Some(helpers) = self.networks.get_mut(&network) {
            *helpers -= 1;
            if *helpers == 0 {
                self.networks.remove(&network);
            }
        }
    }
}

/// Names the network of an address: an IPv4 address, or the first half of an IPv6 address, for whoever has one of
/// these has half of all bits to choose from.
pub(crate) fn network_of(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 << 64,
    }
}

/// Whether a network is this machine. A proxy on it that is not trusted makes all volunteers come from here.
pub(crate) fn is_this_machine(network: u128) -> bool {
    network == 0 || network >> 24 == 127
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIE: &str = "a wrong result";

    fn from(token: u128, address: &str) -> Identity {
        Identity { token, address: network_of(address.parse().unwrap()) }
    }

    fn seconds(doors: &Doors, now: Instant, identity: Identity) -> u32 {
        doors.judge(now, identity).map_or_else(|wait| wait.seconds, |()| 0)
    }

    #[test]
    fn each_dismissal_costs_twice_as_long_up_to_a_day_and_is_forgotten() {
        let (doors, mut now) = (Doors::default(), Instant::now());
        let liar = from(1, "192.0.2.1");
        assert_eq!(doors.judge(now, liar), Ok(()));
        let mut waits = Vec::new();
        for _ in 0..14 {
            doors.dismissed(now, liar, LIE);
            waits.push(seconds(&doors, now, liar));
            now += Duration::from_secs(waits.last().copied().unwrap().into());
            assert_eq!(seconds(&doors, now, from(1, "192.0.2.99")), 0, "its time is over");
        }
        assert_eq!(waits[..4], [30, 60, 120, 240]);
        assert_eq!(waits[12..], [WAIT_SECONDS_MAX; 2]);
        doors.dismissed(now + Duration::from_secs(8 * 24 * 3600), liar, LIE);
        assert_eq!(seconds(&doors, now + Duration::from_secs(8 * 24 * 3600), liar), 30);
    }

    #[test]
    fn the_reason_and_the_time_are_told() {
        let (doors, now) = (Doors::default(), Instant::now());
        doors.dismissed(now, from(1, "192.0.2.1"), LIE);
        let text = |token| doors.judge(now, from(token, "192.0.2.1")).unwrap_err().text;
        assert_eq!(
            text(1),
            "The coordinator dismissed this volunteer because it sent a wrong result. It may come back in 30.0 s."
        );
        assert!(text(2).contains("from this network") && text(2).contains("2.0 s"), "{}", text(2));
    }

    #[test]
    fn a_class_behind_one_address_goes_on_without_the_one_who_cheats() {
        let (doors, now) = (Doors::default(), Instant::now());
        (1..30).for_each(|pupil| doors.helped(from(pupil, "192.0.2.1")));
        for time in 0..20 {
            // With another token each time.
            doors.dismissed(now, from(1000 + time, "192.0.2.1"), LIE);
        }
        assert!((1..30).all(|pupil| seconds(&doors, now, from(pupil, "192.0.2.1")) == 0));
        // Not even one who has helped before: it begins anew.
        doors.dismissed(now, from(29, "192.0.2.1"), LIE);
        assert!(!doors.knows(29) && doors.knows(28));
        assert_eq!(seconds(&doors, now, from(30, "192.0.2.1")), 2, "a new one waits, but not for long");
        assert_eq!(seconds(&doors, now, from(30, "192.0.2.2")), 0, "another network");
        assert_eq!(seconds(&doors, now, from(31, "2001:db8::1")), 0);
        doors.dismissed(now, from(32, "2001:db8::2"), LIE);
        assert_eq!(seconds(&doors, now, from(31, "2001:db8::1")), 2, "the same /64");
    }

    #[test]
    fn nobody_keeps_a_network_closed() {
        for (helpers, longest) in [(0, OF_NETWORKS.most), (1, AMONG_HELPERS_MAX)] {
            let (doors, begin) = (Doors::default(), Instant::now());
            (0..helpers).for_each(|pupil| doors.helped(from(pupil, "192.0.2.1")));
            let (mut closed, mut open, mut closed_most) = (0, u64::MAX, 0);
            for second in 0..3600_u64 {
                let now = begin + Duration::from_secs(second);
                // One lies each second, in a session that it began long before.
                doors.dismissed(now, from(1000 + u128::from(second), "192.0.2.1"), LIE);
                if seconds(&doors, now, from(500, "192.0.2.1")) > 0 {
                    assert!(closed > 0 || open >= OF_NETWORKS.open.as_secs(), "open for {open} s only");
                    (closed, open) = (closed + 1, 0);
                    closed_most = closed_most.max(closed);
                } else {
                    (closed, open) = (0, open.saturating_add(1));
                }
            }
            assert_eq!(closed_most, longest.as_secs(), "{helpers} who have helped");
        }
    }

    #[test]
    fn strangers_from_this_machine_do_not_wait_for_each_other() {
        let (doors, now) = (Doors::default(), Instant::now());
        for address in ["127.0.0.1", "127.9.0.1", "::1", "::ffff:127.0.0.1"] {
            doors.dismissed(now, from(1, address), LIE);
            assert_eq!(seconds(&doors, now, from(2, address)), 0, "{address}");
            assert!(seconds(&doors, now, from(1, address)) > 0, "{address}");
        }
    }

    #[test]
    fn who_is_banned_stays_out_wherever_it_comes_from() {
        let (doors, now) = (Doors::default(), Instant::now());
        doors.helped(from(1, "127.0.0.1"));
        doors.ban(1);
        assert_eq!(
            seconds(&doors, now + Duration::from_secs(1 << 30), from(1, "127.0.0.1")),
            WAIT_SECONDS_MAX
        );
        assert_eq!(seconds(&doors, now, from(2, "127.0.0.1")), 0);
    }

    #[test]
    fn help_after_a_dismissal_counts_from_then_on() {
        let (doors, now) = (Doors::default(), Instant::now());
        let helped = |tokens: std::ops::Range<u128>| {
            tokens.for_each(|token| doors.helped(Identity { token, address: 7 }));
        };
        helped(0..2);
        doors.dismissed(now, Identity { token: 0, address: 7 }, LIE);
        // It helps again, later than all but the last.
        helped(2..KNOWN_MAX as u128);
        helped(0..1);
        helped(KNOWN_MAX as u128..KNOWN_MAX as u128 + 1);
        assert!(doors.knows(0) && !doors.knows(1), "those are forgotten first that have helped first");
        assert_eq!(doors.inner().known.tokens.len(), KNOWN_MAX);
    }

    #[test]
    fn however_many_come_what_is_remembered_is_bounded() {
        let (doors, now) = (Doors::default(), Instant::now());
        doors.dismissed(now, from(1, "192.0.2.1"), LIE);
        doors.dismissed(now, from(1, "192.0.2.1"), LIE);
        for token in 2..=WAITS_MAX as u128 + 10 {
            doors.dismissed(now, from(token, "192.0.2.1"), LIE);
        }
        for token in 0..KNOWN_MAX as u128 + 10 {
            doors.helped(Identity { token, address: token % 7 });
        }
        let inner = doors.inner();
        assert_eq!(inner.volunteers.by_key.len(), WAITS_MAX);
        assert!(inner.volunteers.by_key.contains_key(&1), "who waits longest is remembered longest");
        assert_eq!(inner.known.tokens.len(), KNOWN_MAX);
        assert_eq!(inner.known.in_order.len(), KNOWN_MAX);
        assert_eq!(inner.known.networks.values().sum::<usize>(), KNOWN_MAX);
    }
}
