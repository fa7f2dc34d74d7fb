//! More than one process for a training: a coordinator that leads, gateways that serve volunteers, and standbys.
//!
//! So far it has what they keep in the [store](crate::store) that they share (`archive`).

mod archive;

pub use archive::{Archive, ArchiveError, Record, SavedState};
