//! What a simulation is made from: drawn from a seed, or written down by a test.

use engine::{Audit, LocalHelp, OnLie};
use protocol::message::ResultHeader;

use crate::problem::ProblemPlan;
use crate::random::Draw;
use crate::reference::Limits;

/// All of a simulation but the chance of the moment, which comes from the same seed.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) problem: ProblemPlan,
    pub(crate) limits: Limits,
    pub(crate) local_help: LocalHelp,
    pub(crate) audit: Audit,
    pub(crate) on_lie: OnLie,
    /// The volunteers; if there is a local one it comes first.
    pub(crate) guests: Vec<Guest>,
    /// When the training begins (and begins again after a restart), from the coordinator's start.
    pub(crate) begin_ms: u64,
    pub(crate) kills: Vec<Kill>,
    /// What happens to the coordinator's machine, and when.
    pub(crate) troubles: Vec<(u64, Trouble)>,
    /// How two lie who vouch for each other, if there are such: of what they vouch for, only the bound is promised.
    pub(crate) pair: Option<LieKind>,
    /// When the operator wants a pause, and for how long.
    pub(crate) pauses: Vec<(u64, u64)>,
    /// How long the referee takes for a unit.
    pub(crate) referee_ms: (u64, u64),
    /// Until then the referee does not get at the examples.
    pub(crate) blind_ms: u64,
    /// Chance that a moment between two rounds is saved as a checkpoint, in percent.
    pub(crate) checkpoints: u64,
    /// Whether rounds are sent to volunteers before they have work in them.
    pub(crate) eager_rounds: bool,
    /// Chance that a newcomer is told that all places are taken, in percent.
    pub(crate) full: u64,
    /// Whether there are so many volunteers that the costliest checks are left out.
    pub(crate) crowded: bool,
    /// Whether idle volunteers get copies of what others have.
    pub(crate) copies: bool,
    /// Faults end here; only who has left, or is asleep for good, stays so.
    pub(crate) calm_ms: u64,
}

/// One volunteer.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    /// Whether it is the coordinator's own worker.
    pub(crate) local: bool,
    pub(crate) cores: u16,
    /// What a unit takes on one core.
    pub(crate) unit_ms: (u64, u64),
    /// What a message takes, either way.
    pub(crate) latency_ms: (u64, u64),
    /// What a download takes.
    pub(crate) download_ms: (u64, u64),
    /// Bytes of shards it keeps.
    pub(crate) shard_bytes: usize,
    /// Whether its messages go through `postMessage`.
    pub(crate) posts: bool,
    /// What happens to it.
    pub(crate) happenings: Vec<(u64, Happening)>,
    /// How it misbehaves.
    pub(crate) manners: Manners,
    /// Where it comes from.
    pub(crate) address: u128,
    /// What it says instead of the truth, if it lies.
    pub(crate) lie: Option<Lie>,
}

/// A result that has the right shape and is wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Lie {
    pub(crate) kind: LieKind,
    /// Results that are right before the first that is not.
    pub(crate) after: u64,
    /// Chance of each from then on, in percent.
    pub(crate) chance: u64,
    /// Whether each result is sent at once, without being computed in the virtual time that it takes.
    pub(crate) at_once: bool,
}

/// How it is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LieKind {
    Zeros,
    Scaled,
    Flipped,
    /// One element is larger by the least there is.
    OneStep,
    NegativeLoss,
    LowLoss,
    AllCorrect,
    /// Losses of evaluations are twice as high.
    Pessimist,
}

impl LieKind {
    pub(crate) const ALL: [LieKind; 7] = [
        LieKind::Zeros,
        LieKind::Scaled,
        LieKind::Flipped,
        LieKind::OneStep,
        LieKind::NegativeLoss,
        LieKind::LowLoss,
        LieKind::AllCorrect,
    ];

    /// Makes a result wrong in this way, unless it happens to stay right.
    pub(crate) fn change(self, header: &mut ResultHeader, vector: &mut [i64]) {
        match self {
            LieKind::Zeros => {
                vector.fill(0);
                header.losses.fill(0);
                header.correct = 0;
            }
            LieKind::Scaled => vector.iter_mut().for_each(|value| *value /= 2),
            LieKind::Flipped => vector.iter_mut().for_each(|value| *value = -*value),
            LieKind::OneStep => vector.iter_mut().take(1).for_each(|value| *value += 1),
            LieKind::NegativeLoss => header.losses.iter_mut().for_each(|loss| *loss = -*loss - 1),
            LieKind::LowLoss => header.losses.iter_mut().for_each(|loss| *loss /= 16),
            LieKind::AllCorrect => header.correct *= 2,
            LieKind::Pessimist if vector.is_empty() => header.losses.iter_mut().for_each(|loss| *loss *= 2),
            LieKind::Pessimist => {}
        }
    }
}

