//! Puts a training together and runs it to its end.
//!
//! [`prepare`] reads the data and makes the network. [`run`] cuts the data into shards, starts the engine on
//! its thread, the server and the coordinator's own worker, waits for the end and saves the model.

mod closing;
mod cross_validation;
mod cut;
mod defaults;
mod identity;
mod optimizer;
mod outside;
mod prepare;
mod saving;
mod several;
mod summary;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use engine::{
    Counters, Course, Engine, KnownScales, LocalHelp, Secret, Snapshot, Statistics, StopReason, StopRules,
};
use gateway::Term;
use protocol::message::Welcome;
use protocol::plan::{SetPlan, SetPlans};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{Fraction, Invite, LocalWorkers, RunConfig};
use crate::data::ShardStore;
use crate::driver::exchange::DriverHandle;
use crate::driver::{self, BeginRule, Checkpoint, Ending, Helm, Limits, Order, Referee, ShardReader, Source};
use crate::operator::{self, Desk, Exams, Office, Unsaved};
use crate::report::Summary;
use crate::report::progress::{DashboardLink, Event, Link, Observer};
use crate::report::status::{DetailPoint, Status};
use crate::report::tensorboard::Recorder;
use crate::room::Load;
use crate::run_directory::{RunDirectory, RunError, SavedModel, load_metrics};
use crate::scale::{Herald, porch};
use crate::server::{self, MetricsAccess, ServerConfig, Site, Socket, Ticket, Tls, TlsError};
use crate::trial::Trial;
use crate::volunteer;

pub use cut::examples_per_unit;
pub use identity::run_number;
pub use prepare::{Material, Sets, load, prepare, take_shape};
pub(crate) use summary::network_in_words;

use several::{Entered, Part, Published};

/// The session of the coordinator's own worker; those of volunteers count from 1.
const LOCAL_SESSION: u64 = 0;
/// What visitors are told meanwhile.
const STANDS_BY: &str =
    "This coordinator stands by while another one leads the training; open the page of a gateway.";

/// A training, ready to run.
pub struct Training {
    /// What it trains, and with which settings.
    pub material: Arc<Material>,
    /// The run directory, locked.
    pub directory: Arc<RunDirectory>,
    /// Where to go on from; `None` starts at the beginning.
    pub checkpoint: Option<Checkpoint>,
    /// Where the page and the volunteers' channel are served.
    pub socket: Socket,
    /// The certificate ([`tls_of`]); `None` serves plain HTTP.
    pub tls: Option<Tls>,
    /// Who is told how it goes.
    pub observer: Box<dyn Observer + Send>,
    /// Whether to go on serving page and status when the model is saved, until told to stop.
    pub keep_serving: bool,
    /// The part of this process, if there may be others.
    pub role: Role,
}

/// The part of a process in a training that may have several.
#[derive(Debug, Default)]
pub struct Role {
    /// Whether another coordinator is expected to lead, so that this one waits until none does.
    pub stands_by: bool,
    /// Whether a training that has ended in the store is to go on if the limits let it.
    pub wants_more: bool,
    /// What it had when it stepped down. It goes on with that unless it hears another one lead meanwhile.
    pub kept: Option<Box<Kept>>,
}

/// What a leader had when it stepped down for a term that it heard nobody lead.
#[derive(Debug)]
pub struct Kept {
    /// Its state. What gateways remember of volunteers belongs to this one, and not to one that nobody heard of.
    pub checkpoint: Checkpoint,
    /// After how many looks at that term it stepped down.
    looks: u32,
    /// The term that it led.
    term: Term,
    /// Says that it leads that one until it leads the next: standbys would take that first.
    _herald: Option<Herald>,
}

/// How a training ends for this process.
#[derive(Debug)]
pub enum Ended {
    /// The model is saved.
    Trained(Box<Summary>),
    /// The training has ended in another process, and its files are in the run's directory.
    Elsewhere,
    /// This process leads no more.
    SteppedDown(Option<Box<Kept>>),
    /// The user has ended the wait for other processes.
    Stopped,
}

