//! Standard output for results, standard error for everything else.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::args::LogFormat;

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

/// Decides how standard error is written.
pub(super) fn write_as(format: LogFormat) {
    AS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// Whether standard error is written for programs.
pub(super) fn writes_json() -> bool {
    AS_JSON.load(Ordering::Relaxed)
}

/// Writes a line for the user to standard error. If that is closed, nobody can be told.
pub(super) fn say(line: impl AsRef<str>) {
    if writes_json() {
        return tell("message", &serde_json::json!({ "message": line.as_ref() }));
    }
    let _ = writeln!(io::stderr().lock(), "{}", printable(line.as_ref()));
}

/// Writes an object on one line to standard error: when, what kind of event, and the fields of `content`.
pub(super) fn tell(event: &str, content: &impl Serialize) {
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
    if !writes_json() {
        let _ = writeln!(io::stderr().lock(), "{picture}");
    }
}

/// The text with control characters written out. A label or a file's name may hold some, and a terminal obeys them.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let obeyed = |letter: char| letter.is_control() && letter != '\n' && letter != '\t';
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
