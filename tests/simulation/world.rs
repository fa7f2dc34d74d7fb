//! A whole run: coordinator and volunteers in virtual time, until the training has ended.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use engine::{Accepted, Audit, Course, Input, LAST_RESORT_MS, NEWCOMER_RESULTS, StopReason};
use protocol::plan::RoundPlan;

use crate::believed::{Found, Lie};
use crate::guest::Guest;
use crate::host::{Counts, Host};
use crate::problem::Problem;
use crate::reference::{self, Events, Reference};
use crate::scenario::{Scenario, Trouble};
use crate::stage::{Event, Stage};
use crate::timesheet::Spent;

/// More events than any run needs.
const EVENTS_MAX: u64 = 2_000_000;

/// What a run was like.
pub(crate) struct Report {
    /// How often each kind of fault happened.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// What the engine did.
    pub(crate) counts: Counts,
    /// Every round with its vectors, as it was opened.
    pub(crate) opened: Vec<(RoundPlan, Vec<Arc<[f32]>>)>,
    /// What training without an engine came across.
    pub(crate) reference: Events,
    /// Points accepted.
    pub(crate) points: usize,
    /// The lowest of their losses.
    pub(crate) lowest_loss: f64,
    /// How often liars were found out, of how often that was to be expected.
    pub(crate) found: Found,
    /// The weights' digest.
    pub(crate) digest: [u8; 32],
    pub(crate) ended_ms: u64,
    /// What each volunteer's time was spent on until then, in milliseconds.
    pub(crate) spent: Vec<BTreeMap<Spent, u64>>,
    pub(crate) events: u64,
}

impl Report {
    /// What happened, and how often.
    pub(crate) fn happened(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let Report { counts, reference, .. } = self;
        let planned = reference.rounds + reference.rescales + reference.refined + reference.without_test;
        let more = [
            (reference.reason, 1),
            ("best point before the last", u64::from(reference.best_is_earlier)),
            ("point without an evaluation", reference.unevaluated),
            ("training set evaluated", reference.training_evaluations),
            ("backup task", counts.backups),
            ("check", counts.audited_units),
            ("dismissed", counts.dismissed),
            ("line search", reference.line_searches),
            ("point without a value", reference.valueless),
            ("restart without the test set", reference.without_test),
            ("result overtaken", counts.overtaken),
            ("round opened again", counts.rounds.saturating_sub(planned)),
            ("scale moved", reference.rescales),
            ("scale refined", reference.refined),
            ("step out of range", reference.unfit_steps),
        ];
        self.faults.iter().map(|(what, count)| (*what, *count)).chain(more)
    }
}

/// Runs a scenario and checks all there is to check.
///
/// # Panics
/// When something is wrong; the message holds all that is needed to replay and understand it.
pub(crate) fn run(scenario: &Scenario) -> Report {
    let problem = Problem::new(&scenario.problem);
    let reference = reference::train(&problem, &scenario.limits);
    let mut world = World {
        stage: Stage::new(scenario.seed, scenario.guests.len()),
        host: Host::new(scenario, &problem, &reference),
        guests: Vec::new(),
        scenario,
        problem: &problem,
        reference: &reference,
    };
    match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(events) => Report {
            faults: world.stage.faults,
            counts: world.host.counts,
            opened: world.host.opened,
            reference: reference.events,
            points: reference.points.len(),
            lowest_loss: reference
                .points
                .iter()
                .map(|point| point.figures.objective)
                .fold(f64::INFINITY, f64::min),
            found: world.host.believed.found,
            digest: reference.digest,
            spent: world.stage.sheet.close(world.stage.now_ms),
            ended_ms: world.host.outcome.map_or(0, |outcome| outcome.at_ms),
            events,
        },
        Err(cause) => {
            let text = cause.downcast_ref::<String>().map(String::as_str);
            let text = text.or(cause.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
            let log = world.stage.log.join("\n");
            let (seed, now_ms) = (scenario.seed, world.stage.now_ms);
            let guests: String = scenario.guests.iter().map(|guest| format!("\n{guest:?}")).collect();
            let scenario = Scenario { guests: Vec::new(), ..scenario.clone() };
            let Reference { events, reason, .. } = &reference;
            panic!(
                "{text}\n\nat {now_ms} ms of {scenario:?}\n\nguests:{guests}\n\nfaults:\n{log}\n\n\
                 the reference has {events:?} and ends with {reason:?}\n\n\
                 replay with SHOAL_SIMULATION_SEED={seed}"
            );
        }
    }
}

struct World<'a> {
    scenario: &'a Scenario,
    problem: &'a Problem,
    reference: &'a Reference,
    stage: Stage,
    host: Host<'a>,
    guests: Vec<Guest>,
}

