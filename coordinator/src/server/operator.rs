//! The operator's part of the server: the dashboard behind a token, `GET /api/operator` with all that it shows, and
//! `POST /api/operator/<action>`.

use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use qrcode::QrCode;
use qrcode::render::svg;
use serde::Deserialize;
use serde_json::json;
use tokio::task::spawn_blocking;
use warp::http::header::{
    CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue,
    TRANSFER_ENCODING, VARY,
};
use warp::http::{Method, StatusCode};
use warp::path::Tail;
use warp::reject::Rejection;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::Site;
use super::limits::ACTION_BYTES_MAX;
use super::replies::words;
use super::routes::{Gate, accepts_gzip, gzip, json_reply, page, query};
use super::upgrade::Visitor;
use crate::assets::asset;
use crate::operator::{Action, Office, Refusal};
use crate::report::status::RunPhase;

/// Pixels of a square of the QR code, whose picture has no size of its own.
const QR_SQUARE: u32 = 8;

/// `/dashboard` for those who have no right to it: the page that takes the token.
pub(super) fn door(
    gate: Arc<Gate>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    let path = warp::path!("dashboard").or(warp::path!("dashboard.html")).unify();
    let readable = warp::get().or(warp::head()).unify();
    path.and(readable).and(warp::header::headers_cloned()).and_then(move |headers: HeaderMap| {
        let shown = asset("/operator-door.html").filter(|_| !gate.admits_operator(&headers)).map(|asset| {
            let mut response = page(asset, &headers);
            if response.status() == StatusCode::OK {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
            }
            response
        });
        ready(shown.ok_or_else(warp::reject::not_found))
    })
}

/// Everything under `/api/operator`.
pub(super) fn api(
    site: Arc<Site>,
    gate: Arc<Gate>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    // A server without an operator has nothing there.
    let office = move || {
        let office = site.config.office.clone().map(|office| (office, Arc::clone(&site)));
        ready(office.ok_or_else(warp::reject::not_found))
    };
    let looks = warp::get()
        .and(query())
        .map(|query: String| Asked { query, body: Bytes::new() })
        .or(warp::post().and(body()).map(|body: Bytes| Asked { query: String::new(), body }))
        .unify();
    warp::path("api")
        .and(warp::path("operator"))
        .and(warp::path::tail())
        .and(warp::any().and_then(office))
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and(warp::ext::get::<Visitor>())
        .and(looks)
        .and_then(move |tail: Tail, place: (Arc<Office>, Arc<Site>), method, headers, visitor, asked| {
            let gate = Arc::clone(&gate);
            async move {
                gate.count_look(&visitor)?;
                if !gate.admits_operator(&headers) {
                    return Ok::<_, Rejection>(stranger());
                }
                let (office, site) = place;
                let request = Request { office, site, headers, visitor, asked };
                Ok(request.answer(&method, tail.as_str()).await)
            }
        })
}

/// The body of an action, which may be left out.
fn body() -> impl Filter<Extract = (Bytes,), Error = Rejection> + Clone + Send + Sync + 'static {
    let none = warp::header::headers_cloned().and_then(|headers: HeaderMap| {
        let has_body = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
        ready(if has_body { Err(warp::reject::not_found()) } else { Ok(Bytes::new()) })
    });
    let some = warp::body::content_length_limit(ACTION_BYTES_MAX).and(warp::body::bytes());
    none.or(some).unify()
}

/// What is asked for besides the path.
struct Asked {
    query: String,
    body: Bytes,
}

/// A request of the operator's.
struct Request {
    office: Arc<Office>,
    site: Arc<Site>,
    headers: HeaderMap,
    visitor: Visitor,
    asked: Asked,
}

/// The body of an action on a volunteer.
#[derive(Deserialize)]
struct OnVolunteer {
    session: u64,
}

/// The body of an action on an address.
#[derive(Deserialize)]
struct OnAddress {
    address: String,
}

impl Request {
    async fn answer(self, method: &Method, path: &str) -> Response {
        if *method == Method::POST {
            return match self.action(path) {
                Ok(action) => self.act(action).await,
                Err(response) => *response,
            };
        }
        match path {
            "" => self.view().await,
            "mistakes" => self.mistakes().await,
            "model" => self.model().await,
            "qr.svg" => self.qr_code(),
            _ => words(StatusCode::NOT_FOUND, "There is nothing under this address."),
        }
    }

    /// A number in the query, such as `page=7`.
    fn number(&self, name: &str) -> Option<u64> {
        let mut items = self.asked.query.split('&').filter_map(|item| item.split_once('='));
        items.find(|(key, _)| *key == name)?.1.parse().ok()
    }

