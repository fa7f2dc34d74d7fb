//! Who helps, as the operator sees it: a table of the connected volunteers and of those who have left.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use engine::{Identity, Member};

use super::exchange::{Joined, Wire};
use crate::operator::{Departed, Row, State, View};
use crate::report::helpers::{Helper, Helpers};
use crate::report::words::bounded;

/// Seconds over which a volunteer's speed is averaged.
const SPEED_SECONDS: f64 = 10.0;
/// Seconds over which its waiting is averaged.
const WAITING_SECONDS: f64 = 30.0;
/// The table is brought up to date no more often.
const SAMPLE_SECONDS: f64 = 0.25;
/// A volunteer whose answer is overdue is silent when nothing was heard for so many seconds.
const SILENT_SECONDS: f64 = 5.0;
/// Characters of a volunteer's name that are shown.
pub(super) const AGENT_CHARACTERS: usize = 60;

/// See the module's description.
#[derive(Debug)]
pub(super) struct People {
    present: BTreeMap<u64, Person>,
    departed: VecDeque<Gone>,
    sampled: Instant,
    /// Examples that were counted, of all.
    counted: u64,
    /// Examples in results that were not counted.
    uncounted: u64,
    /// The account of those who are gone, and of what was done before a resume.
    account: Helpers,
}

#[derive(Debug)]
struct Person {
    agent: String,
    identity: Identity,
    local: bool,
    joined: Instant,
    wire: Arc<Wire>,
    examples: u64,
    late: u64,
    /// The most cores that it lent at a time.
    cores: u16,
    /// Seconds in which it had work.
    computing_seconds: f64,
    /// Examples when the table was last brought up to date.
    examples_then: u64,
    speed: Average,
    waiting: Average,
    /// The engine's view of it.
    member: Option<Member>,
}

#[derive(Debug)]
struct Gone {
    session: u64,
    person: Person,
    left: Instant,
    /// Why the driver sent it away; otherwise its connection knows.
    why: Option<String>,
    failed: bool,
}

/// An exponential average that does not begin at zero.
#[derive(Debug, Clone, Copy, Default)]
struct Average {
    sum: f64,
    weight: f64,
}

impl Average {
    fn add(&mut self, value: f64, seconds: f64, span: f64) {
        let share = 1.0 - (-seconds / span).exp();
        self.sum += share * (value - self.sum);
        self.weight += share * (1.0 - self.weight);
    }

    fn value(self) -> f64 {
        if self.weight > 0.0 { self.sum / self.weight } else { 0.0 }
    }
}

impl People {
    /// Nobody yet; `account` tells who helped before this process.
    pub(super) fn new(account: Helpers, now: Instant) -> People {
        let (present, departed) = (BTreeMap::new(), VecDeque::new());
        People { present, departed, sampled: now, counted: 0, uncounted: 0, account }
    }

    /// Who has helped so far, in this process and before.
    pub(super) fn helpers(&self) -> Helpers {
        let mut helpers = self.account.clone();
        helpers.counted += self.counted;
        helpers.uncounted += self.uncounted;
        let helpful = self.present.values().filter(|person| person.examples > 0);
        helpful.for_each(|person| helpers.add(person.helper_id(), person.helper()));
        helpers
    }

    pub(super) fn join(&mut self, session: u64, joined: &Joined, now: Instant) {
        let person = Person {
            agent: bounded(&joined.agent, AGENT_CHARACTERS),
            identity: joined.identity,
            local: joined.local,
            joined: now,
            wire: Arc::clone(&joined.wire),
            examples: 0,
            late: 0,
            cores: joined.cores,
            computing_seconds: 0.0,
            examples_then: 0,
            speed: Average::default(),
            waiting: Average::default(),
            member: None,
        };
        self.present.insert(session, person);
    }

    /// A volunteer is gone; `why` if the driver sent it away.
    pub(super) fn leave(&mut self, session: u64, why: Option<String>, now: Instant) {
        let Some(person) = self.present.remove(&session) else { return };
        if person.examples > 0 {
            self.account.add(person.helper_id(), person.helper());
        }
        if person.local {
            return;
        }
        if self.departed.len() == View::DEPARTED_MAX {
            self.departed.pop_back();
        }
        self.departed.push_front(Gone { session, person, left: now, why, failed: false });
    }

