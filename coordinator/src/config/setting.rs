//! The declaration of a setting, and everything that follows from it alone. The settings themselves are in the
//! table ([`super::table`]).

use clap::Arg;
use clap::builder::PossibleValue;

use super::error::ConfigError;
use super::range::Range;
use super::value::{Named as _, Value};
use super::values::OptimizerKind;
use super::words;

/// A declared setting. The table states only the differences from [`Setting::NEW`].
pub struct Setting<T: 'static> {
    /// The name in files. The flag has two hyphens before it.
    pub key: &'static str,
    /// The help text.
    pub help: &'static str,
    /// The group, a heading in help and in the reference.
    pub section: Section,
    /// The commands that take the setting as a flag. A file may always contain it.
    pub commands: &'static [Command],
    /// Placeholder of the value in help.
    pub placeholder: &'static str,
    /// The unit of a number.
    pub unit: &'static str,
    /// A flag without a value, which means true.
    pub switch: bool,
    /// The default, for the run's optimizer.
    pub default: Option<fn(OptimizerKind) -> T>,
    /// The default in words, if it is not a single value.
    pub rule: Option<fn() -> String>,
    /// Possible values of a required setting that has no default.
    pub example: &'static str,
    /// The allowed values.
    pub range: Option<fn() -> Range<T>>,
    /// The optimizers that the setting applies to; `None` means all.
    pub optimizers: Option<&'static [OptimizerKind]>,
    /// Why it does not apply to the others.
    pub because: &'static str,
    /// Whether the weights depend on it other than through the data. It is then part of the run's identity.
    pub identity: bool,
    /// Whether the default follows from data and network, see
    /// [`RunConfig::settle`](super::RunConfig::settle).
    pub settles: bool,
    /// The key of a setting that excludes this one, because both say the same thing.
    pub excludes: Option<&'static str>,
    /// What to do instead of giving it in a case of a sweep.
    pub not_in_cases: Option<&'static str>,
    /// Another help text, for some commands.
    pub help_of: &'static [(Command, &'static str)],
}

impl<T> Setting<T> {
    /// The values that a declaration starts from.
    pub const NEW: Self = Self {
        key: "",
        help: "",
        section: Section::Training,
        commands: &Command::OF_NEW_RUNS,
        placeholder: "VALUE",
        unit: "",
        switch: false,
        default: None,
        rule: None,
        example: "",
        range: None,
        optimizers: None,
        because: "",
        identity: false,
        settles: false,
        excludes: None,
        not_in_cases: None,
        help_of: &[],
    };

    /// Whether it applies to a run with this optimizer.
    pub fn concerns(&self, optimizer: OptimizerKind) -> bool {
        self.optimizers.is_none_or(|optimizers| optimizers.contains(&optimizer))
    }

    /// The default.
    pub fn default_for(&self, optimizer: OptimizerKind) -> Option<T> {
        self.default.map(|default| default(optimizer))
    }
}

impl<T: Value> Setting<T> {
    /// The same without its type.
    pub(super) fn describe(&self) -> Description {
        let names: Vec<&str> =
            self.optimizers.unwrap_or(&[]).iter().map(|optimizer| optimizer.name()).collect();
        let all_but: Vec<&str> = OptimizerKind::ALL
            .iter()
            .filter(|&&other| !self.concerns(other))
            .map(|other| other.name())
            .collect();
        let optimizers = match self.optimizers {
            None => String::new(),
            Some(_) if all_but.len() < names.len() => format!("all but {}", words::list(&all_but, "and")),
            Some(_) => words::list(&names, "and"),
        };
        Description {
            key: self.key,
            text: self.help.trim(),
            help: sentence(self.help.trim(), &optimizers),
            section: self.section,
            commands: self.commands,
            placeholder: self.placeholder,
            unit: self.unit,
            switch: self.switch,
            kind: T::KIND,
            names: T::names(),
            default: self.rule.map(|rule| rule()).or_else(|| self.default_in_words()),
            range: self.range.map(|range| range().words().to_owned()),
            optimizers,
            identity: self.identity,
            settles: self.settles,
            excludes: self.excludes,
            not_in_cases: self.not_in_cases,
            help_of: self.help_of,
            flag: T::flag,
        }
    }

    /// `60, for sgd and adam 1000`.
    fn default_in_words(&self) -> Option<String> {
        let default = self.default?;
        let optimizers = self.optimizers.unwrap_or(OptimizerKind::ALL);
        let text = |optimizer: OptimizerKind| default(optimizer).text();
        let first = text(*optimizers.first()?);
        let others: Vec<_> = optimizers.iter().copied().filter(|&other| text(other) != first).collect();
        let Some(&other) = others.first() else { return Some(first) };
        let names: Vec<&str> = others.iter().map(|other| other.name()).collect();
        Some(format!("{first}, for {} {}", words::list(&names, "and"), text(other)))
    }

    /// Checks a given value for a run with this optimizer.
    ///
    /// # Errors
    /// The sentence says what to do instead.
    pub(super) fn check(&self, value: &T, optimizer: OptimizerKind) -> Result<(), ConfigError> {
        let refuse = |problem| Err(ConfigError::Setting { setting: self.key, problem });
        if !self.concerns(optimizer) {
            return refuse(match self.because {
                "" => {
                    let optimizers = self.describe().optimizers;
                    format!(
                        "only the optimizers {optimizers} take it; leave it out, or choose another optimizer"
                    )
                    .replace("the optimizers lbfgs take", "the optimizer lbfgs takes")
                }
                because => format!("{because}; leave it out, or choose another optimizer"),
            });
        }
        match self.range.map(|range| range()) {
            Some(range) if !range.holds(value) => {
                refuse(format!("{} is out of range; give {}", value.text(), range.words()))
            }
            _ => Ok(()),
        }
    }
}

