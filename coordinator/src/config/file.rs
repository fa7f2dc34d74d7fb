//! A configuration as a user gives it: any setting may be absent.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use model::{Arithmetic, NetworkSpec};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::ConfigError;
use super::network::{self, NetworkFile};
use super::sentences;
use super::values::{DataSource, Decay, Fraction, Listen, LocalWorkers, OptimizerKind, Rate};
use super::{RunConfig, TaskKind, defaults};

/// Bytes of the largest configuration or network file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A configuration file, or what the command line says of it. Keys are those of [`RunConfig`] and
/// two more that end up elsewhere: `l2` in the network, `out` as the place of the run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConfigFile {
    /// See [`RunConfig::data`].
    pub data: Option<DataSource>,
    /// See [`RunConfig::label`].
    #[serde(deserialize_with = "one_or_many", default)]
    pub label: Option<Vec<String>>,
    /// See [`RunConfig::task`].
    pub task: Option<TaskKind>,
    /// See [`RunConfig::header`].
    pub header: Option<bool>,
    /// See [`RunConfig::test`].
    pub test: Option<PathBuf>,
    /// See [`RunConfig::test_fraction`].
    pub test_fraction: Option<Fraction>,
    /// See [`RunConfig::validation`].
    pub validation: Option<PathBuf>,
    /// See [`RunConfig::validation_fraction`].
    pub validation_fraction: Option<Fraction>,
    /// See [`RunConfig::evaluate_every`].
    pub evaluate_every: Option<u64>,
    /// See [`RunConfig::evaluate_training`].
    pub evaluate_training: Option<bool>,
    /// See [`RunConfig::model`].
    pub model: Option<ModelChoice>,
    /// Takes the place of the network's own L2 penalty.
    pub l2: Option<f32>,
    /// See [`RunConfig::minibatch`].
    pub minibatch: Option<u32>,
    /// See [`RunConfig::optimizer`].
    pub optimizer: Option<OptimizerKind>,
    /// See [`RunConfig::replicas`].
    pub replicas: Option<u32>,
    /// See [`RunConfig::local_steps`].
    pub local_steps: Option<u32>,
    /// See [`RunConfig::learning_rate`].
    pub learning_rate: Option<Rate>,
    /// See [`RunConfig::schedule`].
    pub schedule: Option<Decay>,
    /// See [`RunConfig::schedule_iterations`].
    pub schedule_iterations: Option<u64>,
    /// See [`RunConfig::minibatches_per_round`].
    pub minibatches_per_round: Option<u32>,
    /// See [`RunConfig::sample`].
    pub sample: Option<u32>,
    /// See [`RunConfig::overlap`].
    pub overlap: Option<Fraction>,
    /// See [`RunConfig::outer_momentum`].
    pub outer_momentum: Option<f32>,
    /// See [`RunConfig::weight_decay`].
    pub weight_decay: Option<f32>,
    /// See [`RunConfig::memory`].
    pub memory: Option<u32>,
    /// See [`RunConfig::iterations`].
    pub iterations: Option<u64>,
    /// See [`RunConfig::rounds`].
    pub rounds: Option<u64>,
    /// See [`RunConfig::epochs`].
    pub epochs: Option<f64>,
    /// See [`RunConfig::max_seconds`].
    pub max_seconds: Option<u64>,
    /// See [`RunConfig::target_accuracy`].
    pub target_accuracy: Option<Fraction>,
    /// See [`RunConfig::target_loss`].
    pub target_loss: Option<f64>,
    /// See [`RunConfig::gradient_tolerance`].
    pub gradient_tolerance: Option<f64>,
    /// See [`RunConfig::relative_decrease`].
    pub relative_decrease: Option<f64>,
    /// See [`RunConfig::patience`].
    pub patience: Option<u64>,
    /// See [`RunConfig::seed`].
    pub seed: Option<u64>,
    /// See [`RunConfig::arithmetic`].
    pub arithmetic: Option<Arithmetic>,
    /// See [`RunConfig::listen`].
    pub listen: Option<Listen>,
    /// See [`RunConfig::allow_host`].
    #[serde(deserialize_with = "one_or_many", default)]
    pub allow_host: Option<Vec<String>>,
    /// See [`RunConfig::local_workers`].
    pub local_workers: Option<LocalWorkers>,
    /// See [`RunConfig::wait_for`].
    pub wait_for: Option<u32>,
    /// See [`RunConfig::wait_seconds`].
    pub wait_seconds: Option<u32>,
    /// The run directory to make.
    pub out: Option<PathBuf>,
    /// Has no effect: so that the `run.toml` of one run can be given to another, which makes its own.
    pub data_fingerprint: Option<String>,
}