/// Runs a training to its end and saves the model. `stop` turns true when the user wants it to end
/// now.
///
/// # Errors
/// When the data cannot be cut into work units, or the model cannot be saved.
pub async fn run(training: Training, stop: watch::Receiver<bool>) -> Result<Ended> {
    let Training { material, directory, mut checkpoint, socket, tls, mut observer, keep_serving, role } =
        training;
    crate::assets::require_worker()?;
    let invite = match &material.config.invite {
        None => None,
        Some(Invite::Token(token)) => Some(token.clone()),
        Some(Invite::Auto) => Some(Invite::draw().context("cannot draw an invitation")?),
    };
    if let Some(folder) = &material.config.tensorboard {
        let recorder = Recorder::create(folder, directory.path(), &material.config.to_toml(), observer);
        let place = || format!("cannot write event files for TensorBoard in {}", folder.display());
        observer = Box::new(recorder.with_context(place)?);
    }
    let token = operator::operator_token()?;
    let pages = server::pages(&socket, material.config.public_url.as_ref(), tls.is_some());
    let dashboard = DashboardLink::new(&pages[0], &token);
    let links: Vec<Link> = pages.iter().map(|page| Link::new(page, invite.as_deref())).collect();
    let urls: Vec<String> = links.iter().map(|link| link.url.clone()).collect();
    // Those for volunteers alone: the operator's token stands in no file.
    if let Err(error) = directory.save_links(urls.iter().map(String::as_str)) {
        tracing::warn!("the links to the page are not kept for shoal open: {error}");
    }
    observer.event(&Event::Listening { links, dashboard });
    if let Some(text) = server::told_of_proxy(socket.place()) {
        observer.event(&Event::Note { text });
    }

    let run = run_number(&material.config, &material.data.fingerprint);
    if checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.run != run) {
        // Whoever resumes has seen to it, in words for the user.
        bail!("the checkpoint in {} belongs to another run", directory.path().display());
    }
    let cutting = Arc::clone(&material);
    let cut = move || cut::cut(&cutting.config, Arc::clone(&cutting.data));
    let (shards, plans) = tokio::task::spawn_blocking(cut).await??;
    let shards = Arc::new(shards);
    let welcome = welcome(&material, run, &plans)?;
    let data_bytes = compressed_bytes(&plans.training, &shards).await?;

    let facts = summary::facts(&material, run, data_bytes);
    let mut tell = |text| observer.event(&Event::Note { text });
    let entering =
        several::enter(&material, facts, &welcome, &shards, &directory, role, stop.clone(), &mut tell);
    let mut part = match porch::keep(&socket, STANDS_BY, entering).await? {
        Entered::Alone => None,
        Entered::Leads(part, newest) => {
            checkpoint = newest.map(|newest| *newest).or(checkpoint);
            Some(part)
        }
        Entered::Ended(ended) => return Ok(ended),
    };

    let exams = Exams::new(material.network.clone(), material.config.arithmetic, Arc::clone(&material.data));
    let (exams, unsaved) = (Arc::new(exams), Unsaved::default());
    let place = directory.path().to_owned();
    let (office, desk) = operator::open(urls, place, Arc::clone(&exams), unsaved.clone());
    let operator = (desk, exams);
    let setup = setup(
        &material,
        data_bytes,
        (plans, &shards),
        Arc::clone(&directory),
        checkpoint,
        operator,
        observer,
        part.as_deref(),
    )
    .await?;
    let running = driver::start(setup, Handle::current()).context("cannot start the engine's thread")?;
    let driver::Running { sessions, orders, status, gallery, outcome, thread } = running;
    let looks = part.as_mut().map(|part| {
        part.hush();
        part.look_after(&orders)
    });
    let admission = Admission { invite: invite.as_deref(), tls, operator: &token, office };
    let trial = summary::trial(&material, gallery);
    let site =
        site(&material, welcome.clone(), Arc::clone(&shards), status, sessions.clone(), trial, admission);
    let audience = Arc::clone(&site.audience);
    let (shut_down, shutting_down) = watch::channel(false);
    let server = tokio::spawn(server::serve(socket, Arc::new(site), until(shutting_down)));
    if let Some(url) = &material.config.shard_url {
        let shard = welcome.sets.training.shards.first().copied();
        let page = pages[0].origin();
        tokio::spawn(volunteer::warn_of_mirror(url.clone(), shard, page));
    }
    let cores = local_cores(material.config.local_workers);
    let local = volunteer::spawn_local(cores, welcome, shards, sessions, LOCAL_SESSION);

    let trained = train_and_save(
        outcome,
        &orders,
        stop.clone(),
        Arc::clone(&material),
        Arc::clone(&directory),
        &unsaved,
        part.as_deref(),
    )
    .await;
    local.abort();
    let ended = match trained {
        Ok(Worked::Trained(trained)) => {
            let seconds = material.config.save_seconds;
            Ok(end_for_all(*trained, part.as_deref(), &directory, seconds, &orders, &stop).await)
        }
        Ok(Worked::SteppedDown(kept)) => Ok(Ended::SteppedDown(kept)),
        Err(error) => Err(error),
    };
    if let Some(looks) = looks {
        looks.abort();
    }
    if matches!(ended, Ok(Ended::Trained(_))) {
        match keep_serving {
            true => until(stop).await,
            false => audience.all_told().await,
        }
    }
    shut_down.send_replace(true);
    server.await.context("the server failed")?;
    drop(orders);
    let ended_thread = tokio::task::spawn_blocking(|| thread.join()).await?;
    let ended = ended?;
    ended_thread.map_err(|_| anyhow!("the engine failed after the model was saved"))?;
    if let Some(part) = &part {
        part.settle().await;
    }
    Ok(ended)
}

