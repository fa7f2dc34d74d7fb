//! Standard output for results, standard error for everything else.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::args::LogFormat;
use crate::report::words::steers;

/// The reader of the output has gone (`shoal predict ... | head`). This ends the command, but is no failure.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub(super) struct ReaderGone;

/// Writes results to standard output and flushes every buffer.
///
/// # Errors
/// [`ReaderGone`], or the operating system's error (such as a full disk).
pub(super) fn results(write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut output = BufWriter::new(io::stdout().lock());
    write(&mut output).and_then(|()| Ok(output.flush()?)).map_err(|error| {
        match error.downcast::<io::Error>() {
            Ok(error) if error.kind() == io::ErrorKind::BrokenPipe => ReaderGone.into(),
            Ok(error) => anyhow::Error::new(error).context("cannot write to standard output"),
            Err(error) => error,
        }
    })
}

/// How standard error is written. It belongs to the whole process.
static AS_JSON: AtomicBool = AtomicBool::new(false);
/// Whether only errors are written there, beside the log.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Decides whether only errors are written to standard error.
pub(super) fn be_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Whether only errors are written to standard error.
pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Decides how standard error is written.
pub(super) fn write_as(format: LogFormat) {
    AS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// Whether standard error is written for programs.
pub(super) fn writes_json() -> bool {
    AS_JSON.load(Ordering::Relaxed)
}

/// Whether standard error is a terminal that can redraw a line, as those of editors and build logs cannot.
pub(super) fn has_screen() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|kind| kind == "dumb");
    io::stderr().is_terminal() && !is_dumb && !is_quiet()
}

/// Writes a line for the user to standard error, unless only errors are wanted.
pub(super) fn say(line: impl AsRef<str>) {
    if !is_quiet() {
        complain(line);
    }
}

/// Writes an error to standard error. If that is closed, nobody can be told.
pub(super) fn complain(line: impl AsRef<str>) {
    if writes_json() {
        return write_event("message", &serde_json::json!({ "message": line.as_ref() }));
    }
    let _ = writeln!(io::stderr().lock(), "{}", printable(line.as_ref()));
}

/// Writes an object on one line to standard error, unless only errors are wanted.
pub(super) fn tell(event: &str, content: &impl Serialize) {
    if !is_quiet() {
        write_event(event, content);
    }
}

/// Writes when, what kind of event, and the fields of `content`.
fn write_event(event: &str, content: &impl Serialize) {
    #[derive(Serialize)]
    struct Line<'a, T> {
        /// Seconds since the beginning of 1970.
        time: f64,
        event: &'a str,
        #[serde(flatten)]
        content: &'a T,
    }
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    if let Ok(line) = serde_json::to_string(&Line { time, event, content }) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// The same for a picture of our own, whose colors the terminal is to obey.
pub(super) fn draw(picture: &str) {
    if !writes_json() && !is_quiet() {
        let _ = writeln!(io::stderr().lock(), "{picture}");
    }
}

/// The text with control characters written out. A label or a file's name may hold some, and a terminal obeys them.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let obeyed = |letter: char| steers(letter) && letter != '\n' && letter != '\t';
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let written =
        |letter: char| if obeyed(letter) { letter.escape_default().to_string() } else { letter.into() };
    Cow::Owned(text.chars().map(written).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_commanded_by_data() {
        assert_eq!(printable("Bäcker\n\tfür alle"), "Bäcker\n\tfür alle");
        assert_eq!(printable("a\u{1b}[31mred"), "a\\u{1b}[31mred");
    }
}