    /// A volunteer was found out. It may have left before.
    pub(super) fn fail(&mut self, session: u64, offense: &str) {
        if let Some(gone) = self.departed.iter_mut().find(|gone| gone.session == session) {
            gone.failed = true;
            gone.why = Some(format!("it sent {offense}"));
        }
    }

    /// Who a connected volunteer is.
    pub(super) fn find(&self, session: u64) -> Option<(Identity, &str, bool)> {
        self.present.get(&session).map(|person| (person.identity, person.agent.as_str(), person.local))
    }

    /// The sessions and tokens of all volunteers at an address.
    pub(super) fn at(&self, address: u128) -> Vec<(u64, u128)> {
        let there = |(_, person): &(&u64, &Person)| !person.local && person.identity.address == address;
        self.present.iter().filter(there).map(|(session, person)| (*session, person.identity.token)).collect()
    }

    /// Counts a result.
    pub(super) fn count(&mut self, session: u64, examples: u64, counted: bool) {
        match counted {
            true => self.counted += examples,
            false => self.uncounted += examples,
        }
        let Some(person) = self.present.get_mut(&session) else { return };
        match counted {
            true => person.examples += examples,
            false => person.late += 1,
        }
    }

    /// Brings the table up to date, if that is due. `works` says whether there is work to be had.
    pub(super) fn sample(&mut self, members: impl Iterator<Item = Member>, works: bool, now: Instant) {
        let seconds = (now - self.sampled).as_secs_f64();
        if seconds < SAMPLE_SECONDS {
            return;
        }
        self.sampled = now;
        for member in members {
            let Some(person) = self.present.get_mut(&member.session) else { continue };
            let done = person.examples - std::mem::replace(&mut person.examples_then, person.examples);
            person.speed.add(done as f64 / seconds, seconds, SPEED_SECONDS);
            person.cores = person.cores.max(member.cores);
            if member.outstanding > 0 {
                person.computing_seconds += seconds;
            }
            if works && member.cores > 0 {
                let waits = f64::from(u8::from(member.outstanding == 0));
                person.waiting.add(waits, seconds, WAITING_SECONDS);
            }
            person.member = Some(member);
        }
    }

    /// Share of the work that was done and not counted; `None` before there was any.
    pub(super) fn duplicated(&self) -> Option<f64> {
        let all = self.counted + self.uncounted;
        (all > 0).then(|| self.uncounted as f64 / all as f64)
    }

    /// Share of their time in which the volunteers had nothing to do, by their cores; `None` without volunteers.
    pub(super) fn waiting(&self) -> Option<f64> {
        let (mut sum, mut cores) = (0.0, 0.0);
        for person in self.present.values().filter(|person| !person.local && person.waiting.weight > 0.0) {
            let lent = person.member.map_or(0.0, |member| f64::from(member.cores));
            sum += lent * person.waiting.value();
            cores += lent;
        }
        (cores > 0.0).then(|| sum / cores)
    }

    /// Whether the coordinator's own worker is there.
    pub(super) fn has_own(&self) -> bool {
        self.present.values().any(|person| person.local)
    }

    /// The number of rows there could be.
    pub(super) fn len(&self) -> usize {
        self.present.len()
    }

    pub(super) fn rows(&self, now: Instant) -> Vec<Row> {
        let rows = self.present.iter().take(View::ROWS_MAX);
        rows.map(|(session, person)| person.row(*session, self.counted, now)).collect()
    }

    pub(super) fn departed(&self, now: Instant) -> Vec<Departed> {
        let departed = self.departed.iter().map(|Gone { session, person, left, why, failed }| Departed {
            session: *session,
            agent: person.agent.clone(),
            address: person.address(),
            examples: person.examples,
            seconds: (now - *left).as_secs_f64(),
            why: why.clone().or_else(|| person.wire.ending()).unwrap_or_else(|| "it left".to_owned()),
            failed: *failed,
        });
        departed.collect()
    }
}

impl Person {
    /// Tells the helpers of a run apart without telling their tokens.
    fn helper_id(&self) -> u64 {
        if self.local {
            return Helpers::COORDINATOR;
        }
        let digest =
            blake3::derive_key("shoal 2026-11-29 helper of a run", &self.identity.token.to_le_bytes());
        let (first, _) = digest.split_first_chunk().expect("a key has 32 bytes");
        u64::from_le_bytes(*first).max(Helpers::COORDINATOR + 1)
    }

