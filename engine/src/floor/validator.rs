//! Judges whether a result answers its assignment: it must belong to the open round and the assignment, have
//! the right shape, and lie within the range that honest units cannot leave. Whatever can be refused without
//! computing it again is refused here.

use model::exact::{to_f64, unit_limit};
use model::{LossBounds, Network, Task};
use protocol::examination::Layout;
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
    /// The network.
    pub(super) network: &'a Network,
}

/// Judges a result. The error says why no honest volunteer sends it.
pub(super) fn judge(
    question: Question<'_>,
    header: &ResultHeader,
    vector: Option<&[i64]>,
) -> Result<(), &'static str> {
    let Question { run, plan, group, examples, network } = question;
    if header.run != run {
        return Err("a result of another run");
    }
    // The assignment's number is that of an open one: another round's result would have another.
    if header.round != plan.round || header.version != plan.version {
        return Err("a result whose round is not that of its assignment");
    }
    let work = &plan.parts[group.part].work;
    let units: u32 = group.units.iter().map(|range| range.end - range.start).sum();
    let limit = u64::from(units) * unit_limit(plan.units()).unsigned_abs();
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
    let predicts = work.judges() && matches!(network.task(), Task::Classes(_));
    if header.correct > if predicts { examples } else { 0 } {
        return Err("more correct predictions than there can be");
    }
    let bounds = network.loss_bounds();
    if bounds.never_negative && header.losses.iter().any(|loss| *loss < 0) {
        return Err("a loss below zero, which the network's loss cannot be");
    }
    if predicts && !is_possible(bounds, plan, header, examples) {
        return Err("a loss and a number of correct predictions that exclude each other");
    }
    match vector {
        None if work.has_vector() => Err("a result without its vector"),
        Some(_) if !work.has_vector() => Err("a vector that was not asked for"),
        Some(vector) if vector.len() != network.parameters() => Err("a vector of the wrong length"),
        Some(vector) if leaves_range(vector, limit) => Err("a vector with an element out of range"),
        Some(vector) if *work == Work::Examination && !are_counts(network, vector, examples) => {
            Err("counts that so many examples cannot have")
        }
        _ => Ok(()),
    }
}

/// Whether an element is as far from zero as `limit`, or farther.
fn leaves_range(vector: &[i64], limit: u64) -> bool {
    vector.chunks(64).any(|elements| {
        // Together they have all bits of the largest: as long as these are few, no element needs a look by itself.
        let all = elements.iter().fold(0, |all, element| all | element.unsigned_abs());
        all >= limit && elements.iter().any(|element| element.unsigned_abs() >= limit)
    })
}

/// Whether a vector can be that of an examination of so many examples.
fn are_counts(network: &Network, vector: &[i64], examples: u64) -> bool {
    Layout::of(network.task(), network.parameters())
        .is_some_and(|layout| layout.is_possible(vector, examples))
}

/// Whether a valid result is so unlikely that it should be checked: a vector of nothing but zeros with a loss. It may
/// be right, where values vanish in the rounding.
pub(super) fn is_suspicious(header: &ResultHeader, vector: Option<&[i64]>) -> bool {
    header.losses.iter().any(|loss| *loss != 0)
        && vector.is_some_and(|vector| vector.iter().all(|value| *value == 0))
}

/// Whether an evaluation of classes may have both this loss and this number of correct predictions.
fn is_possible(bounds: LossBounds, plan: &RoundPlan, header: &ResultHeader, examples: u64) -> bool {
    let Some((least_of_wrong, most_of_correct)) = bounds.of_predictions else { return true };
    let exponent = plan.scales.evaluation_exponent;
    // Each example's loss is rounded to the fixed point by itself.
    let rounding = examples as f64 * to_f64(1, exponent);
    let loss = to_f64(header.losses[0], exponent);
    let wrong = examples - header.correct;
    let is_all_correct = wrong == 0;
    loss >= wrong as f64 * least_of_wrong - rounding
        && (!is_all_correct || loss <= examples as f64 * most_of_correct + rounding)
}

#[cfg(test)]
mod tests {
    use model::NetworkSpec;
    use model::exact::UNIT_LIMIT;
    use protocol::plan::{Part, Set};
    use protocol::scales::Scales;

    use super::*;

    const PARAMETERS: usize = 6;

    fn network(task: Task) -> Network {
        let features = PARAMETERS / task.outputs() as usize - 1;
        Network::new(&NetworkSpec::from_shorthand("linear").unwrap(), features, task).unwrap()
    }

