//! The server of a model that is done: `POST /predict`, `/model`, `/metrics` and a page to try it on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Buf;
use futures_util::Stream;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue,
};
use warp::reject::Rejection;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::body::Bodies;
use super::connections::Slots;
use super::metrics::{self, MetricsAccess};
use super::replies::words;
use super::routes::Gate;
use super::rows::csv_of_json;
use super::upgrade::Visitor;
use super::{Deadlines, ServerConfig, Socket, connections_max, routes, serve_routes, trial};
use crate::predictor::{Model, PredictError, Prediction};
use crate::trial::Compressed;

/// Requests that are computed at the same time; others wait for their turn.
const PREDICTIONS_AT_ONCE: usize = 4;
/// Requests that wait. More are asked to come again.
const PREDICTIONS_WAITING_MAX: usize = 64;

/// Who may ask what.
#[derive(Debug, Clone, Default)]
pub struct PredictConfig {
    /// Host names that requests may use, besides IP addresses and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// Who may read the metrics.
    pub metrics: MetricsAccess,
}

/// A model with its counters.
#[derive(Debug)]
struct Served {
    model: Arc<Model>,
    /// What the page is told of the model.
    trial: Compressed,
    metrics: MetricsAccess,
    bodies: Bodies,
    /// How often the pace of a body is judged.
    stall: Duration,
    turns: Semaphore,
    waiting: Semaphore,
    requests: AtomicU64,
    refused: AtomicU64,
    rows: AtomicU64,
}

/// Serves a model until `shutdown` completes. Requests that are being computed then get their answers.
pub async fn serve_model(
    socket: Socket,
    model: Model,
    config: PredictConfig,
    shutdown: impl Future<Output = ()>,
) {
    let served = Arc::new(Served {
        trial: model.trial(),
        model: Arc::new(model),
        metrics: config.metrics,
        bodies: Bodies::new(),
        stall: Deadlines::default().stall,
        turns: Semaphore::new(PREDICTIONS_AT_ONCE),
        waiting: Semaphore::new(PREDICTIONS_WAITING_MAX),
        requests: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        rows: AtomicU64::new(0),
    });
    let answers = answers(served);
    let slots = Slots::new(connections_max());
    let server = ServerConfig { allowed_hosts: config.allowed_hosts, ..ServerConfig::default() };
    let gate = Gate::new(&server, Arc::clone(&slots));
    let routes: BoxedFilter<(Response,)> = routes::guarded(Arc::clone(&gate), answers).boxed();
    serve_routes(socket, slots, gate, routes, shutdown).await;
}

