//! The descriptors of this process: how many connections they allow beside the run's files.
//!
//! Every connection takes a descriptor, and so does every checkpoint while it is written. Connections must not
//! take them all: a training without checkpoints is worse than a volunteer that has to wait.

use super::limits::{CONNECTIONS_MAX, CONNECTIONS_MIN, DESCRIPTORS_RESERVED};

/// Raises the limit of open files as far as this process may and connections can use it. Answers with the
/// number of connections that may be open at the same time. Where the limit is unknown, that is
/// `CONNECTIONS_MAX`.
pub fn connections_max() -> usize {
    descriptors().map_or(CONNECTIONS_MAX, connections_within)
}

/// The connections that a limit of `descriptors` open files leaves room for.
fn connections_within(descriptors: u64) -> usize {
    let rest = usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(DESCRIPTORS_RESERVED);
    rest.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

/// The limit of open files once it is raised; `None` if there is none.
#[cfg(unix)]
fn descriptors() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let current = current?;
    let wanted = (CONNECTIONS_MAX + DESCRIPTORS_RESERVED) as u64;
    let raised = wanted.min(maximum.unwrap_or(wanted));
    if raised > current {
        match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
            Ok(()) => return Some(raised),
            Err(error) => tracing::warn!(%error, current, raised, "cannot raise the limit of open files"),
        }
    }
    Some(current)
}

#[cfg(not(unix))]
fn descriptors() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_run() {
        for descriptors in [200, 1024, 20_000] {
            assert_eq!(connections_within(descriptors), descriptors as usize - DESCRIPTORS_RESERVED);
        }
        assert_eq!(connections_within(1 << 40), CONNECTIONS_MAX);
        // Too few for anything: the server still answers, and accepting pauses when it fails.
        assert_eq!(connections_within(10), CONNECTIONS_MIN);
    }

    #[test]
    #[cfg(unix)]
    fn the_limit_is_raised() {
        use rustix::process::{Resource, getrlimit};
        let connections = connections_max();
        let limit = getrlimit(Resource::Nofile);
        let maximum = limit.maximum.unwrap_or(u64::MAX).min((CONNECTIONS_MAX + DESCRIPTORS_RESERVED) as u64);
        assert!(limit.current.is_none_or(|current| current >= maximum));
        assert_eq!(connections, limit.current.map_or(CONNECTIONS_MAX, connections_within));
    }
}
