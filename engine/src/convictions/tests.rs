use std::collections::VecDeque;
use std::sync::Arc;

use model::{Network, NetworkSpec, Task, exact};
use protocol::message::ResultHeader;
use protocol::plan::{RoundPlan, SetPlan, SetPlans, ShardRef};

use super::super::decoder::Message;
use super::super::optimizers::{Optimizer, Rule, Schedule, Stochastic, StochasticSettings};
use super::super::{
    Answer, Audit, Counters, Identity, Input, KnownScales, LocalHelp, Measure, Past, Secret, Settings,
    Statistics, StopRules,
};
use super::*;

/// What one of the parameters' gradients is everywhere, and the loss.
const SLOPE: f64 = 0.5;
const LOSS: f64 = 1.0;
/// Inputs in which the rounds of a test are long over.
const INPUTS_MAX: u64 = 100_000;
/// Rounds completed before the engine begins.
const BEGAN: u64 = 100;

/// A training of one unit a round, two honest volunteers, and all outputs that are of interest here.
struct Training {
    engine: Engine,
    now_ms: u64,
    plan: Option<RoundPlan>,
    inputs: VecDeque<Input>,
    notes: Vec<String>,
    recalls: Vec<u64>,
    rewound: u64,
}

fn snapshot(rounds: u64) -> Snapshot {
    let none: Arc<[f32]> = Arc::from([]);
    let settings = StochasticSettings {
        rule: Rule::Sgd,
        learning_rate: 0.01,
        may_lower: false,
        schedule: Schedule::Constant,
        units: 1,
        all_units: 1,
    };
    Snapshot {
        optimizer: Optimizer::Stochastic(Stochastic::new(vec![0.0; 2], settings)),
        scales: KnownScales::default(),
        statistics: Statistics::new(none),
        counters: Counters { rounds, ..Counters::default() },
        accepted: None,
        course: Course::default(),
    }
}

impl Training {
    /// One that goes on with what is known of before, and with states that can be recalled.
    fn resumed(past: &Past, kept: &[u64]) -> Training {
        let spec = NetworkSpec::from_shorthand("linear").unwrap();
        let shards = vec![ShardRef { hash: [0; 32], bytes: 1 }];
        let training = SetPlan { examples: 1, examples_per_unit: 1, units_per_shard: 1, shards };
        let none = SetPlan { examples: 0, shards: Vec::new(), ..training.clone() };
        let settings = Settings {
            run: 1,
            network: Network::new(&spec, 1, Task::Numbers(1)).unwrap(),
            sets: SetPlans { training, validation: none.clone(), test: none },
            seed: 1,
            minibatch: 1,
            stop: StopRules::iterations(1_000),
            evaluate_every: None,
            evaluate_training: false,
            examines: false,
            local_help: LocalHelp::Never,
            audit: Audit::Sample(0.03),
            on_lie: OnLie::Rewind,
        };
        let engine = Engine::new(settings, snapshot(BEGAN), &Secret::new([3; 32]));
        let joined = |session: u64| {
            let identity = Identity { token: u128::from(session) << 64, address: session.into() };
            Input::Joined { session, cores: 1, local: false, identity, training_shards: Vec::new() }
        };
        Training {
            engine: engine.with_past(past, kept.to_vec()),
            now_ms: 0,
            plan: None,
            inputs: VecDeque::from([joined(1), joined(2), Input::Begin]),
            notes: Vec::new(),
            recalls: Vec::new(),
            rewound: 0,
        }
    }

    /// Plays until so many rounds are completed.
    fn play_to(&mut self, rounds: u64) {
        for _ in 0..INPUTS_MAX {
            if self.rounds() >= rounds {
                return;
            }
            let input = self.inputs.pop_front().unwrap_or(Input::Tick);
            self.take(input);
        }
        panic!("{} rounds: {:?}, {:?}", self.rounds(), self.notes, self.engine.stop_reason());
    }

