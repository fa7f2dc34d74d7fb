//! Numbers in the narrowest type that gives back every bit of them.

use std::fmt;

use rayon::prelude::*;

/// A column of numbers, NaN where there is none. Whole numbers from 0 to 255 take a byte each, others up to 32,767
/// two, numbers that 32 bits hold four. A column widens as a whole when a value comes that needs it.
#[derive(Clone)]
pub struct Numbers(Cells);

#[derive(Clone)]
enum Cells {
    U8(Vec<u8>),
    /// The least value stands for NaN.
    I16(Vec<i16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// The types of [`Cells`]: each holds all values of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    U8,
    I16,
    F32,
    F64,
}

impl Width {
    fn of(value: f64) -> Self {
        // NaN becomes 0, and the sign of -0 is lost, both of which the bits tell.
        if f64::from(value as u8).to_bits() == value.to_bits() {
            Self::U8
        } else if value.is_nan()
            || (f64::from(value as i16).to_bits() == value.to_bits() && value > -32_768.0)
        {
            Self::I16
        } else if f64::from(value as f32).to_bits() == value.to_bits() {
            Self::F32
        } else {
            Self::F64
        }
    }

    /// The width that some values need, if it is more than this.
    fn widened(self, values: &[f64]) -> Self {
        let mut width = self;
        for &value in values {
            if width == Self::F64 {
                break;
            }
            width = width.max(Self::of(value));
        }
        width
    }
}

fn of_i16(value: i16) -> f64 {
    if value == i16::MIN { f64::NAN } else { f64::from(value) }
}

fn to_i16(value: f64) -> i16 {
    if value.is_nan() { i16::MIN } else { value as i16 }
}

impl Default for Numbers {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

/// Two are equal if their values are, whatever holds them. NaN is equal to nothing.
impl PartialEq for Numbers {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other.iter()).all(|(one, another)| one == another)
    }
}

impl FromIterator<f64> for Numbers {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        const VALUES_AT_A_TIME: usize = 4096;
        let mut numbers = Self::new();
        let mut values = values.into_iter();
        let mut some = Vec::with_capacity(VALUES_AT_A_TIME);
        loop {
            some.clear();
            some.extend(values.by_ref().take(VALUES_AT_A_TIME));
            if some.is_empty() {
                return numbers;
            }
            numbers.extend(&some);
        }
    }
}

/// The values as they are given, without a look at what would hold them.
impl From<Vec<f64>> for Numbers {
    fn from(values: Vec<f64>) -> Self {
        Self(Cells::F64(values))
    }
}

