//! Real proxies in front of the server, with the configurations of the documents.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use support::ports;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::Request;

use crate::clock::in_time;
use crate::doors::encrypted;
use crate::harness::{TestServer, Volunteer, upgrade_at};
use crate::http::ask;

/// A proxy that runs. Dropping it ends it.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// Starts a proxy in front of `server` with one of the documents' configurations.
    async fn start(file: &str, server: SocketAddr) -> Proxy {
        Proxy::start_with(file, server, "", |text, _| text).await
    }

    /// The same in front of a server that listens at a path.
    #[cfg(unix)]
    pub(crate) async fn start_at(file: &str, path: &Path) -> Proxy {
        let nowhere = "0.0.0.0:0".parse().unwrap();
        let change = |text: String, _: &Path| text.replace("/run/shoal/shoal.sock", path.to_str().unwrap());
        Proxy::start_with(file, nowhere, "", change).await
    }

    /// The same with further settings of nginx, and a configuration that `change` adapts; it may put files beside it.
    async fn start_with(
        file: &str,
        server: SocketAddr,
        settings: &str,
        change: impl FnOnce(String, &Path) -> String,
    ) -> Proxy {
        let folder = TempDir::new().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
        let text = std::fs::read_to_string(Path::new("../docs/proxies").join(file)).unwrap();
        let text = change(text.replace("127.0.0.1:8080", &server.to_string()), folder.path());
        let path = folder.path().join("configuration");
        let mut command = if file.starts_with("nginx") {
            let text = text
                .replace("listen 80;", &format!("listen {address};"))
                .replace("listen 443 ssl;", &format!("listen {address} ssl;"));
            let home = folder.path().display();
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|name| format!("{name}_temp_path {home}/{name};"))
                .concat();
            // Started by root, it would otherwise be somebody who cannot open the file of a test's socket.
            let user = if text.contains("unix:") { "user root;" } else { "" };
            let whole = format!(
                "{user} daemon off; pid {home}/pid; error_log stderr; events {{}} \
                 http {{ access_log off; {settings} {temporary} {text} }}"
            );
            std::fs::write(&path, whole).unwrap();
            let mut command = Command::new("nginx");
            command.arg("-p").arg(folder.path()).arg("-c").arg(&path).args(["-e", "stderr"]);
            command
        } else {
            let text = text.replace("http://shoal.example.org", &format!("http://{address}"));
            std::fs::write(&path, format!("{{\n\tadmin off\n}}\n{text}")).unwrap();
            let mut command = Command::new("caddy");
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&path);
            command.env("HOME", folder.path());
            command
        };
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.expect("nginx and caddy, which tests/run installs");
        let proxy = Proxy { address, child, _folder: folder };
        for _ in 0..600 {
            if TcpStream::connect(address).await.is_ok() {
                return proxy;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{file}: the proxy does not start");
    }
}

#[tokio::test]
async fn pages_scripts_status_and_channel_come_through_every_proxy() {
    for (file, base) in
        [("nginx.conf", ""), ("nginx-path.conf", "/shoal"), ("Caddyfile", ""), ("Caddyfile-path", "/shoal")]
    {
        let server = TestServer::start().await;
        let proxy = Proxy::start(file, server.address).await;
        let origin = format!("http://{}", proxy.address);
        for path in ["/", "/hub.js", "/theme.css", "/api/status"] {
            let answer = ask(proxy.address, &format!("GET {base}{path}"), &[("origin", &origin)]).await;
            assert_eq!(answer.status, 200, "{file}: {path}: {}", answer.text());
        }
        let url = format!("ws://{}{base}/channel", proxy.address);
        let channel = upgrade_at(&url, proxy.address, &[("origin", &origin)]).await;
        assert_eq!(channel.map(|_| ()), Ok(()), "{file}");
        let foreign = upgrade_at(&url, proxy.address, &[("origin", "http://evil.example")]).await;
        assert_eq!(foreign.map(|_| ()).unwrap_err().as_u16(), 403, "{file}");
    }
}

