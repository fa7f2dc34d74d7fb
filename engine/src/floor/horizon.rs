//! When the free units of a round would all be done, if each went to whoever is done with it first.
//!
//! A unit is computed whole by one core. Toward the end of a round it matters who gets it: a slow volunteer that begins
//! its last unit late holds all others up, and so does a unit that is queued behind another while somebody is idle. So
//! nobody is given a unit that it would finish after this time. It is the least makespan of equal units on machines of
//! different speeds, each of which is busy for some time at first.

use super::volunteers::GRACE_MS_MIN;

/// The time is computed anew when this share of the time to it has passed: it changes little from one answer to the
/// next.
const RENEWED_SHARE: f64 = 1.0 / 32.0;
/// But no sooner than after this time, and no later than after that.
const RENEWED_MS_MIN: f64 = 25.0;
const RENEWED_MS_MAX: f64 = 1000.0;
/// An answer may come later than this time by so much of a unit, or by [`GRACE_MS_MIN`]. Speeds are estimates.
const SLACK_SHARE: f64 = 0.25;
/// The time is computed to this share of itself.
const PRECISION: f64 = 1.0 / 256.0;
/// The most doublings and halvings that this takes.
const STEPS_MAX: u32 = 64;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Horizon {
    /// When it was computed, for how long, and the time itself.
    known: Option<Known>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    renew_ms: u64,
    end_ms: f64,
}

/// A volunteer, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    /// How long it is still busy with what it has.
    pub(super) busy_ms: f64,
    pub(super) cores: f64,
    /// What one core takes for a unit.
    pub(super) unit_ms: f64,
}

impl Horizon {
    /// The units or the volunteers are others.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// Computes the time anew if it is due, for so many units.
    pub(super) fn renew(&mut self, now_ms: u64, units: f64, machines: impl FnOnce() -> Vec<Machine>) {
        if self.known.is_some_and(|known| now_ms < known.renew_ms) {
            return;
        }
        let lasts_ms = makespan_ms(units, &machines());
        let renew_ms = now_ms + (RENEWED_SHARE * lasts_ms).clamp(RENEWED_MS_MIN, RENEWED_MS_MAX) as u64;
        self.known = Some(Known { renew_ms, end_ms: now_ms as f64 + lasts_ms });
    }

    /// How much time is left for a unit that takes a volunteer so long.
    pub(super) fn left_ms(&self, now_ms: u64, unit_ms: f64) -> f64 {
        let Some(known) = self.known else { return f64::INFINITY };
        known.end_ms - now_ms as f64 + (SLACK_SHARE * unit_ms).max(GRACE_MS_MIN)
    }
}

/// How long so many equal units take at least; for ever, if nobody is there.
fn makespan_ms(units: f64, machines: &[Machine]) -> f64 {
    let done_by = |ms: f64| {
        let of = |one: &Machine| one.cores * ((ms - one.busy_ms) / one.unit_ms).floor().max(0.0);
        machines.iter().map(of).sum::<f64>()
    };
    let rate: f64 = machines.iter().map(|one| one.cores / one.unit_ms).sum();
    if rate <= 0.0 {
        return f64::INFINITY;
    }
    let (mut too_short, mut enough) = (0.0, units / rate);
    let mut steps = 0;
    while done_by(enough) < units && steps < STEPS_MAX {
        (too_short, enough) = (enough, 2.0 * enough);
        steps += 1;
    }
    while enough - too_short > PRECISION * enough && steps < STEPS_MAX {
        let middle = f64::midpoint(too_short, enough);
        if done_by(middle) < units {
            too_short = middle
        } else {
            enough = middle
        }
        steps += 1;
    }
    enough
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(busy_ms: f64, unit_ms: f64) -> Machine {
        Machine { busy_ms, cores: 1.0, unit_ms }
    }

    fn about(units: f64, machines: &[Machine], ms: f64) {
        let found = makespan_ms(units, machines);
        assert!((ms..=ms * 1.01).contains(&found), "{found} is not {ms}");
    }

    #[test]
    fn units_are_whole_and_a_slow_volunteer_gets_none_at_the_end() {
        about(1.0, &[machine(0.0, 100.0)], 100.0);
        // Two for the one, one for the other.
        about(3.0, &[machine(0.0, 100.0), machine(0.0, 100.0)], 200.0);
        // Ten by the fast one take less than one by the slow one.
        about(10.0, &[machine(0.0, 100.0), machine(0.0, 5_000.0)], 1_000.0);
        about(3.0, &[machine(250.0, 100.0), machine(0.0, 100.0)], 300.0);
        about(8.0, &[Machine { cores: 4.0, ..machine(0.0, 100.0) }], 200.0);
    }

    #[test]
    fn without_volunteers_there_is_no_end() {
        assert_eq!(makespan_ms(5.0, &[]), f64::INFINITY);
        let mut horizon = Horizon::default();
        horizon.renew(0, 5.0, Vec::new);
        assert_eq!(horizon.left_ms(0, 10.0), f64::INFINITY);
    }

    #[test]
    fn it_is_computed_again_after_a_while() {
        let mut horizon = Horizon::default();
        horizon.renew(0, 1.0, || vec![machine(0.0, 100.0)]);
        horizon.renew(24, 1.0, || panic!("not yet"));
        horizon.renew(25, 1.0, || vec![machine(0.0, 200.0)]);
        assert!(horizon.left_ms(25, 200.0) > 200.0);
        horizon.forget();
        horizon.renew(25, 1.0, || vec![machine(0.0, 100.0)]);
        assert!(horizon.left_ms(25, 100.0) < 200.0);
    }
}
