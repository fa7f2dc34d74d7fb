//! `shoal load`: many volunteers in one process, to measure a coordinator.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::args::LoadArgs;
use super::output::results;
use crate::load::{self, Arrivals, Outcome, Plan};

pub(super) fn run(args: LoadArgs) -> anyhow::Result<()> {
    if let Some(bytes) = args.bare {
        let at_a_time = args.at_a_time.unwrap_or(args.volunteers);
        let arrivals = Runtime::new()?.block_on(load::fan_out(args.volunteers, bytes, at_a_time))?;
        return results(|output| {
            let text = if args.json { json_of(&arrivals).to_string() } else { words_of(&arrivals) };
            Ok(writeln!(output, "{text}")?)
        });
    }
    let plan = Plan {
        volunteers: args.volunteers,
        speed: args.speed,
        latency: Duration::from_millis(args.latency),
        failures: args.failures,
        attack: args.attack,
        after: args.after,
        once: args.once,
        seconds: args.seconds,
    };
    let outcome = Runtime::new()?.block_on(load::run(&args.url.unwrap_or_default(), plan))?;
    let Outcome {
        open_most,
        made,
        refused,
        rounds,
        results: sent,
        bytes_received,
        seconds,
        first_round,
        status_median,
        status_most,
    } = outcome;
    results(|output| {
        if args.json {
            let object = json!({
                "volunteers": open_most, "connections": made, "refused": refused, "rounds": rounds, "results": sent,
                "bytes_received": bytes_received, "seconds": seconds, "first_round": json_of(&first_round),
                "status_median": status_median, "status_most": status_most,
            });
            return Ok(writeln!(output, "{object}")?);
        }
        writeln!(
            output,
            "{open_most} volunteers at once; {made} connections, {refused} refused or dismissed"
        )?;
        writeln!(output, "{rounds} rounds in {seconds:.1} s; {sent} results sent")?;
        let megabytes = bytes_received as f64 / 1e6;
        writeln!(output, "{megabytes:.0} MB received, {:.1} MB a second", megabytes / seconds)?;
        writeln!(output, "first round: {}", words_of(&first_round))?;
        writeln!(
            output,
            "status after {:.0} ms (median), {:.0} ms at most",
            1e3 * status_median,
            1e3 * status_most
        )?;
        Ok(())
    })
}

fn words_of(arrivals: &Arrivals) -> String {
    let Arrivals { count, median, last } = arrivals;
    format!("{count} volunteers had all of it, half of them after {median:.2} s, the last after {last:.2} s")
}

fn json_of(arrivals: &Arrivals) -> Value {
    let Arrivals { count, median, last } = arrivals;
    json!({ "count": count, "median": median, "last": last })
}
