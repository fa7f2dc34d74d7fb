//! What the processes of a training tell each other for people: how it goes, and how a gateway fares. Nothing of it
//! touches the training, and all of it may be lost.

use std::io::{Read, Write};
use std::sync::Arc;

use ::gateway::MESSAGE_BYTES_MAX;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use crate::report::marks::Mark;
use crate::report::status::{CurvePoint, Status};

/// Bytes of news, decompressed.
const NEWS_BYTES_MAX: u64 = 1 << 20;
/// Characters of a gateway's name.
const NAME_CHARACTERS_MAX: usize = 120;
/// Links of a gateway.
const LINKS_MAX: usize = 8;

/// How the training goes, from the leader to the pages of gateways.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct News {
    /// The status, as pages get it.
    pub status: Status,
    /// The course of the training.
    pub history: Arc<Vec<CurvePoint>>,
    /// Where the curves show something else from then on.
    pub marks: Arc<[Mark]>,
    /// Examples in all results that were counted, of all gateways.
    pub examples: u64,
}

/// How a gateway fares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Names the process. Unlike an incarnation, it stays.
    pub process: u64,
    /// The name of its machine.
    pub name: String,
    /// The links to its page.
    pub links: Vec<String>,
    /// Connected volunteers.
    pub volunteers: usize,
    /// Cores that they lend.
    pub cores: usize,
    /// Those whose machines could run the fused arithmetic.
    pub fused_capable: usize,
    /// Examples in results of its volunteers that were counted.
    pub examples: u64,
    /// Bytes that it has sent and received, of volunteers and pages.
    pub bytes: u64,
    /// Seconds since it was started.
    pub seconds: f64,
}

impl News {
    /// Its bytes on the bus, without the course where that makes them too many.
    pub fn encode(&self) -> Vec<u8> {
        let whole = compressed(self);
        if whole.len() <= MESSAGE_BYTES_MAX {
            return whole;
        }
        // The course is what can be long.
        let without = News { history: Arc::default(), ..self.clone() };
        compressed(&without)
    }

    /// Reads news; `None` if they are none.
    pub fn decode(bytes: &[u8]) -> Option<News> {
        let mut json = Vec::new();
        GzDecoder::new(bytes).take(NEWS_BYTES_MAX).read_to_end(&mut json).ok()?;
        let News { status, history, marks, examples } = serde_json::from_slice(&json).ok()?;
        let status = Status { history: Arc::clone(&history), marks: Arc::clone(&marks), ..status };
        Some(News { status, history, marks, examples })
    }
}

fn compressed(news: &News) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let json = serde_json::to_vec(news).expect("news have string keys");
    encoder.write_all(&json).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}

impl About {
    /// The links that a gateway tells of, of all to its page: without the invitation, which is for people and not for a
    /// bus, and no more than anybody listens to. A machine may have many addresses.
    pub fn links_of(all: Vec<String>) -> Vec<String> {
        let without_invitation = |link: String| link.split('#').next().unwrap_or("").to_owned();
        all.into_iter().take(LINKS_MAX).map(without_invitation).collect()
    }

    /// Its bytes on the bus.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("figures have string keys")
    }

    /// Reads a gateway's figures; `None` if they are none.
    pub fn decode(bytes: &[u8]) -> Option<About> {
        let about: About = serde_json::from_slice(bytes).ok()?;
        let is_bounded = about.name.chars().count() <= NAME_CHARACTERS_MAX && about.links.len() <= LINKS_MAX;
        is_bounded.then_some(about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_arrive_with_the_course_as_long_as_it_fits() {
        let point = |iteration| CurvePoint {
            iteration,
            test_loss: Some(1.0 / iteration as f64),
            ..CurvePoint::default()
        };
        let history: Vec<CurvePoint> = (1..=400).map(point).collect();
        let marks = vec![Mark { iteration: 3, seconds: Some(1.5), label: "L-BFGS".to_owned() }];
        let status = Status { sentence: "Training.".to_owned(), volunteers: 7, ..Status::default() };
        let news = News { status, history: history.into(), marks: marks.into(), examples: 9 };
        let bytes = news.encode();
        assert!(bytes.len() < MESSAGE_BYTES_MAX);
        let read = News::decode(&bytes).unwrap();
        assert_eq!((read.status.volunteers, read.history.len(), read.marks.len()), (7, 400, 1));
        assert_eq!(read.status.history.len(), 400);
        assert!(News::decode(&bytes[..bytes.len() / 2]).is_none());
        assert!(News::decode(b"{}").is_none());
    }

    #[test]
    fn a_gateway_that_boasts_is_not_heard() {
        let about = About {
            process: 1,
            name: "one".to_owned(),
            links: vec!["http://127.0.0.1:1".to_owned()],
            volunteers: 2,
            cores: 3,
            fused_capable: 0,
            examples: 4,
            bytes: 5,
            seconds: 6.0,
        };
        assert_eq!(About::decode(&about.encode()), Some(about.clone()));
        let boasts = About { name: "x".repeat(NAME_CHARACTERS_MAX + 1), ..about.clone() };
        assert_eq!(About::decode(&boasts.encode()), None);
        // A machine with many addresses does not boast.
        let pages = (0..100).map(|port| format!("http://127.0.0.1:{port}/#invite=a-token")).collect();
        let many = About { links: About::links_of(pages), ..about };
        assert!(many.links.len() > 1 && many.links.iter().all(|link| !link.contains("token")));
        assert_eq!(About::decode(&many.encode()), Some(many));
    }
}
