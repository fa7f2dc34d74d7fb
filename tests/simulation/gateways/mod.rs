//! Several coordinators and gateways in virtual time, with a bus that loses, repeats, delays and reorders, a store that
//! fails, and machines that freeze, die and are cut off. A run is a function of its seed.
//!
//! After every event each unit has one owner and counts once, and terms never go back; at the end the weights are those
//! of the plain loop. Without the check of owners in the ledger, the same runs come to other weights: a test shows it.

mod coordinators;
mod crowds;
mod ends;
mod lines;
mod people;
mod protections;
mod refusals;
mod scenario;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use engine::Audit;
use gateway::SILENCE_MS_MAX;

use crate::problem::{Method, Oddity, Problem, ProblemPlan};
use crate::random::Draw;
use crate::reference::{self, Limits};
use crate::scenario::LieKind;

pub(crate) use lines::{GATEWAY, LATENCY, LINK_DOWN, LINK_UP};
use people::{Liar, Lie};
use protections::Protection;
use scenario::{Actor, Bus, Mishap, Scenario, Store};
use world::{Coordinator, Host, World};

/// Seeds run by default.
const SEEDS: u64 = 120;
/// More events than any run needs.
const EVENTS_MAX: u64 = 400_000;
/// Rounds that are not counted when their length is measured.
const WARM_UP: usize = 4;
/// When faults end.
const CALM_MS: u64 = 60_000;
/// When a run must be over.
const LIMIT_MS: u64 = 1_200_000;

/// What happened, and how often.
type Happened = BTreeMap<&'static str, u64>;

/// Runs a scenario and checks all there is to check.
fn run(scenario: &Scenario) -> Result<Happened, String> {
    let problem = Problem::new(&scenario.problem);
    let reference = reference::train(&problem, &Limits::iterations(scenario.iterations));
    let mut world = World {
        scenario,
        problem: &problem,
        reference: &reference,
        now_ms: 0,
        draw: Draw::new(scenario.seed, "world of gateways"),
        queue: BTreeMap::new(),
        queued: 0,
        coordinators: (0..scenario.coordinators).map(|_| Coordinator::default()).collect(),
        gateways: scenario.gateways.iter().map(|_| Host::default()).collect(),
        objects: BTreeMap::new(),
        terms: BTreeMap::new(),
        states: BTreeMap::new(),
        results: BTreeMap::new(),
        end: None,
        led: BTreeSet::new(),
        mishaps_at_end: scenario.mishaps_at_end.clone(),
        disturbed_ms: None,
        people: scenario.people(),
        sessions: 0,
        undetected: BTreeSet::new(),
        unconfirmed: BTreeMap::new(),
        nameless: BTreeMap::new(),
        told: BTreeMap::new(),
        struck: BTreeSet::new(),
        lies: BTreeMap::new(),
        have_colluded: false,
        iteration: 0,
        is_settled: false,
        opened_ms: Vec::new(),
        log: Vec::new(),
        happened: BTreeMap::new(),
    };
    match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(()) => {
            let ended_ms = world.end.map_or(0, |(_, ended_ms)| ended_ms);
            world.happened.insert("milliseconds", ended_ms);
            if let [first_ms, next_ms, ..] = world.opened_ms[..] {
                world.happened.insert("milliseconds of the first round", next_ms - first_ms);
            }
            // In the first rounds everybody is a newcomer, and all of the last one is computed twice.
            if let [.., last_ms] = world.opened_ms[..]
                && let Some(rounds) =
                    world.opened_ms.len().checked_sub(WARM_UP + 1).filter(|rounds| *rounds > 0)
            {
                let round_ms = (last_ms - world.opened_ms[WARM_UP]) / rounds as u64;
                world.happened.insert("milliseconds a round", round_ms);
            }
            Ok(world.happened)
        }
        Err(cause) => {
            let text = cause.downcast_ref::<String>().map(String::as_str);
            let text = text.or(cause.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
            let (log, now_ms, seed) = (world.log.join("\n"), world.now_ms, scenario.seed);
            Err(format!(
                "{text}\n\nat {now_ms} ms of {scenario:?}\n\n{log}\n\nreplay with SHOAL_SIMULATION_SEED={seed}"
            ))
        }
    }
}

