//! How fast one core computes gradients of a 784-128-10 network: `cargo run --release -p model --example speed`.
//!
//! Counted as 6 floating-point operations per example and weight: a multiplication and an addition each for the forward
//! product, the weights' gradient and the inputs' gradient (which the first layer does not need and gets for free).

#![allow(clippy::print_stdout, reason = "a program for people to read")]

use std::time::{Duration, Instant};

use model::{
    Arithmetic, Examples, Features, Network, NetworkSpec, Pass, Preprocessing, Rows, Scratch, Targets, Task,
};
use ndarray::Array2;

const BATCHES: [usize; 3] = [10, 32, 256];

/// The best of so many measurements counts: the others were disturbed.
const MEASUREMENTS: usize = 15;

fn main() {
    let spec = NetworkSpec::from_shorthand("mlp:128").expect("a valid shorthand");
    let network = Network::new(&spec, 784, Task::Classes(10)).expect("a valid network");
    for arithmetic in Arithmetic::ALL {
        for batch in BATCHES {
            let best =
                (0..MEASUREMENTS).map(|_| measure(&network, arithmetic, batch)).min().expect("at least one");
            let weights = (784 * 128 + 128 * 10) as f64;
            let speed = 6.0 * batch as f64 * weights / best.as_secs_f64() / 1e9;
            println!(
                "{arithmetic:9} batch {batch:3}: {:8.1} us, {speed:6.1} GFLOP/s",
                best.as_secs_f64() * 1e6
            );
        }
    }
}

/// The time of one gradient, averaged over enough of them to be measured.
fn measure(network: &Network, arithmetic: Arithmetic, batch: usize) -> Duration {
    let rows = Array2::from_shape_fn((batch, 784), |(i, j)| ((i * 97 + j * 31) % 256) as u8);
    let classes: Vec<u16> = (0..batch).map(|i| (i % 10) as u16).collect();
    let preprocessing = Preprocessing::uniform(784, 0.0, 1.0 / 255.0);
    let examples = Examples {
        features: Features { rows: Rows::U8(rows.view()), preprocessing: &preprocessing },
        targets: Targets::Classes(&classes),
    };
    let weights = network.initialise(1);
    let mut scratch = Scratch::new();
    let (mut gradient, mut losses) = (vec![0.0; network.parameters()], vec![0.0; batch]);
    let repetitions = (4096 / batch) as u32;
    let start = Instant::now();
    for _ in 0..repetitions {
        network.gradient(
            arithmetic,
            &mut scratch,
            &weights,
            &Pass::new(batch),
            &examples,
            &mut gradient,
            &mut losses,
        );
    }
    start.elapsed() / repetitions
}
