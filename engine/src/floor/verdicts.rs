//! What becomes of volunteers that are found out, and of what they did.

use super::{Floor, FloorEvent};

impl Floor {
    /// Dismisses a volunteer that sent `offense`, which no honest volunteer sends. Nothing else of it can be trusted
    /// either. What it contributed to the open round leaves the sums, and only those units are handed out again: so
    /// a volunteer that comes back again and again does not hold up the round.
    ///
    /// The volunteer may have left, if it had results in the open round, and it may have come back.
    pub fn convict(&mut self, session: u64, offense: &'static str) {
        let Some(identity) = self.volunteers.identity(session) else { return };
        let unchecked_since = self.denounce(identity.token, offense, true);
        let (offense, is_lie) = (offense.into(), true);
        self.events.push_back(FloorEvent::Convicted { session, identity, offense, is_lie, unchecked_since });
    }

    /// A volunteer broke the rules of its channel, which is closed. No honest volunteer does that, so what it
    /// contributed to the open round leaves the sums as well. It is no proof that earlier results were wrong: the
    /// training does not go back.
    pub fn disbar(&mut self, session: u64, offense: String) {
        let Some(volunteer) = self.volunteers.get(session).filter(|volunteer| !volunteer.local) else {
            return;
        };
        let identity = volunteer.identity;
        let sessions = self.volunteers.sessions_of(identity.token);
        self.leave(session);
        self.volunteers.records.demote(identity.token);
        self.expel(identity.token, &sessions);
        let (is_lie, unchecked_since) = (false, None);
        self.events.push_back(FloorEvent::Convicted { session, identity, offense, is_lie, unchecked_since });
    }

    /// Takes what a volunteer contributed to the open round in these sessions out of its sums.
    fn expel(&mut self, token: u128, sessions: &[u64]) {
        if let Some(round) = &mut self.round {
            let partials: Vec<u64> = sessions.iter().flat_map(|session| round.expel(*session)).collect();
            if !partials.is_empty() {
                self.events.push_back(FloorEvent::Tainted { partials });
            }
        }
        self.volunteers.settle_departed(token);
    }

    /// Dismisses whoever sent a result that covers a unit.
    pub fn convict_author(&mut self, unit: u32, offense: &'static str) {
        if let Some(session) = self.round.as_ref().and_then(|round| round.who_did(unit)) {
            self.convict(session, offense);
        }
    }

    /// A volunteer was found out, here or somewhere else: its sessions end, and what it did leaves the open round. If
    /// it lied, its other results cannot be trusted either: answers with the number of rounds completed before the
    /// first that counts one which nobody has checked.
    pub fn denounce(&mut self, token: u128, offense: &str, is_lie: bool) -> Option<u64> {
        let text = format!("The coordinator dismissed this volunteer: it sent {offense}.");
        let sessions = self.send_away(token, &text);
        let unchecked_since = if is_lie {
            self.volunteers.records.convict(token)
        } else {
            self.volunteers.records.demote(token);
            None
        };
        self.expel(token, &sessions);
        unchecked_since
    }

    /// The operator does not want a volunteer: its sessions end. What it did counts.
    pub fn ban(&mut self, token: u128) {
        self.send_away(token, "Whoever runs this training does not want help from this volunteer.");
    }

    /// Ends all sessions of a volunteer with these words. Answers with them and with those that had results in the open
    /// round.
    fn send_away(&mut self, token: u128, text: &str) -> Vec<u64> {
        let sessions = self.volunteers.sessions_of(token);
        for &session in &sessions {
            let is_present = self.volunteers.get(session).is_some();
            self.leave(session);
            if is_present {
                self.events.push_back(FloorEvent::Dismiss { session, text: text.to_owned() });
            }
        }
        sessions
    }
}
