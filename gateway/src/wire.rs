//! The messages on the bus. They are small: vectors travel through the store.

use std::ops::Range;

use engine::ledger::LEASE_RANGES_MAX;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::blob::Name;
use crate::notices::{Ban, NOTICES_IN_MESSAGE_MAX, Notice, Strike};

/// Bytes of a message at most.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Ranges, numbers and orders in a message at most.
const LIST_MAX: usize = 2048;

/// The time that one coordinator leads. The later of two terms is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Term {
    /// Counts the terms of the run. The store lets one object of each number be created.
    pub number: u64,
    /// Random. If a store let two be created after all, the greater one leads.
    pub nonce: u64,
}

/// What a leader says to everybody, again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Broadcast {
    /// A round is open.
    Open(Opening),
    /// It leads, and no round is open: it takes up what another has left, or saves what the training has made.
    Leads {
        /// Its term.
        term: Term,
    },
    /// The training has ended, and the store says so: nobody is needed any more.
    Finished {
        /// Its term.
        term: Term,
    },
}

/// An open round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The leader's term.
    pub term: Term,
    /// The round's number in it.
    pub round: u64,
    /// Rounds that were completed before it.
    pub rounds: u64,
    /// Whether all of its results are to be checked.
    pub is_wary: bool,
    /// How many rounds were completed before the first whose unchecked results can be undone: 0 until some could not.
    pub irrevocable: u64,
    /// Names its frame ([`protocol::frame::encode_round`]) in the store.
    pub frame: Name,
    /// Why the round before it was broken off, if that was because a unit has no result.
    pub unfit: Option<NoResult>,
}

/// A unit that has no result at the scales of its round, as the referee has found: whoever sent one made it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoResult {
    /// The round's number.
    pub round: u64,
    /// The unit.
    pub unit: u32,
}

/// What a gateway says to the leader.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The term of the leader that it follows.
    pub term: Term,
    /// The round that it speaks of.
    pub round: u64,
    /// Its incarnation.
    pub gateway: u64,
    /// Counts the requests of the incarnation in the term, from 1.
    pub number: u64,
    /// How far it has read the leader's log of [notices](Notice).
    pub read: u64,
    /// What it says.
    pub says: Says,
}

/// See [`Request`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Says {
    /// It has room for units.
    Asks {
        /// Cores that its volunteers lend.
        cores: u32,
        /// The speed of its volunteers together, in cost per millisecond; 0 if it is not known.
        speed: f32,
        /// Units that it has and that are not done.
        undone: u32,
        /// The fewest units that are worth a lease.
        least: u32,
    },
    /// It has put a partial sum into the store.
    HandsIn {
        /// The object ([`decode_partial`](crate::decode_partial)).
        blob: Name,
    },
    /// It gives units back.
    GivesBack {
        /// The units.
        units: Vec<Range<u32>>,
    },
    /// There was a lie in partial sums that it has handed in.
    Tainted {
        /// Their numbers.
        partials: Vec<u64>,
    },
    /// A volunteer reports that a unit does not fit.
    Reports {
        /// The unit.
        unit: u32,
    },
    /// Somebody vouches for all of its results in these parts, as it was to [confirm](Order::Confirm).
    Confirms {
        /// The parts' numbers.
        parts: Vec<u32>,
    },
    /// Volunteers of it were dismissed.
    Strikes {
        /// Who, and why.
        strikes: Vec<Strike>,
    },
    /// The operator said this to an earlier leader.
    Bans {
        /// What it said.
        bans: Vec<Ban>,
    },
    /// It is there.
    Pulse,
    /// It is stopped, and has given everything back.
    Leaves,
}

/// What the leader answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The leader's term.
    pub term: Term,
    /// The round that the request speaks of.
    pub round: u64,
    /// Whom it answers.
    pub gateway: u64,
    /// Which request.
    pub number: u64,
    /// The answer.
    pub reply: Reply,
    /// What the gateway is to do besides.
    pub orders: Vec<Order>,
    /// What comes next in the leader's log.
    pub notices: Vec<Notice>,
    /// How far the gateway has read the log with them.
    pub read: u64,
}

/// See [`Answer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// These units are the gateway's now; none, if none are free, or if it has its share.
    Leased {
        /// The units.
        units: Vec<Range<u32>>,
    },
    /// The partial sum counts.
    Taken,
    /// The partial sum does not count.
    Refused,
    /// What it says is noted.
    Noted,
    /// The round that it speaks of is not open.
    RoundIsOver,
    /// It was silent for too long: it owns nothing any more.
    Expelled,
    /// Nothing was asked, and the number is 0: the gateway is to say something, because there is an order for it, or
    /// because units are free for which it has waited. If this is lost, it says something all the same, but later.
    Speak,
}

/// See [`Answer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Give units back that no volunteer has, if there are any; others have nothing to do.
    Recall {
        /// At most so many.
        most: u32,
    },
    /// Have all results in these parts of the round computed by somebody else too.
    Confirm {
        /// The parts' numbers.
        parts: Vec<u32>,
    },
    /// Whether a unit that was reported fits.
    Ruled {
        /// The unit.
        unit: u32,
        /// Whether it does.
        fits: bool,
    },
}

/// Why a message is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a message on the bus that cannot be read: update the coordinator and all gateways to the same version"
)]
pub struct WireError;

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(WireError);
    }
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        _ => Err(WireError),
    }
}

fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_allocvec(message).expect("messages have a form as bytes")
}

fn are_ranges(units: &[Range<u32>], most: usize) -> bool {
    units.len() <= most && units.iter().all(|range| range.start < range.end)
}

impl Broadcast {
    /// The term of the leader that says it.
    pub fn term(&self) -> Term {
        match self {
            Broadcast::Open(Opening { term, .. }) => *term,
            Broadcast::Leads { term } | Broadcast::Finished { term } => *term,
        }
    }

    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(bytes: &[u8]) -> Result<Broadcast, WireError> {
        decode(bytes)
    }
}

impl Request {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(bytes: &[u8]) -> Result<Request, WireError> {
        let request: Request = decode(bytes)?;
        let is_bounded = match &request.says {
            Says::GivesBack { units } => are_ranges(units, LIST_MAX),
            Says::Tainted { partials } => partials.len() <= LIST_MAX,
            Says::Confirms { parts } => parts.len() <= LIST_MAX,
            Says::Strikes { strikes } => {
                strikes.len() <= NOTICES_IN_MESSAGE_MAX && strikes.iter().all(Strike::is_bounded)
            }
            Says::Bans { bans } => bans.len() <= NOTICES_IN_MESSAGE_MAX,
            Says::Asks { speed, .. } => speed.is_finite() && *speed >= 0.0,
            _ => true,
        };
        if is_bounded { Ok(request) } else { Err(WireError) }
    }
}

impl Answer {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(bytes: &[u8]) -> Result<Answer, WireError> {
        let answer: Answer = decode(bytes)?;
        let is_bounded = match &answer.reply {
            Reply::Leased { units } => are_ranges(units, LEASE_RANGES_MAX),
            _ => true,
        };
        let is_short = |notice: &Notice| !matches!(notice, Notice::Strike(strike) if !strike.is_bounded());
        let has_few = answer.notices.len() <= NOTICES_IN_MESSAGE_MAX && answer.orders.len() <= LIST_MAX;
        if is_bounded && has_few && answer.notices.iter().all(is_short) { Ok(answer) } else { Err(WireError) }
    }
}

/// Units that one message can give back: the first of them, if they are more ranges than fit.
pub(crate) fn part_of(units: &mut Vec<Range<u32>>) -> Vec<Range<u32>> {
    let rest = units.split_off(units.len().min(LIST_MAX));
    std::mem::replace(units, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notices::OFFENSE_BYTES_MAX;

    #[test]
    fn what_is_said_arrives_and_nothing_else_does() {
        let term = Term { number: 3, nonce: 9 };
        let says = Says::GivesBack { units: vec![1..4, 7..9] };
        let request = Request { term, round: 2, gateway: 5, number: 1, read: 0, says };
        let bytes = request.encode();
        assert_eq!(Request::decode(&bytes), Ok(request.clone()));
        assert!(Request::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(Request::decode(&[&bytes[..], &[0]].concat()).is_err());
        assert!(Request::decode(&vec![0; MESSAGE_BYTES_MAX + 1]).is_err());
        #[expect(clippy::reversed_empty_ranges, reason = "the check must reject such a range")]
        let reversed = Says::GivesBack { units: vec![4..1] };
        assert!(Request::decode(&Request { says: reversed, ..request.clone() }.encode()).is_err());
        let speed = Says::Asks { cores: 1, speed: f32::NAN, undone: 0, least: 1 };
        assert!(Request::decode(&Request { says: speed, ..request.clone() }.encode()).is_err());
        let most = vec![u32::MAX - 1..u32::MAX; LEASE_RANGES_MAX];
        let reply = Reply::Leased { units: most };
        let strike = Strike {
            id: (u64::MAX, u64::MAX),
            token: u128::MAX,
            network: u128::MAX,
            offense: "o".repeat(OFFENSE_BYTES_MAX),
            is_lie: true,
            unchecked_since: Some(u64::MAX),
            ago_ms: u64::MAX,
        };
        let notices = vec![Notice::Strike(strike.clone()); NOTICES_IN_MESSAGE_MAX];
        let answer =
            Answer { term, round: 2, gateway: 5, number: 1, reply, orders: Vec::new(), notices, read: 9 };
        assert!(answer.encode().len() < MESSAGE_BYTES_MAX / 2, "there is room for orders");
        let strike = Strike { offense: "o".repeat(OFFENSE_BYTES_MAX + 1), ..strike };
        let long = Answer { notices: vec![Notice::Strike(strike.clone())], ..answer.clone() };
        assert!(Answer::decode(&long.encode()).is_err());
        let long = Request { says: Says::Strikes { strikes: vec![strike] }, ..request };
        assert!(Request::decode(&long.encode()).is_err());
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }

    #[test]
    fn the_later_term_is_the_greater() {
        let term = |number, nonce| Term { number, nonce };
        assert!(term(2, 0) > term(1, 9) && term(2, 1) > term(2, 0));
    }

    #[test]
    fn more_ranges_than_fit_go_one_part_after_the_other() {
        let mut units: Vec<Range<u32>> = (0..3000).map(|unit| 2 * unit..2 * unit + 1).collect();
        assert_eq!(part_of(&mut units).len(), LIST_MAX);
        assert_eq!(part_of(&mut units).len(), 3000 - LIST_MAX);
        assert!(part_of(&mut units).is_empty());
    }
}
