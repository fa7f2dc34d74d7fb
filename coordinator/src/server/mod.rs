//! The server: pages, shards, status and the volunteers' channels over one listener.
//!
//! [`serve`] accepts connections itself, so that it controls their number, their peers and their deadlines.
//! Warp's filters (`routes`) answer HTTP on them, behind the checks of Host and Origin (`gate`). A request
//! for `/channel` turns its connection into a WebSocket (`upgrade`), and the task that served the connection
//! goes on as the volunteer's session (`session`). So each connection has one task, from accept to close.
//! [`crate::driver::exchange`] holds what a session and the engine's driver say to each other.
//!
//! Deliberately absent: HTTP/2, and any state of the training.

mod addresses;
mod arriving;
mod attention;
mod audience;
mod bench;
mod body;
mod budget;
mod connections;
mod descriptors;
mod ending;
mod gate;
mod greeting;
mod intake;
mod lanes;
pub(crate) mod limits;
mod listening;
mod mail;
mod memory;
mod metrics;
mod operator;
mod outgoing;
mod owed;
mod pace;
mod places;
mod predict;
mod rates;
mod replies;
mod rights;
mod routes;
mod rows;
mod session;
mod socket;
#[cfg(unix)]
mod socket_file;
mod speaking;
mod ticket;
mod tls;
mod trial;
mod upgrade;
mod visit;

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::available_parallelism;
use std::time::Duration;

use futures_util::TryFutureExt as _;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use protocol::message::Welcome;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::HeaderValue;
use warp::http::header::STRICT_TRANSPORT_SECURITY;
use warp::reply::Response;

use self::arriving::Arriving;
use self::connections::{Slot, Slots};
use self::intake::Buffers;
use self::lanes::Lanes;
use self::limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEADERS_MAX, HTTP_AGE_MAX, SHUTDOWN_MAX};
use self::places::Places;
use self::routes::Gate;
use self::upgrade::Visitor;
use crate::config::{Cidr, ShardUrl};
use crate::data::ShardStore;
use crate::driver::exchange::DriverHandle;
use crate::operator::Office;
use crate::report::status::Status;
use crate::traffic::Counted;
use crate::trial::Trial;

pub use self::addresses::{addresses, allowed_hosts, pages, told_of_proxy};
pub use self::audience::Audience;
pub use self::bench::serve_bench;
pub use self::descriptors::connections_max;
pub use self::memory::worst_case_bytes;
pub use self::metrics::MetricsAccess;
pub use self::predict::{PredictConfig, serve_model};
pub use self::socket::{BindError, Socket, bind};
pub(crate) use self::socket::{Peer, Stream};
pub use self::ticket::Ticket;
pub(crate) use self::ticket::cookie_of;
pub use self::tls::{Tls, TlsError};

/// The parts of a server.
#[derive(Debug)]
pub struct Site {
    /// Settings.
    pub config: ServerConfig,
    /// The description of the run for every volunteer; each session fills in its own number.
    pub welcome: Welcome,
    /// Parameters of the network.
    pub parameters: usize,
    /// [`model::known_answer::digest`] for the run's arithmetic.
    pub known_answer: [u8; 32],
    /// The run's shards.
    pub shards: Arc<ShardStore>,
    /// The state of the run that `/api/status` shows.
    pub status: watch::Receiver<Arc<Status>>,
    /// The pages that look on.
    pub audience: Arc<Audience>,
    /// What the page `/try` gets; `None` if there is nothing to try.
    pub trial: Option<Arc<Trial>>,
    /// The way to the engine's driver.
    pub driver: DriverHandle,
    /// The number of the next session, shared with everything else that opens sessions with the driver.
    pub next_session: Arc<AtomicU64>,
}

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Host names that requests may use, besides IP addresses and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// Proxies whose forwarded headers are believed.
    pub trusted_proxies: Vec<Cidr>,
    /// The invitation that visitors need, if any.
    pub invitation: Option<Ticket>,
    /// What the operator needs, if there is one.
    pub operator: Option<Ticket>,
    /// What the operator sees and does.
    pub office: Option<Arc<Office>>,
    /// The certificate; `None` serves plain HTTP.
    pub tls: Option<Tls>,
    /// Where volunteers ask for shards first.
    pub shard_url: Option<ShardUrl>,
    /// Most volunteers at the same time.
    pub volunteers_max: usize,
    /// Most open connections, those of volunteers included.
    pub connections_max: usize,
    /// How long the server waits for others.
    pub deadlines: Deadlines,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            invitation: None,
            operator: None,
            office: None,
            tls: None,
            shard_url: None,
            volunteers_max: 10_000,
            connections_max: CONNECTIONS_MAX,
            deadlines: Deadlines::default(),
            metrics: MetricsAccess::default(),
        }
    }
}

