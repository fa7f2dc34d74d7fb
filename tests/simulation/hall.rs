//! One floor and volunteers that are scripts, round after round in virtual time. Nothing is computed: a unit's right
//! result follows from its number. So crowds cost nothing, and whoever has many tabs can do with them what no run with
//! real volunteers would come to.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use engine::decoder::Message;
use engine::floor::{Floor, FloorEvent, FloorSettings};
use engine::{Answer, Audit, Identity, LocalHelp, Secret};
use model::{Network, NetworkSpec, Task};
use protocol::message::{ResultHeader, Unfit};
use protocol::plan::{Assignment, Part, RoundPlan, Set, SetPlan, SetPlans, ShardRef, Work};

/// A round that takes longer has no end.
const ROUND_MS_MAX: u64 = 600_000;
/// What the coordinator takes for a unit.
const COURT_MS: u64 = 20;

/// See the module's description.
pub(crate) struct Hall {
    pub(crate) floor: Floor,
    pub(crate) now_ms: u64,
    /// Rounds that were completed.
    pub(crate) rounds: u64,
    people: BTreeMap<u64, Person>,
    sessions: u64,
    plan: RoundPlan,
    /// Answers under way, by when they arrive.
    answers: BTreeMap<(u64, u64), (u64, Assignment)>,
    answered: u64,
    /// What [`Manner::LiesOnce`] lies about in this round.
    lie_about: Option<Vec<Range<u32>>>,
    /// When the coordinator's own computation is done, with the units.
    court: Option<(u64, Vec<Range<u32>>)>,
    /// What is unlike the truth in the sums of the rounds, and the tokens of those who were found out, with what was
    /// unchecked then.
    pub(crate) believed: BTreeSet<u64>,
    pub(crate) convicted: Vec<(u128, Option<u64>)>,
    /// Groups that the coordinator computed itself.
    pub(crate) courts: u64,
}

/// A volunteer of one core.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Person {
    pub(crate) unit_ms: u64,
    pub(crate) manner: Manner,
    free_ms: u64,
    /// The last assignment.
    last: Option<(u64, u64)>,
}

/// What a volunteer does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Manner {
    Honest,
    /// All its results are wrong, in the same way as those of others who lie.
    Lies,
    /// So are those on the units that one of its kind was given first in the round.
    LiesOnce,
    /// It answers nothing in time, and says at the beginning of each round that a unit of the one before does not fit.
    Stalls,
    /// It declines all that it is given.
    Declines,
    /// It waits until the accomplice of this session has a copy of what it has itself. Then both send the same lie.
    Waits(u64),
    /// It answers right and at once, or with the lie of whoever waits for it.
    IsWaitedFor,
}

fn truth(units: &[Range<u32>]) -> (Vec<i64>, Vec<i64>) {
    let sum: i64 = units.iter().cloned().flatten().map(|unit| i64::from(unit) + 5).sum();
    (vec![sum], vec![sum, -sum])
}

impl Hall {
    /// A floor for rounds of so many gradient units.
    pub(crate) fn new(units: u32, audit: Audit, seed: u8) -> Hall {
        let network =
            Network::new(&NetworkSpec::from_shorthand("linear").unwrap(), 1, Task::Numbers(1)).unwrap();
        let set = |units: u32| SetPlan {
            examples: 5 * units,
            examples_per_unit: 5,
            units_per_shard: 8,
            shards: vec![ShardRef { hash: [0; 32], bytes: 1 }; units.div_ceil(8) as usize],
        };
        let settings = FloorSettings {
            run: 1,
            network,
            sets: SetPlans { training: set(units), validation: set(0), test: set(0) },
            seed: 1,
            minibatch: 5,
            local_help: LocalHelp::Never,
            audit,
        };
        let plan = RoundPlan {
            parts: vec![Part::in_turn(Work::Gradient, Set::Training, units)],
            ..RoundPlan::default()
        };
        Hall {
            floor: Floor::new(settings, &Secret::new([seed; 32]), 0),
            now_ms: 0,
            rounds: 0,
            people: BTreeMap::new(),
            sessions: 0,
            plan,
            answers: BTreeMap::new(),
            answered: 0,
            lie_about: None,
            court: None,
            believed: BTreeSet::new(),
            convicted: Vec::new(),
            courts: 0,
        }
    }

