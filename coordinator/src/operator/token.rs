//! The operator's token: from the environment, or drawn for each process.

use thiserror::Error;

use crate::config::Invite;

/// The environment variable with the operator's token: a flag would be seen in the list of processes, and a setting
/// would be kept in `run.toml`.
const TOKEN_VARIABLE: &str = "SHOAL_OPERATOR_TOKEN";

/// There is no token.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The environment's is of no use.
    #[error("{TOKEN_VARIABLE}: {problem}")]
    Unsuitable {
        /// What is wrong, and what to give instead.
        problem: String,
    },
    /// None can be drawn.
    #[error("the system gives no random numbers: {0}; give a token in {TOKEN_VARIABLE}")]
    NoRandomness(#[from] getrandom::Error),
}

/// The token in the environment, or a new one.
///
/// # Errors
/// When it is too short or has other characters than a link can carry, or when none can be drawn.
pub fn operator_token() -> Result<String, TokenError> {
    match std::env::var(TOKEN_VARIABLE) {
        Ok(token) if !token.is_empty() => checked(token),
        _ => Ok(Invite::draw()?),
    }
}

fn checked(token: String) -> Result<String, TokenError> {
    match token.parse::<Invite>() {
        Ok(Invite::Token(token)) => Ok(token),
        Ok(Invite::Auto) => Ok(Invite::draw()?),
        Err(problem) => Err(TokenError::Unsuitable { problem }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_could_be_guessed_or_breaks_the_link_is_refused() {
        assert_eq!(checked("a-long-enough-one".to_owned()).unwrap(), "a-long-enough-one");
        assert_eq!(checked("auto".to_owned()).unwrap().len(), 32);
        for wrong in ["short", "with spaces in it", "with#a-hash"] {
            let problem = checked(wrong.to_owned()).unwrap_err().to_string();
            assert!(problem.starts_with(TOKEN_VARIABLE), "{problem}");
        }
    }
}
