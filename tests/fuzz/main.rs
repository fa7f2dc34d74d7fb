//! Everything that comes from outside, with bytes changed at random: no input may cause a panic, take memory without
//! a bound, or never come to an end.
//!
//! A test tries some thousand inputs of each kind, always the same. For more:
//!
//! ```text
//! SHOAL_FUZZ_INPUTS=10000000 SHOAL_FUZZ_SEED=7 cargo test --release --locked -p coordinator --test fuzz
//! ```
//!
//! An input that fails is kept in `tests/data/fuzz`, in the folder of its kind. All that lie there are tried first.

mod corpus;
mod driver;
mod mutation;
mod targets;

use driver::{Target, fuzz};

#[test]
fn frames_from_volunteers() {
    fuzz(&Target { name: "upward", share: 100, corpus: corpus::upward(), words: &[], run: targets::upward });
}

#[test]
fn frames_from_the_coordinator() {
    fuzz(&Target {
        name: "downward",
        share: 100,
        corpus: corpus::downward(),
        words: &[],
        run: targets::downward,
    });
}

#[test]
fn messages_of_the_bus() {
    fuzz(&Target { name: "bus", share: 100, corpus: corpus::bus(), words: &[], run: targets::bus });
}

#[test]
fn partial_sums() {
    let corpus = corpus::partial_sums();
    fuzz(&Target { name: "partial", share: 60, corpus, words: &[], run: targets::partial_sum });
}

#[test]
fn news_for_people() {
    let (corpus, words) = (corpus::news(), corpus::NEWS_WORDS);
    fuzz(&Target { name: "news", share: 20, corpus, words, run: targets::news });
}

#[test]
fn packed_vectors() {
    fuzz(&Target { name: "packed", share: 100, corpus: corpus::packed(), words: &[], run: targets::packed });
}

#[test]
fn shards() {
    fuzz(&Target { name: "shard", share: 100, corpus: corpus::shards(), words: &[], run: targets::shard });
}

#[test]
fn checkpoints() {
    fuzz(&Target {
        name: "checkpoint",
        share: 20,
        corpus: corpus::checkpoints(),
        words: &[],
        run: targets::checkpoint,
    });
}

#[test]
fn tables_of_text() {
    let (corpus, words) = (corpus::texts(), corpus::TABLE_WORDS);
    fuzz(&Target { name: "text", share: 4, corpus, words, run: targets::text });
}

#[test]
fn tables_of_bytes() {
    let corpus = corpus::binary_tables();
    fuzz(&Target { name: "table", share: 10, corpus, words: corpus::BINARY_WORDS, run: targets::table });
}

#[test]
fn networks() {
    let (corpus, words) = (corpus::networks(), corpus::NETWORK_WORDS);
    fuzz(&Target { name: "network", share: 20, corpus, words, run: targets::network });
}

#[test]
fn configurations() {
    let (corpus, words) = (corpus::configurations(), corpus::CONFIGURATION_WORDS);
    fuzz(&Target { name: "configuration", share: 10, corpus, words, run: targets::configuration });
}

#[test]
fn onnx_files() {
    fuzz(&Target { name: "onnx", share: 20, corpus: corpus::onnx(), words: &[], run: targets::onnx });
}

#[test]
fn safetensors_files() {
    let words = corpus::SAFETENSORS_WORDS;
    fuzz(&Target {
        name: "safetensors",
        share: 10,
        corpus: corpus::safetensors(),
        words,
        run: targets::safetensors,
    });
}