    /// Takes in one input after the other, before anybody sees what comes of the first.
    fn take_all(&mut self, inputs: impl IntoIterator<Item = Input>) {
        self.now_ms += 1;
        inputs.into_iter().for_each(|input| self.engine.handle(self.now_ms, input));
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::OpenRound { plan, .. } => self.plan = Some(plan),
                Output::Measure { plan, unit, .. } => {
                    let measure = Measure { largest: SLOPE, loss: LOSS, ..Measure::fitting() };
                    self.inputs.push_back(Input::Measured { round: plan.round, unit, measure });
                }
                Output::Recompute { plan, .. } => {
                    let answer = Some(answer(&plan));
                    self.inputs.push_back(Input::Recomputed { round: plan.round, answer });
                }
                Output::Assign { session, assignment } => {
                    let plan = self.plan.as_ref().expect("a round is opened first");
                    let Answer { losses, unfit_steps, correct, vector } = answer(plan);
                    let header = ResultHeader {
                        run: 1,
                        round: plan.round,
                        version: plan.version,
                        assignment: assignment.assignment,
                        losses,
                        unfit_steps,
                        correct,
                        vector_bytes: 0,
                    };
                    let message = Message::Result { header, vector };
                    self.inputs.push_back(Input::Message { session, message });
                }
                Output::Note(text) => self.notes.push(text),
                Output::Recall { rounds } => self.recalls.push(rounds),
                Output::Rewound { .. } => self.rewound += 1,
                _ => {}
            }
        }
    }

    fn take(&mut self, input: Input) {
        self.take_all([input]);
    }

    fn recalled(&mut self, rounds: u64) {
        self.take(Input::Recalled { rounds, snapshot: Some(Box::new(snapshot(rounds))) });
    }

    fn rounds(&self) -> u64 {
        self.engine.counters().rounds
    }
}

/// What the unit comes to.
fn answer(plan: &RoundPlan) -> Answer {
    let limit = exact::unit_limit(plan.units());
    let integer = |value, exponent| exact::integer(value, exponent, limit).expect("it fits");
    let losses = vec![integer(LOSS, plan.scales.loss_exponent)];
    let vector = Some(vec![integer(SLOPE, plan.scales.vector_exponent); 2]);
    Answer { losses, unfit_steps: 0, correct: 0, vector }
}

fn convicted(unchecked_since: u64) -> Input {
    Input::Convicted { unchecked_since }
}

#[test]
fn a_second_conviction_does_not_cancel_the_way_back_for_the_first() {
    for order in [[40, 120], [120, 40]] {
        let mut training = Training::resumed(&Past::default(), &[0, 38]);
        training.play_to(150);
        training.take_all(order.map(convicted));
        assert_eq!(training.recalls, [38]);
        training.recalled(38);
        assert_eq!(training.rounds(), 38, "{order:?}");
        training.play_to(60);
    }
}

#[test]
fn a_conviction_that_leads_further_back_has_an_earlier_state_recalled() {
    let mut training = Training::resumed(&Past::default(), &[0, 30]);
    training.play_to(110);
    training.take_all([40, 20].map(convicted));
    assert_eq!(training.recalls, [30, 0]);
    training.recalled(30);
    assert_eq!(training.rewound, 0, "that is not early enough any more");
    training.recalled(0);
    assert_eq!((training.rounds(), training.rewound), (0, 1));
}

/// A volunteer without a record lies.
fn denounced(token: u128) -> Input {
    Input::Denounced { token, offense: "a wrong result".into(), is_lie: true }
}

#[test]
fn a_state_that_is_recalled_takes_the_room_of_those_after_the_first() {
    let mut training = Training::resumed(&Past::default(), &[30]);
    training.play_to(150);
    assert!(training.engine.ring.len() > 10);
    training.take(convicted(40));
    assert_eq!((training.engine.ring.len(), training.recalls.len()), (1, 1));
    // It cannot be read.
    training.take(Input::Recalled { rounds: 30, snapshot: None });
    assert_eq!(training.rounds(), BEGAN);
    training.play_to(120);
}

