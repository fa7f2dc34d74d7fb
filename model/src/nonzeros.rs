//! Lists of the nonzero inputs, so that a first dense layer can leave out the zeros.
//!
//! No result depends on the lists: `kernels` says why the bits stay the same, and
//! `Network::with_usable_nonzeros` says when the zeros stay in.

use std::ops::Range;

use crate::examples::{Preprocessing, Rows};
use crate::kernels::Lists;

/// The places that are not zero after preprocessing, for each row of a table of examples. Each shard has one
/// such list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonZeros {
    /// Row i has the places `starts[i]..starts[i + 1]`.
    starts: Vec<u32>,
    places: Vec<u16>,
}

/// Maximum number of features that a list can number.
const FEATURES_MAX: u64 = 1 << 16;

/// The [`NonZeros`] of some consecutive rows.
#[derive(Debug, Clone, Copy)]
pub struct NonZeroRows<'a> {
    /// One more entry than there are rows.
    starts: &'a [u32],
    places: &'a [u16],
}

impl NonZeros {
    /// Lists the nonzero inputs. Returns `None` if leaving out the zeros would not pay, because more than
    /// half of the inputs are not zero or there are too many features.
    ///
    /// # Panics
    /// If `preprocessing` has another number of features.
    pub fn of(rows: &Rows<'_>, preprocessing: &Preprocessing) -> Option<NonZeros> {
        let (examples, features) = match rows {
            Rows::U8(rows) => rows.dim(),
            Rows::F32(rows) => rows.dim(),
        };
        assert_eq!(features, preprocessing.len(), "preprocessing of another width");
        if features as u64 > FEATURES_MAX || u32::try_from(examples * features).is_err() {
            return None;
        }
        let mut inputs = vec![0.0; features];
        let mut starts = Vec::with_capacity(examples + 1);
        // Reserved at full size, because a growing vector exists twice for a while.
        let mut places = Vec::with_capacity(examples * features / 2 + features);
        starts.push(0);
        for row in 0..examples {
            preprocessing.apply(rows, row, &mut inputs);
            places.extend((0..features).filter(|&place| inputs[place] != 0.0).map(|place| place as u16));
            if places.len() > examples * features / 2 {
                return None;
            }
            starts.push(places.len() as u32);
        }
        places.shrink_to_fit();
        Some(NonZeros { starts, places })
    }

    /// The lists of the rows `range`.
    ///
    /// # Panics
    /// If there are fewer rows.
    pub fn rows(&self, range: Range<usize>) -> NonZeroRows<'_> {
        NonZeroRows { starts: &self.starts[range.start..=range.end], places: &self.places }
    }

    /// Maximum bytes of the lists of this many examples, also during their construction.
    pub fn bytes_max(examples: u64, features: u64) -> u64 {
        if features > FEATURES_MAX {
            return 0;
        }
        // Two bytes for each of half of the inputs and of one more example's, and four bytes per example.
        let places = examples.saturating_mul(features).saturating_add(2 * features);
        places.saturating_add(examples.saturating_add(1).saturating_mul(4))
    }

    /// Bytes of memory that the lists take.
    pub fn bytes(&self) -> usize {
        4 * self.starts.len() + 2 * self.places.len()
    }
}

/// The nonzero inputs of a sub-batch. The buffers grow as needed and are reused.
#[derive(Debug, Default)]
pub(crate) struct InputLists {
    /// Places and values, grouped by example.
    by_example: OwnedLists,
    /// Examples and values, grouped by place.
    by_place: OwnedLists,
}

#[derive(Debug, Default)]
struct OwnedLists {
    starts: Vec<u32>,
    places: Vec<u32>,
    values: Vec<f32>,
}

impl InputLists {
    /// Removes all examples.
    pub(crate) fn clear(&mut self) {
        let OwnedLists { starts, places, values } = &mut self.by_example;
        starts.clear();
        starts.push(0);
        places.clear();
        values.clear();
    }

