//! Who can be given work, kept up to date volunteer by volunteer, so that handing out work costs as much as has
//! changed and not as much as there are volunteers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Assignments that one volunteer may have: one under way, one queued behind it.
pub const OUTSTANDING_MAX: usize = 2;

/// See the module's description. The coordinator's own worker is not in it.
#[derive(Debug, Default)]
pub(super) struct Roster {
    entries: BTreeMap<u64, Entry>,
    /// Those with room for an assignment, by how many they have, the most reliable first.
    ready: [BTreeSet<(Standing, u64)>; OUTSTANDING_MAX],
    /// Reliable ones that have nothing to do: first those heard since the round was opened, because of the others some may
    /// have left without a word, and of both the fastest first.
    idle: BTreeSet<(Reverse<bool>, Reverse<u64>, u64)>,
    /// Those that get nothing until some time.
    resting: BTreeSet<(u64, u64)>,
    /// Those that get no units until some time.
    held: BTreeSet<(u64, u64)>,
    /// What those who work amount to together.
    pub(super) count: usize,
    pub(super) measured: usize,
    /// The speeds of one core of each.
    core_speeds: CoreSpeeds,
    /// Without those of whom nothing is to be expected.
    pub(super) cores: usize,
    speed: f64,
    /// Also of those who rest.
    pub(super) lent: Lent,
    /// How many are known to deliver.
    pub(super) known: usize,
    /// Assignments that are with those who never delivered.
    pub(super) trials: usize,
}

/// Those of whom little is to be expected are counted together as one in so many of the cores of all others.
const STRANGERS_ONE_IN: u32 = 8;
/// They are counted as so many cores at least: where only strangers are, they get units and can deliver.
const STRANGERS_MIN: u32 = 8;

/// What all lend together, as far as they can be given work: whoever is benched does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Lent {
    /// Of those who deliver and are not silent.
    cores: u32,
    speed: f64,
    measured: usize,
    unmeasured_cores: u32,
    /// The number of the others. A crowd that sleeps may claim any number of cores.
    strangers: u32,
}

impl Lent {
    fn count_in(&mut self, entry: &Entry) {
        if entry.is_benched {
            return;
        }
        if entry.standing != Standing::Delivers {
            self.strangers += 1;
            return;
        }
        self.cores += u32::from(entry.cores);
        match entry.speed {
            Some(speed) => (self.speed, self.measured) = (self.speed + speed, self.measured + 1),
            None => self.unmeasured_cores += u32::from(entry.cores),
        }
    }

    fn count_off(&mut self, entry: &Entry) {
        if entry.is_benched {
            return;
        }
        if entry.standing != Standing::Delivers {
            self.strangers -= 1;
            return;
        }
        self.cores -= u32::from(entry.cores);
        match entry.speed {
            Some(speed) => (self.speed, self.measured) = (self.speed - speed, self.measured - 1),
            None => self.unmeasured_cores -= u32::from(entry.cores),
        }
        if self.measured == 0 {
            // Nothing is left of what rounding has added up.
            self.speed = 0.0;
        }
    }

    /// The cores that strangers count as: one each, within bounds.
    fn cores_of_strangers(&self) -> u32 {
        self.strangers.min((self.cores / STRANGERS_ONE_IN).max(STRANGERS_MIN))
    }

    /// Cores.
    pub(super) fn cores(&self) -> u32 {
        self.cores + self.cores_of_strangers()
    }

    /// The speed of all, at a speed of `typical` of each core of those that are not measured.
    pub(super) fn speed(&self, typical: f64) -> f64 {
        self.speed.max(0.0) + f64::from(self.unmeasured_cores + self.cores_of_strangers()) * typical
    }
}

/// Of so many speeds one cannot decide what is typical.
const MEASURED_MIN: usize = 3;

/// How fast cores are: how many there are of a speed between two powers of two, and the sum of these speeds.
#[derive(Debug, Default)]
struct CoreSpeeds {
    count: usize,
    by_power: BTreeMap<u64, (usize, f64)>,
}

impl CoreSpeeds {
    /// The power of two: the exponent, as a number that is not negative has it in its bits.
    fn power(speed: f64) -> u64 {
        speed.to_bits() >> (f64::MANTISSA_DIGITS - 1)
    }

    fn count_in(&mut self, speed: f64) {
        self.count += 1;
        let (count, sum) = self.by_power.entry(CoreSpeeds::power(speed)).or_default();
        (*count, *sum) = (*count + 1, *sum + speed);
    }

