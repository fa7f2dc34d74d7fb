//! The messages between a hub and its compute workers.
//!
//! Within a process, the values themselves are sent. For `postMessage`, each message is split into
//! [`MessageParts`]: a small header, and at most one large payload that is transferred or copied once.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use protocol::frame::floats;
use protocol::plan::{RoundPlan, Set};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::shared_round::SharedRound;
use crate::shared_shard::SharedShard;
use crate::unit::UnitSums;

/// A message from the hub to one compute worker. Messages must arrive in the order in which they were sent.
#[derive(Debug, Clone)]
pub enum ToCompute {
    /// A run begins: the frame of its [`protocol::message::Welcome`]. All earlier state is void.
    Setup(Bytes),
    /// A round begins. The sums of earlier rounds are void.
    Round(Arc<SharedRound>),
    /// A shard that the next jobs need.
    Shard {
        /// The set it belongs to.
        set: Set,
        /// Its index in the set's plan.
        shard: u32,
        /// Its verified content.
        content: Arc<SharedShard>,
    },
    /// A shard is no longer needed.
    DropShard {
        /// The set it belongs to.
        set: Set,
        /// Its index in the set's plan.
        shard: u32,
    },
    /// Evaluate units and add them to the assignment's sums. The answer is [`FromCompute::Done`],
    /// [`FromCompute::Unfit`] or [`FromCompute::Failed`].
    Run(Job),
    /// Hand over an assignment's sums. The answer is [`FromCompute::Sums`].
    Collect {
        /// The assignment.
        assignment: u64,
    },
    /// Forget an assignment's sums. There is no answer.
    Discard {
        /// The assignment.
        assignment: u64,
    },
}

/// Some units of an assignment, for one compute worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The job's number, by the hub's own count.
    pub job: u64,
    /// The assignment to whose sums the units are added, by the hub's own count.
    pub assignment: u64,
    /// Ranges of the round's units.
    pub units: Vec<Range<u32>>,
}

/// A message from a compute worker to its hub.
#[derive(Debug, Clone, PartialEq)]
pub enum FromCompute {
    /// All units of a job are in the assignment's sums.
    Done {
        /// The job.
        job: u64,
    },
    /// A unit does not fit the round's fixed point or is not finite.
    Unfit {
        /// The job, which ends here.
        job: u64,
        /// The round's unit.
        unit: u32,
    },
    /// A job cannot be done.
    Failed {
        /// The job, which ends here.
        job: u64,
        /// The reason, for the coordinator's log.
        reason: String,
    },
    /// An assignment's sums over the jobs done since they were last collected.
    Sums {
        /// The assignment.
        assignment: u64,
        /// The sums.
        sums: UnitSums,
    },
}

/// A message cut for `postMessage`.
#[derive(Debug, Clone)]
pub struct MessageParts<P> {
    /// The message without its payload, in a few bytes.
    pub header: Vec<u8>,
    /// The payload; empty if there is none.
    pub payload: P,
}

/// Why parts cannot be joined to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MessagePartsError {
    /// Hub and compute worker come from different builds.
    #[error("a message between hub and compute worker is malformed")]
    Malformed,
    /// There is no room for the payload.
    #[error("there is too little memory for a message between hub and compute worker")]
    Memory,
}

/// The payload of a message to a compute worker, shared with the hub.
#[derive(Debug, Clone)]
pub enum Payload {
    /// There is no payload.
    None,
    /// A frame, or a round's vectors.
    Bytes(Bytes),
    /// A shard.
    Shard(Arc<SharedShard>),
}

/// A payload that has arrived. It is read once, as the type that its header names, so that no second copy
/// exists.
pub trait Bulk {
    /// The bytes themselves.
    fn bytes(self) -> Result<Vec<u8>, MessagePartsError>;
    /// The bytes as little-endian `f32`.
    fn floats(self) -> Result<Vec<f32>, MessagePartsError>;
    /// The bytes as little-endian `i64`.
    fn integers(self) -> Result<Vec<i64>, MessagePartsError>;
}

impl Bulk for Vec<u8> {
    fn bytes(self) -> Result<Vec<u8>, MessagePartsError> {
        Ok(self)
    }

    fn floats(self) -> Result<Vec<f32>, MessagePartsError> {
        if self.len().is_multiple_of(4) {
            Ok(floats(&self).collect())
        } else {
            Err(MessagePartsError::Malformed)
        }
    }

