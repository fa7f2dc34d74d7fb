//! The content of a checkpoint, and its bytes.

use engine::{Past, Snapshot};
use protocol::PROTOCOL_VERSION;
use serde::{Deserialize, Serialize};

/// Everything a training needs, besides settings and data, to continue to the same bits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checkpoint {
    /// [`PROTOCOL_VERSION`] of the program that trained it: another version may give units another meaning.
    pub protocol: u16,
    /// The run it belongs to ([`protocol::message::Welcome::run`]).
    pub run: u64,
    /// The engine's state.
    pub snapshot: Snapshot,
    /// Seconds of training that led there.
    pub seconds: f64,
    /// Sessions of volunteers that have helped. A volunteer that reconnects counts again.
    pub volunteers: u64,
    /// What lies it may hold. It follows the rest, and may be missing.
    #[serde(skip)]
    pub past: Past,
}

/// Why a training cannot continue from some bytes.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The bytes do not have the layout of [`Checkpoint::VERSION`].
    #[error("its layout is not the layout of a checkpoint; start a new run with another --out")]
    Malformed(#[from] postcard::Error),
    /// A program with another version of the protocol wrote the bytes.
    #[error(
        "it was written by another version of shoal (protocol version {0}, this shoal has {PROTOCOL_VERSION}); \
         use that version, or start a new run with another --out"
    )]
    OtherProtocol(u16),
}

impl Checkpoint {
    /// The layout's version. Raise it when the bytes change, with this type, [`Snapshot`] or the state of any
    /// optimizer, and when the same run gets another number ([`run_number`](crate::training::run_number)).
    pub const VERSION: u32 = 5;

    /// The bytes for [`RunDirectory::save_checkpoint`](crate::run_directory::RunDirectory::save_checkpoint).
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes = postcard::to_allocvec(self).expect("a checkpoint consists of encodable parts only");
        postcard::to_extend(&self.past, bytes).expect("so does what lies it may hold")
    }

    /// Reads the bytes of
    /// [`RunDirectory::load_checkpoint`](crate::run_directory::RunDirectory::load_checkpoint).
    ///
    /// # Errors
    /// When the bytes are not a checkpoint, or when this program would not continue to the same bits.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        // The protocol's version comes first, so that it can be read whatever follows.
        let (protocol, _) = postcard::take_from_bytes::<u16>(bytes)?;
        if protocol != PROTOCOL_VERSION {
            return Err(CheckpointError::OtherProtocol(protocol));
        }
        let (checkpoint, rest) = postcard::take_from_bytes::<Checkpoint>(bytes)?;
        let past = if rest.is_empty() { Past::default() } else { postcard::from_bytes(rest)? };
        Ok(Checkpoint { past, ..checkpoint })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::optimizers::{Lbfgs, LbfgsSettings, Optimizer};
    use engine::{Accepted, Counters, Course, Figures, KnownScales, Past, Snapshot, Statistics};

    use super::*;

    impl Checkpoint {
        /// The checkpoint of run 1 after that iteration and as many rounds, with a single weight.
        pub(crate) fn sample(iteration: u64) -> Checkpoint {
            let settings = LbfgsSettings { memory: 1, gradient_tolerance: None };
            let figures = Figures::UNKNOWN;
            let accepted = Accepted {
                iteration,
                rounds: iteration,
                epochs: 0.0,
                figures,
                gradient_norm: 1.0,
                step: 1.0,
            };
            let snapshot = Snapshot {
                optimizer: Optimizer::Lbfgs(Lbfgs::new(vec![0.0], settings)),
                scales: KnownScales::default(),
                statistics: Statistics::new(Arc::from([])),
                counters: Counters { rounds: iteration, ..Counters::default() },
                accepted: Some(accepted),
                course: Course::default(),
            };
            let (protocol, past) = (PROTOCOL_VERSION, Past::default());
            Checkpoint { protocol, run: 1, snapshot, seconds: 1.0, volunteers: 1, past }
        }
    }

    #[test]
    fn a_checkpoint_of_another_protocol_is_refused_with_both_versions() {
        let other = PROTOCOL_VERSION + 1;
        let bytes = postcard::to_allocvec(&other).unwrap();
        let message = Checkpoint::from_bytes(&bytes).unwrap_err().to_string();
        let versions = format!("protocol version {other}, this shoal has {PROTOCOL_VERSION}");
        assert!(message.contains(&versions), "{message}");
    }
}
