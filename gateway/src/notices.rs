//! What all gateways must know of volunteers: who was found out, and whom the operator does not want.
//!
//! The leader keeps a log and numbers its entries. A request says how far its gateway has read, and the answer brings
//! what comes next. So nothing is lost with a message, and a gateway that comes later reads all there is. A strike has
//! a number of its own, by which it is known again: gateways tell a new leader all strikes that they know once more. So
//! they do with bans, of which the newest of each volunteer holds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

/// Entries of the log, the newest.
const LOG_MAX: usize = 4096;
/// Entries in one message.
pub(crate) const NOTICES_IN_MESSAGE_MAX: usize = 64;
/// Bytes of an offense's description. The rest is cut off.
pub(crate) const OFFENSE_BYTES_MAX: usize = 160;
/// Strikes that a gateway remembers for the next leader.
const KEPT_MAX: usize = 256;
/// Strikes that are known again, the newest.
const KNOWN_MAX: usize = LOG_MAX + KEPT_MAX;

/// Volunteers of whom it is remembered whether the operator bans them. The oldest bans are forgotten first.
const BANS_MAX: usize = 4096;

/// Names a strike: a number of its gateway, which is used once, and a count.
pub type StrikeId = (u64, u64);

/// A volunteer was dismissed, because it sent what no honest volunteer sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strike {
    /// Names it.
    pub id: StrikeId,
    /// Who it is.
    pub token: u128,
    /// Where it comes from, as in [`engine::Identity`].
    pub network: u128,
    /// What it sent.
    pub offense: String,
    /// Whether it is proof that its other results cannot be trusted either; otherwise it broke a rule of its channel.
    pub is_lie: bool,
    /// The number of rounds completed before the first that its gateway knows to count an unchecked result of it.
    pub unchecked_since: Option<u64>,
    /// How many milliseconds ago that was.
    pub ago_ms: u64,
}

/// Whether the operator bans a volunteer from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The number of the leader's term to whom the operator said so, and a count in it: of two bans of a volunteer the
    /// one with the greater holds.
    pub id: (u64, u64),
    /// The volunteer's token.
    pub token: u128,
    /// Whether it is banned.
    pub is_banned: bool,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// A volunteer was dismissed.
    Strike(Strike),
    /// The operator has spoken.
    Ban(Ban),
}

impl Strike {
    /// Cuts the description to the length that messages have room for.
    pub(crate) fn within_bounds(mut self) -> Strike {
        let end = (0..=OFFENSE_BYTES_MAX).rev().find(|end| self.offense.is_char_boundary(*end));
        self.offense.truncate(end.unwrap_or(0));
        self
    }

    pub(crate) fn is_bounded(&self) -> bool {
        self.offense.len() <= OFFENSE_BYTES_MAX
    }
}

/// Strikes that are known, the newest.
#[derive(Debug, Default)]
struct Known {
    ids: BTreeSet<StrikeId>,
    in_order: VecDeque<StrikeId>,
}

impl Known {
    /// Whether it was not known yet.
    fn add(&mut self, id: StrikeId) -> bool {
        let is_new = self.ids.insert(id);
        if is_new {
            self.in_order.push_back(id);
        }
        if self.in_order.len() > KNOWN_MAX
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        is_new
    }
}

/// Bans that are known, the newest of each volunteer.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    /// Each with whether the leader knows it.
    by_token: BTreeMap<u128, (Ban, bool)>,
}

impl Bans {
    /// Another leader knows nothing yet.
    pub(crate) fn begin_term(&mut self) {
        self.by_token.values_mut().for_each(|(_, is_said)| *is_said = false);
    }

    /// Takes in a ban, of which the leader knows or not. Answers whether it is news.
    pub(crate) fn learn(&mut self, ban: Ban, is_said: bool) -> bool {
        if let Some((known, known_is_said)) = self.by_token.get_mut(&ban.token)
            && known.id >= ban.id
        {
            *known_is_said |= is_said && known.id == ban.id;
            return false;
        }
        self.by_token.insert(ban.token, (ban, is_said));
        if self.by_token.len() > BANS_MAX {
            let oldest = self.by_token.values().min_by_key(|(ban, _)| ban.id).map(|(ban, _)| ban.token);
            oldest.map(|token| self.by_token.remove(&token));
        }
        true
    }

