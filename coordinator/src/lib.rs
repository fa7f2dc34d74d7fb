//! The coordinator: reads data, runs the engine, serves volunteers, keeps runs.

#![forbid(unsafe_code)]
// Help texts are doc comments, and a terminal shows URLs as they are.
#![allow(rustdoc::bare_urls)]

pub mod assets;
pub mod bench;
mod choice;
pub mod cli;
pub mod config;
pub mod data;
pub mod driver;
pub mod export;
mod inference;
pub mod load;
pub mod operator;
mod predictor;
pub mod quality;
pub mod report;
pub mod room;
pub mod run_directory;
pub mod scale;
pub mod server;
pub mod start;
pub mod store;
pub mod sweep;
mod traffic;
pub mod training;
pub mod trial;
pub mod volunteer;

pub use choice::Weights;
pub use predictor::{Description, Model, PredictError, Prediction, ROWS_MAX};
