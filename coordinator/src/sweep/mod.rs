//! Sweeps: series of trainings that differ in chosen settings, each with several seeds, and the tables and
//! charts of their results.
//!
//! [`Case`]s come from the command line ([`Over`]) or a [`CaseFile`]. `cli/sweep.rs` runs every case with
//! every seed as a training like any other, in a run directory of its own. Here the runs' metrics become
//! [`Course`]s, the courses become medians over the seeds ([`Comparison`]), and [`write`](fn@write) makes
//! tables and charts of the medians:
//!
//! | file | content |
//! | --- | --- |
//! | `sweep.md` | the medians, for people, with the charts |
//! | `sweep.csv` | one row a run |
//! | `rounds.svg`, `epochs.svg`, `seconds.svg` | loss and accuracy over each |
//! | `CASE/seed-N/` | a run directory |
//! | `lock` | held by the process that works on the sweep |

mod case;
mod case_file;
mod chart;
mod comparison;
mod course;
mod error;
mod files;
mod results;
mod seeds;
mod table;
mod targets;

pub use self::case::{CASES_MAX, Case, Over, Setting, combine};
pub use self::case_file::CaseFile;
pub use self::comparison::{Comparison, Marked};
pub use self::course::{Course, Effort, Point, Unit};
pub use self::error::SweepError;
pub use self::files::{is_sweep, write};
pub use self::results::{Ending, Results, Run, RunOutcome};
pub use self::seeds::Seeds;
pub use self::table::medians as tables;
pub use self::targets::{Measure, Target, Targets};
