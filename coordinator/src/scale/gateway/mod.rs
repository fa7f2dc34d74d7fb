//! `shoal gateway`: serves volunteers for a training that another process coordinates.
//!
//! It has the pages, the channel and the shards of a coordinator, and a [floor](engine::floor) of volunteers. It has no
//! data, no optimizer and no state that would be missed: whoever stops it loses the results of a moment.

mod driver;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use engine::floor::FloorSettings;
use engine::{LocalHelp, Secret};
use model::{Network, NetworkSpec};
use protocol::frame::{DownwardFrame, decode_downward};
use protocol::message::{FromCoordinator, Welcome};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;

use super::archive::Record;
use super::{About, Archive, Link, ScaleError, Subjects, Waits, open, porch, random, until_there};
use crate::config::{Cidr, HostName, Invite, LinkUrl, PublicUrl, RunConfig, ShardUrl, StoreUrl};
use crate::data::ShardStore;
use crate::driver::{Referee, ShardReader, Source};
use crate::report::progress;
use crate::report::status::Status;
use crate::server::{self, MetricsAccess, ServerConfig, Site, Socket, Ticket, Tls};
use crate::{traffic, volunteer};

/// The session of the gateway's own worker.
const LOCAL_SESSION: u64 = 0;
const NO_RUN: &str = "This gateway waits for its coordinator to begin the training.";
/// How often a store that holds no run yet is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a gateway tells how it fares.
const ABOUT_EVERY: Duration = Duration::from_secs(1);
/// How long it may take to give everything back.
const STOP_MAX: Duration = Duration::from_secs(10);

/// What the user says of a gateway.
pub struct GatewayConfig {
    /// The bus.
    pub link: LinkUrl,
    /// The store.
    pub store: StoreUrl,
    /// Its name for people.
    pub name: String,
    /// The page's address for visitors, where a proxy is in front.
    pub public_url: Option<PublicUrl>,
    /// Host names that requests may use, besides IP addresses and `localhost`.
    pub allow_host: Vec<HostName>,
    /// Proxies whose forwarded headers are believed.
    pub trusted_proxy: Vec<Cidr>,
    /// Whether everybody may read the metrics.
    pub public_metrics: bool,
    /// Where volunteers ask for shards first, if not where the coordinator says.
    pub shard_url: Option<ShardUrl>,
    /// Cores of its own worker; with 0 it only takes stuck units.
    pub cores: u16,
}

/// How a gateway ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayEnd {
    /// The training has ended.
    Finished,
    /// The user has stopped it.
    Stopped,
}

/// Serves volunteers until the training has ended or `stop` turns true. `told` gets sentences for the user.
///
/// # Errors
/// When bus or store refuse this process, or what they hold is of another version. It waits for those that are away.
pub async fn run(
    config: GatewayConfig,
    socket: Socket,
    tls: Option<Tls>,
    told: impl Fn(String),
    mut stop: watch::Receiver<bool>,
) -> Result<GatewayEnd> {
    crate::assets::require_worker()?;
    let has_tls = tls.is_some() || config.public_url.as_ref().is_some_and(PublicUrl::is_secure);
    if let Some(url) = &config.shard_url {
        url.check_for(has_tls).map_err(|problem| anyhow::anyhow!("--shard-url: {problem}"))?;
    }
    let begun = porch::keep(&socket, NO_RUN, await_run(&config, &told, &stop)).await?;
    let Some((archive, record, link)) = begun else { return Ok(GatewayEnd::Stopped) };
    let run =
        Run::of(&record).with_context(|| format!("cannot serve the run in the store {}", config.store))?;
    let shard_url = config.shard_url.clone().or_else(|| {
        let url = run.settings.shard_url.clone()?;
        let unsuitable =
            |problem: &String| tracing::warn!("this gateway does not use the run's --shard-url: {problem}");
        url.check_for(has_tls).inspect_err(unsuitable).is_ok().then_some(url)
    });
    let subjects = Subjects::of(record.realm);
    let shards = Arc::new(ShardStore::stored(archive.store().clone(), Handle::current(), &run.welcome.sets));
    let pages = server::pages(&socket, config.public_url.as_ref(), tls.is_some());
    let links: Vec<String> =
        pages.iter().map(|page| progress::Link::new(page, run.invite.as_deref()).url).collect();
    for link in &links {
        told(format!("Volunteers join at {link}"));
    }
    if let Some(sentence) = server::told_of_proxy(socket.place()) {
        told(sentence);
    }

    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(ScaleError::Random)?;
    let parts = driver::Parts {
        floor: run.floor(if config.cores == 0 { LocalHelp::Never } else { LocalHelp::Auto }),
        secret: Secret::new(secret),
        incarnation: random()?,
        referee: run.referee(&shards),
        status: run.status.clone(),
        archive: archive.clone(),
        link: link.clone(),
        subjects: subjects.clone(),
    };
    let running = driver::start(parts, Handle::current()).await?;
    let driver::Running { sessions, status, crowd, orders, mut ended, thread } = running;
    let site =
        Arc::new(site(&config, &run, shard_url.clone(), Arc::clone(&shards), status, sessions.clone(), tls));
    let audience = Arc::clone(&site.audience);
    let (shut_down, mut shutting_down) = watch::channel(false);
    let server = tokio::spawn(server::serve(socket, site, async move {
        let _ = shutting_down.wait_for(|down| *down).await;
    }));
    if let Some(url) = shard_url {
        let shard = run.welcome.sets.training.shards.first().copied();
        tokio::spawn(volunteer::warn_of_mirror(url, shard, pages[0].origin()));
    }
    let local =
        volunteer::spawn_local(config.cores.max(1), run.welcome.clone(), shards, sessions, LOCAL_SESSION);
    let telling = tokio::spawn(tell_of_oneself(config.name.clone(), links, link.clone(), subjects, crowd));

    let end = tokio::select! {
        end = &mut ended => end.unwrap_or(GatewayEnd::Stopped),
        _ = stop.wait_for(|stop| *stop) => {
            let _ = orders.send(driver::Order::Stop).await;
            tokio::time::timeout(STOP_MAX, ended).await.map_or(GatewayEnd::Stopped, |end| end.unwrap_or(GatewayEnd::Stopped))
        }
    };
    telling.abort();
    local.abort();
    if end == GatewayEnd::Finished {
        audience.all_told().await;
    }
    link.settle().await;
    shut_down.send_replace(true);
    server.await.context("the server failed")?;
    drop(orders);
    let _ = tokio::task::spawn_blocking(|| thread.join()).await;
    Ok(end)
}

