//! The filters: the answer under each path.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::upgrade::OnUpgrade;
use serde::Serialize;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::Instant;
use warp::filters::path::FullPath;
use warp::http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderValue, IF_NONE_MATCH, RETRY_AFTER, SET_COOKIE, VARY,
};
use warp::http::uri::Authority;
use warp::http::{HeaderName, Method, StatusCode};
use warp::reject::{InvalidHeader, LengthRequired, MethodNotAllowed, PayloadTooLarge, Reject, Rejection};
use warp::reply::Response;
use warp::{Filter, Reply};

use super::connections::Slots;
use super::gate::{self, Denied};
use super::limits::{BENCH_RESULT_BYTES_MAX, COMPRESSIONS_MAX, CROWDED_SECONDS, TOKEN_BYTES_MAX};
use super::metrics::MetricsAccess;
use super::rates::{Asked, Rates, TooMuch};
use super::replies::{lists, words};
use super::ticket::Ticket;
use super::trial;
use super::upgrade::{self, Visitor};
use super::visit::{Visit, is_proxy};
use super::{Peer, ServerConfig, Site, operator};
use crate::assets::{Asset, asset};
use crate::bench;
use crate::bench::report::Outcome;
use crate::config::{Cidr, ShardUrl};
use crate::driver::doors::network_of;
use crate::report::status::{CurvePoint, RunPhase, Status};

