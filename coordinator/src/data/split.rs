//! The seeded split into a training and a test part.

use std::iter;

use super::{Targets, random};

/// Row numbers of the two parts, each in file order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// To train on.
    pub(super) kept: Vec<usize>,
    pub(super) held_back: Vec<usize>,
}

/// Draws a part of about `fraction` of the examples to hold back. It is stratified: each class gives the same fraction,
/// as nearly as whole examples allow (what rounding leaves over carries on to the next class), and every class keeps at
/// least one example to train on. Numbers are one stratum. `purpose` names the stream of random numbers.
pub(super) fn split(targets: &Targets, fraction: f64, seed: u64, purpose: &str) -> Split {
    let mut random = random::stream(seed, purpose);
    let mut is_held_back = vec![false; targets.len()];
    let mut seen = 0;
    let mut taken = 0;
    for mut stratum in strata(targets) {
        seen += stratum.len();
        let wanted = ((seen as f64 * fraction).round() as usize).saturating_sub(taken);
        let given = wanted.min(stratum.len().saturating_sub(1));
        taken += given;
        random::shuffle(&mut stratum, &mut random);
        for row in &stratum[..given] {
            is_held_back[*row] = true;
        }
    }
    let (held_back, kept) = (0..targets.len()).partition(|&row| is_held_back[row]);
    Split { kept, held_back }
}

fn strata(targets: &Targets) -> Vec<Vec<usize>> {
    match targets {
        Targets::Numbers { .. } => vec![(0..targets.len()).collect()],
        Targets::Classes { ids, names } => {
            let mut strata: Vec<Vec<usize>> = iter::repeat_with(Vec::new).take(names.len()).collect();
            for (row, &id) in ids.iter().enumerate() {
                strata[usize::from(id)].push(row);
            }
            strata
        }
    }
}
