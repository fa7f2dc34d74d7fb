//! Single things that go wrong, each written down. All of them also check the bits.

use engine::{Audit, LAST_RESORT_MS, LocalHelp, REST_MS};

use model::Task;

use crate::problem::{Method, Oddity, ProblemPlan};
use crate::scenario::{Guest, Happening, Kill, LieKind, Manners, Scenario};
use crate::timesheet::Spent;
use crate::world::run;

/// Rounds of an undisturbed training of [`ProblemPlan::plain`] problems: a start and four steps.
const ROUNDS: u64 = 5;

#[test]
fn a_unit_out_of_the_first_scale_widens_it() {
    let scenario =
        Scenario::calm(ProblemPlan::odd(Oddity::Loud(14)), vec![Guest::steady(5), Guest::steady(5)]);
    let report = run(&scenario);
    assert!(report.reference.rescales > 0 && report.reference.valueless == 0);
    // The plain loop widens at once whatever does not fit; volunteers report one unit after the other.
    assert!(report.counts.notes >= report.reference.rescales);
    assert_eq!(report.counts.rounds, report.reference.rounds + report.counts.notes);
}

#[test]
fn a_unit_out_of_a_later_rounds_scale_widens_it() {
    let scenario =
        Scenario::calm(ProblemPlan::odd(Oddity::Overshoot(7, -20)), vec![Guest::steady(5), Guest::steady(5)]);
    let report = run(&scenario);
    assert!(report.reference.rescales > 0 && report.reference.valueless == 0);
    assert!(report.points > 1, "training goes on");
}

#[test]
fn a_trial_point_that_is_not_finite_is_one_to_step_back_from() {
    let scenario = Scenario::calm(
        ProblemPlan::odd(Oddity::Overshoot(66, -20)),
        vec![Guest::steady(5), Guest::steady(5)],
    );
    let report = run(&scenario);
    assert!(report.points > 0, "the start point is finite");
    assert!(report.reference.valueless > 0 && report.reference.line_searches > 0);
    assert!(report.reference.unfit_steps > 0);
}

#[test]
fn what_a_failed_trial_point_did_to_the_scales_is_forgotten() {
    // A scale is moved before its point is found to have no value. The next rounds are as if it had
    // not been: how far it got depends on who reported what first.
    let mut moved_in_vain = 0;
    for seed in 0..20 {
        let (task, network) = (Task::Numbers(3), "mlp:4,3");
        let odd = ProblemPlan::odd(Oddity::Loud(15));
        let problem = ProblemPlan { seed, task, network, features: 3, training: 59, ..odd };
        let guests = (1..4).map(|number| Guest::steady(number * number)).collect();
        let mut scenario = Scenario::calm(problem, guests);
        scenario.limits.stop.iterations = 7;
        let report = run(&scenario);
        moved_in_vain += report.counts.notes - report.reference.rescales;
    }
    assert!(moved_in_vain > 0, "this must happen to be tested");
}

/// A wild first point leaves a scale at which the losses and displacements of the next one are all rounded to zero: that
/// is not a loss of zero, nor a gradient that has vanished.
#[test]
fn what_vanishes_at_a_scale_that_is_too_wide_is_measured_anew() {
    let mut refined = 0;
    for seed in 0..6 {
        let problem =
            ProblemPlan { method: Method::Wild, network: "mlp:16", seed, test: 20, ..ProblemPlan::plain(40) };
        let mut scenario = Scenario::calm(problem, vec![Guest::steady(5), Guest::steady(5)]);
        scenario.limits.stop.iterations = 12;
        let report = run(&scenario);
        refined += report.reference.refined;
        assert!(report.lowest_loss > 1e-6, "seed {seed}: a loss of {}", report.lowest_loss);
    }
    assert!(refined > 0, "this must happen to be tested");
}