/// Sent with every response, beside the [`policy`].
///
/// The two cross-origin headers isolate the pages from the sites that opened them. Browsers also demand them for
/// precise timers and shared memory.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 6] = [
    (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
    (HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(
            "camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=(), hid=(), midi=(), \
             display-capture=(), screen-wake-lock=(self)",
        ),
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-embedder-policy"), HeaderValue::from_static("require-corp")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// What pages and their workers may load. Workers obey the policy that came with their own script, so scripts carry it
/// too. `shards` is where else shards come from.
fn policy(shards: Option<&ShardUrl>) -> HeaderValue {
    let elsewhere = shards.map_or_else(String::new, |url| format!(" {}", url.origin()));
    let policy = format!(
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'{elsewhere}; \
         object-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("an origin is plain text")
}

/// Who may ask for what.
#[derive(Debug)]
pub(super) struct Gate {
    allowed_hosts: Vec<String>,
    trusted: Vec<Cidr>,
    invitation: Option<Ticket>,
    operator: Option<Ticket>,
    rates: Rates,
    slots: Arc<Slots>,
    /// Whether it has been said that a proxy names no visitors.
    has_complained: AtomicBool,
    policy: HeaderValue,
}

impl Gate {
    /// The gate of a server with these settings.
    pub(super) fn new(config: &ServerConfig, slots: Arc<Slots>) -> Arc<Gate> {
        Arc::new(Gate {
            allowed_hosts: config.allowed_hosts.clone(),
            trusted: config.trusted_proxies.clone(),
            invitation: config.invitation.clone(),
            operator: config.operator.clone(),
            rates: Rates::new(Instant::now()),
            slots,
            has_complained: AtomicBool::new(false),
            policy: policy(config.shard_url.as_ref()),
        })
    }

    /// Whether a connection is a trusted proxy's.
    pub(super) fn trusts(&self, peer: Peer) -> bool {
        is_proxy(peer, &self.trusted)
    }

    /// Lets a request in, or says why not.
    fn admit(
        &self,
        visitor: &Visitor,
        authority: Option<Authority>,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(), Rejection> {
        let visit = Visit::of(visitor.peer, authority, visitor.encrypted, headers, &self.trusted);
        let address = visit.address;
        if visitor.peer.is_vouched_for() && address == visitor.peer.ip() {
            self.complain();
        }
        let mut judged = gate::check(headers, visit.authority.as_ref(), &self.allowed_hosts);
        visitor.visits(visit);
        // Pages and scripts hold nothing that another site could not have from anywhere. Answered, they can at
        // least say why the rest is not.
        let is_public = method.is_safe() && asset(path).is_some();
        if is_public && matches!(judged, Err(Denied::Origin { .. })) {
            judged = Ok(());
        }
        judged.map_err(warp::reject::custom)?;
        self.take(address, Asked::Request)?;
        match &self.invitation {
            Some(invitation)
                if !DOORSTEP.contains(&path)
                    && !invitation.admits(headers)
                    && !self.admits_operator(headers) =>
            {
                Err(warp::reject::custom(Denied::Uninvited))
            }
            _ => Ok(()),
        }
    }

    /// Says once what the proxy at a Unix socket should do.
    fn complain(&self) {
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a request over the Unix socket names no visitor, and all such requests share the limits of one address; \
                 have the proxy send X-Forwarded-For (nginx: proxy_set_header X-Forwarded-For \
                 $proxy_add_x_forwarded_for;)"
            );
        }
    }

    /// Whether a request comes from the operator.
    pub(super) fn admits_operator(&self, headers: &HeaderMap) -> bool {
        self.operator.as_ref().is_some_and(|operator| operator.admits(headers))
    }

    /// Counts a look at the status.
    pub(super) fn count_look(&self, visitor: &Visitor) -> Result<(), Rejection> {
        self.take(visitor.address(), Asked::Status)
    }

    pub(super) fn take(&self, address: IpAddr, asked: Asked) -> Result<(), Rejection> {
        self.rates.take(address, asked, Instant::now()).map_err(warp::reject::custom)
    }

    /// Counts a volunteer that joins and has never helped before.
    pub(super) fn count_join(&self, address: IpAddr, now: Instant) -> Result<(), TooMuch> {
        self.rates.take(address, Asked::Join, now)
    }

    /// Counts a visitor's channel.
    fn count_channel(&self, visitor: &Visitor) -> Result<(), Rejection> {
        let address = visitor.address();
        self.take(address, Asked::Channel)?;
        if self.trusts(visitor.peer) {
            let counted = self.slots.count(address).ok_or_else(|| warp::reject::custom(Crowded))?;
            visitor.keep(counted);
        }
        Ok(())
    }
}

/// An address has the most connections that it may have.
#[derive(Debug)]
struct Crowded;

/// What those may see that are not invited.
const DOORSTEP: [&str; 8] =
    ["/", "/door.js", "/theme.css", "/logo.svg", "/invite", "/dashboard", "/dashboard.html", "/operator"];

/// All answers of the server. The request must carry a [`Visitor`] among its extensions.
pub(super) fn routes(
    site: Arc<Site>,
    gate: Arc<Gate>,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let shards_ahead = Arc::clone(&site.shards);
    let answers = channel(Arc::clone(&gate))
        .or(shards(Arc::clone(&site), Arc::clone(&gate)))
        .unify()
        .or(status(Arc::clone(&site), Arc::clone(&gate)))
        .unify()
        .or(history(site.status.clone(), Arc::clone(&gate)))
        .unify()
        .or(trial::routes(Arc::clone(&site), Arc::clone(&gate)))
        .unify()
        .or(metrics(Arc::clone(&site)))
        .unify()
        .or(bench_examples())
        .unify()
        .or(door(Arc::clone(&gate)))
        .unify()
        .or(operator::door(Arc::clone(&gate)))
        .unify()
        .or(operator::api(Arc::clone(&site), Arc::clone(&gate)))
        .unify()
        .or(exchange("invite", Arc::clone(&gate)))
        .unify()
        .or(exchange("operator", Arc::clone(&gate)))
        .unify()
        .or(pages(move || shards_ahead.compress_ahead()))
        .unify();
    guarded(gate, answers)
}

/// Answers for requests that the gate lets in; errors in words.
pub(super) fn guarded(
    gate: Arc<Gate>,
    answers: impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let policy = gate.policy.clone();
    let answers = pass(gate).and(answers).recover(in_words).unify();
    answers.map(move |response| with_security_headers(response, policy.clone()))
}

/// All answers of a server for a benchmark. The first posted result goes to `take`.
pub(super) fn bench_routes(
    take: Arc<Mutex<Option<oneshot::Sender<Outcome>>>>,
    gate: Arc<Gate>,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let answers = bench_result(take).or(bench_examples()).unify().or(pages(|| ())).unify();
    guarded(gate, answers)
}

/// Passes the requests that the gate admits.
fn pass(gate: Arc<Gate>) -> impl Filter<Extract = (), Error = Rejection> + Clone + Send + Sync + 'static {
    warp::host::optional()
        .and(warp::ext::get::<Visitor>())
        .and(warp::method())
        .and(warp::path::full())
        .and(warp::header::headers_cloned())
        .and_then(
            move |authority: Option<Authority>,
                  visitor: Visitor,
                  method: Method,
                  path: FullPath,
                  headers: HeaderMap| {
                std::future::ready(gate.admit(&visitor, authority, &method, path.as_str(), &headers))
            },
        )
        .untuple_one()
}

/// `/` for those who are not invited: the page that takes the invitation.
fn door(
    gate: Arc<Gate>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    warp::path::end().and(readable()).and(warp::header::headers_cloned()).and_then(
        move |headers: HeaderMap| {
            let is_invited = gate.invitation.as_ref().is_none_or(|invitation| invitation.admits(&headers));
            let page = asset("/door.html").filter(|_| !is_invited).map(|asset| {
                let mut response = page(asset, &headers);
                if response.status() == StatusCode::OK {
                    *response.status_mut() = StatusCode::UNAUTHORIZED;
                }
                response
            });
            std::future::ready(page.ok_or_else(warp::reject::not_found))
        },
    )
}

/// `POST /invite` and `POST /operator`: the token of a link, for a cookie.
fn exchange(
    name: &'static str,
    gate: Arc<Gate>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    warp::path(name)
        .and(warp::path::end())
        .and(warp::post())
        .and(warp::body::content_length_limit(TOKEN_BYTES_MAX))
        .and(warp::body::bytes())
        .and(warp::ext::get::<Visitor>())
        .and_then(move |token: Bytes, visitor: Visitor| {
            let answer = gate.take(visitor.address(), Asked::Channel).map(|()| {
                let (ticket, otherwise) = match name {
                    "invite" => (
                        &gate.invitation,
                        "This is not the invitation of the training that runs here; ask for a new link.",
                    ),
                    _ => (
                        &gate.operator,
                        "This is not the dashboard's link of the training that runs here; the coordinator prints the \
                         right one when it starts.",
                    ),
                };
                let Some(ticket) = ticket else {
                    return StatusCode::NO_CONTENT.into_response();
                };
                let token = std::str::from_utf8(&token).unwrap_or_default();
                match ticket.cookie(token.trim(), visitor.is_secure()) {
                    Some(cookie) => {
                        let mut response = StatusCode::NO_CONTENT.into_response();
                        response.headers_mut().insert(SET_COOKIE, cookie);
                        response
                    }
                    None => words(StatusCode::FORBIDDEN, otherwise),
                }
            });
            std::future::ready(answer)
        })
}

/// `/channel`: the WebSocket of a volunteer.
fn channel(
    gate: Arc<Gate>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    warp::path!("channel")
        .and(warp::get())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::ext::get::<Visitor>())
        .and_then(move |headers: HeaderMap, upgrade, visitor: Visitor| {
            let counted = gate.count_channel(&visitor);
            std::future::ready(counted.map(|()| upgrade::answer(&headers, upgrade, &visitor)))
        })
}

