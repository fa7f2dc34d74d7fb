//! Judges whether a result answers its assignment: it must belong to the open round and the assignment, have
//! the right shape, and lie within the range that honest units cannot leave.

use model::exact::UNIT_LIMIT;
use protocol::message::ResultHeader;
use protocol::plan::{RoundPlan, Work};

use super::round::Group;

/// The question that a result answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// The run's number.
    pub(super) run: u64,
    /// The open round.
    pub(super) plan: &'a RoundPlan,
    /// The units asked for.
    pub(super) group: &'a Group,
    /// How many examples they have.
    pub(super) examples: u64,
    /// The network's number of parameters.
    pub(super) parameters: usize,
}

/// Judges a result. The error says why no honest volunteer sends it.
pub(super) fn judge(
    question: Question<'_>,
    header: &ResultHeader,
    vector: Option<&[i64]>,
) -> Result<(), &'static str> {
    let Question { run, plan, group, examples, parameters } = question;
    if header.run != run {
        return Err("a result of another run");
    }
    // The assignment's number is that of an open one: another round's result would have another.
    if header.round != plan.round || header.version != plan.version {
        return Err("a result that mixes rounds up");
    }
    let work = &plan.parts[group.part].work;
    let units: u32 = group.units.iter().map(|range| range.end - range.start).sum();
    let limit = u64::from(units) * UNIT_LIMIT.unsigned_abs();
    if header.losses.len() != work.losses() {
        return Err("a result with the wrong number of losses");
    }
    if header.losses.iter().any(|loss| loss.unsigned_abs() >= limit) {
        return Err("a loss out of range");
    }
    let steps = if let Work::Losses { steps } = work { steps.len() } else { 0 };
    if u64::from(header.unfit_steps) >> steps != 0 {
        return Err("a result that marks step lengths it was not asked for");
    }
    if header.correct > examples {
        return Err("more correct predictions than examples");
    }
    match vector {
        None if work.has_vector() => Err("a result without its vector"),
        Some(_) if !work.has_vector() => Err("a vector that was not asked for"),
        Some(vector) if vector.len() != parameters => Err("a vector of the wrong length"),
        Some(vector) if vector.iter().any(|value| value.unsigned_abs() >= limit) => {
            Err("a vector with an element out of range")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use protocol::plan::{Part, Set};

    use super::*;

    const PARAMETERS: usize = 3;

    fn verdict(
        work: Work,
        change: impl FnOnce(&mut ResultHeader, &mut Option<Vec<i64>>),
    ) -> Result<(), &'static str> {
        let (losses, vector) = (vec![5; work.losses()], work.has_vector().then(|| vec![-7; PARAMETERS]));
        let part = Part::in_turn(work, Set::Training, 4);
        let plan = RoundPlan { round: 9, version: 8, parts: vec![part], ..RoundPlan::default() };
        let group = Group { part: 0, units: vec![0..1, 2..3], issued_ms: 0, copies: vec![1] };
        let question = Question { run: 1, plan: &plan, group: &group, examples: 20, parameters: PARAMETERS };
        let (run, round, version) = (1, 9, 8);
        let mut header = ResultHeader {
            run,
            round,
            version,
            assignment: 1,
            losses,
            unfit_steps: 0,
            correct: 0,
            vector_bytes: 0,
        };
        let mut vector = vector;
        change(&mut header, &mut vector);
        judge(question, &header, vector.as_deref())
    }

    fn losses(steps: usize) -> Work {
        Work::Losses { steps: vec![0.5; steps] }
    }

    #[test]
    fn results_of_the_right_shape_are_valid() {
        for work in [Work::Gradient, Work::Evaluation, losses(1), losses(8)] {
            assert_eq!(verdict(work, |_, _| ()), Ok(()));
        }
        assert_eq!(verdict(Work::Evaluation, |header, _| header.correct = 20), Ok(()));
        assert_eq!(verdict(losses(1), |header, _| header.unfit_steps = 1), Ok(()));
        assert_eq!(verdict(losses(8), |header, _| header.unfit_steps = 255), Ok(()));
        let largest = 2 * UNIT_LIMIT - 1;
        assert_eq!(verdict(Work::Gradient, |_, vector| *vector = Some(vec![-largest; PARAMETERS])), Ok(()));
    }

    #[test]
    fn results_bound_to_something_else_are_not() {
        assert!(verdict(Work::Gradient, |header, _| header.run = 2).is_err());
        assert!(verdict(Work::Gradient, |header, _| header.round = 8).is_err());
        assert!(verdict(Work::Gradient, |header, _| header.version = 9).is_err());
    }

    #[test]
    fn results_of_another_shape_are_not() {
        assert!(verdict(Work::Gradient, |header, _| header.losses.push(0)).is_err());
        assert!(verdict(Work::Gradient, |header, _| header.unfit_steps = 1).is_err());
        assert!(verdict(losses(8), |header, _| header.unfit_steps = 256).is_err());
        assert!(verdict(Work::Evaluation, |header, _| header.correct = 21).is_err());
        assert!(verdict(Work::Gradient, |_, vector| *vector = None).is_err());
        assert!(verdict(Work::Gradient, |_, vector| *vector = Some(vec![0; PARAMETERS + 1])).is_err());
        assert!(verdict(Work::Evaluation, |_, vector| *vector = Some(vec![0; PARAMETERS])).is_err());
    }

    #[test]
    fn results_out_of_range_are_not() {
        let limit = 2 * UNIT_LIMIT;
        for value in [limit, -limit, i64::MIN] {
            assert!(verdict(Work::Evaluation, |header, _| header.losses[0] = value).is_err());
            assert!(verdict(Work::Gradient, |_, vector| *vector = Some(vec![0, value, 0])).is_err());
        }
    }
}
