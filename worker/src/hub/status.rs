//! The status of a hub, for a volunteer's page or terminal.

use protocol::message::FinalFigures;
use serde::Serialize;

/// The state of a hub at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HubStatus {
    /// The hub's activity.
    pub phase: HubPhase,
    /// The same as one plain sentence, with a reason if there is one.
    pub sentence: String,
    /// Cores lent.
    pub cores: u16,
    /// Why fewer cores are lent than were chosen, in one sentence; `None` unless memory is short.
    pub limit: Option<String>,
    /// Compute workers that are busy.
    pub busy: u16,
    /// Results sent since the hub was made.
    pub assignments_done: u64,
    /// Work units in these results.
    pub units_done: u64,
    /// Examples in these results. An example counts each time it is used.
    pub examples_done: u64,
    /// Shards held.
    pub shards_held: u32,
    /// Bytes of the shards held.
    pub shard_bytes: u64,
    /// Shards being downloaded or queued for download.
    pub shards_awaited: u32,
    /// Bytes of messages sent.
    pub bytes_sent: u64,
    /// Bytes of messages received. Downloads of shards are not messages.
    pub bytes_received: u64,
    /// Milliseconds in which at least one compute worker was busy.
    pub computing_ms: u64,
    /// Examples in this hub's results that the coordinator counted.
    pub examples_counted: u64,
    /// Examples in everybody's results that the coordinator counted.
    pub examples_of_all: u64,
    /// Results that came after somebody else's.
    pub results_late: u64,
    /// How good the trained network is, once the training has ended.
    pub finals: Option<FinalFigures>,
}

/// The activity of a hub. The JSON names are in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HubPhase {
    /// There is no connection. The hub tries to connect, or waits before the next attempt.
    Connecting,
    /// Connected, with nothing to do.
    Waiting,
    /// It waits for shards.
    Downloading,
    /// At least one compute worker is busy.
    Computing,
    /// Connected, but no core is lent.
    Paused,
    /// The coordinator turned it away, or it cannot help. It does not come back by itself: this phase is
    /// final.
    Stopped,
    /// The training has ended: this phase is final.
    Finished,
    /// The coordinator trains something else now, and the hub was not told to follow: this is a last phase.
    Changed,
}

impl HubPhase {
    /// Whether the phase is final.
    pub fn is_last(self) -> bool {
        matches!(self, HubPhase::Stopped | HubPhase::Finished | HubPhase::Changed)
    }
}
