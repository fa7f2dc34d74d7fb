//! ONNX files as other programs meet them: checked by ONNX's own package and computed by ONNX Runtime.
//!
//! - `layers`: every layer, activation and loss answers in ONNX Runtime as [`Network::predict`] does.
//! - `importing`: networks out of files of Shoal and of other programs, and files that are none.
//! - `preparation`: a table's columns, with what is missing or unknown, become the inputs they were trained on.
//! - `layers.py`, `messages.py`: the other side of these tests.
//!
//! [`Network::predict`]: model::Network::predict

#![allow(clippy::disallowed_methods, reason = "the files are for other programs")]

mod importing;
mod layers;
mod preparation;

use support::python;

#[test]
fn the_messages_are_those_of_the_published_format() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proto.rs");
    let said = python::run("messages.py", &[&source]);
    assert!(said.contains("fields agree"), "{said}");
}
