//! What a run with gateways is made from.

use engine::Audit;
use gateway::{LEADER_SILENCE_MS_MAX, SILENCE_MS_MAX};

use super::CALM_MS;
use super::ends::Step;
use super::lines::Traffic;
use super::people::{Liar, Lie, Person};
use super::protections::Protection;
use crate::problem::{Method, Oddity, ProblemPlan};
use crate::random::Draw;
use crate::scenario::LieKind;

/// What a run is made from.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) problem: ProblemPlan,
    pub(super) iterations: u64,
    pub(super) coordinators: usize,
    /// For each gateway, how long the honest volunteers take for a unit that come to it first.
    pub(super) gateways: Vec<Vec<u64>>,
    pub(super) liars: Vec<Liar>,
    /// How long a stranger waits whose neighbor was dismissed, the first time and at most.
    pub(super) strangers_wait_ms: (u64, u64),
    /// Whether liars vouch for each other's lies.
    pub(super) colludes: bool,
    /// Whether volunteers come to coordinators that lead, too.
    pub(super) leaders_serve: bool,
    /// Whether the weights must be right, whoever was not found out.
    pub(super) is_strict: bool,
    /// When a volunteer goes to another gateway, and who.
    pub(super) moves: Vec<(u64, usize)>,
    /// When the operator bans a volunteer, and whom.
    pub(super) bans: Vec<(u64, usize)>,
    pub(super) audit: Audit,
    /// How long whoever has won a term loads the newest state.
    pub(super) loading_ms: u64,
    pub(super) bus: Bus,
    pub(super) store: Store,
    pub(super) mishaps: Vec<(u64, Actor, Mishap)>,
    /// What happens to the leader that first comes to each of these steps, before it takes it.
    pub(super) mishaps_at_end: Vec<(Step, Mishap)>,
    /// What takes time on its way to volunteers and back, if anything does.
    pub(super) traffic: Option<Traffic>,
    pub(super) checks_owners: bool,
    /// For how many partial sums of a round a leader has room.
    pub(super) partials_max: Option<usize>,
    /// What of the protocol is missing, to see that a test notices.
    pub(super) lacks: Option<Protection>,
}