/// What the driver's work has come to.
enum Worked {
    Trained(Box<Trained>),
    SteppedDown(Option<Box<Kept>>),
}

/// A training that has come to its end in this process.
struct Trained {
    summary: Summary,
    /// Whether it has ended for all of its processes.
    for_all: bool,
    /// The last state, if there may be other processes.
    last: Option<Checkpoint>,
}

/// Ends a training for all of its processes, if it is one of several.
async fn end_for_all(
    trained: Trained,
    part: Option<&Part>,
    directory: &RunDirectory,
    seconds: u32,
    orders: &mpsc::Sender<Order>,
    stop: &watch::Receiver<bool>,
) -> Ended {
    let Trained { summary, for_all, last } = trained;
    if let Some(part) = part.filter(|_| for_all) {
        let published = part.publish(directory, &summary.stop_reason.to_string(), seconds, stop).await;
        if matches!(published, Published::Here | Published::Elsewhere) {
            let _ = orders.send(Order::Published).await;
        }
        match published {
            Published::Here | Published::Nowhere => {}
            Published::Elsewhere => return Ended::Elsewhere,
            Published::Replaced => return Ended::SteppedDown(last.and_then(|last| part.keep(last))),
        }
    }
    let _ = orders.send(Order::Saved(Box::new(summary.clone()))).await;
    Ended::Trained(Box::new(summary))
}

/// The size of a set's shards as they travel, estimated from one of them.
async fn compressed_bytes(set: &SetPlan, shards: &Arc<ShardStore>) -> Result<u64> {
    let Some(first) = set.shards.first().copied() else { return Ok(0) };
    let shards = Arc::clone(shards);
    let compressed = tokio::task::spawn_blocking(move || shards.compressed(&first.hash)).await?;
    let ratio = compressed.map_or(1.0, |bytes| bytes.len() as f64 / f64::from(first.bytes.max(1)));
    let all: u64 = set.shards.iter().map(|shard| u64::from(shard.bytes)).sum();
    Ok((all as f64 * ratio) as u64)
}

