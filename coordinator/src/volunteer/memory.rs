//! The share of this machine's memory that a volunteer may take.

use crate::room::free_memory;

/// Three quarters of the memory that is free now, in bytes; no limit if the system does not tell.
pub(super) fn spare_bytes() -> u64 {
    free_memory().map_or(u64::MAX, |free| free / 4 * 3)
}
