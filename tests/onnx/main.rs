//! ONNX files as other programs meet them: checked by ONNX's own package and computed by ONNX Runtime.
//!
//! - `layers`: every layer, activation and loss answers in ONNX Runtime as [`Network::predict`] does.
//! - `layers.py`, `messages.py`: the other side of these tests.
//!
//! [`Network::predict`]: model::Network::predict

mod layers;

use support::python;

#[test]
fn the_messages_are_those_of_the_published_format() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proto.rs");
    let said = python::run("messages.py", &[&source]);
    assert!(said.contains("fields agree"), "{said}");
}
