//! The values a setting can take, each read from a flag and from a file by the same code, and
//! written the way it is read.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use model::Arithmetic;
use serde::{Serialize, Serializer};

use super::doors::{Cidr, Invite};
use super::listen::{Listen, PublicUrl};
use super::places::{LinkUrl, ShardUrl, StoreUrl};
use super::table::{LOCAL, STOCHASTIC};
use super::value::Named;
use crate::data::TaskKind;

/// The largest number of compute workers that the coordinator itself may run.
pub const LOCAL_WORKERS_MAX: u16 = 256;
const EMBEDDED_MNIST: &str = "embedded:mnist";
/// Means standard input in place of a path.
pub const STANDARD_INPUT: &str = "-";

/// Where examples come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSource {
    /// The MNIST data set inside the binary, written `embedded:mnist`.
    EmbeddedMnist,
    /// A file, a pattern that names several, a directory, or `-` for standard input.
    Path(PathBuf),
}

impl DataSource {
    /// A short name for titles and run directories: the file's name without its endings.
    pub fn name(&self) -> String {
        match self {
            Self::EmbeddedMnist => "MNIST".to_owned(),
            Self::Path(path) => {
                if path.as_os_str() == STANDARD_INPUT {
                    return "standard input".to_owned();
                }
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
                let stem = name.trim_start_matches('.').split('.').next().unwrap_or_default();
                if stem.is_empty() { "data".to_owned() } else { stem.to_owned() }
            }
        }
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmbeddedMnist => formatter.write_str(EMBEDDED_MNIST),
            Self::Path(path) => path.display().fmt(formatter),
        }
    }
}

impl FromStr for DataSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("name a file, a directory, - for standard input or embedded:mnist".to_owned());
        }
        match text.strip_prefix("embedded:") {
            Some("mnist") => Ok(Self::EmbeddedMnist),
            Some(_) => Err(format!("the only embedded data set is {EMBEDDED_MNIST}")),
            None => Ok(Self::Path(PathBuf::from(text))),
        }
    }
}

/// The method that improves the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OptimizerKind {
    /// `auto`
    #[default]
    Auto,
    /// `averaged`
    Averaged,
    /// `lbfgs`
    Lbfgs,
    /// `sgd`
    Sgd,
    /// `momentum`
    Momentum,
    /// `adam`
    Adam,
    /// `adamw`
    AdamW,
    /// `average`
    Average,
}

impl Named for OptimizerKind {
    const ALL: &'static [Self] = &[
        Self::Auto,
        Self::Averaged,
        Self::Lbfgs,
        Self::Sgd,
        Self::Momentum,
        Self::Adam,
        Self::AdamW,
        Self::Average,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Averaged => "averaged",
            Self::Lbfgs => "lbfgs",
            Self::Sgd => "sgd",
            Self::Momentum => "momentum",
            Self::Adam => "adam",
            Self::AdamW => "adamw",
            Self::Average => "average",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Auto => "Averaged, then full-batch L-BFGS when averaged stalls",
            Self::Averaged => "Local minibatch steps on replicas, and L-BFGS on their mean movement",
            Self::Lbfgs => "L-BFGS on the gradient of all examples, or of a sample",
            Self::Sgd => "Stochastic gradient descent",
            Self::Momentum => "The same with Nesterov's momentum",
            Self::Adam => "Adam",
            Self::AdamW => "Adam with decoupled weight decay",
            Self::Average => "Local minibatch steps on replicas, averaged, without L-BFGS",
        }
    }
}

impl OptimizerKind {
    /// Whether replicas take local steps.
    pub fn is_local(self) -> bool {
        LOCAL.contains(&self)
    }

    /// Whether each round takes the gradient of a few minibatches and steps along it.
    pub fn is_stochastic(self) -> bool {
        STOCHASTIC.contains(&self)
    }
}

