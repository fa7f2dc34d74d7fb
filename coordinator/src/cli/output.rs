//! Standard output for results, standard error for everything else.

use std::io::{self, BufWriter, Write};

/// Whoever read our output has gone (`shoal predict ... | head`): the end, but no failure.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub(super) struct ReaderGone;

/// Writes results to standard output and gets them out of every buffer.
///
/// # Errors
/// [`ReaderGone`], or what the operating system says (a full disk).
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

/// A line for people, on standard error. Nobody can be told if that is closed.
pub(super) fn say(line: impl AsRef<str>) {
    let _ = writeln!(io::stderr().lock(), "{}", line.as_ref());
}
