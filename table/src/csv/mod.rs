//! Tables of text: CSV and its relatives, in two passes. [`survey`] tells encoding, layout and the kinds of
//! columns; [`read`] reads the columns that are wanted. Both work on blocks of rows in parallel, in bounded
//! memory.

mod blocks;
pub(crate) mod cells;
mod dialect;
pub(crate) mod number;
pub(crate) mod read;
pub(crate) mod survey;

pub use cells::Separator;
pub use number::Style;

/// Bytes of a block, as far as nobody tests with less.
pub(crate) const BLOCK_BYTES: usize = blocks::BLOCK_BYTES;
