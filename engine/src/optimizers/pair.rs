//! A curvature pair and its layout in memory.

use std::ops::Range;
use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::vectors::{GROUPS_IN_BLOCK, LANES, Reusable, Scalar, fill};

/// Bytes of a page of memory, which is also the span that a cache indexes by.
const PAGE_BYTES: u64 = 4096;

/// A pair is shifted by up to 2^4 - 1 groups.
const SKIP_BITS: u32 = 4;

/// A change of weights s and the resulting change of gradient y, with s'y > 0. Cloning shares the vectors.
///
/// s and y lie interleaved, so that both passes over the memory read half as many streams. With twenty
/// streams (ten pairs), a processor's caches and prefetching no longer keep up.
#[derive(Debug, Clone)]
pub struct CurvaturePair<T> {
    length: usize,
    /// Unused groups before the first one; see [`CurvaturePair::zeros`].
    skip: usize,
    groups: Arc<[Group<T>]>,
}

/// [`LANES`] elements of s and the same elements of y; with f32, one cache line. Zeros fill up the last group
/// and add nothing to a sum.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Group<T> {
    pub(super) s: [T; LANES],
    pub(super) y: [T; LANES],
}

impl<T: Scalar> CurvaturePair<T> {
    /// The pair of `s` and `y`, each with one value per parameter.
    ///
    /// # Panics
    /// If they differ in length.
    pub fn new(s: &[T], y: &[T]) -> Self {
        assert_eq!(s.len(), y.len(), "s and y differ in length");
        let mut pair = Self::zeros(s.len());
        for (group, (s, y)) in pair.groups_mut().iter_mut().zip(s.chunks(LANES).zip(y.chunks(LANES))) {
            group.s[..s.len()].copy_from_slice(s);
            group.y[..y.len()].copy_from_slice(y);
        }
        pair
    }

    /// A pair of zeros that its maker can still write to.
    ///
    /// Large vectors all begin at the same offset within a page of memory. A cache finds lines by their
    /// offset within a page, so ten vectors read side by side would evict each other. Each pair is therefore
    /// shifted by an offset derived from its page number.
    pub(super) fn zeros(length: usize) -> Self {
        let group = Group { s: [T::ZERO; LANES], y: [T::ZERO; LANES] };
        let count = length.div_ceil(LANES) + (1 << SKIP_BITS) - 1;
        let groups: Arc<[Group<T>]> = std::iter::repeat_n(group, count).collect();
        let page = groups.as_ptr().addr() as u64 / PAGE_BYTES;
        // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, 6.4): neighbors scatter.
        let skip = page.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SKIP_BITS);
        Self { length, skip: skip as usize, groups }
    }

    /// The groups of block number `index`; the last one may be shorter.
    pub(super) fn block(&self, index: usize) -> &[Group<T>] {
        let start = index * GROUPS_IN_BLOCK;
        let groups = &self.groups[self.range()];
        &groups[start..groups.len().min(start + GROUPS_IN_BLOCK)]
    }

    /// The groups of a pair that nobody else holds yet.
    pub(super) fn groups_mut(&mut self) -> &mut [Group<T>] {
        let range = self.range();
        &mut fill(&mut self.groups)[range]
    }

    fn range(&self) -> Range<usize> {
        self.skip..self.skip + self.length.div_ceil(LANES)
    }

    fn s(&self) -> impl Iterator<Item = T> {
        let groups = &self.groups[self.range()];
        (0..self.length).map(move |index| groups[index / LANES].s[index % LANES])
    }

    fn y(&self) -> impl Iterator<Item = T> {
        let groups = &self.groups[self.range()];
        (0..self.length).map(move |index| groups[index / LANES].y[index % LANES])
    }
}

impl<T: Scalar> Reusable for CurvaturePair<T> {
    fn length(&self) -> usize {
        self.length
    }

    fn is_unshared(&mut self) -> bool {
        self.groups.is_unshared()
    }
}

/// The saved form of a pair: one vector after the other.
#[derive(Serialize, Deserialize)]
#[serde(rename = "CurvaturePair")]
struct Saved<S, Y> {
    s: S,
    y: Y,
}

impl<T: Scalar> Serialize for CurvaturePair<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Saved { s: Elements(|| self.s()), y: Elements(|| self.y()) }.serialize(serializer)
    }
}

impl<'de, T: Scalar> Deserialize<'de> for CurvaturePair<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Saved { s, y } = Saved::<Vec<T>, Vec<T>>::deserialize(deserializer)?;
        if s.len() != y.len() {
            return Err(D::Error::custom("the vectors of a curvature pair differ in length"));
        }
        Ok(Self::new(&s, &y))
    }
}

/// A sequence of elements, serialized without a copy.
struct Elements<F>(F);

impl<T: Scalar, I: Iterator<Item = T>, F: Fn() -> I> Serialize for Elements<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0())
    }
}