    /// A volunteer comes; answers with its session.
    pub(crate) fn join(&mut self, token: u128, address: u128, unit_ms: u64) -> u64 {
        self.join_with(token, address, unit_ms, 1)
    }

    /// One comes that pauses.
    pub(crate) fn join_paused(&mut self, token: u128, address: u128) -> u64 {
        self.join_with(token, address, 10, 0)
    }

    fn join_with(&mut self, token: u128, address: u128, unit_ms: u64, cores: u16) -> u64 {
        self.sessions += 1;
        let identity = Identity { token, address };
        let person = Person { unit_ms, manner: Manner::Honest, free_ms: 0, last: None };
        self.people.insert(self.sessions, person);
        self.floor.join(self.sessions, cores, false, identity, Vec::new());
        self.sessions
    }

    pub(crate) fn leave(&mut self, session: u64) {
        self.people.remove(&session);
        self.floor.leave(session);
    }

    pub(crate) fn person(&mut self, session: u64) -> &mut Person {
        self.people.get_mut(&session).unwrap()
    }

    /// Whether a result of it was accepted.
    fn has_delivered(&self, session: u64) -> bool {
        self.floor.members(self.now_ms).any(|one| one.session == session && one.accepted > 0)
    }

    pub(crate) fn is_there(&self, session: u64) -> bool {
        self.people.contains_key(&session)
    }

    /// Opens a round.
    pub(crate) fn open(&mut self) {
        self.plan.round += 1;
        self.plan.version += 1;
        let layouts: Arc<[_]> =
            self.plan.parts.iter().map(|part| part.lay_out(&self.set(), 1)).collect::<Vec<_>>().into();
        self.floor.open(self.now_ms, self.plan.clone(), &layouts, false);
        self.floor.grant(&[0..self.plan.units()]);
        (self.court, self.lie_about) = (None, None);
        let stallers = self.people.iter().filter(|(_, person)| person.manner == Manner::Stalls);
        let late: Vec<(u64, u64, u64)> = stallers
            .filter_map(|(session, person)| Some((*session, person.last?.0, person.last?.1)))
            .collect();
        for (session, assignment, round) in late {
            let unfit = Unfit { assignment, round, unit: 0 };
            self.floor.message(self.now_ms, session, Message::Unfit(unfit));
        }
    }

    fn set(&self) -> SetPlan {
        let units = self.plan.units();
        let shards = vec![ShardRef { hash: [0; 32], bytes: 1 }; units.div_ceil(8) as usize];
        SetPlan { examples: 5 * units, examples_per_unit: 5, units_per_shard: 8, shards }
    }

    /// One round. Answers with how long it took.
    ///
    /// # Panics
    /// When it has no end.
    pub(crate) fn round(&mut self) -> u64 {
        let began_ms = self.now_ms;
        self.open();
        while !self.step() {
            assert!(self.now_ms < began_ms + ROUND_MS_MAX, "the round does not end");
        }
        self.close();
        self.now_ms - began_ms
    }

    /// So many rounds. Answers with the mean of how long they took.
    pub(crate) fn rounds(&mut self, rounds: u64) -> f64 {
        (0..rounds).map(|_| self.round()).sum::<u64>() as f64 / rounds as f64
    }

    /// What happens until the next moment at which something does. Answers whether the round is done.
    pub(crate) fn step(&mut self) -> bool {
        self.heed();
        if self.floor.is_drained() {
            return true;
        }
        self.floor.hand_out(self.now_ms);
        self.heed();
        let answer_ms = self.answers.first_key_value().map(|((at_ms, _), _)| *at_ms);
        let court_ms = self.court.as_ref().map(|(at_ms, _)| *at_ms);
        let next_ms = answer_ms.into_iter().chain(court_ms).chain(self.floor.wake_ms()).min();
        self.now_ms = next_ms.expect("something is to happen").max(self.now_ms);
        while let Some(entry) = self.answers.first_entry().filter(|entry| entry.key().0 <= self.now_ms) {
            let (session, assignment) = entry.remove();
            self.answer(session, &assignment);
        }
        if let Some((_, units)) = self.court.take_if(|(at_ms, _)| *at_ms <= self.now_ms) {
            self.courts += 1;
            let (losses, vector) = truth(&units);
            let answer = Answer { losses, unfit_steps: 0, correct: 0, vector: Some(vector) };
            self.floor.recomputed(self.plan.round, Some(answer));
        }
        self.heed();
        self.floor.is_drained()
    }