/// A network as a user gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelChoice {
    /// A shorthand such as `mlp:128,64`, or the path of a TOML or JSON file.
    Text(String),
    /// A table in the configuration file itself.
    Spec(NetworkSpec),
}

impl ConfigFile {
    /// Reads a file. Paths in it are taken from the folder it is in.
    ///
    /// # Errors
    /// When it cannot be read, or says what is not understood.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::from_toml(path, &read_text(path)?)
    }

    /// The settings that `text` gives. `path` is the file it comes from: errors name it, and paths in
    /// the text are taken from the folder it is in.
    ///
    /// # Errors
    /// When the text says what is not understood.
    pub fn from_toml(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut config: Self = parse_toml(path, text)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let rebase = |given: &mut PathBuf| *given = folder.join(&given);
        if let Some(DataSource::Path(data)) = &mut config.data {
            rebase(data);
        }
        config.test.as_mut().map(rebase);
        config.validation.as_mut().map(rebase);
        config.out.as_mut().map(rebase);
        if let Some(ModelChoice::Text(text)) = &mut config.model
            && let Ok(file) = folder.join(&text).into_os_string().into_string()
            && is_file_name(text)
        {
            *text = file;
        }
        Ok(config)
    }

    /// These settings, and those of `below` where these have none.
    pub fn or(self, below: Self) -> Self {
        let keep_test = self.test.is_none() && self.test_fraction.is_none();
        let below = match self.optimizer {
            // The settings of one optimizer say nothing of another.
            Some(optimizer) if below.optimizer.is_some_and(|other| other != optimizer) => Self {
                replicas: None,
                local_steps: None,
                learning_rate: None,
                schedule: None,
                schedule_iterations: None,
                minibatches_per_round: None,
                sample: None,
                overlap: None,
                outer_momentum: None,
                weight_decay: None,
                memory: None,
                ..below
            },
            _ => below,
        };
        let keep_validation = self.validation.is_none() && self.validation_fraction.is_none();
        Self {
            data: self.data.or(below.data),
            label: self.label.or(below.label),
            task: self.task.or(below.task),
            header: self.header.or(below.header),
            // The two exclude each other, so that either on top hides both below.
            test: self.test.or(below.test.filter(|_| keep_test)),
            test_fraction: self.test_fraction.or(below.test_fraction.filter(|_| keep_test)),
            validation: self.validation.or(below.validation.filter(|_| keep_validation)),
            validation_fraction: self
                .validation_fraction
                .or(below.validation_fraction.filter(|_| keep_validation)),
            evaluate_every: self.evaluate_every.or(below.evaluate_every),
            evaluate_training: self.evaluate_training.or(below.evaluate_training),
            model: self.model.or(below.model),
            l2: self.l2.or(below.l2),
            minibatch: self.minibatch.or(below.minibatch),
            optimizer: self.optimizer.or(below.optimizer),
            replicas: self.replicas.or(below.replicas),
            local_steps: self.local_steps.or(below.local_steps),
            learning_rate: self.learning_rate.or(below.learning_rate),
            schedule: self.schedule.or(below.schedule),
            schedule_iterations: self.schedule_iterations.or(below.schedule_iterations),
            minibatches_per_round: self.minibatches_per_round.or(below.minibatches_per_round),
            sample: self.sample.or(below.sample),
            overlap: self.overlap.or(below.overlap),
            outer_momentum: self.outer_momentum.or(below.outer_momentum),
            weight_decay: self.weight_decay.or(below.weight_decay),
            memory: self.memory.or(below.memory),
            iterations: self.iterations.or(below.iterations),
            rounds: self.rounds.or(below.rounds),
            epochs: self.epochs.or(below.epochs),
            max_seconds: self.max_seconds.or(below.max_seconds),
            target_accuracy: self.target_accuracy.or(below.target_accuracy),
            target_loss: self.target_loss.or(below.target_loss),
            gradient_tolerance: self.gradient_tolerance.or(below.gradient_tolerance),
            relative_decrease: self.relative_decrease.or(below.relative_decrease),
            patience: self.patience.or(below.patience),
            seed: self.seed.or(below.seed),
            arithmetic: self.arithmetic.or(below.arithmetic),
            listen: self.listen.or(below.listen),
            allow_host: self.allow_host.or(below.allow_host),
            local_workers: self.local_workers.or(below.local_workers),
            wait_for: self.wait_for.or(below.wait_for),
            wait_seconds: self.wait_seconds.or(below.wait_seconds),
            out: self.out.or(below.out),
            data_fingerprint: None,
        }
    }

    /// The whole configuration: defaults filled in, the network read, paths made absolute so that
    /// the run can be resumed from any folder. `out` is left to the caller.
    ///
    /// # Errors
    /// When something needed is missing, out of range, or contradicts something else.
    pub fn resolve(self) -> Result<RunConfig, ConfigError> {
        let data = self.data.ok_or(ConfigError::Missing { setting: "data", example: "digits.csv" })?;
        let data = match data {
            DataSource::EmbeddedMnist => DataSource::EmbeddedMnist,
            DataSource::Path(path) => DataSource::Path(absolute("data", path)?),
        };
        let test = self.test.map(|path| absolute("test", path)).transpose()?;
        let validation = self.validation.map(|path| absolute("validation", path)).transpose()?;
        let model = self.model.unwrap_or_else(|| ModelChoice::Text(defaults::MODEL.to_owned()));
        let mut model = model.resolve()?;
        if let Some(l2) = self.l2 {
            model.l2 = l2;
        }
        let optimizer = self.optimizer.unwrap_or_default();
        let iterations =
            if optimizer.is_stochastic() { defaults::STOCHASTIC_ITERATIONS } else { defaults::ITERATIONS };
        let config = RunConfig {
            data,
            label: self.label.unwrap_or_default(),
            task: self.task,
            header: self.header,
            test,
            test_fraction: self.test_fraction,
            validation,
            validation_fraction: self.validation_fraction,
            evaluate_every: self.evaluate_every,
            evaluate_training: self.evaluate_training.unwrap_or_default(),
            minibatch: self.minibatch.unwrap_or(defaults::MINIBATCH),
            optimizer,
            replicas: self.replicas,
            local_steps: self.local_steps,
            learning_rate: self.learning_rate,
            schedule: self.schedule,
            schedule_iterations: self.schedule_iterations,
            minibatches_per_round: self.minibatches_per_round,
            sample: self.sample,
            overlap: self.overlap,
            outer_momentum: self.outer_momentum,
            weight_decay: self.weight_decay,
            memory: self.memory,
            iterations: self.iterations.unwrap_or(iterations),
            rounds: self.rounds,
            epochs: self.epochs,
            max_seconds: self.max_seconds,
            target_accuracy: self.target_accuracy,
            target_loss: self.target_loss,
            gradient_tolerance: self.gradient_tolerance,
            relative_decrease: self.relative_decrease,
            patience: self.patience,
            seed: self.seed.unwrap_or(defaults::SEED),
            arithmetic: self.arithmetic.unwrap_or_default(),
            listen: self.listen.unwrap_or_default(),
            allow_host: self.allow_host.unwrap_or_default(),
            local_workers: self.local_workers.unwrap_or_default(),
            wait_for: self.wait_for.unwrap_or_default(),
            wait_seconds: self.wait_seconds,
            data_fingerprint: None,
            model,
        };
        config.check()?;
        Ok(config)
    }
}

