//! Which of the referee's answers is to which question, where several of one round are out: a report of a unit, and unit
//! 0 of a round in which something vanished.

use engine::aggregator::Sums;
use engine::ledger::Partial;
use engine::{Audit, Claim, Engine, FromFloor, Input, Measure, Output, ToFloor};
use protocol::scales::Scales;

use crate::cost::{engine, handle};
use crate::problem::ProblemPlan;

const GATEWAY: u64 = 7;
/// The unit that a volunteer of the gateway reports.
const REPORTED: u32 = 1;

/// A round all units of which are leased to a gateway, which hands in zeros.
struct Vanishing {
    engine: Engine,
    round: u64,
    partial: Partial,
    now_ms: u64,
}

impl Vanishing {
    fn new() -> Vanishing {
        let (engine, problem) = engine(&ProblemPlan::plain(64), Audit::None);
        let mut engine = engine.for_many_floors();
        handle(&mut engine, 1, Input::Begin);
        let told = handle(&mut engine, 2, measured(1, 0, 1.0));
        let plan = told.into_iter().find_map(|output| match output {
            Output::OpenRound { plan, .. } => Some(plan),
            _ => None,
        });
        let plan = plan.expect("a round is opened");
        let units = vec![0..plan.units()];
        let partial = Partial { number: 1, units, sums: Sums::new(&plan, problem.network.parameters()) };
        let mut vanishing = Vanishing { engine, round: plan.round, partial, now_ms: 2 };
        let claim = Claim { cores: 4, speed: 1.0, undone: 0, least: plan.units() };
        vanishing.says(FromFloor::Asks(claim));
        vanishing
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        self.now_ms += 1;
        handle(&mut self.engine, self.now_ms, input)
    }

    fn says(&mut self, message: FromFloor) -> Vec<Output> {
        self.tell(Input::Floor { owner: GATEWAY, round: self.round, message })
    }

    /// The gateway hands all in: the referee is asked for unit 0.
    fn vanishes(&mut self) {
        let told = self.says(FromFloor::HandsIn(self.partial.clone()));
        assert_eq!(asked(&told), [0], "{told:?}");
    }

    /// The referee's answer for a unit whose largest element is this.
    fn measured(&mut self, unit: u32, largest: f64) -> Vec<Output> {
        self.tell(measured(self.round, unit, largest))
    }
}

fn measured(round: u64, unit: u32, largest: f64) -> Input {
    Input::Measured { round, unit, measure: Measure { largest, loss: largest, ..Measure::fitting() } }
}

/// The units that the referee is asked to measure.
fn asked(told: &[Output]) -> Vec<u32> {
    let unit = |output: &Output| match output {
        Output::Measure { unit, .. } => Some(*unit),
        _ => None,
    };
    told.iter().filter_map(unit).collect()
}

/// The scales of a round that is opened.
fn scales(told: &[Output]) -> Option<Scales> {
    told.iter().find_map(|output| match output {
        Output::OpenRound { plan, .. } => Some(plan.scales),
        _ => None,
    })
}

fn ruled(told: &[Output]) -> Option<bool> {
    told.iter().find_map(|output| match output {
        Output::Floor { message: ToFloor::Ruled { unit: REPORTED, fits }, .. } => Some(*fits),
        _ => None,
    })
}

#[test]
fn which_unit_somebody_reports_says_nothing_about_the_scale_of_a_round_that_vanished() {
    let without = {
        let mut vanishing = Vanishing::new();
        vanishing.vanishes();
        scales(&vanishing.measured(0, 1e-9)).expect("it is repeated at a finer scale")
    };
    let mut vanishing = Vanishing::new();
    let told = vanishing.says(FromFloor::Reports { unit: REPORTED });
    assert_eq!(asked(&told), [REPORTED]);
    vanishing.vanishes();
    assert_eq!(scales(&vanishing.measured(REPORTED, 1e-5)), None, "this is about another unit");
    assert_eq!(scales(&vanishing.measured(0, 1e-9)), Some(without));
}

#[test]
fn the_measure_of_a_round_that_vanished_is_no_ruling_on_a_report() {
    let mut vanishing = Vanishing::new();
    vanishing.vanishes();
    vanishing.says(FromFloor::Tainted(vec![1]));
    assert_eq!(asked(&vanishing.says(FromFloor::Reports { unit: REPORTED })), [REPORTED]);
    assert_eq!(ruled(&vanishing.measured(0, 1e-9)), None);
    assert_eq!(ruled(&vanishing.measured(REPORTED, 1e-9)), Some(true));
}

#[test]
fn a_report_that_comes_when_all_has_vanished_is_looked_into_if_the_round_goes_on() {
    let mut vanishing = Vanishing::new();
    vanishing.vanishes();
    assert_eq!(asked(&vanishing.says(FromFloor::Reports { unit: REPORTED })), [0; 0]);
    assert_eq!(asked(&vanishing.says(FromFloor::Tainted(vec![1]))), [REPORTED]);
    assert_eq!(ruled(&vanishing.measured(REPORTED, 1e-9)), Some(true));
}
