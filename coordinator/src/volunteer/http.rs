//! One HTTP request to the coordinator, or to a mirror that has its shards.

use std::convert::Infallible;
use std::future::pending;
use std::io::Read;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_ENCODING, COOKIE, HOST, HeaderValue, ORIGIN,
};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use worker::Mirror;

use super::wire::Wire;
use crate::report::words::steers;
use crate::server::cookie_of;

/// Time for a whole answer, even a large shard over a slow link.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// Bytes of the sentence with which a coordinator refuses something.
const SENTENCE_BYTES_MAX: usize = 512;

/// Downloads `path`, which begins with a slash, from below the coordinator's page: the decompressed body, at most
/// `limit` bytes.
pub(crate) async fn get(wire: &Wire, path: &str, limit: usize) -> anyhow::Result<Vec<u8>> {
    let patience = Patience { whole: ANSWER_MAX, quiet: ANSWER_MAX };
    within(ask(wire, path, limit, patience, None).await?.decoded(limit)?, path, limit)
}

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until the last byte.
    pub(super) whole: Duration,
    /// From one byte to the next.
    pub(super) quiet: Duration,
}

/// Downloads a shard as a store keeps it, of at most `limit` bytes when it is decompressed. The server need not say that
/// it is compressed.
pub(super) async fn get_kept(
    wire: &Wire,
    path: &str,
    limit: usize,
    patience: Patience,
) -> anyhow::Result<Vec<u8>> {
    unpacked(ask(wire, path, limit, patience, None).await?, path, limit)
}

/// The same, asked as a browser asks for a page of the origin `page`. Also says whether that page may read the answer.
pub(super) async fn get_kept_for(
    page: &str,
    wire: &Wire,
    path: &str,
    limit: usize,
    patience: Patience,
) -> anyhow::Result<(Vec<u8>, bool)> {
    let answer = ask(wire, path, limit, patience, Some(page)).await?;
    let is_allowed = answer.allows.as_ref().is_some_and(|allows| allows == "*" || allows == page);
    Ok((unpacked(answer, path, limit)?, is_allowed))
}

/// A shard as it is, out of an answer with one as it is kept.
fn unpacked(answer: Answer, path: &str, limit: usize) -> anyhow::Result<Vec<u8>> {
    let kept = answer.decoded(Mirror::wire_bytes_max(limit))?;
    let bytes = if Mirror::is_gzip(&kept) { decompress(&kept, limit)? } else { kept };
    within(bytes, path, limit)
}

fn within(bytes: Vec<u8>, path: &str, limit: usize) -> anyhow::Result<Vec<u8>> {
    if bytes.len() > limit {
        bail!("its answer to a request for {path} is longer than allowed");
    }
    Ok(bytes)
}

/// The answer to a request.
struct Answer {
    body: Bytes,
    /// Whether the body is compressed only for its way.
    is_coded: bool,
    /// The pages that may read it.
    allows: Option<HeaderValue>,
}

impl Answer {
    /// The body as it was before its way, or one byte more than `limit` of it.
    fn decoded(self, limit: usize) -> std::io::Result<Vec<u8>> {
        if self.is_coded { decompress(&self.body, limit) } else { Ok(self.body.into()) }
    }
}

async fn ask(
    wire: &Wire,
    path: &str,
    limit: usize,
    patience: Patience,
    page: Option<&str>,
) -> anyhow::Result<Answer> {
    let asking = request(wire, path, limit, patience.quiet, page);
    timeout(patience.whole, asking).await.context("its answer took too long")?
}

async fn request(
    wire: &Wire,
    path: &str,
    limit: usize,
    quiet: Duration,
    page: Option<&str>,
) -> anyhow::Result<Answer> {
    let silent = || format!("nothing more came of its answer for {} s", quiet.as_secs());
    let stream = timeout(quiet, wire.connect()).await.with_context(silent)??;
    let address = &wire.address;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let asking = async {
        let mut request =
            Request::get(address.path(path)).header(HOST, address.site()).header(ACCEPT_ENCODING, "gzip");
        if let Some(token) = &address.invite {
            request = request.header(COOKIE, cookie_of(token));
        }
        if let Some(page) = page {
            request = request.header(ORIGIN, page);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let response = timeout(quiet, sender.send_request(request)).await.with_context(silent)??;
        let status = response.status();
        if status != StatusCode::OK {
            let body = Limited::new(response.into_body(), SENTENCE_BYTES_MAX).collect();
            let body = timeout(quiet, body).await.with_context(silent)?;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            bail!("it answered {status} to a request for {path}{}", sentence(&body));
        }
        let is_coded = response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
        let allows = response.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN).cloned();
        let mut coming = Limited::new(response.into_body(), Mirror::wire_bytes_max(limit));
        let mut body = BytesMut::new();
        while let Some(frame) = timeout(quiet, coming.frame()).await.with_context(silent)? {
            let frame = frame.map_err(|error| anyhow::anyhow!("its answer cannot be read: {error}"))?;
            body.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
        }
        anyhow::Ok(Answer { body: body.freeze(), is_coded, allows })
    };
    // The connection is driven beside the request. When the connection ends, the request learns of it, and
    // may have its answer already.
    let driving = async {
        let _ = connection.await;
        pending::<Infallible>().await
    };
    tokio::select! {
        answer = asking => answer,
        never = driving => match never {},
    }
}

/// The plain sentence in a refusal, after a colon; empty if there is none.
pub(super) fn sentence(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(SENTENCE_BYTES_MAX)]);
    let text = text.trim().trim_end_matches('.');
    let is_plain = !text.is_empty() && !text.starts_with('<') && !text.contains(steers);
    if is_plain { format!(": {text}") } else { String::new() }
}

