//! The real server on a free port, with strangers of all kinds as its clients and the test as the driver.
//!
//! `bench` is the server of a benchmark; `clock` stands still where deadlines matter; `harness` starts the server and plays driver and volunteer; `http` asks for pages and shards; `sessions`
//! are volunteers from hello to goodbye; `unkind` are clients that are rude, silent or slow.

mod bench;
mod clock;
mod harness;
mod http;
mod sessions;
mod unkind;
