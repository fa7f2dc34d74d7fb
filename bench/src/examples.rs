//! The examples of the cases, and the operations that an example counts for.

use model::{Network, ParameterKind, Preprocessing, Rows, Shape, Targets, Task};
use ndarray::Array2;
use protocol::DecodeError;
use protocol::shard::{self, Shard};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// Features of an example, MNIST's.
pub const FEATURES: usize = 784;
/// Classes, MNIST's.
pub const CLASSES: u32 = 10;
/// Examples of MNIST in each case: 2 MB, as much as a volunteer's compute worker has under way.
pub const MNIST_EXAMPLES: usize = 2560;
/// Random examples in each case, 1.6 MB: a multiple of the larger batch sizes.
const DENSE_EXAMPLES: usize = 512;

/// The examples of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// Random numbers without zeros.
    Dense,
    /// The first examples of MNIST's training set, in which four pixels of five are zero.
    Mnist,
}

/// Examples, decoded as a volunteer decodes them.
pub(crate) fn pool(data: Data, mnist: &[u8]) -> Result<Shard, DecodeError> {
    let dense = || {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        // Values in 2^-24 ..= 1.
        let rows = Array2::from_shape_simple_fn((DENSE_EXAMPLES, FEATURES), || {
            ((random.next_u32() >> 8) + 1) as f32 / (1 << 24) as f32
        });
        let classes: Vec<u16> = (0..DENSE_EXAMPLES).map(|_| (random.next_u32() % CLASSES) as u16).collect();
        shard::encode(&Rows::F32(rows.view()), &Targets::Classes(&classes))
    };
    let task = Task::Classes(CLASSES);
    let mut shard = match data {
        Data::Dense => Shard::decode(&dense(), FEATURES, task)?,
        Data::Mnist => Shard::decode(mnist, FEATURES, task)?,
    };
    shard.find_zeros(&preprocessing(data));
    Ok(shard)
}

/// `count` indices into a pool of `examples`, starting at position `first` of an endless sequence. Its stride
/// visits every example once before any repeats, and avoids neighbors.
pub(crate) fn order(first: usize, count: usize, examples: usize) -> Vec<u32> {
    let stride =
        (examples / 3..).find(|stride| gcd(*stride, examples) == 1).expect("there is always a prime");
    (first..first + count).map(|i| (i * stride % examples) as u32).collect()
}

fn gcd(one: usize, other: usize) -> usize {
    if other == 0 { one } else { gcd(other, one % other) }
}

pub(crate) fn preprocessing(data: Data) -> Preprocessing {
    match data {
        Data::Dense => Preprocessing::identity(FEATURES),
        Data::Mnist => Preprocessing::uniform(FEATURES, 0.0, 1.0 / 255.0),
    }
}

/// Floating-point operations that an example counts for: 6 for each weight and each place that uses it. These
/// are a multiplication and an addition each for the forward product, the weights' gradient and the inputs'
/// gradient. Skipped zeros count, too, and so does the first layer's input gradient, which is never needed.
pub fn operations(network: &Network) -> f64 {
    let weights = network.layout().iter().filter(|block| block.kind == ParameterKind::Weight);
    let multiplications: usize = weights.map(|block| block.range.len() * places(network, &block.name)).sum();
    6.0 * multiplications as f64
}

/// The number of times that each weight of the block is used: once, or at every place of a convolution's
/// output.
fn places(network: &Network, block: &str) -> usize {
    let layer = block.split('.').nth(1).and_then(|layer| layer.parse::<usize>().ok());
    match layer.and_then(|layer| network.shapes().get(layer + 1)) {
        Some(Shape::Image { height, width, .. }) => height * width,
        _ => 1,
    }
}

/// A shard of byte rows, as the coordinator would encode it.
#[cfg(test)]
pub(crate) fn encode(rows: Vec<u8>, classes: &[u16]) -> Vec<u8> {
    let rows = Array2::from_shape_vec((classes.len(), FEATURES), rows).unwrap();
    shard::encode(&Rows::U8(rows.view()), &Targets::Classes(classes))
}

#[cfg(test)]
mod tests {
    use model::NetworkSpec;

    use super::*;

    fn operations_of(network: &str) -> f64 {
        let spec = NetworkSpec::from_shorthand(network).unwrap();
        operations(&Network::new(&spec, FEATURES, Task::Classes(CLASSES)).unwrap())
    }

    #[test]
    fn an_order_meets_every_example_before_any_again() {
        for examples in [1, 2, 9, 40, DENSE_EXAMPLES] {
            let mut order = order(5, examples, examples);
            order.sort_unstable();
            assert_eq!(order, (0..examples as u32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_example_counts_six_for_each_use_of_a_weight() {
        assert_eq!(operations_of("mlp:256,128"), 6.0 * (784.0 * 256.0 + 256.0 * 128.0 + 128.0 * 10.0));
        // Windows of 5 x 5 over 28 x 28 pixels, then over 14 x 14 of 8 channels, then 7 x 7 of 16 channels.
        let convolutions = 25.0 * 8.0 * 784.0 + 25.0 * 8.0 * 16.0 * 196.0;
        assert_eq!(operations_of("cnn:8,16"), 6.0 * (convolutions + 784.0 * 10.0));
    }
}
