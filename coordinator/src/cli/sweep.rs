//! `shoal sweep`: a series of trainings and their results, side by side.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use engine::StopReason;
use indicatif::MultiProgress;
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::args::{Flags, SweepArgs};
use super::json_lines::JsonLines;
use super::launch::{self, Place};
use super::lines::Lines;
use super::output::{self, has_screen, say, writes_json};
use super::terminal::Terminal;
use super::{Interrupted, misuse, sentence, stop};
use crate::config::{
    ConfigFile, DataSource, Listen, OptimizerKind, RunConfig, SETTINGS, STANDARD_INPUT, Section,
};
use crate::report::Summary;
use crate::report::progress::{Event, Observer};
use crate::report::words::{counted, duration, loss, percent};
use crate::run_directory::{self, Lock, RunDirectory, RunError};
use crate::server;
use crate::sweep::{self, CaseFile, Comparison, Ending, Results, Run, Seeds, SweepError};
use crate::training::{self, Ended, Role, Training};

const STOPPING: &str = "Stopping and saving; press Ctrl-C again to stop at once.";

pub(super) fn run(args: SweepArgs, bars: MultiProgress) -> anyhow::Result<()> {
    let json = args.json;
    let Plan { configs, directory, mut results, public } = plan(args)?;
    require_sweep(&directory)?;
    // Finished runs stay, and no other process may work in the directory.
    let mut lock = directory.exists().then(|| Lock::take(&directory)).transpose()?;
    for (run, config) in results.runs.iter_mut().zip(&configs) {
        require_same_settings(&run.directory, config)?;
        run.ending = Ending::load(&run.directory)?;
    }
    require_same_data(&results)?;
    introduce(&results, &directory);
    let runtime = Runtime::new()?;
    let stop = runtime.block_on(async { stop::requested(bars.clone(), || Some(STOPPING)) });
    let trainer = Trainer { runtime, stop, bars, public };

    let mut first_failure = None;
    for (index, config) in configs.iter().enumerate() {
        let name = in_words(&results, index);
        if matches!(results.runs[index].ending, Ending::Finished(..)) {
            continue;
        }
        if trainer.is_stopped() {
            break;
        }
        say(&name);
        let begin = || {
            if lock.is_none() {
                fs::create_dir_all(&directory)?;
                lock = Some(Lock::take(&directory)?);
                sweep::write(&results, &directory)?;
            }
            Ok(())
        };
        let path = results.runs[index].directory.clone();
        let ended = trainer.train(config.clone(), &path, begin);
        results.runs[index].ending = match ended {
            Ok(summary) if summary.stop_reason == StopReason::Interrupted => break,
            Ok(summary) => {
                say(format!("{name}: {}", came_to(&summary)));
                Ending::load(&path)?
            }
            Err(error) => {
                let reason = sentence(&error);
                say(format!("{name} failed: {reason}"));
                first_failure.get_or_insert(error);
                Ending::Failed(reason)
            }
        };
        if lock.is_some() {
            sweep::write(&results, &directory)?;
        }
    }
    trainer.end();
    match first_failure {
        // Nothing has begun.
        Some(error) if lock.is_none() => return Err(error),
        _ => {}
    }
    if lock.is_some() {
        sweep::write(&results, &directory)?;
        print(&results, &directory, json)?;
    }
    conclude(&results, &directory)
}

/// A sweep, ready to run.
struct Plan {
    /// The configuration of each run.
    configs: Vec<RunConfig>,
    directory: PathBuf,
    results: Results,
    /// Whether an address to serve on was given. Then volunteers are expected.
    public: bool,
}

