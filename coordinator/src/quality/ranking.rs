//! The area under the curve of true positives over false positives (ROC).

/// One example: its score, and whether it belongs to the class.
pub(super) type Scored = (f32, bool);

/// An area under a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    /// The share of pairs of an example of the class and one that is not in which the former has the higher score;
    /// equal scores count half (Mann and Whitney, 1947). It is counted in integers, so it is exact up to the last
    /// division.
    pub(super) share: f64,
    /// What pairs of equal scores contribute to it.
    pub(super) of_equal: f64,
}

/// The area of these scores. `None` if there is no such pair. The order of `scored` changes.
pub(super) fn area_under_roc(scored: &mut [Scored]) -> Option<Area> {
    scored.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    area_of(scored.chunk_by(|one, other| one.0 == other.0).map(|equal| {
        let inside = equal.iter().filter(|(_, is_in)| *is_in).count();
        (equal.len() - inside, inside)
    }))
}

/// The area of scores that are known in steps: for each, from the lowest on, how many examples are not of the class, and
/// how many are.
pub(super) fn area_of(steps: impl Iterator<Item = (usize, usize)>) -> Option<Area> {
    // Twice the pairs, so that a half is an integer.
    let (mut won, mut equal, mut below) = (0_u128, 0_u128, 0_u128);
    let mut positives = 0_u128;
    for (outside, inside) in steps {
        let (outside, inside) = (outside as u128, inside as u128);
        won += inside * (2 * below + outside);
        equal += inside * outside;
        below += outside;
        positives += inside;
    }
    let pairs = positives * below;
    let share = |twice: u128| twice as f64 / (2 * pairs) as f64;
    (pairs > 0).then(|| Area { share: share(won), of_equal: share(equal) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_in_order_are_counted_and_ties_count_half() {
        let area = |scored: &[Scored]| area_under_roc(&mut scored.to_vec()).map(|area| area.share);
        assert_eq!(area(&[(0.1, false), (0.4, false), (0.35, true), (0.8, true)]), Some(0.75));
        assert_eq!(area(&[(0.5, true), (0.5, false)]), Some(0.5));
        assert_eq!(area(&[(0.9, true), (0.1, false)]), Some(1.0));
        assert_eq!(area(&[(0.9, true)]), None);
        assert_eq!(area(&[]), None);
    }

    #[test]
    fn the_area_in_steps_is_off_by_no_more_than_what_equal_scores_contribute() {
        let scored: Vec<Scored> =
            (0..500).map(|i| ((i * 7919 % 503) as f32 / 503.0, i * 31 % 7 > 3 + i % 3)).collect();
        let exact = area_under_roc(&mut scored.clone()).unwrap();
        for steps in [1, 4, 32, 503] {
            let mut counted = vec![(0, 0); steps];
            for (score, is_in) in &scored {
                let (outside, inside) = &mut counted[(score * steps as f32) as usize];
                *(if *is_in { inside } else { outside }) += 1;
            }
            let found = area_of(counted.into_iter()).unwrap();
            assert!((found.share - exact.share).abs() <= found.of_equal + 1e-12, "{found:?}, {exact:?}");
            assert!(found.of_equal < 1.2 / steps as f64, "{found:?}");
        }
    }
}