/// How long the server waits for others.
#[derive(Debug, Clone)]
pub struct Deadlines {
    /// For each step of a newcomer: the head of a request, the first message, the answer to the welcome.
    pub handshake: Duration,
    /// Between the pings and heartbeats that keep a quiet volunteer's connection alive, and prove it to both
    /// ends.
    pub heartbeat: Duration,
    /// Until a volunteer that neither sends nor takes anything counts as gone.
    pub silence: Duration,
    /// The span of time over which a transfer must reach the least rate, either way.
    pub stall: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines {
            handshake: Duration::from_secs(10),
            heartbeat: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            stall: Duration::from_secs(30),
        }
    }
}

/// Serves until `shutdown` completes. Then ends every connection within a few seconds, whatever the other
/// ends do.
pub async fn serve(socket: Socket, site: Arc<Site>, shutdown: impl Future<Output = ()>) {
    let (close, closing) = watch::channel(false);
    let slots = Slots::new(site.config.connections_max);
    let gate = Gate::new(&site.config, Arc::clone(&slots));
    let server = Arc::new(Server {
        routes: routes::routes(Arc::clone(&site), Arc::clone(&gate)).boxed(),
        places: Places::new(site.config.volunteers_max, site.driver.doors.clone()),
        arriving: Arriving::new(),
        unpacking: Arc::new(Semaphore::new(available_parallelism().map_or(1, NonZero::get))),
        lanes: Lanes::new(),
        buffers: Arc::default(),
        gate: Arc::clone(&gate),
        site,
        closing,
    });
    accept_all(socket, slots, gate, shutdown, close, move |stream, peer, slot| {
        connection(Arc::clone(&server), stream, peer, slot)
    })
    .await;
}

/// Serves routes without volunteers or encryption until `shutdown` completes.
async fn serve_routes(
    socket: Socket,
    slots: Arc<Slots>,
    gate: Arc<Gate>,
    routes: BoxedFilter<(Response,)>,
    shutdown: impl Future<Output = ()>,
) {
    let (close, closing) = watch::channel(false);
    let deadline = Deadlines::default().handshake;
    accept_all(socket, slots, gate, shutdown, close, move |stream: Stream, peer: Peer, slot| {
        let (routes, closing) = (routes.clone(), closing.clone());
        async move {
            let visitor = Visitor::new(peer, false);
            http(routes, deadline, closing, stream, visitor, false).await;
            drop(slot);
        }
    })
    .await;
}

/// Accepts connections, each in a task of its own, until `shutdown` completes. Then sets `close` and waits a
/// few seconds for the connections to end.
async fn accept_all<C: Future<Output = ()> + Send + 'static>(
    socket: Socket,
    slots: Arc<Slots>,
    gate: Arc<Gate>,
    shutdown: impl Future<Output = ()>,
    close: watch::Sender<bool>,
    connection: impl Fn(Stream, Peer, Slot) -> C,
) {
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => report_panic(ended),
            (stream, peer, slot) = accept(&socket, &slots, &gate) => {
                connections.spawn(connection(stream, peer, slot));
            }
        }
    }
    drop(socket);
    close.send_replace(true);
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            report_panic(ended);
        }
    };
    if timeout(SHUTDOWN_MAX, all_ended).await.is_err() {
        tracing::debug!("cut the connections that did not end in time");
    }
}

