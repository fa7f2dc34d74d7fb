//! The events of a training, for its observer.
//!
//! The training calls an [`Observer`], which shows the events in its own way: as a bar on a terminal or lines
//! in a log.

use std::net::SocketAddr;

use engine::Figures;
use engine::optimizers::Method;
use serde::Serialize;

use crate::config::PublicUrl;
use crate::report::Summary;

/// Watches a training. The training's own thread calls it, so an observer must not block.
pub trait Observer {
    /// Handles an event.
    fn event(&mut self, event: &Event);
}

/// A place where the page can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// This machine's address; `None` if a proxy has another for it.
    address: Option<SocketAddr>,
    url: String,
}

impl Page {
    /// The page at an address of this machine, over TLS or not.
    pub fn at(address: SocketAddr, tls: bool) -> Page {
        let scheme = if tls { "https" } else { "http" };
        Page { address: Some(address), url: format!("{scheme}://{address}") }
    }

    /// The page as visitors of a proxy find it.
    pub fn behind_proxy(public: &PublicUrl) -> Page {
        Page { address: None, url: public.page() }
    }

    /// Who asks, as a browser says it, when the page fetches something elsewhere: scheme, host, and a port that is not the
    /// scheme's own.
    pub fn origin(&self) -> String {
        url::Url::parse(&self.url).map_or_else(|_| self.url.clone(), |url| url.origin().ascii_serialization())
    }

    /// The URL of something beside the page. `path` begins with a slash.
    fn beside(&self, path: &str) -> String {
        format!("{}{path}", self.url.trim_end_matches('/'))
    }
}

/// A link to the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// This machine's address; `None` if a proxy has another for it.
    pub address: Option<SocketAddr>,
    /// The whole link, with the invitation if there is one.
    pub url: String,
}

/// A link with the operator's token, which goes to nobody's log by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct DashboardLink(String);

impl DashboardLink {
    /// The link to the dashboard beside `page`.
    pub fn new(page: &Page, token: &str) -> DashboardLink {
        DashboardLink(page.beside(&format!("/dashboard#operator={token}")))
    }

    /// The whole link.
    pub fn url(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for DashboardLink {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("DashboardLink(..)")
    }
}

impl Link {
    /// The link to the page, with the invitation if there is one.
    pub fn new(page: &Page, invite: Option<&str>) -> Link {
        let url = invite.map_or_else(|| page.url.clone(), |token| page.beside(&format!("/#invite={token}")));
        Link { address: page.address, url }
    }
}

/// An event that people want to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The server accepts connections.
    Listening {
        /// Every link with which the page can be opened, the nearest first.
        links: Vec<Link>,
        /// The nearest link to the dashboard, with the operator's token.
        dashboard: DashboardLink,
    },
    /// The training waits and computes nothing.
    Waiting {
        /// Why, in one plain sentence.
        sentence: String,
    },
    /// A part of the open round is done. Sent at most a few times a second.
    Round(RoundProgress),
    /// A point was accepted, the start point (iteration 0) included.
    Iteration(IterationReport),
    /// Any other news worth a line ("resumed at iteration 12").
    Note {
        /// The line, a plain sentence.
        text: String,
    },
    /// The model is saved. Sent once, before the server goes on serving or ends.
    Finished(Summary),
}

/// The progress of the open round, and its helpers.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundProgress {
    /// Units accounted for.
    pub units_done: u32,
    /// Units of the round.
    pub units: u32,
    /// Connected volunteers, without the coordinator's own worker.
    pub volunteers: usize,
    /// Cores they lend.
    pub cores: usize,
    /// Training examples a second, over the last rounds.
    pub examples_per_second: f64,
}

/// One accepted point; also one line of the run's metrics.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IterationReport {
    /// Its number; 0 is the start point.
    pub iteration: u64,
    /// The limit on iterations.
    pub iterations_max: u64,
    /// Rounds so far.
    pub rounds: u64,
    /// Passes over the training data so far.
    pub epochs: f64,
    /// The point's figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// Euclidean norm of the gradient.
    pub gradient_norm: f64,
    /// Step length along the direction; 0 at the start point.
    pub step: f64,
    /// Volunteers connected, the coordinator's own worker not counted.
    pub volunteers: usize,
    /// Cores they lend.
    pub cores: usize,
    /// Training examples a second, over the last rounds.
    pub examples_per_second: f64,
    /// Seconds of training so far, those before a resume included.
    pub seconds: f64,
    /// Seconds until the first limit ends the training at this pace; `None` if unknown.
    pub eta_seconds: Option<f64>,
    /// The method by which the training goes on from the point.
    pub method: Method,
    /// Whether it is the first point after the training was resumed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_this_machine_or_to_the_proxy() {
        let here = Page::at("192.0.2.7:8080".parse().unwrap(), false);
        assert_eq!(Link::new(&here, None).url, "http://192.0.2.7:8080");
        assert_eq!(Link::new(&here, Some("a-token")).url, "http://192.0.2.7:8080/#invite=a-token");
        assert_eq!(DashboardLink::new(&here, "key").url(), "http://192.0.2.7:8080/dashboard#operator=key");
        assert_eq!(here.origin(), "http://192.0.2.7:8080");
        assert_eq!(Page::at("192.0.2.7:80".parse().unwrap(), false).origin(), "http://192.0.2.7");
        let proxy = Page::behind_proxy(&"https://Example.org:443/shoal/".parse().unwrap());
        assert_eq!(proxy.origin(), "https://example.org");
        let proxy = Page::behind_proxy(&"https://example.org/shoal/".parse().unwrap());
        assert_eq!(Link::new(&proxy, None).url, "https://example.org/shoal/");
        assert_eq!(Link::new(&proxy, Some("a-token")).url, "https://example.org/shoal/#invite=a-token");
        assert_eq!(
            DashboardLink::new(&proxy, "key").url(),
            "https://example.org/shoal/dashboard#operator=key"
        );
    }
}
