//! One HTTP request to the coordinator.

use std::convert::Infallible;
use std::future::pending;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Time in which a connection must be made.
pub(super) const CONNECTING_MAX: Duration = Duration::from_secs(10);
/// Time for a whole answer, even a large shard over a slow link.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// Connects to `authority` (host and port). An error says which step failed.
pub(super) async fn connect(authority: &str) -> anyhow::Result<TcpStream> {
    let addresses = match timeout(CONNECTING_MAX, lookup_host(authority)).await {
        Ok(Ok(addresses)) => addresses.collect::<Vec<SocketAddr>>(),
        Ok(Err(error)) => bail!("the host's name cannot be found ({error})"),
        Err(_) => bail!("the host's name cannot be found in {} s", CONNECTING_MAX.as_secs()),
    };
    let stream = match timeout(CONNECTING_MAX, TcpStream::connect(&addresses[..])).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            bail!("the host refuses the connection: no program listens on that port")
        }
        Ok(Err(error)) => bail!("the host cannot be reached ({error})"),
        Err(_) => bail!("the host does not answer within {} s", CONNECTING_MAX.as_secs()),
    };
    // Every message is sent whole and at once. Waiting for more bytes would only delay it.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Downloads `path` from the coordinator at `authority`: the decompressed body, at most `limit` bytes.
pub(super) async fn get(authority: &str, path: &str, limit: usize) -> anyhow::Result<Vec<u8>> {
    timeout(ANSWER_MAX, request(authority, path, limit)).await.context("its answer took too long")?
}

async fn request(authority: &str, path: &str, limit: usize) -> anyhow::Result<Vec<u8>> {
    let stream = connect(authority).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let asking = async {
        let request = Request::get(path)
            .header(HOST, authority)
            .header(ACCEPT_ENCODING, "gzip")
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        if status != StatusCode::OK {
            bail!("it answered {status} to a request for {path}");
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

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A server that gives one answer to one request.
    async fn answer(head: &str, body: Vec<u8>) -> String {
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
        authority
    }

    #[tokio::test]
    async fn plain_and_compressed_bodies_arrive() {
        let authority = answer("200 OK", vec![7; 100]).await;
        assert_eq!(get(&authority, "/x", 100).await.unwrap(), [7; 100]);
        let authority = answer("200 OK\r\ncontent-encoding: gzip", gzip(&[8; 50_000])).await;
        assert_eq!(get(&authority, "/x", 50_000).await.unwrap(), [8; 50_000]);
    }

    #[tokio::test]
    async fn bodies_over_the_limit_are_refused_compressed_or_not() {
        let authority = answer("200 OK", vec![7; 101]).await;
        assert!(get(&authority, "/x", 100).await.is_err());
        let bomb = gzip(&vec![0; 10_000_000]);
        assert!(decompress(&bomb, 1000).unwrap().len() <= 1001);
        let authority = answer("200 OK\r\ncontent-encoding: gzip", bomb).await;
        assert!(get(&authority, "/x", 100_000).await.is_err());
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
        let authority = answer("404 Not Found", Vec::new()).await;
        let error = get(&authority, "/shards/none", 100).await.unwrap_err().to_string();
        assert!(error.contains("404") && error.contains("/shards/none"), "{error}");
    }
}