#[tokio::test]
async fn behind_a_proxy_that_changes_the_host_scripts_come_and_the_rest_says_how_to_mend_it() {
    let server = TestServer::start().await;
    let proxy = Proxy::start("nginx-default-host.conf", server.address).await;
    let origin = format!("http://{}", proxy.address);
    for path in ["/", "/hub.js"] {
        assert_eq!(ask(proxy.address, &format!("GET {path}"), &[("origin", &origin)]).await.status, 200);
    }
    let refused = ask(proxy.address, "GET /api/status", &[("origin", &origin)]).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("proxy_set_header Host $http_host;"), "{}", refused.text());
    let url = format!("ws://{}/channel", proxy.address);
    // The name that the operator allowed, on an ordinary port; and a browser that vouches for the page.
    for headers in [
        &[("origin", "https://shoal.test")][..],
        &[("origin", origin.as_str()), ("sec-fetch-site", "same-origin")],
    ] {
        let channel = upgrade_at(&url, proxy.address, headers).await;
        assert_eq!(channel.map(|_| ()), Ok(()), "{headers:?}");
    }
}

#[tokio::test]
async fn a_trusted_proxys_visitors_are_counted_one_by_one() {
    let server = TestServer::start_with(|config| {
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let ask_as =
        async |visitor: &str| ask(server.address, "GET /channel", &[("x-forwarded-for", visitor)]).await;
    // One visitor asks for more channels than one address may have.
    let mut refused = None;
    for _ in 0..5_000 {
        let answer = ask_as("203.0.113.9").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a limit");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(refused.text().contains("This address asked for too many channels"), "{}", refused.text());
    assert_eq!(ask_as("203.0.113.10").await.status, 426, "another visitor");
}

#[tokio::test]
async fn a_proxy_that_encrypts_passes_pages_and_channel() {
    let server = TestServer::start_with(|config| {
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let made = rcgen::generate_simple_self_signed(vec!["shoal.test".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let change = |text: String, folder: &Path| {
        std::fs::write(folder.join("cert.pem"), cert).unwrap();
        std::fs::write(folder.join("key.pem"), key).unwrap();
        let place = |name: &str| folder.join(name).display().to_string();
        text.replace("/etc/ssl/shoal.pem", &place("cert.pem"))
            .replace("/etc/ssl/shoal.key", &place("key.pem"))
    };
    let proxy = Proxy::start_with("nginx-tls.conf", server.address, "", change).await;
    let trusted = made.cert.der().clone();
    let mut stream = encrypted(proxy.address, trusted.clone()).await;
    let request = b"GET /api/status HTTP/1.1\r\nhost: shoal.test\r\norigin: https://shoal.test\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = in_time(stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    for (origin, code) in [("https://shoal.test", 101), ("https://evil.example", 403)] {
        let mut request: Request<()> = "wss://shoal.test/channel".into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        let stream = encrypted(proxy.address, trusted.clone()).await;
        let status = match in_time(client_async(request, stream)).await {
            Ok((_, response)) => response.status(),
            Err(Error::Http(response)) => response.status(),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(status, code, "{origin}");
    }
}

/// nginx ends a connection on which nothing came for 60 seconds: here for three, with the pings as much more often.
#[tokio::test]
async fn a_quiet_volunteer_outlasts_a_proxys_patience() {
    const PINGS: usize = 20;
    for (heartbeat, lasts) in [(Duration::from_millis(500), true), (Duration::from_secs(30), false)] {
        let mut server = TestServer::start_with(|config| config.deadlines.heartbeat = heartbeat).await;
        let settings = "proxy_read_timeout 3s;";
        let proxy = Proxy::start_with("nginx.conf", server.address, settings, |text, _| text).await;
        let url = format!("ws://{}/channel", proxy.address);
        let (socket, _) = upgrade_at(&url, proxy.address, &[]).await.unwrap();
        let mut volunteer = Volunteer { socket };
        volunteer.introduce().await;
        // The session ends with the driver's end of its outbox.
        let (session, _joined) = server.joined().await;
        let mut heard = Vec::new();
        while heard.len() < PINGS && heard.last().is_none_or(|last| matches!(last, Some(Ok(_)))) {
            heard.push(in_time(volunteer.socket.next()).await);
        }
        let lasted = matches!(heard.last(), Some(Some(Ok(_))));
        assert_eq!(lasted, lasts, "with a heartbeat of {heartbeat:?} it heard {heard:?}");
        drop(volunteer);
        server.left(session).await;
    }
}