/// The certificate of a server at `socket`, if its settings want one.
///
/// # Errors
/// When it cannot be read or made.
pub fn tls_of(config: &RunConfig, socket: &Socket) -> Result<Option<Tls>, TlsError> {
    if let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) {
        return Tls::from_files(cert, key).map(Some);
    }
    if !config.tls_self_signed {
        return Ok(None);
    }
    let names = server::allowed_hosts(&config.allow_host, config.public_url.as_ref());
    let addresses = socket.local_addr().map(server::addresses).unwrap_or_default();
    Tls::self_signed(&names, &addresses.iter().map(SocketAddr::ip).collect::<Vec<_>>()).map(Some)
}

/// What every volunteer is told of the run when it joins.
fn welcome(material: &Material, run: u64, plans: &SetPlans) -> Result<Welcome> {
    let Material { config, data, network, .. } = material;
    Ok(Welcome {
        run,
        session: LOCAL_SESSION,
        arithmetic: config.arithmetic,
        network: network.spec().to_json(),
        features: u32::try_from(network.features()).context("too many features")?,
        task: network.task(),
        preprocessing: data.preprocessing.clone(),
        seed: config.seed,
        minibatch: config.minibatch,
        local: optimizer::local_bounds(config),
        sets: plans.clone(),
    })
}

/// What the driver and its engine work from.
#[expect(clippy::too_many_arguments, reason = "each is made in another place of a training's beginning")]
async fn setup(
    material: &Material,
    data_bytes: u64,
    (plans, shards): (SetPlans, &Arc<ShardStore>),
    directory: Arc<RunDirectory>,
    checkpoint: Option<Checkpoint>,
    (desk, exams): (Desk, Arc<Exams>),
    observer: Box<dyn Observer + Send>,
    part: Option<&Part>,
) -> Result<driver::Setup> {
    let Material { config, data, network, .. } = material;
    let run = run_number(config, &data.fingerprint);
    let settings = engine::Settings {
        run,
        network: network.clone(),
        sets: plans.clone(),
        seed: config.seed,
        minibatch: config.minibatch,
        stop: stop_rules(config),
        evaluate_every: config.evaluate_every,
        // A target is of no use that nobody measures.
        evaluate_training: config.evaluate_training || config.target_loss.is_some(),
        examines: data.test.as_ref().is_some_and(|test| !closing::is_quick(network, test)),
        local_help: local_help(config.local_workers),
        audit: config.audit.0,
        on_lie: config.on_lie.into(),
    };
    let snapshot = match &checkpoint {
        Some(checkpoint) => checkpoint.snapshot.clone(),
        None => first_snapshot(material, &plans.training),
    };
    let source = match shards.is_outside() {
        true => {
            let (features, preprocessing) = (network.features(), data.preprocessing.clone());
            Source::Shards(ShardReader::new(Arc::clone(shards), features, network.task(), preprocessing))
        }
        false => Source::Prepared(Arc::clone(data)),
    };
    let is_taken_over = part.is_some() && checkpoint.is_some();
    let engine = Engine::new(settings, snapshot, &secret()?);
    let engine = match &checkpoint {
        Some(checkpoint) => engine.with_past(&checkpoint.past, directory.earlier()),
        None => engine,
    };
    let engine = match part {
        None => Helm::Alone(Box::new(engine)),
        Some(part) => part.helm(engine, network.parameters()).await?,
    };
    Ok(driver::Setup {
        engine,
        shared: part.map(Part::shared),
        is_paused: part.is_some_and(Part::is_paused),
        facts: summary::facts(material, run, data_bytes),
        history: history(&directory, checkpoint.as_ref())?,
        resumed: checkpoint,
        begin: BeginRule {
            // Whoever takes over goes on at once.
            wait_for: if is_taken_over { 0 } else { config.wait_for as usize },
            patience: config.wait_seconds.map(|seconds| Duration::from_secs(seconds.into())),
        },
        limits: Limits { rounds: config.rounds, epochs: config.epochs, seconds: config.max_seconds },
        directory,
        referee: Referee {
            network: network.clone(),
            arithmetic: config.arithmetic,
            seed: config.seed,
            minibatch: config.minibatch,
            source,
            sets: plans,
        },
        data: Arc::clone(data),
        desk,
        exams,
        observer,
    })
}

