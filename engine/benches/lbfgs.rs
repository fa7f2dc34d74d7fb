//! The time that L-BFGS takes for a direction: `cargo bench --profile release -p engine --bench lbfgs`.
//!
//! It compares the direction of [`Memory`] (two streaming passes) with the textbook two-loop recursion and
//! with two probes of the memory's bandwidth, all in one run: the same values and threads, the same vector
//! instructions, sums in f64. The rounds alternate between them, so that a disturbance affects all of them.
//! The best and the median time are printed.
//!
//! Both directions begin with a new pair in memory. The two passes compute its products with all other pairs;
//! the two-loop recursion is given s'y and y'y of every pair, including the new one.
//!
//! Finally, it times everything that the optimizer computes in an iteration: the curvature pair of the last
//! step, the direction and the next point.

#![allow(clippy::print_stdout, reason = "a program for people to read")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures time, on all cores")]

use std::hint::black_box;
use std::time::Instant;

use engine::optimizers::{Ask, CurvaturePair, Lbfgs, LbfgsSettings, Memory, Tell};
use model::{Vectorized, trial_point, vectorize};
use rayon::prelude::*;

/// At the second size, even a single vector is several times larger than the caches.
const PARAMETERS: [usize; 2] = [10_000_000, 25_000_000];
const PAIRS: usize = 10;
const ROUNDS: usize = 5;

/// Bytes of f32 vectors that must be moved per parameter. Reads and writes count, but not the reads by which
/// a cache may fetch memory before it is overwritten. First pass: every s, every y and the gradient. Second
/// pass: the same, and the direction.
const STREAMING_BYTES: usize = 4 * (2 * PAIRS + 1) + 4 * (2 * PAIRS + 2);

/// A copy of the gradient; in both loops, a product (two vectors read) and an update (two read, one written)
/// for each pair; the scaling.
const TWO_LOOP_BYTES: usize = 4 * 2 + 2 * PAIRS * 4 * (2 + 3) + 4 * 2;

/// Elements of one task of a thread, in the probe and in the two-loop recursion.
const BLOCK: usize = 65_536;

const LANES: usize = 8;

/// The pairs of the two-loop recursion, with s and y each in one piece.
struct Plain {
    s: Vec<f32>,
    y: Vec<f32>,
}

fn main() {
    let all = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    for parameters in PARAMETERS {
        println!("{parameters} parameters, {PAIRS} pairs, f32; best (median) of {ROUNDS}");
        let plain: Vec<_> = (0..PAIRS).map(|number| pair(parameters, number)).collect();
        let pairs: Vec<_> = plain.iter().map(|pair| CurvaturePair::new(&pair.s, &pair.y)).collect();
        let gradient = noise(parameters, 2 * PAIRS);
        for threads in [1, all] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| compare(threads, &plain, &pairs, &gradient));
        }
    }
    println!(
        "{} parameters, {PAIRS} pairs, f32: all that the optimizer computes in an iteration",
        PARAMETERS[0]
    );
    for threads in [1, all] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let (best, median) = best_and_median(pool.install(|| iterations(PARAMETERS[0])));
        println!(" threads: {threads}: {best:.1} ({median:.1}) ms");
    }
}

/// Times of iterations with a full memory on the sum of a_i x_i^2 / 2, excluding the gradient.
fn iterations(parameters: usize) -> Vec<f64> {
    let curvatures: Vec<f32> =
        noise(parameters, 0).into_par_iter().map(|x| 10f32.powf(4.0 * x - 2.0)).collect();
    let gradient =
        |point: &[f32]| point.par_iter().zip(&curvatures).map(|(x, a)| a * x).collect::<Vec<f32>>();
    let loss = |point: &[f32]| dot(point, &gradient(point)) / 2.0;
    let mut optimizer =
        Lbfgs::new(noise(parameters, 1), LbfgsSettings { memory: PAIRS, gradient_tolerance: None });
    let mut times = Vec::new();
    while times.len() <= ROUNDS {
        let answer = match optimizer.ask() {
            Ask::Gradient { point, .. } => {
                Tell::Gradient { loss: loss(&point), gradient: gradient(&point).into() }
            }
            Ask::Losses { base, direction, steps, .. } => {
                let point = |step: f32| trial_point(&base, &direction, step).collect::<Vec<f32>>();
                Tell::Losses(steps.iter().map(|&step| loss(&point(step))).collect())
            }
            ask => panic!("neither local steps nor the end: {ask:?}"),
        };
        let mut accepted = None;
        let time = milliseconds(|| {
            accepted = optimizer.tell(answer).expect("the answer matches the request").accepted
        });
        if accepted.is_some_and(|accepted| accepted.memory == PAIRS && !accepted.backtracked) {
            times.push(time);
        }
    }
    times.split_off(1)
}

