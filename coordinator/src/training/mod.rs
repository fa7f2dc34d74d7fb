//! Puts a training together: data cut into shards, the engine on its thread, the server, the
//! coordinator's own worker; waits for the end and saves the model.

mod optimizer;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use model::{Network, weights_digest};
use protocol::limits::UNITS_MAX;
use protocol::message::Welcome;
use protocol::plan::{SetPlan, SetPlans};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{ConfigError, DataSource, Fraction, LocalWorkers, RunConfig};
use crate::data::Prepared;
use crate::data::ShardStore;
use crate::driver::{self, BeginRule, Checkpoint, Facts, Order, Outcome, Referee};
use crate::report::progress::{Event, Observer};
use crate::report::status::Point;
use crate::report::{StopReason, Summary};
use crate::run_directory::{RunDirectory, SavedModel, load_metrics};
use crate::server::{self, ServerConfig, Site};
use crate::volunteer;
use engine::optimizers;
use engine::{self, Counters, Course, Engine, KnownScales, LocalHelp, Snapshot, Statistics, StopRules};

/// The session of the coordinator's own worker; those of volunteers count from 1.
const LOCAL_SESSION: u64 = 0;

/// Examples that a unit aims at: enough that turning its gradient into integers costs little
/// beside computing it.
const UNIT_EXAMPLES: u32 = 256;
/// Units that a round aims at where the data are few, so that several volunteers find work.
const UNITS_WANTED: u32 = 64;

/// A training, ready to run.
pub struct Training {
    /// What it was told to do.
    pub config: RunConfig,
    /// The data.
    pub data: Arc<Prepared>,
    /// The network.
    pub network: Network,
    /// The run directory, locked.
    pub directory: Arc<RunDirectory>,
    /// Where to go on from; `None` starts at the beginning.
    pub checkpoint: Option<Checkpoint>,
    /// Where the page and the volunteers' channel are served.
    pub listener: TcpListener,
    /// Who is told how it goes.
    pub observer: Box<dyn Observer + Send>,
    /// Whether to go on serving page and status when the model is saved, until told to stop.
    pub keep_serving: bool,
}

/// Runs a training to its end and saves the model. `stop` turns true when the user wants it to end
/// now.
///
/// # Errors
/// When the data cannot be cut into work units, or the model cannot be saved.
pub async fn run(training: Training, stop: watch::Receiver<bool>) -> Result<Summary> {
    let Training { config, data, network, directory, checkpoint, listener, observer, keep_serving } =
        training;
    if crate::assets::worker_is_placeholder() {
        bail!("this binary was built with SHOAL_SKIP_WASM=1 and has no browser worker; build it without");
    }
    let mut observer = observer;
    let addresses = server::addresses(listener.local_addr()?);
    observer.event(&Event::Listening { addresses });

    let arithmetic = config.arithmetic;
    let cutting = Arc::clone(&data);
    let examples_per_unit = unit_of_run(&config, data.train.len());
    let cut = move || ShardStore::cut(cutting, examples_per_unit);
    let (shards, plans) = tokio::task::spawn_blocking(cut).await?;
    let shards = Arc::new(shards);
    check_plans(&plans, config.replicas)?;
    let SetPlans { training, validation, test } = plans.clone();
    let run = run_number(&config, &data.fingerprint);
    if checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.run != run) {
        // Whoever resumes has seen to it, in words for the user.
        bail!("the checkpoint in {} belongs to another run", directory.path().display());
    }
    let welcome = Welcome {
        run,
        session: LOCAL_SESSION,
        arithmetic,
        network: network.spec().to_json(),
        features: u32::try_from(network.features()).context("too many features")?,
        task: network.task(),
        preprocessing: data.preprocessing.clone(),
        seed: config.seed,
        minibatch: config.minibatch,
        local: optimizer::local_bounds(&config),
        training,
        validation,
        test,
    };
    let settings = engine::Settings {
        run,
        network: network.clone(),
        sets: plans.clone(),
        seed: config.seed,
        minibatch: config.minibatch,
        stop: stop_rules(&config),
        evaluate_every: config.evaluate_every,
        // A target is of no use that nobody measures.
        evaluate_training: config.evaluate_training || config.target_loss.is_some(),
        local_help: local_help(config.local_workers),
    };
    let snapshot = match &checkpoint {
        Some(checkpoint) => checkpoint.snapshot.clone(),
        None => first_snapshot(&config, &network, &plans.training),
    };
    let parameters = network.parameters();
    let setup = driver::Setup {
        engine: Engine::new(settings, snapshot),
        facts: facts(&config, &data, &network, run),
        history: history(&directory, checkpoint.as_ref())?,
        resumed: checkpoint,
        begin: BeginRule {
            wait_for: config.wait_for as usize,
            patience: config.wait_seconds.map(|seconds| Duration::from_secs(seconds.into())),
        },
        seconds_max: config.max_seconds,
        directory: Arc::clone(&directory),
        referee: Referee {
            network: network.clone(),
            arithmetic,
            seed: config.seed,
            minibatch: config.minibatch,
            data: Arc::clone(&data),
            sets: plans,
        },
        observer,
    };
    let running = driver::start(setup, Handle::current()).context("cannot start the engine's thread")?;
    let driver::Running { sessions, orders, status, outcome, thread } = running;
    let site = Site {
        config: ServerConfig { allowed_hosts: config.allow_host.clone(), ..ServerConfig::default() },
        welcome: welcome.clone(),
        parameters,
        known_answer: model::known_answer::digest(arithmetic),
        shards: Arc::clone(&shards),
        status,
        driver: sessions.clone(),
        next_session: Arc::new(AtomicU64::new(LOCAL_SESSION + 1)),
    };
    let (shut_down, shutting_down) = watch::channel(false);
    let server = tokio::spawn(server::serve(listener, Arc::new(site), until(shutting_down)));
    let cores = local_cores(config.local_workers);
    let local = volunteer::spawn_local(cores, welcome, shards, sessions, LOCAL_SESSION);

    let model = |weights| SavedModel {
        network,
        weights,
        arithmetic,
        seed: config.seed,
        schema: data.schema.clone(),
        preprocessing: data.preprocessing.clone(),
        target_scaling: data.target_scaling.clone(),
    };
    let ended = train_and_save(outcome, &orders, stop.clone(), model, directory).await;
    local.abort();
    if ended.is_ok() && keep_serving {
        until(stop).await;
    }
    shut_down.send_replace(true);
    server.await.context("the server failed")?;
    drop(orders);
    let ended_thread = tokio::task::spawn_blocking(|| thread.join()).await?;
    let summary = ended?;
    ended_thread.map_err(|_| anyhow!("the engine failed after the model was saved"))?;
    Ok(summary)
}

