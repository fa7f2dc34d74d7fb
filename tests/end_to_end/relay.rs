//! A line between a browser and a coordinator that counts bytes, holds requests back and breaks when told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use support::coordinator::Coordinator;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes that the system keeps for a sender: few, so that a held upload is soon felt.
const RECEIVE_BYTES: u32 = 4096;
const CHUNK_BYTES: usize = 1 << 16;

/// What the line does at present.
#[derive(Debug, Clone, Copy, Default)]
struct Rules {
    /// Requests whose path begins so are not passed on.
    held: Option<&'static str>,
    /// What a browser sends on a WebSocket is not read.
    deaf: bool,
    /// All connections end, and none comes through.
    broken: bool,
}

/// What went over the line.
#[derive(Debug, Default)]
struct Counts {
    up: AtomicU64,
    down: AtomicU64,
    refused: AtomicU64,
    statuses: AtomicU64,
}

/// The line. It ends when dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    pub(crate) async fn to(coordinator: &Coordinator) -> Relay {
        let server: SocketAddr = coordinator.address().parse().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(RECEIVE_BYTES).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let (rules, obeyed) = watch::channel(Rules::default());
        let counts = Arc::<Counts>::default();
        let counted = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            while let Ok((browser, _)) = listener.accept().await {
                if obeyed.borrow().broken {
                    counted.refused.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                tokio::spawn(connect(browser, server, obeyed.clone(), Arc::clone(&counted)));
            }
        });
        Relay { address, rules, counts, task }
    }

    /// The page's address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Holds back requests whose path begins so, or none any more.
    pub(crate) fn hold(&self, path: Option<&'static str>) {
        self.rules.send_modify(|rules| rules.held = path);
    }

    /// Reads nothing from WebSockets, or everything again.
    pub(crate) fn be_deaf(&self, deaf: bool) {
        self.rules.send_modify(|rules| rules.deaf = deaf);
    }

    /// Breaks the line, or mends it.
    pub(crate) fn be_broken(&self, broken: bool) {
        self.rules.send_modify(|rules| rules.broken = broken);
    }

    /// Connections that found the line broken.
    pub(crate) fn refused(&self) -> u64 {
        self.counts.refused.load(Ordering::Relaxed)
    }

    /// Questions for the status that were passed on.
    pub(crate) fn statuses(&self) -> u64 {
        self.counts.statuses.load(Ordering::Relaxed)
    }

    /// Bytes that went down and up.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.counts.down.load(Ordering::Relaxed), self.counts.up.load(Ordering::Relaxed))
    }
}

async fn connect(
    browser: TcpStream,
    server: SocketAddr,
    mut rules: watch::Receiver<Rules>,
    counts: Arc<Counts>,
) {
    let Ok(coordinator) = TcpStream::connect(server).await else { return };
    let (from_browser, to_browser) = browser.into_split();
    let (from_coordinator, to_coordinator) = coordinator.into_split();
    let mut for_up = rules.clone();
    tokio::select! {
        () = up(from_browser, to_coordinator, &mut for_up, &counts) => {}
        () = down(from_coordinator, to_browser, &counts) => {}
        _ = rules.wait_for(|rules| rules.broken) => {}
    }
}

async fn up(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    rules: &mut watch::Receiver<Rules>,
    counts: &Counts,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut is_channel = false;
    loop {
        if is_channel && rules.wait_for(|rules| !rules.deaf).await.is_err() {
            return;
        }
        let Ok(length @ 1..) = from.read(&mut chunk).await else { return };
        let sent = &chunk[..length];
        // A browser writes the head of a request at once.
        let asks = |path: &str| sent.starts_with(format!("GET {path}").as_bytes());
        is_channel |= asks("/channel");
        if rules.wait_for(|rules| !rules.held.is_some_and(asks)).await.is_err() {
            return;
        }
        if asks("/api/status") {
            counts.statuses.fetch_add(1, Ordering::Relaxed);
        }
        counts.up.fetch_add(length as u64, Ordering::Relaxed);
        if to.write_all(sent).await.is_err() {
            return;
        }
    }
}

async fn down(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, counts: &Counts) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let Ok(length @ 1..) = from.read(&mut chunk).await else { return };
        counts.down.fetch_add(length as u64, Ordering::Relaxed);
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}