fn compare(threads: usize, plain: &[Plain], pairs: &[CurvaturePair<f32>], gradient: &[f32]) {
    let parameters = gradient.len();
    let mut memory = Memory::new(PAIRS);
    for pair in pairs {
        memory.direction(Some(pair.clone()), gradient);
    }
    let mut times = [const { Vec::new() }; 4];
    let (known, mut q) = (Known::of(plain), vec![0.0; parameters]);
    for round in 0..ROUNDS {
        times[0].push(milliseconds(|| read::<1>(plain)));
        times[1].push(milliseconds(|| read::<4>(plain)));
        // The next pair is the oldest of the memory: the same memory, rotated by one.
        let newest = pairs[round % PAIRS].clone();
        times[2].push(milliseconds(|| memory.direction(Some(newest), gradient)));
        times[3].push(milliseconds(|| two_loop(plain, &known, gradient, &mut q)));
    }
    check(pairs, gradient, &q);
    let [one, four, streaming, two_loop] = times.map(best_and_median);
    println!(" threads: {threads}");
    let bandwidths = [("one vector", one), ("four vectors", four)].map(|(name, (best, median))| {
        let bandwidth = (parameters * 4 * 2 * PAIRS) as f64 / best / 1e6;
        println!("  probe, {name:12} at a time: {best:6.1} ({median:6.1}) ms = {bandwidth:.1} GB/s");
        bandwidth
    });
    let bandwidth = bandwidths[0].max(bandwidths[1]);
    for (name, (best, median), bytes) in
        [("two passes", streaming, STREAMING_BYTES), ("two-loop", two_loop, TWO_LOOP_BYTES)]
    {
        let ratio = best / ((parameters * bytes) as f64 / bandwidth / 1e6);
        println!(
            "  direction, {name:10}:            {best:6.1} ({median:6.1}) ms, {bytes} bytes each: {ratio:.2} of the \
             faster probe's time for them"
        );
    }
    let (best, median) = (two_loop.0 / streaming.0, two_loop.1 / streaming.1);
    println!("  two-loop / two passes:            {best:6.2} ({median:6.2})");
}

/// The two ways must agree, or they are not worth comparing.
fn check(pairs: &[CurvaturePair<f32>], gradient: &[f32], two_loop: &[f32]) {
    let mut memory = Memory::new(PAIRS);
    let direction = pairs.iter().map(|pair| memory.direction(Some(pair.clone()), gradient).vector).last();
    let direction = direction.expect("at least one pair");
    let (mut miss, mut size) = (0.0, 0.0);
    for (&a, &b) in direction.iter().zip(two_loop) {
        miss += f64::from(a - b).powi(2);
        size += f64::from(b).powi(2);
    }
    assert!(miss.sqrt() < 1e-5 * size.sqrt(), "the two ways to the direction differ");
}

fn milliseconds<R>(work: impl FnOnce() -> R) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_secs_f64() * 1e3
}

fn best_and_median(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2])
}

/// y is s times something positive that varies, so that s'y > 0.
fn pair(parameters: usize, number: usize) -> Plain {
    let (s, factors) = (noise(parameters, 2 * number), noise(parameters, 2 * number + 1));
    let y = s.par_iter().zip(&factors).map(|(s, factor)| s * (1.0 + factor)).collect();
    Plain { s, y }
}

/// Numbers between -0.5 and 0.5 without a pattern.
fn noise(parameters: usize, seed: usize) -> Vec<f32> {
    let number = |index: usize| {
        let mut bits = (index + seed * parameters) as u64;
        for multiplier in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
            bits = (bits ^ (bits >> 33)).wrapping_mul(multiplier);
        }
        (bits >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..parameters).into_par_iter().map(number).collect()
}

