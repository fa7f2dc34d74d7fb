//! Counts a file's messages before they are decoded: one of two bytes takes a hundred times as much memory.

use bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::ImportError;

/// The most messages of all kinds in a file. A network of the most layers has some thousands.
const MESSAGES_MAX: usize = 1 << 16;
/// The most numbers in lists of settings and shapes, and texts.
const ITEMS_MAX: usize = 1 << 20;

/// A kind of message, as far as it has others inside.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Value,
    Type,
    TensorType,
    Shape,
    /// Without messages inside.
    Leaf,
}

impl Kind {
    /// The kind of message in a field.
    fn inside(self, field: u32) -> Option<Kind> {
        Some(match (self, field) {
            (Kind::Model, 7) => Kind::Graph,
            (Kind::Model, 8 | 14) => Kind::Leaf,
            (Kind::Graph, 1) => Kind::Node,
            (Kind::Graph, 5) | (Kind::Attribute, 5) => Kind::Tensor,
            (Kind::Graph, 11..=13) => Kind::Value,
            (Kind::Node, 5) => Kind::Attribute,
            (Kind::Tensor, 13) => Kind::Leaf,
            (Kind::Value, 2) => Kind::Type,
            (Kind::Type, 1) => Kind::TensorType,
            (Kind::TensorType, 2) => Kind::Shape,
            (Kind::Shape, 1) => Kind::Leaf,
            _ => return None,
        })
    }
}

/// Whether a file has a bounded number of messages and can be walked through.
pub(super) fn check(bytes: &[u8]) -> Result<(), ImportError> {
    let mut counts = Counts { messages: 0, items: 0 };
    counts.walk(bytes, Kind::Model).map_err(|problem| ImportError::file(problem.to_owned()))
}

struct Counts {
    messages: usize,
    items: usize,
}

const BROKEN: &str = "it is not a complete ONNX file; export it again";
const TOO_MANY: &str = "it has more nodes, constants and settings than the largest network; simplify it";

impl Counts {
    /// The depth is that of [`Kind::inside`]: no kind is inside itself.
    fn walk(&mut self, mut bytes: &[u8], kind: Kind) -> Result<(), &'static str> {
        while bytes.has_remaining() {
            let (field, wire) = decode_key(&mut bytes).map_err(|_| BROKEN)?;
            self.items += 1;
            if self.items > ITEMS_MAX {
                return Err(TOO_MANY);
            }
            let skipped = match wire {
                WireType::Varint => {
                    decode_varint(&mut bytes).map_err(|_| BROKEN)?;
                    0
                }
                WireType::ThirtyTwoBit => 4,
                WireType::SixtyFourBit => 8,
                WireType::LengthDelimited => {
                    let length = decode_varint(&mut bytes).map_err(|_| BROKEN)?;
                    usize::try_from(length).map_err(|_| BROKEN)?
                }
                WireType::StartGroup | WireType::EndGroup => return Err(BROKEN),
            };
            let content = bytes.get(..skipped).ok_or(BROKEN)?;
            // Each byte of a packed list of integers takes eight.
            if matches!((kind, field), (Kind::Tensor, 1 | 5 | 7) | (Kind::Attribute, 8))
                && skipped > ITEMS_MAX
            {
                return Err(TOO_MANY);
            }
            if wire == WireType::LengthDelimited
                && let Some(inner) = kind.inside(field)
            {
                self.messages += 1;
                if self.messages > MESSAGES_MAX {
                    return Err(TOO_MANY);
                }
                self.walk(content, inner)?;
            }
            bytes.advance(skipped);
        }
        Ok(())
    }
}