    /// Of a result on 20 examples in units 0 and 2, where three classes are predicted.
    fn verdict(
        work: Work,
        change: impl FnOnce(&mut ResultHeader, &mut Option<Vec<i64>>),
    ) -> Result<(), &'static str> {
        verdict_on(Task::Classes(3), work, change)
    }

    fn verdict_on(
        task: Task,
        work: Work,
        change: impl FnOnce(&mut ResultHeader, &mut Option<Vec<i64>>),
    ) -> Result<(), &'static str> {
        let (losses, vector) = (vec![15; work.losses()], work.has_vector().then(|| vec![-7; PARAMETERS]));
        let part = Part::in_turn(work, Set::Training, 4);
        let plan = RoundPlan {
            round: 9,
            version: 8,
            parts: vec![part],
            scales: Scales::uniform(0),
            ..RoundPlan::default()
        };
        let group = Group { part: 0, units: vec![0..1, 2..3], issued_ms: 0, copies: vec![1] };
        let network = network(task);
        let question = Question { run: 1, plan: &plan, group: &group, examples: 20, network: &network };
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
        assert!(verdict(Work::Gradient, |header, _| header.correct = 1).is_err());
        assert!(verdict_on(Task::Numbers(1), Work::Evaluation, |header, _| header.correct = 1).is_err());
        assert!(verdict(Work::Gradient, |_, vector| *vector = None).is_err());
        assert!(verdict(Work::Gradient, |_, vector| *vector = Some(vec![0; PARAMETERS + 1])).is_err());
        assert!(verdict(Work::Evaluation, |_, vector| *vector = Some(vec![0; PARAMETERS])).is_err());
    }

    #[test]
    fn a_loss_that_cannot_be_is_refused() {
        for work in [Work::Gradient, Work::Evaluation, losses(2)] {
            for task in [Task::Classes(3), Task::Numbers(1)] {
                assert!(verdict_on(task, work.clone(), |header, _| header.losses[0] = -1).is_err());
            }
        }
    }

    #[test]
    fn a_loss_below_what_the_wrong_predictions_have_is_refused() {
        let part = Part::in_turn(Work::Evaluation, Set::Test, 4);
        let plan = RoundPlan { parts: vec![part], scales: Scales::uniform(20), ..RoundPlan::default() };
        let bounds = network(Task::Classes(3)).loss_bounds();
        let is_possible = |loss: f64, correct| {
            let losses = vec![(loss * f64::from(1 << 20)) as i64];
            let header = ResultHeader { losses, correct, ..ResultHeader::default() };
            is_possible(bounds, &plan, &header, 20)
        };
        assert!(is_possible(20.0 * 0.6932, 0) && !is_possible(20.0 * 0.69, 0));
        assert!(is_possible(3.5, 15) && !is_possible(3.4, 15));
        assert!(is_possible(20.0 * 1.0986, 20) && !is_possible(20.0 * 1.12, 20));
    }

    #[test]
    fn counts_of_an_examination_must_be_those_of_so_many_examples() {
        let task = Task::Classes(3);
        let network = Network::new(&NetworkSpec::from_shorthand("mlp:12").unwrap(), 4, task).unwrap();
        let layout = Layout::of(task, network.parameters()).unwrap();
        let part = Part::in_turn(Work::Examination, Set::Test, 4);
        let plan = RoundPlan { parts: vec![part], scales: Scales::uniform(20), ..RoundPlan::default() };
        let units = vec![0..1, 2..3];
        let group = Group { part: 0, units, issued_ms: 0, copies: vec![1] };
        // Twenty examples, all of the first class, half of which are recognized.
        let mut vector = vec![0; network.parameters()];
        let (matrix, bins) = (layout.reals(), layout.reals() + 9);
        (vector[matrix], vector[matrix + 1]) = (10, 10);
        (vector[bins + 10], vector[bins + 15 + 10]) = (20, 10);
        vector[1 + 10] = 14 << 24;
        let header = ResultHeader { losses: vec![25 << 20], correct: 10, ..ResultHeader::default() };
        let verdict = |change: &dyn Fn(&mut Vec<i64>)| {
            let mut changed = vector.clone();
            change(&mut changed);
            let question = Question { run: 0, plan: &plan, group: &group, examples: 20, network: &network };
            judge(question, &header, Some(&changed))
        };
        assert_eq!(verdict(&|_| {}), Ok(()));
        assert!(verdict(&|vector| vector[matrix] = 11).is_err());
        assert!(verdict(&|vector| (vector[matrix], vector[matrix + 1]) = (21, -1)).is_err());
        assert!(verdict(&|vector| vector[bins + 15 + 10] = 21).is_err());
        assert!(verdict(&|vector| vector[1 + 10] = 1 << 24).is_err());
        assert!(verdict(&|vector| *vector.last_mut().unwrap() = 1).is_err());
        assert!(verdict(&|vector| vector.fill(0)).is_err());
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
