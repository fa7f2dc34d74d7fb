//! A server at a Unix socket, behind a proxy on the same machine.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use coordinator::config::Listen;
use coordinator::server::{BindError, ServerConfig, Socket, bind};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::runtime::Builder;

use crate::harness::{TestServer, Volunteer, upgrade_at, upgrade_over};
use crate::http::{Answer, ask, send_over};
use crate::proxies::Proxy;

/// A place for a socket.
struct Place {
    path: PathBuf,
    _folder: TempDir,
}

impl Place {
    fn new() -> Place {
        let folder = TempDir::new().unwrap();
        Place { path: folder.path().join("shoal.sock"), _folder: folder }
    }

    async fn server(&self, configure: impl FnOnce(&mut ServerConfig)) -> TestServer {
        TestServer::start_at(Listen::Unix(self.path.clone()), configure).await
    }

    async fn bind(&self) -> Result<Socket, BindError> {
        bind(Listen::Unix(self.path.clone())).await
    }

    async fn ask(&self, request: &str, headers: &[(&str, &str)]) -> Answer {
        let stream = UnixStream::connect(&self.path).await.unwrap();
        send_over(stream, "shoal.test", request, headers, b"").await
    }

    /// The refusal to listen here, which must name the place.
    async fn refusal(&self) -> String {
        let refusal = self.bind().await.expect_err("somebody else's file").to_string();
        assert!(refusal.contains(&format!("unix:{}", self.path.display())), "{refusal}");
        refusal
    }

    fn exists(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }
}

/// The network of an address, as the doors know it.
fn network(address: [u8; 4]) -> u128 {
    u128::from(u32::from(Ipv4Addr::from(address)))
}

