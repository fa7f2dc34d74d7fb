//! Text in any encoding, read as UTF-8.
//!
//! A byte-order mark decides. Without one, valid UTF-8 is UTF-8, and text with a zero in every other byte is
//! UTF-16. `chardetng` guesses the regional encoding of anything else, and answers Windows-1252 unless it
//! finds evidence against it.

use std::{
    fmt,
    io::{self, Read},
};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use serde::{Deserialize, Serialize};

/// How a file's bytes become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TextEncoding(pub(crate) &'static Encoding);

impl fmt::Display for TextEncoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl TextEncoding {
    /// UTF-8.
    pub const UTF_8: Self = Self(UTF_8);

    /// The encoding of that name, such as `utf-8`, `utf-16le`, `windows-1252` or `shift_jis`.
    pub fn named(name: &str) -> Option<Self> {
        Encoding::for_label(name.as_bytes()).map(Self)
    }

    /// The usual name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }
}

/// The encoding that the first bytes of a file suggest.
pub(crate) fn of_head(head: &[u8]) -> &'static Encoding {
    if let Some((encoding, _)) = Encoding::for_bom(head) {
        return encoding;
    }
    // Only UTF-16 text contains zeros: every ASCII character has one.
    let zeros = |parity: usize| head.iter().skip(parity).step_by(2).filter(|&&byte| byte == 0).count();
    let pairs = head.len() / 2;
    let (even, odd) = (zeros(0), zeros(1));
    if pairs > 0 && 10 * odd > 6 * pairs && 10 * even < pairs {
        return UTF_16LE;
    }
    if pairs > 0 && 10 * even > 6 * pairs && 10 * odd < pairs {
        return UTF_16BE;
    }
    UTF_8
}

/// The encoding of text that is not all UTF-8, and whether it is to be UTF-8 with damaged characters.
/// `sample` has some of the bytes that are not.
pub(crate) fn of_other(sample: &[u8]) -> &'static Encoding {
    let mut invalid = 0;
    let mut valid = 0;
    for chunk in sample.utf8_chunks() {
        valid += chunk.valid().chars().filter(|character| !character.is_ascii()).count();
        invalid += usize::from(!chunk.invalid().is_empty());
    }
    // Whole characters of several bytes hardly come about by chance.
    if valid > 10 * invalid {
        return UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(sample, true);
    let guess = detector.guess(None, Utf8Detection::Deny);
    if guess == UTF_8 { WINDOWS_1252 } else { guess }
}

/// Decodes to UTF-8 and leaves a byte-order mark out. Bytes that cannot be decoded become U+FFFD.
struct Decoding {
    inner: Box<dyn Read + Send>,
    decoder: Decoder,
    raw: Vec<u8>,
    /// Number of bytes of `raw` that are decoded already, and number of bytes in it.
    used: usize,
    filled: usize,
    /// Decoded text, and how much of it was returned.
    text: Vec<u8>,
    given: usize,
    decoded: usize,
    ended: bool,
    finished: bool,
}

const RAW_BYTES: usize = 64 << 10;

/// `reader`'s text as UTF-8.
pub(crate) fn decoding(reader: Box<dyn Read + Send>, encoding: &'static Encoding) -> Box<dyn Read + Send> {
    if encoding == UTF_8 {
        return Box::new(WithoutMark { inner: reader, pending: Vec::new(), begun: false });
    }
    Box::new(Decoding {
        inner: reader,
        decoder: encoding.new_decoder_with_bom_removal(),
        raw: vec![0; RAW_BYTES],
        used: 0,
        filled: 0,
        text: vec![0; RAW_BYTES],
        given: 0,
        decoded: 0,
        ended: false,
        finished: false,
    })
}

impl Read for Decoding {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.decoded {
            if self.finished {
                return Ok(0);
            }
            if self.used == self.filled && !self.ended {
                self.filled = self.inner.read(&mut self.raw)?;
                self.used = 0;
                self.ended = self.filled == 0;
            }
            let raw = &self.raw[self.used..self.filled];
            let (result, read, written, _) = self.decoder.decode_to_utf8(raw, &mut self.text, self.ended);
            self.used += read;
            (self.given, self.decoded) = (0, written);
            self.finished = self.ended && result == CoderResult::InputEmpty;
        }
        let count = buffer.len().min(self.decoded - self.given);
        buffer[..count].copy_from_slice(&self.text[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

/// UTF-8 without the byte-order mark that it may begin with.
struct WithoutMark {
    inner: Box<dyn Read + Send>,
    pending: Vec<u8>,
    begun: bool,
}

impl Read for WithoutMark {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if !self.begun {
            self.begun = true;
            self.pending = crate::source::read_up_to(&mut self.inner, MARK.len())?;
            if self.pending == MARK {
                self.pending.clear();
            }
        }
        if self.pending.is_empty() {
            return self.inner.read(buffer);
        }
        let count = self.pending.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.pending[..count]);
        self.pending.drain(..count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(bytes: &[u8], encoding: &'static Encoding) -> String {
        let mut text = Vec::new();
        decoding(Box::new(Cursor::new(bytes.to_vec())), encoding).read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn utf_16_with_and_without_a_mark() {
        let text = "größe,kind\n1.5,\u{1f600}\n".repeat(30_000);
        for (bytes, encoding) in
            [(utf16(&text, u16::to_le_bytes), UTF_16LE), (utf16(&text, u16::to_be_bytes), UTF_16BE)]
        {
            assert_eq!(of_head(&bytes), encoding);
            assert_eq!(read(&bytes, encoding), text);
            let mark =
                utf16("\u{feff}", if encoding == UTF_16LE { u16::to_le_bytes } else { u16::to_be_bytes });
            let marked = [mark, bytes].concat();
            assert_eq!(of_head(&marked), encoding);
            assert_eq!(read(&marked, encoding), text);
        }
    }

    #[test]
    fn utf_8_with_and_without_a_mark() {
        assert_eq!(read(b"\xef\xbb\xbfa,b", UTF_8), "a,b");
        assert_eq!(read(b"a", UTF_8), "a");
        assert_eq!(of_head("größe".as_bytes()), UTF_8);
    }

    #[test]
    fn older_encodings_are_guessed_and_damaged_utf_8_stays_utf_8() {
        let western = b"name,k\nGl\xfcck,caf\xe9\nM\xfcnchen,d\xe9j\xe0\n";
        assert_eq!(of_other(western), WINDOWS_1252);
        assert_eq!(read(b"Gl\xfcck", WINDOWS_1252), "Glück");
        let damaged = ["größe ".repeat(20).as_bytes(), b"\xff", "größe ".repeat(20).as_bytes()].concat();
        assert_eq!(of_other(&damaged), UTF_8);
    }
}
