//! What the page `/try` asks for: the model's description, its weights as the training goes on, examples kept aside.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::Semaphore;
use warp::http::StatusCode;
use warp::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use warp::reject::Rejection;
use warp::reply::Response;
use warp::{Filter, Reply as _};

use super::Site;
use super::limits::ENCODINGS_MAX;
use super::rates::Asked;
use super::replies::words;
use super::routes::{Gate, accepts_gzip, counted, json_reply as json_response, readable};
use super::upgrade::Visitor;
use crate::trial::{Compressed, Trial};

/// `/api/model`, `/api/examples`, `/api/snapshots` and `/api/weights/<iteration>`.
pub(super) fn routes(
    site: Arc<Site>,
    gate: Arc<Gate>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    let turns = Arc::new(Semaphore::new(ENCODINGS_MAX));
    let texts = {
        let (site, turns) = (Arc::clone(&site), Arc::clone(&turns));
        warp::path!("api" / String)
            .and(readable())
            .and_then(async |name: String| match name.as_str() {
                "model" => Ok(Trial::description as fn(&Trial) -> &Compressed),
                "examples" => Ok(Trial::examples as fn(&Trial) -> &Compressed),
                _ => Err(warp::reject::not_found()),
            })
            .and(counted(Arc::clone(&gate)))
            .and(warp::header::headers_cloned())
            .then(move |of: fn(&Trial) -> &Compressed, headers: HeaderMap| {
                let (trial, turns) = (site.trial.clone(), Arc::clone(&turns));
                async move {
                    // The first request goes through the data, which takes too long for an async task.
                    match in_thread(trial, turns, move |trial| Some(of(trial).clone())).await {
                        Some(text) => compressed(text, &headers),
                        None => nothing(),
                    }
                }
            })
    };
    let snapshots = {
        let (site, gate) = (Arc::clone(&site), Arc::clone(&gate));
        let query = warp::query::raw().or(warp::any().map(String::new)).unify();
        warp::path!("api" / "snapshots").and(readable()).and(counted(gate)).and(query).map(
            move |query: String| match &site.trial {
                Some(trial) => snapshots(&site, trial, &query),
                None => nothing(),
            },
        )
    };
    let weights = warp::path!("api" / "weights" / u64)
        .and(readable())
        .and(warp::ext::get::<Visitor>())
        .and_then(move |iteration: u64, visitor: Visitor| {
            let (trial, turns, gate) = (site.trial.clone(), Arc::clone(&turns), Arc::clone(&gate));
            async move {
                let encode = move |trial: &Trial| {
                    let snapshot = trial.gallery().get(iteration).cloned();
                    snapshot.map(|snapshot| snapshot.bytes())
                };
                let Some(bytes) = in_thread(trial, turns, encode).await else { return Ok(nothing()) };
                gate.take(visitor.address(), Asked::Bytes(bytes.len() as u64))?;
                Ok::<_, Rejection>(binary(bytes))
            }
        });
    snapshots.or(weights).unify().or(texts).unify()
}

/// The query of a page, `page=NUMBER&has=ITERATION`: it is told of the end once it has the final weights.
fn snapshots(site: &Site, trial: &Trial, query: &str) -> Response {
    let status = Arc::clone(&site.status.borrow());
    let gallery = trial.gallery();
    let last = gallery.last().map(|snapshot| snapshot.iteration);
    let field = |name: &str| query.split('&').find_map(|part| part.strip_prefix(name)?.parse::<u64>().ok());
    if let Some(page) = field("page=") {
        site.audience.saw(page, gallery.is_final() && (last.is_none() || field("has=") == last));
    }
    let value = json!({
        "run": status.run,
        "phase": status.phase,
        "iterations": gallery.iterations(),
        "last": last,
        "final": gallery.is_final(),
    });
    json_response(Bytes::from(value.to_string()))
}

/// Does something in a thread, a few at a time.
async fn in_thread<T: Send + 'static>(
    trial: Option<Arc<Trial>>,
    turns: Arc<Semaphore>,
    work: impl FnOnce(&Trial) -> Option<T> + Send + 'static,
) -> Option<T> {
    let trial = trial?;
    let _turn = turns.acquire_owned().await.ok()?;
    tokio::task::spawn_blocking(move || work(&trial)).await.ok()?
}

/// A text in the form that the client takes.
pub(super) fn compressed(text: Compressed, headers: &HeaderMap) -> Response {
    if !accepts_gzip(headers) {
        return json_response(text.plain);
    }
    let mut response = json_response(text.gzip);
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response
}

fn binary(bytes: Bytes) -> Response {
    let mut response = Response::new(bytes.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // Another run may give its points the same numbers.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn nothing() -> Response {
    words(StatusCode::NOT_FOUND, "There are no such weights; /api/snapshots lists the ones there are.")
        .into_response()
}