    fn count_off(&mut self, speed: f64) {
        let power = CoreSpeeds::power(speed);
        let Some((count, sum)) = self.by_power.get_mut(&power) else { return };
        self.count -= 1;
        (*count, *sum) = (*count - 1, *sum - speed);
        if *count == 0 {
            // With it goes what rounding has added up.
            self.by_power.remove(&power);
        }
    }

    /// The mean of those about as fast as the middle one, the slower of two: a mean of all would be what one says who
    /// answers at once. Of fewer than [`MEASURED_MIN`] it is the mean all the same.
    fn typical(&self) -> Option<f64> {
        if self.count < MEASURED_MIN {
            let sum: f64 = self.by_power.values().map(|(_, sum)| sum).sum();
            return (self.count > 0).then(|| sum / self.count as f64);
        }
        let mut before = 0;
        let mut powers = self.by_power.values();
        let middle = powers.find(|(count, _)| {
            before += count;
            2 * before >= self.count
        });
        middle.map(|(count, sum)| sum / *count as f64)
    }
}

/// How much is to be expected of a volunteer, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Delivers,
    /// It was overdue when a round ended, and nothing has been heard of it since.
    Silent,
    /// It never delivered a result that was accepted.
    OnTrial,
}

/// One volunteer, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Entry {
    pub(super) standing: Standing,
    /// Whether it never delivered.
    pub(super) on_trial: bool,
    pub(super) cores: u16,
    pub(super) outstanding: usize,
    pub(super) speed: Option<f64>,
    pub(super) core_speed: Option<f64>,
    /// It gets no units before this time; 0 if it may have some.
    pub(super) held_until_ms: u64,
    /// It gets nothing before this time.
    pub(super) rests_until_ms: u64,
    /// It gets nothing in this round.
    pub(super) is_benched: bool,
    /// Whether anything of it has come since the round was opened.
    pub(super) is_awake: bool,
}

/// The bits of numbers that are not negative order as the numbers do.
fn bits(speed: Option<f64>) -> u64 {
    speed.unwrap_or(0.0).to_bits()
}

impl Entry {
    /// Its cores, if something is to be expected of it.
    fn counted_cores(&self) -> usize {
        let works = self.standing == Standing::Delivers && !self.is_benched;
        if works { self.cores.into() } else { 0 }
    }

    fn place_in_idle(&self, session: u64) -> (Reverse<bool>, Reverse<u64>, u64) {
        (Reverse(self.is_awake), Reverse(bits(self.speed)), session)
    }

    fn has_room(&self) -> bool {
        self.outstanding < OUTSTANDING_MAX && !self.is_benched
    }
}

impl Roster {
    /// Takes in what a volunteer is like now; `None` if it has left or pauses.
    pub(super) fn update(&mut self, session: u64, entry: Option<Entry>) {
        let before = self.entries.get(&session).copied();
        if before == entry {
            return;
        }
        if let Some(before) = before {
            self.entries.remove(&session);
            self.count_off(session, &before);
        }
        if let Some(entry) = entry {
            self.count_in(session, &entry);
            self.entries.insert(session, entry);
        }
    }

    fn count_in(&mut self, session: u64, entry: &Entry) {
        self.lent.count_in(entry);
        self.trials += if entry.on_trial { entry.outstanding } else { 0 };
        self.known += usize::from(!entry.on_trial);
        if entry.rests_until_ms > 0 {
            self.resting.insert((entry.rests_until_ms, session));
            return;
        }
        self.count += 1;
        self.cores += entry.counted_cores();
        self.measured += usize::from(entry.speed.is_some());
        self.speed += entry.speed.unwrap_or(0.0);
        entry.core_speed.iter().for_each(|speed| self.core_speeds.count_in(*speed));
        if entry.has_room() {
            if entry.held_until_ms > 0 {
                self.held.insert((entry.held_until_ms, session));
            } else {
                self.ready[entry.outstanding].insert((entry.standing, session));
            }
            if entry.outstanding == 0 && entry.standing == Standing::Delivers {
                self.idle.insert(entry.place_in_idle(session));
            }
        }
    }

    fn count_off(&mut self, session: u64, entry: &Entry) {
        self.lent.count_off(entry);
        self.trials -= if entry.on_trial { entry.outstanding } else { 0 };
        self.known -= usize::from(!entry.on_trial);
        if entry.rests_until_ms > 0 {
            self.resting.remove(&(entry.rests_until_ms, session));
            return;
        }
        self.count -= 1;
        self.cores -= entry.counted_cores();
        self.measured -= usize::from(entry.speed.is_some());
        self.speed -= entry.speed.unwrap_or(0.0);
        entry.core_speed.iter().for_each(|speed| self.core_speeds.count_off(*speed));
        if self.measured == 0 {
            // Nothing is left of what rounding has added up.
            self.speed = 0.0;
        }
        if entry.has_room() {
            self.held.remove(&(entry.held_until_ms, session));
            self.ready[entry.outstanding].remove(&(entry.standing, session));
            self.idle.remove(&entry.place_in_idle(session));
        }
    }

