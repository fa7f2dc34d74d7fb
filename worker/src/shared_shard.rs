//! A shard as the hub passes it to compute workers.
//!
//! Threads of one process share the decoded rows. Between Web Workers, only the bytes are sent, and each side
//! decodes them.

use std::sync::{Arc, OnceLock};

use model::{Network, Preprocessing};
use protocol::DecodeError;
use protocol::shard::Shard;

/// The bytes of a verified shard, and the decoded shard after its first use.
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

    /// Decodes the shard, with lists of its nonzero inputs if the network uses them. A sole owner gives up
    /// the bytes; several owners share one decoded shard.
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

#[cfg(test)]
mod tests {
    use model::{NetworkSpec, Rows, Targets, Task};
    use ndarray::Array2;

    use super::*;

    #[test]
    fn zeros_are_looked_for_where_that_is_of_use() {
        let rows = Array2::<u8>::zeros((50, 4));
        let bytes = protocol::shard::encode(&Rows::U8(rows.view()), &Targets::Classes(&[0; 50]));
        let held = |layer: &str| {
            let spec = NetworkSpec::from_json(&format!(r#"{{"layers": [{layer}]}}"#)).unwrap();
            let network = Network::new(&spec, 4, Task::Classes(2)).unwrap();
            let shared = Arc::new(SharedShard::new(bytes.clone()));
            shared.decode(&network, &Preprocessing::identity(4)).unwrap().bytes()
        };
        let raw = 50 * 4 + 50 * 2;
        assert_eq!(held(r#"{"kind": "layer-norm"}"#), raw);
        assert_eq!(
            held(r#"{"kind": "dense", "units": 3}"#),
            raw + 4 * 51,
            "nothing is listed, example by example"
        );
    }
}
