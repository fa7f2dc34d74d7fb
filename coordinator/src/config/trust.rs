//! How far a run trusts its volunteers.

use std::fmt;
use std::str::FromStr;

use engine::{Audit, OnLie};
use serde::{Serialize, Serializer};

use super::tree::{Content, Node, Problem};
use super::value::{Named, Value};

/// The share of the results of proven volunteers that is computed twice by default.
const SHARE: f64 = 0.03;

/// Which results are computed twice: `none`, `full` or `sample:SHARE`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Audits(pub Audit);

impl Default for Audits {
    fn default() -> Self {
        Audits(Audit::Sample(SHARE))
    }
}

impl fmt::Display for Audits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Audit::None => formatter.write_str("none"),
            Audit::Full => formatter.write_str("full"),
            Audit::Sample(share) => write!(formatter, "sample:{share}"),
        }
    }
}

impl FromStr for Audits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = |text: &str| text.parse().ok().filter(|share| *share > 0.0 && *share <= 1.0);
        let audit = match text.split_once(':') {
            None if text == "none" => Some(Audit::None),
            None if text == "full" => Some(Audit::Full),
            None if text == "sample" => Some(Audit::Sample(SHARE)),
            Some(("sample", text)) => share(text).map(Audit::Sample),
            _ => None,
        };
        let advice = "give none, full, or sample with a share above 0 and up to 1, such as sample:0.03";
        audit.map(Audits).ok_or_else(|| advice.to_owned())
    }
}

impl Serialize for Audits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Value for Audits {
    const KIND: &'static str = "none, full or sample:SHARE in quotes";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn read(node: &Node) -> Result<Self, Problem> {
        match node.content() {
            Content::Text(text) => Ok(Self::parse(text)?),
            // The parser's own sentence says which values are allowed.
            _ => Ok(Self::parse("")?),
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// What happens to earlier rounds when a wrong result is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LieResponse {
    /// `rewind`
    #[default]
    Rewind,
    /// `continue`
    Continue,
}

impl From<LieResponse> for OnLie {
    fn from(response: LieResponse) -> OnLie {
        match response {
            LieResponse::Rewind => OnLie::Rewind,
            LieResponse::Continue => OnLie::Continue,
        }
    }
}

impl Named for LieResponse {
    const ALL: &'static [Self] = &[Self::Rewind, Self::Continue];

    fn name(self) -> &'static str {
        match self {
            Self::Rewind => "rewind",
            Self::Continue => "continue",
        }
    }
}

impl fmt::Display for LieResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Serialize for LieResponse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_is_written_as_it_is_read() {
        for text in ["none", "full", "sample:0.03", "sample:1"] {
            assert_eq!(text.parse::<Audits>().unwrap().to_string(), text);
        }
        assert_eq!("sample".parse::<Audits>().unwrap(), Audits::default());
        for text in ["", "sample:0", "sample:1.5", "sample:", "sample:nan", "all", "full:1"] {
            assert!(text.parse::<Audits>().is_err(), "{text}");
        }
    }
}
