//! The names of states in the store: which one to go on from, and which ones nobody needs any more.
//!
//! A leader saves its states one after the other, each under a name of its own, so that no state is ever overwritten.
//! The name says who saved it, in which order, and what its bytes hash to. The newest is the last of the latest term.
//! Two leaders that both believe they lead save states of the same trajectory, so either one's are right.

use std::fmt;
use std::str::FromStr;

use crate::blob::{Name, name_of};
use crate::wire::Term;

/// States that are kept, the newest: should one turn out to be damaged, there is another.
const STATES_KEPT: usize = 2;
/// Characters of a name: three numbers of 16, a hash of 64, and hyphens between them.
const CHARACTERS: usize = 3 * 16 + 64 + 3;

/// Names a state, in the order in which they were saved. As text it is `<term>-<nonce>-<sequence>-<hash>` in
/// hexadecimal digits, which sorts the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateName {
    /// The term of the leader that saved it.
    pub term: Term,
    /// Counts the states of the term.
    pub sequence: u64,
    /// The hash of its bytes.
    pub hash: Name,
}

/// A text that names no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a saved state: it should be a term, a nonce, a sequence number and a hash")]
pub struct StateNameError;

impl StateName {
    /// The name of a state with these bytes.
    pub fn new(term: Term, sequence: u64, bytes: &[u8]) -> StateName {
        StateName { term, sequence, hash: name_of(bytes) }
    }

    /// The name of the last state of a term: there are no more rounds.
    pub fn last(term: Term, bytes: &[u8]) -> StateName {
        StateName::new(term, u64::MAX, bytes)
    }

    /// Whether these are the state's bytes, undamaged.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        name_of(bytes) == self.hash
    }

    /// Puts names in the order in which to try to go on from their states: the newest first.
    pub fn newest_first(names: &mut [StateName]) {
        names.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// Those of some states that nobody needs when this one is saved: all but the newest before it. Later ones are
    /// somebody else's, who leads a later term.
    pub fn superseded(&self, names: &[StateName]) -> Vec<StateName> {
        let mut before: Vec<StateName> = names.iter().copied().filter(|name| name < self).collect();
        StateName::newest_first(&mut before);
        before.split_off(before.len().min(STATES_KEPT - 1))
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Term { number, nonce } = self.term;
        write!(formatter, "{number:016x}-{nonce:016x}-{:016x}-", self.sequence)?;
        self.hash.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl FromStr for StateName {
    type Err = StateNameError;

    fn from_str(text: &str) -> Result<StateName, StateNameError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != CHARACTERS || !text.bytes().all(|byte| byte == b'-' || is_digit(byte)) {
            return Err(StateNameError);
        }
        let mut fields = text.split('-');
        let mut number = || {
            let field = fields.next().filter(|field| field.len() == 16).ok_or(StateNameError)?;
            u64::from_str_radix(field, 16).map_err(|_| StateNameError)
        };
        let term = Term { number: number()?, nonce: number()? };
        let sequence = number()?;
        let digits = fields.next().filter(|field| field.len() == 64).ok_or(StateNameError)?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| StateNameError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| StateNameError)?;
        }
        Ok(StateName { term, sequence, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u64, nonce: u64, sequence: u64) -> StateName {
        StateName::new(Term { number, nonce }, sequence, &sequence.to_le_bytes())
    }

    #[test]
    fn the_newest_is_the_last_of_the_latest_term() {
        let mut names = [name(1, 9, 700), name(2, 3, 1), name(2, 4, 1), name(1, 9, 16), name(2, 3, 30)];
        let mut texts: Vec<String> = names.iter().map(StateName::to_string).collect();
        StateName::newest_first(&mut names);
        let in_order = [name(2, 4, 1), name(2, 3, 30), name(2, 3, 1), name(1, 9, 700), name(1, 9, 16)];
        assert_eq!(names, in_order);
        // A store that lists names in the order of their characters lists them in this order.
        texts.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<StateName>>(), in_order);
        assert!(names[0].is_of(&1u64.to_le_bytes()) && !names[0].is_of(&2u64.to_le_bytes()));
    }

    #[test]
    fn whoever_saves_a_state_takes_away_what_came_long_before_and_nothing_that_comes_after() {
        let all = [name(1, 9, 1), name(1, 9, 2), name(2, 3, 1), name(2, 3, 2), name(3, 1, 1)];
        assert_eq!(name(2, 3, 2).superseded(&all), [name(1, 9, 2), name(1, 9, 1)]);
        // One that was frozen for two terms saves its next state.
        assert_eq!(name(1, 9, 3).superseded(&all), [name(1, 9, 1)]);
        assert!(name(1, 9, 1).superseded(&[]).is_empty());
    }

    #[test]
    fn no_other_text_is_a_name() {
        let text = name(1, 9, 7).to_string();
        assert_eq!(text.parse(), Ok(name(1, 9, 7)));
        let odd = [&text[1..], &text[..text.len() - 1], "", "-", "..", &text.to_uppercase()];
        for odd in odd.map(str::to_owned).into_iter().chain([text.replacen('0', "+", 1), format!("{text}0")])
        {
            assert_eq!(odd.parse::<StateName>(), Err(StateNameError), "{odd}");
        }
        assert_eq!("-".repeat(CHARACTERS).parse::<StateName>(), Err(StateNameError));
        assert_eq!("ü".repeat(CHARACTERS / 2).parse::<StateName>(), Err(StateNameError));
    }
}