#[tokio::test]
async fn page_status_and_channel_come_over_the_socket_with_the_forwarded_address() {
    let place = Place::new();
    let mut server = place.server(|_| {}).await;
    for path in ["/", "/hub.js", "/api/status"] {
        let answer = place.ask(&format!("GET {path}"), &[("x-forwarded-for", "203.0.113.9")]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    let forwarded = [("x-forwarded-for", "127.0.0.1, 203.0.113.9")];
    for (headers, address) in [(&forwarded[..], [203, 0, 113, 9]), (&[], [192, 0, 0, 8])] {
        let stream = UnixStream::connect(&place.path).await.unwrap();
        let (socket, _) = upgrade_over(stream, "ws://shoal.test/channel", headers).await.unwrap();
        let mut volunteer = Volunteer { socket };
        volunteer.introduce().await;
        let (session, joined) = server.joined().await;
        assert_eq!(joined.identity.address, network(address));
        drop(volunteer);
        server.left(session).await;
    }
}

#[tokio::test]
async fn visitors_are_counted_by_the_forwarded_address_and_together_without_one() {
    let place = Place::new();
    let _server = place.server(|_| {}).await;
    for headers in [&[("x-forwarded-for", "203.0.113.9")][..], &[]] {
        let mut refused = None;
        for _ in 0..5_000 {
            let answer = place.ask("GET /channel", headers).await;
            if answer.status == 429 {
                refused = Some(answer);
                break;
            }
        }
        let refused = refused.expect("a limit");
        assert!(refused.text().contains("This address asked for too many channels"), "{}", refused.text());
    }
    let other = place.ask("GET /channel", &[("x-forwarded-for", "203.0.113.10")]).await;
    assert_eq!(other.status, 426, "another visitor");
}

#[tokio::test]
async fn a_proxy_that_names_nobody_gives_nobody_the_rights_of_this_machine() {
    let place = Place::new();
    let _server = place.server(|_| {}).await;
    assert_eq!(place.ask("GET /metrics", &[]).await.status, 401);
    assert_eq!(place.ask("GET /metrics", &[("x-forwarded-for", "127.0.0.1")]).await.status, 401);
}

#[tokio::test]
async fn pages_status_and_channel_come_through_every_proxy_at_the_socket() {
    for file in ["nginx-unix.conf", "Caddyfile-unix"] {
        let place = Place::new();
        let mut server = place.server(|_| {}).await;
        let proxy = Proxy::start_at(file, &place.path).await;
        let origin = format!("http://{}", proxy.address);
        for path in ["/", "/hub.js", "/theme.css", "/api/status"] {
            let answer = ask(proxy.address, &format!("GET {path}"), &[("origin", &origin)]).await;
            assert_eq!(answer.status, 200, "{file}: {path}: {}", answer.text());
        }
        let url = format!("ws://{}/channel", proxy.address);
        let (socket, _) = upgrade_at(&url, proxy.address, &[("origin", &origin)]).await.expect(file);
        let mut volunteer = Volunteer { socket };
        volunteer.introduce().await;
        let (_, joined) = server.joined().await;
        assert_eq!(joined.identity.address, network([127, 0, 0, 1]), "{file}");
        let foreign = upgrade_at(&url, proxy.address, &[("origin", "http://evil.example")]).await;
        assert_eq!(foreign.map(|_| ()).unwrap_err().as_u16(), 403, "{file}");
    }
}

#[tokio::test]
async fn the_file_is_for_user_and_group_and_goes_with_the_server() {
    let place = Place::new();
    let mut server = place.server(|_| {}).await;
    let mode = fs::metadata(&place.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    server.stop();
    server.stopped().await;
    assert!(!place.exists());
}

#[tokio::test]
async fn the_file_of_a_process_that_is_gone_is_replaced() {
    let place = Place::new();
    drop(UnixListener::bind(&place.path).unwrap());
    assert!(place.exists(), "nobody removed it");
    let _server = place.server(|_| {}).await;
    assert_eq!(place.ask("GET /", &[]).await.status, 200);
}

#[tokio::test]
async fn a_program_that_listens_keeps_its_socket() {
    let place = Place::new();
    let _server = place.server(|_| {}).await;
    let refusal = place.refusal().await;
    assert!(refusal.contains("another program") && refusal.contains("--listen"), "{refusal}");
    assert_eq!(place.ask("GET /", &[]).await.status, 200);
}

#[tokio::test]
async fn what_is_no_socket_is_kept() {
    let place = Place::new();
    fs::write(&place.path, "precious").unwrap();
    let refusal = place.refusal().await;
    assert!(refusal.contains("something other than a socket") && refusal.contains("--listen"), "{refusal}");
    assert_eq!(fs::read(&place.path).unwrap(), b"precious");

    // Neither is a link to somebody else's socket, even if nobody listens there.
    let (link, other) = (Place::new(), Place::new());
    drop(UnixListener::bind(&other.path).unwrap());
    symlink(&other.path, &link.path).unwrap();
    assert!(link.refusal().await.contains("something other than a socket"));
    assert!(link.exists() && other.exists());
}

#[tokio::test]
async fn a_folder_that_does_not_exist_is_named() {
    let path = Path::new("/nowhere-at-all/shoal.sock");
    let refusal = bind(Listen::Unix(path.to_owned())).await.unwrap_err().to_string();
    assert!(refusal.contains("unix:/nowhere-at-all/shoal.sock") && refusal.contains("--listen"), "{refusal}");
}

#[tokio::test]
async fn a_file_that_somebody_else_has_put_there_meanwhile_stays() {
    let place = Place::new();
    let socket = place.bind().await.unwrap();
    fs::remove_file(&place.path).unwrap();
    let _theirs = UnixListener::bind(&place.path).unwrap();
    let number = fs::metadata(&place.path).unwrap().ino();
    drop(socket);
    assert_eq!(fs::metadata(&place.path).unwrap().ino(), number);
}

/// Two processes that begin at the same moment must not both believe that they have the place.
#[test]
fn of_many_that_begin_together_one_listens() {
    const MANY: usize = 8;
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        let place = Place::new();
        drop(UnixListener::bind(&place.path).unwrap());
        let (begin, end) = (Barrier::new(MANY), Barrier::new(MANY));
        let one = || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            begin.wait();
            let bound = runtime.block_on(place.bind());
            end.wait();
            bound.is_ok()
        };
        let have_it = std::thread::scope(|scope| {
            let all: Vec<_> = (0..MANY).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).filter(|has_it| *has_it).count()
        });
        assert_eq!(have_it, 1);
    }
}
