//! What tests of several crates share, so that each thing is written down once.
//!
//! - `world`: a run as volunteers learn of it
//! - `python`: Python with the packages that read what Shoal writes
//! - `ports`: ports for servers that cannot take any free one
//!
//! With the feature `program`, for the tests of the binary:
//!
//! - `program`: the binary, run to its end or watched while it runs
//! - `coordinator`: a training under way: its address, its status, its result
//! - `browser`: Chromium tabs

#[cfg(feature = "program")]
pub mod browser;
#[cfg(feature = "program")]
pub mod coordinator;
pub mod ports;
#[cfg(feature = "program")]
pub mod program;
pub mod python;
pub mod world;
