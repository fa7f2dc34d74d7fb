//! Who is there: what each volunteer lends, holds and has been asked for, and how fast it is.

use std::collections::{BTreeMap, BTreeSet};

use protocol::plan::Set;

/// How long an assignment should keep a volunteer busy.
pub(super) const SLICE_MS: f64 = 400.0;
/// A volunteer that gave work back gets none for this long, so that it is not asked in a loop.
pub const REST_MS: u64 = 1000;

/// A set and the index of one of its shards.
pub(super) type Shard = (Set, u32);

/// All volunteers, by session.
#[derive(Debug, Default)]
pub(super) struct Volunteers {
    members: BTreeMap<u64, Volunteer>,
    /// How many hold a shard; kept because counting would take all volunteers each time.
    holders: BTreeMap<Shard, usize>,
}

/// What is known of one volunteer.
#[derive(Debug)]
pub(super) struct Volunteer {
    /// Cores it lends; zero while it pauses.
    pub(super) cores: u16,
    /// Whether it is the coordinator's own worker.
    pub(super) local: bool,
    /// It gets no work before this, because it gave some back.
    pub(super) rests_until_ms: u64,
    /// Measured speed in cost per millisecond (see [`super::scheduler`]).
    pub(super) speed: Option<f64>,
    /// The same of one of its cores: a unit is computed by one.
    pub(super) core_speed: Option<f64>,
    /// The fastest that one of its cores has ever been. The way there and back, which is part of what is
    /// measured, slows that down least: an assignment that follows another one has waited here for its turn.
    pub(super) core_speed_at_best: f64,
    /// Shards that it holds, or will once it has done what it was asked for.
    pub(super) shards: BTreeSet<Shard>,
    /// Shards of assignments that it gave back.
    pub(super) refused: BTreeSet<Shard>,
    /// Assignments it has not answered. One that another volunteer's answer has overtaken stays:
    /// nobody told it to stop, so it is still busy with it, or asleep.
    unanswered: BTreeMap<u64, Owed>,
    answered_ms: u64,
}

/// What an assignment asks of a volunteer.
#[derive(Debug, Clone, Copy)]
struct Owed {
    cost: f64,
    units: u32,
    issued_ms: u64,
}

/// The volunteers that are connected. The coordinator's own worker does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attendance {
    /// How many.
    pub volunteers: usize,
    /// Cores they lend.
    pub cores: usize,
}

impl Volunteers {
    /// Takes in a newcomer.
    pub(super) fn join(&mut self, session: u64, cores: u16, local: bool, shards: BTreeSet<Shard>) {
        for shard in &shards {
            *self.holders.entry(*shard).or_default() += 1;
        }
        let volunteer = Volunteer {
            cores,
            local,
            rests_until_ms: 0,
            speed: None,
            core_speed: None,
            core_speed_at_best: 0.0,
            shards,
            refused: BTreeSet::new(),
            unanswered: BTreeMap::new(),
            answered_ms: 0,
        };
        self.members.insert(session, volunteer);
    }

    /// Removes a volunteer; answers with the assignments it has not answered.
    pub(super) fn leave(&mut self, session: u64) -> Vec<u64> {
        let Some(volunteer) = self.members.remove(&session) else { return Vec::new() };
        for shard in &volunteer.shards {
            self.count_off(*shard);
        }
        volunteer.unanswered.into_keys().collect()
    }

    pub(super) fn get(&self, session: u64) -> Option<&Volunteer> {
        self.members.get(&session)
    }

    pub(super) fn get_mut(&mut self, session: u64) -> Option<&mut Volunteer> {
        self.members.get_mut(&session)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Volunteer)> {
        self.members.iter().map(|(session, volunteer)| (*session, volunteer))
    }

    pub(super) fn attendance(&self) -> Attendance {
        let remote = || self.members.values().filter(|one| !one.local);
        Attendance { volunteers: remote().count(), cores: remote().map(|one| usize::from(one.cores)).sum() }
    }

    /// How many volunteers hold a shard.
    pub(super) fn holders(&self, shard: Shard) -> usize {
        self.holders.get(&shard).copied().unwrap_or(0)
    }

    /// Notes that a volunteer was asked for so many units that cost that much together and need these shards.
    pub(super) fn asked(
        &mut self,
        session: u64,
        assignment: u64,
        (units, cost): (u32, f64),
        shards: &[Shard],
        now_ms: u64,
    ) {
        let Some(volunteer) = self.members.get_mut(&session) else { return };
        volunteer.unanswered.insert(assignment, Owed { cost, units, issued_ms: now_ms });
        for shard in shards {
            if volunteer.shards.insert(*shard) {
                *self.holders.entry(*shard).or_default() += 1;
            }
        }
    }

    /// Whether a volunteer was asked that and has not answered.
    pub(super) fn owes(&self, session: u64, assignment: u64) -> bool {
        self.members.get(&session).is_some_and(|volunteer| volunteer.unanswered.contains_key(&assignment))
    }

    /// A volunteer has answered with a result: so fast it is.
    pub(super) fn delivered(&mut self, session: u64, assignment: u64, now_ms: u64) {
        let Some(volunteer) = self.members.get_mut(&session) else { return };
        let Some(task) = volunteer.unanswered.remove(&assignment) else { return };
        let speed = task.cost / volunteer.busy_ms(task, now_ms).max(1) as f64;
        let core_speed = speed / f64::from(u32::from(volunteer.cores).min(task.units).max(1));
        let mix = |known: Option<f64>, new: f64| Some(known.map_or(new, |known| 0.5 * (known + new)));
        volunteer.speed = mix(volunteer.speed, speed);
        volunteer.core_speed = mix(volunteer.core_speed, core_speed);
        volunteer.core_speed_at_best = volunteer.core_speed_at_best.max(core_speed);
        volunteer.answered_ms = now_ms;
    }