/// What decides who is audited. The operating system draws it, so that nobody can foresee it.
fn secret() -> Result<Secret> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
    Ok(Secret::new(bytes))
}

/// Who may come in, and how.
struct Admission<'a> {
    /// The token that volunteers need, if any.
    invite: Option<&'a str>,
    tls: Option<Tls>,
    /// The operator's token.
    operator: &'a str,
    office: Office,
}

/// What the server serves.
fn site(
    material: &Material,
    welcome: Welcome,
    shards: Arc<ShardStore>,
    status: watch::Receiver<Arc<Status>>,
    driver: DriverHandle,
    trial: Trial,
    admission: Admission<'_>,
) -> Site {
    let config = &material.config;
    let Admission { invite, tls, operator, office } = admission;
    Site {
        config: ServerConfig {
            allowed_hosts: server::allowed_hosts(&config.allow_host, config.public_url.as_ref()),
            trusted_proxies: config.trusted_proxy.clone(),
            invitation: invite.map(Ticket::invitation),
            operator: Some(Ticket::operator(operator)),
            office: Some(Arc::new(office)),
            tls,
            shard_url: config.shard_url.clone(),
            connections_max: server::connections_max(),
            metrics: MetricsAccess::from_environment(config.public_metrics),
            ..ServerConfig::default()
        },
        welcome,
        parameters: material.network.parameters(),
        known_answer: model::known_answer::digest(config.arithmetic),
        shards,
        status,
        audience: Arc::default(),
        trial: Some(Arc::new(trial)),
        driver,
        next_session: Arc::new(AtomicU64::new(LOCAL_SESSION + 1)),
    }
}

/// Waits for the end of the training, or for the wish to end it, and saves the model. `None` if another process leads.
async fn train_and_save(
    mut outcome: oneshot::Receiver<Ending>,
    orders: &mpsc::Sender<Order>,
    stop: watch::Receiver<bool>,
    material: Arc<Material>,
    directory: Arc<RunDirectory>,
    unsaved: &Unsaved,
    part: Option<&Part>,
) -> Result<Worked> {
    let outcome = tokio::select! {
        outcome = &mut outcome => outcome,
        () = until(stop.clone()) => {
            let _ = orders.send(Order::Stop).await;
            outcome.await
        }
    };
    let outcome = outcome.context("the engine stopped unexpectedly; the last checkpoint can be resumed")?;
    let outcome = match outcome {
        Ending::Trained(outcome) => outcome,
        Ending::SteppedDown(unwritten, checkpoint) => {
            let both = tokio::task::spawn_blocking(|| unwritten.wait()).await?;
            let Some((checkpoint, part)) = checkpoint.zip(part) else { return Ok(Worked::SteppedDown(None)) };
            if let Err(error) = save_kept(&checkpoint, both, &directory) {
                tracing::warn!("{error}");
            }
            return Ok(Worked::SteppedDown(part.keep(*checkpoint)));
        }
    };
    let mut summary = summary::summarize(&outcome, material.network.parameters(), &directory);
    let (for_all, unwritten) = (outcome.for_all, outcome.unwritten);
    // An older checkpoint must not overtake the last one.
    let both = tokio::task::spawn_blocking(|| unwritten.wait()).await?;
    let model = Arc::new(saved_model(&material, Arc::clone(&outcome.weights)));
    let patience = Duration::from_secs(material.config.save_seconds.into());
    let helpers = outcome.helpers;
    let last = part.map(|_| outcome.checkpoint.clone());
    let checkpoint = (outcome.checkpoint, both);
    saving::save(&directory, &model, checkpoint, patience, orders, unsaved, stop.clone()).await?;
    if outcome.reason != StopReason::Interrupted {
        // A sweep of a hundred large networks would fill the disk with them.
        directory.forget_earlier().unwrap_or_else(|error| tracing::warn!("{error}"));
    }
    if let (Some(part), Some(last)) = (part, &last) {
        part.save_last(last.to_bytes(), &directory, &stop).await?;
    }
    let examination = outcome.examination;
    let measure = move || {
        let mistakes = closing::measure(&mut summary, &model, &material.data, examination.as_deref());
        // The report says again what other files hold, so a training does not fail with it.
        if let Err(error) = summary::report(&summary, mistakes, &helpers, &material, &directory) {
            tracing::warn!("the report cannot be written: {error}");
        }
        summary
    };
    let summary = tokio::task::spawn_blocking(measure).await?;
    Ok(Worked::Trained(Box::new(Trained { summary, for_all, last })))
}