#[test]
fn a_liar_is_sent_away_and_changes_nothing() {
    let about_anything = Manners { lies: 100, ..Manners::default() };
    // In the second problem no step length is in range, so that the lie is nearly true.
    let about_steps = Manners { lies_about_steps: 100, ..Manners::default() };
    for (manners, oddity) in [(about_anything, Oddity::None), (about_steps, Oddity::Overshoot(40, 0))] {
        let guests = vec![Guest::steady(10), Guest { manners, ..Guest::steady(10) }];
        let report = run(&Scenario { calm_ms: 600_000, ..Scenario::calm(ProblemPlan::odd(oddity), guests) });
        assert!(report.faults["lie about a unit"] > 0);
        assert_eq!(report.counts.dismissed, 1);
        // It has done nothing else in that round, so that nothing has to be done again.
        let planned = report.reference.rounds + report.reference.rescales + report.reference.without_test;
        assert_eq!(report.counts.rounds, planned);
    }
}

/// One client with a script: results that are counted, then a false report, then the same once more.
#[test]
fn a_liar_that_comes_back_again_and_again_holds_nothing_up() {
    let honest = || (0..3).map(|_| Guest::steady(10)).collect::<Vec<Guest>>();
    let without = run(&Scenario::calm(ProblemPlan::plain(60), honest()));
    let mut liar = Guest { manners: Manners { lies: 50, ..Manners::default() }, ..Guest::steady(1) };
    let visits = (0..100).map(|number| 80 * number);
    liar.happenings =
        visits.flat_map(|at_ms| [(at_ms, Happening::Leave(true)), (at_ms, Happening::Arrive)]).collect();
    let guests = honest().into_iter().chain([liar]).collect();
    let report = run(&Scenario { calm_ms: 600_000, ..Scenario::calm(ProblemPlan::plain(60), guests) });
    assert!(report.counts.dismissed > 5, "{} times", report.counts.dismissed);
    assert_eq!(report.counts.rounds, without.counts.rounds, "no round begins again");
    assert!(report.ended_ms < without.ended_ms * 3 / 2, "{} ms, not {}", report.ended_ms, without.ended_ms);
}

#[test]
fn of_several_false_reports_at_once_every_sender_is_dismissed() {
    let liar = || Guest { manners: Manners { lies: 100, ..Manners::default() }, ..Guest::steady(10) };
    let guests = vec![Guest::steady(10), liar(), liar(), liar(), liar()];
    let scenario = Scenario { calm_ms: 600_000, ..Scenario::calm(ProblemPlan::plain(60), guests) };
    // So slow that all have reported before the first report is judged.
    let report = run(&Scenario { referee_ms: (200, 200), ..scenario });
    assert_eq!(report.counts.dismissed, 4);
    assert_eq!(report.counts.rounds, report.reference.rounds);
}

/// Where the examples are in a store that does not answer, nothing is decided and nothing is lost.
#[test]
fn a_referee_that_gets_at_the_examples_late_holds_the_training_up_no_longer_than_that() {
    const BLIND_MS: u64 = 20_000;
    let guests = || vec![Guest::steady(10), Guest::steady(10)];
    let loud = Scenario::calm(ProblemPlan::odd(Oddity::Loud(14)), guests());
    let liar = vec![Guest::steady(10), Guest::liar(LieKind::Scaled), Guest::steady(10)];
    let calm = Scenario::calm(ProblemPlan::plain(60), liar);
    let audited = Scenario { audit: Audit::Full, blind_ms: 1, ..calm };
    for scenario in [loud, audited] {
        let soon = run(&scenario).ended_ms;
        let report = run(&Scenario { blind_ms: BLIND_MS, ..scenario });
        assert!(report.faults["referee without examples"] <= BLIND_MS / 1_000, "it is not asked in a loop");
        assert!(report.ended_ms < BLIND_MS + soon + 2_000, "{} ms, {soon} ms", report.ended_ms);
    }
}

#[test]
fn a_test_set_out_of_range_does_not_disturb_the_training() {
    let without = ProblemPlan { test: 0, ..ProblemPlan::odd(Oddity::LoudTest(66)) };
    let without = run(&Scenario::calm(without, vec![Guest::steady(5)]));
    let with = run(&Scenario::calm(ProblemPlan::odd(Oddity::LoudTest(66)), vec![Guest::steady(5)]));
    assert!(with.reference.without_test > 0);
    assert_eq!(with.digest, without.digest);
}