/// `/shards/<hash>`: a shard, always compressed. It never changes.
fn shards(
    site: Arc<Site>,
    gate: Arc<Gate>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    let compressions = Arc::new(Semaphore::new(COMPRESSIONS_MAX));
    warp::path!("shards" / String).and(readable()).and(warp::ext::get::<Visitor>()).and_then(
        move |name: String, visitor: Visitor| {
            let (site, compressions, gate) =
                (Arc::clone(&site), Arc::clone(&compressions), Arc::clone(&gate));
            async move {
                // Whoever is banned gets no data.
                let network = network_of(visitor.address());
                if site.config.office.as_ref().is_some_and(|office| office.bans.contains(network)) {
                    return Err(warp::reject::custom(Denied::Banned));
                }
                let hash = blake3::Hash::from_hex(&name).ok();
                let Some(hash) = hash.filter(|hash| site.shards.has(hash.as_bytes())) else {
                    return Ok(no_such_shard());
                };
                let Some(bytes) = shard(site, compressions, hash).await else { return Ok(unread_shard()) };
                gate.take(visitor.address(), Asked::Bytes(bytes.len() as u64))?;
                Ok::<_, Rejection>(shard_response(bytes))
            }
        },
    )
}

async fn shard(site: Arc<Site>, compressions: Arc<Semaphore>, hash: blake3::Hash) -> Option<Bytes> {
    let _turn = compressions.acquire_owned().await.ok()?;
    // The first request reads or compresses the shard, which takes too long for an async task.
    let compressed = tokio::task::spawn_blocking(move || site.shards.compressed(hash.as_bytes()));
    compressed.await.ok()?
}