/// Saves the state that this process may go on with, in place of `both` checkpoints or the last one.
fn save_kept(checkpoint: &Checkpoint, both: bool, directory: &RunDirectory) -> Result<(), RunError> {
    let (bytes, rounds) = (checkpoint.to_bytes(), checkpoint.snapshot.counters.rounds);
    match both {
        true => directory.replace_checkpoints(Checkpoint::VERSION, &bytes, rounds),
        false => directory.save_checkpoint(Checkpoint::VERSION, &bytes, rounds),
    }
}

fn saved_model(material: &Material, weights: Arc<[f32]>) -> SavedModel {
    let Material { config, data, network, .. } = material;
    SavedModel {
        network: network.clone(),
        weights,
        arithmetic: config.arithmetic,
        seed: config.seed,
        preparation: data.preparation.clone(),
        preprocessing: data.preprocessing.clone(),
        target_scaling: data.target_scaling.clone(),
    }
}

/// The state at the beginning of a run: a function of its settings, the network and the cut of the data
/// alone.
fn first_snapshot(material: &Material, training: &SetPlan) -> Snapshot {
    let Material { config, network, start, .. } = material;
    let start = start.clone().unwrap_or_else(|| network.initialize(config.seed).into());
    let (start, statistics) = start.split_at(network.trainable());
    Snapshot {
        optimizer: optimizer::optimizer(config, start.into(), training),
        scales: KnownScales::default(),
        statistics: Statistics::new(statistics.into()),
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
        patience: config.patience.filter(|patience| *patience > 0),
        ..StopRules::iterations(config.iterations)
    }
}

/// The course of a training that is resumed, from its metrics. What they tell of later iterations is cut off: these
/// are done again, and may have counted a lie that was found out just before the process died.
fn history(directory: &RunDirectory, checkpoint: Option<&Checkpoint>) -> Result<Vec<DetailPoint>> {
    let accepted = checkpoint.and_then(|checkpoint| checkpoint.snapshot.accepted);
    directory.cut_metrics(accepted.map(|accepted| accepted.iteration))?;
    Ok(load_metrics(directory.path())?)
}

fn local_help(workers: LocalWorkers) -> LocalHelp {
    match workers {
        LocalWorkers::Auto => LocalHelp::Auto,
        LocalWorkers::Count(0) => LocalHelp::Never,
        LocalWorkers::Count(_) => LocalHelp::Always,
    }
}

/// What a training will ask of this machine.
pub fn load_of(material: &Material) -> Load {
    let Material { config, network, .. } = material;
    Load {
        parameters: network.parameters() as u64,
        memory: config.memory.unwrap_or(0).into(),
        cores: local_cores(config.local_workers).into(),
        has_gateways: config.link.is_some(),
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

/// Waits until `flag` is true (or its sender is gone).
async fn until(mut flag: watch::Receiver<bool>) {
    let _ = flag.wait_for(|raised| *raised).await;
}