/// Finds every mistake in the arguments before anything is written.
fn plan(args: SweepArgs) -> anyhow::Result<Plan> {
    let SweepArgs { over, cases, seeds, targets, config, settings: Flags(flags), json: _ } = args;
    let file = cases.as_deref().map(CaseFile::read).transpose()?.unwrap_or_default();
    let config = config.as_deref().map(ConfigFile::read).transpose()?.unwrap_or_default();
    let seed_flag = flags.seed;
    let mut shared = flags.or(file.shared).or(config);
    let out = shared.out.take();
    let seeds = seeds
        .or(seed_flag.map(Seeds::one))
        .or(file.seeds)
        .or(shared.seed.map(Seeds::one))
        .unwrap_or_default();
    let mut targets: Vec<_> = targets.into_iter().flat_map(|targets| targets.0).collect();
    if targets.is_empty() {
        targets = file.targets;
    }
    let cases = sweep::combine(file.cases, &over)?;
    let public = shared.listen.is_some() || cases.iter().any(|case| case.config.listen.is_some());
    // Any free port, so that a sweep can run beside other trainings.
    let private =
        ConfigFile { listen: Some(Listen::Tcp(([127, 0, 0, 1], 0).into())), ..ConfigFile::default() };
    shared = shared.or(private);

    let mut configs = Vec::new();
    for case in &cases {
        for &seed in seeds.as_slice() {
            let seed = ConfigFile { seed: Some(seed), ..ConfigFile::default() };
            let config = seed.or(case.config.clone()).or(shared.clone()).resolve();
            configs.push(config.map_err(|error| {
                let problem = sentence(&error.into());
                SweepError::Case { case: case.name.clone(), problem }
            })?);
        }
    }
    if configs.iter().any(|config| config.data == DataSource::Path(STANDARD_INPUT.into())) {
        return Err(misuse(
            "data: standard input can be read only once, but a sweep trains several times; name a file",
        ));
    }
    let data = configs[0].data.name();
    let directory = out.map_or_else(|| Place::Numbered(format!("sweep-{data}")), Place::Exactly).path()?;
    let mut runs = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        runs.extend(seeds.as_slice().iter().map(|&seed| Run {
            case: index,
            seed,
            directory: directory.join(case.folder()).join(format!("seed-{seed}")),
            ending: Ending::NotRun,
        }));
    }
    let title = title(&data, &over, cases.len());
    let results = Results { title, cases, targets, runs };
    Ok(Plan { configs, directory, results, public })
}

/// `MNIST: minibatch and l2`.
fn title(data: &str, over: &[sweep::Over], cases: usize) -> String {
    let keys: Vec<&str> = over.iter().map(sweep::Over::key).collect();
    match keys.as_slice() {
        [] => format!("{data}: {}", counted(cases, "case")),
        keys => format!("{data}: {}", keys.join(" and ")),
    }
}

/// Refuses an existing directory that is neither a sweep's nor empty.
fn require_sweep(directory: &Path) -> anyhow::Result<()> {
    let Ok(mut entries) = fs::read_dir(directory) else { return Ok(()) };
    if sweep::is_sweep(directory) || entries.next().is_none() {
        return Ok(());
    }
    Err(RunError::NotEmpty { path: directory.to_owned() }.into())
}

/// Refuses an existing run that this sweep would not make.
fn require_same_settings(run: &Path, config: &RunConfig) -> anyhow::Result<()> {
    if !run.join("run.toml").exists() {
        return Ok(());
    }
    let differences = match run_directory::load_request(run)? {
        Some(text) => differences(&RunConfig::from_toml(&run.join("request.toml"), &text)?, config, false),
        // The run has no request. A setting that is not given now may have followed from the data then.
        None => differences(&load_config(run)?, config, true),
    };
    if differences.is_empty() {
        return Ok(());
    }
    Err(SweepError::OtherSettings { run: run.to_owned(), differences: differences.join(", ") }.into())
}

/// Refuses to go on where the data have changed since a run finished: the tables would compare different data.
fn require_same_data(results: &Results) -> anyhow::Result<()> {
    let is_finished = |run: &&Run| matches!(run.ending, Ending::Finished(..));
    if results.runs.iter().all(|run| is_finished(&run)) {
        return Ok(());
    }
    let mut checked: Vec<RunConfig> = Vec::new();
    for run in results.runs.iter().filter(is_finished) {
        let config = load_config(&run.directory)?;
        // Runs that differ in other settings only were trained on the same data.
        let is_same = |other: &RunConfig| {
            let mut other = other.clone();
            let before = other.clone();
            other.take(Section::Data, &config);
            other == before
        };
        if checked.iter().any(is_same) {
            continue;
        }
        if let Err(error) = training::prepare(config.clone()) {
            let (run, problem) = (run.directory.clone(), sentence(&error));
            return Err(SweepError::OtherData { run, problem }.into());
        }
        checked.push(config);
    }
    Ok(())
}