/// The same of a run in which nothing may be wrong.
fn run_right(scenario: &Scenario) -> Happened {
    run(scenario).unwrap_or_else(|text| panic!("{text}"))
}

/// In how many of so many runs that happened, and no lie was believed.
fn count_right(seeds: u64, draw: fn(u64) -> Scenario, what: &str) -> usize {
    let is_right = |happened: &Happened| happened.contains_key(what) && !happened.contains_key("undetected");
    (0..seeds).map(|seed| run_right(&draw(seed))).filter(is_right).count()
}

/// Runs the seeds, or those that the environment names, and checks that all of that happened in the usual number of them.
#[allow(clippy::disallowed_methods, reason = "the environment names the seeds to replay")]
fn run_seeds(draw: fn(u64) -> Scenario, wanted: &[&str]) -> Option<(u64, Happened)> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let one = number("SHOAL_SIMULATION_SEED");
    let seeds = number("SHOAL_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let mut happened = Happened::new();
    for seed in one.map_or(0..seeds, |seed| seed..seed + 1) {
        for (what, count) in run_right(&draw(seed)) {
            *happened.entry(what).or_default() += count;
        }
    }
    if one.is_some() || seeds < SEEDS {
        return None;
    }
    let missing: Vec<&&str> = wanted.iter().filter(|what| !happened.contains_key(**what)).collect();
    assert!(missing.is_empty(), "never happened: {missing:?} in {happened:#?}");
    Some((seeds, happened))
}

#[test]
fn the_same_bits_through_any_number_of_gateways_and_coordinators() {
    let wanted = [
        "asked to stop",
        "cut off",
        "examined",
        "frozen",
        "killed",
        "leads",
        "message lost",
        "object damaged",
        "stepped down",
        "stopped",
    ];
    if let Some((seeds, happened)) = run_seeds(Scenario::draw, &wanted) {
        assert!(happened["leads"] > seeds, "a standby takes over now and then: {happened:#?}");
    }
}

/// A leader that was not run for longer than gateways may be silent has heard none of them, and knows nothing of it.
#[test]
fn a_leader_that_stalls_expels_nobody_who_spoke_meanwhile() {
    for stalled_ms in [SILENCE_MS_MAX + 300, 9_000] {
        for seed in 0..5 {
            let mishaps = vec![(2_000, Actor::Coordinator(0), Mishap::Freeze(stalled_ms))];
            let happened = run_right(&Scenario { liars: Vec::new(), mishaps, ..with_sleeper(seed) });
            assert!(happened["frozen"] == 1 && !happened.contains_key("expelled"), "{happened:?}");
        }
    }
    // It notices all the same who is gone.
    let mishaps = vec![(2_000, Actor::Coordinator(0), Mishap::Freeze(6_000))];
    let dead = (2_100, Actor::Gateway(0), Mishap::Freeze(30_000));
    let mishaps = mishaps.into_iter().chain([dead]).collect();
    let happened = run_right(&Scenario { liars: Vec::new(), mishaps, ..with_sleeper(0) });
    assert!(happened.contains_key("expelled"), "{happened:?}");
}

/// Sums that take long to send are sent less often: a gateway spends a tenth of its time on that.
#[test]
fn sums_that_cost_much_to_send_are_sent_seldom() {
    let count = |delay_ms: u64| {
        let scenario = Scenario {
            problem: ProblemPlan { seed: 1, ..ProblemPlan::plain(2_000) },
            gateways: vec![vec![60, 80]],
            iterations: 3,
            liars: Vec::new(),
            store: Store { fails: 0, damages: 0, is_racy: false, delay_ms: (delay_ms, delay_ms) },
            ..with_sleeper(1)
        };
        let happened = run_right(&scenario);
        (happened["milliseconds"], happened["handed in"])
    };
    let ((fast_ms, often), (_, seldom)) = (count(20), count(1_500));
    assert!(often >= fast_ms / 3_000, "{often} in {fast_ms} ms");
    assert!(seldom * 3 < often, "{seldom} instead of {often}");
}