    /// All that the dashboard shows. The course of the training only for `history=1`.
    async fn view(&self) -> Response {
        let view = self.office.view().await;
        let status = Arc::clone(&self.site.status.borrow());
        if let Some(page) = self.number("page") {
            self.site.audience.saw(page, status.phase == RunPhase::Finished);
        }
        let history = self.number("history").is_some_and(|wanted| wanted > 0);
        let age_seconds = view.made.map(|made| made.elapsed().as_secs_f64());
        let body = json!({
            "status": *status,
            "operator": *view,
            "age_seconds": age_seconds,
            "mistakes": self.office.exams.mistakes(),
            "one_core": self.office.exams.one_core(),
            "unsaved_model": self.office.unsaved.get().is_some(),
            "system": self.office.machine.usage(),
            "links": self.office.links,
            "history": history.then_some(&view.history),
            "marks": status.marks,
        });
        self.compressed(Bytes::from(body.to_string()))
    }

    /// JSON, compressed if the client can read that.
    fn compressed(&self, body: Bytes) -> Response {
        if !accepts_gzip(&self.headers) {
            return json_reply(body);
        }
        let mut response = json_reply(gzip(&body));
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
        response
    }

    /// Examples of one class that were taken for another: `truth=3&named=5`.
    async fn mistakes(&self) -> Response {
        let (Some(truth), Some(named)) = (self.number("truth"), self.number("named")) else {
            return words(StatusCode::BAD_REQUEST, "Name both classes by their numbers: truth=3&named=5.");
        };
        let office = Arc::clone(&self.office);
        let find = move || office.exams.examples(truth as usize, named as usize);
        match spawn_blocking(find).await {
            Ok(examples) => self.compressed(Bytes::from(json!(examples).to_string())),
            Err(_) => words(StatusCode::INTERNAL_SERVER_ERROR, "The examples cannot be read."),
        }
    }

    /// The model that could not be saved.
    async fn model(&self) -> Response {
        let Some(model) = self.office.unsaved.get() else {
            return words(StatusCode::NOT_FOUND, "Every model of this training is saved in its directory.");
        };
        match spawn_blocking(move || model.to_download()).await {
            Ok(Ok(bytes)) => {
                let mut response = Response::new(Bytes::from(bytes).into());
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                let name = HeaderValue::from_static("attachment; filename=\"model.safetensors\"");
                headers.insert(CONTENT_DISPOSITION, name);
                response
            }
            _ => words(StatusCode::INTERNAL_SERVER_ERROR, "The model cannot be written as a file."),
        }
    }

    /// The link of that number as a QR code: `link=0`.
    fn qr_code(&self) -> Response {
        let link = self.number("link").and_then(|link| self.office.links.get(link as usize));
        let code = link.and_then(|link| QrCode::new(link).ok());
        let Some(code) = code else { return words(StatusCode::NOT_FOUND, "There is no such link.") };
        let picture = code.render::<svg::Color<'_>>().module_dimensions(QR_SQUARE, QR_SQUARE).build();
        let mut response = Response::new(picture.into());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("image/svg+xml"));
        response
    }

    /// The action that a path and a body name.
    fn action(&self, path: &str) -> Result<Action, Box<Response>> {
        let wrong = |text: &str| Box::new(words(StatusCode::BAD_REQUEST, text));
        let volunteer = || serde_json::from_slice::<OnVolunteer>(&self.asked.body);
        let session = || match volunteer() {
            Ok(OnVolunteer { session }) => Ok(session),
            Err(_) => Err(wrong("Name the volunteer by its session: {\"session\": 7}.")),
        };
        match path {
            "pause" => Ok(Action::Pause),
            "continue" => Ok(Action::Continue),
            "stop" => Ok(Action::Stop),
            "save" => Ok(Action::Save),
            "remove" => Ok(Action::Remove { session: session()? }),
            "ban" => Ok(Action::Ban { session: session()? }),
            "unban" => match serde_json::from_slice::<OnAddress>(&self.asked.body) {
                Ok(OnAddress { address }) => Ok(Action::Unban { address }),
                Err(_) => {
                    Err(wrong("Name the address as the dashboard shows it: {\"address\": \"192.0.2.7\"}."))
                }
            },
            _ => {
                let text =
                    "There is no such action: pause, continue, stop, save, remove, ban and unban are known.";
                Err(Box::new(words(StatusCode::NOT_FOUND, text)))
            }
        }
    }

    async fn act(&self, action: Action) -> Response {
        match self.office.act(action, self.visitor.address().to_string()).await {
            Ok(done) => json_reply(Bytes::from(json!(done).to_string())),
            Err(refusal) => {
                let status = match refusal {
                    Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
                    Refusal::Late => StatusCode::GATEWAY_TIMEOUT,
                    Refusal::Over | Refusal::Own | Refusal::Full => StatusCode::CONFLICT,
                    Refusal::Unknown => StatusCode::NOT_FOUND,
                };
                words(status, refusal.to_string()).into_response()
            }
        }
    }
}

fn stranger() -> Response {
    words(
        StatusCode::UNAUTHORIZED,
        "Only the operator may see this: open the dashboard by the link that the coordinator printed.",
    )
}
