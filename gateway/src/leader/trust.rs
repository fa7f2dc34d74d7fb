//! Volunteers that are found out at some gateway, and how far the training goes back for them.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Identity, Input};

use super::{Leader, LeaderOutput};
use crate::notices::{Ban, Bans, Log, Notice, Strike};

/// Volunteers of whom it is known since when results of them are unchecked. Of those that come later only their gateway
/// knows, as long as it lives.
const TRACES_MAX: usize = 1 << 20;

/// Volunteers that lied and are remembered, the newest.
const LIARS_MAX: usize = 4096;
/// Gateways that are gone and are remembered in a round.
const GONE_MAX: usize = 4096;

/// What a leader knows of volunteers.
#[derive(Debug, Default)]
pub(super) struct Trust {
    log: Log,
    /// The rounds that were completed before the first that counts an unchecked result, by token. It outlives the gateway
    /// that told of it.
    traces: BTreeMap<u128, u64>,
    /// The number in the log of the newest strike against each liar, by token.
    liars: BTreeMap<u128, u64>,
    /// Tokens of volunteers, and gateways that handed in unchecked results of them in the open round.
    named: BTreeSet<(u128, u64)>,
    /// Gateways that may still have to take something out of the open round, and the number in the log up to
    /// which each must have read before it has.
    suspects: BTreeMap<u64, u64>,
    /// How far gateways had read that are gone since the open round began.
    gone: BTreeMap<u64, u64>,
    /// Strikes at the leader's own volunteers.
    own: u64,
    bans: Bans,
    /// How often the operator spoke.
    spoken: u64,
}

impl Trust {
    /// The operator speaks to the leader of term number `term`.
    pub(super) fn ban(&mut self, now_ms: u64, term: u64, token: u128, is_banned: bool) {
        self.spoken += 1;
        let ban = Ban { id: (term, self.spoken), token, is_banned };
        self.bans.learn(ban, true);
        self.log.add(now_ms, Notice::Ban(ban));
    }

    /// What comes next in the log for a gateway that has read so far, and how far it has read then.
    pub(super) fn notices_after(&self, now_ms: u64, read: u64) -> (Vec<Notice>, u64) {
        self.log.after(now_ms, read)
    }

    /// A partial sum of the open round, before which so many were completed, has unchecked results of these.
    /// Its owner has read the log so far.
    pub(super) fn trace(&mut self, owner: u64, read: u64, tokens: Vec<u128>, rounds: u64) {
        for token in tokens {
            if self.traces.len() < TRACES_MAX || self.traces.contains_key(&token) {
                let since = self.traces.entry(token).or_insert(rounds);
                *since = rounds.min(*since);
            }
            if self.named.len() < TRACES_MAX {
                self.named.insert((token, owner));
            }
            if let Some(struck) = self.liars.get(&token).filter(|struck| read < **struck)
                && self.suspects.len() < TRACES_MAX
            {
                self.suspects.insert(owner, *struck);
            }
        }
    }

    /// A volunteer was found out to lie, as the newest entry of the log says. The gateway that said so has taken
    /// its results out already.
    fn suspect(&mut self, token: u128, said_by: Option<u64>) {
        let struck = self.log.newest();
        if self.liars.len() >= LIARS_MAX && !self.liars.contains_key(&token) {
            let oldest = self.liars.iter().min_by_key(|(_, struck)| **struck).map(|(token, _)| *token);
            oldest.map(|oldest| self.liars.remove(&oldest));
        }
        self.liars.insert(token, struck);
        let owners = self.named.range((token, 0)..=(token, u64::MAX)).map(|(_, owner)| *owner);
        let others = owners.filter(|owner| Some(*owner) != said_by);
        self.suspects.extend(others.map(|owner| (owner, struck)));
    }

    /// The training went back to where so many rounds were completed: what was done later is undone. What was done in
    /// rounds before which fewer than `irrevocable` were completed stays.
    pub(super) fn rewind(&mut self, rounds: u64, irrevocable: u64) {
        self.traces.retain(|_, since| (irrevocable..rounds).contains(since));
    }

    /// Another round is open.
    pub(super) fn opened(&mut self) {
        self.gone.clear();
        self.named.clear();
        self.suspects.clear();
    }

    /// Whether one of these, whose sums count in the open round, may have results of a liar in them that it would take
    /// out if it had read of the liar. `read` says how far those have read that there are.
    fn has_unread(&self, contributors: &BTreeSet<u64>, read: impl Fn(u64) -> Option<u64>) -> bool {
        let read = |owner: u64| read(owner).or(self.gone.get(&owner).copied());
        let is_behind = |owner: u64, must: u64| read(owner).is_none_or(|read| read < must);
        let mut suspects = self.suspects.iter().filter(|(owner, _)| contributors.contains(owner));
        suspects.any(|(owner, must)| is_behind(*owner, *must))
    }

    /// A gateway is gone. It had read the log so far. One that is not remembered counts as having read nothing.
    pub(super) fn gone(&mut self, gateway: u64, read: u64) {
        if self.gone.len() < GONE_MAX {
            self.gone.insert(gateway, read);
        }
    }
}