#[test]
fn strangers_throw_the_training_back_once_for_what_cannot_be_undone() {
    let mut training = Training::resumed(&Past { forgotten_since: Some(5), ..Past::default() }, &[]);
    for liar in 1..4 {
        training.play_to(110);
        training.take(denounced(liar));
        assert_eq!(training.rewound, 1, "liar {liar}");
    }
    // What somebody did since can be undone.
    training.take(convicted(104));
    assert_eq!((training.rounds(), training.rewound), (104, 2));
    // A gateway that has not heard of the first way back yet.
    training.play_to(110);
    training.take_all([5, 5].map(convicted));
    assert_eq!((training.rounds(), training.rewound), (BEGAN, 3));
}

#[test]
fn it_is_said_that_a_lie_stays_where_no_state_is_early_enough() {
    for (kept, since, stays) in [(vec![], 5, true), (vec![7], 5, true), (vec![4], 5, false)] {
        let past = Past { unchecked: vec![(9, since), (10, 6)], ..Past::default() };
        let mut training = Training::resumed(&past, &kept);
        training.play_to(110);
        training.take(denounced(9));
        kept.iter().for_each(|kept| training.recalled(*kept));
        assert_eq!((training.rounds(), training.rewound), (kept.first().copied().unwrap_or(BEGAN), 1));
        let says = |text| training.notes.iter().filter(|note| note.contains(text)).count();
        assert_eq!(
            (says("goes back to"), says("stay in the weights")),
            (1, stays.into()),
            "{:?}",
            training.notes
        );
        // The state that was kept was before both, or after both.
        assert_eq!(training.engine.past().unchecked, []);
    }
}

#[test]
fn a_longer_way_than_needed_is_no_lie_that_stays() {
    let mut training = Training::resumed(&Past::default(), &[]);
    for since in [110, 105] {
        training.play_to(130);
        training.take(convicted(since));
    }
    assert_eq!((training.rounds(), training.rewound), (BEGAN, 2));
    assert!(training.notes.iter().all(|note| !note.contains("stay in the weights")), "{:?}", training.notes);
}

#[test]
fn one_round_is_repeated_in_the_singular() {
    let mut training = Training::resumed(&Past::default(), &[]);
    training.play_to(102);
    training.take(convicted(101));
    assert!(training.notes[0].contains("and repeats 1 round, because"), "{:?}", training.notes);
}

/// Of many who joined one after the other, the last lies first, then the one before it, and so on.
#[test]
fn many_who_lie_one_after_the_other_have_little_repeated() {
    for (rounds, liars) in [(1_000, 10), (1_000, 500), (64, 64)] {
        let mut ways = WaysBack::default();
        let (mut repeated, mut checked_from) = (0, rounds);
        for liar in (0..liars).rev() {
            let since = rounds * liar / liars;
            if since < checked_from {
                let remaining = ways.remaining(rounds, since);
                ways.note(remaining);
                repeated += rounds - remaining;
                checked_from = remaining;
            }
        }
        assert_eq!(checked_from, 0);
        assert!(repeated <= 3 * rounds, "{liars} liars have {repeated} rounds of {rounds} repeated");
    }
}

#[test]
fn short_ways_between_long_ones_make_those_no_cheaper() {
    let mut ways = WaysBack::default();
    let mut long = 0;
    for since in (0..900).rev() {
        if ways.began.first().is_none_or(|began| since < *began) {
            let remaining = ways.remaining(1_000, since);
            ways.note(remaining);
            long += 1;
        }
        let last = ways.remaining(1_000, 990);
        assert_eq!(last, 990);
        ways.note(last);
    }
    assert!(long <= 5, "{long} long ways");
    (0..1_000).for_each(|rounds| ways.note(rounds));
    assert_eq!(ways.began.len(), WAYS_MAX);
}