/// The help text, preceded by the optimizers that it applies to.
fn sentence(help: &str, optimizers: &str) -> String {
    if optimizers.is_empty() {
        return help.to_owned();
    }
    let mut rest = help.chars();
    let first = rest.next().map(char::to_lowercase).into_iter().flatten();
    format!("{optimizers}: {}{}", first.collect::<String>(), rest.as_str())
}

/// A setting without its type.
pub struct Description {
    /// See [`Setting::key`].
    pub key: &'static str,
    /// See [`Setting::help`].
    pub text: &'static str,
    /// The help text, preceded by the optimizers that it applies to.
    pub help: String,
    /// See [`Setting::section`].
    pub section: Section,
    /// See [`Setting::commands`].
    pub commands: &'static [Command],
    /// See [`Setting::placeholder`].
    pub placeholder: &'static str,
    /// See [`Setting::unit`].
    pub unit: &'static str,
    /// See [`Setting::switch`].
    pub switch: bool,
    /// The kind of value that a file must have, such as `a whole number`.
    pub kind: &'static str,
    /// The allowed names, for a setting with a fixed list of them.
    pub names: Vec<PossibleValue>,
    /// The default in words.
    pub default: Option<String>,
    /// See [`Setting::range`], in words.
    pub range: Option<String>,
    /// See [`Setting::optimizers`], in words; empty: all.
    pub optimizers: String,
    /// See [`Setting::identity`].
    pub identity: bool,
    /// See [`Setting::settles`].
    pub settles: bool,
    /// See [`Setting::excludes`].
    pub excludes: Option<&'static str>,
    /// See [`Setting::not_in_cases`].
    pub not_in_cases: Option<&'static str>,
    help_of: &'static [(Command, &'static str)],
    flag: fn(Arg) -> Arg,
}

impl Description {
    /// The flag for `command`, if the command has one.
    pub fn flag(&self, command: Command) -> Option<Arg> {
        if !self.commands.contains(&command) {
            return None;
        }
        let own_help = self.help_of.iter().find(|(other, _)| *other == command).map(|(_, help)| *help);
        let help = match (own_help, &self.default) {
            (Some(help), _) => help.to_owned(),
            // A resumed run keeps the settings that are not given.
            (None, Some(default)) if command != Command::Resume => {
                format!("{} [default: {default}]", self.help)
            }
            (None, _) => self.help.clone(),
        };
        let flag = Arg::new(self.key).long(self.key).help(help).help_heading(self.section.heading());
        let flag = match self.excludes {
            Some(other) => flag.conflicts_with(other),
            None => flag,
        };
        Some(if self.switch {
            flag.action(clap::ArgAction::SetTrue)
        } else {
            (self.flag)(flag.value_name(self.placeholder).allow_negative_numbers(true))
        })
    }
}

/// The groups of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// What to train on.
    Data,
    /// How to train.
    Training,
    /// The settings of some optimizers.
    Optimizers,
    /// How to judge the weights.
    Judging,
    /// When to stop, beside the limit on iterations.
    Stopping,
    /// Which volunteers to admit and wait for. Nothing here changes the trained weights.
    Volunteers,
    /// Several processes for one training. Nothing here changes the trained weights.
    Processes,
    /// Where the results go.
    Results,
    /// Values that `run.toml` records and users do not set.
    Record,
}

impl Section {
    /// All of them, in the order of help.
    pub const ALL: [Section; 9] = [
        Self::Data,
        Self::Training,
        Self::Optimizers,
        Self::Judging,
        Self::Stopping,
        Self::Volunteers,
        Self::Processes,
        Self::Results,
        Self::Record,
    ];

    /// Its heading.
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Data => "Data",
            Self::Training => "Training",
            Self::Optimizers => "Optimizers",
            Self::Judging => "Judging",
            Self::Stopping => "Stopping",
            Self::Volunteers => "Volunteers",
            Self::Processes => "Several machines",
            Self::Results => "Results",
            Self::Record => "Recorded",
        }
    }
}

/// A command that takes settings as flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `shoal train`
    Train,
    /// `shoal demo`
    Demo,
    /// `shoal sweep`
    Sweep,
    /// `shoal resume`
    Resume,
    /// `shoal inspect`
    Inspect,
    /// `shoal evaluate`
    Evaluate,
    /// `shoal predict`
    Predict,
}

impl Command {
    /// The commands that begin runs.
    pub const OF_NEW_RUNS: [Command; 3] = [Self::Train, Self::Demo, Self::Sweep];
    /// The commands that begin runs on the user's own data.
    pub const WITH_DATA: [Command; 2] = [Self::Train, Self::Sweep];
    /// The commands that read data to train on.
    pub const READERS: [Command; 3] = [Self::Train, Self::Sweep, Self::Inspect];
    /// The commands that read files.
    pub const FILE_READERS: [Command; 5] =
        [Self::Train, Self::Sweep, Self::Inspect, Self::Evaluate, Self::Predict];
    /// Every command that trains.
    pub const ALL: [Command; 4] = [Self::Train, Self::Demo, Self::Sweep, Self::Resume];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Demo => "demo",
            Self::Sweep => "sweep",
            Self::Resume => "resume",
            Self::Inspect => "inspect",
            Self::Evaluate => "evaluate",
            Self::Predict => "predict",
        }
    }
}
