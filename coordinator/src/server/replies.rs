//! Functions that several request handlers share.

use warp::Reply;
use warp::http::{HeaderMap, HeaderName, StatusCode};
use warp::reply::Response;

/// A response of one sentence.
pub(super) fn words(status: StatusCode, sentence: impl Into<String>) -> Response {
    let mut sentence = sentence.into();
    sentence.push('\n');
    warp::reply::with_status(sentence, status).into_response()
}

/// The comma-separated items of a header.
pub(super) fn lists<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}
