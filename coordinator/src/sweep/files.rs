//! The files that a sweep writes from its results: tables and charts.

use std::fs;
use std::path::Path;

use super::results::Results;
use super::{chart, table};
use crate::run_directory::{self, RunError};

/// Name of the file that every sweep has from its beginning.
const TABLE: &str = "sweep.csv";

/// Whether a directory belongs to a sweep.
pub fn is_sweep(directory: &Path) -> bool {
    directory.join(TABLE).exists()
}

/// Writes tables and charts into the sweep's directory, each file atomically.
///
/// # Errors
/// When a file cannot be written.
pub fn write(results: &Results, directory: &Path) -> Result<(), RunError> {
    fs::create_dir_all(directory).map_err(RunError::io("create", directory))?;
    let write = |name: &str, content: &str| run_directory::replace_file(&directory.join(name), content);
    write(TABLE, &table::csv(results, directory))?;
    let charts = chart::draw(results);
    for (name, svg) in &charts {
        write(name, svg)?;
    }
    let names: Vec<&str> = charts.iter().map(|(name, _)| name.as_str()).collect();
    write("sweep.md", &table::markdown(results, &names))
}