impl ModelChoice {
    /// The network itself, read from its file where that is what is named.
    ///
    /// # Errors
    /// When the shorthand or the file is not understood.
    pub fn resolve(self) -> Result<NetworkSpec, ConfigError> {
        let text = match self {
            Self::Spec(spec) => return Ok(spec),
            Self::Text(text) => text,
        };
        if !is_file_name(&text) {
            return NetworkSpec::from_shorthand(&text)
                .map_err(|problem| ConfigError::Model { origin: "model".to_owned(), problem });
        }
        let path = Path::new(&text);
        let content = read_text(path)?;
        if text.ends_with(".json") {
            parse_json(path, &content).map(|NetworkFile(network)| network)
        } else {
            parse_toml(path, &content).map(|NetworkFile(network)| network)
        }
    }
}

/// The line of what a message quotes first. Of a table whose keys depend on one of them, such as a layer's on its kind,
/// the parser knows no more than where the outermost one begins, which is `line`.
fn line_of_word(text: &str, line: usize, message: &str) -> usize {
    let Some(word) = message.split(['`', '"']).nth(1).filter(|word| !word.is_empty()) else { return line };
    let has_word = |line: &str| {
        let code = line.split('#').next().unwrap_or_default();
        code.split(|letter: char| !(letter.is_alphanumeric() || "-_.".contains(letter)))
            .any(|part| part == word)
    };
    let lines = || text.lines().enumerate().skip(line - 1);
    lines().find(|(_, line)| has_word(line)).map_or(line, |(index, _)| index + 1)
}

