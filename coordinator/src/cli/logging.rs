//! The log, for finding out what went on; people are told the rest in plain lines.

use std::io::{self, Write};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Names the environment variable with a filter such as `coordinator=debug,hyper=warn`.
const VARIABLE: &str = "SHOAL_LOG";

/// Sends the log to standard error, around the progress bar that may be there.
///
/// # Errors
/// When the filter in the environment is not one.
pub(super) fn start(verbose: u8, bars: MultiProgress) -> anyhow::Result<()> {
    let filter = match std::env::var(VARIABLE) {
        Ok(filter) => EnvFilter::try_new(&filter).map_err(|error| {
            super::misuse(format!("{VARIABLE}={filter}: {error}; give for example coordinator=debug"))
        })?,
        Err(_) => EnvFilter::new(match verbose {
            0 => "warn",
            1 => "warn,coordinator=info,worker=info",
            2 => "info,coordinator=debug,worker=debug",
            _ => "trace",
        }),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(AroundBars { bars });
    // Only a second call can fail, and then a log is there already.
    let _ = log.try_init();
    Ok(())
}

/// Takes the bars off the screen while a line is written.
#[derive(Clone)]
struct AroundBars {
    bars: MultiProgress,
}

impl Write for AroundBars {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.bars.suspend(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for AroundBars {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
