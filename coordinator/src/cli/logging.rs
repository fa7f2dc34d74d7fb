//! The log, for diagnosis. Users get plain lines instead.

use std::io::{self, Write};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::args::LogFormat;
use super::output;

/// The environment variable that holds a filter such as `coordinator=debug,hyper=warn`.
const VARIABLE: &str = "SHOAL_LOG";

/// Sends the log to standard error, around a progress bar.
///
/// # Errors
/// When the environment holds an invalid filter.
pub(super) fn start(verbose: u8, format: LogFormat, bars: MultiProgress) -> anyhow::Result<()> {
    let filter = match std::env::var(VARIABLE) {
        Ok(filter) => EnvFilter::try_new(&filter).map_err(|error| {
            super::misuse(format!("{VARIABLE}={filter}: {error}; give a filter such as coordinator=debug"))
        })?,
        Err(_) => EnvFilter::new(match verbose {
            0 => "warn",
            1 => "warn,coordinator=info,worker=info",
            2 => "info,coordinator=debug,worker=debug",
            _ => "trace",
        }),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(AroundBars { bars });
    // Only a second call can fail, and then the log exists already.
    let _ = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    output::write_as(format);
    Ok(())
}

/// Hides the bars while a line is written.
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
