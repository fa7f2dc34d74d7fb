//! What a leader does with units of a gateway whose partial sum does not count.

use engine::{Audit, Input, Measure};
use gateway::{Leader, LeaderInput, LeaderOutput, Request, Says, Term, name_of};

use crate::cost::engine;
use crate::problem::ProblemPlan;

const GATEWAY: u64 = 7;

fn outputs(leader: &mut Leader, now_ms: u64, input: LeaderInput) -> Vec<LeaderOutput> {
    leader.handle(now_ms, input);
    std::iter::from_fn(|| leader.poll_output()).collect()
}

/// The object that it speaks of is lost. It will begin again under another number.
#[test]
fn what_a_gateway_has_that_is_refused_is_free_at_once() {
    let (engine, problem) = engine(&ProblemPlan::plain(64), Audit::None);
    let term = Term { number: 1, nonce: 1 };
    let mut leader = Leader::new(term, engine, problem.network.parameters());
    outputs(&mut leader, 1, LeaderInput::Engine(Input::Begin));
    let measured = Input::Measured { round: 1, unit: 0, measure: Measure::fitting() };
    outputs(&mut leader, 2, LeaderInput::Engine(measured));
    let round = leader.plan().expect("a round is open").round;
    let request =
        |number, says| LeaderInput::Heard(Request { term, round, gateway: GATEWAY, number, read: 0, says });
    outputs(&mut leader, 3, request(1, Says::Asks { cores: 4, speed: 1.0, undone: 0, least: 10 }));
    let leased = |leader: &Leader| leader.engine().ledger().map(|ledger| ledger.leased(GATEWAY));
    assert!(leased(&leader) > Some(0));
    let told = outputs(&mut leader, 4, request(2, Says::HandsIn { blob: name_of(&[1]) }));
    let fetches = |output: &LeaderOutput| match output {
        LeaderOutput::Fetch(place) => Some(*place),
        _ => None,
    };
    let place = told.iter().find_map(fetches).expect("the object is fetched");
    outputs(&mut leader, 4, LeaderInput::Fetched(place, None));
    assert_eq!(leased(&leader), Some(0));
}
