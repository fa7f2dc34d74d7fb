//! What a volunteer's page or terminal shows of its hub.

use serde::Serialize;

/// A picture of the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HubStatus {
    /// What it is about.
    pub phase: HubPhase,
    /// The same in one plain sentence, with the reason where there is one.
    pub sentence: String,
    /// Cores lent.
    pub cores: u16,
    /// Why these are fewer than were chosen, in words, when memory is what there is too little of.
    pub limit: Option<String>,
    /// Compute workers at work at this moment.
    pub busy: u16,
    /// Results sent since the hub was made.
    pub assignments_done: u64,
    /// Work units they covered.
    pub units_done: u64,
    /// Examples they covered; an example counts each time it is used.
    pub examples_done: u64,
    /// Shards held.
    pub shards_held: u32,
    /// Bytes of the shards held.
    pub shard_bytes: u64,
    /// Shards being downloaded or waiting for it.
    pub shards_awaited: u32,
    /// Bytes of messages sent.
    pub bytes_sent: u64,
    /// Bytes of messages and shards received (shards before compression).
    pub bytes_received: u64,
}

/// What a hub is about. The JSON names are in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HubPhase {
    /// No connection: trying, or waiting before the next try.
    Connecting,
    /// Connected, and nothing to do.
    Waiting,
    /// Nothing to compute until a shard has arrived.
    Downloading,
    /// At least one compute worker is busy.
    Computing,
    /// Connected, but no core is lent.
    Paused,
    /// Turned away, or unable to help; it does not come back by itself. The last phase.
    Stopped,
    /// The training has ended. The last phase.
    Finished,
}

impl HubPhase {
    /// Whether nothing more will happen.
    pub fn is_last(self) -> bool {
        matches!(self, HubPhase::Stopped | HubPhase::Finished)
    }
}
