//! What the operator can have done, and what comes of it.

use serde::Serialize;
use thiserror::Error;
use tokio::sync::oneshot;

/// One action. Doing it twice does no more than doing it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Hand out no more work.
    Pause,
    /// Hand out work again.
    Continue,
    /// End the training after the open round, and save as Ctrl-C does.
    Stop,
    /// Write a checkpoint now.
    Save,
    /// Send a volunteer away.
    Remove {
        /// Its session.
        session: u64,
    },
    /// Send a volunteer away, with everybody at its address, and admit nobody from there.
    Ban {
        /// Its session.
        session: u64,
    },
    /// Admit volunteers from an address again.
    Unban {
        /// The address as the view names it.
        address: String,
    },
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Whether anything is different now.
    pub changed: bool,
    /// What was done, in one sentence.
    pub sentence: String,
}

/// Why an action is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Too many wait.
    #[error("Too many actions wait for the coordinator; try again in a moment.")]
    Busy,
    /// The driver did not answer in time.
    #[error("The coordinator is busy with a long step and does this as soon as that is over.")]
    Late,
    /// There is no training any more.
    #[error("The training has ended.")]
    Over,
    /// The volunteer never was.
    #[error("There is no such volunteer.")]
    Unknown,
    /// The coordinator's own worker stays.
    #[error(
        "The coordinator's own worker cannot be sent away; start with --local-workers 0 to train without it."
    )]
    Own,
    /// There is no room for another ban.
    #[error("As many addresses are banned as the coordinator remembers; lift a ban first.")]
    Full,
}

/// An action on its way to the driver.
#[derive(Debug)]
pub struct Errand {
    /// What is to be done.
    pub action: Action,
    /// The address it was asked from, for the log.
    pub from: String,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Done, Refusal>>,
}
