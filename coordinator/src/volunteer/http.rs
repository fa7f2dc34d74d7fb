//! One HTTP request to the coordinator.

use std::convert::Infallible;
use std::future::pending;
use std::io::Read;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, COOKIE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

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
    timeout(ANSWER_MAX, request(wire, path, limit)).await.context("its answer took too long")?
}

async fn request(wire: &Wire, path: &str, limit: usize) -> anyhow::Result<Vec<u8>> {
    let stream = wire.connect().await?;
    let address = &wire.address;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let asking = async {
        let mut request =
            Request::get(address.path(path)).header(HOST, &address.authority).header(ACCEPT_ENCODING, "gzip");
        if let Some(token) = &address.invite {
            request = request.header(COOKIE, cookie_of(token));
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        if status != StatusCode::OK {
            let body = Limited::new(response.into_body(), SENTENCE_BYTES_MAX).collect().await;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            bail!("it answered {status} to a request for {path}{}", sentence(&body));
        }
        let compressed = response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
        // Incompressible data grow a little.
        let limit_on_wire = limit + limit / 100 + 1024;
        let body = Limited::new(response.into_body(), limit_on_wire).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("its answer cannot be read: {error}"))?.to_bytes();
        anyhow::Ok((body, compressed))
    };
    // The connection is driven beside the request. When the connection ends, the request learns of it, and
    // may have its answer already.
    let driving = async {
        let _ = connection.await;
        pending::<Infallible>().await
    };
    let (body, compressed) = tokio::select! {
        answer = asking => answer?,
        never = driving => match never {},
    };
    let bytes = if compressed { decompress(&body, limit)? } else { body.to_vec() };
    if bytes.len() > limit {
        bail!("its answer to a request for {path} is longer than allowed");
    }
    Ok(bytes)
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
