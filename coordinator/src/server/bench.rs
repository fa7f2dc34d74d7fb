//! A server for a benchmark: it serves the pages and accepts one posted result. It has no training and no
//! volunteers.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use warp::Filter as _;

use super::connections::Slots;
use super::limits::CONNECTIONS_MIN;
use super::routes::{self, Gate};
use super::{ServerConfig, Socket, serve_routes};
use crate::bench::report::Outcome;

/// Serves the page `/bench` until `shutdown` completes. The first posted result goes to `take`.
pub async fn serve_bench(socket: Socket, take: oneshot::Sender<Outcome>, shutdown: impl Future<Output = ()>) {
    let slots = Slots::new(CONNECTIONS_MIN);
    let gate = Gate::new(&ServerConfig::default(), Arc::clone(&slots));
    let routes = routes::bench_routes(Arc::new(Mutex::new(Some(take))), Arc::clone(&gate)).boxed();
    serve_routes(socket, slots, gate, routes, shutdown).await;
}
