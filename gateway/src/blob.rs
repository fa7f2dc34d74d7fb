//! What goes through the store: vectors, named by the hash of their bytes, so that writing one twice does no harm and a
//! damaged one is noticed.

use std::ops::Range;

use engine::aggregator::{PartSums, Sums};
use engine::ledger::Partial;
use protocol::pack::{pack, unpack};
use protocol::plan::RoundPlan;
use serde::{Deserialize, Serialize};

use crate::wire::Term;

/// Names an object of the store: the BLAKE3 hash of its bytes.
pub type Name = [u8; 32];

/// Where an object of the store is. Two leaders, of which one knows nothing of the other, may make the same object:
/// each has its own, so that the older one cannot take away what the newer one needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The term of the leader whose round it belongs to.
    pub term: Term,
    /// Its name.
    pub name: Name,
}

/// Ranges of units in one partial sum at most.
const RANGES_MAX: usize = 1 << 20;
/// Volunteers that are named in one partial sum at most.
pub(crate) const TOKENS_MAX: usize = 1 << 16;

/// Why an object is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an object of the store that cannot be read: update the coordinator and all gateways to the same version"
)]
pub struct BlobError;

/// A partial sum without its vectors.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    number: u64,
    units: Vec<Range<u32>>,
    unchecked: Vec<u128>,
    parts: Vec<PartHeader>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PartHeader {
    losses: Vec<i64>,
    unfit_steps: u32,
    correct: u64,
    /// Bytes of the packed vector, which follows; none where the work has none, or where no unit is of this part.
    vector_bytes: u64,
}

/// The name of an object with these bytes.
pub fn name_of(bytes: &[u8]) -> Name {
    *blake3::hash(bytes).as_bytes()
}

/// A partial sum as bytes: its numbers, then the vector of each part, packed. `unchecked` are the tokens of volunteers
/// whose results in it nobody else vouches for.
pub fn encode_partial(partial: &Partial, unchecked: &[u128]) -> Vec<u8> {
    let is_zero = |vector: &[i64]| vector.iter().all(|value| *value == 0);
    let packed = |part: &PartSums| if is_zero(&part.vector) { Vec::new() } else { pack(&part.vector) };
    let vectors: Vec<Vec<u8>> = partial.sums.parts.iter().map(packed).collect();
    let part = |(part, vector): (&PartSums, &Vec<u8>)| PartHeader {
        losses: part.losses.clone(),
        unfit_steps: part.unfit_steps,
        correct: part.correct,
        vector_bytes: vector.len() as u64,
    };
    let parts = partial.sums.parts.iter().zip(&vectors).map(part).collect();
    let (units, unchecked) = (partial.units.clone(), unchecked.to_vec());
    let header = Header { number: partial.number, units, unchecked, parts };
    let mut bytes = postcard::to_allocvec(&header).expect("numbers have a form as bytes");
    vectors.iter().for_each(|vector| bytes.extend_from_slice(vector));
    bytes
}

/// Reads a partial sum of a round, of a network with so many parameters, and the tokens of those whose results in it
/// nobody else vouches for. Whether it can be a sum of its units is for the [ledger](engine::ledger::Ledger::add) to
/// say.
///
/// # Errors
/// If it is none.
pub fn decode_partial(
    bytes: &[u8],
    plan: &RoundPlan,
    parameters: usize,
) -> Result<(Partial, Vec<u128>), BlobError> {
    let (header, mut rest) = postcard::take_from_bytes::<Header>(bytes).map_err(|_| BlobError)?;
    let is_bounded = header.units.len() <= RANGES_MAX && header.unchecked.len() <= TOKENS_MAX;
    if !is_bounded || header.parts.len() != plan.parts.len() {
        return Err(BlobError);
    }
    let mut parts = Vec::new();
    for (part, planned) in header.parts.into_iter().zip(&plan.parts) {
        let PartHeader { losses, unfit_steps, correct, vector_bytes } = part;
        let length = usize::try_from(vector_bytes).map_err(|_| BlobError)?;
        let (packed, after) = rest.split_at_checked(length).ok_or(BlobError)?;
        rest = after;
        let elements = if planned.work.has_vector() { parameters } else { 0 };
        let vector = match length {
            0 => vec![0; elements],
            _ => unpack(packed, elements).map_err(|_| BlobError)?,
        };
        parts.push(PartSums { losses, unfit_steps, correct, vector });
    }
    if !rest.is_empty() {
        return Err(BlobError);
    }
    Ok((Partial { number: header.number, units: header.units, sums: Sums { parts } }, header.unchecked))
}

#[cfg(test)]
mod tests {
    use protocol::plan::{Part, Set, Work};

    use super::*;

    #[test]
    fn a_partial_sum_comes_back_as_it_was_and_nothing_else_is_one() {
        let parts = vec![
            Part::in_turn(Work::Gradient, Set::Training, 10),
            Part::in_turn(Work::Evaluation, Set::Test, 10),
        ];
        let plan = RoundPlan { parts, ..RoundPlan::default() };
        let mut sums = Sums::new(&plan, 300);
        let zero = Partial { number: 1, units: vec![10..12], sums: sums.clone() };
        assert!(encode_partial(&zero, &[]).len() < 30, "a vector of zeros takes no room");
        sums.parts[0].vector = (0..300).map(|value| value * 1_000_003 - 7).collect();
        sums.parts[0].losses = vec![-5];
        sums.parts[1].correct = 3;
        let full = Partial { number: 2, units: vec![0..3, 11..12], sums };
        for partial in [zero, full] {
            let bytes = encode_partial(&partial, &[7, u128::MAX]);
            assert_eq!(decode_partial(&bytes, &plan, 300), Ok((partial, vec![7, u128::MAX])));
            assert!(decode_partial(&bytes[..bytes.len() - 1], &plan, 300).is_err());
            assert!(decode_partial(&[&bytes[..], &[0]].concat(), &plan, 300).is_err());
        }
        assert!(decode_partial(&[0xff; 40], &plan, 300).is_err());
    }
}
