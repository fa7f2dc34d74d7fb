//! From a configuration to a result: the code that `demo`, `train` and `resume` share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use engine::StopReason;
use engine::optimizers::Halt;
use indicatif::MultiProgress;
use tokio::runtime::Runtime;

use super::json_lines::JsonLines;
use super::lines::Lines;
use super::output::{has_screen, is_quiet, results, say, writes_json};
use super::terminal::Terminal;
use super::{Diverged, Interrupted, misuse, stop};
use crate::config::RunConfig;
use crate::data::{self, Prepared, TargetSchema};
use crate::driver::Checkpoint;
use crate::report::Summary;
use crate::report::progress::{Event, Observer};
use crate::report::words::{count, counted};
use crate::room;
use crate::run_directory::{RunDirectory, RunError};
use crate::server::{self, Socket, Tls};
use crate::training::{self, Ended, Material, Role, Training};

/// Most runs of one name. A number tells them apart.
const NUMBERED_MAX: u32 = 10_000;
/// The directory for runs without --out.
const RUNS: &str = "runs";
const STOPPING: &str = "Stopping and saving; press Ctrl-C again to stop at once.";
/// Time for sockets and timers to end after the result.
pub(super) const SHUTDOWN: Duration = Duration::from_secs(2);

/// The place of a new run.
pub(super) enum Place {
    /// Exactly this directory.
    Exactly(PathBuf),
    /// The first of `runs/name`, `runs/name-2`, ... that does not exist.
    Numbered(String),
}

/// How to show a training.
pub(super) struct Show {
    pub(super) bars: MultiProgress,
    /// Whether to print the result as one JSON object.
    pub(super) json: bool,
    /// Whether to show a QR code of the address.
    pub(super) invite_phones: bool,
    /// Whether to serve the page until Ctrl-C after the model is saved.
    pub(super) keep_serving: bool,
}

/// Trains from the start.
pub(super) fn begin(config: RunConfig, place: Place, stands_by: bool, show: Show) -> anyhow::Result<()> {
    begin_or_go_on(config, place, (stands_by, false), show)
}

/// The same for a run whose state may be in a store. With `wants_more`, one that has ended there goes on if the limits let
/// it.
pub(super) fn begin_or_go_on(
    mut config: RunConfig,
    place: Place,
    (stands_by, wants_more): (bool, bool),
    show: Show,
) -> anyhow::Result<()> {
    config.draw_invite()?;
    if let Place::Exactly(path) = &place
        && path.join("run.toml").exists()
    {
        // Check before reading a large file in vain.
        return Err(RunError::Exists { path: path.clone() }.into());
    }
    let mut material = training::prepare(config)?;
    tell(material.read_start()?);
    let path = place.path()?;
    room::check(&material.network, training::load_of(&material), &path)?;
    let door = Door::open(&material.config)?;
    // Last, so that an error above leaves nothing behind.
    let directory = RunDirectory::create(&path, &material.config.to_toml())?;
    let hint = how_told(&material);
    train(Work { material, directory, checkpoint: None, door, stands_by, wants_more }, &hint, show)
}

/// Refuses to stand by where nobody else can lead.
pub(super) fn require_link(standby: bool, config: &RunConfig) -> anyhow::Result<()> {
    if standby && config.link.is_none() {
        return Err(misuse(
            "--standby: there is no other coordinator without --link; name the NATS servers that it uses"
                .to_owned(),
        ));
    }
    Ok(())
}

/// What to train.
pub(super) struct Work {
    pub(super) material: Material,
    pub(super) directory: RunDirectory,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) door: Door,
    /// Whether another coordinator is expected to lead.
    pub(super) stands_by: bool,
    /// Whether a training that has ended in a store is to go on.
    pub(super) wants_more: bool,
}

/// The socket for volunteers. It opens before anything is written, so that an unavailable address leaves
/// nothing behind.
pub(super) struct Door {
    runtime: Runtime,
    socket: Socket,
    tls: Option<Tls>,
}

impl Door {
    pub(super) fn open(config: &RunConfig) -> anyhow::Result<Self> {
        let runtime = Runtime::new()?;
        let (socket, tls) = runtime.block_on(listen(config))?;
        Ok(Self { runtime, socket, tls })
    }
}

