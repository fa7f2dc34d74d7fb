//! Volunteers outside a browser.
//!
//! Both kinds run the same hub and compute workers as a tab. [`run`] lends this machine to a coordinator
//! elsewhere. [`spawn_local`] is the coordinator's own worker, whose frames pass through memory. All
//! decisions are in the `worker` crate.

mod address;
mod connection;
mod http;
mod identity;
mod local;
mod memory;
mod mirror;
mod native;
mod runner;
#[cfg(test)]
mod tests;
mod wire;

pub use address::{Address, AddressError};
pub(crate) use http::get;
pub use identity::Identity;
pub use local::{RESTARTS_MAX, spawn_local};
pub(crate) use mirror::warn_of_mirror;
pub use native::{GIVE_UP_AFTER, Options, Summary, run};
pub(crate) use runner::{Errand, Runner, settings};
pub(crate) use wire::Wire;