fn shard_response(bytes: Bytes) -> Response {
    let mut response = Response::new(bytes.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}

fn unread_shard() -> Response {
    words(StatusCode::SERVICE_UNAVAILABLE, "The shard cannot be read now; ask again.")
}

fn no_such_shard() -> Response {
    words(StatusCode::NOT_FOUND, "This run has no such shard.")
}

/// `/api/status`: the status of the run as JSON. Each status is encoded once, however many pages ask. A page
/// names itself by a random number, `/api/status?page=NUMBER`. With `&more`, it is not done with the end yet: it
/// fetches the model.
fn status(
    site: Arc<Site>,
    gate: Arc<Gate>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    let encoded: Arc<Mutex<Option<Encoded>>> = Arc::default();
    let path = warp::path!("api" / "status").and(readable()).and(counted(gate)).and(query());
    path.map(move |query: String| {
        let status = Arc::clone(&site.status.borrow());
        let (page, wants_more) = match query.strip_suffix("&more") {
            Some(page) => (page, true),
            None => (query.as_str(), false),
        };
        if let Some(page) = page.strip_prefix("page=").and_then(|page| page.parse().ok()) {
            site.audience.saw(page, status.phase == RunPhase::Finished && !wants_more);
        }
        let mut encoded = encoded.lock().unwrap_or_else(PoisonError::into_inner);
        let body = match &*encoded {
            Some(encoded) if Arc::ptr_eq(&encoded.status, &status) => encoded.body.clone(),
            _ => {
                let shard_url = site.config.shard_url.as_ref().map(ToString::to_string);
                let shown = Shown { status: &status, shard_url };
                let body = Bytes::from(serde_json::to_vec(&shown).expect("the status has string keys"));
                encoded.insert(Encoded { status, body }).body.clone()
            }
        };
        json_reply(body)
    })
}

/// The query of a request; empty without one.
pub(super) fn query() -> impl Filter<Extract = (String,), Error = Infallible> + Clone + Send + Sync + 'static
{
    warp::query::raw().or(warp::any().map(String::new)).unify()
}

/// `/metrics`: the figures of the run for Prometheus.
fn metrics(
    site: Arc<Site>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    warp::path!("metrics")
        .and(readable())
        .and(warp::header::headers_cloned())
        .and(warp::ext::get::<Visitor>())
        .map(move |headers: HeaderMap, visitor: Visitor| {
            let registry = super::metrics::of_training(&site.status.borrow());
            let is_operator = site.config.operator.as_ref().is_some_and(|operator| operator.admits(&headers));
            let access = if is_operator { &MetricsAccess::Public } else { &site.config.metrics };
            super::metrics::answer(access, visitor.peer.ip(), &headers, &registry)
        })
}

/// The run as this server tells of it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    status: &'a Status,
    /// Where volunteers ask for shards first.
    shard_url: Option<String>,
}