    fn answer(&mut self, session: u64, assignment: &Assignment) {
        let Some(person) = self.people.get(&session) else { return };
        let lies = match person.manner {
            Manner::Declines => {
                let declined =
                    Message::Declined { assignment: assignment.assignment, reason: "memory".to_owned() };
                return self.floor.message(self.now_ms, session, declined);
            }
            Manner::Lies => true,
            Manner::LiesOnce => self.lie_about.as_ref() == Some(&assignment.units),
            _ => false,
        };
        self.say(session, assignment, lies);
    }

    fn say(&mut self, session: u64, assignment: &Assignment, lies: bool) {
        let (mut losses, vector) = truth(&assignment.units);
        if lies {
            losses[0] += 1;
        }
        let (round, version) = (assignment.round, assignment.round);
        let header = ResultHeader {
            run: 1,
            round,
            version,
            assignment: assignment.assignment,
            losses,
            ..ResultHeader::default()
        };
        self.floor.message(self.now_ms, session, Message::Result { header, vector: Some(vector) });
    }

    fn heed(&mut self) {
        while let Some(event) = self.floor.poll_event() {
            match event {
                FloorEvent::Assign { session, assignment } => self.asked(session, assignment),
                FloorEvent::Dismiss { session, .. } => {
                    self.people.remove(&session);
                }
                FloorEvent::Convicted { identity, unchecked_since, .. } => {
                    self.convicted.push((identity.token, unchecked_since));
                }
                FloorEvent::Recompute { units, .. } => {
                    let count = units.iter().map(|range| u64::from(range.end - range.start)).sum::<u64>();
                    self.court = Some((self.now_ms + COURT_MS * count, units));
                }
                FloorEvent::Tainted { .. } | FloorEvent::Delivered { .. } | FloorEvent::Unfit { .. } => {}
            }
        }
    }

    fn asked(&mut self, session: u64, assignment: Assignment) {
        let now_ms = self.now_ms;
        let person = self.people.get_mut(&session).expect("only those present are given work");
        if person.manner == Manner::LiesOnce {
            self.lie_about.get_or_insert_with(|| assignment.units.clone());
        }
        person.last = Some((assignment.assignment, assignment.round));
        let units = assignment.units.iter().map(|range| u64::from(range.end - range.start)).sum::<u64>();
        person.free_ms = person.free_ms.max(now_ms) + units * person.unit_ms;
        let at_ms = match person.manner {
            Manner::Honest | Manner::Lies | Manner::LiesOnce => person.free_ms,
            Manner::Stalls => return,
            Manner::Declines => now_ms + 17,
            Manner::Waits(_) => now_ms + 1_500,
            Manner::IsWaitedFor => now_ms + 1,
        };
        if person.manner == Manner::IsWaitedFor {
            let waits = |(_, (other, asked)): &(&(u64, u64), &(u64, Assignment))| {
                asked.units == assignment.units
                    && self.people.get(other).is_some_and(|other| other.manner == Manner::Waits(session))
            };
            if let Some((key, _)) = self.answers.iter().find(waits) {
                let key = *key;
                let (other, asked) = self.answers.remove(&key).unwrap();
                self.say(other, &asked, true);
                self.say(session, &assignment, true);
                return;
            }
        }
        self.answered += 1;
        self.answers.insert((at_ms, self.answered), (session, assignment));
    }

    fn close(&mut self) {
        let mut sum = vec![0, 0];
        let mut losses = 0;
        while let Some(partial) = self.floor.take_partial() {
            losses += partial.sums.parts[0].losses[0];
            sum.iter_mut().zip(&partial.sums.parts[0].vector).for_each(|(sum, value)| *sum += value);
        }
        let (right_losses, right) = truth(&[0..self.plan.units()]);
        if losses != right_losses[0] || sum != right {
            self.believed.insert(self.rounds);
        }
        self.floor.note_unchecked(self.rounds);
        self.rounds += 1;
        self.floor.close(self.now_ms, true);
    }
}

/// Three who are honest and have proved themselves, each at an address of its own.
fn with_three(units: u32, audit: Audit, seed: u8) -> Hall {
    let mut hall = Hall::new(units, audit, seed);
    (1..=3).for_each(|number| {
        hall.join(number, number, 10);
    });
    hall.rounds(6);
    hall
}

