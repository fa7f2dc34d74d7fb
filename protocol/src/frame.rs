//! Messages as bytes.
//!
//! A frame is one WebSocket message: a byte that names its kind, then the body. A control message's body is
//! postcard. A round's body is a postcard plan followed by the vectors as little-endian `f32`, so that one
//! buffer serves every session. A chunk's body is raw bytes of a packed vector.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{FRAGMENT_BYTES, PARAMETERS_MAX};
use crate::message::{FromCoordinator, FromVolunteer};
use crate::pack::{BLOCK, pack_block};
use crate::plan::RoundPlan;
use crate::{DecodeError, within};

const KIND_CONTROL: u8 = 1;
const KIND_ROUND: u8 = 2;
const KIND_CHUNK: u8 = 3;

/// A frame from a volunteer.
#[derive(Debug, Clone, PartialEq)]
pub enum UpwardFrame<'a> {
    /// A control message.
    Message(FromVolunteer),
    /// The next bytes of the packed vector that the last result announced.
    Chunk(&'a [u8]),
}

/// A frame from the coordinator.
#[derive(Debug, Clone, PartialEq)]
pub enum DownwardFrame<'a> {
    /// A control message.
    Message(FromCoordinator),
    /// A round begins, and any earlier round ends.
    Round(RoundFrame<'a>),
}

/// The frame that begins a round: its plan, and the vectors at which it is evaluated.
///
/// A coordinator that is still sending it when the next round opens cuts it short, because nobody needs the rest.
/// The volunteer then waits for the next frame.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundFrame<'a> {
    /// The plan.
    pub plan: RoundPlan,
    /// [`RoundPlan::vectors`] vectors of equal length, one after the other, little-endian `f32`.
    pub vectors: &'a [u8],
}

impl RoundFrame<'_> {
    /// Whether the vectors have `parameters` elements each. A frame that was cut short has less.
    pub fn is_whole(&self, parameters: usize) -> bool {
        self.vectors.len() == self.bytes(parameters)
    }

    /// Whether the frame ends before its vectors have `parameters` elements each.
    pub fn is_cut_short(&self, parameters: usize) -> bool {
        self.vectors.len() < self.bytes(parameters)
    }

    fn bytes(&self, parameters: usize) -> usize {
        4 * self.plan.vectors() * parameters
    }

    /// The number of whole elements of each vector.
    pub fn parameters(&self) -> usize {
        self.vectors.len() / 4 / self.plan.vectors()
    }

    /// Vector number `index` (0: the weights, 1: the direction); empty if there is none.
    pub fn vector(&self, index: usize) -> Vec<f32> {
        let bytes = 4 * self.parameters();
        floats(self.vectors.get(index * bytes..(index + 1) * bytes).unwrap_or_default()).collect()
    }
}

/// The little-endian numbers in `bytes`.
pub fn floats(bytes: &[u8]) -> impl ExactSizeIterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

impl FromVolunteer {
    /// The frame of this message.
    pub fn encode(&self) -> Vec<u8> {
        encode_control(self)
    }
}

impl FromCoordinator {
    /// The frame of this message.
    pub fn encode(&self) -> Vec<u8> {
        encode_control(self)
    }
}

/// Encodes the frame that begins a round.
///
/// # Panics
/// If the number of slices in `vectors` differs from [`RoundPlan::vectors`].
pub fn encode_round(plan: &RoundPlan, vectors: &[&[f32]]) -> Vec<u8> {
    assert_eq!(vectors.len(), plan.vectors(), "a round carries the vectors its plan asks for");
    let payload: usize = vectors.iter().map(|vector| 4 * vector.len()).sum();
    let mut bytes = Vec::with_capacity(payload + 1024);
    bytes.push(KIND_ROUND);
    let mut bytes = append(plan, bytes);
    bytes.reserve_exact(payload);
    for vector in vectors {
        bytes.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
    }
    bytes
}

/// The frames that carry `packed`, a packed vector, after the result that announced it.
pub fn encode_chunks(packed: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    packed.chunks(FRAGMENT_BYTES).map(|chunk| {
        let mut bytes = Vec::with_capacity(1 + chunk.len());
        bytes.push(KIND_CHUNK);
        bytes.extend_from_slice(chunk);
        bytes
    })
}

/// The frames that carry a vector's integers, after the result that announced their
/// [`packed_bytes`](crate::pack::packed_bytes). Each frame is packed on demand, so that the packed vector
/// never exists as a whole.
#[derive(Debug)]
pub struct VectorChunks {
    values: Vec<i64>,
    /// The number of values already packed.
    packed: usize,
    /// The next frame: its kind, and packed bytes that no frame has carried yet.
    frame: Vec<u8>,
}

