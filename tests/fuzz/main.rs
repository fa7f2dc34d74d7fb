//! Everything that comes from outside, with bytes changed at random: no input may cause a panic, take memory without
//! a bound, or never come to an end.
//!
//! A test tries inputs of a kind for a minute, or some thousand of a kind that is like another, in an order that is always
//! the same. For more:
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

use std::time::Duration;

use driver::{Effort, Target, fuzz};

const MINUTE: Effort = Effort::Time(Duration::from_secs(60));

#[test]
fn frames_from_volunteers() {
    fuzz(&Target {
        name: "upward",
        effort: MINUTE,
        corpus: corpus::upward(),
        words: &[],
        run: targets::upward,
    });
}

#[test]
fn frames_from_the_coordinator() {
    fuzz(&Target {
        name: "downward",
        effort: MINUTE,
        corpus: corpus::downward(),
        words: &[],
        run: targets::downward,
    });
}

#[test]
fn messages_of_the_bus() {
    fuzz(&Target {
        name: "bus",
        effort: Effort::Inputs(300_000),
        corpus: corpus::bus(),
        words: &[],
        run: targets::bus,
    });
}

#[test]
fn partial_sums() {
    let corpus = corpus::partial_sums();
    fuzz(&Target {
        name: "partial",
        effort: Effort::Inputs(180_000),
        corpus,
        words: &[],
        run: targets::partial_sum,
    });
}

#[test]
fn news_for_people() {
    let (corpus, words) = (corpus::news(), corpus::NEWS_WORDS);
    fuzz(&Target { name: "news", effort: Effort::Inputs(60_000), corpus, words, run: targets::news });
}

#[test]
fn packed_vectors() {
    fuzz(&Target {
        name: "packed",
        effort: Effort::Inputs(300_000),
        corpus: corpus::packed(),
        words: &[],
        run: targets::packed,
    });
}

#[test]
fn shards() {
    fuzz(&Target {
        name: "shard",
        effort: Effort::Inputs(300_000),
        corpus: corpus::shards(),
        words: &[],
        run: targets::shard,
    });
}

#[test]
fn checkpoints() {
    fuzz(&Target {
        name: "checkpoint",
        effort: MINUTE,
        corpus: corpus::checkpoints(),
        words: &[],
        run: targets::checkpoint,
    });
}

#[test]
fn tables_of_text() {
    let (corpus, words) = (corpus::texts(), corpus::TABLE_WORDS);
    fuzz(&Target { name: "text", effort: MINUTE, corpus, words, run: targets::text });
}

#[test]
fn tables_of_bytes() {
    let corpus = corpus::binary_tables();
    fuzz(&Target {
        name: "table",
        effort: Effort::Inputs(30_000),
        corpus,
        words: corpus::BINARY_WORDS,
        run: targets::table,
    });
}

#[test]
fn images_and_labels() {
    let (corpus, words) = (corpus::idx(), corpus::IDX_WORDS);
    fuzz(&Target { name: "idx", effort: MINUTE, corpus, words, run: targets::idx });
}

#[test]
fn networks() {
    let (corpus, words) = (corpus::networks(), corpus::NETWORK_WORDS);
    fuzz(&Target { name: "network", effort: MINUTE, corpus, words, run: targets::network });
}

#[test]
fn configurations() {
    let (corpus, words) = (corpus::configurations(), corpus::CONFIGURATION_WORDS);
    fuzz(&Target { name: "configuration", effort: MINUTE, corpus, words, run: targets::configuration });
}

#[test]
fn onnx_files() {
    fuzz(&Target {
        name: "onnx",
        effort: Effort::Inputs(60_000),
        corpus: corpus::onnx(),
        words: &[],
        run: targets::onnx,
    });
}

#[test]
fn safetensors_files() {
    let words = corpus::SAFETENSORS_WORDS;
    fuzz(&Target {
        name: "safetensors",
        effort: Effort::Inputs(30_000),
        corpus: corpus::safetensors(),
        words,
        run: targets::safetensors,
    });
}