    /// Those that the leader has not heard of, as many as one message can have.
    pub(crate) fn unsaid(&self) -> Vec<Ban> {
        let unsaid = self.by_token.values().filter(|(_, is_said)| !is_said);
        unsaid.map(|(ban, _)| *ban).take(NOTICES_IN_MESSAGE_MAX).collect()
    }

    /// The leader has heard of these.
    pub(crate) fn said(&mut self, bans: &[Ban]) {
        for ban in bans {
            self.learn(*ban, true);
        }
    }
}

/// The leader's log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The entries with the time of each, the oldest first.
    entries: VecDeque<(u64, Notice)>,
    /// The number of the last entry.
    newest: u64,
    known: Known,
}

impl Log {
    /// The number of the last entry.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// Adds an entry, unless it is a strike that is known.
    pub(crate) fn add(&mut self, now_ms: u64, notice: Notice) -> bool {
        let ago_ms = match &notice {
            Notice::Strike(strike) if !self.known.add(strike.id) => return false,
            Notice::Strike(strike) => strike.ago_ms,
            Notice::Ban(_) => 0,
        };
        self.entries.push_back((now_ms.saturating_sub(ago_ms), notice));
        self.newest += 1;
        if self.entries.len() > LOG_MAX {
            self.entries.pop_front();
        }
        true
    }

    /// What comes next for somebody who has read so far, and how far it has read then.
    pub(crate) fn after(&self, now_ms: u64, read: u64) -> (Vec<Notice>, u64) {
        let behind = self.newest.saturating_sub(read).min(self.entries.len() as u64) as usize;
        let next = self.entries.range(self.entries.len() - behind..).take(NOTICES_IN_MESSAGE_MAX);
        let next: Vec<Notice> = next
            .map(|(at_ms, notice)| match notice {
                Notice::Strike(strike) => {
                    Notice::Strike(Strike { ago_ms: now_ms.saturating_sub(*at_ms), ..strike.clone() })
                }
                ban @ Notice::Ban(_) => ban.clone(),
            })
            .collect();
        let left = (behind - next.len()) as u64;
        (next, self.newest - left)
    }
}

/// What a gateway knows of strikes: its own, and those that it has heard of.
#[derive(Debug, Default)]
pub(crate) struct Strikes {
    /// Those that the leader has to hear of, and the newest of the others, in the order in which they came.
    kept: VecDeque<Kept>,
    count: u64,
    known: Known,
    /// How far it has read the log of its term.
    pub(crate) read: u64,
}

#[derive(Debug)]
struct Kept {
    strike: Strike,
    at_ms: u64,
    /// Whether the leader knows all of it.
    is_said: bool,
}

impl Strikes {
    /// Another leader knows nothing yet, and begins a log. It hears of all strikes: the gateway where one was may be
    /// gone.
    pub(crate) fn begin_term(&mut self) {
        self.read = 0;
        self.kept.iter_mut().for_each(|kept| kept.is_said = false);
    }

    /// A volunteer of the gateway was dismissed. `gateway` is a number that no other gateway has.
    pub(crate) fn add(&mut self, now_ms: u64, gateway: u64, strike: Strike) {
        self.count += 1;
        let strike = Strike { id: (gateway, self.count), ..strike }.within_bounds();
        self.known.add(strike.id);
        self.keep(Kept { strike, at_ms: now_ms, is_said: false });
    }

