//! The configuration of a run, with every default filled in.
//!
//! Each setting is declared once, in the table ([`SETTINGS`]). [`RunConfig`] is what the training works from
//! and what `run.toml` holds. A user's own file ([`ConfigFile`]) has the same keys, all of them optional, and
//! the command line gives the same type again; [`ConfigFile::or`] lays one over the other and
//! [`ConfigFile::resolve`] fills in the defaults. Keys are named like the flags.

#[macro_use]
mod declare;
mod check;
mod doors;
mod error;
mod file;
mod listen;
mod network;
mod places;
mod range;
mod reference;
mod setting;
mod settle;
mod table;
mod tree;
mod trust;
mod value;
mod values;
mod words;

use std::path::Path;

use ::table::ReadOptions;
pub use ::table::{ColumnKind, ImageSize, Separator, TextEncoding};

pub use crate::data::TaskKind;
pub use doors::{Cidr, Invite};
pub use error::ConfigError;
pub use file::read_tree;
pub use listen::{DEFAULT_PORT, Listen, PublicUrl};
pub use network::ModelChoice;
pub(crate) use network::is_graph;
pub(crate) use places::is_localhost;
pub use places::{LinkUrl, ShardUrl, StoreKind, StoreUrl};
pub use range::Range;
pub use reference::reference;
pub use setting::{Command, Description, Section, Setting};
pub use table::{
    ConfigFile, LeftOpen, MINIBATCH_MAX, RunConfig, SETTINGS, customary_rate, declared, default_minibatch,
    default_seed,
};
pub use tree::{Content, Entry, Node, Problem};
pub use trust::{Audits, LieResponse};
pub use value::{Named, Value};
pub use values::{
    ClassWeights, DataSource, Decay, Fraction, HostName, LOCAL_WORKERS_MAX, LocalWorkers, OptimizerKind,
    Rate, STANDARD_INPUT,
};

impl ConfigFile {
    /// The settings that say how to read a file.
    pub fn read_options(self) -> ReadOptions {
        ReadOptions {
            labels: self.label.unwrap_or_default(),
            task: self.task,
            header: self.header,
            separator: self.separator,
            encoding: self.encoding,
            missing: self.missing.unwrap_or_default(),
            skip_bad_rows: self.skip_bad_rows.unwrap_or_default(),
            kinds: self.r#as.unwrap_or_default(),
            drop: self.drop.unwrap_or_default(),
            keep: self.keep.unwrap_or_default(),
            keep_all: false,
            image_size: self.image_size,
            scratch: None,
            text_only: false,
        }
    }
}

impl RunConfig {
    /// The settings that say how to read the data.
    pub fn read_options(&self) -> ReadOptions {
        ReadOptions {
            labels: self.label.clone(),
            task: self.task,
            header: self.header,
            separator: self.separator,
            encoding: self.encoding,
            missing: self.missing.clone(),
            skip_bad_rows: self.skip_bad_rows,
            kinds: self.r#as.clone(),
            drop: self.drop.clone(),
            keep: self.keep.clone(),
            keep_all: self.model.fixes_inputs(),
            image_size: self.image_size,
            scratch: None,
            text_only: false,
        }
    }

    /// Reads the text of the `run.toml` at `path`. [`RunConfig::check`] says whether it can be used.
    ///
    /// # Errors
    /// When somebody edited the file into something that cannot be understood.
    pub fn from_toml(path: &Path, text: &str) -> Result<Self, ConfigError> {
        ConfigFile::from_toml(path, text)?.into_run()
    }

    /// The text of `run.toml`.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every setting has a form in TOML: resolving saw to it")
    }
}
