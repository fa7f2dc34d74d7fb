//! The predicted memory of a computation, compared with its allocations.

use dhat::{Alloc, HeapStats, Profiler};
use model::{
    Arithmetic, Examples, Features, GradientResults, LocalResults, LocalSteps, Network, NetworkSpec,
    NonZeros, Pass, Preprocessing, Rows, Scratch, Targets, Task,
};
use ndarray::ArrayView2;

#[global_allocator]
static ALLOCATOR: Alloc = Alloc;

const MINIBATCH: usize = 12;

const NETWORKS: [(&str, usize); 4] = [
    (r#"{"layers": [{"kind": "dense", "units": 9000}]}"#, 50),
    (r#"{"layers": [{"kind": "dense", "units": 300}, {"kind": "dense", "units": 400}]}"#, 200),
    (
        r#"{"input": [1, 28, 28], "layers": [
        {"kind": "conv2d", "channels": 8, "kernel": 5, "padding": "same"}, {"kind": "max-pool", "size": 2},
        {"kind": "conv2d", "channels": 16, "kernel": 5, "padding": "same"}, {"kind": "max-pool", "size": 2},
        {"kind": "flatten"}]}"#,
        784,
    ),
    (
        r#"{"input": [1, 12, 12], "layers": [
        {"kind": "residual", "shortcut": "projection", "layers": [{"kind": "conv2d", "channels": 6, "kernel": 3, "padding": "same"},
        {"kind": "batch-norm"}]}, {"kind": "flatten"}, {"kind": "dropout", "rate": 0.5}]}"#,
        144,
    ),
];

/// A single test, because the allocator counts for the whole process.
#[test]
fn scratch_is_bounded_whatever_the_number_of_examples() {
    for (json, features) in NETWORKS {
        let network =
            Network::new(&NetworkSpec::from_json(json).unwrap(), features, Task::Classes(10)).unwrap();
        let stated = network.scratch_bytes(MINIBATCH);
        for examples in [2 * MINIBATCH, 300, 600] {
            let measured = measure(&network, examples);
            assert!(measured <= stated, "{json}: {measured} bytes of at most {stated}");
            // The bound is not tight, because some of it is for products that only some shapes need.
            let full = examples >= 300;
            assert!(!full || stated <= 4 * measured, "{json}: {measured} bytes are far from {stated}");
        }
    }
}

/// The peak of the allocated bytes during a gradient and local steps.
fn measure(network: &Network, examples: usize) -> u64 {
    let features = network.features();
    let rows: Vec<u8> =
        (0..examples * features).map(|i| if i % 2 == 0 { 0 } else { (i * 37 % 251) as u8 }).collect();
    let classes: Vec<u16> = (0..examples).map(|i| (i % 10) as u16).collect();
    let preprocessing = Preprocessing::uniform(features, 0.0, 1.0 / 255.0);
    let rows = Rows::U8(ArrayView2::from_shape((examples, features), &rows).unwrap());
    let nonzeros = NonZeros::of(&rows, &preprocessing).expect("half of the inputs are zero");
    let data = Examples {
        features: Features {
            nonzeros: Some(nonzeros.rows(0..examples)),
            ..Features::new(rows, &preprocessing)
        },
        targets: Targets::Classes(&classes),
    };
    let mut weights = network.initialize(1);
    let (mut gradient, mut losses) = (vec![0.0; network.parameters()], vec![0.0; examples]);
    let order: Vec<u32> = (0..2 * MINIBATCH as u32).collect();
    let pass = Pass::new(MINIBATCH);
    let steps = LocalSteps { order: &order, minibatch: MINIBATCH, learning_rate: 0.01, pass };

    let profiler = Profiler::builder().testing().build();
    let mut scratch = Scratch::new();
    let portable = Arithmetic::Portable;
    network.gradient(
        portable,
        &mut scratch,
        &weights,
        &pass,
        &data,
        GradientResults { gradient: &mut gradient, losses: &mut losses },
    );
    network.evaluate(portable, &mut scratch, &weights, &data, &mut losses);
    let losses = &mut losses[..order.len()];
    let statistics = &mut vec![0.0; network.parameters() - network.trainable()];
    network.local_steps(
        portable,
        &mut scratch,
        &mut weights,
        &steps,
        &[data],
        LocalResults { losses, statistics },
    );
    let peak = HeapStats::get().max_bytes;
    drop(profiler);
    peak as u64
}