    /// A volunteer that was dismissed elsewhere has left results here since so many rounds were completed that nobody
    /// has checked.
    pub(crate) fn trace(&mut self, now_ms: u64, strike: Strike, since: u64) {
        let unchecked_since = Some(since);
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.strike.id == strike.id) {
            (kept.strike.unchecked_since, kept.is_said) = (unchecked_since, false);
        } else {
            let strike = Strike { unchecked_since, ..strike };
            self.keep(Kept { strike, at_ms: now_ms, is_said: false });
        }
    }

    /// The training is to go back further for the newest of its own strikes.
    pub(crate) fn go_back_to(&mut self, rounds: Option<u64>) {
        if let Some(Kept { strike, is_said: false, .. }) = self.kept.back_mut() {
            strike.unchecked_since = strike.unchecked_since.into_iter().chain(rounds).min();
        }
    }

    /// The training went back to where so many rounds were completed: no leader has to do that again. None can undo
    /// what was done in rounds before which fewer than `irrevocable` were completed.
    pub(crate) fn rewind(&mut self, rounds: u64, irrevocable: u64) {
        let can_be_undone = |since: &u64| (irrevocable..rounds).contains(since);
        for Kept { strike, .. } in &mut self.kept {
            strike.unchecked_since = strike.unchecked_since.filter(can_be_undone);
        }
    }

    fn keep(&mut self, kept: Kept) {
        if self.kept.len() >= KEPT_MAX {
            let oldest = self.kept.iter().position(|kept| kept.is_said).unwrap_or(0);
            self.kept.remove(oldest);
        }
        self.kept.push_back(kept);
    }

    /// Those that the leader has not heard of, as many as one message can have.
    pub(crate) fn unsaid(&self, now_ms: u64) -> Vec<Strike> {
        let unsaid = self.kept.iter().filter(|kept| !kept.is_said).take(NOTICES_IN_MESSAGE_MAX);
        unsaid
            .map(|kept| Strike { ago_ms: now_ms.saturating_sub(kept.at_ms), ..kept.strike.clone() })
            .collect()
    }

    /// The leader has heard of these.
    pub(crate) fn said(&mut self, strikes: &[Strike]) {
        for Kept { strike, is_said, .. } in &mut self.kept {
            let goes_as_far = |since: Option<u64>| since.is_some() && since <= strike.unchecked_since;
            let says_all = |said: &Strike| {
                said.id == strike.id
                    && (strike.unchecked_since.is_none() || goes_as_far(said.unchecked_since))
            };
            *is_said |= strikes.iter().any(says_all);
        }
    }

    /// Takes in what an answer brings at `now_ms`. Answers with what is new.
    pub(crate) fn heard(&mut self, now_ms: u64, notices: Vec<Notice>, read: u64) -> Vec<Notice> {
        if read <= self.read {
            return Vec::new();
        }
        self.read = read;
        let mut new = Vec::new();
        for notice in notices {
            if let Notice::Strike(strike) = &notice {
                if !self.known.add(strike.id) {
                    // Another gateway was faster with it.
                    self.said(std::slice::from_ref(strike));
                    continue;
                }
                let strike = Strike { unchecked_since: None, ..strike.clone() };
                let at_ms = now_ms.saturating_sub(strike.ago_ms);
                self.keep(Kept { strike, at_ms, is_said: true });
            }
            new.push(notice);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strike(number: u64) -> Strike {
        Strike {
            id: (1, number),
            token: number.into(),
            network: 5,
            offense: "a wrong result".into(),
            is_lie: true,
            unchecked_since: None,
            ago_ms: 0,
        }
    }

    #[test]
    fn whoever_has_read_so_far_gets_what_comes_next_and_how_long_ago_it_was() {
        let mut log = Log::default();
        for number in 0..100 {
            assert!(log.add(1_000, Notice::Strike(Strike { ago_ms: 400, ..strike(number) })));
            assert!(!log.add(2_000, Notice::Strike(strike(number))), "it is known");
        }
        let (first, read) = log.after(5_000, 0);
        assert_eq!((first.len(), read), (NOTICES_IN_MESSAGE_MAX, NOTICES_IN_MESSAGE_MAX as u64));
        assert_eq!(first[3], Notice::Strike(Strike { ago_ms: 4_400, ..strike(3) }));
        let (rest, read) = log.after(5_000, read);
        assert_eq!((rest.len(), read), (100 - NOTICES_IN_MESSAGE_MAX, 100));
        assert_eq!(log.after(5_000, read), (Vec::new(), 100));
        for number in 100..2 * LOG_MAX as u64 {
            log.add(9_000, Notice::Ban(Ban { id: (1, number), token: number.into(), is_banned: true }));
        }
        let (late, read) = log.after(9_000, 0);
        let oldest = Ban { id: (1, LOG_MAX as u64), token: LOG_MAX as u128, is_banned: true };
        assert_eq!(late[0], Notice::Ban(oldest), "older ones are forgotten");
        assert_eq!(read, (LOG_MAX + NOTICES_IN_MESSAGE_MAX) as u64);
    }

    #[test]
    fn a_new_leader_is_told_again_and_nobody_is_struck_twice_for_it() {
        let mut here = Strikes::default();
        here.add(100, 7, strike(0));
        let unsaid = here.unsaid(150);
        assert_eq!((unsaid[0].id, unsaid[0].ago_ms), ((7, 1), 50));
        here.said(&unsaid);
        assert!(here.unsaid(150).is_empty());
        let mut elsewhere = Strikes::default();
        let (mut log, notice) = (Log::default(), Notice::Strike(unsaid[0].clone()));
        log.add(200, notice.clone());
        let (notices, read) = log.after(200, 0);
        assert_eq!(elsewhere.heard(200, notices.clone(), read).len(), 1);
        assert!(elsewhere.heard(200, notices.clone(), read).is_empty(), "the message came twice");
        assert!(here.heard(200, notices, read).is_empty(), "it is its own");
        // The next leader.
        here.begin_term();
        elsewhere.begin_term();
        assert_eq!(here.unsaid(300)[0].ago_ms, 200);
        assert_eq!(elsewhere.unsaid(300)[0].ago_ms, 150, "the gateway where it was may be gone");
        assert!(elsewhere.heard(300, vec![notice], 1).is_empty() && elsewhere.unsaid(300).is_empty());
    }

    #[test]
    fn a_leader_hears_how_far_to_go_back_for_results_at_another_gateway_until_that_is_undone() {
        let mut strikes = Strikes::default();
        let known = Strike { unchecked_since: Some(7), ..strike(0) };
        strikes.heard(100, vec![Notice::Strike(known.clone())], 1);
        assert!(strikes.unsaid(100).is_empty(), "the leader has said so");
        strikes.trace(100, known.clone(), 5);
        assert_eq!(strikes.unsaid(100)[0].unchecked_since, Some(5));
        strikes.said(&[known]);
        assert_eq!(strikes.unsaid(100).len(), 1, "that does not go back as far");
        strikes.said(&strikes.unsaid(100));
        for (rounds, irrevocable, left) in [(6, 5, Some(5)), (5, 0, None), (7, 6, None)] {
            strikes.trace(100, strike(0), 5);
            strikes.rewind(rounds, irrevocable);
            strikes.begin_term();
            assert_eq!(strikes.unsaid(100)[0].unchecked_since, left);
        }
    }

    #[test]
    fn strikes_of_others_displace_none_that_the_leader_has_to_hear_of() {
        let mut strikes = Strikes::default();
        strikes.add(0, 9, strike(0));
        let others = (1..=2 * KEPT_MAX as u64).map(|number| Notice::Strike(strike(number)));
        strikes.heard(0, others.collect(), 1);
        assert_eq!(strikes.kept.len(), KEPT_MAX);
        assert_eq!(strikes.unsaid(0)[0].id, (9, 1));
    }

    #[test]
    fn the_newest_ban_of_a_volunteer_holds_whoever_tells_of_it_and_a_new_leader_hears_it() {
        let ban = |id, is_banned| Ban { id, token: 7, is_banned };
        let mut bans = Bans::default();
        assert!(bans.learn(ban((1, 1), true), true) && bans.learn(ban((1, 2), false), true));
        assert!(!bans.learn(ban((1, 1), true), false), "somebody has not heard of the second");
        assert!(bans.unsaid().is_empty());
        bans.begin_term();
        assert_eq!(bans.unsaid(), [ban((1, 2), false)]);
        bans.said(&[ban((1, 1), true)]);
        assert_eq!(bans.unsaid().len(), 1, "that is another one");
        assert!(!bans.learn(ban((1, 2), false), true) && bans.unsaid().is_empty());
        assert!(bans.learn(ban((2, 1), true), true));
        for token in 0..2 * BANS_MAX as u64 {
            bans.learn(Ban { id: (3, token), token: token.into(), is_banned: true }, false);
        }
        assert_eq!((bans.by_token.len(), bans.unsaid().len()), (BANS_MAX, NOTICES_IN_MESSAGE_MAX));
        assert!(!bans.by_token.contains_key(&0) && bans.by_token.contains_key(&(BANS_MAX as u128)));
    }

    #[test]
    fn however_much_there_is_to_say_it_is_bounded() {
        let mut strikes = Strikes::default();
        let long = "ü".repeat(OFFENSE_BYTES_MAX);
        for _ in 0..2 * KNOWN_MAX {
            strikes.add(0, 1, Strike { offense: long.clone(), ..strike(0) });
        }
        assert_eq!((strikes.kept.len(), strikes.known.ids.len()), (KEPT_MAX, KNOWN_MAX));
        let unsaid = strikes.unsaid(0);
        assert!(unsaid.len() == NOTICES_IN_MESSAGE_MAX && unsaid.iter().all(Strike::is_bounded));
        let odd = format!("a{}", "ü".repeat(OFFENSE_BYTES_MAX));
        let cut = Strike { offense: odd, ..strike(0) }.within_bounds();
        assert_eq!(cut.offense.len(), OFFENSE_BYTES_MAX - 1);
    }
}
