//! The seeded split into a training and a test part.

use std::iter;

use super::{TargetColumn, random};

/// Row numbers of the two parts, each in file order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) train: Vec<usize>,
    pub(super) test: Vec<usize>,
}

/// Draws a test part of about `fraction` of the examples. It is stratified: each class gives the same fraction, as
/// nearly as whole examples allow (what rounding leaves over carries on to the next class), and every class keeps at
/// least one example to train on. Numbers are one stratum.
pub(super) fn split(targets: &TargetColumn, fraction: f64, seed: u64) -> Split {
    let mut random = random::stream(seed, "split");
    let mut in_test = vec![false; targets.len()];
    let mut seen = 0;
    let mut taken = 0;
    for mut stratum in strata(targets) {
        seen += stratum.len();
        let wanted = ((seen as f64 * fraction).round() as usize).saturating_sub(taken);
        let given = wanted.min(stratum.len().saturating_sub(1));
        taken += given;
        random::shuffle(&mut stratum, &mut random);
        for row in &stratum[..given] {
            in_test[*row] = true;
        }
    }
    let (test, train) = (0..targets.len()).partition(|&row| in_test[row]);
    Split { train, test }
}

fn strata(targets: &TargetColumn) -> Vec<Vec<usize>> {
    match targets {
        TargetColumn::Numbers { .. } => vec![(0..targets.len()).collect()],
        TargetColumn::Classes { ids, names } => {
            let mut strata: Vec<Vec<usize>> = iter::repeat_with(Vec::new).take(names.len()).collect();
            for (row, &id) in ids.iter().enumerate() {
                strata[usize::from(id)].push(row);
            }
            strata
        }
    }
}