    fn integers(self) -> Result<Vec<i64>, MessagePartsError> {
        let (words, []) = self.as_chunks() else { return Err(MessagePartsError::Malformed) };
        Ok(words.iter().map(|word| i64::from_le_bytes(*word)).collect())
    }
}

impl Payload {
    /// The bytes to copy.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Payload::None => &[],
            Payload::Bytes(bytes) => bytes,
            Payload::Shard(shard) => shard.bytes(),
        }
    }
}

#[derive(Serialize, Deserialize)]
enum ToHeader {
    Setup,
    Round(RoundPlan),
    Shard { set: Set, shard: u32 },
    DropShard { set: Set, shard: u32 },
    Run(Job),
    Collect { assignment: u64 },
    Discard { assignment: u64 },
}

#[derive(Serialize, Deserialize)]
enum FromHeader {
    Done { job: u64 },
    Unfit { job: u64, unit: u32 },
    Failed { job: u64, reason: String },
    Sums { assignment: u64, losses: Vec<i64>, unfit_steps: u32, correct: u64, has_vector: bool },
}

impl Bulk for Vec<i64> {
    fn bytes(self) -> Result<Vec<u8>, MessagePartsError> {
        Err(MessagePartsError::Malformed)
    }

    fn floats(self) -> Result<Vec<f32>, MessagePartsError> {
        Err(MessagePartsError::Malformed)
    }

    fn integers(self) -> Result<Vec<i64>, MessagePartsError> {
        Ok(self)
    }
}

impl ToCompute {
    /// Splits the message into header and payload, without copying the payload.
    pub fn into_parts(self) -> MessageParts<Payload> {
        let (header, payload) = match self {
            ToCompute::Setup(frame) => (ToHeader::Setup, Payload::Bytes(frame)),
            ToCompute::Round(round) => {
                (ToHeader::Round(round.plan().clone()), Payload::Bytes(round.bytes().clone()))
            }
            ToCompute::Shard { set, shard, content } => {
                (ToHeader::Shard { set, shard }, Payload::Shard(content))
            }
            ToCompute::DropShard { set, shard } => (ToHeader::DropShard { set, shard }, Payload::None),
            ToCompute::Run(job) => (ToHeader::Run(job), Payload::None),
            ToCompute::Collect { assignment } => (ToHeader::Collect { assignment }, Payload::None),
            ToCompute::Discard { assignment } => (ToHeader::Discard { assignment }, Payload::None),
        };
        MessageParts { header: encode(&header), payload }
    }

    /// Joins a message's parts.
    pub fn from_parts(header: &[u8], payload: impl Bulk) -> Result<ToCompute, MessagePartsError> {
        Ok(match postcard::from_bytes(header).map_err(|_| MessagePartsError::Malformed)? {
            ToHeader::Setup => ToCompute::Setup(payload.bytes()?.into()),
            ToHeader::Round(plan) => {
                ToCompute::Round(Arc::new(SharedRound::decoded(plan, payload.floats()?)))
            }
            ToHeader::Shard { set, shard } => {
                ToCompute::Shard { set, shard, content: Arc::new(SharedShard::new(payload.bytes()?)) }
            }
            ToHeader::DropShard { set, shard } => ToCompute::DropShard { set, shard },
            ToHeader::Run(job) => ToCompute::Run(job),
            ToHeader::Collect { assignment } => ToCompute::Collect { assignment },
            ToHeader::Discard { assignment } => ToCompute::Discard { assignment },
        })
    }
}

impl FromCompute {
    /// Splits the message into header and payload. The payload is the vector, as little-endian `i64`.
    pub fn into_parts(self) -> MessageParts<Vec<i64>> {
        let mut payload = Vec::new();
        let header = match self {
            FromCompute::Done { job } => FromHeader::Done { job },
            FromCompute::Unfit { job, unit } => FromHeader::Unfit { job, unit },
            FromCompute::Failed { job, reason } => FromHeader::Failed { job, reason },
            FromCompute::Sums { assignment, sums } => {
                let UnitSums { losses, unfit_steps, correct, vector } = sums;
                let has_vector = vector.is_some();
                payload = vector.unwrap_or_default();
                FromHeader::Sums { assignment, losses, unfit_steps, correct, has_vector }
            }
        };
        MessageParts { header: encode(&header), payload }
    }

