//! From files as people have them to a network's inputs.
//!
//! The walk of the data: [`files`](source::files) opens what the user names; [`read`] tells the format,
//! infers what each column holds and reads it into a [`Table`] of typed columns with its [`Targets`];
//! [`Preparation::fit`] learns from the training rows what each column becomes, and is saved with the model;
//! [`read_matching`] reads another file by a preparation. Every inference can be shown, and overridden by
//! [`ReadOptions`].
//!
//! Everything here is a function of the files and the options alone. Nothing depends on the machine, the
//! number of its cores or the order of a hash table.

mod column;
mod csv;
mod date;
mod encoding;
pub mod error;
mod formats;
mod kind;
pub mod limits;
mod lines;
mod load;
mod matching;
mod memory;
mod missing;
mod numbers;
mod options;
mod preparation;
mod scratch;
pub mod source;
mod target;

pub use self::{
    column::{Column, PixelScaling, PixelValues, Pixels, SpilledPixels, SpilledValues, Table, Texts, Values},
    csv::{Separator, Style},
    date::{DateFormat, moment_in_words},
    encoding::TextEncoding,
    error::TableError,
    kind::{Distinct, Kind, LeftOut},
    load::{DataSet, read, read_idx},
    matching::{Labels, read_like, read_matching},
    numbers::Numbers,
    options::{ColumnKind, ImageSize, ReadOptions},
    preparation::{
        Becomes, CATEGORY_VALUES_MAX, InputValues, Inputs, LabelColumn, Preparation, PreparedColumn,
        PreparedPixels, RARE_VALUES_MAX, Standardized, Stored, TargetSchema, VERSION,
    },
    scratch::Scratch,
    source::DataFile,
    target::{Targets, TaskKind},
};
