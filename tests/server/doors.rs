//! TLS and invitations.

use std::net::SocketAddr;
use std::sync::Arc;

use coordinator::server::{Ticket, Tls};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::clock::in_time;
use crate::harness::{TestServer, upgrade};
use crate::http::{ask, send};

const TOKEN: &str = "a-token-that-nobody-guesses";

/// A certificate in two files, as an operator has it.
fn certificate() -> (Tls, CertificateDer<'static>) {
    let folder = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["shoal.test".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (Tls::from_files(&cert, &key).unwrap(), made.cert.der().clone())
}

/// A connection to shoal.test that trusts this certificate.
pub(crate) async fn encrypted(address: SocketAddr, trusted: CertificateDer<'static>) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("shoal.test").unwrap();
    in_time(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
}

#[tokio::test]
async fn a_page_is_served_over_tls_and_plain_http_is_told_so() {
    let (tls, trusted) = certificate();
    let server = TestServer::start_with(|config| config.tls = Some(tls)).await;
    let mut stream = encrypted(server.address, trusted).await;
    let request = b"GET / HTTP/1.1\r\nhost: shoal.test\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = in_time(stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age="), "{answer}");

    let plain = ask(server.address, "GET /", &[]).await;
    assert_eq!(plain.status, 400);
    assert!(plain.text().contains("https://"), "{}", plain.text());
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let made = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        std::fs::write(path(name), made.cert.pem()).unwrap();
        std::fs::write(path(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    };
    made("one");
    made("two");
    std::fs::write(path("rubbish"), "rubbish").unwrap();
    for (cert, key, named) in [
        ("none", "one.key", "none"),
        ("rubbish", "one.key", "rubbish"),
        ("one", "rubbish", "rubbish"),
        ("one", "two.key", "one"),
    ] {
        let error = Tls::from_files(&path(cert), &path(key)).unwrap_err().to_string();
        assert!(error.contains(&path(named).display().to_string()), "{error}");
    }
    assert!(Tls::self_signed(&["shoal.test".to_owned()], &["127.0.0.1".parse().unwrap()]).is_ok());
}

#[tokio::test]
async fn without_the_invitation_there_is_nothing_but_the_door() {
    let server = TestServer::start_with(|config| config.invitation = Some(Ticket::invitation(TOKEN))).await;
    let door = ask(server.address, "GET /", &[]).await;
    assert_eq!(door.status, 401);
    assert!(door.text().contains("By invitation") && door.text().contains("door.js"), "{}", door.text());
    assert_eq!(ask(server.address, "GET /door.js", &[]).await.status, 200);
    let shard = format!("GET /shards/{}", server.training.shards[0].name());
    for request in ["GET /api/status", "GET /channel", "GET /hub.js", "GET /bench", &shard] {
        let refused = ask(server.address, request, &[]).await;
        assert_eq!(refused.status, 401, "{request}");
        assert!(refused.text().contains("by invitation"), "{request}");
    }
    assert_eq!(upgrade(server.address, &[]).await.map(|_| ()).unwrap_err().as_u16(), 401);

    assert_eq!(send(server.address, "POST /invite", &[], b"another-token").await.status, 403);
    let taken = send(server.address, "POST /invite", &[], TOKEN.as_bytes()).await;
    assert_eq!(taken.status, 204);
    let cookie = taken.header("set-cookie").split(';').next().unwrap().to_owned();
    let cookie = [("cookie", cookie.as_str())];
    let page = ask(server.address, "GET /", &cookie).await;
    assert!(page.status == 200 && !page.text().contains("By invitation"));
    for request in ["GET /api/status", "GET /hub.js", &shard] {
        assert_eq!(ask(server.address, request, &cookie).await.status, 200, "{request}");
    }
    assert!(upgrade(server.address, &[("cookie", cookie[0].1)]).await.is_ok());
}