/// What volunteers can do in a fifth of a second is shared among their gateways as if they all were at one: nobody
/// waits for units that others have too many of.
#[test]
fn a_short_round_is_shared_by_all_gateways() {
    let time = |gateways: Vec<Vec<u64>>| {
        run_right(&Scenario { iterations: 30, ..with_paces(80, gateways) })["milliseconds"]
    };
    for speeds in [[10, 10, 10, 10], [10, 20, 20, 40]] {
        let [a, b, c, d] = speeds;
        let (together, apart) = (time(vec![vec![a, b, c, d]]), time(vec![vec![a], vec![b, c], vec![d]]));
        assert!(apart < together * 5 / 4, "{speeds:?}: {apart} ms instead of {together} ms");
    }
}

/// Two gateways in calm weather that share rounds of so many units, and how many of these take how long.
fn with_paces(units: u32, gateways: Vec<Vec<u64>>) -> Scenario {
    let problem = ProblemPlan { seed: 1, ..ProblemPlan::plain(units) };
    let bus = Bus { delay_ms: (1, 2), ..with_sleeper(0).bus };
    let store = Store { fails: 0, damages: 0, delay_ms: (1, 5), is_racy: false };
    Scenario { gateways, iterations: 20, bus, store, ..Scenario::calm(1, problem) }
}

/// Units go by the time that they take, not by their number: a gateway that is fifty times as fast as another one does
/// not wait for it, and does not give back what it does sooner than the other would.
#[test]
fn a_gateway_that_is_much_slower_helps_or_is_no_hindrance() {
    for units in [80, 400] {
        let alone = run_right(&with_paces(units, vec![vec![10]]))["milliseconds"];
        let both = run_right(&with_paces(units, vec![vec![10], vec![500]]));
        let (both_ms, given_back) = (both["milliseconds"], both.get("given back").copied().unwrap_or(0));
        assert!(both_ms < alone * 6 / 5, "{units} units: {both_ms} ms instead of {alone} ms");
        // In all twenty rounds fewer than one has; before a gateway's speed is known, some are given back in any case.
        assert!(given_back < u64::from(units), "{units} units: {given_back} were given back");
    }
}

/// A gateway loses all but one of its volunteers when all of a round is leased. It says so, and others do what it was
/// given for those who are gone.
#[test]
fn a_gateway_that_loses_its_volunteers_gives_back_what_others_do_sooner() {
    let volunteers = 30;
    let bans = (1..volunteers).map(|person| (500, person)).collect();
    let gateways = vec![vec![100; volunteers], vec![100]];
    let time = run_right(&Scenario { bans, iterations: 1, ..with_paces(300, gateways) })["milliseconds"];
    // If it did not say so, it would take 25,496 ms.
    assert!(time < 24_900, "{time} ms");
}

/// The same, where the only other volunteer is the leader's own: nobody asks the leader for its units.
#[test]
fn a_gateway_that_loses_its_volunteers_gives_back_what_the_leaders_own_do_sooner() {
    let volunteers = 30;
    let bans = (1..volunteers - 1).map(|person| (500, person)).collect();
    let calm = with_paces(300, vec![vec![100; volunteers]]);
    let moves = vec![(100, volunteers - 1)];
    let scenario = Scenario { bans, moves, iterations: 1, leaders_serve: true, ..calm };
    let time = run_right(&scenario)["milliseconds"];
    // If the leader asked for nothing, it would take 34,369 ms.
    assert!(time < 26_000, "{time} ms");
}

/// Liars of every kind, who come back, move on, and outlive their gateways.
#[test]
fn the_same_bits_whoever_lies_at_any_gateway() {
    let wanted = [
        "came to a leader",
        "claim",
        "convicted",
        "convicted by a leader",
        "false report",
        "known to all",
        "moved on",
        "renamed",
        "rewound",
        "sent away",
        "struck elsewhere",
        "taken in",
        "taken out",
        "turned away",
        "wrong result",
    ];
    if let Some((seeds, happened)) = run_seeds(Scenario::draw_with_liars, &wanted) {
        let undetected = happened.get("undetected").copied().unwrap_or(0);
        // Samples of a twentieth, liars who vouch for each other, and terms that begin before anybody is found out.
        assert!(undetected <= seeds / 4, "{undetected} runs with a lie that was believed: {happened:#?}");
    }
}

