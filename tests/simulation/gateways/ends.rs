//! The end of a training: what a leader does in the store when there are no more rounds, and who hears of it.

use gateway::{Gateway, LeaderInput, StateName, Term};

use super::protections::Protection;
use super::scenario::{Actor, Mishap, Scenario, Store};
use super::world::{Event, World};
use super::{CALM_MS, run, run_right};
use crate::problem::ProblemPlan;

/// How often a leader looks whether another one has ended the training.
const LOOK_EVERY_MS: u64 = 10_000;
/// A gateway that has been without an answer for so long looks for the end in the store, as often.
const LONELY_MS: u64 = 5_000;
/// A request to the store that failed is made again after this time.
const AGAIN_MS: u64 = 300;
/// A leader that has told of the end goes after this time.
const GOES_MS: u64 = 100;

/// What a leader does at the end, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    SavesState,
    /// Looks for a newer term.
    Looks,
    PutsResults,
    /// Says that the training has ended, if nobody has.
    Says,
    /// Reads whose results are named there.
    Reads,
}

impl Step {
    pub(super) const ALL: [Step; 5] =
        [Step::SavesState, Step::Looks, Step::PutsResults, Step::Says, Step::Reads];
}

impl World<'_> {
    /// There are no more rounds.
    pub(super) fn begin_to_end(&mut self, number: usize) {
        self.go_on_ending(number, Step::SavesState);
        if self.scenario.lacks == Some(Protection::SaidLast) {
            self.leader(number, LeaderInput::Published);
        }
    }

    fn go_on_ending(&mut self, number: usize, step: Step) {
        let (life, delay_ms) = (self.coordinators[number].machine.life, self.store_ms());
        self.after(delay_ms, Event::Ends(number, life, step));
    }

    /// A step of the end, when its request arrives at the store.
    pub(super) fn ends(&mut self, number: usize, step: Step) {
        let (own, life) = (Actor::Coordinator(number), self.coordinators[number].machine.life);
        if let Some(index) = self.mishaps_at_end.iter().position(|(at, _)| *at == step) {
            let (_, mishap) = self.mishaps_at_end.remove(index);
            self.note("disturbed at the end", (number, step));
            self.disturbed_ms = Some(self.now_ms);
            self.mishap(own, mishap);
            return self.after(1, Event::Ends(number, life, step));
        }
        let Some(leader) = &self.coordinators[number].leader else { return };
        let (term, snapshot, weights) =
            (leader.term(), leader.engine().snapshot(), leader.engine().weights());
        if self.is_without_store(own) {
            // It may be done all the same.
            if step == Step::Says && self.draw.percent(50) {
                self.say_the_end(term);
            }
            return self.after(AGAIN_MS, Event::Ends(number, life, step));
        }
        match step {
            Step::SavesState => {
                let bytes = postcard::to_allocvec(&snapshot).unwrap();
                self.states.insert(StateName::last(term, &bytes), bytes);
                self.go_on_ending(number, Step::Looks);
            }
            Step::Looks if self.is_replaced(term) => {
                self.note("does not end what another leads", number);
                self.start(own);
            }
            Step::Looks => self.go_on_ending(number, Step::PutsResults),
            Step::PutsResults => {
                self.results.insert(term, model::weights_digest(&weights));
                self.go_on_ending(number, Step::Says);
            }
            Step::Says => {
                self.say_the_end(term);
                self.go_on_ending(number, Step::Reads);
            }
            Step::Reads => {
                let (named, _) = self.end.expect("it was said");
                assert!(self.results.contains_key(&named), "the end names results that there are not");
                self.note(if named == term { "ended" } else { "took another's results" }, number);
                self.leader(number, LeaderInput::Published);
                self.after(GOES_MS, Event::Goes(own, life));
            }
        }
    }

    fn say_the_end(&mut self, term: Term) {
        let is_raced = |(_, at_ms): (Term, u64)| self.is_racy(at_ms);
        if self.end.is_none_or(is_raced) {
            self.note("said the end", term.number);
            self.end = Some((term, self.now_ms));
        }
    }

    /// Whether a store whose creation is not exclusive lets somebody win who comes just after another.
    pub(super) fn is_racy(&self, created_ms: u64) -> bool {
        self.scenario.store.is_racy && self.now_ms < created_ms + 500
    }

    /// Whether somebody began to lead after that term.
    fn is_replaced(&self, term: Term) -> bool {
        let newest = self.terms.values().next_back().map(|(newest, _)| *newest);
        newest > Some(term) && self.scenario.lacks != Some(Protection::LookForNewer)
    }

    /// Whether a request of it to the store fails now.
    pub(super) fn is_without_store(&mut self, actor: Actor) -> bool {
        let is_cut_off = self.machine(actor).without_store_until_ms > self.now_ms;
        is_cut_off || self.now_ms < CALM_MS && self.draw.percent(self.scenario.store.fails)
    }

    /// A leader looks whether the store knows of the end.
    pub(super) fn look_after(&mut self, number: usize) {
        let own = Actor::Coordinator(number);
        if self.coordinators[number].leader.is_none() {
            return;
        }
        if !self.is_without_store(own) && self.end.is_some() {
            self.note("replaced in the store", number);
            return self.start(own);
        }
        let life = self.coordinators[number].machine.life;
        self.after(LOOK_EVERY_MS, Event::LooksAfter(number, life));
    }

    /// A gateway that nobody answers looks whether the training has ended.
    pub(super) fn look_for_end(&mut self, number: usize) {
        let own = Actor::Gateway(number);
        let now_ms = self.now_ms;
        let is_lonely = |gateway: &Gateway| gateway.unanswered_ms(now_ms) >= LONELY_MS;
        if self.gateways[number].gateway.as_ref().is_some_and(is_lonely)
            && !self.is_without_store(own)
            && self.end.is_some()
        {
            self.note("found the end in the store", number);
            self.go(own);
        }
        let life = self.gateways[number].machine.life;
        self.after(LONELY_MS, Event::LooksForEnd(number, life));
    }

    /// Somebody is not needed any more.
    pub(super) fn go(&mut self, actor: Actor) {
        assert!(self.end.is_some(), "{actor:?} leaves a training that has not ended");
        self.end(actor);
        self.machine(actor).is_over = true;
    }
}

