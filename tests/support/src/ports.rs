//! Ports for servers that cannot take any free one, because others must know it beforehand.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// The first port. All are below those that systems give to whoever asks for any, so that nobody else takes one between
/// here and the server's start, or while a server is down.
const FIRST: u16 = 20_000;
/// Ports of one process, and processes that have ports of their own. At the first port, a process listens as long as it
/// runs: so others know that the ports are taken.
const PORTS: u16 = 500;
const PROCESSES: u32 = 20;

/// A port of this machine at which nobody listens; each time another one.
///
/// # Panics
/// When there is none left.
pub fn free() -> u16 {
    static OWN: LazyLock<TcpListener> = LazyLock::new(claim);
    static TAKEN: AtomicU16 = AtomicU16::new(1);
    let first = OWN.local_addr().expect("it listens").port();
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(|| TAKEN.fetch_add(1, Ordering::Relaxed))
        .take_while(|taken| *taken < PORTS)
        .map(|taken| first + taken)
        .find(is_free)
        .expect("hundreds of ports are free")
}

/// Takes ports that no other process has.
fn claim() -> TcpListener {
    let first = (0..PROCESSES).map(|other| (process::id() + other) % PROCESSES);
    let mut ports = first.map(|number| FIRST + number as u16 * PORTS);
    ports
        .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .expect("few tests run at a time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_whose_numbers_are_alike_have_different_ports() {
        let own = free();
        let others = [claim(), claim()].map(|other| other.local_addr().unwrap().port());
        let range = |port: u16| (port - FIRST) / PORTS;
        assert_ne!(range(others[0]), range(others[1]));
        assert!(!others.map(range).contains(&range(own)));
    }
}
