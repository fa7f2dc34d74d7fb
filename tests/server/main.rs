//! The real server on a free port, with strangers of all kinds as its clients and the test as the driver.
//!
//! `bench` is the server of a benchmark; `clock` stands still where deadlines matter; `doors` are TLS and invitations;
//! `harness` starts the server and plays driver and volunteer; `http` asks for pages and shards; `operator` is the dashboard behind its token; `proxies` stand in front;
//! `sessions` are volunteers from hello to goodbye; `unix` is a Unix socket behind a proxy; `unkind` are clients that are rude, silent or slow.

mod bench;
mod clock;
mod doors;
mod harness;
mod http;
mod operator;
mod proxies;
mod sessions;
mod standing;
#[cfg(unix)]
mod unix;
mod unkind;