/// Chances in percent for each message, and how long it takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bus {
    pub(super) loses: u64,
    pub(super) doubles: u64,
    pub(super) delay_ms: (u64, u64),
    /// Chance that it takes ten times as long.
    pub(super) stalls: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Store {
    pub(super) fails: u64,
    /// Chance in percent that an object arrives with a bit that it does not have.
    pub(super) damages: u64,
    pub(super) delay_ms: (u64, u64),
    /// Whether two who create an object at about the same time may both succeed.
    pub(super) is_racy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Actor {
    Coordinator(usize),
    Gateway(usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mishap {
    /// It stands still, and what happens to it meanwhile happens when it goes on.
    Freeze(u64),
    /// It dies, and another one starts in its place after that long.
    Kill(u64),
    /// The bus does not reach it.
    CutOff(u64),
    /// The store does not answer it.
    LoseStore(u64),
    /// The time given to the training is over for a leader.
    TimeIsUp,
    /// It is asked to stop, and another one starts after that long.
    Stop(u64),
}

impl Scenario {
    /// Nothing happens, and nobody comes.
    pub(super) fn calm(seed: u64, problem: ProblemPlan) -> Scenario {
        Scenario {
            seed,
            problem,
            iterations: 8,
            coordinators: 1,
            gateways: Vec::new(),
            liars: Vec::new(),
            strangers_wait_ms: (1_000, 30_000),
            colludes: false,
            leaders_serve: false,
            is_strict: false,
            moves: Vec::new(),
            bans: Vec::new(),
            audit: Audit::None,
            loading_ms: 0,
            bus: Bus { loses: 0, doubles: 0, delay_ms: (1, 20), stalls: 0 },
            store: Store { fails: 0, damages: 0, delay_ms: (1, 20), is_racy: false },
            mishaps: Vec::new(),
            mishaps_at_end: Vec::new(),
            traffic: None,
            checks_owners: true,
            partials_max: None,
            lacks: None,
        }
    }

    pub(super) fn draw(seed: u64) -> Scenario {
        let mut draw = Draw::new(seed, "gateways");
        let methods = [Method::Lbfgs, Method::Average, Method::Auto, Method::Sampled, Method::Adam];
        let method = draw.of(&methods);
        let oddities = [Oddity::None, Oddity::None, Oddity::None, Oddity::Loud(14), Oddity::LoudTest(66)];
        let problem = match draw.of(&oddities) {
            Oddity::None => {
                let (units, replicas) = (draw.between(12, 40) as u32, draw.between(3, 24) as u32);
                let (test, validation) = (draw.of(&[0, 20]), draw.of(&[0, 20]));
                ProblemPlan { seed, method, replicas, test, validation, ..ProblemPlan::plain(units) }
            }
            oddity => ProblemPlan { seed, ..ProblemPlan::odd(oddity) },
        };
        let unit_ms = draw.of(&[20, 100, 400]);
        let gateways = (0..draw.between(1, 4)).map(|_| {
            let volunteers = draw.between(1, 3);
            (0..volunteers).map(|_| unit_ms * draw.between(1, 3)).collect()
        });
        let gateways: Vec<Vec<u64>> = gateways.collect();
        let coordinators = draw.between(1, 3) as usize;
        let mut mishaps = Vec::new();
        for _ in 0..draw.between(0, 8) {
            let actor = if draw.percent(35) {
                Actor::Coordinator(draw.between(0, coordinators as u64 - 1) as usize)
            } else {
                Actor::Gateway(draw.between(0, gateways.len() as u64 - 1) as usize)
            };
            let silence_ms = match actor {
                Actor::Coordinator(_) => LEADER_SILENCE_MS_MAX,
                Actor::Gateway(_) => SILENCE_MS_MAX,
            };
            // Just past the time after which others do what it has.
            let long_ms = draw.of(&[500, silence_ms + 100, silence_ms + 700, 3 * silence_ms]);
            let mishap = match draw.between(0, 5) {
                0 | 1 => Mishap::Freeze(long_ms),
                2 if draw.percent(40) => Mishap::LoseStore(long_ms),
                2 => Mishap::CutOff(long_ms),
                3 => Mishap::Kill(draw.of(&[10, 2_000, 8_000])),
                4 if matches!(actor, Actor::Gateway(_)) => Mishap::Stop(draw.of(&[10, 3_000])),
                _ => Mishap::Kill(300),
            };
            mishaps.push((draw.between(100, CALM_MS / 2), actor, mishap));
        }
        let mishaps_at_end = Step::ALL.into_iter().filter(|_| draw.percent(15));
        let mishaps_at_end: Vec<Step> = mishaps_at_end.collect();
        let mut draw_mishap =
            || draw.of(&[Mishap::Kill(2_000), Mishap::Freeze(12_000), Mishap::LoseStore(8_000)]);
        let mishaps_at_end = mishaps_at_end.into_iter().map(|step| (step, draw_mishap())).collect();
        let rough = draw.percent(60);
        Scenario {
            iterations: draw.between(3, 8),
            coordinators,
            gateways,
            audit: draw.of(&[Audit::None, Audit::Sample(0.2)]),
            bus: Bus {
                loses: if rough { 3 } else { 0 },
                doubles: if rough { 10 } else { 0 },
                delay_ms: draw.of(&[(0, 2), (1, 40), (20, 300)]),
                stalls: if rough { 3 } else { 0 },
            },
            store: Store {
                fails: if rough { 10 } else { 0 },
                damages: if rough { 3 } else { 0 },
                delay_ms: draw.of(&[(1, 5), (5, 200)]),
                is_racy: draw.percent(20),
            },
            mishaps,
            mishaps_at_end,
            ..Scenario::calm(seed, problem)
        }
    }

    /// The same with liars among the volunteers, who go from one gateway to the next and to leaders. In half of the runs
    /// rounds take so long that gateways hand in sums before they end.
    pub(super) fn draw_with_liars(seed: u64) -> Scenario {
        let plan = Scenario::draw(seed);
        let mut draw = Draw::new(seed, "liars at gateways");
        let (problem, iterations) = match draw.percent(50) {
            true => {
                let speed: f64 = plan.gateways.iter().flatten().map(|unit_ms| 1.0 / *unit_ms as f64).sum();
                let units = speed * draw.between(3_000, 8_000) as f64;
                (ProblemPlan { seed, ..ProblemPlan::plain(units.clamp(10.0, 300.0) as u32) }, 3)
            }
            false => (plan.problem, plan.iterations),
        };
        let mut lies: Vec<Lie> = LieKind::ALL.into_iter().map(Lie::Of).collect();
        lies.extend([Lie::OfOthers(LieKind::Scaled), Lie::Claim, Lie::Report, Lie::Report]);
        let mut liar = || {
            // Two who happen to lie in the same way would vouch for each other.
            let lie = lies.remove(draw.between(0, lies.len() as u64 - 1) as usize);
            Liar {
                gateway: draw.between(0, plan.gateways.len() as u64 - 1) as usize,
                unit_ms: draw.of(&[1, 20, 100, 400]),
                lie,
                after: draw.of(&[0, 0, 3, 20]),
                chance: draw.of(&[5, 50, 100]),
                renames: draw.percent(30),
            }
        };
        let first = liar();
        let colludes = seed.is_multiple_of(5) && matches!(first.lie, Lie::Of(_));
        let others = seed % 3;
        let liars = if colludes {
            vec![first; 2]
        } else {
            [first].into_iter().chain((0..others).map(|_| liar())).collect()
        };
        let honest: usize = plan.gateways.iter().map(Vec::len).sum();
        let people = (honest + liars.len()) as u64;
        let moves = (0..draw.between(0, 12))
            .map(|_| (draw.between(100, CALM_MS / 2), draw.between(0, people - 1) as usize));
        let moves = moves.collect();
        let audit = draw.of(&[Audit::Full, Audit::Sample(0.2), Audit::Sample(0.05)]);
        let leaders_serve = draw.percent(30);
        Scenario { problem, iterations, liars, colludes, leaders_serve, moves, audit, ..plan }
    }

    /// All volunteers: the honest, then the liars.
    pub(super) fn people(&self) -> Vec<Person> {
        let honest = self.gateways.iter().enumerate().flat_map(|(gateway, paces)| {
            paces.iter().map(move |unit_ms| Person::new(gateway, *unit_ms, None))
        });
        let liars = self.liars.iter().map(|liar| Person::new(liar.gateway, liar.unit_ms, Some(*liar)));
        honest.chain(liars).collect()
    }
}