    /// Adds row `row` of `rows`, whose nonzero places are `nonzeros`.
    pub(crate) fn push(
        &mut self,
        rows: &Rows<'_>,
        nonzeros: &NonZeroRows<'_>,
        preprocessing: &Preprocessing,
        row: usize,
    ) {
        let of_row = &nonzeros.places[nonzeros.starts[row] as usize..nonzeros.starts[row + 1] as usize];
        let OwnedLists { starts, places, values } = &mut self.by_example;
        places.extend(of_row.iter().map(|&place| u32::from(place)));
        let input = |place: u16, raw: f32| {
            (raw - preprocessing.offset[usize::from(place)]) * preprocessing.scale[usize::from(place)]
        };
        match rows {
            Rows::U8(rows) => {
                let row = rows.row(row);
                let raw = |place: u16| f32::from(row[usize::from(place)]);
                values.extend(of_row.iter().map(|&place| input(place, raw(place))));
            }
            Rows::F32(rows) => {
                let row = rows.row(row);
                values.extend(of_row.iter().map(|&place| input(place, row[usize::from(place)])));
            }
        }
        starts.push(places.len() as u32);
    }

    pub(crate) fn by_example(&self) -> Lists<'_> {
        self.by_example.view()
    }

    /// The same elements, ordered by the first `features` places and then by example.
    pub(crate) fn by_place(&mut self, features: usize) -> Lists<'_> {
        let OwnedLists { starts, places: examples, values } = &mut self.by_place;
        let elements = self.by_example.places.len();
        // Each count is stored one place later, so that filling the lists moves every start to its own place.
        starts.clear();
        starts.resize(features + 2, 0);
        for &place in &self.by_example.places {
            starts[place as usize + 2] += 1;
        }
        for place in 2..features + 2 {
            starts[place] += starts[place - 1];
        }
        examples.resize(elements.max(examples.len()), 0);
        values.resize(elements.max(values.len()), 0.0);
        for (example, range) in self.by_example.starts.windows(2).enumerate() {
            let range = range[0] as usize..range[1] as usize;
            let elements = self.by_example.places[range.clone()].iter().zip(&self.by_example.values[range]);
            for (&place, &value) in elements {
                let at = &mut starts[place as usize + 1];
                examples[*at as usize] = example as u32;
                values[*at as usize] = value;
                *at += 1;
            }
        }
        starts.truncate(features + 1);
        Lists { starts, places: &examples[..elements], values: &values[..elements] }
    }

    /// Writes the inputs, including zeros, to rows of `features` values.
    pub(crate) fn expand(&self, features: usize, inputs: &mut [f32]) {
        inputs.fill(0.0);
        let OwnedLists { starts, places, values } = &self.by_example;
        for (inputs, range) in inputs.chunks_exact_mut(features).zip(starts.windows(2)) {
            for at in range[0] as usize..range[1] as usize {
                inputs[places[at] as usize] = values[at];
            }
        }
    }
}

impl OwnedLists {
    fn view(&self) -> Lists<'_> {
        Lists { starts: &self.starts, places: &self.places, values: &self.values }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_lists_hold_what_is_not_zero_after_preprocessing() {
        let rows = array![[3u8, 0, 3, 3], [3, 3, 3, 9], [3, 3, 3, 3], [1, 3, 3, 3]];
        let preprocessing = Preprocessing::uniform(4, 3.0, 0.5);
        let rows = Rows::U8(rows.view());
        let nonzeros = NonZeros::of(&rows, &preprocessing).unwrap();
        let mut lists = InputLists::default();
        lists.clear();
        let part = nonzeros.rows(0..4);
        for row in [0, 1, 2, 3, 0] {
            lists.push(&rows, &part, &preprocessing, row);
        }
        let by_example = lists.by_example();
        assert_eq!(by_example.starts, [0, 1, 2, 2, 3, 4]);
        assert_eq!(by_example.places, [1, 3, 0, 1]);
        assert_eq!(by_example.values, [-1.5, 3.0, -1.0, -1.5]);
        let mut inputs = [f32::NAN; 20];
        lists.expand(4, &mut inputs);
        assert_eq!(inputs[..8], [0.0, -1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0]);
        let by_place = lists.by_place(4);
        assert_eq!(by_place.starts, [0, 1, 3, 3, 4]);
        assert_eq!(by_place.places, [3, 0, 4, 1]);
        assert_eq!(by_place.values, [-1.0, -1.5, -1.5, 3.0]);
    }

    #[test]
    fn inputs_that_are_mostly_not_zero_have_no_lists() {
        let rows = array![[1.0f32, 0.0, f32::NAN], [0.0, 2.0, -0.0]];
        let rows = Rows::F32(rows.view());
        assert!(NonZeros::of(&rows, &Preprocessing::identity(3)).is_some());
        assert!(NonZeros::of(&rows, &Preprocessing::uniform(3, 0.5, 1.0)).is_none());
    }
}
