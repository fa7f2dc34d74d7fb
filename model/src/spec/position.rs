//! The position of a layer in a network.

use std::fmt;

use super::DEPTH_MAX;

/// A layer's position, counted from 1: `3`, or `3.2` for the second layer of the residual block that is the
/// third layer. The output layer comes after the last hidden one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Only the first `depth` numbers are in use.
    numbers: [u16; DEPTH_MAX + 1],
    depth: u8,
}

impl Position {
    /// The position of a layer outside residual blocks.
    pub fn top(number: usize) -> Position {
        let nowhere = Position { numbers: [0; DEPTH_MAX + 1], depth: 0 };
        nowhere.inside(number).expect("the first number always fits")
    }

    /// The position of a layer of the residual block at this position; `None` if that is too deep.
    pub(crate) fn inside(mut self, number: usize) -> Option<Position> {
        // No valid network has more layers than fit.
        *self.numbers.get_mut(usize::from(self.depth))? = u16::try_from(number).unwrap_or(u16::MAX);
        self.depth += 1;
        Some(self)
    }

    /// The number of residual blocks around the layer.
    pub fn depth(&self) -> usize {
        usize::from(self.depth) - 1
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> =
            self.numbers[..usize::from(self.depth)].iter().map(u16::to_string).collect();
        f.pad(&numbers.join("."))
    }
}
