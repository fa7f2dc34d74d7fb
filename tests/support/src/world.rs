//! A run as volunteers learn of it. Each test names what it cares about and takes the rest from here, so that
//! a new field of the protocol is written once.

use std::ops::Range;

use model::{Arithmetic, Network, Preprocessing};
use protocol::message::Welcome;
use protocol::plan::{SetPlan, SetPlans, ShardRef};

/// Run 1 of a network over unscaled columns, in portable arithmetic, with minibatches of 10 examples and no
/// local steps, as session 1 is told of it.
pub fn welcome(network: &Network, sets: SetPlans) -> Welcome {
    Welcome {
        run: 1,
        session: 1,
        arithmetic: Arithmetic::Portable,
        network: network.spec().to_json(),
        features: network.features() as u32,
        task: network.task(),
        preprocessing: Preprocessing::identity(network.features()),
        seed: 1,
        minibatch: 10,
        local: None,
        sets,
    }
}

/// Cuts a set into shards. `encode` gives the bytes of a shard with these examples of the set.
pub fn cut(
    examples: u32,
    examples_per_unit: u32,
    units_per_shard: u32,
    encode: impl Fn(Range<usize>) -> Vec<u8>,
) -> (SetPlan, Vec<Vec<u8>>) {
    let plan = SetPlan { examples, examples_per_unit, units_per_shard, shards: Vec::new() };
    let encode = |index| {
        let Range { start, end } = plan.examples_in_shard(index);
        encode(start as usize..end as usize)
    };
    let bytes: Vec<Vec<u8>> = (0..plan.units().div_ceil(units_per_shard)).map(encode).collect();
    (SetPlan { shards: bytes.iter().map(|bytes| name(bytes)).collect(), ..plan }, bytes)
}

fn name(bytes: &[u8]) -> ShardRef {
    ShardRef { hash: *blake3::hash(bytes).as_bytes(), bytes: bytes.len() as u32 }
}