#[test]
fn a_straggler_is_beaten_by_a_backup_task() {
    let slow_ms = 60_000;
    let report =
        run(&Scenario::calm(ProblemPlan::plain(20), vec![Guest::steady(10), Guest::steady(slow_ms)]));
    assert!(report.counts.backups > 0);
    // Of each round, the straggler holds up what the other does itself once more.
    assert!(report.ended_ms < ROUNDS * 2 * 20 * 10, "{} ms", report.ended_ms);
}

#[test]
fn the_coordinators_own_worker_is_the_last_resort_and_then_goes_on() {
    let guests = vec![Guest::own(10), Guest::asleep_from(30, 10)];
    let report = run(&Scenario::calm(ProblemPlan::plain(20), guests));
    assert!(report.ended_ms > LAST_RESORT_MS, "it only helps when it must");
    // It waits once, not once more with each round or assignment.
    assert!(report.ended_ms < LAST_RESORT_MS + 2 * ROUNDS * 20 * 10, "{} ms", report.ended_ms);
}

#[test]
fn the_last_resort_ends_when_somebody_is_heard() {
    let guests = vec![Guest::own(100), Guest::from(LAST_RESORT_MS + 300, 1)];
    let report = run(&Scenario::calm(ProblemPlan::plain(40), guests));
    // Without help it would take ROUNDS * 40 * 100 ms.
    assert!(report.ended_ms < LAST_RESORT_MS + 3_000, "{} ms", report.ended_ms);
}

#[test]
fn a_unit_whose_holders_are_all_asleep_goes_to_the_next_who_comes() {
    let mut guests = vec![Guest::from(20_000, 10)];
    guests.extend((0..6).map(|_| Guest::asleep_from(8_000, 100_000)));
    let report = run(&Scenario::calm(ProblemPlan::plain(1), guests));
    assert!(report.ended_ms < 20_000 + ROUNDS * (LAST_RESORT_MS + 1_000), "{} ms", report.ended_ms);
}

/// Its machine slept in the middle of some work, which thus took a minute. It is as fast as the others all the same.
#[test]
fn who_wakes_from_sleep_gets_work_as_before() {
    const WAKES_MS: u64 = 63_000;
    let asleep = vec![(0, Happening::Arrive), (3_030, Happening::Sleep(WAKES_MS - 3_030))];
    let sleeper = Guest { happenings: asleep, ..Guest::steady(100) };
    let guests = vec![Guest::steady(100), Guest::steady(100), sleeper];
    let mut scenario = Scenario::calm(ProblemPlan::plain(64), guests);
    scenario.limits.stop.iterations = 50;
    let report = run(&scenario);
    let useful_ms = report.spent[2][&Spent::Useful];
    let awake_ms = 3_000 + report.ended_ms - WAKES_MS;
    assert!(report.ended_ms > 2 * WAKES_MS, "the run must go on for long enough");
    assert!(10 * useful_ms > 7 * awake_ms, "{useful_ms} ms of {awake_ms} ms");
}

#[test]
fn who_gives_work_back_is_not_asked_in_a_loop() {
    let manners = Manners { declines: 100, ..Manners::default() };
    let guests = vec![Guest::steady(50), Guest { manners, ..Guest::steady(1) }];
    let report = run(&Scenario { calm_ms: 600_000, ..Scenario::calm(ProblemPlan::plain(20), guests) });
    let declined = report.faults["declined"];
    assert!(declined > 0 && declined <= 2 * (report.ended_ms / REST_MS + 1), "{declined} times");
}

#[test]
fn twice_the_volunteers_take_half_the_time() {
    let time_ms = |count| {
        let guests = (0..count).map(|_| Guest::steady(20)).collect();
        run(&Scenario::calm(ProblemPlan::plain(64), guests)).ended_ms
    };
    let (one, two, four) = (time_ms(1), time_ms(2), time_ms(4));
    let alone_ms = ROUNDS * 64 * 20;
    assert!(one < alone_ms * 110 / 100, "one: {one} ms of {alone_ms}");
    assert!(two < alone_ms / 2 * 120 / 100, "two: {two} ms of {}", alone_ms / 2);
    assert!(four < alone_ms / 4 * 140 / 100, "four: {four} ms of {}", alone_ms / 4);
}