    /// Joins a message's parts.
    pub fn from_parts(header: &[u8], payload: impl Bulk) -> Result<FromCompute, MessagePartsError> {
        Ok(match postcard::from_bytes(header).map_err(|_| MessagePartsError::Malformed)? {
            FromHeader::Done { job } => FromCompute::Done { job },
            FromHeader::Unfit { job, unit } => FromCompute::Unfit { job, unit },
            FromHeader::Failed { job, reason } => FromCompute::Failed { job, reason },
            FromHeader::Sums { assignment, losses, unfit_steps, correct, has_vector } => {
                let vector = if has_vector { Some(payload.integers()?) } else { None };
                FromCompute::Sums { assignment, sums: UnitSums { losses, unfit_steps, correct, vector } }
            }
        })
    }
}

fn encode<H: Serialize>(header: &H) -> Vec<u8> {
    postcard::to_stdvec(header).expect("headers consist of encodable parts only")
}

#[cfg(test)]
mod tests {
    use protocol::scales::Scales;

    use super::*;

    #[test]
    fn messages_to_a_compute_worker_survive_post_message() {
        let units = vec![0..3, 8..9];
        let messages = [
            ToCompute::Setup(Bytes::from_static(&[1, 2, 3])),
            ToCompute::Shard { set: Set::Test, shard: 7, content: Arc::new(SharedShard::new(vec![9; 40])) },
            ToCompute::DropShard { set: Set::Training, shard: 1 },
            ToCompute::Run(Job { job: 4, assignment: u64::MAX, units }),
            ToCompute::Collect { assignment: 3 },
            ToCompute::Discard { assignment: 4 },
        ];
        for message in messages {
            let parts = message.clone().into_parts();
            let back = ToCompute::from_parts(&parts.header, parts.payload.bytes().to_vec()).unwrap();
            assert_eq!(format!("{back:?}"), format!("{message:?}"));
        }
        assert!(ToCompute::from_parts(&[200], Vec::<u8>::new()).is_err());
    }

    #[test]
    fn a_rounds_vectors_survive_post_message_bit_for_bit() {
        let plan = RoundPlan {
            round: 4,
            version: 3,
            mask_epoch: 2,
            scales: Scales {
                vector_exponent: 1,
                statistics_exponent: 0,
                loss_exponent: -1,
                evaluation_exponent: 5,
            },
            parts: Vec::new(),
        };
        let values = [1.5f32, -0.0, f32::MIN_POSITIVE / 2.0];
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let round = Arc::new(SharedRound::new(plan, bytes.into()));
        let parts = ToCompute::Round(Arc::clone(&round)).into_parts();
        let arrived = parts.payload.bytes().to_vec();
        let Ok(ToCompute::Round(back)) = ToCompute::from_parts(&parts.header, arrived) else { panic!() };
        assert_eq!(back.plan(), round.plan());
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(back.values()), bits(&values));
        let cut = parts.payload.bytes()[..7].to_vec();
        assert_eq!(ToCompute::from_parts(&parts.header, cut).unwrap_err(), MessagePartsError::Malformed);
    }

    #[test]
    fn messages_from_a_compute_worker_survive_post_message() {
        let sums = |vector| UnitSums { losses: vec![-5, i64::MAX], unfit_steps: 2, correct: 8, vector };
        let messages = [
            FromCompute::Done { job: 1 },
            FromCompute::Unfit { job: 2, unit: 3 },
            FromCompute::Failed { job: 4, reason: "why".into() },
            FromCompute::Sums { assignment: 5, sums: sums(Some(vec![i64::MIN, 0, 7])) },
            FromCompute::Sums { assignment: 5, sums: sums(None) },
        ];
        for message in messages {
            let parts = message.clone().into_parts();
            let arrived: Vec<u8> = parts.payload.iter().flat_map(|value| value.to_le_bytes()).collect();
            assert_eq!(FromCompute::from_parts(&parts.header, arrived), Ok(message));
        }
        let parts = FromCompute::Sums { assignment: 5, sums: sums(Some(vec![1])) }.into_parts();
        assert_eq!(FromCompute::from_parts(&parts.header, vec![0u8; 7]), Err(MessagePartsError::Malformed));
    }
}
