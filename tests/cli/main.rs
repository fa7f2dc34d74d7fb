//! The command line as a user meets it: the real binary, its output, its exit codes.
//!
//! - `misuse`: what is said, and with which exit code, when something typed is wrong.
//! - `beginning`: `--init` and `--model` with files of other programs.
//! - `configuration`: files and flags together, and `run.toml` as a file like any other.
//! - `exporting`: `export`, and its files in other programs.
//! - `defaults`: what a training gets without flags.
//! - `observing`: TensorBoard, and lines of JSON.
//! - `serving`: `serve` and `/metrics`.
//! - `optimizers`: all of them, on sound and on odd data.
//! - `guide`: the commands of the guide.
//! - `figures`: the figures at the end of a training.
//! - `inspecting`: `inspect`, and networks that look integers up.
//! - `reports`: the report for people in a run directory.
//! - `training`: `train`, `resume`, Ctrl-C, `demo`.
//! - `sweep`: series of trainings.
//! - `judging`: which weights are kept, when to evaluate and when to stop.
//! - `kept`: runs that an earlier program left half done.
//! - `terminal`: terminals, logs, `--quiet` and completions.
//! - `unix`: `train`, `resume`, `open` and `serve` at a Unix socket.
//! - `using`: `evaluate` and `predict` with a trained model.
//! - `shoal`: the helper that runs the binary in a folder of its own.

mod beginning;
mod configuration;
mod data;
mod defaults;
mod exporting;
mod figures;
mod guide;
mod inspecting;
mod judging;
mod kept;
mod misuse;
mod observing;
mod optimizers;
mod outside;
mod reports;
mod serving;
mod shoal;
mod sweep;
mod terminal;
mod training;
#[cfg(unix)]
mod unix;
mod using;
