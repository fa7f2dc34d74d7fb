//! The reasons for a session's end.

use engine::decoder::Misbehavior;
use protocol::message::Farewell;
use thiserror::Error;

use super::greeting::Objection;
use super::outgoing::Lost;

/// Why a session ends.
#[derive(Debug, Error)]
pub(super) enum Ending {
    /// The volunteer closed the channel, or the connection broke.
    #[error("the volunteer left")]
    Gone,
    /// The volunteer has sent or accepted nothing for too long.
    #[error("the volunteer is out of reach: {0}")]
    Unresponsive(&'static str),
    /// The volunteer is refused or dismissed.
    #[error("the volunteer is turned away: {}", .0.1)]
    Refused(Objection),
    /// The volunteer sent what no honest volunteer sends.
    #[error("the volunteer is dismissed: it sent {0}")]
    Misbehaved(String),
    /// The training has ended.
    #[error("the training has ended: {}", .0.text)]
    Finished(Farewell),
    /// The driver has dropped the session.
    #[error("the driver has dropped the session")]
    Released,
    /// The server shuts down.
    #[error("the server shuts down")]
    Closing,
}

impl From<Lost> for Ending {
    fn from(lost: Lost) -> Ending {
        match lost {
            Lost::Gone => Ending::Gone,
            Lost::Stalled => Ending::Unresponsive("it takes less than 8 KB a second"),
        }
    }
}

impl From<Misbehavior> for Ending {
    fn from(misbehavior: Misbehavior) -> Ending {
        Ending::Misbehaved(misbehavior.to_string())
    }
}

impl From<Objection> for Ending {
    fn from(objection: Objection) -> Ending {
        Ending::Refused(objection)
    }
}
