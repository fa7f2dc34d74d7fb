//! Cuts examples that memory does not hold into shards, some at a time, and keeps these in a [`Cabinet`].

use std::ops::Range;
use std::sync::Arc;

use protocol::plan::{Set, SetPlan, ShardRef};
use protocol::shard;
use rayon::prelude::*;

use super::cabinet::Cabinet;
use super::examples::{Examples, Piece, ShardExamples};
use super::shards::empty_plan;
use super::{DataError, Prepared, TargetValues};

/// Bytes of rows that are cut at a time, unless a single shard has more.
const WINDOW_BYTES: usize = 16 << 20;

/// Cuts all sets that memory does not hold. What memory holds stays there.
///
/// # Errors
/// When the columns cannot be read, or the shards not be written.
pub fn cut_into(
    data: Prepared,
    examples_per_unit: u32,
    cabinet: &Arc<Cabinet>,
) -> Result<Prepared, DataError> {
    let task = data.task();
    let cut = |set: Set, examples: Examples| {
        if matches!(examples, Examples::Memory(_)) {
            return Ok(examples);
        }
        let (plan, classes) = cut_set(&examples, empty_plan(&data, set, examples_per_unit), cabinet)?;
        let (cabinet, columns) = (Arc::clone(cabinet), examples.columns());
        Ok::<_, DataError>(Examples::Shards(ShardExamples { cabinet, plan, columns, task, classes }))
    };
    let validation = data.validation.clone().map(|set| cut(Set::Validation, set)).transpose()?;
    let test = data.test.clone().map(|set| cut(Set::Test, set)).transpose()?;
    let train = cut(Set::Training, data.train.clone())?;
    Ok(Prepared { train, validation, test, ..data })
}

type Classes = Vec<Vec<(u16, u32)>>;

fn cut_set(
    examples: &Examples,
    mut plan: SetPlan,
    cabinet: &Cabinet,
) -> Result<(SetPlan, Classes), DataError> {
    let shards = plan.units().div_ceil(plan.units_per_shard);
    let each = plan.examples_per_unit as usize * plan.units_per_shard as usize;
    let at_once = (WINDOW_BYTES / each.saturating_mul(4 * examples.columns()).max(1)).max(1);
    let mut classes = Vec::new();
    for first in (0..shards).step_by(at_once) {
        let window = first..shards.min(first.saturating_add(at_once as u32));
        let ranges: Vec<Range<usize>> = window
            .map(|shard| plan.examples_in_shard(shard))
            .map(|range| range.start as usize..range.end as usize)
            .collect();
        let (Some(start), Some(end)) = (ranges.first(), ranges.last()) else { break };
        let start = start.start;
        let piece = examples.piece(start..end.end)?;
        let kept: Result<Vec<_>, DataError> = ranges
            .into_par_iter()
            .map(|range| keep(&piece, range.start - start..range.end - start, cabinet))
            .collect();
        for (shard, counted) in kept? {
            plan.shards.push(shard);
            classes.push(counted);
        }
    }
    Ok((plan, classes))
}

/// Encodes some examples of a piece and keeps the shard.
fn keep(
    piece: &Piece<'_>,
    range: Range<usize>,
    cabinet: &Cabinet,
) -> Result<(ShardRef, Vec<(u16, u32)>), DataError> {
    let (table, all) = piece.of();
    let range = all.start + range.start..all.start + range.end;
    let mut counted: Vec<(u16, u32)> = Vec::new();
    if let TargetValues::Classes(ids) = table.target_values() {
        let mut ids = ids[range.clone()].to_vec();
        ids.sort_unstable();
        counted = ids.chunk_by(|one, other| one == other).map(|some| (some[0], some.len() as u32)).collect();
    }
    let encoded = shard::encode(&table.rows(range.clone()), &table.targets(range));
    Ok((cabinet.keep(&encoded)?, counted))
}
