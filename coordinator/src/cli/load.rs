//! `shoal load`: many volunteers in one process, to measure a coordinator.

use std::time::Duration;

use tokio::runtime::Runtime;

use super::args::LoadArgs;
use super::output::results;
use crate::load::{self, Outcome, Plan};

pub(super) fn run(args: LoadArgs) -> anyhow::Result<()> {
    let plan = Plan {
        volunteers: args.volunteers,
        speed: args.speed,
        latency: Duration::from_millis(args.latency),
        failures: args.failures,
        attack: args.attack,
        seconds: args.seconds,
    };
    let outcome = Runtime::new()?.block_on(load::run(&args.url, plan))?;
    let Outcome {
        open_most,
        made,
        refused,
        rounds,
        results: sent,
        bytes_received,
        seconds,
        status_median,
        status_most,
    } = outcome;
    results(|output| {
        writeln!(
            output,
            "{open_most} volunteers at once; {made} connections, {refused} refused or dismissed"
        )?;
        writeln!(output, "{rounds} rounds in {seconds:.1} s; {sent} results sent")?;
        let megabytes = bytes_received as f64 / 1e6;
        writeln!(output, "{megabytes:.0} MB received, {:.1} MB a second", megabytes / seconds)?;
        writeln!(
            output,
            "status after {:.0} ms (median), {:.0} ms at most",
            1e3 * status_median,
            1e3 * status_most
        )?;
        Ok(())
    })
}