/// Two gateways in calm weather, and a liar who behaves at first.
fn with_sleeper(seed: u64) -> Scenario {
    let (unit_ms, after, chance) = (20, 25, 20);
    let lie = Lie::Of(LieKind::Flipped);
    let sleeper = Liar { gateway: 0, unit_ms, lie, after, chance, renames: false };
    Scenario {
        gateways: vec![vec![60, 80], vec![60, 80]],
        iterations: 30,
        audit: Audit::Sample(0.03),
        liars: vec![sleeper],
        ..Scenario::calm(seed, ProblemPlan { seed, ..ProblemPlan::plain(40) })
    }
}

/// It lies at a gateway that dies, and is found out at another one, where all is checked sooner or later.
fn with_liar_of_a_dead_gateway(seed: u64) -> Scenario {
    let mishaps = vec![(5_600, Actor::Gateway(0), Mishap::Kill(100))];
    Scenario { moves: vec![(5_000, 4)], mishaps, iterations: 50, ..with_sleeper(seed) }
}

#[test]
fn what_a_liar_did_at_a_gateway_that_has_died_since_is_undone() {
    let undone = count_right(12, with_liar_of_a_dead_gateway, "rewound");
    assert!(undone > 1, "this must happen to be tested: {undone}");
}

/// Rounds that take some seconds, so that sums are handed in before they end, and a liar who goes to and fro between two
/// gateways, of which one may die.
fn with_wanderer(seed: u64) -> Scenario {
    let mut draw = Draw::new(seed, "wanderer");
    let (after, chance) = (draw.between(30, 60), draw.of(&[5, 20, 50]));
    let wanderer = Liar { unit_ms: 60, after, chance, ..with_sleeper(seed).liars[0] };
    let mut at_ms = 1_000;
    let moves = (0..draw.between(0, 10)).map(|_| {
        at_ms += draw.between(500, 3_000);
        (at_ms, 4)
    });
    let moves = moves.collect();
    let kills = (0..draw.between(0, 2)).map(|_| {
        let gateway = Actor::Gateway(draw.between(0, 1) as usize);
        (draw.between(3_000, 20_000), gateway, Mishap::Kill(draw.of(&[100, 3_000])))
    });
    let mishaps = kills.collect();
    Scenario {
        problem: ProblemPlan { seed, ..ProblemPlan::plain(600) },
        iterations: 3,
        liars: vec![wanderer],
        moves,
        mishaps,
        audit: Audit::Sample(0.03),
        bus: Bus { loses: 3, doubles: 5, delay_ms: (20, 300), stalls: 5 },
        ..with_sleeper(seed)
    }
}

/// What it has handed in leaves the open round at every gateway, or the round is repeated.
#[test]
fn a_liar_who_goes_from_gateway_to_gateway_leaves_nothing_in_the_open_round() {
    let found_out = count_right(60, with_wanderer, "convicted");
    assert!(found_out > 30, "this must happen to be tested: {found_out}");
}

/// Where there is room for two partial sums, all others are added up, and a lie in one undoes several. Their owners do
/// not know that, so they begin again.
#[test]
fn a_lie_in_partial_sums_that_were_added_up_undoes_them_all() {
    let mut taken_out = 0;
    for seed in 0..40 {
        let wanderer = with_wanderer(seed);
        let partials_max = Some(1 + seed as usize % 2);
        let happened = run_right(&Scenario { partials_max, leaders_serve: seed % 3 == 0, ..wanderer });
        taken_out += happened.get("taken out").copied().unwrap_or(0);
    }
    assert!(taken_out > 20, "this must happen to be tested: {taken_out}");
}