/// What may happen to a volunteer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Happening {
    /// It opens the page.
    Arrive,
    /// It closes the page; whether politely.
    Leave(bool),
    /// Its machine sleeps for that long.
    Sleep(u64),
    /// It lends that many cores from now on.
    Cores(u16),
    /// Its connection breaks; the coordinator and it itself notice after that long.
    Cut(u64, u64),
}

/// For good.
pub(crate) const FOR_EVER: u64 = u64::MAX / 4;

/// Chances in percent, for each result (or download, or job).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manners {
    /// Reports a unit unfit instead.
    pub(crate) lies: u64,
    /// Reports a unit of a scalars-only round unfit instead.
    pub(crate) lies_about_steps: u64,
    /// Sends something malformed instead.
    pub(crate) mangles: u64,
    /// Gives the assignment back instead.
    pub(crate) declines: u64,
    /// Sends it twice.
    pub(crate) doubles: u64,
    /// Sends an earlier one once more.
    pub(crate) echoes: u64,
    /// A download brings the wrong bytes.
    pub(crate) damages: u64,
    /// A download fails.
    pub(crate) misses: u64,
    /// A compute worker dies.
    pub(crate) crashes: u64,
}

impl Manners {
    /// Whether it does what no honest volunteer does.
    pub(crate) fn may_be_dismissed(self) -> bool {
        self.lies > 0 || self.lies_about_steps > 0 || self.mangles > 0
    }
}

/// The coordinator's death.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kill {
    pub(crate) at_ms: u64,
    pub(crate) down_ms: u64,
    /// Whether it can still save its state, in the middle of a round as it may be.
    pub(crate) orderly: bool,
    /// Whether the last checkpoint turns out to be damaged, so that the one before it counts.
    pub(crate) torn: bool,
}

/// What happens to the coordinator's machine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    /// The process stands still for that long.
    Freeze(u64),
    /// Its clock jumps forward by that much.
    ClockJump(u64),
    /// No checkpoint can be written for that long.
    FullDisk(u64),
}

impl Trouble {
    fn draw(draw: &mut Draw) -> Trouble {
        match draw.between(0, 2) {
            0 => Trouble::Freeze(draw.of(&[200, 6_000, 90_000])),
            1 => Trouble::ClockJump(draw.of(&[500, 20_000, 3_600_000])),
            _ => Trouble::FullDisk(draw.of(&[1_000, 20_000])),
        }
    }
}

impl Scenario {
    /// Whether there is somebody whose lie may be believed for a while.
    pub(crate) fn has_liars(&self) -> bool {
        self.guests.iter().any(|guest| guest.lie.is_some())
    }

    /// Whether another may vouch for what this one does: whoever lies in the same way has the same results.
    pub(crate) fn may_be_vouched_for(&self, guest: usize) -> bool {
        let kind = self.guests[guest].lie.as_ref().map(|lie| lie.kind);
        kind.is_some() && kind == self.pair
    }

    /// How long the slowest volunteer needs for a unit, with its way and a download.
    pub(crate) fn slowest_ms(&self) -> u64 {
        let needs = |guest: &Guest| guest.unit_ms.1 + 2 * guest.latency_ms.1 + guest.download_ms.1;
        self.guests.iter().map(needs).max().unwrap_or(0)
    }

    /// An undisturbed training by these volunteers, four iterations long.
    pub(crate) fn calm(problem: ProblemPlan, guests: Vec<Guest>) -> Scenario {
        Scenario {
            seed: 0,
            problem,
            limits: Limits::iterations(4),
            local_help: LocalHelp::Never,
            audit: Audit::None,
            on_lie: OnLie::Rewind,
            guests,
            begin_ms: 0,
            kills: Vec::new(),
            troubles: Vec::new(),
            pair: None,
            pauses: Vec::new(),
            referee_ms: (1, 1),
            blind_ms: 0,
            checkpoints: 0,
            eager_rounds: true,
            full: 0,
            crowded: false,
            copies: true,
            calm_ms: 0,
        }
    }