    fn helper(&self) -> Helper {
        Helper {
            agent: self.agent.clone(),
            cores: self.cores,
            seconds: self.computing_seconds,
            examples: self.examples,
            bytes: self.wire.sent() + self.wire.received(),
        }
    }

    fn address(&self) -> String {
        crate::operator::address_in_words(self.identity.address)
    }

    fn state(&self, heard_seconds: f64) -> State {
        let Some(member) = self.member else { return State::Waiting };
        let is_silent = member.silent || member.overdue && heard_seconds > SILENT_SECONDS;
        match member {
            _ if self.wire.is_uploading() => State::Uploading,
            _ if is_silent && !self.local => State::Silent,
            Member { cores: 0, .. } => State::Paused,
            Member { outstanding: 0, .. } => State::Waiting,
            _ => State::Computing,
        }
    }

    fn row(&self, session: u64, counted: u64, now: Instant) -> Row {
        let heard_seconds = if self.local { 0.0 } else { self.wire.silence().as_secs_f64() };
        Row {
            session,
            agent: self.agent.clone(),
            address: if self.local { String::new() } else { self.address() },
            local: self.local,
            cores: self.member.map_or(0, |member| member.cores),
            state: self.state(heard_seconds),
            examples_per_second: self.speed.value(),
            examples: self.examples,
            share: if counted > 0 { self.examples as f64 / counted as f64 } else { 0.0 },
            waiting: self.waiting.value(),
            sent: self.wire.sent(),
            received: self.wire.received(),
            heard_seconds,
            joined_seconds: (now - self.joined).as_secs_f64(),
            passed: self.member.and_then(|member| member.proven).filter(|_| !self.local),
            late: self.late,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn member(session: u64, outstanding: usize) -> Member {
        Member {
            session,
            local: false,
            cores: 1,
            outstanding,
            overdue: false,
            silent: false,
            accepted: 0,
            proven: Some(0),
        }
    }

    fn joined(address: u128) -> Joined {
        let (outbox, _) = tokio::sync::mpsc::channel(1);
        let identity = Identity { token: 1, address };
        Joined { identity, agent: "a test".into(), ..Joined::new(outbox) }
    }

    #[test]
    fn speed_and_waiting_follow_what_was_done_of_late() {
        let start = Instant::now();
        let mut people = People::new(Helpers::default(), start);
        people.join(1, &joined(1), start);
        people.join(2, &joined(2), start);
        for second in 1..=100 {
            people.count(1, 50, true);
            let now = start + Duration::from_secs(second);
            people.sample([member(1, 1), member(2, 0)].into_iter(), true, now);
        }
        people.count(2, 50, false);
        let rows = people.rows(start + Duration::from_secs(100));
        assert!((rows[0].examples_per_second - 50.0).abs() < 1e-6, "{rows:?}");
        assert_eq!((rows[0].share, rows[0].waiting, rows[0].state), (1.0, 0.0, State::Computing));
        assert!((rows[1].waiting - 1.0).abs() < 1e-6 && rows[1].late == 1, "{rows:?}");
        assert!((people.waiting().unwrap() - 0.5).abs() < 1e-6);
        assert!((people.duplicated().unwrap() - 50.0 / 5050.0).abs() < 1e-12);
    }

    #[test]
    fn those_who_left_are_remembered_with_the_reason_and_their_number_is_bounded() {
        let start = Instant::now();
        let mut people = People::new(Helpers::default(), start);
        for session in 0..2 * View::DEPARTED_MAX as u64 {
            people.join(session, &joined(9), start);
        }
        assert_eq!(people.at(9).len(), 2 * View::DEPARTED_MAX);
        for session in 0..2 * View::DEPARTED_MAX as u64 {
            people.leave(session, None, start);
        }
        people.fail(2 * View::DEPARTED_MAX as u64 - 1, "a wrong result");
        let departed = people.departed(start);
        assert_eq!(departed.len(), View::DEPARTED_MAX);
        assert!(departed[0].failed && departed[0].why.contains("a wrong result"), "{:?}", departed[0]);
        assert_eq!(departed[1].why, "it left");
    }
}
