//! The two definitions of "multiply and add". All volunteers of a run use the same one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a matrix product rounds each step `sum + a * b`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arithmetic {
    /// The product is rounded, then the sum. Every browser with WebAssembly SIMD can compute it.
    #[default]
    Portable,
    /// Product and sum are rounded once, together. It is about twice as fast where the machine has the
    /// instruction.
    Fused,
}

impl Arithmetic {
    /// Both arithmetics.
    pub const ALL: [Arithmetic; 2] = [Arithmetic::Portable, Arithmetic::Fused];

    /// The name used in configuration files, on the command line and in URLs.
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::Portable => "portable",
            Arithmetic::Fused => "fused",
        }
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is neither `portable` nor `fused`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown arithmetic \"{0}\": use portable or fused")]
pub struct UnknownArithmetic(String);

impl FromStr for Arithmetic {
    type Err = UnknownArithmetic;

    fn from_str(name: &str) -> Result<Self, UnknownArithmetic> {
        Arithmetic::ALL
            .into_iter()
            .find(|arithmetic| arithmetic.name() == name)
            .ok_or_else(|| UnknownArithmetic(name.to_owned()))
    }
}
