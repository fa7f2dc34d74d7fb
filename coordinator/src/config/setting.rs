//! How a setting is declared, and what follows from its declaration alone. The settings themselves are in the
//! table ([`super::table`]).

use clap::Arg;
use clap::builder::PossibleValue;

use super::error::ConfigError;
use super::range::Range;
use super::value::{Named as _, Value};
use super::values::OptimizerKind;
use super::words;

/// A declared setting. The table states what differs from [`Setting::NEW`].
pub struct Setting<T: 'static> {
    /// Its name in files; the flag has two hyphens before it.
    pub key: &'static str,
    /// What it does.
    pub help: &'static str,
    /// What it belongs to, a heading in help and in the reference.
    pub section: Section,
    /// The commands that take it as a flag; a file may always have it.
    pub commands: &'static [Command],
    /// Stands for the value in help.
    pub placeholder: &'static str,
    /// What the number counts.
    pub unit: &'static str,
    /// A flag without a value, which means true.
    pub switch: bool,
    /// What it is where nobody gives it, for the run's optimizer.
    pub default: Option<fn(OptimizerKind) -> T>,
    /// The default in words, where it is no value or not only one.
    pub rule: Option<fn() -> String>,
    /// What could be given, for a setting that has no default and must be given.
    pub example: &'static str,
    /// The values that are allowed.
    pub range: Option<fn() -> Range<T>>,
    /// The optimizers that it concerns; `None`: it concerns every run.
    pub optimizers: Option<&'static [OptimizerKind]>,
    /// Why it does not concern the others.
    pub because: &'static str,
    /// Whether the weights depend on it other than by the data: it is then part of the run's identity.
    pub identity: bool,
    /// Whether data and network decide where nobody gives it, see
    /// [`RunConfig::settle`](super::RunConfig::settle).
    pub settles: bool,
    /// The key of a setting that says the same in another way, so that only one of the two can be given.
    pub excludes: Option<&'static str>,
    /// What to do instead of giving it in a case of a sweep.
    pub not_in_cases: Option<&'static str>,
    /// Another help text, for some commands.
    pub help_of: &'static [(Command, &'static str)],
}

impl<T> Setting<T> {
    /// What a declaration starts from.
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

    /// Whether it concerns a run with this optimizer.
    pub fn concerns(&self, optimizer: OptimizerKind) -> bool {
        self.optimizers.is_none_or(|optimizers| optimizers.contains(&optimizer))
    }

    /// What it is where nobody gives it.
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

    /// Whether a value that is given is one that the setting may have in a run with this optimizer.
    ///
    /// # Errors
    /// What to do instead.
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

/// The help text, with the optimizers that it is for before it.
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
    /// The same with the optimizers that it is for before it.
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
    /// What a file must have: `a whole number`.
    pub kind: &'static str,
    /// The names that it can have, if there are only so many.
    pub names: Vec<PossibleValue>,
    /// What it is where nobody gives it, in words.
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
    /// Its flag for `command`; `None` where it has none.
    pub fn flag(&self, command: Command) -> Option<Arg> {
        if !self.commands.contains(&command) {
            return None;
        }
        let own_help = self.help_of.iter().find(|(other, _)| *other == command).map(|(_, help)| *help);
        let help = match (own_help, &self.default) {
            (Some(help), _) => help.to_owned(),
            // What is not given to a run that is resumed stays as it is.
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

/// What settings belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// What to train on.
    Data,
    /// How to train.
    Training,
    /// The settings of some optimizers.
    Optimizers,
    /// How to tell how good the weights are.
    Judging,
    /// When to stop. The number of iterations is a limit besides.
    Stopping,
    /// Whom to let in and wait for. Nothing here changes the trained weights.
    Volunteers,
    /// Where the results go.
    Results,
    /// What `run.toml` records and nobody sets.
    Record,
}

impl Section {
    /// All of them, in the order of help.
    pub const ALL: [Section; 8] = [
        Self::Data,
        Self::Training,
        Self::Optimizers,
        Self::Judging,
        Self::Stopping,
        Self::Volunteers,
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
    /// Of these every one begins runs.
    pub const OF_NEW_RUNS: [Command; 3] = [Self::Train, Self::Demo, Self::Sweep];
    /// Those of [`Command::OF_NEW_RUNS`] that bring no data of their own.
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