impl VectorChunks {
    /// The frames of `values`.
    pub fn new(values: Vec<i64>) -> VectorChunks {
        VectorChunks { values, packed: 0, frame: vec![KIND_CHUNK] }
    }
}

impl Iterator for VectorChunks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        const FULL: usize = 1 + FRAGMENT_BYTES;
        while self.frame.len() < FULL && self.packed < self.values.len() {
            let end = self.values.len().min(self.packed + BLOCK);
            pack_block(&self.values[self.packed..end], &mut self.frame);
            self.packed = end;
        }
        if self.frame.len() <= 1 {
            return None;
        }
        let mut next = Vec::with_capacity(FULL + BLOCK * 8 + 1);
        next.push(KIND_CHUNK);
        next.extend(self.frame.drain(self.frame.len().min(FULL)..));
        Some(std::mem::replace(&mut self.frame, next))
    }
}

/// Decodes a volunteer's frame.
pub fn decode_upward(bytes: &[u8]) -> Result<UpwardFrame<'_>, DecodeError> {
    let (&kind, body) = bytes.split_first().ok_or(DecodeError::Truncated)?;
    match kind {
        KIND_CONTROL => {
            let message: FromVolunteer = decode_control(body)?;
            message.check()?;
            Ok(UpwardFrame::Message(message))
        }
        KIND_CHUNK => {
            within("a chunk", body.len() as u64, FRAGMENT_BYTES as u64)?;
            Ok(UpwardFrame::Chunk(body))
        }
        other => Err(DecodeError::UnknownKind(other)),
    }
}

/// The protocol version at the start of a hello, whatever follows; `None` if the frame is not a hello. The
/// kind of frame, the number of the variant and the version keep their places in every version, so that a
/// volunteer with another version can be told about it.
pub fn hello_version(bytes: &[u8]) -> Option<u16> {
    const VARIANT_HELLO: u32 = 0;
    match postcard::take_from_bytes::<(u8, u32, u16)>(bytes) {
        Ok(((KIND_CONTROL, VARIANT_HELLO, version), _)) => Some(version),
        _ => None,
    }
}

/// Decodes a coordinator's frame.
pub fn decode_downward(bytes: &[u8]) -> Result<DownwardFrame<'_>, DecodeError> {
    let (&kind, body) = bytes.split_first().ok_or(DecodeError::Truncated)?;
    match kind {
        KIND_CONTROL => {
            let message: FromCoordinator = decode_control(body)?;
            message.check()?;
            Ok(DownwardFrame::Message(message))
        }
        KIND_ROUND => {
            let (plan, vectors): (RoundPlan, _) =
                postcard::take_from_bytes(body).map_err(|_| DecodeError::Malformed)?;
            plan.check()?;
            let frame = RoundFrame { plan, vectors };
            within("the number of parameters", frame.parameters() as u64, PARAMETERS_MAX as u64)?;
            Ok(DownwardFrame::Round(frame))
        }
        other => Err(DecodeError::UnknownKind(other)),
    }
}

fn encode_control<M: Serialize>(message: &M) -> Vec<u8> {
    append(message, vec![KIND_CONTROL])
}

fn append<M: Serialize>(message: &M, bytes: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(message, bytes).expect("messages consist of encodable parts only")
}