#[test]
fn few_assignments_carry_much_work() {
    // Each one's result carries a vector, so a volunteer that is alone gets halves, not crumbs.
    let report = run(&Scenario::calm(ProblemPlan::plain(256), vec![Guest::steady(1)]));
    assert!(report.counts.assignments < ROUNDS * 14, "{} assignments", report.counts.assignments);
}

#[test]
fn the_fast_do_more_than_the_slow() {
    let guests = vec![Guest::steady(10), Guest::steady(40), Guest::steady(40)];
    let report = run(&Scenario::calm(ProblemPlan::plain(120), guests));
    // 100 + 25 + 25 units a second.
    let ideal_ms = ROUNDS * 120 * 1000 / 150;
    assert!(report.ended_ms < ideal_ms * 115 / 100, "{} ms of {ideal_ms}", report.ended_ms);
}

#[test]
fn own_worker_helps_as_it_is_told() {
    let time_ms = |local_help| {
        let guests = vec![Guest::own(20), Guest::steady(20)];
        run(&Scenario { local_help, ..Scenario::calm(ProblemPlan::plain(64), guests) }).ended_ms
    };
    let (always, never) = (time_ms(LocalHelp::Always), time_ms(LocalHelp::Never));
    assert!(always < never * 65 / 100, "{always} ms, {never} ms");
    let guests = vec![Guest::own(20)];
    let alone = Scenario { local_help: LocalHelp::Auto, ..Scenario::calm(ProblemPlan::plain(64), guests) };
    assert!(run(&alone).ended_ms < ROUNDS * 64 * 20 * 110 / 100, "it does not wait when it is alone");
}

/// Both cores of the only volunteer compute all the time, each a replica of its own: what is answered side by side must
/// not seem to have been computed in no time.
#[test]
fn more_local_steps_are_not_advised_where_computing_takes_all_the_time() {
    let problem = ProblemPlan { method: Method::Average, ..ProblemPlan::plain(40) };
    let busy = Guest { cores: 2, latency_ms: (1, 3), ..Guest::steady(200) };
    let mut scenario = Scenario::calm(problem.clone(), vec![busy.clone()]);
    scenario.limits.stop.iterations = 14;
    assert_eq!(run(&scenario).counts.advised_steps, 0);
    // Far away, the way takes most of the time.
    let far = Guest { cores: 1, latency_ms: (2_000, 2_100), ..busy };
    let mut scenario = Scenario::calm(problem, vec![far]);
    scenario.limits.stop.iterations = 14;
    assert_eq!(run(&scenario).counts.advised_steps, 1);
}

#[test]
fn dying_every_second_is_no_obstacle() {
    let kill = |second: u64| Kill {
        at_ms: 1_000 * second,
        down_ms: 200,
        orderly: second.is_multiple_of(2),
        torn: false,
    };
    let kills: Vec<Kill> = (1..12).map(kill).collect();
    let guests = vec![Guest::own(100), Guest::steady(100), Guest::steady(300)];
    let scenario = Scenario::calm(ProblemPlan::plain(40), guests);
    let report = run(&Scenario { kills, checkpoints: 100, local_help: LocalHelp::Always, ..scenario });
    assert!(report.faults["killed"] > 0 && report.faults["stopped"] > 0);
}

#[test]
fn local_steps_give_the_same_bits_through_kills() {
    for method in [Method::Auto, Method::Average, Method::Timid] {
        let kill = |at_ms, orderly| Kill { at_ms, down_ms: 200, orderly, torn: false };
        let kills = vec![kill(700, false), kill(1_900, true), kill(3_000, false)];
        let problem = ProblemPlan { method, ..ProblemPlan::plain(40) };
        let guests = vec![Guest::own(100), Guest::steady(100), Guest::steady(300)];
        let mut scenario = Scenario::calm(problem, guests);
        scenario.limits.stop.iterations = 12;
        let report = run(&Scenario { kills, checkpoints: 100, local_help: LocalHelp::Always, ..scenario });
        assert!(report.faults["killed"] > 0, "{method:?}");
        if method == Method::Timid {
            assert!(report.counts.higher_rates > 0);
        }
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    for seed in [3, 12, 35] {
        let reports = [(); 2].map(|()| run(&Scenario::draw(seed)));
        let [first, second] = reports.map(|report| (report.events, report.ended_ms, report.faults));
        assert_eq!(first, second);
    }
}