/// A copy goes to whoever is the fastest, so whoever wants to can have the copy of what it has itself.
#[test]
fn nobody_is_vouched_for_by_the_one_who_gets_a_copy_because_it_is_fast() {
    let mut lies = 0;
    for seed in 0..10 {
        let mut hall = with_three(40, Audit::Full, seed);
        let (first, second) = (hall.join(11, 99, 10), hall.join(12, 99, 1));
        hall.rounds(4);
        hall.person(first).manner = Manner::Waits(second);
        hall.person(second).manner = Manner::IsWaitedFor;
        for _ in 0..20 {
            hall.round();
            if !hall.is_there(first) {
                break;
            }
        }
        lies += u32::from(!hall.convicted.is_empty());
        assert!(hall.believed.is_empty(), "a lie is believed in round {:?}", hall.believed);
    }
    assert!(lies > 5, "they lied {lies} times");
}

#[test]
fn checkers_are_found_among_thousands_who_pause() {
    let mut hall = with_three(40, Audit::Full, 1);
    (0..5_000).for_each(|number| {
        hall.join_paused(1_000 + number, 1_000 + number);
    });
    let before = hall.courts;
    hall.rounds(10);
    assert_eq!(hall.courts, before, "the coordinator does the work of the checkers");
}

#[test]
fn hundreds_at_one_address_do_not_vouch_for_each_other() {
    for seed in 0..3 {
        let mut hall = with_three(1_000, Audit::Full, seed);
        let many: Vec<u64> = (0..800).map(|number| hall.join(1_000 + number, 99, 10)).collect();
        hall.rounds(8);
        many.iter().for_each(|session| hall.person(*session).manner = Manner::LiesOnce);
        for _ in 0..5 {
            hall.round();
        }

        assert!(hall.believed.is_empty(), "a lie is believed in round {:?}", hall.believed);
        assert!(hall.convicted.len() >= 5, "{} are found out", hall.convicted.len());
    }
}

/// Whoever comes and goes four thousand times within a round makes nobody forget who a liar was.
#[test]
fn a_liar_that_has_left_is_found_out_however_many_leave_after_it() {
    let mut hall = with_three(400, Audit::Full, 1);
    let liar = hall.join(11, 11, 1);
    hall.rounds(1);
    hall.person(liar).manner = Manner::Lies;
    hall.open();
    while hall.floor.done() == 0 || hall.now_ms == 0 {
        hall.step();
    }
    hall.leave(liar);
    for _ in 0..5_000 {
        let visitor = hall.join(1, 1, 10);
        hall.leave(visitor);
    }
    let until_ms = hall.now_ms + ROUND_MS_MAX;
    while !hall.step() {
        assert!(hall.now_ms < until_ms, "the round does not end");
    }
    assert!(hall.convicted.iter().any(|(token, _)| *token == 11));
}

/// They are the fastest, take what there is, and do none of it.
#[test]
fn a_report_on_a_round_that_is_over_excuses_nobody() {
    let time = |stallers: u128| {
        let mut hall = Hall::new(6, Audit::Sample(0.03), 1);
        (1..=3).for_each(|number| {
            hall.join(number, number, 100);
        });
        let all: Vec<u64> =
            (0..stallers).map(|number| hall.join(1_000 + number, 1_000 + number, 50)).collect();
        hall.rounds(100);
        all.iter().for_each(|session| hall.person(*session).manner = Manner::Stalls);
        hall.rounds(20);
        hall.rounds(100)
    };
    let (none, thirty) = (time(0), time(30));

    assert!(thirty < 1.25 * none, "{thirty} ms, and {none} ms without them");
}

/// Two lie about one unit in the same way, and one of them happened to be drawn to check the other. Then they are found
/// out for other lies, one after the other.
#[test]
fn what_a_liar_vouched_for_is_unchecked_again() {
    let mut found = 0;
    for seed in 0..30 {
        let mut hall = with_three(60, Audit::Full, seed);
        let pair = [hall.join(11, 11, 10), hall.join(12, 12, 10)];
        hall.rounds(6);
        pair.iter().for_each(|session| hall.person(*session).manner = Manner::LiesOnce);
        while hall.believed.is_empty() && hall.convicted.is_empty() {
            hall.round();
        }
        let Some(since) = hall.believed.first().copied().filter(|_| hall.convicted.is_empty()) else {
            continue;
        };
        found += 1;
        for session in pair {
            for one in pair.into_iter().filter(|one| hall.is_there(*one)).collect::<Vec<u64>>() {
                hall.person(one).manner = Manner::Honest;
            }
            hall.person(session).manner = Manner::Lies;
            while hall.is_there(session) {
                hall.round();
            }
        }
        let first: Option<u64> = hall.convicted.iter().filter_map(|(_, since)| *since).min();
        assert!(first.is_some_and(|first| first <= since), "{first:?}, and the lie is in {since}");
    }
    assert!(found > 0, "this must happen to be tested");
}

