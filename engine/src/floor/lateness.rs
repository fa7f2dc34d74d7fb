//! How much later than expected answers come, over all volunteers.
//!
//! An answer is overdue, and a copy of its work is worth handing out, only when it is later than answers usually are.
//! What takes long may be late by a share of its time. How late short work is depends on the network instead. As TCP
//! does with its timer, the mean lateness of short work is followed, and a multiple of it is allowed for.

/// The mean changes by this share of what one more answer tells.
const GAIN: f64 = 1.0 / 64.0;
/// So many times the mean lateness is no reason to worry. Where lateness is exponentially distributed, one answer in
/// 150 is later.
const ALLOWED_TIMES: f64 = 5.0;
/// No single answer counts as later than this: a machine that wakes after an hour says nothing about the others.
const LATE_MS_MAX: f64 = 400.0;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    /// Of assignments whose shards the volunteer had.
    with_shards: Mean,
    /// Of those for which it first had to download a shard.
    with_download: Mean,
}

/// The mean lateness of one kind of assignment, in milliseconds. An early answer counts as 0.
#[derive(Debug, Default)]
struct Mean {
    ms: f64,
    answers: u32,
}

impl Mean {
    fn add(&mut self, late_ms: f64) {
        // The first answers count alike.
        self.answers = self.answers.saturating_add(1);
        let gain = GAIN.max(1.0 / f64::from(self.answers));
        self.ms += gain * (late_ms.clamp(0.0, LATE_MS_MAX) - self.ms);
    }
}

impl Lateness {
    /// An answer came so much later than expected.
    pub(super) fn add(&mut self, late_ms: f64, downloads: bool) {
        let mean = if downloads { &mut self.with_download } else { &mut self.with_shards };
        mean.add(late_ms);
    }

    /// How much later an answer may come without being overdue.
    pub(super) fn allowed_ms(&self, downloads: bool) -> f64 {
        ALLOWED_TIMES * if downloads { self.with_download.ms } else { self.with_shards.ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_follows_the_answers() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.allowed_ms(false), 0.0);
        (0..1000).for_each(|answer| lateness.add(if answer % 2 == 0 { 20.0 } else { -20.0 }, false));
        assert!((45.0..55.0).contains(&lateness.allowed_ms(false)), "{lateness:?}");
        assert_eq!(lateness.allowed_ms(true), 0.0, "downloads are another matter");
        lateness.add(3_600_000.0, false);
        assert!(lateness.allowed_ms(false) < 90.0, "{lateness:?}");
        (0..1000).for_each(|_| lateness.add(0.0, false));
        assert!(lateness.allowed_ms(false) < 1.0, "{lateness:?}");
    }
}
