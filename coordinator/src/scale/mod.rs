//! More than one process for a training: a coordinator that leads, gateways that serve volunteers, and standbys.
//!
//! The crate [`gateway`](::gateway) has what they say to each other, as state machines. This module moves the bytes: small messages
//! over NATS (`link`, `subjects`), objects through a [store](crate::store) (`archive`, `carrier`). A coordinator first
//! waits until it leads (`election`); then its driver has a `lead` for an engine.

mod archive;
mod bus;
mod carrier;
mod election;
mod gateway;
mod herald;
mod joining;
mod lead;
#[cfg(feature = "scale")]
mod link;
#[cfg(not(feature = "scale"))]
#[path = "no_link.rs"]
mod link;
mod news;
mod pause;
mod pieces;
pub mod porch;
mod subjects;
mod voice;
mod waiting;

use thiserror::Error;

pub use self::gateway::{GatewayConfig, GatewayEnd, run as serve};
pub use archive::{Archive, ArchiveError, End, Record, SavedState};
pub use bus::{LinkError, Subject};
pub use carrier::{Carried, Carrier};
pub use election::{Elected, Entry, elect};
pub use herald::Herald;
pub use joining::{begin, find, next_term, open};
pub use lead::{Lead, LeadEvent, LeadOutput};
pub use link::{Hearing, Link};
pub use news::{About, News};
pub use pause::PauseSign;
pub use pieces::Pieces;
pub use subjects::Subjects;
pub use voice::Voice;
pub use waiting::{Waits, stopped, until_there};

/// A training of several processes cannot go on.
#[derive(Debug, Error)]
pub enum ScaleError {
    /// The bus cannot be used.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The store cannot be used.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// There is no random number.
    #[error("the system gives no random numbers ({0}); check that /dev/urandom can be read")]
    Random(getrandom::Error),
}

/// A random number, which nobody else has.
///
/// # Errors
/// When the system has no randomness.
pub fn random() -> Result<u64, ScaleError> {
    getrandom::u64().map_err(ScaleError::Random)
}
