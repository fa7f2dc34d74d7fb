//! Pages, shards and status, and who may ask for them.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;

use flate2::read::GzDecoder;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clock::in_time;
use crate::harness::{TestServer, upgrade};

pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

/// Sends one request and reads the answer to the end of the connection. `Host` is the server's address
/// unless given.
pub(crate) async fn ask(address: SocketAddr, request: &str, headers: &[(&str, &str)]) -> Answer {
    send(address, request, headers, b"").await
}

/// The same with a body, whose length is among the headers unless it is empty.
pub(crate) async fn send(
    address: SocketAddr,
    request: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    send_over(stream, &address.to_string(), request, headers, body).await
}

/// The same over a connection to `host`.
pub(crate) async fn send_over(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    request: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut head = format!("{request} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head += &format!("host: {host}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("content-length: {}\r\n", body.len());
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut bytes = Vec::new();
    in_time(stream.read_to_end(&mut bytes)).await.unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Answer { status, headers, body: bytes[end + 4..].to_vec() }
}

#[tokio::test]
async fn the_front_page_is_served_and_kept_by_its_tag() {
    let server = TestServer::start().await;
    let page = ask(server.address, "GET /", &[]).await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert_eq!(page.header("cache-control"), "no-cache");
    assert_eq!(page.header("content-encoding"), "");
    let tag = page.header("etag");
    let again = ask(server.address, "GET /", &[("if-none-match", tag)]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let other = ask(server.address, "GET /", &[("if-none-match", "\"other\"")]).await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn a_head_has_the_length_but_no_body() {
    let server = TestServer::start().await;
    let page = ask(server.address, "GET /", &[]).await;
    let head = ask(server.address, "HEAD /", &[]).await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), page.body.len().to_string());
    assert!(head.body.is_empty());
}

#[tokio::test]
async fn a_shard_is_served_under_its_hash_for_ever() {
    let server = TestServer::start().await;
    let shard = &server.training.shards[0];
    let answer = ask(server.address, &format!("GET /shards/{}", shard.name()), &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
    let mut bytes = Vec::new();
    GzDecoder::new(answer.body.as_slice()).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), shard.bytes as usize);
    assert_eq!(*blake3::hash(&bytes).as_bytes(), shard.hash);
}

#[tokio::test]
async fn a_shard_that_the_run_does_not_have_is_not_found() {
    let server = TestServer::start().await;
    let unknown = "0".repeat(64);
    for name in [unknown.as_str(), "x", "", "..%2f..%2fetc%2fpasswd"] {
        let answer = ask(server.address, &format!("GET /shards/{name}"), &[]).await;
        assert_eq!(answer.status, 404, "{name}");
        assert!(!answer.text().trim().is_empty(), "says so in words");
    }
}

