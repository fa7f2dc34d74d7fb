//! A compact encoding of exact integer sums.
//!
//! All integers in a block of [`BLOCK`] share the smallest width that holds each of them. The block is one
//! byte with the width in bits, then the integers, zigzag-encoded (the sign in the lowest bit), lowest bit
//! first. A gradient's sum takes about 4 to 5 bytes per element.

use crate::DecodeError;

/// The number of integers that share a width.
pub const BLOCK: usize = 128;

/// Maximum bytes of `elements` packed integers.
pub const fn packed_bytes_max(elements: usize) -> usize {
    elements * 8 + elements.div_ceil(BLOCK)
}

/// Packs `values`.
pub fn pack(values: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * 5 + 16);
    values.chunks(BLOCK).for_each(|block| pack_block(block, &mut bytes));
    bytes
}

/// The number of bytes that [`pack`] produces for `values`.
pub fn packed_bytes(values: &[i64]) -> usize {
    let bytes = |block: &[i64]| 1 + (block.len() * width(block) as usize).div_ceil(8);
    values.chunks(BLOCK).map(bytes).sum()
}

/// Appends up to [`BLOCK`] integers.
pub(crate) fn pack_block(block: &[i64], bytes: &mut Vec<u8>) {
    let width = width(block);
    bytes.push(width as u8);
    let (mut buffer, mut filled) = (0u128, 0u32);
    for value in block {
        buffer |= u128::from(zigzag(*value)) << filled;
        filled += width;
        if filled >= u64::BITS {
            bytes.extend_from_slice(&(buffer as u64).to_le_bytes());
            buffer >>= u64::BITS;
            filled -= u64::BITS;
        }
    }
    let rest = (buffer as u64).to_le_bytes();
    bytes.extend_from_slice(&rest[..filled.div_ceil(8) as usize]);
}

/// The number of bits of the widest integer.
fn width(block: &[i64]) -> u32 {
    u64::BITS - block.iter().fold(0, |all, value| all | zigzag(*value)).leading_zeros()
}

/// Unpacks exactly `elements` integers.
///
/// # Errors
/// If [`pack`] would not have written these bytes: equal vectors have equal bytes.
pub fn unpack(bytes: &[u8], elements: usize) -> Result<Vec<i64>, DecodeError> {
    if bytes.len() > packed_bytes_max(elements) {
        return Err(DecodeError::Malformed);
    }
    let mut values = Vec::with_capacity(elements);
    let mut rest = bytes;
    let mut block = [0; BLOCK];
    while values.len() < elements {
        let count = BLOCK.min(elements - values.len());
        let (&width, body) = rest.split_first().ok_or(DecodeError::Truncated)?;
        let width = usize::from(width);
        if width > u64::BITS as usize {
            return Err(DecodeError::Malformed);
        }
        let length = (count * width).div_ceil(8);
        let (packed, after) = body.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        rest = after;
        let all = match body.get(..length + READ) {
            Some(bytes) if count == BLOCK => unpack_block(bytes, width, &mut block),
            _ => {
                let mut bytes = [0; BLOCK * 8 + READ];
                bytes[..length].copy_from_slice(packed);
                unpack_block(&bytes, width, &mut block)
            }
        };
        let (found, padding) = block.split_at(count);
        // The remaining bits must be zero padding, and the width must be the smallest that holds the block.
        if padding.iter().any(|value| *value != 0) || u64::BITS - all.leading_zeros() != width as u32 {
            return Err(DecodeError::Malformed);
        }
        values.extend_from_slice(found);
    }
    if !rest.is_empty() {
        return Err(DecodeError::TrailingBytes(rest.len()));
    }
    Ok(values)
}

/// Integers that take a whole number of bytes together, whatever their width: as many bytes as it has bits.
const GROUP: usize = 8;

/// Bytes from the first of an integer on that are read, if need be those of what follows it.
const READ: usize = 16;

/// Unpacks a block; answers with all bits that any of its integers has. Of the bytes after it nothing is used.
fn unpack_block(bytes: &[u8], width: usize, block: &mut [i64; BLOCK]) -> u64 {
    // Of the narrower ones, each lies in eight bytes.
    if width + 7 <= u64::BITS as usize {
        unpack_groups(bytes, width, block, |bytes, bit| {
            bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word) >> bit)
        })
    } else {
        unpack_groups(bytes, width, block, |bytes, bit| (u128::from_le_bytes(*bytes) >> bit) as u64)
    }
}

fn unpack_groups(
    bytes: &[u8],
    width: usize,
    block: &mut [i64; BLOCK],
    read: impl Fn(&[u8; READ], usize) -> u64,
) -> u64 {
    let mask = u64::MAX.unbounded_shr(u64::BITS - width as u32);
    let mut all = 0;
    let (groups, _) = block.as_chunks_mut::<GROUP>();
    for (group, values) in groups.iter_mut().enumerate() {
        // One check of the bounds for all of them, and each is found without those before it.
        let bytes = &bytes[group * width..][..width + READ];
        for (index, value) in values.iter_mut().enumerate() {
            let (byte, bit) = (index * width / 8, index * width % 8);
            let found = bytes[byte..].first_chunk().map_or(0, |bytes| read(bytes, bit)) & mask;
            all |= found;
            *value = unzigzag(found);
        }
    }
    all
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn extremes_survive() {
        for values in [vec![], vec![0; 300], vec![i64::MIN, i64::MAX, -1, 0, 1], vec![i64::MIN; 129]] {
            assert_eq!(unpack(&pack(&values), values.len()), Ok(values));
        }
    }

    #[test]
    fn small_numbers_take_few_bytes() {
        let values: Vec<i64> = (0..12_800).map(|index| (index * 7919) % (1 << 20) - (1 << 19)).collect();
        assert!(pack(&values).len() <= values.len() * 21 / 8 + 200);
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(values in proptest::collection::vec(any::<i64>(), 0..400), shift in 0u32..64) {
            let values: Vec<i64> = values.iter().map(|value| value >> shift).collect();
            let packed = pack(&values);
            prop_assert_eq!(packed_bytes(&values), packed.len());
            prop_assert_eq!(unpack(&packed, values.len()), Ok(values));
        }

        #[test]
        fn any_bytes_unpack_to_one_thing_or_are_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), elements in 0usize..400,
        ) {
            if let Ok(values) = unpack(&bytes, elements) {
                prop_assert_eq!(pack(&values), bytes);
            }
        }
    }
}
