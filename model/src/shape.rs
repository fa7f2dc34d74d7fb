//! The shape of the values between two layers.

use std::fmt;

/// The shape of one example's values, in row-major order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// This many values without spatial structure.
    Vector(usize),
    /// `[channels, height, width]`.
    Image {
        /// Values at each place, for example 3 for red, green and blue.
        channels: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
}

impl Shape {
    /// The number of values.
    pub fn len(self) -> usize {
        match self {
            Shape::Vector(values) => values,
            Shape::Image { channels, height, width } => channels * height * width,
        }
    }

    /// Whether there are no values. No layer of a network has such a shape.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// `784`, or `3x32x32` for 3 channels of 32 rows and 32 columns.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Vector(values) => write!(f, "{values}"),
            Shape::Image { channels, height, width } => write!(f, "{channels}x{height}x{width}"),
        }
    }
}
