//! What volunteers of one core spend their time on: each moment of each is of one kind.

use std::collections::BTreeMap;

/// A kind of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spent {
    /// It computed what was counted.
    Useful,
    /// It computed what others had done before its answer came, or of an earlier round.
    Overtaken,
    /// It computed what was lost because it left.
    Lost,
    /// It had been given something, which was on its way, or its shard or its answer was.
    OnTheWay,
    /// It had nothing, while units were free that others were to be done with earlier.
    HeldBack,
    /// It had nothing, because nothing was free: the end of a round.
    NothingFree,
    /// It had nothing, because no round was open.
    NoRound,
    /// It was there and had not joined yet.
    Arriving,
    /// It was not there.
    Absent,
}

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supply {
    NoRound,
    NothingFree,
    Free,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Absent,
    Arriving,
    Joined,
}

/// Follows all volunteers.
#[derive(Debug)]
pub(crate) struct Timesheet {
    rows: Vec<Row>,
    supply: Supply,
}

#[derive(Debug)]
struct Row {
    place: Place,
    computes: bool,
    is_asked: bool,
    since_ms: u64,
    spent: BTreeMap<Spent, u64>,
    /// What it has computed, or is computing, and is not counted: with whether it has left since.
    done: Vec<(u32, Piece)>,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    ms: u64,
    ends_ms: u64,
    has_left: bool,
}

impl Row {
    fn kind(&self, supply: Supply) -> Option<Spent> {
        match (self.place, supply) {
            (Place::Absent, _) => Some(Spent::Absent),
            // What comes of it decides the kind.
            _ if self.computes => None,
            (Place::Arriving, _) => Some(Spent::Arriving),
            _ if self.is_asked => Some(Spent::OnTheWay),
            (_, Supply::NoRound) => Some(Spent::NoRound),
            (_, Supply::NothingFree) => Some(Spent::NothingFree),
            (_, Supply::Free) => Some(Spent::HeldBack),
        }
    }

    fn close(&mut self, now_ms: u64, supply: Supply) {
        if let Some(kind) = self.kind(supply) {
            self.add(kind, now_ms - self.since_ms);
        }
        self.since_ms = now_ms;
    }

    fn add(&mut self, kind: Spent, ms: u64) {
        *self.spent.entry(kind).or_default() += ms;
    }

    /// What is not counted until then never is.
    fn settle(&mut self) {
        for (_, piece) in std::mem::take(&mut self.done) {
            self.add(if piece.has_left { Spent::Lost } else { Spent::Overtaken }, piece.ms);
        }
    }
}

impl Timesheet {
    pub(crate) fn new(guests: usize) -> Timesheet {
        let row = || Row {
            place: Place::Absent,
            computes: false,
            is_asked: false,
            since_ms: 0,
            spent: BTreeMap::new(),
            done: Vec::new(),
        };
        Timesheet { rows: (0..guests).map(|_| row()).collect(), supply: Supply::NoRound }
    }

    fn change(&mut self, now_ms: u64, guest: usize, change: impl FnOnce(&mut Row)) {
        let row = &mut self.rows[guest];
        row.close(now_ms, self.supply);
        change(row);
    }

    pub(crate) fn arrives(&mut self, now_ms: u64, guest: usize) {
        self.change(now_ms, guest, |row| (row.place, row.is_asked) = (Place::Arriving, false));
    }

    pub(crate) fn joins(&mut self, now_ms: u64, guest: usize) {
        self.change(now_ms, guest, |row| row.place = Place::Joined);
    }

    pub(crate) fn leaves(&mut self, now_ms: u64, guest: usize) {
        self.change(now_ms, guest, |row| {
            (row.place, row.computes) = (Place::Absent, false);
            for (_, piece) in &mut row.done {
                piece.has_left = true;
                piece.ms -= piece.ms.min(piece.ends_ms.saturating_sub(now_ms));
            }
        });
    }

    /// It begins with units at once, or when it is done with what it has, each of which takes so long.
    pub(crate) fn computes(&mut self, now_ms: u64, guest: usize, begins_ms: u64, units: Vec<(u32, u64)>) {
        self.change(now_ms, guest, |row| {
            row.computes = true;
            let mut ends_ms = begins_ms;
            for (unit, ms) in units {
                ends_ms += ms;
                row.done.push((unit, Piece { ms, ends_ms, has_left: false }));
            }
        });
    }

    /// It is done with all that it had.
    pub(crate) fn rests(&mut self, now_ms: u64, guest: usize) {
        self.change(now_ms, guest, |row| row.computes = false);
    }

    /// Whether there is something that the coordinator waits for.
    pub(crate) fn is_asked(&mut self, now_ms: u64, guest: usize, is_asked: bool) {
        if self.rows[guest].is_asked != is_asked {
            self.change(now_ms, guest, |row| row.is_asked = is_asked);
        }
    }

    /// Units of it were counted.
    pub(crate) fn counted(&mut self, guest: usize, units: &[u32]) {
        let row = &mut self.rows[guest];
        for unit in units {
            let newest = row.done.iter().rposition(|(one, _)| one == unit);
            if let Some(place) = newest {
                let (_, piece) = row.done.remove(place);
                row.add(Spent::Useful, piece.ms);
            }
        }
    }

    pub(crate) fn supply(&mut self, now_ms: u64, supply: Supply) {
        if supply != self.supply {
            for row in &mut self.rows {
                row.close(now_ms, self.supply);
            }
            self.supply = supply;
        }
    }

    pub(crate) fn round_ends(&mut self) {
        self.rows.iter_mut().for_each(Row::settle);
    }

    /// All of it until then, by volunteer.
    pub(crate) fn close(mut self, now_ms: u64) -> Vec<BTreeMap<Spent, u64>> {
        for row in &mut self.rows {
            row.close(now_ms, self.supply);
            for (_, piece) in &mut row.done {
                piece.ms -= piece.ms.min(piece.ends_ms.saturating_sub(now_ms));
            }
            row.settle();
        }
        self.rows.into_iter().map(|row| row.spent).collect()
    }
}
