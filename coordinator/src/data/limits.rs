//! How much data a run may have. Every reader checks these before it allocates, so that a wrong or hostile file ends in
//! a sentence and not in an exhausted machine.

/// Bytes of one file after decompression: 16 GiB.
pub const MAX_FILE_BYTES: u64 = 16 << 30;
/// Examples of one file.
pub const MAX_EXAMPLES: usize = 100_000_000;
/// Columns of one CSV file, or bytes of one image.
pub const MAX_COLUMNS: usize = 1 << 20;
/// Feature values of one file (8 GiB as f32).
pub const MAX_VALUES: usize = 1 << 31;
/// Classes, so that a class id fits 16 bits with one value to spare.
pub const MAX_CLASSES: usize = 65_535;
/// A column of integers with more different values than this is taken for numbers unless the user says otherwise.
pub const MAX_INFERRED_CLASSES: usize = 100;
/// Largest magnitude of a value; beyond it the subtraction of a mean could leave the range of f32.
pub const MAX_MAGNITUDE: f32 = 1e30;
/// Columns that can be predicted at once.
pub const MAX_TARGETS: usize = 4_096;
