//! `shoal completions`: a script for a shell.

use clap::CommandFactory as _;

use super::args::{Cli, CompletionsArgs};
use super::output::results;

pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    results(|output| Ok(output.write_all(&script)?))
}
