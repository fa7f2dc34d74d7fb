//! Virtual time, the queue of what is to happen, and the connections between the players.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Answer, Measure};
use worker::FromCompute;

use crate::random::Draw;
use crate::scenario::{Happening, Trouble};
use crate::timesheet::Timesheet;

/// Something that happens at a moment of virtual time.
#[derive(Debug)]
pub(crate) enum Event {
    /// A volunteer tries to connect.
    Connects { guest: usize, life: u64 },
    /// Something arrives at the coordinator.
    Up { connection: u64, item: Item },
    /// Something arrives at a volunteer.
    Down { guest: usize, connection: u64, item: Item },
    /// A compute worker has something to say; `None` when it has died.
    Compute { guest: usize, life: u64, compute: u32, message: Option<FromCompute> },
    /// A download has ended.
    Shard { guest: usize, life: u64, fetch: u64, bytes: Option<Vec<u8>> },
    /// A hub wanted to be woken.
    Tick { guest: usize, life: u64 },
    /// Something that the scenario wants.
    Happening { guest: usize, happening: Happening },
    /// The engine wanted to be woken.
    Wake { life: u64 },
    /// The training may begin.
    Begin { life: u64 },
    /// The referee has an answer.
    Measured { life: u64, round: u64, unit: u32, measure: Measure },
    /// So does the coordinator's own computation of several units.
    Recomputed { life: u64, round: u64, answer: Option<Answer> },
    /// The referee could not answer, what it was asked to measure or else to recompute.
    NotAnswered { life: u64, round: u64, measured: Option<u32> },
    /// The coordinator says that it is there.
    Heartbeat { life: u64 },
    /// The coordinator dies.
    Kill { kill: usize },
    /// It is started again.
    Restart,
    /// Something happens to its machine.
    Trouble { trouble: Trouble },
    /// The operator wants a pause, or no longer.
    Pause { begins: bool },
}

impl Event {
    /// Whether the coordinator's process must run for this.
    pub(crate) fn is_hosts(&self) -> bool {
        matches!(
            self,
            Event::Up { .. }
                | Event::Wake { .. }
                | Event::Begin { .. }
                | Event::Measured { .. }
                | Event::Recomputed { .. }
                | Event::NotAnswered { .. }
                | Event::Heartbeat { .. }
        )
    }

    /// The volunteer whose machine must be awake for this.
    pub(crate) fn on_machine(&self) -> Option<usize> {
        match self {
            Event::Connects { guest, .. }
            | Event::Down { guest, .. }
            | Event::Compute { guest, .. }
            | Event::Shard { guest, .. }
            | Event::Tick { guest, .. } => Some(*guest),
            _ => None,
        }
    }
}

/// What travels on a connection.
#[derive(Debug)]
pub(crate) enum Item {
    Frame(Vec<u8>),
    /// The other end closes, or is found to be gone.
    Close,
}

impl Item {
    pub(crate) fn is_close(&self) -> bool {
        matches!(self, Item::Close)
    }
}

/// A connection. What is sent on it arrives in order, but connections know nothing of each other.
#[derive(Debug)]
struct Connection {
    guest: usize,
    latency_ms: (u64, u64),
    /// When the last thing sent arrives.
    up_ms: u64,
    down_ms: u64,
    /// Nothing arrives any more.
    cut: bool,
}

/// See the module's description.
pub(crate) struct Stage {
    pub(crate) now_ms: u64,
    pub(crate) draw: Draw,
    /// Faults so far, for whoever must understand a failure.
    pub(crate) log: Vec<String>,
    /// How often each kind of fault has happened.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// Wrong results that were sent since the coordinator was started: the volunteer and the assignment.
    pub(crate) told: BTreeSet<(usize, u64)>,
    /// What the volunteers' time is spent on.
    pub(crate) sheet: Timesheet,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    connections: BTreeMap<u64, Connection>,
    connected: u64,
}

impl Stage {
    pub(crate) fn new(seed: u64, guests: usize) -> Stage {
        Stage {
            now_ms: 0,
            draw: Draw::new(seed, "stage"),
            log: Vec::new(),
            faults: BTreeMap::new(),
            told: BTreeSet::new(),
            sheet: Timesheet::new(guests),
            queue: BTreeMap::new(),
            queued: 0,
            connections: BTreeMap::new(),
            connected: 0,
        }
    }

    /// The next event; moves time to it.
    pub(crate) fn next(&mut self) -> Option<(u64, Event)> {
        let ((at_ms, number), event) = self.queue.pop_first()?;
        self.now_ms = at_ms;
        Some((number, event))
    }

    pub(crate) fn at(&mut self, at_ms: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((at_ms.max(self.now_ms), self.queued), event);
    }

    pub(crate) fn after(&mut self, delay_ms: u64, event: Event) {
        self.at(self.now_ms + delay_ms, event);
    }

    /// Puts an event off without changing its place among others of the same moment.
    pub(crate) fn put_off(&mut self, at_ms: u64, number: u64, event: Event) {
        self.queue.insert((at_ms, number), event);
    }

    /// Notes a fault.
    pub(crate) fn fault(&mut self, kind: &'static str, detail: impl std::fmt::Display) {
        *self.faults.entry(kind).or_default() += 1;
        self.log.push(format!("{:>9} ms  {kind}: {detail}", self.now_ms));
    }

    pub(crate) fn connect(&mut self, guest: usize, latency_ms: (u64, u64)) -> u64 {
        self.connected += 1;
        let (up_ms, down_ms) = (self.now_ms, self.now_ms);
        self.connections.insert(self.connected, Connection { guest, latency_ms, up_ms, down_ms, cut: false });
        self.connected
    }

    /// Sends toward the coordinator.
    pub(crate) fn send_up(&mut self, connection: u64, item: Item) {
        let Some(line) = self.connections.get_mut(&connection) else { return };
        let latency_ms = self.draw.between(line.latency_ms.0, line.latency_ms.1);
        line.up_ms = line.up_ms.max(self.now_ms + latency_ms);
        let at_ms = line.up_ms;
        self.at(at_ms, Event::Up { connection, item });
    }

    /// Sends toward the volunteer.
    pub(crate) fn send_down(&mut self, connection: u64, item: Item) {
        let Some(line) = self.connections.get_mut(&connection) else { return };
        let latency_ms = self.draw.between(line.latency_ms.0, line.latency_ms.1);
        line.down_ms = line.down_ms.max(self.now_ms + latency_ms);
        let (at_ms, guest) = (line.down_ms, line.guest);
        self.at(at_ms, Event::Down { guest, connection, item });
    }

    /// Whether frames on their way still arrive.
    pub(crate) fn is_cut(&self, connection: u64) -> bool {
        self.connections.get(&connection).is_none_or(|line| line.cut)
    }

    /// Breaks a connection: what is on its way is lost, and each end notices some time later.
    pub(crate) fn cut(&mut self, connection: u64, up_notices_ms: u64, down_notices_ms: u64) {
        let Some(line) = self.connections.get_mut(&connection) else { return };
        if line.cut {
            return;
        }
        line.cut = true;
        let guest = line.guest;
        self.after(up_notices_ms, Event::Up { connection, item: Item::Close });
        self.after(down_notices_ms, Event::Down { guest, connection, item: Item::Close });
    }
}