async fn listen(config: &RunConfig) -> anyhow::Result<(Socket, Option<Tls>)> {
    let socket = server::bind(config.listen.clone()).await?;
    let tls = training::tls_of(config, &socket)?;
    Ok((socket, tls))
}

/// Trains, shows the progress and prints the result. `hint` follows the prediction in the first line.
pub(super) fn train(work: Work, hint: &str, show: Show) -> anyhow::Result<()> {
    let Show { bars, json, invite_phones, keep_serving } = show;
    introduce(&work, hint);
    work.material.notes.iter().for_each(say);
    let outcome = Arc::new(Outcome { json, shown: AtomicBool::new(false) });
    let Work { material, directory, mut checkpoint, door, stands_by, wants_more } = work;
    let mut role = Role { stands_by, wants_more, kept: None };
    let Door { runtime, mut socket, mut tls } = door;
    let (material, directory) = (Arc::new(material), Arc::new(directory));
    let stop = {
        let _runtime = runtime.enter();
        let outcome = Arc::clone(&outcome);
        // After the model is saved, only the page is still served, and there is nothing to wait for.
        stop::requested(bars.clone(), move || (!outcome.is_shown()).then_some(STOPPING))
    };
    let ended = loop {
        let on_screen = observer(&bars, invite_phones);
        let observer: Box<dyn Observer + Send> = match keep_serving {
            true => Box::new(Serving { on_screen, outcome: Arc::clone(&outcome) }),
            false => on_screen,
        };
        let training = Training {
            material: Arc::clone(&material),
            directory: Arc::clone(&directory),
            checkpoint: checkpoint.take(),
            socket,
            tls,
            observer,
            keep_serving,
            role: std::mem::take(&mut role),
        };
        match runtime.block_on(training::run(training, stop.clone())) {
            Ok(Ended::SteppedDown(_)) if material.config.link.is_none() => {
                break Err(anyhow::anyhow!(
                    "another process leads this training now; join it with --link, the NATS servers that it uses"
                ));
            }
            Ok(Ended::SteppedDown(kept)) => {
                if kept.is_none() {
                    say("This coordinator does not lead any more; it stands by.");
                }
                role = Role { stands_by: true, wants_more: false, kept };
                (socket, tls) = runtime.block_on(listen(&material.config))?;
            }
            ended => break ended,
        }
    };
    runtime.shutdown_timeout(SHUTDOWN);
    // A bar that cannot be cleared is no reason to lose the result.
    let _ = bars.clear();
    let summary = match ended? {
        Ended::Trained(summary) => summary,
        Ended::Elsewhere => {
            say(format!(
                "The training has ended in another process; its model, metrics and report are in {0}. To go on with it, give a \
                 larger limit: shoal resume {0} --iterations ...",
                directory.path().display()
            ));
            return Ok(());
        }
        Ended::Stopped | Ended::SteppedDown(_) => return Err(Interrupted.into()),
    };
    outcome.show(&summary)?;
    match summary.stop_reason {
        StopReason::Interrupted => Err(Interrupted.into()),
        StopReason::Optimizer(Halt::Diverged { .. } | Halt::NonFiniteStart { .. }) => Err(Diverged.into()),
        _ => Ok(()),
    }
}

/// Who shows the training.
fn observer(bars: &MultiProgress, invite_phones: bool) -> Box<dyn Observer + Send> {
    if is_quiet() {
        Box::new(Nothing)
    } else if writes_json() {
        Box::new(JsonLines)
    } else if has_screen() {
        Box::new(Terminal::new(bars.clone(), invite_phones))
    } else {
        Box::new(Lines::default())
    }
}

/// Shows nothing of a training.
struct Nothing;

impl Observer for Nothing {
    fn event(&mut self, _: &Event) {}
}

/// Says what there is to know of the weights to begin with.
pub(super) fn tell(notes: Vec<String>) {
    notes.iter().for_each(|note| say(format!("Start weights: {note}.")));
}

/// The last good checkpoint of a run.
pub(super) fn load_checkpoint(directory: &RunDirectory) -> anyhow::Result<Option<Checkpoint>> {
    let Some(loaded) = directory.load_checkpoint(Checkpoint::VERSION)? else { return Ok(None) };
    if let Some(damage) = loaded.last_was_damaged {
        say(format!("{damage}; continuing from the checkpoint before it, to the same result"));
    }
    let checkpoint = Checkpoint::from_bytes(&loaded.state)
        .with_context(|| format!("cannot continue from the checkpoint in {}", directory.path().display()))?;
    Ok(Some(checkpoint))
}

