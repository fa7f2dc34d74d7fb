//! The newest session of each volunteer that is there.

use std::collections::BTreeMap;

use engine::Identity;

/// Tokens and sessions, one to one.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    by_token: BTreeMap<u128, u64>,
    by_session: BTreeMap<u64, Identity>,
}

impl Tokens {
    /// A volunteer joins. Answers with the older session that it still has: its connection may be lost without
    /// anybody having noticed yet.
    pub(super) fn join(&mut self, session: u64, identity: Identity) -> Option<u64> {
        let older = self.by_token.insert(identity.token, session).filter(|older| *older != session);
        if let Some(older) = older {
            self.by_session.remove(&older);
        }
        self.by_session.insert(session, identity);
        older
    }

    /// A session is over.
    pub(super) fn leave(&mut self, session: u64) {
        if let Some(identity) = self.by_session.remove(&session) {
            self.by_token.remove(&identity.token);
        }
    }

    /// Whose session it is.
    pub(super) fn of(&self, session: u64) -> Option<Identity> {
        self.by_session.get(&session).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_session_is_the_one_that_counts() {
        let mut tokens = Tokens::default();
        let with = |token| Identity { token, address: 5 };
        assert_eq!(tokens.join(1, with(77)), None);
        assert_eq!(tokens.join(2, with(78)), None);
        assert_eq!(tokens.join(3, with(77)), Some(1));
        assert_eq!((tokens.of(1), tokens.of(3)), (None, Some(with(77))));
        tokens.leave(1);
        assert_eq!(tokens.of(3), Some(with(77)), "the older one's end changes nothing");
        tokens.leave(3);
        tokens.leave(2);
        assert!(tokens.by_token.is_empty() && tokens.by_session.is_empty());
        assert_eq!(tokens.join(4, with(77)), None);
    }
}
