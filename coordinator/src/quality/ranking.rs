//! The area under the curve of true positives over false positives (ROC).

/// One example: its score, and whether it belongs to the class.
pub(super) type Scored = (f32, bool);

/// The share of pairs of an example of the class and one that is not in which the former has the higher score;
/// equal scores count half (Mann and Whitney, 1947). It is counted in integers, so it is exact up to the last
/// division. `None` if there is no such pair. The order of `scored` changes.
pub(super) fn area_under_roc(scored: &mut [Scored]) -> Option<f64> {
    scored.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    // Twice the pairs, so that a half is an integer.
    let (mut won, mut below) = (0_u128, 0_u128);
    let mut positives = 0_u128;
    for equal in scored.chunk_by(|one, other| one.0 == other.0) {
        let inside = equal.iter().filter(|(_, is_in)| *is_in).count() as u128;
        let outside = equal.len() as u128 - inside;
        won += inside * (2 * below + outside);
        below += outside;
        positives += inside;
    }
    let pairs = positives * below;
    (pairs > 0).then(|| won as f64 / (2 * pairs) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_in_order_are_counted_and_ties_count_half() {
        let area = |scored: &[Scored]| area_under_roc(&mut scored.to_vec());
        assert_eq!(area(&[(0.1, false), (0.4, false), (0.35, true), (0.8, true)]), Some(0.75));
        assert_eq!(area(&[(0.5, true), (0.5, false)]), Some(0.5));
        assert_eq!(area(&[(0.9, true), (0.1, false)]), Some(1.0));
        assert_eq!(area(&[(0.9, true)]), None);
        assert_eq!(area(&[]), None);
    }
}
