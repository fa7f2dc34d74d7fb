//! How fast L-BFGS makes a direction: `cargo bench --profile release -p coordinator --bench lbfgs`.
//!
//! The direction of [`Memory`] (two streaming passes) beside the textbook two-loop recursion and beside a probe of the
//! memory's bandwidth, all in one run: the same vectors and threads, the same vector instructions, sums in f64. The
//! rounds alternate between the three, so that a disturbance meets all; the best and the median time count.

#![allow(clippy::print_stdout, reason = "a program for people to read")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use coordinator::engine::optimisers::{CurvaturePair, Memory};
use model::{Vectorised, vectorise};
use rayon::prelude::*;

/// The second so long that even a single vector is several times larger than the caches.
const PARAMETERS: [usize; 2] = [10_000_000, 50_000_000];
const PAIRS: usize = 10;
const ROUNDS: usize = 5;

/// Bytes of f32 vectors that must be moved for a parameter, counting reads and writes but not that a cache may first
/// read what is then written over. First pass: every s, every y and the gradient. Second pass: these, and the direction.
const STREAMING_BYTES: usize = 4 * (2 * PAIRS + 1) + 4 * (2 * PAIRS + 2);

/// Copy of the gradient; in both loops for each pair a product (two vectors) and an update (two, and one written); scaling.
const TWO_LOOP_BYTES: usize = 4 * 2 + 2 * PAIRS * 4 * (2 + 3) + 4 * 2;

/// Elements that a thread of the probe and the two-loop recursion takes at a time.
const BLOCK: usize = 65_536;

const LANES: usize = 8;

fn main() {
    let all = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    for parameters in PARAMETERS {
        println!("{parameters} parameters, {PAIRS} pairs, f32; best (median) of {ROUNDS}");
        let pairs: Vec<_> = (0..PAIRS).map(|number| pair(parameters, number)).collect();
        let gradient = noise(parameters, 2 * PAIRS);
        for threads in [1, all] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| compare(threads, &pairs, &gradient));
        }
    }
}

fn compare(threads: usize, pairs: &[CurvaturePair<f32>], gradient: &[f32]) {
    let parameters = gradient.len();
    let mut memory = Memory::new(PAIRS);
    for pair in pairs {
        memory.direction(Some(pair.clone()), gradient);
    }
    let mut times = [const { Vec::new() }; 3];
    let (known, mut q) = (Known::of(pairs), vec![0.0; parameters]);
    for round in 0..ROUNDS {
        times[0].push(milliseconds(|| read(pairs)));
        // The oldest pair is the one that comes next: the newest of the same memory, turned by one.
        let newest = pairs[round % PAIRS].clone();
        times[1].push(milliseconds(|| memory.direction(Some(newest), gradient)));
        times[2].push(milliseconds(|| two_loop(pairs, &known, gradient, &mut q)));
    }
    check(pairs, gradient, &q);
    let [probe, streaming, two_loop] = times.map(best_and_median);
    let bandwidth = (parameters * 4 * 2 * PAIRS) as f64 / probe.0 / 1e6;
    println!(" threads: {threads}");
    println!("  probe (read and add):     {:6.1} ({:6.1}) ms = {bandwidth:.1} GB/s", probe.0, probe.1);
    for (name, (best, median), bytes) in [
        ("direction, two passes:   ", streaming, STREAMING_BYTES),
        ("direction, two-loop:     ", two_loop, TWO_LOOP_BYTES),
    ] {
        let ratio = best / ((parameters * bytes) as f64 / bandwidth / 1e6);
        println!(
            "  {name} {best:6.1} ({median:6.1}) ms, {bytes} bytes each: {ratio:.2} of the probe's time for them"
        );
    }
    let (best, median) = (two_loop.0 / streaming.0, two_loop.1 / streaming.1);
    println!("  two-loop / two passes:    {best:6.2} ({median:.2})");
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
fn pair(parameters: usize, number: usize) -> CurvaturePair<f32> {
    let (s, factors) = (noise(parameters, 2 * number), noise(parameters, 2 * number + 1));
    let y: Vec<f32> = s.par_iter().zip(&factors).map(|(s, factor)| s * (1.0 + factor)).collect();
    CurvaturePair { s: Arc::from(s), y: Arc::from(y) }
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

/// The probe: reads every vector once and does as little as possible with it.
fn read(pairs: &[CurvaturePair<f32>]) -> f32 {
    let vectors = pairs.iter().flat_map(|pair| [&pair.s, &pair.y]);
    vectors.map(|vector| vector.par_chunks(BLOCK).map(|block| vectorise(Add(block))).sum::<f32>()).sum()
}

/// s'y of every pair, and y'y of the newest. The two-loop recursion finds them ready, from when the pairs were made.
struct Known {
    sy: Vec<f64>,
    yy: f64,
}

impl Known {
    fn of(pairs: &[CurvaturePair<f32>]) -> Known {
        let newest = &pairs[pairs.len() - 1].y;
        Known { sy: pairs.iter().map(|pair| dot(&pair.s, &pair.y)).collect(), yy: dot(newest, newest) }
    }
}

/// Nocedal and Wright, Numerical Optimization, 2nd ed., Algorithm 7.4, one vector operation after another.
fn two_loop(pairs: &[CurvaturePair<f32>], known: &Known, gradient: &[f32], q: &mut [f32]) {
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
    blocks.map(|(a, b)| vectorise(Dot(a, b))).sum()
}

fn add_multiple(q: &mut [f32], factor: f64, x: &[f32]) {
    let blocks = q.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK));
    blocks.for_each(|(q, x)| vectorise(AddMultiple(q, factor, x)));
}

struct Add<'a>(&'a [f32]);

impl Vectorised for Add<'_> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        let mut sums = [0.0; 8 * LANES];
        for x in self.0.as_chunks::<{ 8 * LANES }>().0 {
            for lane in 0..sums.len() {
                sums[lane] += x[lane];
            }
        }
        sums.iter().sum()
    }
}

struct Dot<'a>(&'a [f32], &'a [f32]);

impl Vectorised for Dot<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let mut sums = [0.0; 2 * LANES];
        let (a, b) = (self.0.as_chunks::<{ 2 * LANES }>(), self.1.as_chunks::<{ 2 * LANES }>());
        for (a, b) in a.0.iter().zip(b.0) {
            for lane in 0..sums.len() {
                sums[lane] += f64::from(a[lane]) * f64::from(b[lane]);
            }
        }
        let rest = a.1.iter().zip(b.1).map(|(&a, &b)| f64::from(a) * f64::from(b));
        sums.iter().sum::<f64>() + rest.sum::<f64>()
    }
}

/// q += factor x, each element computed in f64 and rounded once.
struct AddMultiple<'a>(&'a mut [f32], f64, &'a [f32]);

impl Vectorised for AddMultiple<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (q, &x) in self.0.iter_mut().zip(self.2) {
            *q = (f64::from(*q) + self.1 * f64::from(x)) as f32;
        }
    }
}
