//! Learning rates: how a search finds one, and how it changes during a run.

use serde::{Deserialize, Serialize};

/// The first learning rate of a search.
const FIRST: f32 = 0.1;
/// The ratio of two neighboring rates of a search.
const FACTOR: f32 = 3.0;
/// Maximum trials of a search.
const TRIALS_MAX: usize = 8;
/// A rate whose loss is above this multiple of its lower neighbor's is far too high, so rates below the
/// neighbor are worth a trial.
const FAR_TOO_HIGH: f64 = 1.25;
/// The assumed position of the minimum on the grid between two rates with the same loss. (784-128-10 on
/// MNIST: the first round has nearly the same loss with 0.1 and with 0.3, but later rounds do better with
/// 0.15 than with 0.2.)
const NEARER_BELOW: f64 = 0.35;
/// The minimum factor of a schedule, so that a run that continues past the end of its schedule still moves.
const LEAST: f64 = 0.02;

/// A learning rate, or a request to find one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum LearningRate {
    /// Uses this rate, unless the loss shows that it is wrong.
    Given(f32),
    /// Finds the best of a few rates on a geometric grid, each tried in an ordinary round.
    Searched,
}

/// How the learning rate changes during the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Schedule {
    /// Stays the same.
    Constant,
    /// Falls linearly to a fiftieth.
    Linear {
        /// Number of iterations until it reaches the fiftieth.
        iterations: u64,
    },
    /// Falls to a fiftieth along half a period of the cosine (Loshchilov and Hutter, 2017, eq. 5).
    Cosine {
        /// Number of iterations until it reaches the fiftieth.
        iterations: u64,
    },
}

impl Schedule {
    /// The factor of the learning rate in the step after `iteration` accepted steps.
    pub(super) fn factor(self, iteration: u64) -> f64 {
        let passed = |iterations: u64| (iteration as f64 / iterations.max(1) as f64).min(1.0);
        match self {
            Self::Constant => 1.0,
            Self::Linear { iterations } => 1.0 - (1.0 - LEAST) * passed(iterations),
            Self::Cosine { iterations } => LEAST + (1.0 - LEAST) * half_cosine(passed(iterations)),
        }
    }
}

/// (1 + cos(pi x)) / 2 for x from 0 to 1, to within 1e-6 and with the same bits everywhere.
fn half_cosine(x: f64) -> f64 {
    // (1 - sin(pi (x - 1/2))) / 2 by the sine's Taylor series.
    let angle = std::f64::consts::PI * (x - 0.5);
    let square = angle * angle;
    let sine = (1..=6u32).rev().fold(1.0, |sum, n| 1.0 - square / f64::from(2 * n * (2 * n + 1)) * sum);
    0.5 - 0.5 * angle * sine
}

/// The search for a learning rate on a geometric grid. It compares the losses of rounds from the same point,
/// one round per rate. It climbs from the first rate while the loss falls, and looks below it only if the
/// next higher rate is far too high. Finally, it estimates where between the grid's rates the loss is lowest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Search {
    first: f32,
    tried: Vec<Trial>,
    /// The exponent of the rate on trial.
    next: i32,
}

/// One rate: `first` times [`FACTOR`] to the power of `exponent`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Trial {
    exponent: i32,
    /// The loss of the rate's round; infinity if it was not finite.
    loss: f64,
}

/// The result of a trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Verdict {
    /// The search goes on with another trial at [`Search::rate`].
    GoOn,
    /// The search is over and chose this rate.
    Chosen(f32),
    /// The search is over; no loss was finite.
    NoneFits,
}

impl Search {
    pub(super) fn new() -> Self {
        Self { first: FIRST, tried: Vec::new(), next: 0 }
    }

    /// A search downward from `rate`. `loss` is the loss of a round with `rate`, or infinity if the rate has
    /// proved too high.
    pub(super) fn below(rate: f32, loss: f64) -> Self {
        let above = Trial { exponent: 1, loss: f64::INFINITY };
        Self { first: rate, tried: vec![above, Trial { exponent: 0, loss }], next: -1 }
    }

    /// A search around `rate`, downward first. `loss` is the loss of a round with `rate`.
    pub(super) fn around(rate: f32, loss: f64) -> Self {
        Self { first: rate, tried: vec![Trial { exponent: 0, loss }], next: -1 }
    }

