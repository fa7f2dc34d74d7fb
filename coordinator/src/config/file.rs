//! Settings as a user gives them: read from a file, merged, completed with defaults.

use std::fs;
use std::path::Path;

use super::error::ConfigError;
use super::network::ModelChoice;
use super::setting::Section;
use super::table::{ConfigFile, LeftOpen, RunConfig, SETTINGS, declared};
use super::tree::{Content, Node, Problem};
use super::values::OptimizerKind;
use super::words;
use crate::start::{Source, StartError};

/// Bytes of the largest configuration or network file.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl ConfigFile {
    /// Reads a file. Paths in it are taken from the folder it is in.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::of_tree(path, &read_tree(path)?)
    }

    /// The settings that `text` gives. `path` is the file it comes from: errors name it, and paths in
    /// the text are taken from the folder it is in.
    ///
    /// # Errors
    /// When the text cannot be understood.
    pub fn from_toml(path: &Path, text: &str) -> Result<Self, ConfigError> {
        Self::of_tree(path, &Node::from_toml(text).map_err(|problem| ConfigError::at(path, problem))?)
    }

    fn of_tree(path: &Path, root: &Node) -> Result<Self, ConfigError> {
        Self::from_entries(path, root.entries().iter().map(|entry| (entry.key.as_str(), &entry.value)))
    }

    /// The settings that the values of keys give. For `path` see [`ConfigFile::from_toml`].
    ///
    /// # Errors
    /// When a key is unknown or a value cannot be understood.
    pub fn from_entries<'a>(
        path: &Path,
        entries: impl IntoIterator<Item = (&'a str, &'a Node)>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (key, value) in entries {
            config.read_entry(key, value).map_err(|problem| ConfigError::at(path, problem))?;
        }
        config.rebase(path.parent().unwrap_or(Path::new("")));
        Ok(config)
    }

    fn read_entry(&mut self, key: &str, value: &Node) -> Result<(), Problem> {
        // Keys have hyphens like the flags; underscores are accepted too.
        let spelled = key.replace('_', "-");
        let line = value.line();
        if self.is_given(&spelled) {
            return Err(Problem { line, text: format!("the key {spelled} is given twice") });
        }
        match self.read_key(&spelled, value) {
            Ok(true) => Ok(()),
            Ok(false) => {
                // Only run.toml contains recorded values; a user's file may repeat but not set them.
                let offered = SETTINGS.iter().filter(|setting| setting.section != Section::Record);
                let known: Vec<&str> = offered.map(|setting| setting.key).collect();
                Err(Problem { line, text: words::no_such_key(key, &known) })
            }
            // Within a table its own key says more.
            Err(problem) if matches!(value.content(), Content::Table(_)) && problem.line.is_some() => {
                Err(problem)
            }
            Err(problem) => {
                let line = problem.line.or(line);
                Err(Problem { line, text: format!("{spelled}: {}", problem.text) })
            }
        }
    }

    /// Merges: these settings take precedence over those of `below`.
    pub fn or(self, mut below: Self) -> Self {
        let is_another = |optimizer: OptimizerKind| below.optimizer.is_some_and(|other| other != optimizer);
        let other_optimizer = self.optimizer.is_some_and(is_another);
        for setting in SETTINGS.iter() {
            // The settings of one optimizer do not apply to another.
            if other_optimizer && !setting.optimizers.is_empty() {
                below.clear(setting.key);
            }
            // Of two settings that exclude each other, either one on top hides both below.
            if let Some(other) = setting.excludes
                && (self.is_given(setting.key) || self.is_given(other))
            {
                below.clear(setting.key);
                below.clear(other);
            }
        }
        Self { data_fingerprint: None, start_digest: None, ..self.filled_from(below) }
    }

    /// The whole configuration: defaults filled in, the network read, paths made absolute so that
    /// the run can be resumed from any folder. `out` is left to the caller.
    ///
    /// # Errors
    /// When a required setting is missing, or settings are out of range or contradict each other.
    pub fn resolve(mut self) -> Result<RunConfig, ConfigError> {
        self.data_fingerprint = None;
        self.start_digest = None;
        self.make_absolute()?;
        let config = self.into_run()?;
        config.check()?;
        Ok(config)
    }

    /// The same settings, with defaults filled in and the network read.
    pub(super) fn into_run(mut self) -> Result<RunConfig, ConfigError> {
        if self.data.is_none() {
            // Before the network's file is read.
            let setting = &declared::data;
            return Err(ConfigError::Missing { setting: setting.key, example: setting.example });
        }
        if let (None, Some(init)) = (&self.model, &self.init) {
            self.model = network_of(init)?.map(ModelChoice::Spec);
        }
        let network = self.model.is_none();
        let is_shorthand = self.model.as_ref().is_none_or(ModelChoice::is_shorthand);
        let l2 = is_shorthand && self.l2.is_none();
        let by_default = || declared::model.default_for(OptimizerKind::default());
        let model: Option<ModelChoice> = self.model.take().or_else(by_default);
        let mut model = model.map(ModelChoice::resolve).transpose()?.unwrap_or_default();
        if let Some(l2) = self.l2 {
            model.l2 = l2;
        }
        if let Some(freeze) = self.freeze.take() {
            model.freeze = freeze;
        }
        let mut config = self.complete(model)?;
        config.left_open = LeftOpen { network, l2, ..config.left_open };
        Ok(config)
    }
}

/// The network that weights come with.
fn network_of(init: &Path) -> Result<Option<model::NetworkSpec>, ConfigError> {
    let refused = |error: StartError| ConfigError::Setting { setting: "init", problem: error.to_string() };
    let source = Source::read(init).map_err(refused)?;
    match source.network() {
        Some(network) => Ok(Some(network.clone())),
        None => Err(ConfigError::Setting {
            setting: "init",
            problem: format!(
                "{} has weights and no network; say with --model which network they belong to",
                init.display()
            ),
        }),
    }
}

/// A TOML file whose keys the caller interprets.
///
/// # Errors
/// When the file cannot be read or is not TOML.
pub fn read_tree(path: &Path) -> Result<Node, ConfigError> {
    Node::from_toml(&read_text(path)?).map_err(|problem| ConfigError::at(path, problem))
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
