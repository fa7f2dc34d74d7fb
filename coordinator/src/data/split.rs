//! The seeded split into a training and a test part.

use super::{Targets, random};

/// Draws a part of about `fraction` of the examples named by `rows` to hold back, and says of each row whether it is. The
/// draw is stratified: each class gives the same fraction, as nearly as whole examples allow (what rounding leaves over
/// carries on to the next class), and every class keeps at least one example to train on. Numbers are one stratum.
/// `purpose` names the stream of random numbers.
pub(super) fn split(targets: &Targets, rows: &[u32], fraction: f64, seed: u64, purpose: &str) -> Vec<bool> {
    let mut random = random::stream(seed, purpose);
    let mut is_held_back = vec![false; rows.len()];
    let mut seen = 0;
    let mut taken = 0;
    let (mut places, ends) = strata(targets, rows);
    let mut first = 0;
    for end in ends {
        let stratum = &mut places[first..end];
        first = end;
        seen += stratum.len();
        let wanted = ((seen as f64 * fraction).round() as usize).saturating_sub(taken);
        let given = wanted.min(stratum.len().saturating_sub(1));
        taken += given;
        random::shuffle(stratum, &mut random);
        for place in &stratum[..given] {
            is_held_back[*place as usize] = true;
        }
    }
    is_held_back
}

/// The places in `rows` of all examples, class after class, each in order, and where each class ends.
fn strata(targets: &Targets, rows: &[u32]) -> (Vec<u32>, Vec<usize>) {
    let Targets::Classes { ids, names } = targets else {
        return ((0..rows.len() as u32).collect(), vec![rows.len()]);
    };
    let class = |row: u32| usize::from(ids[row as usize]);
    let mut next = vec![0; names.len()];
    rows.iter().for_each(|&row| next[class(row)] += 1);
    let mut before = 0;
    for count in &mut next {
        before += std::mem::replace(count, before);
    }
    let mut places = vec![0; rows.len()];
    for (place, &row) in (0..).zip(rows) {
        let at = &mut next[class(row)];
        places[*at] = place;
        *at += 1;
    }
    (places, next)
}
