//! How often one address, and all together, may ask for something.
//!
//! Each kind of request has a bucket that time refills, for every address and for all. The addresses are those of
//! visitors, also behind a trusted proxy. A school may share one, so the buckets are generous: they are there to
//! keep one script from taking the machine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connections::counted_as;
use super::limits::{
    ADDRESSES_MAX, ALL_TIMES_ONE, BYTES_BURST, BYTES_PER_SECOND, CHANNELS_BURST, CHANNELS_PER_SECOND,
    JOINS_BURST, JOINS_PER_SECOND, REQUESTS_BURST, REQUESTS_PER_SECOND, STATUS_BURST, STATUS_PER_SECOND,
};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Anything at all.
    Request,
    /// The status.
    Status,
    /// A volunteer's channel, or an attempt at an invitation.
    Channel,
    /// So many bytes of shards.
    Bytes(u64),
    /// To join as a volunteer that has never helped before.
    Join,
}

/// Too much was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMuch {
    /// What there was too much of, for a sentence.
    pub(super) what: &'static str,
    /// Whether all visitors together asked for too much.
    pub(super) is_all: bool,
    /// Seconds after which there is room.
    pub(super) seconds: u64,
}

impl std::fmt::Display for TooMuch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TooMuch { what, is_all, seconds } = self;
        let who = if *is_all { "All visitors together" } else { "This address" };
        write!(formatter, "{who} asked for too many {what}; try again in {seconds} s.")
    }
}

/// The buckets of all addresses.
#[derive(Debug)]
pub(super) struct Rates {
    all: Mutex<Buckets>,
    by_address: Mutex<BTreeMap<IpAddr, Buckets>>,
}

#[derive(Debug, Clone, Copy)]
struct Buckets {
    levels: [f64; KINDS],
    filled: Instant,
}

const KINDS: usize = 5;
const NAMES: [&str; KINDS] = ["requests", "statuses", "channels", "bytes", "joins"];
const BURSTS: [u64; KINDS] = [REQUESTS_BURST, STATUS_BURST, CHANNELS_BURST, BYTES_BURST, JOINS_BURST];
const PER_SECOND: [u64; KINDS] =
    [REQUESTS_PER_SECOND, STATUS_PER_SECOND, CHANNELS_PER_SECOND, BYTES_PER_SECOND, JOINS_PER_SECOND];

impl Asked {
    fn bucket(self) -> (usize, f64) {
        match self {
            Asked::Request => (0, 1.0),
            Asked::Status => (1, 1.0),
            Asked::Channel => (2, 1.0),
            Asked::Bytes(bytes) => (3, bytes as f64),
            Asked::Join => (4, 1.0),
        }
    }
}

impl Buckets {
    fn full(times: u64, now: Instant) -> Buckets {
        Buckets { levels: BURSTS.map(|burst| (burst * times) as f64), filled: now }
    }

    fn refill(&mut self, times: u64, now: Instant) {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        for (kind, level) in self.levels.iter_mut().enumerate() {
            let (burst, rate) = ((BURSTS[kind] * times) as f64, (PER_SECOND[kind] * times) as f64);
            *level = (*level + seconds * rate).min(burst);
        }
        self.filled = now;
    }

    fn take(&mut self, asked: Asked, times: u64, now: Instant) -> Result<(), TooMuch> {
        self.refill(times, now);
        let (kind, amount) = asked.bucket();
        // What is larger than the bucket passes once it is full.
        let needed = amount.min((BURSTS[kind] * times) as f64);
        if self.levels[kind] < needed {
            let seconds = (needed - self.levels[kind]) / (PER_SECOND[kind] * times) as f64;
            let seconds = Duration::from_secs_f64(seconds).as_secs() + 1;
            return Err(TooMuch { what: NAMES[kind], is_all: times > 1, seconds });
        }
        self.levels[kind] -= amount;
        Ok(())
    }
}

impl Rates {
    /// Full buckets.
    pub(super) fn new(now: Instant) -> Rates {
        Rates { all: Mutex::new(Buckets::full(ALL_TIMES_ONE, now)), by_address: Mutex::default() }
    }

    /// Takes from the buckets of an address, and of all. This machine's own requests are not counted.
    pub(super) fn take(&self, address: IpAddr, asked: Asked, now: Instant) -> Result<(), TooMuch> {
        let Some(address) = counted_as(address) else { return Ok(()) };
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if by_address.len() >= ADDRESSES_MAX && !by_address.contains_key(&address) {
            by_address.retain(|_, buckets| {
                buckets.refill(1, now);
                (0..BURSTS.len()).any(|kind| buckets.levels[kind] < BURSTS[kind] as f64)
            });
            if by_address.len() >= ADDRESSES_MAX {
                // Somebody has very many addresses. The buckets of all are what is left.
                by_address.clear();
            }
        }
        by_address.entry(address).or_insert_with(|| Buckets::full(1, now)).take(asked, 1, now)?;
        drop(by_address);
        self.all.lock().unwrap_or_else(PoisonError::into_inner).take(asked, ALL_TIMES_ONE, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "192.0.2.1";

    fn take(rates: &Rates, address: &str, asked: Asked, now: Instant) -> Result<(), TooMuch> {
        rates.take(address.parse().unwrap(), asked, now)
    }

    #[test]
    fn a_script_is_told_how_long_to_wait_and_hinders_nobody_else() {
        let now = Instant::now();
        let rates = Rates::new(now);
        let granted =
            (0..10 * STATUS_BURST).filter(|_| take(&rates, ONE, Asked::Status, now).is_ok()).count();
        assert_eq!(granted as u64, STATUS_BURST);
        let refused = take(&rates, ONE, Asked::Status, now).unwrap_err();
        assert!(!refused.is_all && refused.seconds >= 1);
        assert!(refused.to_string().contains("statuses"), "{refused}");
        assert_eq!(take(&rates, ONE, Asked::Channel, now), Ok(()), "another kind");
        assert_eq!(take(&rates, "192.0.2.2", Asked::Status, now), Ok(()));
        assert_eq!(take(&rates, ONE, Asked::Status, now + Duration::from_secs(refused.seconds)), Ok(()));
    }

    #[test]
    fn all_together_have_a_bound_too() {
        let now = Instant::now();
        let rates = Rates::new(now);
        let mut addresses =
            (0..1000_u32).map(|number| IpAddr::from(std::net::Ipv4Addr::from(number + (10 << 24))));
        let refused = addresses.find_map(|address| {
            (0..STATUS_BURST).find_map(|_| rates.take(address, Asked::Status, now).err())
        });
        assert!(refused.expect("a bound").is_all);
    }

    #[test]
    fn however_large_a_shard_is_it_passes_when_nothing_else_has() {
        let now = Instant::now();
        let rates = Rates::new(now);
        assert_eq!(take(&rates, ONE, Asked::Bytes(2 * BYTES_BURST), now), Ok(()));
        assert!(take(&rates, ONE, Asked::Bytes(1), now).is_err());
    }

    #[test]
    fn addresses_do_not_pile_up_and_this_machine_is_free() {
        let now = Instant::now();
        let rates = Rates::new(now);
        for number in 0..2 * ADDRESSES_MAX as u32 {
            let address = IpAddr::from(std::net::Ipv4Addr::from(number + (10 << 24)));
            let _ = rates.take(address, Asked::Request, now);
        }
        assert!(rates.by_address.lock().unwrap().len() <= ADDRESSES_MAX);
        assert!((0..10 * REQUESTS_BURST).all(|_| take(&rates, "127.0.0.1", Asked::Request, now).is_ok()));
    }
}