impl Numbers {
    /// No numbers.
    pub fn new() -> Self {
        Self(Cells::U8(Vec::new()))
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match &self.0 {
            Cells::U8(values) => values.len(),
            Cells::I16(values) => values.len(),
            Cells::F32(values) => values.len(),
            Cells::F64(values) => values.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One value. Panics outside of the column.
    #[inline]
    pub fn get(&self, index: usize) -> f64 {
        match &self.0 {
            Cells::U8(values) => f64::from(values[index]),
            Cells::I16(values) => of_i16(values[index]),
            Cells::F32(values) => f64::from(values[index]),
            Cells::F64(values) => values[index],
        }
    }

    /// All values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = f64> + Clone + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// All values with their places, in any order.
    pub(crate) fn par_iter(&self) -> impl IndexedParallelIterator<Item = f64> + '_ {
        (0..self.len()).into_par_iter().map(|index| self.get(index))
    }

    /// The values of these rows, in this order. Panics on a row outside of the column.
    pub(crate) fn gathered(&self, rows: &[u32]) -> Vec<f64> {
        let rows = rows.iter().map(|&row| row as usize);
        match &self.0 {
            Cells::U8(values) => rows.map(|row| f64::from(values[row])).collect(),
            Cells::I16(values) => rows.map(|row| of_i16(values[row])).collect(),
            Cells::F32(values) => rows.map(|row| f64::from(values[row])).collect(),
            Cells::F64(values) => rows.map(|row| values[row]).collect(),
        }
    }

    /// The same values in an order of rows. Panics on a row outside of the column.
    pub(crate) fn ordered(&self, order: &[u32]) -> Self {
        fn ordered<T: Copy + Send + Sync>(values: &[T], order: &[u32]) -> Vec<T> {
            order.par_iter().map(|&row| values[row as usize]).collect()
        }
        Self(match &self.0 {
            Cells::U8(values) => Cells::U8(ordered(values, order)),
            Cells::I16(values) => Cells::I16(ordered(values, order)),
            Cells::F32(values) => Cells::F32(ordered(values, order)),
            Cells::F64(values) => Cells::F64(ordered(values, order)),
        })
    }

    /// Some of the values. Panics on a range outside of the column.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        Self(match &self.0 {
            Cells::U8(values) => Cells::U8(values[range].to_vec()),
            Cells::I16(values) => Cells::I16(values[range].to_vec()),
            Cells::F32(values) => Cells::F32(values[range].to_vec()),
            Cells::F64(values) => Cells::F64(values[range].to_vec()),
        })
    }

    /// The values where all are whole and from 0 to 255, as long as nothing has widened them.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Cells::U8(values) => Some(values),
            _ => None,
        }
    }

    /// Bytes of memory that the values take.
    pub(crate) fn bytes_of_memory(&self) -> usize {
        match &self.0 {
            Cells::U8(values) => values.len(),
            Cells::I16(values) => size_of_val(values.as_slice()),
            Cells::F32(values) => size_of_val(values.as_slice()),
            Cells::F64(values) => size_of_val(values.as_slice()),
        }
    }

    fn width(&self) -> Width {
        match &self.0 {
            Cells::U8(_) => Width::U8,
            Cells::I16(_) => Width::I16,
            Cells::F32(_) => Width::F32,
            Cells::F64(_) => Width::F64,
        }
    }

    fn widen(&mut self, width: Width) {
        if width <= self.width() {
            return;
        }
        let values = self.iter();
        self.0 = match width {
            Width::U8 => return,
            Width::I16 => Cells::I16(values.map(to_i16).collect()),
            Width::F32 => Cells::F32(values.map(|value| value as f32).collect()),
            Width::F64 => Cells::F64(values.collect()),
        };
    }

    /// Appends values.
    pub(crate) fn extend(&mut self, more: &[f64]) {
        self.widen(self.width().widened(more));
        let more = more.iter().copied();
        match &mut self.0 {
            Cells::U8(values) => values.extend(more.map(|value| value as u8)),
            Cells::I16(values) => values.extend(more.map(to_i16)),
            Cells::F32(values) => values.extend(more.map(|value| value as f32)),
            Cells::F64(values) => values.extend(more),
        }
    }

    /// Appends bytes.
    pub(crate) fn extend_bytes(&mut self, more: impl Iterator<Item = u8>) {
        match &mut self.0 {
            Cells::U8(values) => values.extend(more),
            Cells::I16(values) => values.extend(more.map(i16::from)),
            Cells::F32(values) => values.extend(more.map(f32::from)),
            Cells::F64(values) => values.extend(more.map(f64::from)),
        }
    }

    /// Appends the values of a further column.
    pub(crate) fn append(&mut self, more: Self) {
        if self.is_empty() {
            *self = more;
            return;
        }
        match (&mut self.0, more.0) {
            (Cells::U8(values), Cells::U8(more)) => values.extend(more),
            (Cells::I16(values), Cells::I16(more)) => values.extend(more),
            (Cells::F32(values), Cells::F32(more)) => values.extend(more),
            (Cells::F64(values), Cells::F64(more)) => values.extend(more),
            (_, more) => {
                let more = Self(more);
                self.widen(more.width());
                match &mut self.0 {
                    Cells::U8(values) => values.extend(more.iter().map(|value| value as u8)),
                    Cells::I16(values) => values.extend(more.iter().map(to_i16)),
                    Cells::F32(values) => values.extend(more.iter().map(|value| value as f32)),
                    Cells::F64(values) => values.extend(more.iter()),
                }
            }
        }
    }

    /// Leaves out the rows that are not wanted.
    pub(crate) fn retain(&mut self, wanted: &[bool]) {
        fn retain<T>(values: &mut Vec<T>, wanted: &[bool]) {
            let mut wanted = wanted.iter();
            values.retain(|_| wanted.next() == Some(&true));
        }
        match &mut self.0 {
            Cells::U8(values) => retain(values, wanted),
            Cells::I16(values) => retain(values, wanted),
            Cells::F32(values) => retain(values, wanted),
            Cells::F64(values) => retain(values, wanted),
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// The same with each value changed, in parallel; `change` answers with what 32 bits hold.
    pub(crate) fn narrowed(self, change: impl Fn(f64) -> f32 + Send + Sync) -> Self {
        // Values that a byte holds are at most 256 different ones.
        if let Cells::U8(values) = &self.0 {
            let changed: Vec<f32> = (0..=u8::MAX).map(|value| change(f64::from(value))).collect();
            let same = |value: u8| changed[usize::from(value)].to_bits() == f32::from(value).to_bits();
            if values.par_iter().all(|&value| same(value)) {
                return self;
            }
        }
        let changed: Vec<f32> = match self.0 {
            Cells::U8(values) => values.into_par_iter().map(|value| change(f64::from(value))).collect(),
            Cells::I16(values) => values.into_par_iter().map(|value| change(of_i16(value))).collect(),
            Cells::F32(values) => values.into_par_iter().map(|value| change(f64::from(value))).collect(),
            Cells::F64(values) => values.into_par_iter().map(change).collect(),
        };
        let width = changed
            .par_iter()
            .with_min_len(4096)
            .map(|&value| Width::of(f64::from(value)))
            .reduce(|| Width::U8, Width::max);
        Self(match width {
            Width::U8 => Cells::U8(changed.into_par_iter().map(|value| value as u8).collect()),
            Width::I16 => Cells::I16(changed.into_par_iter().map(|value| to_i16(f64::from(value))).collect()),
            _ => Cells::F32(changed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(numbers: &Numbers) -> Vec<u64> {
        numbers.iter().map(f64::to_bits).collect()
    }

    #[test]
    fn every_width_gives_back_every_bit_however_the_values_come() {
        let values = [
            0.0,
            1.0,
            255.0,
            256.0,
            -1.0,
            f64::NAN,
            -32_767.0,
            32_767.0,
            -32_768.0,
            -0.0,
            0.5,
            16_777_217.0,
            0.1,
            1e300,
            f64::MIN_POSITIVE / 2.0,
        ];
        for count in 0..=values.len() {
            let wanted: Vec<u64> = values[..count].iter().map(|value| value.to_bits()).collect();
            let whole: Numbers = values[..count].iter().copied().collect();
            assert_eq!(bits(&whole), wanted);
            for middle in 0..=count {
                let mut parts: Numbers = values[..middle].iter().copied().collect();
                parts.append(values[middle..count].iter().copied().collect());
                assert_eq!(bits(&parts), wanted, "{middle} of {count}");
                let mut pushed = Numbers::new();
                pushed.extend(&values[..middle]);
                pushed.extend(&values[middle..count]);
                assert_eq!(bits(&pushed), wanted, "{middle} of {count}");
                assert_eq!(bits(&pushed.slice(middle..count)), wanted[middle..]);
            }
        }
    }

    #[test]
    fn small_whole_numbers_take_a_byte_or_two() {
        let bytes =
            |values: &[f64]| values.iter().copied().collect::<Numbers>().bytes_of_memory() / values.len();
        assert_eq!(bytes(&[0.0, 255.0]), 1);
        assert_eq!(bytes(&[0.0, f64::NAN]), 2);
        assert_eq!(bytes(&[-1.0, 32_767.0]), 2);
        assert_eq!(bytes(&[0.5, f64::NAN]), 4);
        assert_eq!(bytes(&[-0.0, 1.0]), 4);
        assert_eq!(bytes(&[0.1, 1.0]), 8);
    }

    #[test]
    fn rows_are_chosen_ordered_and_changed_in_every_width() {
        for odd in [7.0, 300.0, 0.5, 0.1] {
            let values = [3.0, odd, 5.0];
            let numbers: Numbers = values.into_iter().collect();
            assert_eq!(numbers.gathered(&[2, 1]), [5.0, odd]);
            assert_eq!(numbers.ordered(&[2, 1]).iter().collect::<Vec<f64>>(), [5.0, odd]);
            let mut retained = numbers.clone();
            retained.retain(&[false, true, true]);
            assert_eq!(retained.iter().collect::<Vec<f64>>(), [odd, 5.0]);
            let same = numbers.clone().narrowed(|value| value as f32);
            assert_eq!(same.iter().collect::<Vec<f64>>(), values.map(|value| f64::from(value as f32)));
            let less = numbers.narrowed(|value| value as f32 - 4.0);
            assert_eq!(less.iter().collect::<Vec<f64>>(), values.map(|value| f64::from(value as f32 - 4.0)));
        }
    }
}