    /// One whose rest is over.
    pub(super) fn rested(&self, now_ms: u64) -> Option<u64> {
        self.resting.first().filter(|(until_ms, _)| *until_ms <= now_ms).map(|(_, session)| *session)
    }

    /// When the next rest ends.
    pub(super) fn rested_ms(&self) -> Option<u64> {
        self.resting.first().map(|(until_ms, _)| *until_ms)
    }

    /// The next after `last` of those with room that have so many assignments, the most reliable first.
    pub(super) fn next_ready(
        &self,
        outstanding: usize,
        last: Option<(Standing, u64)>,
    ) -> Option<(Standing, u64)> {
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.ready[outstanding].range((after, Bound::Unbounded)).next().copied()
    }

    /// Those with room that have so many assignments, the most reliable first.
    pub(super) fn ready(&self, outstanding: usize) -> impl Iterator<Item = (Standing, u64)> {
        self.ready[outstanding].iter().copied()
    }

    /// How many assignments a volunteer has, if it has room for another.
    pub(super) fn room(&self, session: u64) -> Option<usize> {
        self.entries
            .get(&session)
            .filter(|entry| entry.has_room() && entry.rests_until_ms == 0)
            .map(|one| one.outstanding)
    }

    /// Reliable ones that have nothing to do: first those heard since the round was opened, and of both the fastest first.
    pub(super) fn idle(&self) -> impl Iterator<Item = u64> {
        self.idle.iter().map(|(.., session)| *session)
    }

    /// The speed of all who work together.
    pub(super) fn speed(&self) -> f64 {
        self.speed
    }

    /// The speed of a core that is typical of those whose speed is known: what to expect of a stranger's.
    pub(super) fn typical_core_speed(&self) -> Option<f64> {
        self.core_speeds.typical()
    }

    /// The same, if so many are measured that one of them cannot decide it.
    pub(super) fn undisputed_core_speed(&self) -> Option<f64> {
        self.core_speeds.typical().filter(|_| self.core_speeds.count >= MEASURED_MIN)
    }

    /// One that was held back until now.
    pub(super) fn held(&self, now_ms: u64) -> Option<u64> {
        self.held.first().filter(|(until_ms, _)| *until_ms <= now_ms).map(|(_, session)| *session)
    }