/// The probe: reads every vector once, V at a time, and does as little as possible with them.
fn read<const V: usize>(pairs: &[Plain]) -> u32 {
    let vectors: Vec<&[f32]> = pairs.iter().flat_map(|pair| [&pair.s[..], &pair.y[..]]).collect();
    let blocks = (0..vectors[0].len()).into_par_iter().step_by(BLOCK);
    let sum = |start: usize| {
        let block = start..vectors[0].len().min(start + BLOCK);
        let together = vectors.as_chunks::<V>().0.iter();
        together
            .map(|vectors| vectorize(Add(vectors.map(|vector| &vector[block.clone()]))))
            .fold(0, u32::wrapping_add)
    };
    blocks.map(sum).reduce(|| 0, u32::wrapping_add)
}

/// s'y of every pair, and y'y of the newest. The two-loop recursion finds them ready, from when the pairs
/// were made.
struct Known {
    sy: Vec<f64>,
    yy: f64,
}

impl Known {
    fn of(pairs: &[Plain]) -> Known {
        let newest = &pairs[pairs.len() - 1].y;
        Known { sy: pairs.iter().map(|pair| dot(&pair.s, &pair.y)).collect(), yy: dot(newest, newest) }
    }
}

/// Nocedal and Wright, Numerical Optimization, 2nd ed., Algorithm 7.4, one vector operation after another.
fn two_loop(pairs: &[Plain], known: &Known, gradient: &[f32], q: &mut [f32]) {
    q.par_chunks_mut(BLOCK).zip(gradient.par_chunks(BLOCK)).for_each(|(q, g)| negate(q, g));
    let mut alphas = vec![0.0; pairs.len()];
    for (i, pair) in pairs.iter().enumerate().rev() {
        alphas[i] = dot(&pair.s, q) / known.sy[i];
        add_multiple(q, -alphas[i], &pair.y);
    }
    let gamma = (known.sy[pairs.len() - 1] / known.yy) as f32;
    q.par_chunks_mut(BLOCK).for_each(|q| q.iter_mut().for_each(|q| *q *= gamma));
    for (i, pair) in pairs.iter().enumerate() {
        let beta = dot(&pair.y, q) / known.sy[i];
        add_multiple(q, alphas[i] - beta, &pair.s);
    }
}

fn negate(q: &mut [f32], gradient: &[f32]) {
    q.iter_mut().zip(gradient).for_each(|(q, g)| *q = -g);
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let blocks = a.par_chunks(BLOCK).zip(b.par_chunks(BLOCK));
    blocks.map(|(a, b)| vectorize(Dot(a, b))).sum()
}

fn add_multiple(q: &mut [f32], factor: f64, x: &[f32]) {
    let blocks = q.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK));
    blocks.for_each(|(q, x)| vectorize(AddMultiple(q, factor, x)));
}

/// Adds the bits up as integers, which the compiler may do in any order.
struct Add<'a, const V: usize>([&'a [f32]; V]);

impl<const V: usize> Vectorized for Add<'_, V> {
    type Output = u32;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> u32 {
        let vectors = self.0.map(|vector| &vector[..self.0[0].len()]);
        let sum = |sum: u32, k: usize| {
            vectors.iter().fold(sum, |sum, vector| sum.wrapping_add(vector[k].to_bits()))
        };
        (0..self.0[0].len()).fold(0, sum)
    }
}

/// a b + c. As f64 holds a product of two f32 exactly, fused or not makes no difference to a dot product.
#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

struct Dot<'a>(&'a [f32], &'a [f32]);

impl Vectorized for Dot<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f64 {
        let mut sums = [0.0; 2 * LANES];
        let (a, b) = (self.0.as_chunks::<{ 2 * LANES }>(), self.1.as_chunks::<{ 2 * LANES }>());
        for (a, b) in a.0.iter().zip(b.0) {
            for lane in 0..sums.len() {
                sums[lane] = multiply_add::<FUSED>(f64::from(a[lane]), f64::from(b[lane]), sums[lane]);
            }
        }
        let rest = a.1.iter().zip(b.1).map(|(&a, &b)| f64::from(a) * f64::from(b));
        sums.iter().sum::<f64>() + rest.sum::<f64>()
    }
}

/// q += factor x, each element computed in f64 and rounded to f32.
struct AddMultiple<'a>(&'a mut [f32], f64, &'a [f32]);

impl Vectorized for AddMultiple<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for (q, &x) in self.0.iter_mut().zip(self.2) {
            *q = multiply_add::<FUSED>(self.1, f64::from(x), f64::from(*q)) as f32;
        }
    }
}