/// A liar whose lies were handed in by a gateway that is gone, or out of reach, by the time it is found out elsewhere:
/// that gateway takes nothing out any more, so the round is repeated.
fn with_liar_whose_gateway_does_not_hear_of_it(seed: u64) -> Scenario {
    let mut draw = Draw::new(seed, "unheard");
    let gone_ms = draw.between(4_000, 4_600);
    let mishap = draw.of(&[Mishap::Kill(20_000), Mishap::Freeze(4_800), Mishap::CutOff(4_800)]);
    let liar = Liar { unit_ms: 60, after: 25, chance: 60, ..with_sleeper(seed).liars[0] };
    Scenario {
        problem: ProblemPlan { seed, ..ProblemPlan::plain(500) },
        iterations: 3,
        liars: vec![liar],
        moves: vec![(gone_ms - 300, 4)],
        mishaps: vec![(gone_ms, Actor::Gateway(0), mishap)],
        audit: Audit::Sample(0.1),
        ..with_sleeper(seed)
    }
}

#[test]
fn a_round_with_lies_that_nobody_takes_out_is_repeated() {
    let repeated = count_right(60, with_liar_whose_gateway_does_not_hear_of_it, "rewound");
    assert!(repeated > 2, "this must happen to be tested: {repeated}");
}

/// It lies among the leader's own volunteers, and is found out at a gateway.
fn with_liar_among_the_leaders_own(seed: u64) -> Scenario {
    let mut draw = Draw::new(seed, "liar among the leader's own");
    let liar = Liar { unit_ms: 60, after: draw.between(11, 14), chance: 6, ..with_sleeper(seed).liars[0] };
    Scenario {
        problem: ProblemPlan { seed, ..ProblemPlan::plain(120) },
        gateways: vec![vec![60, 80]],
        iterations: 12,
        liars: vec![liar],
        // To the leader, and back when it has lied there.
        moves: vec![(500, 0), (500, 2), (draw.between(5_000, 7_000), 2)],
        audit: Audit::Sample(0.05),
        leaders_serve: true,
        ..with_sleeper(seed)
    }
}

#[test]
fn what_a_liar_did_among_the_leaders_own_volunteers_is_undone_when_a_gateway_finds_it_out() {
    let (mut undone, mut gone_back) = (0, 0);
    for seed in 0..60 {
        let happened = run_right(&with_liar_among_the_leaders_own(seed));
        let is_right =
            !happened.contains_key("undetected") && !happened.contains_key("convicted by a leader");
        let is_undone = is_right && happened.contains_key("convicted");
        undone += u64::from(is_undone);
        gone_back += u64::from(is_undone && happened.contains_key("rewound"));
    }
    assert!(undone > 5 && gone_back > 5, "this must happen to be tested: {undone}, {gone_back}");
}

/// A unit without a result is reported, goes to a liar meanwhile, and is told of by the leader when the round is over.
#[test]
fn whoever_made_up_a_result_for_a_unit_without_one_is_dismissed() {
    let mut convicted = 0;
    for seed in 0..20 {
        let claims =
            Liar { unit_ms: 2, lie: Lie::Claim, after: 0, chance: 100, ..with_sleeper(seed).liars[0] };
        let scenario = Scenario {
            problem: ProblemPlan { seed, ..ProblemPlan::odd(Oddity::Loud(14)) },
            gateways: vec![vec![1, 1]],
            iterations: 4,
            liars: vec![claims],
            audit: Audit::Full,
            // Faster than any check.
            bus: Bus { delay_ms: (0, 1), ..with_sleeper(seed).bus },
            store: Store { fails: 0, damages: 0, delay_ms: (1, 2), is_racy: false },
            ..with_sleeper(seed)
        };
        let happened = run_right(&scenario);
        convicted += happened.get("convicted of a claim").copied().unwrap_or(0);
    }
    assert!(convicted > 5, "this must happen to be tested: {convicted}");
}

/// Whoever is dismissed at one gateway meets its delay at the others, those included that start later.
#[test]
fn who_is_dismissed_at_one_gateway_waits_at_all() {
    let always = Liar { after: 0, chance: 100, ..with_sleeper(0).liars[0] };
    let mishaps = vec![(3_000, Actor::Gateway(1), Mishap::Kill(100))];
    let scenario = Scenario { liars: vec![always], mishaps, ..with_sleeper(0) };
    let happened = run_right(&scenario);
    let (convicted, told) = (happened["convicted"], happened["struck elsewhere"]);
    // The one that was started again has read of the first once more.
    assert!(convicted >= 1 && told > convicted, "{happened:?}");
    assert!(happened["turned away"] > convicted, "{happened:?}");
    assert!(!happened.contains_key("undetected"));
}