    /// A volunteer has answered that there is no result, which tells nothing of its speed.
    pub(super) fn gave_up(&mut self, session: u64, assignment: u64) {
        if let Some(volunteer) = self.members.get_mut(&session) {
            volunteer.unanswered.remove(&assignment);
        }
    }

    /// A volunteer has given an assignment back that needs these shards: it rests, and perhaps it
    /// cannot have one of them. (One that pauses gives everything back and keeps its shards.)
    pub(super) fn declined(&mut self, session: u64, assignment: u64, shards: &[Shard], now_ms: u64) {
        self.gave_up(session, assignment);
        let Some(volunteer) = self.members.get_mut(&session).filter(|volunteer| volunteer.cores > 0) else {
            return;
        };
        volunteer.rests_until_ms = now_ms + REST_MS;
        volunteer.refused.extend(shards);
        let doubtful: Vec<Shard> =
            shards.iter().copied().filter(|shard| volunteer.shards.remove(shard)).collect();
        for shard in doubtful {
            self.count_off(shard);
        }
    }

    /// The round is over, and with it all that has not been answered.
    pub(super) fn forget_unanswered(&mut self, now_ms: u64) {
        for volunteer in self.members.values_mut() {
            volunteer.forget_unanswered(now_ms);
        }
    }

    fn count_off(&mut self, shard: Shard) {
        if let Some(holders) = self.holders.get_mut(&shard) {
            *holders -= 1;
        }
    }
}

impl Volunteer {
    /// How many assignments it has not answered.
    pub(super) fn outstanding(&self) -> usize {
        self.unanswered.len()
    }

    /// How long it has been at a task, if it does one after the other.
    fn busy_ms(&self, task: Owed, now_ms: u64) -> u64 {
        now_ms.saturating_sub(task.issued_ms.max(self.answered_ms))
    }

    /// A volunteer that never finishes before others have done its work for it would be believed to
    /// be as fast as it once was, and be given too much, for ever. So being overdue counts too.
    fn forget_unanswered(&mut self, now_ms: u64) {
        if let (Some(speed), Some((_, task))) = (self.speed, self.unanswered.first_key_value()) {
            let busy_ms = self.busy_ms(*task, now_ms) as f64;
            if busy_ms > SLICE_MS {
                self.speed = Some(speed.min(task.cost / busy_ms));
            }
        }
        self.unanswered.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: Shard = (Set::Training, 3);

    fn one() -> Volunteers {
        let mut volunteers = Volunteers::default();
        volunteers.join(7, 2, false, BTreeSet::new());
        volunteers
    }

    fn speed(volunteers: &Volunteers) -> Option<f64> {
        volunteers.get(7).unwrap().speed
    }

    #[test]
    fn speed_is_measured_from_when_the_last_answer_came() {
        let mut volunteers = one();
        volunteers.asked(7, 1, (2, 1000.0), &[], 100);
        volunteers.asked(7, 2, (2, 1000.0), &[], 100);
        volunteers.delivered(7, 1, 200);
        assert_eq!(speed(&volunteers), Some(10.0));
        volunteers.delivered(7, 2, 250);
        assert_eq!(speed(&volunteers), Some(15.0));
        assert_eq!(volunteers.get(7).unwrap().core_speed, Some(7.5), "each core did one of two units");
        volunteers.delivered(7, 2, 260);
        assert_eq!(speed(&volunteers), Some(15.0));
    }

    #[test]
    fn who_never_finishes_is_no_longer_believed_to_be_fast() {
        let mut volunteers = one();
        volunteers.asked(7, 1, (2, 1000.0), &[], 0);
        volunteers.delivered(7, 1, 10);
        volunteers.asked(7, 2, (2, 1000.0), &[], 10);
        volunteers.forget_unanswered(20);
        assert_eq!(speed(&volunteers), Some(100.0), "10 ms are not overdue");
        volunteers.asked(7, 3, (2, 1000.0), &[], 20);
        volunteers.forget_unanswered(1020);
        assert_eq!(speed(&volunteers), Some(1.0));
        assert_eq!(volunteers.get(7).unwrap().outstanding(), 0);
    }

    #[test]
    fn holders_are_counted_through_joining_asking_declining_and_leaving() {
        let mut volunteers = one();
        volunteers.join(8, 1, false, BTreeSet::from([SHARD]));
        volunteers.asked(7, 1, (2, 1.0), &[SHARD], 0);
        volunteers.asked(7, 2, (2, 1.0), &[SHARD], 0);
        assert_eq!(volunteers.holders(SHARD), 2);
        volunteers.declined(7, 1, &[SHARD], 5);
        assert_eq!(volunteers.holders(SHARD), 1);
        assert_eq!(volunteers.get(7).unwrap().rests_until_ms, 5 + REST_MS);
        assert!(volunteers.leave(8).is_empty());
        assert_eq!(volunteers.leave(7), [2]);
        assert_eq!(volunteers.holders(SHARD), 0);
    }

    #[test]
    fn who_pauses_keeps_its_shards() {
        let mut volunteers = one();
        volunteers.asked(7, 1, (2, 1.0), &[SHARD], 0);
        volunteers.get_mut(7).unwrap().cores = 0;
        volunteers.declined(7, 1, &[SHARD], 5);
        assert_eq!(volunteers.holders(SHARD), 1);
        assert_eq!(volunteers.get(7).unwrap().rests_until_ms, 0);
    }
}
