//! Who makes a request, and as whom they know this server: the headers of a trusted proxy taken into account.

use std::net::IpAddr;

use warp::http::HeaderMap;
use warp::http::header::HeaderName;
use warp::http::uri::Authority;

use super::Peer;
use super::replies::lists;
use crate::config::Cidr;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// One request as its visitor sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visit {
    /// The visitor.
    pub(super) address: IpAddr,
    /// Host and port that the visitor asked for.
    pub(super) authority: Option<Authority>,
    /// Whether the visitor's connection is encrypted.
    pub(super) secure: bool,
}

impl Visit {
    /// A request from `peer`, which names `authority`, over TLS or not. Only if the peer is a trusted proxy, what it
    /// forwards counts instead. Of a chain of proxies, the visitor is the last that is not trusted: everything
    /// before could be made up.
    pub(super) fn of(
        peer: Peer,
        authority: Option<Authority>,
        secure: bool,
        headers: &HeaderMap,
        trusted: &[Cidr],
    ) -> Visit {
        if !is_proxy(peer, trusted) {
            return Visit { address: peer.ip(), authority, secure };
        }
        let last = |name: &HeaderName| lists(headers, name).last().filter(|item| !item.is_empty());
        let mut address = peer.ip();
        let chain: Vec<&str> = lists(headers, &FORWARDED_FOR).collect();
        for item in chain.into_iter().rev() {
            let Some(before) = forwarded_address(item) else { break };
            address = before;
            if !is_trusted(before, trusted) {
                break;
            }
        }
        Visit {
            address: address.to_canonical(),
            authority: last(&FORWARDED_HOST).and_then(|host| host.parse().ok()).or(authority),
            secure: last(&FORWARDED_PROTO).map_or(secure, |proto| proto.eq_ignore_ascii_case("https")),
        }
    }
}

/// Whether the other end of a connection is a proxy whose headers are believed.
pub(super) fn is_proxy(peer: Peer, trusted: &[Cidr]) -> bool {
    peer.is_vouched_for() || is_trusted(peer.ip(), trusted)
}

fn is_trusted(address: IpAddr, trusted: &[Cidr]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// An address with or without a port.
fn forwarded_address(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(text);
    inner.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    #[cfg(unix)]
    use crate::server::connections::counted_as;

    fn visit(peer: &str, headers: &[(HeaderName, &str)]) -> Visit {
        visit_of(Peer::Tcp(SocketAddr::new(peer.parse().unwrap(), 4711)), headers)
    }

    fn visit_of(peer: Peer, headers: &[(HeaderName, &str)]) -> Visit {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let trusted = ["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let authority = Some(Authority::from_static("127.0.0.1:8080"));
        Visit::of(peer, authority, false, &headers, &trusted)
    }

    #[test]
    fn a_trusted_proxy_says_who_is_behind_it() {
        let headers = [
            (FORWARDED_FOR, "203.0.113.9"),
            (FORWARDED_HOST, "shoal.example.org"),
            (FORWARDED_PROTO, "https"),
        ];
        let seen = visit("127.0.0.1", &headers);
        assert_eq!(seen.address, "203.0.113.9".parse::<IpAddr>().unwrap());
        assert_eq!(seen.authority.unwrap(), "shoal.example.org");
        assert!(seen.secure);
    }

    #[test]
    fn nobody_else_is_believed() {
        let seen = visit("203.0.113.1", &[(FORWARDED_FOR, "127.0.0.1"), (FORWARDED_PROTO, "https")]);
        assert_eq!(seen.address, "203.0.113.1".parse::<IpAddr>().unwrap());
        assert!(!seen.secure);
    }

    #[cfg(unix)]
    #[test]
    fn whoever_may_open_a_unix_socket_is_believed_and_without_a_name_has_no_rights_of_this_machine() {
        let address = |chain: &str| visit_of(Peer::Unix, &[(FORWARDED_FOR, chain)]).address;
        assert_eq!(address("203.0.113.9").to_string(), "203.0.113.9");
        assert_eq!(address("192.0.2.66, 203.0.113.9, 10.1.2.3").to_string(), "203.0.113.9");
        assert_eq!(address("127.0.0.1, 203.0.113.9").to_string(), "203.0.113.9");
        let nobody = visit_of(Peer::Unix, &[]).address;
        // nginx writes this of a visitor who came over a Unix socket.
        assert_eq!(address("unix:"), nobody);
        assert!(!nobody.is_loopback() && counted_as(nobody).is_some());
        assert!(visit_of(Peer::Unix, &[(FORWARDED_PROTO, "https")]).secure);
    }

    #[test]
    fn what_a_visitor_makes_up_is_passed_over() {
        let address = |chain: &str| visit("127.0.0.1", &[(FORWARDED_FOR, chain)]).address.to_string();
        assert_eq!(address("192.0.2.66, 203.0.113.9, 10.1.2.3"), "203.0.113.9");
        assert_eq!(address("192.0.2.66, 203.0.113.9:4711"), "203.0.113.9");
        assert_eq!(address("[2001:db8::1]:443"), "2001:db8::1");
        assert_eq!(address("rubbish"), "127.0.0.1");
        assert_eq!(address("203.0.113.9, rubbish"), "127.0.0.1");
        assert_eq!(address(""), "127.0.0.1");
    }
}