/// Parses TOML; an error names the line, and the key where there is one.
pub(super) fn parse_toml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count() + 1;
        let line = line_of_word(text, line, error.message());
        let key = text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
        let message = sentences::plain(error.message());
        let problem = match key {
            Some(key) if !key.is_empty() && !message.contains(key) => format!("{key}: {message}"),
            _ => message,
        };
        ConfigError::Parse { path: path.to_owned(), line, problem }
    })
}

/// Parses JSON; an error names the line.
fn parse_json<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = message.strip_suffix(&place).unwrap_or(&message);
        let problem = match error.classify() {
            serde_json::error::Category::Eof => "the file ends too early".to_owned(),
            serde_json::error::Category::Data => sentences::plain(message),
            _ => format!("this is not JSON: {message}"),
        };
        ConfigError::Parse { path: path.to_owned(), line: error.line().max(1), problem }
    })
}

/// A file of TOML whose keys mean something to the caller.
///
/// # Errors
/// When it cannot be read or is not TOML.
pub fn read_table(path: &Path) -> Result<toml::Table, ConfigError> {
    parse_toml(path, &read_text(path)?)
}

/// A small text file, whole.
pub(super) fn read_text(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let bytes = fs::metadata(path).map_err(failed)?.len();
    if bytes > FILE_BYTES_MAX {
        let problem = format!("{bytes} bytes are too many for a configuration; is this the right file?");
        return Err(ConfigError::Parse { path: path.to_owned(), line: 1, problem });
    }
    fs::read_to_string(path).map_err(failed)
}

/// Whether a model's text means a file and not a shorthand.
fn is_file_name(text: &str) -> bool {
    text.ends_with(".toml") || text.ends_with(".json") || text.contains(std::path::MAIN_SEPARATOR)
}

fn absolute(setting: &'static str, path: PathBuf) -> Result<PathBuf, ConfigError> {
    let problem = |problem: String| ConfigError::Setting { setting, problem };
    let absolute = std::path::absolute(&path).map_err(|error| problem(error.to_string()))?;
    if absolute.to_str().is_none() {
        let path = path.display();
        return Err(problem(format!("{path} cannot be written to run.toml; rename it in plain Unicode")));
    }
    Ok(absolute)
}

/// `"a"` or `["a", "b"]`, and a number for a column's index.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a name, an index or a list of them")]
    enum Written {
        One(Item),
        Many(Vec<Item>),
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Item {
        Text(String),
        Index(i64),
    }
    let text = |item| match item {
        Item::Text(text) => text,
        Item::Index(index) => index.to_string(),
    };
    Ok(Some(match Written::deserialize(deserializer)? {
        Written::One(item) => vec![text(item)],
        Written::Many(items) => items.into_iter().map(text).collect(),
    }))
}

impl<'de> Deserialize<'de> for ModelChoice {
    // Not serde's untagged, whose errors do not say which key of the table is wrong.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;
        impl<'de> Visitor<'de> for Choice {
            type Value = ModelChoice;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a shorthand such as \"mlp:128\", a file name or a table")
            }

            fn visit_str<E>(self, text: &str) -> Result<ModelChoice, E> {
                Ok(ModelChoice::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ModelChoice, A::Error> {
                network::from_map(map).map(ModelChoice::Spec)
            }
        }
        deserializer.deserialize_any(Choice)
    }
}
