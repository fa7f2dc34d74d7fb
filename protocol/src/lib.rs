//! The language of coordinator and volunteers.
//!
//! [`message`] holds the messages, [`frame`] their bytes, [`plan`] the division of a round into work units,
//! [`scales`] the conversion of values to integers, [`draw`] the random orders, [`shard`] the slices of the
//! data set, [`examination`] the counts behind the figures of a trained network,
//! [`pack`] the compact encoding of exact sums, and [`limits`] every bound. Nothing here does I/O,
//! and every decoder is total: any bytes give a message or a [`DecodeError`], never a panic and never an
//! allocation larger than the input or a stated limit.

#![forbid(unsafe_code)]

pub mod draw;
pub mod examination;
pub mod frame;
pub mod limits;
pub mod measure;
pub mod message;
pub mod pack;
pub mod plan;
pub mod scales;
pub mod shard;

use thiserror::Error;

/// The protocol's version: raised whenever a message, the packing, the shard format or the meaning of a unit
/// changes. `tests/frames.rs` pins the bytes.
pub const PROTOCOL_VERSION: u16 = 9;

/// Why bytes could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The first byte names no known kind of frame.
    #[error("unknown kind of frame ({0})")]
    UnknownKind(u8),
    /// The frame ends before the message does.
    #[error("the frame is cut short")]
    Truncated,
    /// The frame goes on after the message has ended.
    #[error("the frame has {0} bytes too many")]
    TrailingBytes(usize),
    /// The body does not encode a message of its kind.
    #[error("the frame's body is malformed")]
    Malformed,
    /// A length, count or text exceeds its limit.
    #[error("{what} is over its limit of {limit}")]
    OverLimit {
        /// The name of the value that is too large.
        what: &'static str,
        /// The largest value allowed.
        limit: u64,
    },
}

/// Returns [`DecodeError::OverLimit`] if `value` is larger than `limit`.
fn within(what: &'static str, value: u64, limit: u64) -> Result<(), DecodeError> {
    if value > limit {
        return Err(DecodeError::OverLimit { what, limit });
    }
    Ok(())
}
