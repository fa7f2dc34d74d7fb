//! The names under which the processes of a run hear each other on the bus.

use super::bus::Subject;

/// See the module's description.
#[derive(Debug, Clone)]
pub struct Subjects {
    /// Leaders speak to everybody.
    pub all: Subject,
    /// Gateways speak to the leader.
    pub up: Subject,
    /// The leader's status, for the pages of gateways.
    pub status: Subject,
    /// Gateways tell how they fare, for the dashboard.
    pub about: Subject,
}

impl Subjects {
    /// Those of a run, which its record names.
    pub fn of(realm: u64) -> Subjects {
        let subject = |name: &str| Subject::new(format!("shoal.{realm:016x}.{name}"));
        Subjects {
            all: subject("all"),
            up: subject("up"),
            status: subject("status"),
            about: subject("about"),
        }
    }
}
