//! The benchmark's page and its one result.

use std::net::SocketAddr;

use coordinator::bench::report::Outcome;
use coordinator::server::{bind, serve_bench};
use serde_json::json;
use tokio::sync::oneshot;

use crate::clock::in_time;
use crate::harness::TestServer;
use crate::http::{ask, send};

/// A server for a benchmark; it ends when the sender is dropped.
async fn start() -> (SocketAddr, oneshot::Receiver<Outcome>, oneshot::Sender<()>) {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (take, taken) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(serve_bench(listener, take, async {
        let _ = stopped.await;
    }));
    (address, taken, stop)
}

fn result() -> Vec<u8> {
    let case = json!({
        "case": "convnet/32", "arithmetic": "fused", "cores": 1, "gflops": 1.5, "gflops_median": 1.25,
        "examples_per_second": 1e4, "roof_share": 0.5
    });
    let machine = json!({ "kind": "browser", "name": "a browser", "cores": 2 });
    serde_json::to_vec(&json!({ "machine": machine, "roofs": [], "cases": [case], "missing": [] })).unwrap()
}

#[tokio::test]
async fn one_result_is_taken() {
    let (address, taken, _stop) = start().await;
    let first = send(address, "POST /bench/result", &[], &result()).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let Ok(Outcome::Measured(report)) = in_time(taken).await else { panic!("a report was posted") };
    assert_eq!(report.cases[0].case, "convnet/32");
    let second = send(address, "POST /bench/result", &[], &result()).await;
    assert_eq!(second.status, 409, "{}", second.text());
}

#[tokio::test]
async fn nothing_else_is_taken() {
    let (address, mut taken, _stop) = start().await;
    let foreign = [("host", "evil.example")];
    let other_site = [("origin", "http://evil.example")];
    let too_much = vec![b' '; 1 << 20];
    for (headers, body, status) in [
        (&[][..], &b"{}"[..], 400),
        (&[], b"[[[[", 400),
        (&[], b"", 411),
        (&[], &too_much, 413),
        (&foreign, &result(), 421),
        (&other_site, &result(), 403),
    ] {
        let answer = send(address, "POST /bench/result", headers, body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().trim().ends_with('.'), "{}", answer.text());
    }
    assert!(taken.try_recv().is_err(), "nothing was taken");
    // The page says so instead, which ends the waiting.
    let said = send(address, "POST /bench/result", &[], br#"{"error": "The result was not taken."}"#).await;
    assert_eq!(said.status, 200, "{}", said.text());
    let Ok(Outcome::Failed { error }) = in_time(taken).await else { panic!("an error was posted") };
    assert_eq!(error, "The result was not taken.");
}

#[tokio::test]
async fn a_training_serves_the_page_and_takes_no_result() {
    let server = TestServer::start().await;
    let page = ask(server.address, "GET /bench", &[]).await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    let examples = ask(server.address, "GET /bench/mnist", &[]).await;
    assert_eq!(examples.status, 200);
    assert_eq!(examples.header("content-encoding"), "gzip");
    assert!(examples.body.starts_with(b"\x1f\x8b"));
    let refused = send(server.address, "POST /bench/result", &[], &result()).await;
    assert_eq!(refused.status, 405);
}