impl World<'_> {
    fn run(&mut self) -> u64 {
        for (number, plan) in self.scenario.guests.iter().enumerate() {
            self.guests.push(Guest::new(number, plan.clone(), self.scenario.calm_ms));
            for &(at_ms, happening) in &plan.happenings {
                self.stage.at(at_ms, Event::Happening { guest: number, happening });
            }
        }
        for (kill, plan) in self.scenario.kills.iter().enumerate() {
            self.stage.at(plan.at_ms, Event::Kill { kill });
        }
        for &(at_ms, trouble) in &self.scenario.troubles {
            self.stage.at(at_ms, Event::Trouble { trouble });
        }
        for &(at_ms, pause_ms) in &self.scenario.pauses {
            self.stage.at(at_ms, Event::Pause { begins: true });
            self.stage.at(at_ms + pause_ms, Event::Pause { begins: false });
        }
        self.start_host();
        let limit_ms = self.limit_ms();
        let mut events = 0;
        while self.host.outcome.is_none() {
            let Some((number, event)) = self.stage.next() else {
                panic!("nothing more happens, and the run has not ended")
            };
            events += 1;
            assert!(events <= EVENTS_MAX, "the run goes round in circles");
            assert!(self.stage.now_ms <= limit_ms, "the run should have ended by {limit_ms} ms");
            let asleep_until_ms = match event.on_machine() {
                Some(guest) => self.guests[guest].asleep_until_ms,
                None if event.is_hosts() => self.host.frozen_until_ms,
                None => 0,
            };
            if asleep_until_ms > self.stage.now_ms {
                self.stage.put_off(asleep_until_ms, number, event);
            } else {
                self.handle(event);
            }
        }
        self.check_outcome();
        events
    }

    /// When a run must be over: an estimate with plenty of room, but too short for a run that waits
    /// for a timeout with every unit.
    fn limit_ms(&self) -> u64 {
        let Scenario { guests, calm_ms, begin_ms, kills, referee_ms, .. } = self.scenario;
        let events = &self.reference.events;
        let rounds = events.rounds + events.rescales + events.refined + events.without_test + 1;
        let units = {
            let sets = &self.problem.sets;
            // The training set may be evaluated besides.
            2 * sets.training.units() + sets.validation.units() + sets.test.units()
        };
        let units = u64::from(units);
        // Whoever is certain to be there does all of it in this time, and the slowest of all, if it
        // is the only one that may help, too.
        let unit_ms = guests.iter().map(|guest| guest.unit_ms.1 + guest.latency_ms.1 + guest.download_ms.1);
        let round_ms = 3 * units * unit_ms.max().unwrap_or(0);
        let frozen_ms = self.scenario.troubles.iter().map(|(_, trouble)| match trouble {
            Trouble::Freeze(ms) => *ms,
            _ => 0,
        });
        let calm_ms = calm_ms
            + begin_ms
            + kills.iter().map(|kill| kill.down_ms).sum::<u64>()
            + frozen_ms.sum::<u64>()
            + 60_000;
        // Other weights may need more rounds.
        let rounds = if self.scenario.has_liars() { 50 * rounds } else { rounds };
        calm_ms + rounds * (round_ms + 4 * LAST_RESORT_MS + 10 * referee_ms.1)
    }

    fn start_host(&mut self) {
        self.host.start(&mut self.stage);
        for number in 0..self.guests.len() {
            if self.scenario.guests[number].local {
                self.guests[number].arrive(&mut self.stage, self.problem);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let World { stage, host, guests, problem, scenario, .. } = self;
        match event {
            Event::Connects { guest, life } => {
                if guests[guest].lives(life) {
                    let connection =
                        host.is_up().then(|| stage.connect(guest, scenario.guests[guest].latency_ms));
                    if let Some(connection) = connection {
                        host.accept(connection, guest, scenario.guests[guest].local);
                    }
                    guests[guest].connected(stage, problem, connection);
                }
            }
            Event::Up { connection, item } => {
                if item.is_close() || !stage.is_cut(connection) {
                    host.receive(stage, connection, item);
                }
            }
            Event::Down { guest, connection, item } => {
                if item.is_close() || !stage.is_cut(connection) {
                    guests[guest].receive(stage, problem, connection, item);
                }
            }
            Event::Compute { guest, life, compute, message } => {
                if guests[guest].lives(life) {
                    guests[guest].compute(stage, problem, compute, message);
                }
            }
            Event::Shard { guest, life, fetch, bytes } => {
                if guests[guest].lives(life) {
                    guests[guest].shard(stage, problem, fetch, bytes);
                }
            }
            Event::Tick { guest, life } => {
                if guests[guest].lives(life) {
                    guests[guest].tick(stage, problem);
                }
            }
            Event::Happening { guest, happening } => guests[guest].happening(stage, problem, happening),
            Event::Wake { life } => {
                if life == host.life {
                    host.engine(stage, Input::Tick);
                }
            }
            Event::Begin { life } => {
                if life == host.life {
                    host.engine(stage, Input::Begin);
                }
            }
            Event::Measured { life, round, unit, measure } => {
                if life == host.life {
                    host.engine(stage, Input::Measured { round, unit, measure });
                }
            }
            Event::Recomputed { life, round, answer } => {
                if life == host.life {
                    host.engine(stage, Input::Recomputed { round, answer });
                }
            }
            Event::NotAnswered { life, round, measured } => {
                if life == host.life {
                    let measure = |unit| Input::NotMeasured { round, unit };
                    host.engine(stage, measured.map_or(Input::NotRecomputed { round }, measure));
                }
            }
            Event::Heartbeat { life } => {
                if life == host.life && host.is_up() {
                    host.heartbeat(stage);
                }
            }
            Event::Kill { kill } => {
                let kill = scenario.kills[kill];
                if host.is_up() {
                    stage.fault(if kill.orderly { "stopped" } else { "killed" }, "the coordinator");
                    host.kill(stage, kill.orderly, kill.torn);
                    // The coordinator's own worker dies with it.
                    for guest in guests.iter_mut().zip(&scenario.guests).filter(|(_, plan)| plan.local) {
                        guest.0.leave(stage, true);
                    }
                    stage.after(kill.down_ms, Event::Restart);
                }
            }
            Event::Restart => self.start_host(),
            Event::Trouble { trouble } => host.suffer(stage, trouble),
            Event::Pause { begins } => {
                if begins && host.is_up() {
                    stage.fault("operator paused", "the training");
                }
                host.engine(stage, if begins { Input::Pause } else { Input::Continue });
            }
        }
    }

    fn check_outcome(&mut self) {
        if let Some(kind) = self.scenario.pair {
            self.stage.fault("colluders", format_args!("{kind:?}"));
        }
        let lies = self.host.believed.lies.clone();
        if !lies.is_empty() {
            return self.check_believed(&lies);
        }
        let outcome = self.host.outcome.as_ref().expect("the run has ended");
        assert_eq!(outcome.reason, self.reference.reason);
        assert_eq!(outcome.digest, self.reference.digest, "the weights are others");
        assert_eq!(outcome.best, self.reference.best, "other weights are kept");
        let bits = |points: &[Accepted]| postcard::to_allocvec(points).unwrap();
        if self.scenario.kills.is_empty() {
            let (found, expected) = (&self.host.points, &self.reference.points);
            assert!(bits(found) == bits(expected), "{found:#?} should be {expected:#?}");
        }
        assert_eq!(outcome.rounds, self.reference.events.rounds);
        let last = self.reference.points.last();
        assert_eq!(outcome.accepted.map(|one| one.iteration), last.map(|one| one.iteration));
    }

    /// Where a lie is believed at the end, the weights are others. All the same it is one of those that may be.
    fn check_believed(&mut self, lies: &[Lie]) {
        let (vouched, lies): (Vec<&Lie>, Vec<&Lie>) =
            lies.iter().partition(|lie| self.scenario.may_be_vouched_for(lie.guest));
        if !vouched.is_empty() {
            self.stage.fault("collusion", format_args!("{vouched:?}"));
        }
        if lies.is_empty() {
            return;
        }
        let Scenario { audit, .. } = self.scenario;
        assert!(matches!(audit, Audit::Sample(_)), "{audit:?} believes {lies:?}");
        let outcome = self.host.outcome.as_ref().expect("the run has ended");
        for lie in &lies {
            assert!(lie.proven >= NEWCOMER_RESULTS, "that of a newcomer is checked: {lie:?}");
            assert!(lie.rounds + 1 < outcome.rounds, "what ends the training is confirmed: {lie:?}");
        }
        if let StopReason::RelativeDecrease(_) = outcome.reason {
            let first = self.host.points.iter().rev().nth(Course::SPAN - 1).map(|point| point.rounds);
            let decides = |lie: &Lie| !lie.is_saved && first.is_some_and(|first| lie.rounds >= first);
            assert!(
                !lies.iter().any(|lie| decides(lie)),
                "all that ends the training is checked, from {first:?}: {lies:?}"
            );
        }
        let iteration = outcome.accepted.map(|point| point.iteration);
        let limit = self.scenario.limits.stop.iterations;
        assert!(iteration.is_some_and(|iteration| iteration <= limit), "{iteration:?} iterations");
        self.stage.fault("undetected", format_args!("{lies:?}"));
    }
}