fn load_config(run: &Path) -> anyhow::Result<RunConfig> {
    let text = run_directory::load_config(run)?;
    Ok(RunConfig::from_toml(&run.join("run.toml"), &text)?)
}

/// `iterations = 60, now 80`, for every setting in which the two differ. With `settled`, a setting that data and
/// network settle counts only if it is given now.
fn differences(before: &RunConfig, now: &RunConfig, settled: bool) -> Vec<String> {
    let table = |config: &RunConfig| toml::Table::try_from(config).expect("a configuration is a table");
    let (left_open, optimizer) = (now.left_open, now.optimizer);
    let (before, now) = (table(before), table(now));
    let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let difference = |key: &String| {
        let (before, now) = (before.get(key), now.get(key));
        let setting = SETTINGS.iter().find(|setting| setting.key == key)?;
        let has_rule = match key.as_str() {
            "model" => left_open.network || left_open.l2,
            "iterations" => left_open.iterations,
            "optimizer" => optimizer == OptimizerKind::Auto,
            _ => setting.settles && now.is_none(),
        };
        let is_open = settled && has_rule;
        // The settings for volunteers do not change the result.
        if before == now || is_open || setting.section == Section::Volunteers {
            return None;
        }
        Some(match (before, now) {
            // A network is too long for a sentence.
            _ if key == "model" => "another model".to_owned(),
            (Some(before), Some(now)) => format!("{key} = {before}, now {now}"),
            (Some(before), None) => format!("{key} = {before}, now missing"),
            (None, Some(now)) => format!("no {key}, now {now}"),
            (None, None) => return None,
        })
    };
    keys.into_iter().filter_map(difference).collect()
}

fn introduce(results: &Results, directory: &Path) {
    let runs = results.runs.len();
    let kept = results.runs.iter().filter(|run| matches!(run.ending, Ending::Finished(..))).count();
    let kept = match kept {
        0 => String::new(),
        kept => format!(" ({kept} of them are finished already)"),
    };
    say(format!(
        "{} of {}{kept}; the directory is {}.",
        counted(runs, "run"),
        counted(results.cases.len(), "case"),
        directory.display()
    ));
}

/// `run 3 of 15, minibatch=10, seed 2`.
fn in_words(results: &Results, index: usize) -> String {
    let run = &results.runs[index];
    let (number, count) = (index + 1, results.runs.len());
    format!("run {number} of {count}, {}, seed {}", results.cases[run.case].name, run.seed)
}

fn came_to(summary: &Summary) -> String {
    let mut text = format!("{} in {}", counted(summary.rounds as usize, "round"), duration(summary.seconds));
    let known =
        |name, value: Option<String>| value.map_or_else(String::new, |value| format!(", {name} {value}"));
    text += &known("train loss", summary.figures.map(|figures| loss(figures.train_loss)));
    text += &known("test loss", summary.figures.and_then(|figures| figures.test_loss).map(loss));
    text += &known("test accuracy", summary.figures.and_then(|figures| figures.test_accuracy).map(percent));
    text + &format!("; {}", summary.stop_reason)
}

/// The state that all runs of a sweep share.
struct Trainer {
    runtime: Runtime,
    stop: watch::Receiver<bool>,
    bars: MultiProgress,
    public: bool,
}

