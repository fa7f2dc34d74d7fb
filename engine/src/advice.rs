//! Advice that follows from the number and speed of the helpers. Each kind is printed once and has no other
//! effect, because the weights must not depend on who helps.

/// Rounds of local steps before timing begins. In these, volunteers still download shards, and their speed is
/// unknown.
const ROUNDS_BEFORE: u32 = 3;
/// Rounds of local steps that are timed.
const ROUNDS_TIMED: u32 = 5;
/// A round should take at most this many times as long as the helpers need to compute it. Beyond that,
/// communication dominates, and longer rounds would learn more in little more time.
const OVERHEAD_MAX: f64 = 3.0;
/// Advice raises the number of steps at most by this factor. More steps mean fewer rounds, but with
/// diminishing returns.
const STEPS_FACTOR_MAX: f64 = 4.0;
/// Advised steps are a multiple of this.
const STEPS_GRAIN: f64 = 50.0;

/// What was advised, and what it may follow from.
#[derive(Debug, Default)]
pub(super) struct Advice {
    replicas: bool,
    rounds: u32,
    /// Of the timed round that was spent on its way least: how long it took, and the computing in it.
    least: Option<(f64, f64)>,
}

impl Advice {
    /// When more cores are lent than there are replicas to share among them.
    pub(super) fn of_replicas(&mut self, lent: u32, replicas: u32) -> Option<String> {
        if lent <= replicas || std::mem::replace(&mut self.replicas, true) {
            return None;
        }
        let has = if replicas == 1 { "1 replica".to_owned() } else { format!("{replicas} replicas") };
        Some(format!(
            "{lent} cores are lent, but a round has only {has} to share among them; a \
             training started with --replicas {} or more would use all cores",
            lent.saturating_mul(2)
        ))
    }

    /// When even the quickest of some rounds of so many local steps takes far longer than the computing in
    /// it: this one took `taken_ms`, and all who help together need `computed_ms` for its work.
    pub(super) fn of_steps(&mut self, steps: u32, taken_ms: f64, computed_ms: f64) -> Option<String> {
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds <= ROUNDS_BEFORE || self.rounds > ROUNDS_BEFORE + ROUNDS_TIMED {
            return None;
        }
        if self.least.is_none_or(|(taken, computed)| taken_ms / computed_ms < taken / computed) {
            self.least = Some((taken_ms, computed_ms));
        }
        let (taken_ms, computed_ms) = self.least?;
        let overhead = taken_ms / computed_ms;
        if self.rounds < ROUNDS_BEFORE + ROUNDS_TIMED || overhead.is_nan() || overhead <= OVERHEAD_MAX {
            return None;
        }
        let more = f64::from(steps) * overhead.min(STEPS_FACTOR_MAX);
        Some(format!(
            "a round takes {}, but the helpers compute for only {} of it; a training started with \
             --local-steps {} would learn more in rounds that take little longer",
            span(taken_ms),
            span(computed_ms),
            (more / STEPS_GRAIN).ceil() * STEPS_GRAIN
        ))
    }
}

/// A time as people read it, however short: `1.24 s`, `156 ms`, `0.4 ms`.
fn span(ms: f64) -> String {
    match ms {
        ms if ms >= 1000.0 => format!("{:.2} s", ms / 1000.0),
        ms if ms >= 10.0 => format!("{ms:.0} ms"),
        ms => format!("{ms:.1} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_cores_than_replicas_are_told_of_once() {
        let mut advice = Advice::default();
        assert_eq!(advice.of_replicas(8, 8), None);
        assert!(advice.of_replicas(9, 8).unwrap().contains("--replicas 18"));
        assert_eq!(advice.of_replicas(9, 8), None);
    }

    #[test]
    fn more_steps_are_advised_once_where_rounds_are_all_overhead() {
        let told = |taken_ms: f64, computed_ms: f64| -> Vec<String> {
            let mut advice = Advice::default();
            (0..30).filter_map(|_| advice.of_steps(200, taken_ms, computed_ms)).collect()
        };
        assert_eq!(told(250.0, 200.0), [""; 0]);
        let [advice] = &told(500.0, 156.0)[..] else { panic!("told once") };
        assert!(advice.contains("500 ms") && advice.contains("156 ms"), "{advice}");
        assert!(advice.contains("--local-steps 650"), "{advice}");
        assert!(told(5000.0, 1.0)[0].contains("--local-steps 800"));
        // However short: no time is told of as none.
        let quick = &told(4.0, 0.4)[0];
        assert!(quick.contains("takes 4.0 ms") && quick.contains("for only 0.4 ms"), "{quick}");
        // A long pause in one of the rounds is no overhead.
        let mut advice = Advice::default();
        let pauses =
            (0..30).filter_map(|round| advice.of_steps(200, if round == 5 { 9e9 } else { 250.0 }, 200.0));
        assert_eq!(pauses.count(), 0);
        // Nobody's speed is known.
        assert_eq!(told(500.0, f64::NAN), [""; 0]);
    }
}
