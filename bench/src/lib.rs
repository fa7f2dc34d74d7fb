//! The computations of the benchmark, the same natively and in a browser: [`CASES`], and the roof to compare
//! them with.
//!
//! A [`Bench`] is one case on one core, ready to run. A caller with a clock calls [`Bench::run`] and divides.
//! The caller also chooses the number of cores and computes the statistics (`web/bench/` in a browser,
//! `coordinator/src/bench/` natively).

#![forbid(unsafe_code)]

mod case;
mod examples;

use model::{
    Arithmetic, GradientResults, LocalResults, LocalSteps, Network, NetworkSpec, Pass, Preprocessing,
    Scratch, Task,
};
use protocol::DecodeError;
use protocol::shard::Shard;

pub use case::{CASES, Case, Kind, ROOF};
pub use examples::{CLASSES, Data, FEATURES, MNIST_EXAMPLES, operations};

/// The seed of the initial weights.
const SEED: u64 = 1;
/// The learning rate, small enough that no weight grows without bound, whatever the labels.
const LEARNING_RATE: f32 = 1e-3;
/// Local steps after which the weights start over, as a replica's do.
const LOCAL_STEPS: usize = 256;

/// A case on one core, ready to run.
#[derive(Debug)]
pub struct Bench(Work);

#[derive(Debug)]
enum Work {
    Roof { arithmetic: Arithmetic, many: bool },
    Gradient(Box<Training>),
    Local(Box<Training>),
}

#[derive(Debug)]
struct Training {
    arithmetic: Arithmetic,
    network: Network,
    minibatch: usize,
    pool: Shard,
    preprocessing: Preprocessing,
    /// The index of the pool's example with which the next step begins.
    next: usize,
    weights: Vec<f32>,
    /// The gradient, or the weights that local steps change.
    vector: Vec<f32>,
    losses: Vec<f32>,
    scratch: Scratch,
}

impl Bench {
    /// Prepares a case. `mnist` is an encoded shard of MNIST's training examples; cases on [`Data::Mnist`]
    /// need [`MNIST_EXAMPLES`] of them.
    ///
    /// # Errors
    /// If the bytes are not such a shard, or it is smaller than a minibatch.
    pub fn new(case: &Case, arithmetic: Arithmetic, mnist: &[u8]) -> Result<Bench, DecodeError> {
        let training = |network: &str, minibatch: usize, data| -> Result<Box<Training>, DecodeError> {
            let pool = examples::pool(data, mnist)?;
            if pool.examples() < minibatch {
                return Err(DecodeError::Truncated);
            }
            // The cases' networks are valid. This form of the error is in a volunteer's worker anyway.
            let network = NetworkSpec::from_shorthand(network)
                .and_then(|spec| Network::new(&spec, FEATURES, Task::Classes(CLASSES)))
                .unwrap_or_else(|error| panic!("{error}"));
            let weights = network.initialize(SEED);
            Ok(Box::new(Training {
                arithmetic,
                minibatch,
                pool,
                preprocessing: examples::preprocessing(data),
                next: 0,
                vector: weights.clone(),
                weights,
                losses: vec![0.0; minibatch * LOCAL_STEPS],
                scratch: Scratch::new(),
                network,
            }))
        };
        Ok(Bench(match case.kind {
            Kind::Roof { many } => Work::Roof { arithmetic, many },
            Kind::Gradient { network, batch, data } => Work::Gradient(training(network, batch, data)?),
            Kind::Local { network, minibatch, data } => Work::Local(training(network, minibatch, data)?),
        }))
    }

    /// Takes `steps` steps of the case. Returns the number of floating-point operations that they count for.
    pub fn run(&mut self, steps: u32) -> f64 {
        match &mut self.0 {
            Work::Roof { arithmetic, many } => {
                /// The rounds of one step of a roof. A single round would be too short to measure.
                const ROUNDS: u32 = 1000;
                model::multiply_adds(*arithmetic, *many, steps.saturating_mul(ROUNDS)) as f64
            }
            Work::Gradient(training) => {
                (0..steps).for_each(|_| training.gradient());
                training.operations(steps)
            }
            Work::Local(training) => {
                training.local_steps(steps as usize);
                training.operations(steps)
            }
        }
    }
}

impl Training {
    /// Loss and gradient of the next minibatch.
    fn gradient(&mut self) {
        let Training { arithmetic, network, minibatch, pool, preprocessing, scratch, .. } = self;
        if self.next + *minibatch > pool.examples() {
            self.next = 0;
        }
        let examples = pool.slice(self.next..self.next + *minibatch, preprocessing);
        let examples = examples.expect("the range is within the pool");
        self.next += *minibatch;
        self.vector.fill(0.0);
        let losses = &mut self.losses[..*minibatch];
        let pass = Pass::new(*minibatch);
        network.gradient(
            *arithmetic,
            scratch,
            &self.weights,
            &pass,
            &examples,
            GradientResults { gradient: &mut self.vector, losses },
        );
    }

    /// Takes minibatch steps in place, going through the pool repeatedly.
    fn local_steps(&mut self, steps: usize) {
        let Training { arithmetic, network, minibatch, pool, preprocessing, scratch, .. } = self;
        let examples = pool.slice(0..pool.examples(), preprocessing).expect("the range is the whole pool");
        let mut remaining = steps;
        while remaining > 0 {
            let now = remaining.min(LOCAL_STEPS);
            remaining -= now;
            let order = examples::order(self.next, now * *minibatch, pool.examples());
            self.next = (self.next + order.len()) % pool.examples();
            let steps = LocalSteps {
                order: &order,
                minibatch: *minibatch,
                learning_rate: LEARNING_RATE,
                pass: Pass::new(*minibatch),
            };
            self.vector.copy_from_slice(&self.weights);
            let (weights, losses) = (&mut self.vector, &mut self.losses[..order.len()]);
            // The cases' networks keep no statistics.
            network.local_steps(
                *arithmetic,
                scratch,
                weights,
                &steps,
                &[examples],
                LocalResults { losses, statistics: &mut [] },
            );
        }
    }

    fn operations(&self, steps: u32) -> f64 {
        f64::from(steps) * self.minibatch as f64 * operations(&self.network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs_and_counts_its_steps() {
        let mnist = examples::encode(vec![7u8; 40 * FEATURES], &[3; 40]);
        for case in CASES.iter().chain(&ROOF) {
            for arithmetic in Arithmetic::ALL {
                let mut bench = Bench::new(case, arithmetic, &mnist).unwrap();
                let one = bench.run(1);
                assert!(one > 0.0, "{}", case.name);
                assert_eq!(bench.run(3), 3.0 * one, "{}", case.name);
            }
        }
    }

    #[test]
    fn a_shard_that_is_none_or_too_small_is_refused() {
        let case = Case::named("mlp-784-256-128-10/10-mnist").unwrap();
        let small = examples::encode(vec![7u8; 9 * FEATURES], &[3; 9]);
        for shard in [&b""[..], b"SHRD", &small] {
            assert!(Bench::new(case, Arithmetic::Portable, shard).is_err());
        }
    }
}