    /// A search upward from `rate`, which is too low. `loss` is the loss of a round with `rate`.
    pub(super) fn above(rate: f32, loss: f64) -> Self {
        let below = Trial { exponent: -1, loss: f64::INFINITY };
        Self { first: rate, tried: vec![below, Trial { exponent: 0, loss }], next: 1 }
    }

    /// The rate on trial.
    pub(super) fn rate(&self) -> f32 {
        let factor = if self.next < 0 { 1.0 / FACTOR } else { FACTOR };
        (0..self.next.unsigned_abs()).fold(self.first, |rate, _| rate * factor)
    }

    /// Whether `loss` would be the lowest so far.
    pub(super) fn is_best(&self, loss: f64) -> bool {
        loss.is_finite() && self.tried.iter().all(|trial| loss < trial.loss)
    }

    /// Takes the loss of the round with [`Search::rate`].
    pub(super) fn tell(&mut self, loss: f64) -> Verdict {
        let loss = if loss.is_finite() { loss } else { f64::INFINITY };
        self.tried.push(Trial { exponent: self.next, loss });
        let best = self.tried.iter().fold(self.tried[0], |best, trial| {
            // On a tie, the lower rate wins.
            if (trial.loss, trial.exponent) < (best.loss, best.exponent) { *trial } else { best }
        });
        let at = |exponent| self.tried.iter().find(|trial| trial.exponent == exponent);
        let (above, below) = (at(best.exponent + 1), at(best.exponent - 1));
        let next = match (above, below) {
            _ if self.tried.len() == TRIALS_MAX => None,
            _ if best.loss == f64::INFINITY => self.tried.iter().map(|trial| trial.exponent - 1).min(),
            (None, _) => Some(best.exponent + 1),
            (Some(above), None) if above.loss > FAR_TOO_HIGH * best.loss => Some(best.exponent - 1),
            _ => None,
        };
        if let Some(next) = next {
            self.next = next;
            return Verdict::GoOn;
        }
        if best.loss == f64::INFINITY {
            return Verdict::NoneFits;
        }
        let offset = lowest(below.map(|trial| trial.loss), best.loss, above.map(|trial| trial.loss));
        self.next = best.exponent;
        Verdict::Chosen((f64::from(self.rate()) * between(offset)) as f32)
    }
}

/// The position of the lowest loss near the best trial, as a distance on the grid: the vertex of the parabola
/// through the three losses. If no lower rate was tried, the minimum lies between the best trial and the next
/// higher one. The lower the loss of the higher rate, the nearer the minimum lies to that rate, but never
/// beyond the middle, because the loss rises steeply past the minimum.
fn lowest(below: Option<f64>, best: f64, above: Option<f64>) -> f64 {
    // An infinite or enormous loss only says that it is higher.
    let rise = |loss: f64| (loss - best).min(best.abs()).max(0.0);
    let offset = match (below.map(rise), above.map(rise)) {
        (Some(below), Some(above)) if below + above > 0.0 => 0.5 * (below - above) / (below + above),
        (None, Some(above)) if best > 0.0 => {
            let rise = above / ((FAR_TOO_HIGH - 1.0) * best);
            NEARER_BELOW * (1.0 - rise * rise)
        }
        _ => 0.0,
    };
    offset.clamp(-0.5, 0.5)
}

