//! From a volunteer's frames to messages that the engine takes.
//!
//! Volunteers are strangers, so the decoder checks every frame, chunk by chunk, before the engine hears of
//! it. A decoded result has the run's number, its packed vector has a possible size and unpacks to exactly
//! the network's parameters, and no message is out of order. The validator then decides whether a result
//! answers an assignment. WebSocket sessions and the in-process volunteer share this code. It does no I/O.
//!
//! A vector takes memory as it arrives, far more unpacked than packed, and time to unpack. So a result with a
//! vector is first [`Upward::Announced`]: the session's owner checks that it is owed, and finds room for its bytes
//! or has them skipped. Then it is [`Upward::Packed`]: the owner finds room for it and chooses where to unpack
//! it.

use protocol::DecodeError;
use protocol::frame::{UpwardFrame, decode_upward};
use protocol::limits::FRAGMENT_BYTES;
use protocol::message::{FromVolunteer, Hello, ResultHeader, Unfit};
use protocol::pack::{BLOCK, packed_bytes_max, unpack};
use thiserror::Error;

/// A message from a volunteer that has joined: checked by itself, not yet against the open round.
#[derive(Debug)]
pub enum Message {
    /// The volunteer lends another number of cores; zero pauses it.
    Cores(u16),
    /// An assignment is done.
    Result {
        /// The scalars.
        header: ResultHeader,
        /// The unpacked vector; its length is the network's number of parameters.
        vector: Option<Vec<i64>>,
    },
    /// A unit does not fit.
    Unfit(Unfit),
    /// The volunteer gives an assignment back.
    Declined {
        /// The assignment.
        assignment: u64,
        /// The volunteer's reason, in its own words.
        reason: String,
    },
}

/// A message that no honest volunteer sends. The session tells the volunteer and closes. In words, it is the object
/// of "it sent".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Misbehavior {
    /// A frame or a packed vector cannot be read.
    #[error("an unreadable message: {0}")]
    Undecodable(#[from] DecodeError),
    /// A message that does not belong here.
    #[error("a message out of order")]
    OutOfOrder,
    /// A result of some other run.
    #[error("a result of another run")]
    OtherRun,
    /// A vector that the network cannot have.
    #[error("an announcement of a vector of {0} bytes, which this network cannot have")]
    VectorSize(u32),
    /// A chunk that is not the announced vector's next.
    #[error("a chunk of the wrong size")]
    ChunkSize,
    /// Shards that the run does not have, or not in increasing order.
    #[error("a list of shards that do not exist")]
    UnknownShard,
}

/// Reads a session's first frame.
pub fn read_hello(bytes: &[u8]) -> Result<Hello, Misbehavior> {
    match decode_upward(bytes)? {
        UpwardFrame::Message(FromVolunteer::Hello(hello)) => Ok(hello),
        _ => Err(Misbehavior::OutOfOrder),
    }
}

/// Reads the frame that answers the welcome: which of the training set's `shards` shards the
/// volunteer holds.
pub fn read_ready(bytes: &[u8], shards: usize) -> Result<Vec<u32>, Misbehavior> {
    let UpwardFrame::Message(FromVolunteer::Ready(ready)) = decode_upward(bytes)? else {
        return Err(Misbehavior::OutOfOrder);
    };
    let held = ready.training_shards;
    let in_range = held.last().is_none_or(|last| (*last as usize) < shards);
    if !in_range || !held.is_sorted_by(|a, b| a < b) {
        return Err(Misbehavior::UnknownShard);
    }
    Ok(held)
}

/// A volunteer's complete message.
#[derive(Debug)]
pub enum Upward {
    /// A message for the engine.
    Message(Message),
    /// A result begins whose vector of `vector_bytes` bytes follows. Nothing is held for it yet.
    Announced {
        /// The assignment that it answers.
        assignment: u64,
        /// The round that it belongs to.
        round: u64,
        /// Bytes of its packed vector.
        vector_bytes: u32,
    },
    /// A result that is still to be unpacked.
    Packed(PackedResult),
}