/// A status and its JSON.
struct Encoded {
    status: Arc<Status>,
    body: Bytes,
}

/// `/api/history`: the course of the training. It is large, so pages ask for it only when it has changed.
fn history(
    latest: watch::Receiver<Arc<Status>>,
    gate: Arc<Gate>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    let encoded: Arc<Mutex<Option<EncodedHistory>>> = Arc::default();
    let path = warp::path!("api" / "history").and(readable()).and(counted(gate));
    path.and(warp::header::headers_cloned()).map(move |headers: HeaderMap| {
        let status = Arc::clone(&latest.borrow());
        let mut encoded = encoded.lock().unwrap_or_else(PoisonError::into_inner);
        let known = encoded.take().filter(|known| Arc::ptr_eq(&known.history, &status.history));
        let known = encoded.insert(known.unwrap_or_else(|| EncodedHistory::of(&status)));
        if !accepts_gzip(&headers) {
            return json_reply(known.body.clone());
        }
        let mut response = json_reply(known.gzip.clone());
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    })
}

/// A course and its JSON, plain and compressed.
struct EncodedHistory {
    history: Arc<Vec<CurvePoint>>,
    body: Bytes,
    gzip: Bytes,
}

impl EncodedHistory {
    fn of(status: &Status) -> EncodedHistory {
        let history = Arc::clone(&status.history);
        let value = serde_json::json!({ "run": status.run, "points": *history, "marks": *status.marks });
        let body = Bytes::from(value.to_string());
        EncodedHistory { history, gzip: gzip(&body), body }
    }
}

/// A reply of JSON that is not to be kept.
pub(super) fn json_reply(body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The bytes in gzip format.
pub(super) fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default().into()
}

/// Counts a look at the status.
pub(super) fn counted(
    gate: Arc<Gate>,
) -> impl Filter<Extract = (), Error = Rejection> + Clone + Send + Sync + 'static {
    let count = move |visitor: Visitor| std::future::ready(gate.count_look(&visitor));
    warp::ext::get::<Visitor>().and_then(count).untuple_one()
}

/// `/bench/mnist`: the examples of the benchmark's page, as a shard.
fn bench_examples() -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    static SHARD: OnceLock<Bytes> = OnceLock::new();
    warp::path!("bench" / "mnist").and(readable()).then(async || {
        // The first request decodes and compresses the embedded data, which takes too long for an async task.
        let shard = || SHARD.get_or_init(|| gzip(&bench::mnist_shard())).clone();
        match tokio::task::spawn_blocking(shard).await {
            Ok(shard) => {
                let mut response = Response::new(shard.into());
                let headers = response.headers_mut();
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                response
            }
            Err(_) => words(StatusCode::INTERNAL_SERVER_ERROR, "The examples cannot be read."),
        }
    })
}

/// `POST /bench/result`: the benchmark page's result. The server accepts one.
fn bench_result(
    take: Arc<Mutex<Option<oneshot::Sender<Outcome>>>>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    warp::path!("bench" / "result")
        .and(warp::post())
        .and(warp::body::content_length_limit(BENCH_RESULT_BYTES_MAX))
        .and(warp::body::bytes())
        .map(move |body: Bytes| {
            let Ok(outcome) = serde_json::from_slice::<Outcome>(&body) else {
                return words(StatusCode::BAD_REQUEST, "This is not a benchmark's result.");
            };
            let take = take.lock().unwrap_or_else(PoisonError::into_inner).take();
            match take.map(|take| take.send(outcome)) {
                Some(Ok(())) => words(StatusCode::OK, "Thank you."),
                _ => words(StatusCode::CONFLICT, "The benchmark has a result already."),
            }
        })
}

/// The embedded pages, scripts and workers. Each visit of the front page calls `opened`.
pub(super) fn pages(
    opened: impl Fn() + Clone + Send + Sync + 'static,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    readable().and(warp::path::full()).and(warp::header::headers_cloned()).and_then(
        move |path: FullPath, headers: HeaderMap| {
            if path.as_str() == "/" {
                opened();
            }
            let found = asset(path.as_str()).map(|asset| page(asset, &headers));
            std::future::ready(found.ok_or_else(warp::reject::not_found))
        },
    )
}