/// The leader to whom the operator said so dies, and so does a gateway. Those who come after them have heard nothing.
#[test]
fn who_is_banned_is_banned_under_the_next_leader_and_at_a_gateway_that_starts_later() {
    let mishaps = vec![
        (5_000, Actor::Coordinator(0), Mishap::Kill(300)),
        (30_000, Actor::Gateway(0), Mishap::Kill(100)),
    ];
    let scenario = Scenario {
        gateways: vec![vec![400, 400], vec![400, 400, 400]],
        coordinators: 2,
        iterations: 25,
        bans: vec![(2_000, 0)],
        mishaps,
        ..Scenario::calm(0, ProblemPlan::plain(40))
    };
    let happened = run_right(&scenario);
    // The leader and both gateways, then the next leader, and the gateway that was started again.
    assert_eq!(happened["heard of a ban"], 5, "{happened:?}");
    assert!(happened["banned"] > 5, "{happened:?}");
}

/// All volunteers of one gateway lie, and each vouches for the others: nobody there finds them out but the gateway itself.
#[test]
fn a_gateway_whose_volunteers_collude_is_noticed() {
    for seed in 0..4 {
        let liar = Liar { after: 0, chance: 100, ..with_sleeper(seed).liars[0] };
        let gateways = vec![vec![], vec![60, 80]];
        let scenario = Scenario { gateways, liars: vec![liar; 6], colludes: true, ..with_sleeper(seed) };
        let happened = run_right(&scenario);
        assert!(happened.contains_key("noted") && happened.contains_key("rewound"), "{happened:?}");
    }
}

/// Two liars who come back under new names each second, and a single honest volunteer, whose results they must not take
/// with them when they are found out.
fn besieged(seed: u64) -> Scenario {
    let liar = |kind| Liar {
        lie: Lie::Of(kind),
        after: 0,
        chance: 100,
        renames: true,
        ..with_sleeper(seed).liars[0]
    };
    Scenario {
        problem: ProblemPlan { seed, ..ProblemPlan::plain(150) },
        gateways: vec![vec![60]],
        iterations: 3,
        audit: Audit::Full,
        liars: vec![liar(LieKind::Flipped), liar(LieKind::Scaled)],
        strangers_wait_ms: (1_000, 1_000),
        ..Scenario::calm(seed, ProblemPlan::plain(0))
    }
}

#[test]
fn liars_who_come_back_each_second_do_not_stall_a_gateway_with_one_honest_volunteer() {
    for seed in 0..10 {
        let happened = run_right(&besieged(seed));
        assert!(happened["renamed"] > 10, "{happened:?}");
    }
}

/// A standby that hears nobody, but reaches the store, leads beside the leader. Both walk the same trajectory and make the
/// same objects; what one has no use for any more, the other still needs.
#[test]
fn two_leaders_take_nothing_from_each_other() {
    for seed in 0..10 {
        let cut_off = Mishap::CutOff(25_000 + 500 * seed);
        let scenario = Scenario {
            gateways: vec![vec![1_200, 400], vec![800, 800]],
            coordinators: 2,
            mishaps: vec![(1_000, Actor::Coordinator(1), cut_off)],
            ..Scenario::calm(seed, ProblemPlan { seed, ..ProblemPlan::plain(40) })
        };
        let happened = run_right(&scenario);
        assert_eq!((happened["leads"], happened["stepped down"]), (2, 1));
    }
}

