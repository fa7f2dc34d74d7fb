//! Ports for servers that cannot take any free one, because others must know it beforehand.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// The first port. All are below those that systems give to whoever asks for any, so that nobody else takes one between
/// here and the server's start, or while a server is down.
const FIRST: u16 = 20_000;
/// Ports of one process, and processes that have ports of their own.
const PORTS: u16 = 500;
const PROCESSES: u32 = 20;

/// A port of this machine at which nobody listens; each time another one.
///
/// # Panics
/// When there is none left.
pub fn free() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = FIRST + (process::id() % PROCESSES) as u16 * PORTS;
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(|| TAKEN.fetch_add(1, Ordering::Relaxed))
        .take_while(|taken| *taken < PORTS)
        .map(|taken| first + taken)
        .find(is_free)
        .expect("hundreds of ports are free")
}
