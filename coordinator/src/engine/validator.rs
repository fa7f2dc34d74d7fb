//! Whether a result may be believed to answer what was asked: bound to the open round and to its
//! assignment, of the right shape, and within the range that honest units cannot leave.

use model::exact::UNIT_LIMIT;
use protocol::message::ResultHeader;
use protocol::plan::RoundPlan;

use super::round::Issued;

/// What to do with a result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Count it.
    Valid,
    /// Nothing is wrong with it, but it answers a round that is over.
    Stale,
    /// No honest volunteer sends this.
    Invalid(&'static str),
}

/// Judges a result that answers `issued`; `examples` is how many examples its units have.
pub(super) fn judge(
    run: u64,
    plan: &RoundPlan,
    issued: &Issued,
    examples: u64,
    parameters: usize,
    header: &ResultHeader,
    vector: Option<&[i64]>,
) -> Verdict {
    if header.run != run {
        return Verdict::Invalid("a result of another run");
    }
    if header.round != plan.round || header.version != plan.version {
        return Verdict::Stale;
    }
    let work = &plan.parts[issued.part].work;
    let units: u32 = issued.units.iter().map(|range| range.end - range.start).sum();
    let limit = u64::from(units) * UNIT_LIMIT.unsigned_abs();
    if header.losses.len() != work.losses() {
        return Verdict::Invalid("a result with the wrong number of losses");
    }
    if header.losses.iter().any(|loss| loss.unsigned_abs() >= limit) {
        return Verdict::Invalid("a loss out of range");
    }
    let steps_with_bits = if work.losses() > 1 { work.losses() as u32 } else { 0 };
    if u64::from(header.unfit_steps) >> steps_with_bits != 0 {
        return Verdict::Invalid("a result that marks step lengths it was not asked for");
    }
    if header.correct > examples {
        return Verdict::Invalid("more correct predictions than examples");
    }
    match vector {
        None if work.has_vector() => Verdict::Invalid("a result without its vector"),
        Some(_) if !work.has_vector() => Verdict::Invalid("a vector that was not asked for"),
        Some(vector) if vector.len() != parameters => Verdict::Invalid("a vector of the wrong length"),
        Some(vector) if vector.iter().any(|value| value.unsigned_abs() >= limit) => {
            Verdict::Invalid("a vector with an element out of range")
        }
        _ => Verdict::Valid,
    }
}