fn answers(
    served: Arc<Served>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync {
    let with = move || {
        let served = Arc::clone(&served);
        warp::any().map(move || Arc::clone(&served))
    };
    let predict = warp::path!("predict")
        .and(warp::post())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .and(with())
        .then(|headers: HeaderMap, body, served: Arc<Served>| async move {
            predict(served, &headers, body).await
        });
    let model = warp::path!("model")
        .and(warp::get())
        .and(with())
        .map(|served: Arc<Served>| warp::reply::json(&served.model.description()).into_response());
    let description = warp::path!("api" / "model")
        .and(warp::get())
        .and(warp::header::headers_cloned())
        .and(with())
        .map(|headers: HeaderMap, served: Arc<Served>| trial::compressed(served.trial.clone(), &headers));
    let metrics = warp::path!("metrics")
        .and(warp::get())
        .and(warp::header::headers_cloned())
        .and(warp::ext::get::<Visitor>())
        .and(with())
        .map(|headers: HeaderMap, visitor: Visitor, served: Arc<Served>| {
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let parameters = served.model.description().parameters;
            let registry = metrics::of_model(
                parameters,
                count(&served.requests),
                count(&served.refused),
                count(&served.rows),
            );
            metrics::answer(&served.metrics, visitor.peer.ip(), &headers, &registry)
        });
    let page = warp::path::end().and(warp::get()).map(|| routes::embedded("/try.html"));
    predict
        .or(model)
        .unify()
        .or(description)
        .unify()
        .or(metrics)
        .unify()
        .or(page)
        .unify()
        .or(routes::pages(|| ()))
        .unify()
}

async fn predict(
    served: Arc<Served>,
    headers: &HeaderMap,
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Response {
    served.requests.fetch_add(1, Ordering::Relaxed);
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_csv = match kind.as_str() {
        "text/csv" => true,
        "application/json" | "" => false,
        _ => {
            let sentence = "The request's Content-Type must be application/json or text/csv.";
            return refused(&served, StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence);
        }
    };
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        let sentence = "The request's body must not be compressed (Content-Encoding).";
        return refused(&served, StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence);
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let body = match served.bodies.read(body, announced, served.stall).await {
        Ok(body) => body,
        Err(error) => return refused(&served, error.status(), error.to_string()),
    };
    let Ok(_place) = served.waiting.try_acquire() else {
        return refused(
            &served,
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many requests wait; ask again in a moment.",
        );
    };
    let Ok(_turn) = served.turns.acquire().await else {
        return refused(&served, StatusCode::SERVICE_UNAVAILABLE, "The server ends.");
    };
    let model = Arc::clone(&served.model);
    // Reading and computing takes too long for an async task.
    let answered = tokio::task::spawn_blocking(move || {
        let in_words = |error: PredictError| error.to_string();
        match is_csv {
            true => {
                model.predict_csv(&body.bytes).map_err(in_words).map(|answers| csv_answer(&model, &answers))
            }
            false => csv_of_json(&model, &body.bytes)
                .and_then(|csv| {
                    csv.map_or(Ok(Vec::new()), |csv| model.predict_written(&csv).map_err(in_words))
                })
                .map(|answers| (json_answer(&model, &answers), answers.len())),
        }
    });
    match answered.await {
        Ok(Ok((text, rows))) => {
            served.rows.fetch_add(rows as u64, Ordering::Relaxed);
            let mut response = Response::new(text.into());
            let kind = if is_csv { "text/csv; charset=utf-8" } else { "application/json" };
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Ok(Err(problem)) => refused(&served, StatusCode::BAD_REQUEST, sentence(&problem)),
        Err(_) => refused(&served, StatusCode::INTERNAL_SERVER_ERROR, "The rows could not be predicted."),
    }
}

/// A problem as a sentence.
fn sentence(problem: &str) -> String {
    let mut letters = problem.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

fn refused(served: &Served, status: StatusCode, sentence: impl Into<String>) -> Response {
    served.refused.fetch_add(1, Ordering::Relaxed);
    words(status, sentence)
}

fn json_answer(model: &Model, answers: &[Prediction]) -> String {
    let names = model.targets();
    let answer = |prediction: &Prediction| match prediction {
        Prediction::Class { label, probabilities } => {
            let each = names.iter().cloned().zip(probabilities.iter().map(|&probability| json!(probability)));
            json!({"label": label, "probabilities": each.collect::<Map<_, _>>()})
        }
        Prediction::Numbers(values) => {
            let each = names.iter().cloned().zip(values.iter().map(|&value| json!(value)));
            Value::Object(each.collect())
        }
    };
    json!({"predictions": answers.iter().map(answer).collect::<Vec<_>>()}).to_string()
}

/// As `shoal predict` writes it, with the number of rows.
fn csv_answer(model: &Model, answers: &[Prediction]) -> (String, usize) {
    let mut table = csv::Writer::from_writer(Vec::new());
    let names = model.targets().iter();
    let header: Vec<String> = match model.is_classifier() {
        true => std::iter::once("prediction".to_owned())
            .chain(names.map(|name| format!("probability {name}")))
            .collect(),
        false => names.cloned().collect(),
    };
    // Writing to memory does not fail.
    let _ = table.write_record(header);
    for answer in answers {
        let _ = match answer {
            Prediction::Class { label, probabilities } => {
                let probabilities = probabilities.iter().map(|probability| format!("{probability:.6}"));
                table.write_record(std::iter::once(label.clone()).chain(probabilities))
            }
            Prediction::Numbers(values) => table.write_record(values.iter().map(f64::to_string)),
        };
    }
    let bytes = table.into_inner().unwrap_or_default();
    (String::from_utf8(bytes).unwrap_or_default(), answers.len())
}