/// [`FACTOR`] to the power of `offset`, approximately.
fn between(offset: f64) -> f64 {
    let factor = 1.0 + 2.0 * offset.abs() * (f64::from(FACTOR).sqrt() - 1.0);
    if offset < 0.0 { 1.0 / factor } else { factor }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learning_rates_fall_from_one_to_a_fiftieth_and_stay_there() {
        for schedule in [Schedule::Linear { iterations: 40 }, Schedule::Cosine { iterations: 40 }] {
            let factors: Vec<f64> = (0..50).map(|iteration| schedule.factor(iteration)).collect();
            assert!(factors.windows(2).all(|pair| pair[1] <= pair[0]), "{schedule:?}");
            assert!((factors[0] - 1.0).abs() < 1e-6 && (factors[20] - 0.51).abs() < 1e-6, "{schedule:?}");
            assert!(factors[40..].iter().all(|factor| (factor - LEAST).abs() < 1e-6), "{schedule:?}");
        }
    }

    #[test]
    fn the_cosine_is_one() {
        for step in 0..=100 {
            let x = f64::from(step) / 100.0;
            let exact = 0.5 + 0.5 * (std::f64::consts::PI * x).cos();
            assert!((half_cosine(x) - exact).abs() < 1e-6, "at {x}");
        }
    }

    /// Returns the rates tried and the verdict.
    fn search(mut search: Search, loss: impl Fn(f64) -> f64) -> (Vec<f32>, Verdict) {
        let mut tried = Vec::new();
        loop {
            tried.push(search.rate());
            match search.tell(loss(search.rate().into())) {
                Verdict::GoOn => {}
                verdict => return (tried, verdict),
            }
        }
    }

    /// A loss that is lowest at `best` and rises by 1 for each factor of ten on either side.
    fn valley(best: f64) -> impl Fn(f64) -> f64 {
        move |rate| 0.5 + (rate / best).log10().powi(2)
    }

    #[test]
    fn a_search_finds_the_valley_wherever_it_is() {
        for best in [1e-3, 0.01, 0.05, 0.1, 0.2, 0.5, 3.0, 20.0] {
            let (tried, verdict) = search(Search::new(), valley(best));
            let Verdict::Chosen(rate) = verdict else { panic!("nothing was chosen for {best}") };
            let miss = (f64::from(rate) / best).log10().abs();
            assert!(miss < 0.2, "{rate} for {best}");
            assert!(tried.len() <= TRIALS_MAX);
        }
    }

    #[test]
    fn one_trial_more_is_enough_where_the_first_rate_is_good() {
        let (tried, _) = search(Search::new(), valley(0.17));
        assert_eq!(tried.len(), 2);
    }

    #[test]
    fn a_search_leaves_rates_that_give_no_finite_loss() {
        let cliff = |rate: f64| if rate > 0.02 { f64::NAN } else { valley(0.1)(rate) };
        let (_, verdict) = search(Search::new(), cliff);
        let Verdict::Chosen(rate) = verdict else { panic!("nothing was chosen") };
        assert!(rate < 0.02);
        assert_eq!(search(Search::new(), |_| f64::NAN).1, Verdict::NoneFits);
    }

    #[test]
    fn a_search_below_a_rate_never_comes_back_to_it() {
        for loss in [f64::INFINITY, valley(0.2)(1.0)] {
            let (tried, verdict) = search(Search::below(1.0, loss), valley(0.2));
            assert!(tried.iter().all(|rate| *rate < 0.5), "{tried:?}");
            let Verdict::Chosen(rate) = verdict else { panic!("nothing was chosen") };
            assert!((0.1..0.4).contains(&rate), "{rate}");
        }
    }

    #[test]
    fn a_search_above_a_rate_never_goes_below_it() {
        for best in [0.1, 0.5, 3.0] {
            let (tried, verdict) = search(Search::above(0.05, valley(best)(0.05)), valley(best));
            let Verdict::Chosen(rate) = verdict else { panic!("nothing was chosen") };
            assert!(tried.iter().all(|rate| *rate > 0.1), "{tried:?}");
            let miss = (f64::from(rate) / best).log10().abs();
            assert!(miss < 0.25, "{rate} for {best}");
        }
        // The rate was already as high as possible.
        let (tried, verdict) = search(Search::above(0.05, valley(0.05)(0.05)), |_| f64::NAN);
        assert_eq!((tried.len(), verdict), (1, Verdict::Chosen(0.05)));
    }

    #[test]
    fn a_search_around_a_rate_finds_the_valley_on_either_side() {
        for best in [0.005, 0.02, 0.05, 0.2, 2.0] {
            let (tried, verdict) = search(Search::around(0.05, valley(best)(0.05)), valley(best));
            let Verdict::Chosen(rate) = verdict else { panic!("nothing was chosen") };
            let miss = (f64::from(rate) / best).log10().abs();
            assert!(miss < 0.25, "{rate} for {best} after {tried:?}");
        }
    }

    #[test]
    fn a_search_downwards_keeps_a_rate_that_was_too_low_already() {
        let (tried, verdict) = search(Search::below(1e-3, valley(0.1)(1e-3)), valley(0.1));
        assert_eq!(tried.len(), 1);
        let Verdict::Chosen(rate) = verdict else { panic!("nothing was chosen") };
        assert!((5e-4..=1e-3).contains(&rate), "{rate}");
    }
}