/// Among others who are as far as it is from the author, a slow volunteer is not who a round waits for.
#[test]
fn nobody_waits_for_a_slow_checker_in_a_classroom() {
    let time = |slow: bool| {
        let mut hall = Hall::new(120, Audit::Sample(0.1), 1);
        (0..6).for_each(|number| {
            hall.join(1 + number, 1, 10);
        });
        let seventh = hall.join(99, 1, 10);
        hall.rounds(30);
        hall.person(seventh).unit_ms = if slow { 300 } else { 10 };
        hall.rounds(20);
        hall.rounds(200)
    };
    let (without, with) = (time(false), time(true));

    assert!(with < 1.3 * without, "{with} ms, and {without} ms without it");
}

/// Where rounds take some milliseconds, those who are known have taken all units before a stranger's turn comes.
#[test]
fn a_stranger_is_tried_however_short_the_rounds_are() {
    for units in [2, 8, 64] {
        let mut hall = Hall::new(units, Audit::Sample(0.03), 1);
        (1..=3).for_each(|number| {
            hall.join(number, number, 1);
        });
        let usual = {
            hall.rounds(200);
            hall.rounds(2_000)
        };
        // Three come before it who sleep.
        (11..=13).for_each(|number| {
            let sleeper = hall.join(number, number, 1);
            hall.person(sleeper).manner = Manner::Stalls;
        });
        let (stranger, joined_ms) = (hall.join(99, 99, 1), hall.now_ms);
        while !hall.has_delivered(stranger) && hall.now_ms < joined_ms + 60_000 {
            hall.round();
        }
        let waited_ms = hall.now_ms - joined_ms;
        assert!(waited_ms <= 10_000, "{units} units: {waited_ms} ms");
        // Strangers who sleep hold a round up seldom.
        (0..20).for_each(|number| {
            let sleeper = hall.join(100 + number, 200 + number, 1);
            hall.person(sleeper).manner = Manner::Stalls;
        });
        let with_sleepers = hall.rounds(2_000);
        assert!(with_sleepers < 1.25 * usual, "{units} units: {with_sleepers} ms instead of {usual} ms");
    }
}

/// Whoever is given a long unit and sleeps holds its round up for as long again. That must be seldom, however many come.
#[test]
fn strangers_who_sleep_hold_up_few_rounds_of_long_units() {
    let time = |sleeps: bool| {
        let mut hall = Hall::new(3, Audit::Sample(0.03), 1);
        (1..=3).for_each(|number| {
            hall.join(number, number, 5_000);
        });
        hall.rounds(30);
        let rounds = (0..100_u32).map(|number| {
            // One comes for each round, under another name.
            if sleeps {
                let number = u128::from(100 + number);
                let sleeper = hall.join(number, number, 5_000);
                hall.person(sleeper).manner = Manner::Stalls;
            }
            hall.rounds(1)
        });
        rounds.sum::<f64>()
    };
    let (without, with) = (time(false), time(true));
    assert!(with < 1.15 * without, "{with} ms, and {without} ms without them");
}

/// Whoever declines all that it gets leaves others their turn.
#[test]
fn strangers_who_decline_keep_nobody_from_a_unit() {
    let mut hall = Hall::new(15, Audit::Sample(0.03), 1);
    (1..=2).for_each(|number| {
        hall.join(number, number, 200);
    });
    hall.rounds(30);
    (11..=90).for_each(|number| {
        let other = hall.join(number, 9, 50);
        hall.person(other).manner = Manner::Declines;
    });
    let (stranger, joined_ms) = (hall.join(999, 999, 50), hall.now_ms);
    while !hall.has_delivered(stranger) && hall.now_ms < joined_ms + 600_000 {
        hall.round();
    }
    let waited_ms = hall.now_ms - joined_ms;
    assert!(waited_ms <= 200_000, "{waited_ms} ms");
}
