//! Networks as ONNX files: bytes out of a trained network, and a network out of bytes.
//!
//! ONNX (Open Neural Network Exchange) is a graph of named operators in a protobuf message. [`export`] writes
//! one that any runtime of operator set [`OPERATOR_SET`] computes: the data's preparation, the network, and
//! the answer in the user's terms. Everything here is a function of its arguments.

pub mod export;
pub mod import;
mod proto;

/// The version of the standard operators that [`export`] uses: the first with `Gelu`.
pub const OPERATOR_SET: i64 = 20;

/// The key of a file's metadata with the name of the value at which the network begins, where the graph prepares
/// its inputs before.
const NETWORK_INPUT: &str = "network_input";

/// The version of the file format, the one that came with [`OPERATOR_SET`].
const IR_VERSION: i64 = 9;
