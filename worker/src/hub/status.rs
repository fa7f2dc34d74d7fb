//! The status of a hub, for a volunteer's page or terminal.

use serde::Serialize;

/// The state of a hub at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HubStatus {
    /// What it is doing.
    pub phase: HubPhase,
    /// The same in one plain sentence, with the reason where there is one.
    pub sentence: String,
    /// Cores lent.
    pub cores: u16,
    /// A sentence that says why fewer cores are lent than were chosen, if there is too little memory.
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
    /// Shards that are being downloaded or wait for it.
    pub shards_awaited: u32,
    /// Bytes of messages sent.
    pub bytes_sent: u64,
    /// Bytes of messages and shards received. Shards count before compression.
    pub bytes_received: u64,
}

/// What a hub is doing. The names in JSON are in lower case.
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
    /// It was turned away or cannot help. It does not come back by itself: this is a last phase.
    Stopped,
    /// The training has ended: this is a last phase.
    Finished,
}

impl HubPhase {
    /// Whether nothing more will happen.
    pub fn is_last(self) -> bool {
        matches!(self, HubPhase::Stopped | HubPhase::Finished)
    }
}
