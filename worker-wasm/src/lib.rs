//! The volunteer's worker in a browser.
//!
//! One module serves both kinds of Web Worker of a tab. [`start_hub`] runs in the one that owns
//! the connection, the shards and the compute workers; [`start_compute`] runs in each of these,
//! one for every lent core. What they do is decided by the `worker` crate; here is only what a
//! browser adds: the WebSocket, downloads, timers, and messages between workers and page.
//! [`BenchCase`] is what the page `/bench` measures: the same code, with nothing around it.

#![forbid(unsafe_code)]

mod agent;
mod bench;
mod compute;
mod fetch;
mod hub;
mod listener;
mod page;
mod parcel;
mod pool;
mod reports;
mod scope;
mod socket;

pub use bench::{BenchCase, bench_cases};
pub use compute::start_compute;
pub use hub::start_hub;