impl Leader {
    /// A gateway has dismissed a volunteer.
    pub(super) fn struck(&mut self, now_ms: u64, gateway: u64, strike: Strike) {
        let is_new = self.trust.log.add(now_ms, Notice::Strike(strike.clone()));
        if is_new {
            let Strike { token, is_lie, .. } = strike;
            if is_lie {
                self.trust.suspect(token, Some(gateway));
            }
            let offense = strike.offense.clone();
            self.feed(now_ms, Input::Denounced { token, offense, is_lie });
        }
        self.go_back_for(now_ms, &strike);
        if is_new {
            self.outputs.push_back(LeaderOutput::Struck(strike));
        }
    }

    /// The operator has said something to an earlier leader.
    pub(super) fn banned_before(&mut self, now_ms: u64, ban: Ban) {
        if self.trust.bans.learn(ban, true) {
            let Ban { token, is_banned, .. } = ban;
            self.trust.log.add(now_ms, Notice::Ban(ban));
            if is_banned {
                self.feed(now_ms, Input::Banned { token });
            }
            self.outputs.push_back(LeaderOutput::Banned { token, is_banned });
        }
    }

    /// The leader itself has dismissed a volunteer.
    pub(super) fn struck_here(&mut self, now_ms: u64, identity: Identity, offense: String, is_lie: bool) {
        self.trust.own += 1;
        let strike = Strike {
            id: (self.term.nonce, self.trust.own),
            token: identity.token,
            network: identity.address,
            offense,
            is_lie,
            unchecked_since: None,
            ago_ms: 0,
        };
        self.trust.log.add(now_ms, Notice::Strike(strike.clone().within_bounds()));
        if is_lie {
            self.trust.suspect(identity.token, None);
        }
        self.go_back_for(now_ms, &strike);
    }

    /// The training goes back to before the first unchecked result of a liar, at whichever gateway that was.
    fn go_back_for(&mut self, now_ms: u64, strike: &Strike) {
        let trace = if strike.is_lie { self.trust.traces.remove(&strike.token) } else { None };
        if let Some(unchecked_since) = strike.unchecked_since.into_iter().chain(trace).min() {
            self.feed(now_ms, Input::Convicted { unchecked_since });
        }
    }

    /// The rounds completed before the open one, if that cannot be relied upon when it is completed: it may count
    /// results of a liar at a gateway that has not read of the liar yet, or had not when it died.
    pub(super) fn doubt(&self) -> Option<u64> {
        if self.trust.suspects.is_empty() || !self.engine.rewinds() {
            return None;
        }
        let contributors = self.engine.ledger()?.contributors();
        let read = |owner| self.gateways.get(&owner).map(|peer| peer.read);
        self.trust.has_unread(&contributors, read).then_some(self.engine.counters().rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIAR: u128 = 7;

    /// A gateway of number 1 has handed in unchecked results of a liar, and one of number 2 finds it out.
    fn found_out() -> Trust {
        let mut trust = Trust::default();
        trust.trace(1, 0, vec![LIAR], 3);
        strike(&mut trust);
        trust
    }

    fn strike(trust: &mut Trust) {
        let strike = Strike {
            id: (2, 1),
            token: LIAR,
            network: 5,
            offense: "a wrong result".into(),
            is_lie: true,
            unchecked_since: None,
            ago_ms: 0,
        };
        trust.log.add(0, Notice::Strike(strike));
        trust.suspect(LIAR, Some(2));
    }

    #[test]
    fn a_round_counts_when_all_who_have_sums_with_a_liar_in_them_have_read_of_it() {
        let trust = found_out();
        let contributors = [1, 2].into();
        assert!(trust.has_unread(&contributors, |_| Some(0)));
        assert!(!trust.has_unread(&contributors, |_| Some(1)));
        assert!(!trust.has_unread(&[2].into(), |_| Some(0)), "it has handed nothing in that counts");
        let mut trust = trust;
        trust.opened();
        assert!(!trust.has_unread(&contributors, |_| Some(0)), "that was in another round");
    }

    #[test]
    fn whoever_is_gone_has_read_what_it_had_read_by_then() {
        let contributors = [1, 2].into();
        let gone = |read: Option<u64>| {
            let mut trust = found_out();
            read.into_iter().for_each(|read| trust.gone(1, read));
            trust.has_unread(&contributors, |owner| (owner == 2).then_some(1))
        };
        assert!(gone(Some(0)) && !gone(Some(1)));
        assert!(gone(None), "nobody knows what it had read");
    }

    #[test]
    fn who_hands_in_results_of_a_liar_that_was_found_out_must_have_read_of_it_before() {
        let contributors = [3].into();
        let late = |read: u64| {
            let mut trust = found_out();
            trust.trace(3, read, vec![LIAR], 3);
            trust.has_unread(&contributors, |_| Some(0))
        };
        assert!(late(0) && !late(1));
    }
}
