//! The volunteer's worker in a browser.
//!
//! One module serves both kinds of Web Worker of a tab. [`start_hub`] runs in the worker that owns the
//! connection, the shards and the compute workers. [`start_compute`] runs in each compute worker, one per
//! lent core. The `worker` crate makes the decisions. This crate adds only the browser's part: the WebSocket,
//! downloads, timers, and messages between workers and page. [`BenchCase`] lets the page `/bench` measure the
//! same code on its own, and [`TrialNetwork`] lets the page `/try` ask the network.

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
mod trial;

pub use bench::{BenchCase, bench_cases};
pub use compute::start_compute;
pub use hub::start_hub;
pub use trial::TrialNetwork;