/// A learning rate, written `auto` or as a number.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Rate {
    /// The training finds it by trials where replicas take local steps; other methods use their customary rate.
    #[default]
    Auto,
    /// A given value.
    Given(f32),
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Given(rate) => rate.fmt(formatter),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.parse() {
            Ok(rate) if rate > 0.0 && rate < f32::INFINITY => Ok(Self::Given(rate)),
            _ => Err("give auto or a positive number such as 0.1".to_owned()),
        }
    }
}

/// The course of the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decay {
    /// `constant`
    #[default]
    Constant,
    /// `linear`
    Linear,
    /// `cosine`
    Cosine,
}

impl Named for Decay {
    const ALL: &'static [Self] = &[Self::Constant, Self::Linear, Self::Cosine];

    fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Linear => "linear",
            Self::Cosine => "cosine",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Constant => "It stays constant",
            Self::Linear => "It falls linearly to a fiftieth",
            Self::Cosine => "It falls to a fiftieth along half a cosine",
        }
    }
}

/// How much the examples of each class weigh in the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassWeights {
    /// `none`
    None,
    /// `balanced`
    Balanced,
}

impl Named for ClassWeights {
    const ALL: &'static [Self] = &[Self::None, Self::Balanced];

    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Balanced => "balanced",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::None => "Every example weighs the same",
            Self::Balanced => "Every class weighs the same, however few its training examples are",
        }
    }
}

impl Named for TaskKind {
    const ALL: &'static [Self] = &[Self::Classes, Self::Numbers];

    fn name(self) -> &'static str {
        match self {
            Self::Classes => "classes",
            Self::Numbers => "numbers",
        }
    }
}

impl Named for Arithmetic {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.name()
    }
}

/// A name is displayed as a user writes it.
macro_rules! shown_by_name {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.name())
            }
        }
    )*};
}

shown_by_name!(OptimizerKind, Decay, ClassWeights);

/// Help by the coordinator itself, written `auto` or as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LocalWorkers {
    /// It helps until the volunteers together are faster than it.
    #[default]
    Auto,
    /// This number of compute workers helps all the time; with 0 the coordinator only computes stuck units.
    Count(u16),
}

impl fmt::Display for LocalWorkers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Count(count) => count.fmt(formatter),
        }
    }
}

impl FromStr for LocalWorkers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.parse() {
            Ok(count) if count <= LOCAL_WORKERS_MAX => Ok(Self::Count(count)),
            _ => Err(format!("give auto or a number from 0 to {LOCAL_WORKERS_MAX}")),
        }
    }
}

/// A name under which the page may be opened. It must be a bare host name, because no request could ever have
/// another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const BYTES_MAX: usize = 253;
        let is_label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        if text.len() <= BYTES_MAX && text.split('.').all(is_label) {
            return Ok(Self(text.to_owned()));
        }
        Err("give a host name such as shoal.example.org, without http://, port or path".to_owned())
    }
}

/// A share, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Fraction(f64);

impl Fraction {
    /// No share at all.
    pub const ZERO: Self = Self(0.0);
    /// The whole.
    pub const ONE: Self = Self(1.0);

    /// The share, if `value` is one.
    pub const fn new(value: f64) -> Option<Self> {
        if value >= 0.0 && value <= 1.0 { Some(Self(value)) } else { None }
    }

    /// The share as a number from 0 to 1.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for Fraction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || "give a share from 0 to 1, such as 0.2".to_owned();
        let value: f64 = text.parse().map_err(|_| problem())?;
        Self::new(value).ok_or_else(|| match value {
            value if value > 1.0 && value <= 100.0 => {
                format!("give a share and not percent, {} for {value} %", value / 100.0)
            }
            _ => problem(),
        })
    }
}

impl Serialize for Fraction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Given(rate) => serializer.serialize_f32(*rate),
        }
    }
}

impl Serialize for LocalWorkers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Count(count) => serializer.serialize_u16(*count),
        }
    }
}

/// Values that a file spells as the same text as a flag.
macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

as_text!(
    DataSource,
    Listen,
    PublicUrl,
    HostName,
    OptimizerKind,
    Decay,
    ClassWeights,
    Cidr,
    Invite,
    LinkUrl,
    ShardUrl,
    StoreUrl
);