/// The window that random mishaps hardly ever meet: a gateway stands still until just after others were given its units,
/// and then hands in what it has done.
fn frozen_past_the_deadline(seed: u64, checks_owners: bool) -> Scenario {
    let mut draw = Draw::new(seed, "frozen");
    let problem = ProblemPlan { seed, ..ProblemPlan::plain(40) };
    let mut mishaps = Vec::new();
    for number in 0..6 {
        let at_ms = 500 + 8_000 * number + draw.between(0, 4_000);
        let freeze = Mishap::Freeze(SILENCE_MS_MAX + draw.between(0, 1_500));
        mishaps.push((at_ms, Actor::Gateway(draw.between(0, 1) as usize), freeze));
    }
    let gateways = vec![vec![150, 200], vec![150, 250, 300]];
    Scenario { gateways, mishaps, checks_owners, ..Scenario::calm(seed, problem) }
}

#[test]
fn a_gateway_that_was_frozen_until_just_past_the_deadline_changes_no_bit() {
    for seed in 0..20 {
        let happened = run_right(&frozen_past_the_deadline(seed, true));
        assert!(happened["frozen"] > 0);
    }
}

/// A liar who is trusted by then lies in the last round only: that is confirmed before the training ends.
fn with_last_minute_liar(seed: u64) -> Scenario {
    let lie = Lie::AtTheEnd(LieKind::Flipped);
    let liar = Liar { lie, after: 15, chance: 100, ..with_sleeper(seed).liars[0] };
    let problem = ProblemPlan { method: Method::Average, replicas: 12, seed, ..ProblemPlan::plain(40) };
    Scenario { problem, iterations: 12, liars: vec![liar], is_strict: true, ..with_sleeper(seed) }
}

#[test]
fn nobody_decides_the_end_of_a_training_with_a_lie() {
    let mut lied = 0;
    for seed in 0..20 {
        let happened = run_right(&with_last_minute_liar(seed));
        lied += u64::from(happened.contains_key("wrong result"));
        assert_eq!(happened.contains_key("wrong result"), happened.contains_key("convicted"));
    }
    assert!(lied > 15, "this must happen to be tested: {lied}");
}

/// A sleeper at a gateway that dies, and leaders that die: the one after goes on from what was saved.
fn with_sleeper_and_leaders_that_die(seed: u64) -> Scenario {
    let mut draw = Draw::new(seed, "leaders that die");
    let deaths = (1..12).map(|number| {
        let at_ms = 4_000 * number + draw.between(0, 3_000);
        (at_ms, Actor::Coordinator(0), Mishap::Kill(10))
    });
    let mishaps = deaths.collect();
    let sleeper = Liar { after: 12, ..with_sleeper(seed).liars[0] };
    Scenario {
        mishaps,
        iterations: 80,
        liars: vec![sleeper],
        audit: Audit::Sample(0.1),
        ..with_sleeper(seed)
    }
}

#[test]
fn a_leader_that_takes_over_does_not_begin_with_a_lie_that_was_undone() {
    let mut undone = 0;
    for seed in 0..40 {
        let happened = run_right(&with_sleeper_and_leaders_that_die(seed));
        undone += u64::from(happened.contains_key("rewound"));
    }
    assert!(undone > 2, "this must happen to be tested: {undone}");
}

/// Takes one protection after the other out of the protocol, and sees that some run notices.
#[test]
fn without_any_one_of_the_protections_against_liars_a_run_fails() {
    for lacks in Protection::AGAINST_LIARS {
        let scenario: &dyn Fn(u64) -> Scenario = match lacks {
            Protection::Tainted => &with_wanderer,
            Protection::Confirm => &with_last_minute_liar,
            Protection::NamesInSums => &with_liar_of_a_dead_gateway,
            Protection::SavedReturn => &with_sleeper_and_leaders_that_die,
            _ => &Scenario::draw_with_liars,
        };
        let notices = |seed: &u64| run(&Scenario { lacks: Some(lacks), ..scenario(*seed) }).is_err();
        let first = (0..SEEDS).find(notices);
        assert!(first.is_some(), "{lacks:?} is not needed, or not tested");
    }
}

/// So this test would notice if the check were missing.
#[test]
fn without_the_check_of_owners_the_weights_are_others() {
    let wrong = (0..20).filter(|seed| run(&frozen_past_the_deadline(*seed, false)).is_err()).count();
    assert!(wrong > 0, "the check of owners is not needed, or not tested");
}