impl Place {
    pub(super) fn path(self) -> anyhow::Result<PathBuf> {
        let name = match self {
            Self::Exactly(path) => return Ok(path),
            Self::Numbered(name) => file_name(&name),
        };
        let numbered = |number| match number {
            1 => Path::new(RUNS).join(&name),
            number => Path::new(RUNS).join(format!("{name}-{number}")),
        };
        (1..=NUMBERED_MAX).map(numbered).find(|path| !path.exists()).ok_or_else(|| {
            misuse(format!(
                "there are {NUMBERED_MAX} runs called {name} in {RUNS}; name another place with --out"
            ))
        })
    }
}

/// A file name that is safe on every system.
fn file_name(name: &str) -> String {
    let safe = |character: char| match character {
        character if character.is_alphanumeric() => character.to_ascii_lowercase(),
        _ => '-',
    };
    name.chars().map(safe).collect()
}

fn introduce(work: &Work, hint: &str) {
    let Work { material: Material { config, data, network, .. }, directory, .. } = work;
    let test = data.test.as_ref().map_or(0, data::Examples::len);
    for notice in &data.notices {
        say(format!("Data: {notice}."));
    }
    let validating = data.validation.as_ref().map(|table| format!(", validating on {}", count(table.len())));
    say(format!(
        "Training a {} with {} on {} of {}, predicting {}{hint}, testing on {}{}; the run is kept in {}.",
        training::network_in_words(network),
        counted(network.parameters(), "parameter"),
        counted(data.train.len(), "example"),
        config.data.name(),
        predicted(data),
        if test == 0 { "none".to_owned() } else { count(test) },
        validating.unwrap_or_default(),
        directory.path().display(),
    ));
}

/// `species: 3 classes`, `price: a number`.
fn predicted(data: &Prepared) -> String {
    let kind = match &data.preparation.targets {
        TargetSchema::Classes(names) => counted(names.len(), "class"),
        TargetSchema::Numbers(names) if names.len() == 1 => "a number".to_owned(),
        TargetSchema::Numbers(names) => counted(names.len(), "number"),
    };
    match data.preparation.label_in_words() {
        Some(label) => format!("{label}: {kind}"),
        None => kind,
    }
}

/// Advice for the case that the label's values led to the wrong kind of task.
fn how_told(material: &Material) -> String {
    let Material { config, data, .. } = material;
    let is_number = |name: &String| name.parse::<f64>().is_ok();
    let otherwise = match &data.preparation.targets {
        // Images come with classes, and several columns are numbers, so nothing was inferred.
        _ if config.task.is_some() || data.preparation.labels.len() != 1 => return String::new(),
        TargetSchema::Classes(names) if names.iter().all(is_number) => "numbers",
        TargetSchema::Classes(_) => return String::new(),
        TargetSchema::Numbers(_) => "classes",
    };
    format!(", inferred from its values (--task {otherwise} for {otherwise})")
}

/// The result, printed once.
struct Outcome {
    json: bool,
    shown: AtomicBool,
}

impl Outcome {
    fn is_shown(&self) -> bool {
        self.shown.load(Ordering::Acquire)
    }

    fn show(&self, summary: &Summary) -> anyhow::Result<()> {
        if self.shown.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        results(|output| {
            if self.json {
                writeln!(output, "{}", summary.to_json())?;
            } else {
                write!(output, "{}", summary.to_text())?;
            }
            Ok(())
        })
    }
}

/// Prints the result as soon as the model is saved, for a training that then goes on serving.
struct Serving {
    on_screen: Box<dyn Observer + Send>,
    outcome: Arc<Outcome>,
}

impl Observer for Serving {
    fn event(&mut self, event: &Event) {
        self.on_screen.event(event);
        if let Event::Finished(summary) = event {
            // The output is a terminal. If it cannot be written to, there is nobody else to tell.
            let _ = self.outcome.show(summary);
            if summary.stop_reason != StopReason::Interrupted {
                say("The page stays open; Ctrl-C ends it.");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_after_its_data_in_characters_every_system_takes() {
        assert_eq!(file_name("Breast Cancer:2"), "breast-cancer-2");
    }
}