    pub(crate) fn draw(seed: u64) -> Scenario {
        let mut draw = Draw::new(seed, "scenario");
        let draw = &mut draw;
        let problem = ProblemPlan::draw(draw);
        let limits = Limits::draw(draw);
        // How long a unit takes on an ordinary core, and so how long all takes.
        let unit_ms = draw.of(&[1, 5, 20, 80]);
        let calm_ms = draw.of(&[2_000, 10_000, 40_000]);
        let has_local = draw.percent(50);
        let mut guests = Vec::new();
        if has_local {
            guests.push(Guest {
                local: true,
                latency_ms: (0, 1),
                download_ms: (0, 1),
                ..Guest::draw(draw, unit_ms)
            });
        }
        let others = draw.between(u64::from(!has_local), 6);
        for number in 0..others {
            let mut guest = Guest::draw(draw, unit_ms);
            let anchor = number == 0 && !has_local;
            guest.arrive(draw, if anchor { calm_ms / 2 } else { calm_ms });
            guest.suffer(draw, calm_ms, anchor);
            guests.push(guest);
        }
        let kills = (0..draw.of(&[0, 0, 1, 1, 2, 3])).map(|_| Kill {
            at_ms: draw.between(1, calm_ms),
            down_ms: draw.of(&[1, 100, 3_000]),
            orderly: draw.percent(40),
            torn: false,
        });
        let mut kills: Vec<Kill> = kills.collect();
        let mut trust = Draw::new(seed, "trust");
        let audit = trust.of(&[Audit::None, Audit::Sample(0.1), Audit::Full, Audit::Full]);
        if audit != Audit::None {
            let mut kinds = LieKind::ALL.to_vec();
            for _ in 0..trust.of(&[0, 1, 1, 2, 3]) {
                // Two who lie in the same way would vouch for each other.
                let kind = kinds.remove(trust.between(0, kinds.len() as u64 - 1) as usize);
                let mut liar = Guest::draw(&mut trust, unit_ms);
                liar.arrive(&mut trust, calm_ms);
                liar.lie = Some(Lie {
                    kind,
                    after: trust.of(&[0, 0, 3, 12]),
                    chance: trust.of(&[5, 50, 100]),
                    at_once: trust.percent(50),
                });
                if trust.percent(50) {
                    let again =
                        (1..trust.of(&[2, 10])).map(|_| trust.between(0, calm_ms)).collect::<Vec<u64>>();
                    for at_ms in again {
                        liar.happenings.push((at_ms, Happening::Leave(true)));
                        liar.happenings.push((at_ms + 1, Happening::Arrive));
                    }
                }
                guests.push(liar);
            }
        }
        let mut more = Draw::new(seed, "more");
        let more = &mut more;
        kills.iter_mut().for_each(|kill| kill.torn = more.percent(30));
        let troubles =
            (0..more.of(&[0, 0, 1, 2])).map(|_| (more.between(1, calm_ms), Trouble::draw(more))).collect();
        let colludes = audit != Audit::None && more.percent(8);
        let pair = colludes.then(|| more.of(&LieKind::ALL));
        if let Some(kind) = pair {
            let lie = Lie { kind, after: more.of(&[0, 12]), chance: 100, at_once: more.percent(50) };
            for _ in 0..2 {
                let mut liar = Guest::draw(more, unit_ms);
                liar.arrive(more, calm_ms);
                guests.push(Guest { lie: Some(lie), ..liar });
            }
        }
        let crowded = more.percent(3);
        if crowded {
            for _ in 0..100 {
                guests.push(Guest::asleep_from(more.between(1, calm_ms), unit_ms));
            }
        }
        if more.percent(15) {
            // A link on which every message takes seconds.
            let mut slow = Guest::draw(more, unit_ms);
            slow.arrive(more, calm_ms);
            guests.push(Guest { latency_ms: (2_000, 9_000), ..slow });
        }
        // Draws of their own, so that everything else is drawn as without them.
        let mut rest = Draw::new(seed, "pauses");
        let pauses = 0..rest.of(&[0, 0, 1, 3]);
        let pauses = pauses.map(|_| (rest.between(0, calm_ms), rest.of(&[1, 500, 8_000])));
        let few_addresses = trust.percent(20);
        for (number, guest) in guests.iter_mut().enumerate() {
            guest.address = if few_addresses { number as u128 % 2 } else { number as u128 };
        }
        Scenario {
            seed,
            problem,
            limits,
            local_help: draw.of(&[LocalHelp::Never, LocalHelp::Always, LocalHelp::Auto]),
            audit,
            on_lie: OnLie::Rewind,
            guests,
            begin_ms: draw.of(&[0, 50, 1_500]),
            kills,
            troubles,
            pair,
            pauses: pauses.collect(),
            referee_ms: draw.of(&[(0, 1), (1, 50), (500, 2_000)]),
            blind_ms: 0,
            checkpoints: draw.of(&[20, 60, 100]),
            eager_rounds: draw.percent(50),
            full: draw.of(&[0, 0, 30]),
            crowded,
            copies: true,
            calm_ms,
        }
    }
}

