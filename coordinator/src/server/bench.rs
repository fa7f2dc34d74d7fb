//! A server for a benchmark: it serves the pages and accepts one posted result. It has no training and no
//! volunteers.

use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use warp::Filter as _;

use super::connections::Slots;
use super::limits::CONNECTIONS_MIN;
use super::routes::{self, Gate};
use super::upgrade::Visitor;
use super::{Deadlines, ServerConfig, accept_all, http};
use crate::bench::report::Outcome;

/// Serves the page `/bench` until `shutdown` completes. The first posted result goes to `take`.
pub async fn serve_bench(
    listener: TcpListener,
    take: oneshot::Sender<Outcome>,
    shutdown: impl Future<Output = ()>,
) {
    let slots = Slots::new(CONNECTIONS_MIN);
    let gate = Gate::new(&ServerConfig::default(), Arc::clone(&slots));
    let routes = routes::bench_routes(Arc::new(Mutex::new(Some(take))), Arc::clone(&gate)).boxed();
    let (close, closing) = watch::channel(false);
    let deadline = Deadlines::default().handshake;
    accept_all(listener, slots, gate, shutdown, close, move |stream, peer, slot| {
        let (routes, closing) = (routes.clone(), closing.clone());
        async move {
            let visitor = Visitor::new(peer.ip().to_canonical(), false);
            http(routes, deadline, closing, stream, visitor, false).await;
            drop(slot);
        }
    })
    .await;
}