/// Waits for the end of the training, or for the wish to end it, and saves the model.
async fn train_and_save(
    mut outcome: oneshot::Receiver<Outcome>,
    orders: &mpsc::Sender<Order>,
    stop: watch::Receiver<bool>,
    model: impl FnOnce(Arc<[f32]>) -> SavedModel,
    directory: Arc<RunDirectory>,
) -> Result<Summary> {
    let outcome = tokio::select! {
        outcome = &mut outcome => outcome,
        () = until(stop) => {
            let _ = orders.send(Order::Stop).await;
            outcome.await
        }
    };
    let outcome = outcome.context("the engine stopped unexpectedly; the last checkpoint can be resumed")?;
    let model = model(Arc::clone(&outcome.weights));
    let summary = summarize(&outcome, model.network.parameters(), &directory);
    let save = move || {
        directory.save_model(&model)?;
        directory.save_checkpoint(&outcome.checkpoint.to_bytes())
    };
    tokio::task::spawn_blocking(save).await??;
    let _ = orders.send(Order::Saved(Box::new(summary.clone()))).await;
    Ok(summary)
}

/// The state at the beginning of a run: a function of its settings, the network and the cut of the data alone.
pub fn first_snapshot(config: &RunConfig, network: &Network, training: &SetPlan) -> Snapshot {
    let start = network.initialize(config.seed);
    let (start, statistics) = start.split_at(network.trainable());
    let statistics: Arc<[f32]> = statistics.into();
    Snapshot {
        optimizer: optimizer::optimizer(config, start.into(), training),
        scales: KnownScales::default(),
        statistics: Statistics { accepted: Arc::clone(&statistics), running: statistics },
        counters: Counters::default(),
        accepted: None,
        course: Course::default(),
    }
}

fn stop_rules(config: &RunConfig) -> StopRules {
    StopRules {
        rounds: config.rounds,
        epochs: config.epochs,
        target_accuracy: config.target_accuracy.map(Fraction::get),
        target_loss: config.target_loss,
        gradient_tolerance: config.gradient_tolerance,
        relative_decrease: config.relative_decrease,
        patience: config.patience,
        ..StopRules::iterations(config.iterations)
    }
}

