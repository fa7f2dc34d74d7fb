//! Standard output for results, standard error for everything else.

use std::io::{self, BufWriter, Write};

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

/// Writes a line for the user to standard error. If that is closed, nobody can be told.
pub(super) fn say(line: impl AsRef<str>) {
    let _ = writeln!(io::stderr().lock(), "{}", line.as_ref());
}
