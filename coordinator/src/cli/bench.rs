//! `shoal bench`: how fast this machine trains, natively or in a browser.

use std::io::Write;
use std::path::Path;

use bench::{CASES, Case};
use indicatif::{MultiProgress, ProgressBar};
use model::Arithmetic;
use tokio::runtime::Runtime;

use super::args::BenchArgs;
use super::output::{results, say};
use super::{Interrupted, misuse, stop};
use crate::bench::native::{Plan, Rhythm};
use crate::bench::report::Report;
use crate::bench::{browser, native, pass};
use crate::report::words::count;

pub(super) fn run(args: BenchArgs, bars: MultiProgress) -> anyhow::Result<()> {
    let chosen = chosen(&args.case)?;
    let report = match &args.browser {
        Some(_) if chosen.cases.is_empty() => {
            return Err(misuse(format!(
                "--browser: {} can only be measured natively; leave out --browser",
                pass::NAME
            )));
        }
        Some(program) => in_browser(program, &args, bars)?,
        None => natively(chosen, &args, &bars),
    };
    results(|output| {
        if args.json {
            writeln!(output, "{}", serde_json::to_string(&report)?)?;
        } else {
            write_table(&report, output)?;
        }
        Ok(())
    })
}

struct Chosen {
    cases: Vec<&'static Case>,
    pass: bool,
}

/// The cases whose names begin with one of `wishes`; all if there is none.
fn chosen(wishes: &[String]) -> anyhow::Result<Chosen> {
    let mut names = CASES.iter().map(|case| case.name).chain([pass::NAME]);
    let unknown = |wish: &&String| !names.clone().any(|name| name.starts_with(wish.as_str()));
    if let Some(unknown) = wishes.iter().find(unknown) {
        let first = names.next().unwrap_or_default();
        let names = names.fold(first.to_owned(), |names, name| names + ", " + name);
        return Err(misuse(format!("--case: no case begins with \"{unknown}\"; there are {names}")));
    }
    let is_chosen =
        |name: &str| wishes.is_empty() || wishes.iter().any(|wish| name.starts_with(wish.as_str()));
    Ok(Chosen {
        cases: CASES.iter().filter(|case| is_chosen(case.name)).collect(),
        pass: is_chosen(pass::NAME),
    })
}

fn natively(Chosen { cases, pass }: Chosen, args: &BenchArgs, bars: &MultiProgress) -> Report {
    let arithmetics = args.arithmetic.map_or(Arithmetic::ALL.to_vec(), |one| vec![one]);
    let rhythm = if args.quick { Rhythm::QUICK } else { Rhythm::THOROUGH };
    let bar = bars.add(ProgressBar::new_spinner());
    let report = native::measure(&Plan { cases, pass, arithmetics, rhythm }, |next| {
        bar.set_message(format!("Measuring {next}"));
        bar.tick();
    });
    bar.finish_and_clear();
    report
}

fn in_browser(program: &Path, args: &BenchArgs, bars: MultiProgress) -> anyhow::Result<Report> {
    // Names of cases and arithmetics contain no character that is special in an address.
    let mut query: Vec<String> = args.case.iter().map(|case| format!("case={case}")).collect();
    query.extend(args.arithmetic.map(|arithmetic| format!("arithmetic={arithmetic}")));
    query.extend(args.quick.then(|| "quick".to_owned()));
    let query = query.join("&");
    say(format!("Measuring in {}.", program.display()));
    Runtime::new()?.block_on(async {
        let mut stop = stop::requested(bars, || None);
        tokio::select! {
            report = browser::measure(program, &query) => report,
            // Dropping the future ends the server and the browser.
            _ = stop.wait_for(|stop| *stop) => Err(Interrupted.into()),
        }
    })
}

fn write_table(report: &Report, output: &mut dyn Write) -> anyhow::Result<()> {
    let machine = &report.machine;
    // A browser may give itself any name.
    writeln!(output, "{}, {} cores", machine.name.escape_debug(), machine.cores)?;
    let head = ("case", "arithmetic", "cores", "GFLOP/s", "median", "of roof", "examples/s");
    let (case, arithmetic, cores, best, median, share, examples) = head;
    writeln!(output)?;
    writeln!(output, "{case:28} {arithmetic:10} {cores:>5} {best:>8} {median:>8} {share:>8} {examples:>11}")?;
    for roof in &report.roofs {
        let (arithmetic, cores) = (roof.arithmetic, roof.cores);
        writeln!(
            output,
            "{:28} {arithmetic:10} {cores:>5} {:>8.1} {:>8.1}",
            "(the roof)", roof.gflops, roof.gflops_median
        )?;
        let here = report.cases.iter().filter(|case| (case.arithmetic, case.cores) == (arithmetic, cores));
        for case in here {
            writeln!(
                output,
                "{:28} {arithmetic:10} {cores:>5} {:>8.1} {:>8.1} {:>7.0}% {:>11}",
                case.case.escape_debug().to_string(),
                case.gflops,
                case.gflops_median,
                100.0 * case.roof_share,
                count(case.examples_per_second as usize),
            )?;
        }
    }
    for missing in &report.missing {
        writeln!(output, "not measured: {}: {}", missing.arithmetic, missing.reason.escape_debug())?;
    }
    Ok(())
}
