//! Where the rows of a table stand in their files, for messages.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Runs of rows on consecutive lines. Nearly all files are one run; only blank lines, rows that are left out and
/// cells with line breaks begin another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    runs: Vec<Run>,
    files: Vec<PathBuf>,
    /// Whether there were too many runs to remember.
    given_up: bool,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    first_row: usize,
    /// From 0.
    first_line: u64,
    file: usize,
}

/// Runs that are remembered; beyond them messages name rows.
const RUNS_MAX: usize = 1 << 20;

impl Lines {
    /// The rows that follow are those of this file.
    pub(crate) fn begin_file(&mut self, path: &Path) {
        self.files.push(path.to_owned());
    }

    /// The row after those before stands on this line, from 0.
    pub(crate) fn push(&mut self, row: usize, line: u64) {
        self.push_run(Run { first_row: row, first_line: line, file: self.files.len().saturating_sub(1) });
    }

    /// The rows of a part that begins with this row and line.
    pub(crate) fn append(&mut self, part: Self, row: usize, line: u64) {
        self.given_up |= part.given_up;
        let file = self.files.len().saturating_sub(1);
        for run in part.runs {
            self.push_run(Run { first_row: run.first_row + row, first_line: run.first_line + line, file });
        }
    }

    fn push_run(&mut self, run: Run) {
        let goes_on = |last: &Run| {
            last.file == run.file
                && run.first_line - last.first_line == (run.first_row - last.first_row) as u64
        };
        if self.given_up || self.runs.last().is_some_and(goes_on) {
            return;
        }
        self.given_up = self.runs.len() == RUNS_MAX;
        if self.given_up {
            self.runs = Vec::new();
        } else {
            self.runs.push(run);
        }
    }

    /// Where a row is in words: `on line 7`, with the file where there are several; `in row 7` where the format
    /// has no lines.
    pub(crate) fn place(&self, row: usize) -> impl fmt::Display {
        match self.runs.partition_point(|run| run.first_row <= row).checked_sub(1) {
            None => format!("in row {}", row + 1),
            Some(at) => {
                let run = self.runs[at];
                let line = run.first_line + (row - run.first_row) as u64 + 1;
                let name = self.files.get(run.file).and_then(|path| path.file_name());
                match name {
                    Some(name) if self.files.len() > 1 => {
                        format!("on line {line} of {}", crate::error::plain(&name.to_string_lossy()))
                    }
                    _ => format!("on line {line}"),
                }
            }
        }
    }

    /// The same where only these rows are left.
    pub(crate) fn retain(&mut self, wanted: &[bool]) {
        let mut left = Self { files: std::mem::take(&mut self.files), ..Self::default() };
        let mut row = 0;
        for (at, run) in self.runs.iter().enumerate() {
            let end = self.runs.get(at + 1).map_or(wanted.len(), |next| next.first_row);
            for (old, first_line) in (run.first_row..end).zip(run.first_line..) {
                if wanted[old] {
                    left.push_run(Run { first_row: row, first_line, file: run.file });
                    row += 1;
                }
            }
        }
        *self = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_over_blank_lines_parts_and_files() {
        let mut lines = Lines::default();
        lines.begin_file(Path::new("a/one.csv"));
        lines.push(0, 1);
        lines.push(1, 2);
        lines.push(2, 4);
        assert_eq!(lines.runs.len(), 2);
        assert_eq!(lines.place(2).to_string(), "on line 5");
        let mut part = Lines::default();
        part.push(0, 0);
        part.push(1, 1);
        lines.append(part, 3, 5);
        assert_eq!(lines.runs.len(), 2);
        lines.begin_file(Path::new("a/two.csv"));
        lines.push(5, 1);
        assert_eq!(lines.place(4).to_string(), "on line 7 of one.csv");
        assert_eq!(lines.place(5).to_string(), "on line 2 of two.csv");
        lines.retain(&[true, false, true, true, false, true]);
        let places: Vec<String> = (0..4).map(|row| lines.place(row).to_string()).collect();
        assert_eq!(
            places,
            ["on line 2 of one.csv", "on line 5 of one.csv", "on line 6 of one.csv", "on line 2 of two.csv"]
        );
        assert_eq!(Lines::default().place(6).to_string(), "in row 7");
    }
}