impl Guest {
    /// A well-behaved volunteer that is there from the beginning.
    pub(crate) fn steady(unit_ms: u64) -> Guest {
        Guest {
            local: false,
            cores: 1,
            unit_ms: (unit_ms, unit_ms),
            latency_ms: (5, 5),
            download_ms: (10, 10),
            shard_bytes: worker::SHARD_CACHE_BYTES,
            posts: false,
            happenings: vec![(0, Happening::Arrive)],
            manners: Manners::default(),
            address: 0,
            lie: None,
        }
    }

    /// One that lies like this, and sends results at once.
    pub(crate) fn liar(kind: LieKind) -> Guest {
        Guest { lie: Some(Lie { kind, after: 0, chance: 100, at_once: true }), ..Guest::steady(10) }
    }

    /// One that is asleep for good from some moment on.
    pub(crate) fn asleep_from(at_ms: u64, unit_ms: u64) -> Guest {
        let happenings = vec![(0, Happening::Arrive), (at_ms, Happening::Sleep(FOR_EVER))];
        Guest { happenings, ..Guest::steady(unit_ms) }
    }

    /// One that comes later.
    pub(crate) fn from(at_ms: u64, unit_ms: u64) -> Guest {
        Guest { happenings: vec![(at_ms, Happening::Arrive)], ..Guest::steady(unit_ms) }
    }

    /// The coordinator's own worker.
    pub(crate) fn own(unit_ms: u64) -> Guest {
        Guest {
            local: true,
            latency_ms: (0, 0),
            download_ms: (0, 0),
            happenings: Vec::new(),
            ..Guest::steady(unit_ms)
        }
    }

    fn draw(draw: &mut Draw, unit_ms: u64) -> Guest {
        let pace = draw.of(&[unit_ms, unit_ms, 3 * unit_ms, 50 * unit_ms]);
        let latency_ms = draw.of(&[(1, 2), (5, 40), (100, 600)]);
        Guest {
            cores: draw.of(&[1, 1, 2, 4]),
            unit_ms: (pace, draw.of(&[pace, 2 * pace])),
            latency_ms,
            download_ms: draw.of(&[(1, 5), (20, 400)]),
            shard_bytes: draw.of(&[worker::SHARD_CACHE_BYTES, worker::SHARD_CACHE_BYTES, 200]),
            posts: draw.percent(30),
            happenings: Vec::new(),
            ..Guest::steady(pace)
        }
    }

    fn arrive(&mut self, draw: &mut Draw, latest_ms: u64) {
        let at_ms = if draw.percent(60) { 0 } else { draw.between(0, latest_ms) };
        self.happenings.push((at_ms, Happening::Arrive));
    }

    /// Draws what happens to it and how it misbehaves. An anchor is there, awake and lends a core
    /// when all is calm.
    fn suffer(&mut self, draw: &mut Draw, calm_ms: u64, anchor: bool) {
        for _ in 0..draw.of(&[0, 0, 1, 3]) {
            let at_ms = draw.between(0, calm_ms);
            let left_ms = calm_ms - at_ms;
            match draw.between(0, 3) {
                0 => {
                    let ms = if anchor || draw.percent(60) { draw.between(0, left_ms) } else { FOR_EVER };
                    self.happenings.push((at_ms, Happening::Sleep(ms)));
                }
                1 => {
                    self.happenings.push((at_ms, Happening::Cores(0)));
                    if anchor || draw.percent(70) {
                        let back_ms = at_ms + draw.between(0, left_ms);
                        self.happenings.push((back_ms, Happening::Cores(draw.between(1, 3) as u16)));
                    }
                }
                2 => {
                    let notices = draw.of(&[(0, 0), (10_000, 5), (5, 10_000), (300, 300)]);
                    self.happenings.push((at_ms, Happening::Cut(notices.0, notices.1)));
                }
                _ => {
                    self.happenings.push((at_ms, Happening::Leave(draw.percent(50))));
                    if anchor || draw.percent(50) {
                        self.happenings.push((at_ms + draw.between(0, left_ms), Happening::Arrive));
                    }
                }
            }
        }
        if anchor {
            // Whatever came of the above, which may overlap.
            self.happenings.push((calm_ms, Happening::Cores(1)));
            self.happenings.push((calm_ms, Happening::Arrive));
        }
        let mut chance = |likely: u64, percent: u64| if draw.percent(likely) { percent } else { 0 };
        self.manners = Manners {
            lies: if anchor { 0 } else { chance(15, 10) },
            lies_about_steps: if anchor { 0 } else { chance(15, 50) },
            mangles: if anchor { 0 } else { chance(15, 20) },
            declines: chance(20, 30),
            doubles: chance(25, 50),
            echoes: chance(25, 30),
            damages: chance(25, 40),
            misses: chance(25, 40),
            crashes: if anchor { 0 } else { chance(15, 10) },
        };
    }
}
