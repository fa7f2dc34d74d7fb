//! What the operator sees of a training, beyond what everybody sees. Field names are those of the JSON.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::bans::Ban;
use super::log::Entry;
use crate::report::status::DetailPoint;
use crate::scale::About;

/// See the module's description.
#[derive(Debug, Clone, Default, Serialize)]
pub struct View {
    /// When it was made.
    #[serde(skip)]
    pub made: Option<Instant>,
    /// Whether no work is handed out because the operator wants a pause.
    pub paused: bool,
    /// Whether the training ends after the open round.
    pub stopping: bool,
    /// What the optimizer does at present.
    pub method: String,
    /// The iteration whose weights would be saved now.
    pub best_iteration: Option<u64>,
    /// The last checkpoint.
    pub checkpoint: Option<Saved>,
    /// Whether the volunteers are worth their cost.
    pub worth: Worth,
    /// Those who are connected, at most [`View::ROWS_MAX`].
    pub volunteers: Vec<Row>,
    /// How many are connected, the coordinator's own worker included.
    pub volunteers_count: usize,
    /// The last who left, the newest first.
    pub departed: Vec<Departed>,
    /// The term in which this process leads; `None` if it is alone.
    pub term: Option<u64>,
    /// The gateways that are heard.
    pub gateways: Vec<About>,
    /// Addresses from which nobody may help.
    pub bans: Vec<Ban>,
    /// What the operator has had done, the oldest first.
    pub log: Vec<Entry>,
    /// How many shards of the training set have how many copies.
    pub copies: Vec<Copies>,
    /// The classes, or all examples, and how many of them volunteers hold.
    pub coverage: Vec<Coverage>,
    /// The course of the training. It is served only when asked for.
    #[serde(skip)]
    pub history: Arc<Vec<DetailPoint>>,
}

impl View {
    /// Volunteers that are shown; further ones are only counted.
    pub const ROWS_MAX: usize = 2000;
    /// Those who left that are shown.
    pub const DEPARTED_MAX: usize = 100;
}

/// A checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Saved {
    /// The last accepted iteration in it.
    pub iteration: u64,
    /// Seconds ago.
    pub seconds: f64,
    /// Whether it is on the disk.
    pub written: bool,
}

/// Whether the volunteers are worth their cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Worth {
    /// Speed of all together, as a multiple of one core of this machine.
    pub speed: Option<f64>,
    /// Share of the volunteers' time in which they had nothing to do.
    pub waiting: Option<f64>,
    /// Share of the work that was done and not counted: others were first, or it was a check.
    pub duplicated: Option<f64>,
    /// Bytes sent and received for each iteration.
    pub bytes_per_iteration: Option<f64>,
}

/// A connected volunteer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its session.
    pub session: u64,
    /// Its browser or program.
    pub agent: String,
    /// Its address, or the network of an IPv6 address.
    pub address: String,
    /// Whether it is the coordinator's own worker.
    pub local: bool,
    /// Cores it lends; 0 while it pauses.
    pub cores: u16,
    /// What it does now.
    pub state: State,
    /// Training examples a second of late.
    pub examples_per_second: f64,
    /// Examples of it that were counted.
    pub examples: u64,
    /// The same as a share of all.
    pub share: f64,
    /// Share of its time in which it had nothing to do, of late.
    pub waiting: f64,
    /// Bytes sent to it over its channel, and received.
    pub sent: u64,
    /// See `sent`.
    pub received: u64,
    /// Seconds since it was last heard.
    pub heard_seconds: f64,
    /// Seconds since it joined.
    pub joined_seconds: f64,
    /// Results of it that proved right when somebody else computed them too; `None` if nothing is compared.
    pub passed: Option<u64>,
    /// Results of it that others had delivered before.
    pub late: u64,
}

/// What a volunteer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has work.
    Computing,
    /// It has none.
    Waiting,
    /// A result of it is on its way.
    Uploading,
    /// Its answer is overdue, and nothing is heard of it.
    Silent,
    /// It lends no core for the time being.
    Paused,
}

/// A volunteer that has left.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Departed {
    /// Its session.
    pub session: u64,
    /// Its browser or program.
    pub agent: String,
    /// Its address.
    pub address: String,
    /// Examples of it that were counted.
    pub examples: u64,
    /// Seconds since it left.
    pub seconds: f64,
    /// Why, in words.
    pub why: String,
    /// Whether a check of its results failed.
    pub failed: bool,
}

/// So many shards have so many copies with volunteers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Copies {
    /// Copies of each.
    pub copies: usize,
    /// Shards.
    pub shards: usize,
}

/// The examples of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Its name; empty for all examples where there are no classes.
    pub class: String,
    /// Training examples of it.
    pub examples: u64,
    /// Those that at least one volunteer holds.
    pub held: u64,
}