/// How many examples a unit of the run has. Stochastic methods take so few in a round that they need
/// units of their own: of as many minibatches as divide those of a round, and as near as they come to
/// [`UNIT_EXAMPLES`].
fn unit_of_run(config: &RunConfig, examples: usize) -> u32 {
    let Some(minibatches) = config.minibatches_per_round else {
        return examples_per_unit(examples, config.minibatch);
    };
    let fits = |count: &u32| minibatches.is_multiple_of(*count);
    let most = (UNIT_EXAMPLES / config.minibatch).clamp(1, minibatches);
    (1..=most).rev().find(fits).unwrap_or(1).saturating_mul(config.minibatch)
}

/// How many examples a unit has: a whole number of minibatches, a function of the data and the
/// configuration alone. About [`UNIT_EXAMPLES`], or fewer if there would not be [`UNITS_WANTED`]
/// units.
pub fn examples_per_unit(examples: usize, minibatch: u32) -> u32 {
    let examples = u32::try_from(examples).unwrap_or(u32::MAX);
    let wanted = (examples / UNITS_WANTED).clamp(1, UNIT_EXAMPLES);
    // A quarter of the limit, because evaluations of three sets come on top.
    let least = examples.div_ceil(UNITS_MAX / 4);
    wanted.max(least).div_ceil(minibatch).saturating_mul(minibatch)
}

/// The cut must be one that volunteers accept.
fn check_plans(plans: &SetPlans, replicas: Option<u32>) -> Result<()> {
    let SetPlans { training, validation, test } = plans;
    let checked = [training, validation, test].into_iter().try_for_each(SetPlan::check);
    // The training set is evaluated as well as trained on, by replicas or otherwise.
    let trained = training.units().max(replicas.unwrap_or(0));
    let units = [trained, training.units(), validation.units(), test.units()];
    let units = units.into_iter().map(u64::from).sum::<u64>();
    let problem = match checked {
        Err(problem) => problem.to_string(),
        Ok(()) if units > UNITS_MAX.into() => format!("more than {UNITS_MAX} units in a round"),
        Ok(()) => return Ok(()),
    };
    let problem = format!("the examples cannot be cut into work units of whole minibatches: {problem}");
    Err(ConfigError::Setting { setting: "minibatch", problem }.into())
}

/// The course of a training that is resumed, from its metrics.
fn history(directory: &RunDirectory, checkpoint: Option<&Checkpoint>) -> Result<Vec<Point>> {
    let Some(accepted) = checkpoint.and_then(|checkpoint| checkpoint.snapshot.accepted) else {
        return Ok(Vec::new());
    };
    let points: Vec<Point> = load_metrics(directory.path())?;
    Ok(points.into_iter().filter(|point| point.iteration <= accepted.iteration).collect())
}

/// Names a run: everything that its results depend on. `data_fingerprint` is [`Prepared::fingerprint`].
pub fn run_number(config: &RunConfig, data_fingerprint: &[u8; 32]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&protocol::PROTOCOL_VERSION.to_le_bytes());
    hasher.update(data_fingerprint);
    hasher.update(config.model.to_json().as_bytes());
    hasher.update(config.arithmetic.to_string().as_bytes());
    hasher.update(&config.minibatch.to_le_bytes());
    hasher.update(optimizer::text(config).as_bytes());
    hasher.update(&config.seed.to_le_bytes());
    let digest = hasher.finalize();
    let (first, _) = digest.as_bytes().split_first_chunk().expect("a digest has 32 bytes");
    u64::from_le_bytes(*first)
}

fn local_help(workers: LocalWorkers) -> LocalHelp {
    match workers {
        LocalWorkers::Auto => LocalHelp::Auto,
        LocalWorkers::Count(0) => LocalHelp::Never,
        LocalWorkers::Count(_) => LocalHelp::Always,
    }
}

fn local_cores(workers: LocalWorkers) -> u16 {
    match workers {
        LocalWorkers::Auto => {
            std::thread::available_parallelism().map_or(1, |cores| cores.get().min(256) as u16)
        }
        // Even without ordinary help there is one, for the last resort.
        LocalWorkers::Count(count) => count.max(1),
    }
}

fn facts(config: &RunConfig, data: &Prepared, network: &Network, run: u64) -> Facts {
    Facts {
        title: title(config, data),
        run,
        arithmetic: config.arithmetic,
        network: network_in_words(network),
        parameters: network.parameters(),
        examples: data.train.len(),
        iterations_max: config.iterations,
    }
}

/// What is trained, for people who know nothing of networks: `a network that predicts price from
/// houses.csv`.
fn title(config: &RunConfig, data: &Prepared) -> String {
    let path = match &config.data {
        DataSource::EmbeddedMnist => return "a network that reads handwritten digits (MNIST)".to_owned(),
        DataSource::Path(path) => path,
    };
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    match data.schema.label_in_words() {
        Some(label) => format!("a network that predicts {label} from {file}"),
        None => format!("a network that recognizes the images in {file}"),
    }
}

