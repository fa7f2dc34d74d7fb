//! What leaves a volunteer's machine instead of what its hub said.

use std::collections::BTreeMap;

use protocol::frame::{UpwardFrame, decode_upward, encode_chunks};
use protocol::limits::FRAGMENT_BYTES;
use protocol::message::{FromVolunteer, ResultHeader, Unfit};
use protocol::pack::{pack, unpack};
use protocol::plan::Assignment;

use crate::scenario::{Lie, LieKind, Manners};
use crate::stage::Stage;

/// See the module's description.
pub(crate) struct Mouth {
    manners: Manners,
    lie: Option<Lie>,
    parameters: usize,
    /// Results sent so far.
    told: u64,
    assignments: BTreeMap<u64, Assignment>,
    /// A result whose chunks are still coming.
    result: Vec<Vec<u8>>,
    chunks_due: usize,
    /// A result sent earlier.
    earlier: Vec<Vec<u8>>,
}

impl Mouth {
    pub(crate) fn new(manners: Manners, lie: Option<Lie>, parameters: usize) -> Mouth {
        let (assignments, result, earlier) = Default::default();
        Mouth { manners, lie, parameters, told: 0, assignments, result, chunks_due: 0, earlier }
    }

    /// Notes what is asked, to lie about it.
    pub(crate) fn hears(&mut self, assignment: Assignment) {
        self.assignments.insert(assignment.assignment, assignment);
    }

    /// What is sent when the hub sends `frame`.
    pub(crate) fn says(
        &mut self,
        stage: &mut Stage,
        guest: usize,
        calm: bool,
        frame: Vec<u8>,
    ) -> Vec<Vec<u8>> {
        match decode_upward(&frame).expect("a hub's frames can be read") {
            UpwardFrame::Message(FromVolunteer::Result(header)) => {
                self.chunks_due = (header.vector_bytes as usize).div_ceil(FRAGMENT_BYTES);
                self.result = vec![frame];
            }
            UpwardFrame::Chunk(_) => {
                self.chunks_due -= 1;
                self.result.push(frame);
            }
            UpwardFrame::Message(_) => return vec![frame],
        }
        if self.chunks_due > 0 {
            return Vec::new();
        }
        let mut result = std::mem::take(&mut self.result);
        self.told += 1;
        if let Some(lie) = self.lie.filter(|lie| self.told > lie.after && stage.draw.percent(lie.chance)) {
            result = self.falsify(stage, guest, lie.kind, result);
        }
        if calm { result } else { self.distort(stage, guest, result) }
    }

    /// A result of the right shape that is wrong, unless it happens to be right.
    fn falsify(&self, stage: &mut Stage, guest: usize, kind: LieKind, result: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let Ok(UpwardFrame::Message(FromVolunteer::Result(mut header))) = decode_upward(&result[0]) else {
            unreachable!("a result begins with its header")
        };
        let (truth, has_vector) = (header.clone(), header.vector_bytes > 0);
        let mut packed = Vec::new();
        for frame in &result[1..] {
            let Ok(UpwardFrame::Chunk(chunk)) = decode_upward(frame) else { unreachable!("chunks follow") };
            packed.extend_from_slice(chunk);
        }
        let mut vector = if has_vector { unpack(&packed, self.parameters).unwrap() } else { Vec::new() };
        let right = vector.clone();
        kind.change(&mut header, &mut vector);
        if header == truth && vector == right {
            return result;
        }
        let packed = pack(&vector);
        header.vector_bytes = if has_vector { packed.len() as u32 } else { 0 };
        stage.told.insert((guest, header.assignment));
        stage.fault(
            "wrong result",
            format_args!("volunteer {guest}, assignment {}, {kind:?}", header.assignment),
        );
        let mut frames = vec![FromVolunteer::Result(header).encode()];
        if has_vector {
            frames.extend(encode_chunks(&packed));
        }
        frames
    }

    fn distort(&mut self, stage: &mut Stage, guest: usize, result: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let Ok(UpwardFrame::Message(FromVolunteer::Result(header))) = decode_upward(&result[0]) else {
            unreachable!("a result begins with its header")
        };
        let assignment = header.assignment;
        let Manners { lies, lies_about_steps, mangles, declines, doubles, echoes, .. } = self.manners;
        let lies = if header.losses.len() > 1 { lies_about_steps } else { lies };
        if stage.draw.percent(lies) {
            let Some(asked) = self.assignments.get(&assignment) else { return result };
            let unit = asked.units[0].start;
            stage.fault(
                "lie about a unit",
                format_args!("volunteer {guest}, assignment {assignment}, unit {unit}"),
            );
            return vec![FromVolunteer::Unfit(Unfit { assignment, round: header.round, unit }).encode()];
        }
        if stage.draw.percent(mangles) {
            let (what, frames) = mangle(stage, header, result);
            stage.fault(
                "malformed result",
                format_args!("volunteer {guest}, assignment {assignment}, {what}"),
            );
            return frames;
        }
        if stage.draw.percent(declines) {
            stage.fault("declined", format_args!("volunteer {guest}, assignment {assignment}"));
            return vec![FromVolunteer::Decline { assignment, reason: "for no reason".into() }.encode()];
        }
        let mut frames = result.clone();
        if stage.draw.percent(doubles) {
            stage.fault("duplicate result", format_args!("volunteer {guest}, assignment {assignment}"));
            frames.extend(result.clone());
        }
        if stage.draw.percent(echoes) {
            stage.fault("old result again", format_args!("volunteer {guest}"));
            frames.extend(self.earlier.clone());
        }
        self.earlier = result;
        frames
    }
}

/// A result that no honest volunteer sends, and what is wrong with it.
fn mangle(stage: &mut Stage, mut header: ResultHeader, result: Vec<Vec<u8>>) -> (&'static str, Vec<Vec<u8>>) {
    let has_vector = header.vector_bytes > 0;
    let mut vector = None;
    let what = match stage.draw.between(0, if has_vector { 9 } else { 7 }) {
        0 => {
            header.run += 1;
            "another run"
        }
        1 => {
            header.round += 1;
            "another round"
        }
        2 => {
            header.version += 1;
            "another version"
        }
        3 => {
            header.losses.push(1);
            "a loss too many"
        }
        4 => {
            header.losses[0] = i64::MIN;
            "a loss out of range"
        }
        5 => {
            header.unfit_steps = 1 << 31;
            "a step that was not asked for"
        }
        6 => {
            header.correct = u64::MAX;
            "too many correct"
        }
        7 => {
            return ("no frame at all", vec![vec![99; 5]]);
        }
        8 => {
            vector = Some(Vec::new());
            "no vector"
        }
        _ => {
            // There are no integers of 255 bits.
            vector = Some(vec![255; header.vector_bytes as usize]);
            "a vector that cannot be unpacked"
        }
    };
    let Some(vector) = vector else {
        let rest = result.into_iter().skip(1);
        return (what, [FromVolunteer::Result(header).encode()].into_iter().chain(rest).collect());
    };
    header.vector_bytes = vector.len() as u32;
    let header = FromVolunteer::Result(header).encode();
    (what, [header].into_iter().chain(encode_chunks(&vector)).collect())
}