#[tokio::test]
async fn the_status_is_json_and_never_stored() {
    let server = TestServer::start().await;
    let answer = ask(server.address, "GET /api/status", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(status["phase"], "waiting");
    assert_eq!(status["sentence"], "Waiting for volunteers.");
}

#[tokio::test]
async fn whatever_cannot_be_answered_is_refused_in_words() {
    let server = TestServer::start().await;
    for (request, status) in [
        ("GET /nothing/here", 404),
        ("POST /", 405),
        ("POST /api/status", 405),
        ("DELETE /shards/00", 405),
        ("GET /channel", 426),
    ] {
        let answer = ask(server.address, request, &[]).await;
        assert_eq!(answer.status, status, "{request}");
        assert!(answer.text().trim().ends_with('.'), "{request}: {}", answer.text());
    }
    assert_eq!(ask(server.address, "POST /", &[]).await.header("allow"), "GET, HEAD");
}

#[tokio::test]
async fn every_response_carries_the_security_headers() {
    let server = TestServer::start().await;
    let shard = format!("GET /shards/{}", server.training.shards[0].name());
    let foreign = ("host", "evil.example");
    for (request, headers) in [
        ("GET /", &[][..]),
        (&shard, &[]),
        ("GET /api/status", &[]),
        ("GET /nothing", &[]),
        ("POST /", &[]),
        ("GET /channel", &[]),
        ("GET /", &[foreign]),
    ] {
        let answer = ask(server.address, request, headers).await;
        assert!(answer.header("content-security-policy").contains("default-src 'self'"), "{request}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{request}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{request}");
        assert!(answer.header("permissions-policy").contains("camera=()"), "{request}");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin", "{request}");
        assert_eq!(answer.header("cross-origin-embedder-policy"), "require-corp", "{request}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{request}");
    }
}

#[tokio::test]
async fn pages_may_fetch_from_the_address_that_the_status_names() {
    let plain = TestServer::start().await;
    let policy = |answer: &Answer| {
        let policy = answer.header("content-security-policy");
        policy.split(';').map(str::trim).find(|part| part.starts_with("connect-src")).unwrap().to_owned()
    };
    let status = ask(plain.address, "GET /api/status", &[]).await;
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&status.body).unwrap()["shard_url"],
        serde_json::Value::Null
    );
    assert_eq!(policy(&status), "connect-src 'self'");

    let url = "https://data.example.org/houses";
    let server = TestServer::start_with(|config| config.shard_url = Some(url.parse().unwrap())).await;
    let status = ask(server.address, "GET /api/status", &[]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.body).unwrap();
    assert_eq!((&status["shard_url"], &status["phase"]), (&url.into(), &"waiting".into()));
    // Workers obey the policy of their own script.
    for path in ["/", "/hub.js", "/compute.js", "/nothing"] {
        let answer = ask(server.address, &format!("GET {path}"), &[]).await;
        assert_eq!(policy(&answer), "connect-src 'self' https://data.example.org", "{path}");
    }
}

#[tokio::test]
async fn only_the_servers_own_names_are_answered() {
    let server = TestServer::start().await;
    for path in ["/", "/api/status", "/channel", "/nothing"] {
        let answer = ask(server.address, &format!("GET {path}"), &[("host", "evil.example:8080")]).await;
        assert_eq!(answer.status, 421, "{path}");
        assert!(answer.text().contains("evil.example"), "{}", answer.text());
    }
    let port = server.address.port();
    for host in ["localhost", "shoal.test", "192.0.2.1"] {
        let answer = ask(server.address, "GET /", &[("host", &format!("{host}:{port}"))]).await;
        assert_eq!(answer.status, 200, "{host}");
    }
    let both = ask(server.address, "GET http://evil.example/", &[]).await;
    assert_eq!(both.status, 400, "a target that contradicts the Host header");
}

#[tokio::test]
async fn other_sites_pages_are_not_answered() {
    let server = TestServer::start().await;
    let own = format!("http://{}", server.address);
    for (origin, allowed) in [(own.as_str(), true), ("http://evil.example", false), ("null", false)] {
        let answer = ask(server.address, "GET /api/status", &[("origin", origin)]).await;
        assert_eq!(answer.status, if allowed { 200 } else { 403 }, "{origin}");
        let channel = upgrade(server.address, &[("origin", origin)]).await.map(|(_, status)| status.as_u16());
        let expected = if allowed { Ok(101) } else { Err(403) };
        assert_eq!(channel.map_err(|status| status.as_u16()), expected, "{origin}");
    }
    assert!(upgrade(server.address, &[]).await.is_ok(), "programs have no origin");
    let rebound =
        upgrade(server.address, &[("host", "evil.example"), ("origin", "http://evil.example")]).await;
    assert_eq!(rebound.map(|_| ()).unwrap_err().as_u16(), 421);
}

#[tokio::test]
async fn an_old_or_broken_handshake_is_refused() {
    let server = TestServer::start().await;
    let version = upgrade(server.address, &[("sec-websocket-version", "8")]).await;
    assert_eq!(version.map(|_| ()).unwrap_err().as_u16(), 426);
    let key = upgrade(server.address, &[("sec-websocket-key", "short")]).await;
    assert_eq!(key.map(|_| ()).unwrap_err().as_u16(), 400);
}
