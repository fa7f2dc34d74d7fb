//! The sessions that have joined: how each is reached, who it is, and what it is credited with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use engine::Identity;
use gateway::Strike;
use protocol::message::Credit;
use tokio::sync::mpsc;

use super::credits::Credits;
use super::crowd::{Line, Lines};
use super::doors::Doors;
use super::exchange::{Joined, ToSession};
use super::people::AGENT_CHARACTERS;
use super::tokens::Tokens;
use crate::report::words::bounded;
use crate::server::limits::AGENTS_LEFT_MAX;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Sessions {
    outboxes: BTreeMap<u64, mpsc::Sender<ToSession>>,
    /// Those of volunteers whose machines could do the fused arithmetic.
    fused_capable: BTreeSet<u64>,
    /// The program of each, and of the last [`AGENTS_LEFT_MAX`] that have left: they may be found out later.
    agents: BTreeMap<u64, String>,
    left: VecDeque<u64>,
    credits: Credits,
    /// Sessions that did not keep up. Whoever hands out work has not heard of them yet.
    lost: Vec<u64>,
    /// How many sessions, without this process's own, have had a result accepted.
    helped: u64,
    /// Those of them that are connected.
    helping: BTreeSet<u64>,
    tokens: Tokens,
    doors: Doors,
    lines: Lines,
}

impl Sessions {
    /// No sessions yet.
    pub(crate) fn new(doors: Doors, lines: Lines) -> Sessions {
        Sessions {
            outboxes: BTreeMap::new(),
            fused_capable: BTreeSet::new(),
            agents: BTreeMap::new(),
            left: VecDeque::new(),
            credits: Credits::default(),
            lost: Vec::new(),
            helped: 0,
            helping: BTreeSet::new(),
            tokens: Tokens::default(),
            doors,
            lines,
        }
    }

    /// A volunteer joins. Returns the older session that it still has, which is over.
    pub(crate) fn join(&mut self, session: u64, joined: &Joined) -> Option<u64> {
        let mut older = None;
        if !joined.local {
            self.credits.add(session, joined.credit.clone());
            older = self.tokens.join(session, joined.identity);
            if joined.fused_capable {
                self.fused_capable.insert(session);
            }
        }
        self.outboxes.insert(session, joined.outbox.clone());
        self.agents.insert(session, bounded(&joined.agent, AGENT_CHARACTERS));
        older
    }

    /// A session is over.
    pub(crate) fn forget(&mut self, session: u64) {
        if self.outboxes.remove(&session).is_some() {
            self.left.push_back(session);
            if self.left.len() > AGENTS_LEFT_MAX
                && let Some(first) = self.left.pop_front()
            {
                self.agents.remove(&first);
            }
        }
        self.fused_capable.remove(&session);
        self.credits.remove(session);
        self.helping.remove(&session);
        self.tokens.leave(session);
    }

    /// Sends a message to a session. Closes the session if its outbox is full, because it does not keep up.
    pub(crate) fn send(&mut self, session: u64, message: ToSession) {
        let Some(outbox) = self.outboxes.get(&session) else { return };
        if outbox.try_send(message).is_err() {
            tracing::info!(session, "a volunteer does not keep up and is disconnected");
            self.forget(session);
            self.lost.push(session);
        }
    }

    /// A session that did not keep up, once.
    pub(crate) fn take_lost(&mut self) -> Option<u64> {
        self.lost.pop()
    }

    /// Says farewell to all sessions.
    pub(crate) fn finish(&mut self, farewell: impl Fn(Credit) -> ToSession) {
        for (session, outbox) in std::mem::take(&mut self.outboxes) {
            let _ = outbox.try_send(farewell(self.credits.of(session)));
        }
    }

    /// A session has had a result accepted.
    pub(crate) fn note_help(&mut self, session: u64) {
        if self.helping.insert(session) {
            self.helped += 1;
            if let Some(identity) = self.tokens.of(session) {
                self.doors.helped(identity);
            }
        }
    }

    /// How many sessions have had a result accepted.
    pub(crate) fn helped(&self) -> u64 {
        self.helped
    }

    /// A volunteer is found out. Returns the name of its program.
    pub(crate) fn convicted(&mut self, session: u64, identity: Identity, offense: &str) -> String {
        let (now, agent) = (Instant::now(), self.agents.get(&session).cloned().unwrap_or_default());
        if self.lines.admits(Line::Convicted, now) {
            tracing::warn!(session, agent, offense, "a volunteer is found out");
        }
        self.doors.dismissed(now, identity, offense);
        agent
    }

    /// A volunteer was dismissed in another process of the training: it must wait here, too.
    pub(crate) fn struck(&mut self, strike: &Strike) {
        let since =
            Instant::now().checked_sub(Duration::from_millis(strike.ago_ms)).unwrap_or_else(Instant::now);
        let identity = Identity { token: strike.token, address: strike.network };
        self.doors.dismissed(since, identity, &strike.offense);
    }

    /// Ends all sessions, so that their volunteers connect again, here or elsewhere.
    pub(crate) fn release(&mut self) -> Vec<u64> {
        let all: Vec<u64> = self.outboxes.keys().copied().collect();
        all.iter().for_each(|session| self.forget(*session));
        all
    }

    /// How many could do the fused arithmetic.
    pub(crate) fn fused_capable(&self) -> usize {
        self.fused_capable.len()
    }

    /// What they are credited with.
    pub(crate) fn credits(&mut self) -> &mut Credits {
        &mut self.credits
    }

    /// Sums up the lines of the log that were left out.
    pub(crate) fn sum_up_lines(&self) {
        self.lines.sum_up(Instant::now());
    }

    /// Who may join.
    pub(crate) fn doors(&self) -> &Doors {
        &self.doors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_those_who_have_left_are_known_for_a_while_and_do_not_pile_up() {
        let mut sessions = Sessions::new(Doors::default(), Lines::new(Instant::now()));
        let most = AGENTS_LEFT_MAX as u64;
        let identity = |session: u64| Identity { token: session.into(), address: 0 };
        for session in 0..2 * most {
            let (outbox, _messages) = mpsc::channel(1);
            let agent = format!("program {session}");
            sessions.join(session, &Joined { agent, identity: identity(session), ..Joined::new(outbox) });
            if session > 0 {
                sessions.forget(session);
                // As when the server and the engine both find out.
                sessions.forget(session);
            }
        }
        assert_eq!(sessions.agents.len(), 1 + AGENTS_LEFT_MAX);
        assert_eq!(sessions.left.len(), AGENTS_LEFT_MAX);
        let mut program = |session| sessions.convicted(session, identity(session), "a lie");
        assert_eq!(program(0), "program 0", "it is still there");
        assert_eq!(program(2 * most - 1), format!("program {}", 2 * most - 1));
        assert_eq!(program(1), "");
    }
}