impl Trainer {
    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Trains one run to its end, from its start or its checkpoint, and saves its outcome. Calls `begin`
    /// before anything is written.
    fn train(
        &self,
        mut config: RunConfig,
        path: &Path,
        begin: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Summary> {
        let begun = path.join("run.toml").exists();
        if begun {
            let asked_for = std::mem::replace(&mut config, load_config(path)?);
            config.take(Section::Volunteers, &asked_for);
        }
        let request = config.to_toml();
        let mut material = training::prepare(config)?;
        let socket = self.runtime.block_on(server::bind(material.config.listen.clone()))?;
        let tls = training::tls_of(&material.config, &socket)?;
        begin()?;
        let directory = match begun {
            true => RunDirectory::open(path)?,
            false => {
                launch::tell(material.read_start()?);
                let directory = RunDirectory::create(path, &material.config.to_toml())?;
                directory.save_request(&request)?;
                directory
            }
        };
        let checkpoint = if begun { launch::load_checkpoint(&directory)? } else { None };
        if begun && checkpoint.is_none() {
            launch::tell(material.read_start()?);
        }
        let directory = Arc::new(directory);
        let training = Training {
            material: Arc::new(material),
            directory: Arc::clone(&directory),
            checkpoint,
            socket,
            tls,
            observer: Box::new(self.observer()),
            keep_serving: false,
            role: Role::default(),
        };
        let ended = self.runtime.block_on(training::run(training, self.stop.clone()))?;
        let Ended::Trained(summary) = ended else {
            bail!("a training of a sweep is one of this process alone; leave out link and store");
        };
        let summary = *summary;
        if summary.stop_reason != StopReason::Interrupted {
            directory.save_outcome(&summary.to_json())?;
        }
        Ok(summary)
    }

    fn observer(&self) -> Watch {
        let is_terminal = has_screen();
        let screen: Box<dyn Observer + Send> = match is_terminal {
            _ if writes_json() => Box::new(JsonLines),
            true => Box::new(Terminal::new(self.bars.clone(), false)),
            false => Box::new(Lines::default()),
        };
        Watch { screen, is_terminal, public: self.public }
    }

    fn end(self) {
        self.runtime.shutdown_timeout(launch::SHUTDOWN);
        // A bar that cannot be cleared is no reason to lose the results.
        let _ = self.bars.clear();
    }
}

/// Shows a run among others: its progress on a terminal, otherwise only important lines.
struct Watch {
    screen: Box<dyn Observer + Send>,
    is_terminal: bool,
    public: bool,
}

impl Observer for Watch {
    fn event(&mut self, event: &Event) {
        let is_shown = match event {
            Event::Listening { .. } => self.public,
            Event::Waiting { .. } | Event::Note { .. } => true,
            Event::Round(_) | Event::Iteration(_) | Event::Finished(_) => self.is_terminal,
        };
        if is_shown {
            self.screen.event(event);
        }
    }
}

/// The object that `--json` prints. Field names are those of the JSON.
#[derive(Debug, Serialize)]
struct Printed {
    /// The sweep's directory, as the user would type it.
    sweep: String,
    runs: usize,
    finished: usize,
    failed: usize,
    cases: Vec<Comparison>,
}

fn print(results: &Results, directory: &Path, json: bool) -> anyhow::Result<()> {
    let cases = results.comparisons();
    output::results(|output| {
        if json {
            let printed = Printed {
                sweep: directory.display().to_string(),
                runs: results.runs.len(),
                finished: cases.iter().map(|case| case.finished).sum(),
                failed: cases.iter().map(|case| case.failed).sum(),
                cases,
            };
            writeln!(output, "{}", serde_json::to_string(&printed)?)?;
        } else {
            write!(output, "{}", sweep::tables(results))?;
            writeln!(output, "\nTables and charts are in {}.", directory.display())?;
        }
        Ok(())
    })
}

/// Turns the sweep's end into an exit code.
fn conclude(results: &Results, directory: &Path) -> anyhow::Result<()> {
    if results.runs.iter().any(|run| matches!(run.ending, Ending::NotRun)) {
        say(format!("To continue, give the same command with --out {}.", directory.display()));
        return Err(Interrupted.into());
    }
    match results.failures().count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} failed; sweep.md says why", counted(results.runs.len(), "run")),
    }
}
