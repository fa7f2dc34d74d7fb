//! The number of threads changes no bit. Only long vectors are shared among threads.

use engine::optimizers::{Lbfgs, LbfgsSettings, Scalar};

use crate::problems::{answer, quadratic};

/// Five blocks, the last one short and not a multiple of any size in use.
const LONG: usize = 4 * 65_536 + 1237;

/// Enough that a memory of four also forgets pairs.
const ITERATIONS: u64 = 8;

#[test]
fn the_number_of_threads_changes_no_bit() {
    fn assert_same<T: Scalar>() {
        let alone = on_threads::<T>(1);
        for threads in [2, 3, 7] {
            assert!(on_threads::<T>(threads) == alone, "{threads} threads");
        }
    }
    assert_same::<f32>();
    assert_same::<f64>();
}

/// The weights after some iterations on this many threads.
fn on_threads<T: Scalar>(threads: usize) -> Vec<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    pool.install(|| {
        let problem = quadratic(2.0);
        let start: Vec<T> = (0..LONG).map(|i| T::from_f64((i as f64 * 0.37).sin())).collect();
        let mut optimizer = Lbfgs::new(start, LbfgsSettings { memory: 4, gradient_tolerance: None });
        while optimizer.iteration() < ITERATIONS {
            let reply = answer(&problem, optimizer.ask()).expect("not at the minimum yet");
            optimizer.tell(reply).expect("the answer matches the request");
        }
        optimizer.weights().to_vec()
    })
}
