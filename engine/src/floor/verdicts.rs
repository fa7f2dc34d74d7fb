//! What becomes of volunteers that are found out, and of what they did.

use super::standing::Identity;
use super::{Floor, FloorEvent};

impl Floor {
    /// Dismisses a volunteer that sent `offense`, which no honest volunteer sends. Nothing else of it can be trusted
    /// either. What it contributed to the open round leaves the sums, and only those units are handed out again: so
    /// a volunteer that comes back again and again does not hold up the round.
    ///
    /// The volunteer may have left, and it may have come back.
    pub(super) fn convict(&mut self, (session, identity): (u64, Identity), offense: &'static str) {
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
        self.leave(session);
        self.volunteers.records.demote(identity.token);
        self.expel(identity.token);
        let (is_lie, unchecked_since) = (false, None);
        self.events.push_back(FloorEvent::Convicted { session, identity, offense, is_lie, unchecked_since });
    }

    /// Takes what a volunteer contributed to the open round out of its sums, and what it says about others out of the
    /// world.
    fn expel(&mut self, token: u128) {
        self.forget_reports_of(token);
        let Some(round) = &mut self.round else { return };
        round.checks.silence(token);
        let sessions = round.sessions_of(token);
        let partials: Vec<u64> = sessions.into_iter().flat_map(|session| round.expel(session)).collect();
        if !partials.is_empty() {
            self.events.push_back(FloorEvent::Tainted { partials });
        }
    }

    /// A volunteer lied: what it vouched for, and nobody else did, is unchecked after all. In the open round it is
    /// checked again. Answers with the number of rounds completed before the first that counts such a result of
    /// somebody who was found out before.
    fn withdraw_word(&mut self, token: u128) -> Option<u64> {
        if let Some(round) = &mut self.round {
            round.withdraw_word(token).into_iter().for_each(|id| round.want(id));
        }
        self.volunteers.withdraw_word(token)
    }

    /// Dismisses whoever sent a result that covers a unit.
    pub fn convict_author(&mut self, unit: u32, offense: &'static str) {
        if let Some(author) = self.round.as_ref().and_then(|round| round.who_did(unit)) {
            self.convict(author, offense);
        }
    }

    /// A volunteer was found out, here or somewhere else: its sessions end, and what it did leaves the open round. If
    /// it lied, its other results cannot be trusted either: answers with the number of rounds completed before the
    /// first that counts one which nobody has checked.
    pub fn denounce(&mut self, token: u128, offense: &str, is_lie: bool) -> Option<u64> {
        let text = format!("The coordinator dismissed this volunteer: it sent {offense}.");
        self.send_away(token, &text);
        self.expel(token);
        if is_lie {
            let of_others = self.withdraw_word(token);
            self.volunteers.records.convict(token).into_iter().chain(of_others).min()
        } else {
            self.volunteers.records.demote(token);
            None
        }
    }

    /// The operator does not want a volunteer: its sessions end. What it did counts.
    pub fn ban(&mut self, token: u128) {
        self.send_away(token, "Whoever runs this training does not want help from this volunteer.");
    }

    /// Ends all sessions of a volunteer with these words.
    fn send_away(&mut self, token: u128, text: &str) {
        for session in self.volunteers.sessions_of(token) {
            self.leave(session);
            self.events.push_back(FloorEvent::Dismiss { session, text: text.to_owned() });
        }
    }
}
