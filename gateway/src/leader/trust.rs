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

    /// The training went back to where so many rounds were completed: what was done later is undone.
    pub(super) fn rewind(&mut self, rounds: u64) {
        self.traces.retain(|_, since| *since < rounds);
    }

    /// Another round is open.
    pub(super) fn opened(&mut self) {
        self.gone.clear();
        self.named.clear();
        self.suspects.clear();
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
        let Trust { suspects, gone, .. } = &self.trust;
        if suspects.is_empty() || !self.engine.rewinds() {
            return None;
        }
        let contributors = self.engine.ledger()?.contributors();
        let read = |owner: &u64| self.gateways.get(owner).map(|peer| peer.read).or(gone.get(owner).copied());
        let is_behind = |owner: &u64, must: &u64| read(owner).is_none_or(|read| read < *must);
        let mut suspects = suspects.iter().filter(|(owner, _)| contributors.contains(owner));
        suspects.any(|(owner, must)| is_behind(owner, must)).then_some(self.engine.counters().rounds)
    }
}