/// A leader, a standby, and what happens to the first at the end.
fn with_mishap_at_end(seed: u64, step: Step, mishap: Mishap) -> Scenario {
    Scenario {
        gateways: vec![vec![60, 80], vec![60, 80]],
        coordinators: 2,
        mishaps_at_end: vec![(step, mishap)],
        ..Scenario::calm(seed, ProblemPlan { seed, ..ProblemPlan::plain(40) })
    }
}

/// How long it may take until somebody else leads.
const REPLACED_MS_MAX: u64 = 15_000;

#[test]
fn a_leader_that_dies_at_any_step_of_the_end_is_replaced_and_nobody_has_left() {
    for (seed, step) in (0..).zip(Step::ALL) {
        for mishap in [Mishap::Kill(60_000), Mishap::Freeze(20_000)] {
            let happened = run_right(&with_mishap_at_end(seed, step, mishap));
            assert_eq!(happened["disturbed at the end"], 1);
            // Once the store says it, nobody has to lead any more.
            let leaders = if step == Step::Reads { 1 } else { 2 };
            assert_eq!(happened["leads"], leaders, "{step:?}, {mishap:?}: {happened:?}");
            let replaced_ms = happened.get("milliseconds until replaced").copied().unwrap_or(0);
            assert!(replaced_ms <= REPLACED_MS_MAX, "{step:?}, {mishap:?}: {replaced_ms} ms");
        }
    }
}