fn decode_control<M: DeserializeOwned>(body: &[u8]) -> Result<M, DecodeError> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(DecodeError::TrailingBytes(rest.len())),
        Err(postcard::Error::DeserializeUnexpectedEnd) => Err(DecodeError::Truncated),
        Err(_) => Err(DecodeError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{Farewell, Hello, Ready, ResultHeader, Unfit};
    use crate::plan::{Assignment, Part, Set, Work};
    use crate::scales::Scales;
    use model::Arithmetic;

    fn upward() -> Vec<FromVolunteer> {
        vec![
            FromVolunteer::Hello(Hello {
                protocol: 1,
                arithmetic: Arithmetic::Fused,
                known_answer: [7; 32],
                cores: 3,
                fused_capable: true,
                agent: "a browser".into(),
                token: [9; 16],
            }),
            FromVolunteer::Ready(Ready { training_shards: vec![0, 5, 70_000] }),
            FromVolunteer::Cores(0),
            FromVolunteer::Result(ResultHeader {
                run: u64::MAX,
                round: 3,
                version: 2,
                assignment: 9,
                losses: vec![i64::MIN, 0, i64::MAX],
                unfit_steps: 5,
                correct: 1,
                vector_bytes: 12,
            }),
            FromVolunteer::Unfit(Unfit { assignment: 1, round: 2, unit: 3 }),
            FromVolunteer::Decline { assignment: 4, reason: "a shard is missing".into() },
        ]
    }

    fn plan(work: Work) -> RoundPlan {
        let part = Part::in_turn(work, Set::Training, 4);
        RoundPlan {
            round: 1,
            version: 2,
            scales: Scales {
                vector_exponent: -3,
                loss_exponent: 30,
                evaluation_exponent: 30,
                ..Scales::default()
            },
            parts: vec![part],
            ..RoundPlan::default()
        }
    }

    #[test]
    fn messages_survive_the_journey() {
        for message in upward() {
            let bytes = message.encode();
            assert_eq!(decode_upward(&bytes), Ok(UpwardFrame::Message(message)));
        }
        let assignment = Assignment { assignment: 1, round: 2, units: vec![0..3, 7..9] };
        for message in [
            FromCoordinator::Assign(assignment),
            FromCoordinator::Finished(Farewell { text: "done".into(), ..Farewell::default() }),
            FromCoordinator::Heartbeat,
        ] {
            let bytes = message.encode();
            assert_eq!(decode_downward(&bytes), Ok(DownwardFrame::Message(message)));
        }
    }

    #[test]
    fn a_round_carries_its_vectors_bit_for_bit() {
        let weights = [1.5f32, -0.0, f32::MIN_POSITIVE / 2.0];
        let direction = [0.25f32, 3.0, -1.0];
        let plan = plan(Work::Losses { steps: vec![0.5, 0.25] });
        let bytes = encode_round(&plan, &[&weights, &direction]);
        let Ok(DownwardFrame::Round(frame)) = decode_downward(&bytes) else { panic!("a round") };
        assert_eq!(frame.plan, plan);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&frame.vector(0)), bits(&weights));
        assert_eq!(bits(&frame.vector(1)), bits(&direction));
        assert!(frame.vector(2).is_empty());
    }

    #[test]
    fn a_vector_packed_as_it_goes_travels_in_the_same_frames() {
        for length in [0u32, 1, 127, 128, 5_000, 20_000] {
            let values: Vec<i64> = (0..length).map(|index| i64::from(index * 7919) << (index % 30)).collect();
            let expected: Vec<_> = encode_chunks(&crate::pack::pack(&values)).collect();
            assert_eq!(VectorChunks::new(values).collect::<Vec<_>>(), expected, "{length} values");
        }
    }

    #[test]
    fn frames_cut_short_or_too_long_are_refused() {
        for message in upward() {
            let bytes = message.encode();
            for end in 0..bytes.len() {
                assert!(decode_upward(&bytes[..end]).is_err());
            }
            let mut longer = bytes;
            longer.push(0);
            assert_eq!(decode_upward(&longer), Err(DecodeError::TrailingBytes(1)));
        }
        let bytes = encode_round(&plan(Work::Gradient), &[&[1.0, 2.0]]);
        for (end, whole) in [(bytes.len(), true), (bytes.len() - 1, false), (bytes.len() - 8, false)] {
            let Ok(DownwardFrame::Round(round)) = decode_downward(&bytes[..end]) else { panic!("a round") };
            assert_eq!((round.is_whole(2), round.is_cut_short(2)), (whole, !whole));
        }
        assert!(decode_downward(&bytes[..bytes.len() - 9]).is_err(), "not even a plan");
    }

    #[test]
    fn values_over_their_limits_are_refused() {
        let long = FromVolunteer::Decline { assignment: 0, reason: "x".repeat(10_000) };
        assert!(matches!(decode_upward(&long.encode()), Err(DecodeError::OverLimit { .. })));
        let chunk = [vec![KIND_CHUNK], vec![0; FRAGMENT_BYTES + 1]].concat();
        assert!(matches!(decode_upward(&chunk), Err(DecodeError::OverLimit { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_upward(&bytes);
            let _ = decode_downward(&bytes);
        }

        #[test]
        fn any_change_of_one_byte_is_no_panic(index in 0usize..1000, value: u8) {
            for message in upward() {
                let mut bytes = message.encode();
                let index = index % bytes.len();
                bytes[index] = value;
                let _ = decode_upward(&bytes);
            }
        }
    }
}
