//! Counter-based random numbers: Philox4x32-10 of Salmon, Moraes, Dror and Shaw (2011), "Parallel Random
//! Numbers: As Easy as 1, 2, 3". Any number of the stream can be computed without the numbers before it, in
//! any order and on any machine.

const ROUNDS: u32 = 10;
const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
/// The key's increment before every round but the first: the golden ratio, and the square root of 3 minus 1.
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];

/// The four random words for `counter` under `key`.
#[inline(always)]
pub(crate) fn philox(mut key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let [mut a, mut b, mut c, mut d] = counter;
    for _ in 0..ROUNDS {
        let (left, right) = (product(MULTIPLIERS[0], a), product(MULTIPLIERS[1], c));
        [a, b, c, d] = [right.0 ^ b ^ key[0], right.1, left.0 ^ d ^ key[1], left.1];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    [a, b, c, d]
}

/// The two words of a number, the lower first.
pub(crate) fn words(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

/// The higher and the lower word of a product.
#[inline(always)]
fn product(a: u32, b: u32) -> (u32, u32) {
    let product = u64::from(a) * u64::from(b);
    ((product >> 32) as u32, product as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that the authors publish with their library.
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 2], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 2], [u32::MAX; 4]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox([0xa409_3822, 0x299f_31d0], [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }
}
