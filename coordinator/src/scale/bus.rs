//! What is said of the bus whether this program can use it or not.

use std::fmt;

use thiserror::Error;

/// The name under which messages are heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(pub(super) String);

impl Subject {
    /// A subject of that name.
    pub fn new(name: impl Into<String>) -> Subject {
        Subject(name.into())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The bus cannot be used.
#[derive(Debug, Error)]
pub enum LinkError {
    /// No server lets this process in.
    #[error(
        "cannot connect to NATS at {url}: {problem}; is the server there, and are its credentials in the environment?"
    )]
    Connect {
        /// Its address.
        url: String,
        /// Why.
        problem: String,
    },
    /// The connection is closed for good.
    #[error("cannot subscribe to {subject} on NATS: {problem}; start this process again")]
    Hear {
        /// What was to be heard.
        subject: Subject,
        /// Why.
        problem: String,
    },
    /// The credentials in the environment cannot be used.
    #[error("cannot use the credentials for NATS: {0}")]
    Credentials(String),
    /// This program cannot speak with NATS.
    #[error(
        "--link: this shoal was built without the feature \"scale\" and cannot speak with NATS; use one that cargo build --release makes"
    )]
    Absent,
}
