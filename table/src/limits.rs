//! How much data a run may have. Every reader checks these before it allocates, so that a wrong or hostile
//! file ends in a sentence and not in an exhausted machine.

/// Bytes of one file after decompression: 16 GiB.
pub const FILE_BYTES_MAX: u64 = 16 << 30;
/// Files of one data set.
pub const FILES_MAX: usize = 10_000;
/// Examples of one data set.
pub const EXAMPLES_MAX: usize = 100_000_000;
/// Columns of one table, or values of one image.
pub const COLUMNS_MAX: usize = 1 << 20;
/// Feature values of one data set (8 GiB as f32).
pub const VALUES_MAX: usize = 1 << 31;
/// Classes, so that a class id fits 16 bits with one value to spare.
pub const CLASSES_MAX: usize = 65_535;
/// Columns that can be predicted at once.
pub const TARGETS_MAX: usize = 4_096;
/// A column of integers with more different values than this is taken for numbers unless the user says
/// otherwise.
pub const INFERRED_CLASSES_MAX: usize = 20;
/// Bytes of one row of text: what a quote that is never closed may swallow before it is noticed.
pub const ROW_BYTES_MAX: usize = 16 << 20;
/// Different texts of one column that are told apart; a column with more is left out.
pub const TEXTS_MAX: usize = 65_535;
/// Different numbers of one column that are counted exactly.
pub const DISTINCT_NUMBERS_MAX: usize = 4_096;
/// Bytes that the different texts of one column may have in all: a column with more is prose and no category.
pub const DICTIONARY_BYTES_MAX: usize = 16 << 20;
/// One row in so many may be bad, where bad rows are skipped.
pub const BAD_ROWS_ONE_IN: usize = 100;
