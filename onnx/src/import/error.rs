//! What can be wrong with a file.

use std::fmt;

use crate::proto::NodeProto;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    /// The node or constant, in words; empty for the whole file.
    pub place: String,
    /// What is wrong, and what to do about it.
    pub problem: String,
}

impl ImportError {
    pub(super) fn file(problem: String) -> ImportError {
        ImportError { place: String::new(), problem }
    }

    pub(super) fn constant(name: &str, problem: impl Into<String>) -> ImportError {
        ImportError { place: format!("the constant {}", shown(name)), problem: problem.into() }
    }

    pub(super) fn input(name: &str, problem: impl Into<String>) -> ImportError {
        ImportError { place: format!("the input {}", shown(name)), problem: problem.into() }
    }

    pub(super) fn node(node: &NodeProto, problem: impl Into<String>) -> ImportError {
        let name = match node.name.as_deref() {
            Some(name) if !name.is_empty() => name,
            _ => node.output.first().map_or("", String::as_str),
        };
        let place = format!("the node {} ({})", shown(name), shown(operator(node)));
        ImportError { place, problem: problem.into() }
    }
}

/// The operator of a node.
pub(super) fn operator(node: &NodeProto) -> &str {
    node.op_type.as_deref().unwrap_or_default()
}

/// A name from a file, short and without control characters.
pub(super) fn shown(name: &str) -> String {
    const CHARS_MAX: usize = 80;
    name.chars().take(CHARS_MAX).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

impl fmt::Display for ImportError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            formatter.write_str(&self.problem)
        } else {
            write!(formatter, "{}: {}", self.place, self.problem)
        }
    }
}

impl std::error::Error for ImportError {}