    /// When the next is not held back any more.
    pub(super) fn held_ms(&self) -> Option<u64> {
        self.held.first().map(|(until_ms, _)| *until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(outstanding: usize, speed: f64) -> Entry {
        Entry {
            standing: Standing::Delivers,
            on_trial: false,
            cores: 1,
            outstanding,
            speed: Some(speed),
            core_speed: Some(speed),
            held_until_ms: 0,
            rests_until_ms: 0,
            is_benched: false,
            is_awake: true,
        }
    }

    #[test]
    fn a_strangers_core_is_expected_to_be_like_the_others() {
        let mut roster = Roster::default();
        roster.update(7, Some(entry(0, 25.0)));
        roster.update(8, Some(entry(1, 5.0)));
        assert_eq!((roster.typical_core_speed(), roster.speed(), roster.count), (Some(15.0), 30.0, 2));
        roster.update(7, Some(entry(OUTSTANDING_MAX, 25.0)));
        assert_eq!((roster.typical_core_speed(), roster.speed()), (Some(15.0), 30.0));
        assert_eq!(roster.ready(1).collect::<Vec<_>>(), [(Standing::Delivers, 8)]);
        roster.update(7, None);
        roster.update(8, None);
        assert_eq!((roster.typical_core_speed(), roster.speed(), roster.count), (None, 0.0, 0));
    }

    #[test]
    fn what_is_lent_counts_those_who_rest_too() {
        let mut roster = Roster::default();
        roster.update(7, Some(Entry { cores: 2, rests_until_ms: 50, ..entry(0, 10.0) }));
        roster.update(8, Some(Entry { cores: 3, speed: None, core_speed: None, ..entry(1, 0.0) }));
        assert_eq!((roster.lent.cores(), roster.lent.speed(2.0)), (5, 16.0));
        roster.update(7, None);
        assert_eq!((roster.lent.cores(), roster.lent.speed(2.0)), (3, 6.0));
        roster.update(8, None);
        assert_eq!(roster.lent, Lent::default());
    }

    #[test]
    fn one_that_answers_at_once_does_not_decide_what_is_typical() {
        let mut roster = Roster::default();
        (1..=2).for_each(|one| roster.update(one, Some(entry(0, 5.0))));
        assert_eq!(roster.undisputed_core_speed(), None);
        roster.update(3, Some(entry(0, 6.0)));
        roster.update(9, Some(entry(0, 1e9)));
        let typical = roster.typical_core_speed().unwrap();
        assert!((5.0..6.0).contains(&typical), "{typical}");
        assert_eq!(roster.undisputed_core_speed(), Some(typical));
        (1..=9).for_each(|one| roster.update(one, None));
        assert_eq!(roster.typical_core_speed(), None);
    }

    /// Whoever is asleep or a stranger may say that it has any number of cores.
    #[test]
    fn those_of_whom_little_is_to_be_expected_count_as_a_part_of_the_others() {
        let mut roster = Roster::default();
        let sleeper = Entry {
            on_trial: true,
            standing: Standing::OnTrial,
            speed: None,
            core_speed: None,
            ..entry(0, 0.0)
        };
        (0..30).for_each(|one| roster.update(one, Some(Entry { cores: 256, ..sleeper })));
        assert_eq!(roster.lent.cores(), STRANGERS_MIN, "they may try");
        roster.update(100, Some(Entry { cores: 160, ..entry(0, 320.0) }));
        assert_eq!((roster.lent.cores(), roster.lent.speed(2.0)), (160 + 20, 320.0 + 40.0));
        (0..30).for_each(|one| roster.update(one, Some(Entry { is_benched: true, ..sleeper })));
        assert_eq!(roster.lent.cores(), 160);
        roster.update(100, Some(Entry { standing: Standing::Silent, cores: 160, ..entry(0, 320.0) }));
        assert_eq!((roster.lent.cores(), roster.lent.speed(2.0)), (1, 2.0));
        (0..=100).for_each(|one| roster.update(one, None));
        assert_eq!(roster.lent, Lent::default());
    }

    #[test]
    fn who_is_held_back_is_not_ready_and_may_be_given_checks_and_copies() {
        let mut roster = Roster::default();
        roster.update(7, Some(Entry { held_until_ms: 50, ..entry(0, 1.0) }));
        assert_eq!((roster.ready(0).count(), roster.idle().count(), roster.room(7)), (0, 1, Some(0)));
        assert_eq!((roster.held(49), roster.held_ms(), roster.held(50)), (None, Some(50), Some(7)));
        roster.update(7, Some(entry(0, 1.0)));
        assert_eq!((roster.ready(0).count(), roster.held_ms()), (1, None));
    }

    #[test]
    fn who_rests_is_ready_when_its_time_is_over() {
        let mut roster = Roster::default();
        roster.update(7, Some(Entry { rests_until_ms: 50, ..entry(0, 1.0) }));
        assert_eq!((roster.ready(0).count(), roster.rested_ms()), (0, Some(50)));
        assert_eq!((roster.rested(49), roster.rested(50)), (None, Some(7)));
        roster.update(7, Some(entry(0, 1.0)));
        assert_eq!((roster.ready(0).count(), roster.rested_ms()), (1, None));
    }

    #[test]
    fn those_of_whom_nothing_has_come_are_the_last_to_get_copies() {
        let mut roster = Roster::default();
        roster.update(7, Some(Entry { is_awake: false, ..entry(0, 9.0) }));
        roster.update(8, Some(entry(0, 1.0)));
        assert_eq!(roster.idle().collect::<Vec<_>>(), [8, 7]);
        roster.update(7, Some(entry(0, 9.0)));
        assert_eq!(roster.idle().collect::<Vec<_>>(), [7, 8]);
    }

    #[test]
    fn the_idle_come_the_fastest_first_and_those_who_never_delivered_not_at_all() {
        let mut roster = Roster::default();
        (1..4).for_each(|session| roster.update(session, Some(entry(0, session as f64))));
        let stranger = Entry { standing: Standing::OnTrial, on_trial: true, ..entry(0, 9.0) };
        roster.update(9, Some(stranger));
        assert_eq!(roster.idle().collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(roster.ready(0).last(), Some((Standing::OnTrial, 9)));
        roster.update(9, Some(Entry { outstanding: 1, ..stranger }));
        assert_eq!((roster.trials, roster.known), (1, 3));
    }
}
