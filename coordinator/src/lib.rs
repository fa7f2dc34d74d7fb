//! The coordinator: reads data, runs the engine, serves volunteers, keeps runs.

#![forbid(unsafe_code)]

pub mod data;
pub mod engine;
pub mod exchange;
pub mod run_directory;
pub mod shards;
pub mod status;
