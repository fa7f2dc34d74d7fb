//! A shard as the hub passes it to compute workers.
//!
//! Threads of one process share the decoded rows. Between Web Workers, only the bytes are sent, and each side
//! decodes them.

use std::sync::{Arc, OnceLock};

use model::{Network, Preprocessing};
use protocol::DecodeError;
use protocol::shard::Shard;

/// A verified shard, and the decoded one after its first use, which shares its rows.
#[derive(Debug)]
pub struct SharedShard {
    content: Content,
    decoded: OnceLock<Result<Arc<Shard>, DecodeError>>,
}

#[derive(Debug)]
enum Content {
    Encoded(Arc<Vec<u8>>),
    /// What this process has in memory anyway.
    Lent(Shard),
}

impl SharedShard {
    /// Wraps bytes whose hash has been checked.
    pub fn new(bytes: Vec<u8>) -> SharedShard {
        SharedShard { content: Content::Encoded(Arc::new(bytes)), decoded: OnceLock::new() }
    }

    /// Wraps a shard whose rows belong to somebody else in this process. It cannot be sent to a Web Worker.
    pub fn lent(shard: Shard) -> SharedShard {
        SharedShard { content: Content::Lent(shard), decoded: OnceLock::new() }
    }

    /// The encoded shard; nothing if it is lent.
    pub fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::Encoded(bytes) => bytes,
            Content::Lent(_) => &[],
        }
    }

    /// Decodes the shard, with lists of its nonzero inputs if the network uses them. All owners share one decoded
    /// shard, whose rows stay where they are.
    pub(crate) fn decode(
        &self,
        network: &Network,
        preprocessing: &Preprocessing,
    ) -> Result<Arc<Shard>, DecodeError> {
        let decode = || {
            let (features, task) = (network.features(), network.task());
            let mut shard = match &self.content {
                Content::Encoded(bytes) => Shard::decode_in_place(Arc::clone(bytes), features, task)?,
                Content::Lent(shard) if shard.suits(features, task) => shard.clone(),
                Content::Lent(_) => return Err(DecodeError::Malformed),
            };
            if network.skips_zeros() {
                shard.find_zeros(preprocessing);
            }
            Ok(Arc::new(shard))
        };
        self.decoded.get_or_init(decode).clone()
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