/// `784-128-10 network`.
pub(crate) fn network_in_words(network: &Network) -> String {
    format!("{} network", network.outline())
}

fn summarize(outcome: &Outcome, parameters: usize, directory: &RunDirectory) -> Summary {
    let saved = outcome.saved;
    Summary {
        iterations: outcome.last.map_or(0, |last| last.iteration),
        saved_iteration: saved.map_or(0, |saved| saved.iteration),
        rounds: outcome.rounds,
        epochs: outcome.epochs,
        seconds: outcome.checkpoint.seconds,
        parameters,
        train_loss: saved.map(|saved| saved.train_loss),
        training_set_loss: saved.and_then(|saved| saved.training_set_loss),
        validation_loss: saved.and_then(|saved| saved.validation_loss),
        validation_accuracy: saved.and_then(|saved| saved.validation_accuracy),
        test_loss: saved.and_then(|saved| saved.test_loss),
        test_accuracy: saved.and_then(|saved| saved.test_accuracy),
        weights_digest: blake3::Hash::from_bytes(weights_digest(&outcome.weights)).to_hex().to_string(),
        volunteers: outcome.checkpoint.volunteers as usize,
        stop_reason: stop_reason(&outcome.reason),
        run: directory.path().display().to_string(),
    }
}

fn stop_reason(reason: &engine::StopReason) -> StopReason {
    match reason {
        engine::StopReason::Iterations(_) => StopReason::Iterations,
        engine::StopReason::Rounds(_) => StopReason::Rounds,
        engine::StopReason::Epochs(_) => StopReason::Epochs,
        engine::StopReason::Time(_) => StopReason::MaxSeconds,
        engine::StopReason::TargetAccuracy(_) => StopReason::TargetAccuracy,
        engine::StopReason::TargetLoss(_) => StopReason::TargetLoss,
        engine::StopReason::GradientTolerance(_) => StopReason::GradientTolerance,
        engine::StopReason::RelativeDecrease(_) => StopReason::RelativeDecrease,
        engine::StopReason::Patience(_) => StopReason::Patience,
        engine::StopReason::Interrupted => StopReason::Interrupted,
        engine::StopReason::Optimizer(reason) => match reason {
            optimizers::StopReason::Converged { .. } => StopReason::Converged,
            optimizers::StopReason::NonFiniteStart { .. } => StopReason::NonFinite,
            optimizers::StopReason::Diverged { .. } => StopReason::Diverged,
            _ => StopReason::NoProgress,
        },
    }
}

/// Waits until `flag` is true (or its sender is gone).
async fn until(mut flag: watch::Receiver<bool>) {
    let _ = flag.wait_for(|raised| *raised).await;
}

#[cfg(test)]
mod tests {
    use model::{NetworkSpec, Task};
    use protocol::plan::ShardRef;

    use super::*;

    #[test]
    fn a_unit_is_a_whole_number_of_minibatches() {
        assert_eq!(examples_per_unit(60_000, 10), 260);
        assert_eq!(examples_per_unit(60_000, 1000), 1000);
        assert_eq!(examples_per_unit(1_438, 10), 30);
        assert_eq!(examples_per_unit(1, 32), 32);
        let unit = examples_per_unit(u32::MAX as usize, 1);
        assert!(u32::MAX.div_ceil(unit) <= UNITS_MAX / 4);
    }

    #[test]
    fn replicas_count_among_the_units_of_a_round() {
        let set = |units: u32| SetPlan {
            examples: units,
            examples_per_unit: 1,
            units_per_shard: UNITS_MAX,
            shards: vec![ShardRef { hash: [0; 32], bytes: 1 }; units.min(1) as usize],
        };
        let plans = SetPlans { training: set(10), validation: set(0), test: set(UNITS_MAX - 30) };
        assert!(check_plans(&plans, None).is_ok());
        assert!(check_plans(&plans, Some(20)).is_ok());
        let problem = check_plans(&plans, Some(21)).unwrap_err().to_string();
        assert!(problem.contains(&UNITS_MAX.to_string()), "{problem}");
    }

    #[test]
    fn a_network_in_words_has_the_widths_of_its_layers() {
        let spec = NetworkSpec::from_shorthand("mlp:8").unwrap();
        let network = Network::new(&spec, 4, Task::Classes(3)).unwrap();
        assert_eq!(network_in_words(&network), "4-8-3 network");
    }
}
