//! The addresses at which the server can be reached, and the names that it answers to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Socket;
use crate::config::{DEFAULT_PORT, HostName, Listen, PublicUrl};
use crate::report::progress::Page;

/// Addresses at which a server bound to `bound` can be reached, the most useful for this machine first.
///
/// A server bound to one address has just that one. A server bound to all addresses has this machine's
/// loopback address, then the addresses of its network interfaces in order, IPv4 before IPv6. Link-local
/// addresses are left out, because browsers cannot open them, and so are interfaces that cannot be listed.
pub fn addresses(bound: SocketAddr) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let interfaces = local_ip_address::list_afinet_netifas().unwrap_or_default();
    let mut others: Vec<IpAddr> = interfaces
        .into_iter()
        .map(|(_, address)| address)
        .filter(|address| bound.is_ipv6() || address.is_ipv4())
        .filter(|address| is_reachable(*address))
        .collect();
    others.sort_unstable();
    others.dedup();
    let own = IpAddr::V4(Ipv4Addr::LOCALHOST);
    std::iter::once(own).chain(others).map(|address| SocketAddr::new(address, bound.port())).collect()
}

/// The places where the page of a server can be opened, the nearest first: its public address if it has one, otherwise
/// the addresses of this machine. Never none.
pub fn pages(socket: &Socket, public: Option<&PublicUrl>, tls: bool) -> Vec<Page> {
    if let Some(public) = public {
        return vec![Page::behind_proxy(public)];
    }
    match socket.local_addr() {
        Some(bound) => addresses(bound).into_iter().map(|address| Page::at(address, tls)).collect(),
        // The settings see to it that a Unix socket has a public address. This name is always admitted.
        None => vec![Page::at(SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)), tls)],
    }
}

/// Where a proxy finds the server, in a sentence; `None` for what everybody can open.
pub fn told_of_proxy(place: &Listen) -> Option<String> {
    place.unix().map(|_| format!("A proxy that belongs to the file's group finds the page at {place}."))
}

/// The host names that requests may use, besides IP addresses and `localhost`.
pub fn allowed_hosts(names: &[HostName], public: Option<&PublicUrl>) -> Vec<String> {
    // An address is admitted anyway.
    let public = public.map(PublicUrl::host).filter(|host| !host.starts_with('['));
    names.iter().map(HostName::as_str).chain(public).map(str::to_owned).collect()
}

fn is_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => address != Ipv6Addr::LOCALHOST && !address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bound_address_is_the_only_one() {
        let bound = "192.0.2.7:8080".parse().unwrap();
        assert_eq!(addresses(bound), [bound]);
    }

    #[test]
    fn all_addresses_begin_with_this_machine_and_keep_the_port() {
        let found = addresses("0.0.0.0:8080".parse().unwrap());
        assert_eq!(found[0], "127.0.0.1:8080".parse().unwrap());
        assert!(found.iter().all(|address| address.port() == 8080 && address.is_ipv4()));
        assert!(found[1..].iter().all(|address| !address.ip().is_loopback()));
    }
}