/// An embedded file, whatever the request's headers.
pub(super) fn embedded(path: &str) -> Response {
    match asset(path) {
        Some(found) => page(found, &HeaderMap::new()),
        None => words(StatusCode::NOT_FOUND, "This program was built without the page."),
    }
}

/// An embedded file, as the request's headers want it.
pub(super) fn page(asset: &'static Asset, request: &HeaderMap) -> Response {
    let (encoded, body) = match asset.gzip {
        Some(gzip) if accepts_gzip(request) => (true, gzip),
        _ => (false, asset.bytes),
    };
    let unchanged = lists(request, &IF_NONE_MATCH).any(|tag| tag == "*" || same_content(tag, asset.etag));
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Bytes::from_static(body).into())
    };
    let headers = response.headers_mut();
    if !unchanged {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
        if encoded {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    headers.insert(ETAG, HeaderValue::from_static(asset.etag));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    // Pages and workers change with the binary, but keep their names.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Passes methods that only read.
pub(super) fn readable() -> impl Filter<Extract = (), Error = Rejection> + Clone + Send + Sync + 'static {
    warp::get().or(warp::head()).unify()
}

async fn in_words(rejection: Rejection) -> Result<Response, Infallible> {
    let response = if let Some(denied) = rejection.find::<Denied>() {
        words(denied.status(), denied.to_string())
    } else if let Some(too_much) = rejection.find::<TooMuch>() {
        let mut response = words(StatusCode::TOO_MANY_REQUESTS, too_much.to_string());
        response.headers_mut().insert(RETRY_AFTER, too_much.seconds.into());
        response
    } else if rejection.find::<Crowded>().is_some() {
        let mut response = words(
            StatusCode::TOO_MANY_REQUESTS,
            "This address has as many connections as one may have; try again later.",
        );
        response.headers_mut().insert(RETRY_AFTER, CROWDED_SECONDS.into());
        response
    } else if rejection.is_not_found() {
        words(StatusCode::NOT_FOUND, "There is nothing under this address. The front page is /.")
    } else if rejection.find::<PayloadTooLarge>().is_some() {
        words(StatusCode::PAYLOAD_TOO_LARGE, "The request's body is too large.")
    } else if rejection.find::<LengthRequired>().is_some() {
        words(StatusCode::LENGTH_REQUIRED, "The request needs a Content-Length header.")
    } else if rejection.find::<MethodNotAllowed>().is_some() {
        // After the errors of requests whose method is right under another path: warp reports the method with those, too.
        let mut response = words(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are answered here.");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        response
    } else if let Some(invalid) = rejection.find::<InvalidHeader>() {
        words(StatusCode::BAD_REQUEST, format!("The header {} is malformed.", invalid.name()))
    } else {
        tracing::warn!(?rejection, "a request failed in an unforeseen way");
        words(StatusCode::INTERNAL_SERVER_ERROR, "The coordinator could not answer this request.")
    };
    Ok(response)
}

fn with_security_headers(mut response: Response, policy: HeaderValue) -> Response {
    response.headers_mut().extend(SECURITY_HEADERS);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

/// Whether the client accepts gzip: by name or by `*`, with a weight above zero.
pub(super) fn accepts_gzip(request: &HeaderMap) -> bool {
    lists(request, &ACCEPT_ENCODING).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse::<f32>().ok());
        (coding.eq_ignore_ascii_case("gzip") || coding == "*") && weight.unwrap_or(1.0) > 0.0
    })
}

/// Whether two entity tags, weak or strong, name the same content.
fn same_content(one: &str, other: &str) -> bool {
    one.trim_start_matches("W/") == other.trim_start_matches("W/")
}

impl Reject for Denied {}

impl Reject for TooMuch {}

impl Reject for Crowded {}