/// Waits until the coordinator has begun the run, and for store and bus if they are away. `None` if `stop` turned true.
async fn await_run(
    config: &GatewayConfig,
    told: &impl Fn(String),
    stop: &watch::Receiver<bool>,
) -> Result<Option<(Archive, Record, Link)>, ScaleError> {
    let Some(archive) = open(&config.store, stop).await? else { return Ok(None) };
    let mut has_told = false;
    let record = until_there(Waits::Always, stop, async || {
        loop {
            if let Some(record) = archive.record().await? {
                return Ok(record);
            }
            if !std::mem::replace(&mut has_told, true) {
                told(format!("The store {} holds no run yet; waiting for its coordinator.", archive.store()));
            }
            sleep(LOOK_EVERY).await;
        }
    });
    let Some(record) = record.await? else { return Ok(None) };
    let link = Link::connect(&config.link, "shoal gateway", stop).await?;
    Ok(link.map(|link| (archive, record, link)))
}

/// A run as its record tells it.
struct Run {
    welcome: Welcome,
    network: Network,
    settings: RunConfig,
    invite: Option<String>,
    status: Status,
}

impl Run {
    fn of(record: &Record) -> Result<Run> {
        let settings = RunConfig::from_toml(std::path::Path::new("run"), &record.settings)?;
        let DownwardFrame::Message(FromCoordinator::Welcome(welcome)) = decode_downward(&record.welcome)?
        else {
            anyhow::bail!("its record names no network");
        };
        let spec = NetworkSpec::from_json(&welcome.network)?;
        let network = Network::new(&spec, welcome.features as usize, welcome.task)?;
        let invite = match &settings.invite {
            Some(Invite::Token(token)) => Some(token.clone()),
            Some(Invite::Auto) | None => None,
        };
        let status = Status { sentence: "Waiting for the coordinator.".to_owned(), ..record.facts.status() };
        Ok(Run { welcome: *welcome, network, settings, invite, status })
    }

    fn floor(&self, local_help: LocalHelp) -> FloorSettings {
        FloorSettings {
            run: self.welcome.run,
            network: self.network.clone(),
            sets: self.welcome.sets.clone(),
            seed: self.welcome.seed,
            minibatch: self.welcome.minibatch,
            local_help,
            audit: self.settings.audit.0,
        }
    }

    fn referee(&self, shards: &Arc<ShardStore>) -> Referee {
        let Welcome { features, task, preprocessing, sets, seed, minibatch, arithmetic, .. } = &self.welcome;
        let reader = ShardReader::new(Arc::clone(shards), *features as usize, *task, preprocessing.clone());
        Referee {
            network: self.network.clone(),
            arithmetic: *arithmetic,
            seed: *seed,
            minibatch: *minibatch,
            source: Source::Shards(reader),
            sets: sets.clone(),
        }
    }
}

fn site(
    config: &GatewayConfig,
    run: &Run,
    shard_url: Option<ShardUrl>,
    shards: Arc<ShardStore>,
    status: watch::Receiver<Arc<Status>>,
    driver: crate::driver::exchange::DriverHandle,
    tls: Option<Tls>,
) -> Site {
    Site {
        config: ServerConfig {
            allowed_hosts: server::allowed_hosts(&config.allow_host, config.public_url.as_ref()),
            trusted_proxies: config.trusted_proxy.clone(),
            invitation: run.invite.as_deref().map(Ticket::invitation),
            tls,
            shard_url,
            connections_max: server::connections_max(),
            metrics: MetricsAccess::from_environment(config.public_metrics),
            ..ServerConfig::default()
        },
        welcome: run.welcome.clone(),
        parameters: run.network.parameters(),
        known_answer: model::known_answer::digest(run.welcome.arithmetic),
        shards,
        status,
        audience: Arc::default(),
        trial: None,
        driver,
        next_session: Arc::new(AtomicU64::new(LOCAL_SESSION + 1)),
    }
}

/// Tells the leader, every second, how this gateway fares.
async fn tell_of_oneself(
    name: String,
    links: Vec<String>,
    link: Link,
    subjects: Subjects,
    crowd: watch::Receiver<driver::Crowd>,
) {
    let (began, Ok(process)) = (Instant::now(), random()) else { return };
    let links = About::links_of(links);
    loop {
        let driver::Crowd { volunteers, cores, fused_capable, examples } = *crowd.borrow();
        let about = About {
            process,
            name: name.clone(),
            links: links.clone(),
            volunteers,
            cores,
            fused_capable,
            examples,
            bytes: traffic::sent() + traffic::received(),
            seconds: began.elapsed().as_secs_f64(),
        };
        link.say(&subjects.about, None, about.encode());
        sleep(ABOUT_EVERY).await;
    }
}