#[test]
fn a_leader_that_cannot_reach_the_store_at_the_end_waits_for_it() {
    for (seed, step) in (0..).zip(Step::ALL) {
        let happened = run_right(&with_mishap_at_end(seed, step, Mishap::LoseStore(60_000)));
        assert_eq!((happened["leads"], happened["ended"]), (1, 1), "{step:?}: {happened:?}");
    }
}

#[test]
fn a_leader_that_is_cut_off_from_the_store_waits_and_is_not_replaced() {
    for seed in 0..10 {
        let mishaps = vec![(800 + 50 * seed, Actor::Coordinator(0), Mishap::LoseStore(40_000))];
        let step = Step::SavesState;
        let scenario = Scenario { mishaps, ..with_mishap_at_end(seed, step, Mishap::LoseStore(0)) };
        let happened = run_right(&scenario);
        assert_eq!(happened["leads"], 1, "{happened:?}");
    }
}

/// A leader that stands still, and whose time is up when it goes on: it has not heard that another one leads.
fn with_late_end(seed: u64) -> Scenario {
    let own = Actor::Coordinator(0);
    let mishaps = vec![
        (600, own, Mishap::Freeze(14_000)),
        (600, own, Mishap::CutOff(30_000)),
        (14_600, own, Mishap::TimeIsUp),
    ];
    let scenario = with_mishap_at_end(seed, Step::Reads, Mishap::LoseStore(0));
    Scenario { mishaps, mishaps_at_end: Vec::new(), iterations: 40, ..scenario }
}

#[test]
fn a_leader_that_comes_back_too_late_does_not_end_what_another_leads() {
    for seed in 0..5 {
        let happened = run_right(&with_late_end(seed));
        assert!(happened.contains_key("does not end what another leads"), "{happened:?}");
        assert!(happened["leads"] >= 2 && happened["said the end"] == 1, "{happened:?}");
    }
}

/// Two standbys take over at the same time, in a store that lets both create what can be created once.
#[test]
fn a_store_that_lets_two_win_changes_no_bit() {
    let mut created_twice = 0;
    for seed in 0..30 {
        let scenario = Scenario {
            coordinators: 3,
            store: Store { fails: 0, damages: 0, delay_ms: (5, 200), is_racy: true },
            mishaps: vec![(1_000, Actor::Coordinator(0), Mishap::Kill(100))],
            ..with_mishap_at_end(seed, Step::Looks, Mishap::Kill(100))
        };
        created_twice += u64::from(run_right(&scenario).contains_key("created twice"));
    }
    assert!(created_twice > 5, "this must happen to be tested: {created_twice}");
}

/// Two stand by, and the newest state is large.
fn with_large_state(seed: u64) -> Scenario {
    let mishaps = vec![(1_000, Actor::Coordinator(0), Mishap::Kill(400_000))];
    let scenario = with_mishap_at_end(seed, Step::Reads, Mishap::LoseStore(0));
    Scenario { coordinators: 3, loading_ms: 25_000, mishaps, ..scenario }
}

#[test]
fn whoever_loads_a_large_state_is_not_replaced_meanwhile() {
    for seed in 0..5 {
        let happened = run_right(&with_large_state(seed));
        assert_eq!(happened["leads"], 2, "{happened:?}");
        assert!(!happened.contains_key("sent away"), "{happened:?}");
    }
    let happened = run(&Scenario { lacks: Some(Protection::Herald), ..with_large_state(0) });
    assert!(happened.map_or(true, |happened| happened["leads"] > 2), "this would not notice");
}

#[test]
fn without_any_one_of_the_rules_of_the_end_a_run_fails() {
    let cases: [(Protection, &dyn Fn(u64) -> Scenario); 2] = [
        (Protection::SaidLast, &|seed| with_mishap_at_end(seed, Step::Looks, Mishap::Kill(60_000))),
        (Protection::LookForNewer, &with_late_end),
    ];
    for (lacks, scenario) in cases {
        assert!(run(&Scenario { lacks: Some(lacks), ..scenario(1) }).is_err(), "{lacks:?} is not needed");
    }
}
