//! The share of this machine's memory that a volunteer may take.

use sysinfo::System;

/// Three quarters of the memory that is free now, in bytes; no limit if the system does not tell.
pub(super) fn spare_bytes() -> u64 {
    free_bytes().map_or(u64::MAX, |free| free / 4 * 3)
}

fn free_bytes() -> Option<u64> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    let free = system.available_memory();
    // A container may have less than its machine.
    let free = system.cgroup_limits().map_or(free, |limits| free.min(limits.free_memory));
    (free > 0).then_some(free)
}
