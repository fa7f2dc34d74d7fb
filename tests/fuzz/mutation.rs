//! Changes of good inputs, the same ones for the same seed.

/// Bytes of an input.
const BYTES_MAX: usize = 1 << 16;
/// Changes of one input.
const CHANGES_MAX: u64 = 6;
/// Bytes that are moved at once.
const PIECE_BYTES_MAX: usize = 64;
/// Numbers at whose edges programs fail.
const EDGES: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 33,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// Numbers at random (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// A range within `length`, short more often than long.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let most = if self.below(4) == 0 { length } else { PIECE_BYTES_MAX };
        let end = (start + self.below(most + 1)).min(length);
        start..end
    }
}

/// Makes another input of one of the corpus.
pub(crate) fn mutate(random: &mut Random, corpus: &[Vec<u8>], words: &[&[u8]], input: &mut Vec<u8>) {
    input.clear();
    input.extend_from_slice(&corpus[random.below(corpus.len())]);
    for _ in 0..=random.next() % CHANGES_MAX {
        change(random, corpus, words, input);
    }
    input.truncate(BYTES_MAX);
}

fn change(random: &mut Random, corpus: &[Vec<u8>], words: &[&[u8]], input: &mut Vec<u8>) {
    let place = random.below(input.len() + 1);
    match random.below(if words.is_empty() { 9 } else { 12 }) {
        0 if place < input.len() => input[place] ^= 1 << random.below(8),
        1 if place < input.len() => input[place] = random.next() as u8,
        2 => {
            // A number, in either order of its bytes.
            let mut bytes = EDGES[random.below(EDGES.len())]
                .wrapping_add(random.next() % 3)
                .wrapping_sub(1)
                .to_le_bytes();
            let width = [1, 2, 4, 8][random.below(4)];
            if random.below(3) == 0 {
                bytes[..width].reverse();
            }
            let end = (place + width).min(input.len());
            input[place..end].copy_from_slice(&bytes[..end - place]);
        }
        3 => {
            // A number of as many bytes as it needs, seven bits each.
            let mut number = EDGES[random.below(EDGES.len())];
            let mut bytes = Vec::new();
            while number >= 0x80 {
                bytes.push(number as u8 | 0x80);
                number >>= 7;
            }
            bytes.push(number as u8);
            let end = (place + 1).min(input.len());
            input.splice(place..end, bytes);
        }
        4 => {
            let range = random.range(input.len());
            input.drain(range);
        }
        5 => {
            let range = random.range(input.len());
            let piece = input[range].to_vec();
            input.splice(place..place, piece);
        }
        6 => input.truncate(place),
        7 => {
            let other = &corpus[random.below(corpus.len())];
            let range = random.range(other.len());
            input.splice(place..place, other[range].iter().copied());
        }
        8 => {
            let byte = random.next() as u8;
            let count = random.below(PIECE_BYTES_MAX);
            input.splice(place..place, std::iter::repeat_n(byte, count));
        }
        _ if !words.is_empty() => {
            let word = words[random.below(words.len())];
            let end = if random.below(2) == 0 { place } else { (place + word.len()).min(input.len()) };
            input.splice(place..end, word.iter().copied());
        }
        _ => {}
    }
}
