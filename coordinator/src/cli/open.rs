//! `shoal open`: the links to a training that runs, and the report of one that is over.

use super::args::OpenArgs;
use super::output::results;
use crate::run_directory::{self, RunError};

pub(super) fn run(args: &OpenArgs) -> anyhow::Result<()> {
    let OpenArgs { run, json } = args;
    let links = run_directory::load_links(run)?;
    let report = run_directory::report_path(run);
    if links.is_empty() && report.is_none() {
        return Err(RunError::NothingToOpen { path: run.clone() }.into());
    }
    results(|output| {
        if *json {
            let report = report.map(|path| path.display().to_string());
            writeln!(output, "{}", serde_json::json!({ "links": links, "report": report }))?;
            return Ok(());
        }
        for link in &links {
            writeln!(output, "page     {link}")?;
        }
        if let Some(path) = &report {
            writeln!(output, "report   {}", path.display())?;
        }
        Ok(())
    })
}
