//! The texts for people: the hub's status, and the reason why it cannot help.

use protocol::limits::TEXT_BYTES_MAX;

use super::Hub;
use super::link::Link;
use super::status::{HubPhase, HubStatus};
use crate::footprint::Footprint;
use crate::settings::Settings;

impl Hub {
    /// The status to show.
    pub fn status(&self) -> HubStatus {
        let busy = self.crew.busy();
        let awaited = self.wanted_shards().len();
        let (phase, sentence) = match &self.link {
            Link::Waiting { why, .. } => {
                (HubPhase::Connecting, format!("No connection to the coordinator: {why}. Trying again soon."))
            }
            Link::Held { text, .. } => (HubPhase::Connecting, text.clone()),
            Link::Connecting | Link::Greeting { .. } => {
                (HubPhase::Connecting, "Connecting to the coordinator.".to_owned())
            }
            Link::Ended { phase, text } => (*phase, text.clone()),
            Link::Open if self.lent() == 0 => (HubPhase::Paused, "Paused: no core is lent.".to_owned()),
            Link::Open if busy > 0 => {
                (HubPhase::Computing, format!("Computing on {}.", counted(busy, "core")))
            }
            Link::Open if self.crew.len() == 0 && self.hiring.is_delayed() => {
                let text = "The worker's program did not arrive. It is downloaded again soon.";
                (HubPhase::Downloading, text.to_owned())
            }
            Link::Open if awaited > 0 => {
                (HubPhase::Downloading, format!("Downloading data: {} to go.", counted(awaited, "part")))
            }
            Link::Open if self.round.is_none() => {
                (HubPhase::Waiting, "Connected. Waiting for the training to begin a round.".to_owned())
            }
            Link::Open => (HubPhase::Waiting, "Connected. Waiting for the next piece of work.".to_owned()),
        };
        HubStatus {
            phase,
            sentence,
            cores: self.lent(),
            limit: self.memory_limit(),
            busy: busy as u16,
            assignments_done: self.counters.assignments_done,
            units_done: self.counters.units_done,
            examples_done: self.counters.examples_done,
            shards_held: self.shards.held().count() as u32,
            shard_bytes: self.shards.held_bytes() as u64,
            shards_awaited: awaited as u32,
            bytes_sent: self.counters.bytes_sent,
            bytes_received: self.counters.bytes_received,
            computing_ms: self.counters.computing_ms,
            examples_counted: self.credits.counted(),
            examples_of_all: self.credits.of_all(),
            results_late: self.credits.late(),
            finals: self.finals,
        }
    }

    fn memory_limit(&self) -> Option<String> {
        let footprint = self.run.as_ref()?.footprint;
        let (used, chosen) = (self.cores_max(), self.settings.cores);
        (used < chosen).then(|| {
            let each = megabytes(footprint.core_bytes);
            format!("{used} of {}: each needs {each} for this network.", counted(chosen.into(), "core"))
        })
    }
}

/// The reason why not even one core can help.
pub(super) fn too_large(footprint: Footprint, settings: &Settings) -> String {
    let one = footprint.hub_bytes.max(footprint.core_bytes);
    if one > settings.address_space_bytes {
        return format!(
            "This training is too large for this kind of worker: it needs {} in one piece, \
             and a worker can address at most {} on any device.",
            megabytes(one),
            megabytes(settings.address_space_bytes),
        );
    }
    format!(
        "This training is too large for this device: it needs {} with one core, and the device can \
         spare {}.",
        megabytes(footprint.hub_bytes.saturating_add(footprint.core_bytes)),
        megabytes(settings.memory_bytes),
    )
}

/// Cuts a text to the length that a message may carry.
pub(super) fn cut(text: &mut String) {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
}

/// A size in MB or GB, rounded up.
fn megabytes(bytes: u64) -> String {
    const MEGA: u64 = 1_000_000;
    if bytes < 1000 * MEGA {
        format!("{} MB", bytes.div_ceil(MEGA))
    } else {
        format!("{:.1} GB", bytes.div_ceil(100 * MEGA) as f64 / 10.0)
    }
}

fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
