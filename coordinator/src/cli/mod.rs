//! The command line.
//!
//! [`args`] defines the arguments, and each command has a file of its own. This file turns errors into exit
//! codes: 0 for success; 1 for failure, including a training that diverged; 2 for misuse, which only the user
//! can correct; and after an interruption 130 (Ctrl-C), 143 (a request to terminate) or 129 (a closed
//! terminal). Results go to standard output, everything else to standard error.

pub mod args;
mod bench;
mod completions;
mod demo;
mod evaluate;
mod export;
mod gateway;
mod inspect;
mod inspect_data;
mod json_lines;
mod launch;
mod lines;
mod load;
mod logging;
mod open;
mod output;
mod phones;
mod predict;
mod resume;
mod serve;
mod stop;
mod sweep;
mod terminal;
mod train;
mod trained;
mod volunteer;

use std::process::ExitCode;

use clap::Parser as _;
use indicatif::{MultiProgress, ProgressDrawTarget};

use self::args::{Cli, Command};
use self::output::{ReaderGone, complain};
use crate::config::ConfigError;
use crate::data::{DataError, TableError};
use crate::run_directory::RunError;
use crate::start::StartError;
use crate::sweep::SweepError;

const FAILURE: u8 = 1;
const MISUSE: u8 = 2;

/// Runs the command in the process's arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let Err(error) = run(cli) else { return ExitCode::SUCCESS };
    if error.is::<ReaderGone>() {
        return ExitCode::SUCCESS;
    }
    if error.is::<Diverged>() {
        return ExitCode::from(FAILURE);
    }
    if error.is::<Interrupted>() {
        return ExitCode::from(stop::exit_code());
    }
    complain(format!("error: {}", sentence(&error)));
    ExitCode::from(if is_misuse(&error) { MISUSE } else { FAILURE })
}

fn run(cli: Cli) -> anyhow::Result<()> {
    output::be_quiet(cli.quiet);
    let screen =
        if output::has_screen() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bars = MultiProgress::with_draw_target(screen);
    logging::start(cli.verbose, cli.log_format, bars.clone())?;
    match cli.command {
        Command::Demo(args) => demo::run(args, bars),
        Command::Train(args) => train::run(args, bars),
        Command::Resume(args) => resume::run(args, bars),
        Command::Sweep(args) => sweep::run(args, bars),
        Command::Volunteer(args) => volunteer::run(args, bars),
        Command::Load(args) => load::run(args),
        Command::Bench(args) => bench::run(args, bars),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Export(args) => export::run(args),
        Command::Serve(args) => serve::run(args, bars),
        Command::Gateway(args) => gateway::run(args, bars),
        Command::Inspect(args) => inspect::run(args),
        Command::Open(args) => open::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}

/// A mistake in the arguments, found by a command itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misuse(String);

/// The user interrupted a training. The user has been told everything already.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

/// A training failed. Its summary has said so already.
#[derive(Debug, thiserror::Error)]
#[error("the training has diverged")]
struct Diverged;

fn misuse(problem: impl Into<String>) -> anyhow::Error {
    Misuse(problem.into()).into()
}

fn is_misuse(error: &anyhow::Error) -> bool {
    let about_flags = |error: &DataError| {
        let flags = |error: &TableError| matches!(error, TableError::Label { .. } | TableError::Flag { .. });
        matches!(error, DataError::Split { .. }) || matches!(error, DataError::Table(error) if flags(error))
    };
    let wrong_place = |error: &RunError| {
        matches!(error, RunError::Exists { .. } | RunError::NotEmpty { .. } | RunError::NotARun { .. })
    };
    error.is::<Misuse>()
        || error.is::<ConfigError>()
        || error.is::<SweepError>()
        || error.is::<StartError>()
        || error.downcast_ref().is_some_and(about_flags)
        || error.downcast_ref().is_some_and(wrong_place)
}

/// The error and its causes as one line. A cause that the error names itself is not repeated.
fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if sentence.is_empty() {
            sentence = cause;
        } else if !sentence.contains(&cause) {
            sentence = format!("{sentence}: {cause}");
        }
    }
    sentence.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_cause_that_is_named_already_is_not_repeated() {
        let source = io::Error::new(io::ErrorKind::NotFound, "no such file");
        let error = ConfigError::Read { path: PathBuf::from("run.toml"), source };
        let error = anyhow::Error::new(error).context("cannot begin");
        assert_eq!(sentence(&error), "cannot begin: cannot read run.toml: no such file; check the path");
        assert!(is_misuse(&error));
    }

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(sentence(&misuse("one\n  two")), "one two");
    }
}
