//! `/metrics`: the figures of a server as Prometheus and others collect them (OpenMetrics text).
//!
//! They tell who trains what and how fast, so only this machine itself may read them, or whoever gives the
//! operator's token as `Authorization: Bearer TOKEN`.

use std::net::IpAddr;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use warp::http::StatusCode;
use warp::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE,
};
use warp::reply::Response;

use super::replies::words;
use crate::report::status::{RunPhase, Status};
use crate::traffic;

/// Who may read the metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Programs on this machine.
    #[default]
    ThisMachine,
    /// Whoever knows the token.
    Token(String),
    /// Everybody.
    Public,
}

/// The environment variable with the operator's token: a flag would be seen in the list of processes, and a
/// setting would be kept in `run.toml`.
const TOKEN_VARIABLE: &str = "SHOAL_METRICS_TOKEN";

impl MetricsAccess {
    /// As the operator has it: public, or with the token in the environment, or for this machine alone.
    pub fn from_environment(is_public: bool) -> MetricsAccess {
        match std::env::var(TOKEN_VARIABLE) {
            _ if is_public => MetricsAccess::Public,
            Ok(token) if !token.is_empty() => MetricsAccess::Token(token),
            _ => MetricsAccess::ThisMachine,
        }
    }

    /// Whether a request may read them.
    fn admits(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        match self {
            // A proxy on this machine passes the requests of others on, and says so.
            MetricsAccess::ThisMachine => peer.is_loopback() && !is_passed_on(headers),
            MetricsAccess::Token(token) => {
                let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
                let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
                // Digests are compared in constant time.
                blake3::hash(given) == blake3::hash(token.as_bytes())
            }
            MetricsAccess::Public => true,
        }
    }
}

fn is_passed_on(headers: &HeaderMap) -> bool {
    ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| headers.contains_key(*name))
}

/// The answer to a request for the metrics that `registry` holds.
pub(super) fn answer(
    access: &MetricsAccess,
    peer: IpAddr,
    headers: &HeaderMap,
    registry: &Registry,
) -> Response {
    if !access.admits(peer, headers) {
        let sentence = match access {
            MetricsAccess::Token(_) => {
                "The metrics need the header Authorization: Bearer with the operator's token."
            }
            _ => {
                "Only programs on the coordinator's own machine may read the metrics; set SHOAL_METRICS_TOKEN, or start it with --public-metrics."
            }
        };
        let mut response = words(StatusCode::UNAUTHORIZED, sentence);
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    }
    let mut text = String::new();
    if encode(&mut text, registry).is_err() {
        return words(StatusCode::INTERNAL_SERVER_ERROR, "The metrics cannot be written.");
    }
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The metrics of a training.
pub(super) fn of_training(status: &Status) -> Registry {
    let mut registry = with_traffic();
    let run = &mut registry;
    let info = vec![
        ("run", status.run.clone()),
        ("title", status.title.clone()),
        ("network", status.network.clone()),
    ];
    run.register("training", "The run that is trained", Info::new(info));
    let phase = match status.phase {
        RunPhase::Waiting => 0,
        RunPhase::Training => 1,
        RunPhase::Finished => 2,
    };
    gauge(run, "training_phase", "0 waiting for volunteers, 1 training, 2 finished", f64::from(phase));
    gauge(run, "training_iteration", "The last accepted iteration", status.iteration as f64);
    gauge(run, "training_iterations_limit", "The limit on iterations", status.iterations_max as f64);
    gauge(run, "training_epochs", "Passes over the training examples", status.epochs);
    gauge(run, "training_examples", "Training examples", status.examples as f64);
    gauge(
        run,
        "training_examples_per_second",
        "Training examples a second, over the last rounds",
        status.examples_per_second,
    );
    gauge(run, "network_parameters", "Parameters of the network", status.parameters as f64);
    gauge(run, "volunteers", "Connected volunteers", status.volunteers as f64);
    gauge(run, "volunteer_cores", "Cores that volunteers lend", status.cores as f64);
    gauge(
        run,
        "local_worker",
        "1 if the coordinator's own worker helps",
        f64::from(u8::from(status.local_worker)),
    );
    run.register("training_rounds", "Rounds over the volunteers", ConstCounter::new(status.rounds));
    let seconds = ConstGauge::new(status.seconds);
    run.register_with_unit("training_duration", "Time since the training began", Unit::Seconds, seconds);
    if let Some(figures) = &status.figures {
        let known = [
            (
                "train_loss",
                "Mean loss over the training examples of the last round",
                Some(figures.train_loss),
            ),
            ("training_set_loss", "Mean loss over all training examples", figures.training_set_loss),
            ("validation_loss", "Mean loss over the validation examples", figures.validation_loss),
            (
                "validation_accuracy",
                "Share of the validation examples predicted correctly",
                figures.validation_accuracy,
            ),
            ("test_loss", "Mean loss over the test examples", figures.test_loss),
            ("test_accuracy", "Share of the test examples predicted correctly", figures.test_accuracy),
        ];
        for (name, help, value) in known {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                gauge(run, name, help, value);
            }
        }
    }
    registry
}

/// The metrics of a model that is served.
pub(super) fn of_model(parameters: usize, requests: u64, refused: u64, rows: u64) -> Registry {
    let mut registry = with_traffic();
    gauge(&mut registry, "network_parameters", "Parameters of the network", parameters as f64);
    registry.register("predict_requests", "Requests for predictions", ConstCounter::new(requests));
    registry.register(
        "predict_requests_refused",
        "Requests for predictions that could not be answered",
        ConstCounter::new(refused),
    );
    registry.register("predict_rows", "Rows predicted", ConstCounter::new(rows));
    registry
}

fn with_traffic() -> Registry {
    let mut registry = Registry::with_prefix("shoal");
    let version = vec![("version", env!("CARGO_PKG_VERSION"))];
    registry.register("build", "The program", Info::new(version));
    let bytes = |count: u64| ConstCounter::new(count);
    registry.register_with_unit("sent", "Sent over all connections", Unit::Bytes, bytes(traffic::sent()));
    let received = bytes(traffic::received());
    registry.register_with_unit("received", "Received over all connections", Unit::Bytes, received);
    registry
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: f64) {
    registry.register(name, help, ConstGauge::new(value));
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn only_the_operator_reads_the_metrics() {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let there = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 20));
        let none = HeaderMap::new();
        let header = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(
                warp::http::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )])
        };
        assert!(MetricsAccess::ThisMachine.admits(here, &none));
        assert!(!MetricsAccess::ThisMachine.admits(there, &none));
        assert!(!MetricsAccess::ThisMachine.admits(here, &header("x-forwarded-for", "192.168.1.20")));
        let token = MetricsAccess::Token("secret".to_owned());
        assert!(token.admits(there, &header("authorization", "Bearer secret")));
        for wrong in ["Bearer secret2", "Bearer ", "secret", "Basic secret"] {
            assert!(!token.admits(here, &header("authorization", wrong)), "{wrong}");
        }
        assert!(!token.admits(here, &none));
        assert!(MetricsAccess::Public.admits(there, &none));
    }
}
