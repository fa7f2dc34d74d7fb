//! A training of several real processes: two coordinators, three gateways and volunteers, over a real NATS server and a
//! store. Whatever is killed and frozen, it ends with the weights of a single process.

mod bucket;
mod cast;
mod credentials;
mod cutting;
mod dashboard;
mod deploy;
mod ends;
mod faults;
mod guide;
mod relay;

use cast::{Cast, FEW, LEADS, MANY, Place, STANDS_BY, reference};
use faults::{Fault, Schedule};
use support::browser::Tab;
use support::python;
use tokio::runtime::Runtime;

/// Random schedules with each kind of store in a run of the tests; `SHOAL_SCHEDULES` asks for another number, and
/// `SHOAL_SEED` for another first one.
const SCHEDULES: u64 = 5;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// The window just past a deadline is where a split brain would be: whoever comes back believes what is not true any
/// more. Random moments hardly ever meet it.
#[test]
fn a_leader_and_a_gateway_that_come_back_just_past_their_deadlines_change_no_bit() {
    // A browser's tab among the native volunteers. It is there before the training, which does not wait for it.
    let runtime = Runtime::new().unwrap();
    let tab = runtime.block_on(Tab::blank());
    let mut cast = Cast::begin(Place::Folder, MANY);
    runtime.block_on(async {
        tab.goto(&cast.page(1)).await;
        tab.start(1).await;
    });
    cast.reaches(1);
    runtime.block_on(tab.until("!['', '0'].includes(document.querySelector('#examples').textContent)"));
    let metrics = cast.metrics();
    cast.freeze_leader_until_replaced(10_700);
    cast.goes_on();
    assert_eq!(cast.leader(), 1, "the standby has taken over");
    cast.suffers(&Fault::FreezeGateway { index: 0, ms: 5_300 });
    cast.goes_on();
    assert_eq!(cast.ends(), reference(MANY));
    runtime.block_on(async {
        tab.reaches("over").await;
        let examples = tab.text("#examples").await;
        tab.close().await;
        assert_ne!(examples, "0", "the tab has helped");
    });
    // Read at the end, because the faults above must come while the training goes on.
    let mut sent = 0.0;
    for metrics in metrics {
        let value = |name| python::metric(&metrics, name);
        let expected = (1.0, f64::from(MANY));
        assert_eq!((value("shoal_training_phase"), value("shoal_training_iterations_limit")), expected);
        sent += value("shoal_sent_bytes_total");
    }
    assert!(sent > 0.0, "the gateways have sent rounds and shards");
}

#[test]
fn a_leader_that_is_killed_is_replaced_and_nothing_is_done_by_hand() {
    let mut cast = Cast::begin(Place::Folder, MANY);
    cast.reaches(2);
    cast.suffers(&Fault::KillLeader { ms: 2_000 });
    cast.goes_on();
    assert_eq!(cast.leader(), 1, "the standby has taken over");
    assert_eq!(cast.ends(), reference(MANY));
}

/// It leads a term that nobody hears of. What the leader saves meanwhile must not count as older than that.
#[test]
fn a_leader_that_is_heard_takes_the_term_after_that_of_a_standby_that_is_cut_off() {
    // Enough to be paused in time.
    let iterations = 5 * MANY;
    let mut cast = Cast::begin_with_relay(iterations);
    cast.reaches(1);
    // So that neither comes to the end meanwhile.
    cast.operator("pause");
    cast.keeps("paused", true);
    cast.says(1, STANDS_BY);
    // The leader has looked for newer terms three times.
    cast.changes("pulse", 4);
    cast.cut_off_standby(true);
    cast.says(1, &format!("{LEADS}2"));
    cast.says(0, &format!("{LEADS}3"));
    cast.says(0, "goes on from its own state");
    cast.cut_off_standby(false);
    cast.says_times(1, STANDS_BY, 2);
    assert_eq!(cast.leader(), 0);
    cast.shows("The operator has paused the training.");
    cast.operator("continue");
    cast.goes_on();
    cast.kill_leader();
    cast.says(1, &format!("{LEADS}4"));
    assert_eq!(cast.ends_without(0), reference(iterations));
}

fn suffer_random_faults(place: Place) {
    let first = number("SHOAL_SEED", 0);
    for seed in first..first + number("SHOAL_SCHEDULES", SCHEDULES) {
        let schedule = Schedule::draw(2 * seed + u64::from(place == Place::Bucket));
        let mut cast = Cast::begin(place, FEW);
        cast.reaches(1);
        for fault in &schedule.faults {
            cast.suffers(fault);
        }
        assert_eq!(cast.ends(), reference(FEW), "{place:?}, seed {seed}: {schedule:?}");
    }
}

#[test]
fn random_faults_change_no_bit_over_a_folder() {
    suffer_random_faults(Place::Folder);
}

#[test]
fn random_faults_change_no_bit_over_a_bucket() {
    suffer_random_faults(Place::Bucket);
}
