//! A shard as the hub passes it to compute workers.
//!
//! Threads of one process share the decoded rows; across a Web Worker's boundary only the bytes
//! travel and each side decodes for itself.

use std::sync::{Arc, OnceLock};

use model::{Network, Preprocessing};
use protocol::DecodeError;
use protocol::shard::Shard;

/// The bytes of a verified shard and, once somebody needed it, what they mean.
#[derive(Debug)]
pub struct SharedShard {
    bytes: Vec<u8>,
    decoded: OnceLock<Result<Arc<Shard>, DecodeError>>,
}

impl SharedShard {
    /// Wraps bytes whose hash has been checked.
    pub fn new(bytes: Vec<u8>) -> SharedShard {
        SharedShard { bytes, decoded: OnceLock::new() }
    }

    /// The encoded shard.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The decoded shard, which knows its zeros if the network can leave them out. Its one owner gives the bytes up, sharers decode once for all.
    pub(crate) fn decode(
        self: Arc<Self>,
        network: &Network,
        preprocessing: &Preprocessing,
    ) -> Result<Arc<Shard>, DecodeError> {
        let decode = |bytes: &[u8]| {
            let mut shard = Shard::decode(bytes, network.features(), network.task())?;
            if network.skips_zeros() {
                shard.find_zeros(preprocessing);
            }
            Ok(Arc::new(shard))
        };
        match Arc::try_unwrap(self) {
            Ok(owned) => decode(&owned.bytes),
            Err(shared) => shared.decoded.get_or_init(|| decode(&shared.bytes)).clone(),
        }
    }
}