impl Upward {
    /// Unpacks the message for the engine at once; `None` if it is not complete.
    pub fn unpack(self) -> Result<Option<Message>, Misbehavior> {
        match self {
            Upward::Message(message) => Ok(Some(message)),
            Upward::Announced { .. } => Ok(None),
            Upward::Packed(result) => result.unpack().map(Some),
        }
    }
}

/// A result with its complete vector, still packed.
#[derive(Debug)]
pub struct PackedResult {
    header: ResultHeader,
    packed: Vec<u8>,
    parameters: usize,
}

impl PackedResult {
    /// Number of values in the vector.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Bytes of the vector once it is unpacked.
    pub fn unpacked_bytes(&self) -> usize {
        self.parameters * size_of::<i64>()
    }

    /// The message for the engine. Takes time proportional to the parameters.
    pub fn unpack(self) -> Result<Message, Misbehavior> {
        let vector = unpack(&self.packed, self.parameters)?;
        Ok(Message::Result { header: self.header, vector: Some(vector) })
    }
}

/// Reads all later frames.
#[derive(Debug)]
pub struct UpwardDecoder {
    run: u64,
    parameters: usize,
    arriving: Option<Arriving>,
}

/// A result whose vector is not yet here whole.
#[derive(Debug)]
struct Arriving {
    header: ResultHeader,
    /// Bytes of the vector that have not arrived.
    missing: usize,
    /// Those that have; `None` if they are skipped.
    packed: Option<Vec<u8>>,
}

impl UpwardDecoder {
    /// For a session of run number `run` ([`protocol::message::Welcome::run`]) whose network has
    /// `parameters` parameters.
    pub fn new(run: u64, parameters: usize) -> UpwardDecoder {
        UpwardDecoder { run, parameters, arriving: None }
    }

    /// Takes the next frame; answers with what it completes, unpacked at once. After an error the
    /// session is over.
    pub fn frame(&mut self, bytes: &[u8]) -> Result<Option<Message>, Misbehavior> {
        self.take(bytes)?.map_or(Ok(None), Upward::unpack)
    }