/// The state that all connections share.
#[derive(Debug)]
struct Server {
    site: Arc<Site>,
    routes: BoxedFilter<(Response,)>,
    /// Places for volunteers.
    places: Arc<Places>,
    /// Room for packed vectors on their way.
    arriving: Arriving,
    /// Free turns to unpack.
    unpacking: Arc<Semaphore>,
    lanes: Lanes,
    /// What channels read into.
    buffers: Arc<Buffers>,
    gate: Arc<Gate>,
    closing: watch::Receiver<bool>,
}

impl Server {
    /// Waits until the server shuts down.
    async fn closing(&self) {
        closes(self.closing.clone()).await;
    }
}

async fn closes(mut closing: watch::Receiver<bool>) {
    // An error means that the server has ended already.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// The next connection for which there is room.
async fn accept(socket: &Socket, slots: &Arc<Slots>, gate: &Gate) -> (Stream, Peer, Slot) {
    let mut has_complained = false;
    loop {
        let place = slots.place().await;
        match socket.accept().await {
            Ok((stream, peer)) => match slots.occupy(place, (!gate.trusts(peer)).then_some(peer.ip())) {
                Some(slot) => return (stream, peer, slot),
                None => tracing::debug!(%peer, "refused a connection: this address has too many"),
            },
            Err(error) => {
                if !std::mem::replace(&mut has_complained, true) {
                    tracing::warn!(%error, "cannot accept connections for now; is the limit of open files too low?");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection from accept to close: HTTP, then perhaps a volunteer's session.
async fn connection(server: Arc<Server>, stream: Stream, peer: Peer, slot: Slot) {
    stream.tune();
    let deadline = server.site.config.deadlines.handshake;
    match (&server.site.config.tls, stream) {
        (None, stream) => converse(&server, stream, Visitor::new(peer, false), true).await,
        (Some(tls), Stream::Tcp(stream)) => {
            // A browser that was told once to use TLS only would not even show its warning of a certificate that
            // nobody vouches for.
            let strict = !tls.is_self_signed();
            if let Some(stream) = Box::pin(tls.accept(stream, deadline)).await {
                // In a box of its own: with TLS it is larger, and most have the smaller one.
                Box::pin(converse(&server, stream, Visitor::new(peer, true), strict)).await;
            }
        }
        // The settings refuse the two together. Nobody is served in plain where encryption was asked for.
        #[cfg(unix)]
        (Some(_), Stream::Unix(_)) => {}
    }
    drop(slot);
}

/// HTTP, then perhaps a volunteer's session, over TLS or not.
async fn converse(
    server: &Server,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    visitor: Visitor,
    strict: bool,
) {
    // In a box, so that its memory is freed before a session of many hours begins.
    let (routes, closing) = (server.routes.clone(), server.closing.clone());
    let deadline = server.site.config.deadlines.handshake;
    Box::pin(http(routes, deadline, closing, stream, visitor.clone(), strict)).await;
    if let Some(channel) = visitor.channel(&server.buffers).await {
        session::run(server, channel, visitor.address()).await;
    }
}

/// Serves HTTP on one connection. Each request's head must arrive within `deadline`. If `strict`, visitors with
/// encrypted connections are told to come with nothing else.
async fn http(
    routes: BoxedFilter<(Response,)>,
    deadline: Duration,
    closing: watch::Receiver<bool>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    visitor: Visitor,
    strict: bool,
) {
    let routes = TowerToHyperService::new(warp::service(routes));
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(visitor.clone());
        let visitor = visitor.clone();
        routes.call(request).map_ok(move |mut response| {
            if strict && visitor.is_secure() {
                response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, STRICTLY);
            }
            response
        })
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadline)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Counted(stream)), service)
        .with_upgrades();
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = too_old_or_closing(closing) => {
            served.as_mut().graceful_shutdown();
            timeout(HTTP_AGE_MAX, served).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Half a year without plain HTTP.
const STRICTLY: HeaderValue = HeaderValue::from_static("max-age=15768000");

async fn too_old_or_closing(closing: watch::Receiver<bool>) {
    let _ = timeout(HTTP_AGE_MAX, closes(closing)).await;
}

fn report_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed; this is an error in the coordinator");
    }
}