/// Decompresses at most one byte more than `limit`, however far the data would expand.
fn decompress(body: &[u8], limit: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    GzDecoder::new(body).take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::wire::connect;
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A server that gives one answer to one request.
    async fn answer(head: &str, body: Vec<u8>) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        });
        Wire::new(authority.parse().unwrap(), None).unwrap()
    }

    #[tokio::test]
    async fn plain_and_compressed_bodies_arrive() {
        let wire = answer("200 OK", vec![7; 100]).await;
        assert_eq!(get(&wire, "/x", 100).await.unwrap(), [7; 100]);
        let wire = answer("200 OK\r\ncontent-encoding: gzip", gzip(&[8; 50_000])).await;
        assert_eq!(get(&wire, "/x", 50_000).await.unwrap(), [8; 50_000]);
    }

    #[tokio::test]
    async fn bodies_over_the_limit_are_refused_compressed_or_not() {
        let wire = answer("200 OK", vec![7; 101]).await;
        assert!(get(&wire, "/x", 100).await.is_err());
        let bomb = gzip(&vec![0; 10_000_000]);
        assert!(decompress(&bomb, 1000).unwrap().len() <= 1001);
        let wire = answer("200 OK\r\ncontent-encoding: gzip", bomb).await;
        assert!(get(&wire, "/x", 100_000).await.is_err());
    }

    const PATIENCE: Patience = Patience { whole: Duration::from_secs(60), quiet: Duration::from_secs(60) };

    #[tokio::test]
    async fn a_kept_shard_arrives_whether_or_not_its_server_knows_that_it_is_compressed() {
        let shard = [&b"SHRD"[..], &[7; 50_000]].concat();
        let (packed, twice) = (gzip(&shard), gzip(&gzip(&shard)));
        let coded = "200 OK\r\ncontent-encoding: gzip";
        for (head, body) in [("200 OK", &shard), ("200 OK", &packed), (coded, &packed), (coded, &twice)] {
            let wire = answer(head, body.clone()).await;
            assert_eq!(get_kept(&wire, "/x", shard.len(), PATIENCE).await.unwrap(), shard);
            let wire = answer(head, body.clone()).await;
            assert!(get_kept(&wire, "/x", shard.len() - 1, PATIENCE).await.is_err(), "longer than allowed");
        }
        let wire = answer("200 OK", packed[..packed.len() / 2].to_vec()).await;
        assert!(get_kept(&wire, "/x", shard.len(), PATIENCE).await.is_err(), "cut off");
    }

    #[tokio::test]
    async fn a_kept_bomb_is_refused() {
        let bomb = gzip(&vec![0; 10_000_000]);
        let coded = "200 OK\r\ncontent-encoding: gzip";
        for (head, body) in [("200 OK", bomb.clone()), (coded, bomb.clone()), (coded, gzip(&bomb))] {
            let wire = answer(head, body).await;
            assert!(get_kept(&wire, "/x", 100_000, PATIENCE).await.is_err(), "{head}");
        }
        // Unpacked once; whoever looks at its hash sees that it is no shard.
        let wire = answer("200 OK", gzip(&bomb)).await;
        assert_eq!(get_kept(&wire, "/x", 100_000, PATIENCE).await.unwrap(), bomb);
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_more_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Wire::new(listener.local_addr().unwrap().to_string().parse().unwrap(), None).unwrap();
        let silent = tokio::spawn(async move {
            let mut streams = Vec::new();
            for begins in
                ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nSHRD", "HTTP/1.1 404 Not Found\r\n\r\n"]
            {
                let (mut stream, _) = listener.accept().await.unwrap();
                // An answer that comes before its question is an error of another kind.
                stream.read_u8().await.unwrap();
                stream.write_all(begins.as_bytes()).await.unwrap();
                streams.push(stream);
            }
            pending::<Infallible>().await
        });
        let patience = Patience { quiet: Duration::from_millis(50), ..PATIENCE };
        for _ in 0..3 {
            let error = get_kept(&wire, "/x", 100, patience).await.unwrap_err();
            assert!(format!("{error:#}").contains("nothing more came"), "{error:#}");
        }
        silent.abort();
    }

    #[tokio::test]
    async fn a_page_may_read_what_its_origin_is_allowed_to() {
        const PAGE: &str = "https://shoal.example";
        for (header, allowed) in [
            ("", false),
            ("\r\naccess-control-allow-origin: *", true),
            ("\r\naccess-control-allow-origin: https://shoal.example", true),
            ("\r\naccess-control-allow-origin: https://other.example", false),
        ] {
            let wire = answer(&format!("200 OK{header}"), b"SHRD".to_vec()).await;
            let (bytes, is_allowed) = get_kept_for(PAGE, &wire, "/x", 100, PATIENCE).await.unwrap();
            assert_eq!((bytes.as_slice(), is_allowed), (b"SHRD".as_slice(), allowed), "{header}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_fails_says_at_which_step() {
        // A name that no server needs to be asked about.
        let error = connect("no..such:8080").await.unwrap_err().to_string();
        assert!(error.contains("name cannot be found"), "{error}");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = connect(&authority).await.unwrap_err().to_string();
        assert!(error.contains("refuses the connection"), "{error}");
    }

    #[tokio::test]
    async fn a_status_other_than_ok_is_an_error_that_names_it() {
        let wire = answer("404 Not Found", b"No such shard.\n".to_vec()).await;
        let error = get(&wire, "/shards/none", 100).await.unwrap_err().to_string();
        assert!(error.contains("404") && error.contains("/shards/none: No such shard"), "{error}");
    }
}