    /// Takes the next frame; answers with what it completes. After an error the session is over.
    ///
    /// Holds at most the packed bytes that the network's vector can have
    /// ([`packed_bytes_max`]), and those only as they arrive.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Upward>, Misbehavior> {
        let arriving = self.arriving.take();
        match (decode_upward(bytes)?, arriving) {
            (UpwardFrame::Chunk(chunk), Some(arriving)) => self.chunk(arriving, chunk),
            (UpwardFrame::Message(message), None) => self.message(message),
            _ => Err(Misbehavior::OutOfOrder),
        }
    }

    /// Drops the vector that is arriving, and skips the rest of it. The result is never completed.
    pub fn skip(&mut self) {
        if let Some(arriving) = &mut self.arriving {
            arriving.packed = None;
        }
    }

    /// Whether a result has begun and its vector is not complete.
    pub fn is_mid_result(&self) -> bool {
        self.arriving.is_some()
    }

    fn message(&mut self, message: FromVolunteer) -> Result<Option<Upward>, Misbehavior> {
        let message = match message {
            FromVolunteer::Hello(_) | FromVolunteer::Ready(_) => return Err(Misbehavior::OutOfOrder),
            FromVolunteer::Cores(cores) => Message::Cores(cores),
            FromVolunteer::Unfit(unfit) => Message::Unfit(unfit),
            FromVolunteer::Decline { assignment, reason } => Message::Declined { assignment, reason },
            FromVolunteer::Result(header) => return self.result(header),
        };
        Ok(Some(Upward::Message(message)))
    }

    fn result(&mut self, header: ResultHeader) -> Result<Option<Upward>, Misbehavior> {
        if header.run != self.run {
            return Err(Misbehavior::OtherRun);
        }
        let size = header.vector_bytes as usize;
        if size == 0 {
            return Ok(Some(Upward::Message(Message::Result { header, vector: None })));
        }
        // Every block takes at least the byte that gives its width.
        let least = self.parameters.div_ceil(BLOCK).max(1);
        if size < least || size > packed_bytes_max(self.parameters) {
            return Err(Misbehavior::VectorSize(header.vector_bytes));
        }
        let (assignment, round, vector_bytes) = (header.assignment, header.round, header.vector_bytes);
        self.arriving = Some(Arriving { header, missing: size, packed: Some(Vec::new()) });
        Ok(Some(Upward::Announced { assignment, round, vector_bytes }))
    }

    /// Full chunks only, but for the last: so the number of messages is bounded as well.
    fn chunk(&mut self, mut arriving: Arriving, chunk: &[u8]) -> Result<Option<Upward>, Misbehavior> {
        if chunk.len() != arriving.missing.min(FRAGMENT_BYTES) {
            return Err(Misbehavior::ChunkSize);
        }
        if let Some(packed) = &mut arriving.packed {
            // All of it at once, for it would otherwise grow to twice its size. The system gives memory only as
            // it is written to.
            packed.reserve_exact(arriving.missing);
            packed.extend_from_slice(chunk);
        }
        arriving.missing -= chunk.len();
        if arriving.missing > 0 {
            self.arriving = Some(arriving);
            return Ok(None);
        }
        let Arriving { header, packed, .. } = arriving;
        Ok(packed.map(|packed| Upward::Packed(PackedResult { header, packed, parameters: self.parameters })))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::frame::encode_chunks;
    use protocol::message::Ready;
    use protocol::pack::pack;

    use super::*;

    const RUN: u64 = 77;
    const PARAMETERS: usize = 5000;

    fn header(vector_bytes: usize) -> ResultHeader {
        ResultHeader {
            run: RUN,
            round: 2,
            version: 3,
            assignment: 4,
            losses: vec![-1],
            unfit_steps: 0,
            correct: 0,
            vector_bytes: vector_bytes as u32,
        }
    }

    fn result(vector_bytes: usize) -> Vec<u8> {
        FromVolunteer::Result(header(vector_bytes)).encode()
    }

    fn vector() -> Vec<i64> {
        (0..PARAMETERS as i64).map(|index| index * index * 7919 - (1 << 40)).collect()
    }

    fn decoder() -> UpwardDecoder {
        UpwardDecoder::new(RUN, PARAMETERS)
    }

    #[test]
    fn a_result_is_complete_with_its_last_chunk() {
        let packed = pack(&vector());
        assert!(packed.len() > FRAGMENT_BYTES, "more than one chunk");
        let mut decoder = decoder();
        // Twice, because the second must not be disturbed by the first.
        for _ in 0..2 {
            assert!(decoder.frame(&result(packed.len())).unwrap().is_none());
            let mut last = None;
            for chunk in encode_chunks(&packed) {
                assert!(decoder.is_mid_result() && last.is_none());
                last = decoder.frame(&chunk).unwrap();
            }
            let Some(Message::Result { header: found, vector: Some(unpacked) }) = last else {
                panic!("a result")
            };
            assert_eq!((found, unpacked), (header(packed.len()), vector()));
        }
    }

    #[test]
    fn a_vector_that_is_skipped_is_not_held_and_disturbs_nothing() {
        let packed = pack(&vector());
        let chunks: Vec<_> = encode_chunks(&packed).collect();
        for skipped_at in 0..chunks.len() {
            let mut decoder = decoder();
            let announced = decoder.take(&result(packed.len())).unwrap();
            assert!(matches!(announced, Some(Upward::Announced { assignment: 4, round: 2, vector_bytes })
                    if vector_bytes as usize == packed.len()));
            for (index, chunk) in chunks.iter().enumerate() {
                if index == skipped_at {
                    decoder.skip();
                }
                assert!(decoder.is_mid_result());
                assert!(decoder.take(chunk).unwrap().is_none());
            }
            assert!(!decoder.is_mid_result());
            assert!(decoder.frame(&result(0)).unwrap().is_some());
        }
    }

    #[test]
    fn what_has_no_vector_is_complete_at_once() {
        let mut decoder = decoder();
        let scalars = decoder.frame(&result(0)).unwrap();
        assert!(matches!(scalars, Some(Message::Result { vector: None, .. })));
        let unfit = Unfit { assignment: 1, round: 2, unit: 3 };
        let told = decoder.frame(&FromVolunteer::Unfit(unfit).encode()).unwrap();
        assert!(matches!(told, Some(Message::Unfit(told)) if told == unfit));
        let told = decoder.frame(&FromVolunteer::Cores(3).encode()).unwrap();
        assert!(matches!(told, Some(Message::Cores(3))));
        let declined = FromVolunteer::Decline { assignment: 9, reason: "x".into() };
        let told = decoder.frame(&declined.encode()).unwrap();
        assert!(matches!(told, Some(Message::Declined { assignment: 9, .. })));
    }

    #[test]
    fn vectors_and_chunks_of_impossible_sizes_are_refused() {
        for size in [1, PARAMETERS.div_ceil(BLOCK) - 1, packed_bytes_max(PARAMETERS) + 1] {
            let refused = decoder().frame(&result(size)).unwrap_err();
            assert_eq!(refused, Misbehavior::VectorSize(size as u32));
        }
        let packed = pack(&vector());
        let chunks: Vec<_> = encode_chunks(&packed).collect();
        let mut decoder = decoder();
        decoder.frame(&result(packed.len())).unwrap();
        assert_eq!(decoder.frame(&chunks[0][..100]).unwrap_err(), Misbehavior::ChunkSize);
    }

    #[test]
    fn chunks_and_messages_out_of_order_are_refused() {
        let packed = pack(&vector());
        let chunk = encode_chunks(&packed).next().unwrap();
        assert_eq!(decoder().frame(&chunk).unwrap_err(), Misbehavior::OutOfOrder);
        let mut interrupted = decoder();
        interrupted.frame(&result(packed.len())).unwrap();
        assert_eq!(interrupted.frame(&result(0)).unwrap_err(), Misbehavior::OutOfOrder);
        let ready = FromVolunteer::Ready(Ready { training_shards: Vec::new() }).encode();
        assert_eq!(decoder().frame(&ready).unwrap_err(), Misbehavior::OutOfOrder);
        assert_eq!(read_hello(&ready).unwrap_err(), Misbehavior::OutOfOrder);
    }

    #[test]
    fn another_runs_result_and_unknown_shards_are_refused() {
        let other = FromVolunteer::Result(ResultHeader { run: RUN + 1, ..header(0) });
        assert_eq!(decoder().frame(&other.encode()).unwrap_err(), Misbehavior::OtherRun);
        let ready =
            |shards: &[u32]| FromVolunteer::Ready(Ready { training_shards: shards.to_vec() }).encode();
        assert_eq!(read_ready(&ready(&[0, 2, 3]), 4), Ok(vec![0, 2, 3]));
        for wrong in [&[0, 4][..], &[2, 1], &[1, 1]] {
            assert_eq!(read_ready(&ready(wrong), 4), Err(Misbehavior::UnknownShard));
        }
    }

    #[test]
    fn a_vector_that_does_not_unpack_is_refused() {
        let size = PARAMETERS.div_ceil(BLOCK);
        let mut decoder = decoder();
        decoder.frame(&result(size)).unwrap();
        let chunk = encode_chunks(&vec![65; size]).next().unwrap();
        assert!(matches!(decoder.frame(&chunk), Err(Misbehavior::Undecodable(_))));
    }

    proptest! {
        #[test]
        fn garbage_never_panics_and_never_hoards(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..20),
            begun in 0usize..20_000,
        ) {
            let mut decoder = decoder();
            let _ = decoder.frame(&result(begun));
            for frame in frames {
                if decoder.frame(&frame).is_err() {
                    prop_assert!(!decoder.is_mid_result());
                }
                let _ = read_hello(&frame);
                let _ = read_ready(&frame, 3);
            }
        }

        #[test]
        fn a_result_with_changed_bytes_is_something_or_refused(
            at in prop::collection::vec((0usize..40_000, any::<u8>()), 1..4),
        ) {
            let packed = pack(&vector());
            let mut frames = vec![result(packed.len())];
            frames.extend(encode_chunks(&packed));
            for (index, value) in at {
                let number = index % frames.len();
                let place = index % frames[number].len();
                frames[number][place] = value;
            }
            let mut decoder = decoder();
            for frame in frames {
                match decoder.frame(&frame) {
                    Ok(Some(Message::Result { vector: Some(vector), .. })) => {
                        prop_assert_eq!(vector.len(), PARAMETERS);
                    }
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        }
    }
}
