//! Decides who may talk to the server: the checks of Host and Origin, without I/O.
//!
//! Any web site can make a browser open a connection to this machine. It can also name this machine by a host
//! name of its own (DNS rebinding), and the browser then believes that it talks to the site. So a request
//! must name the server by an address or by one of its known names. A request that names the site it comes
//! from must come from the server's own pages.
//!
//! A proxy in front may change the name that a request gives, so that the server's own pages look like another
//! site's. Then three things help: a name of `--allow-host`, a proxy that is trusted and forwards the name, or a
//! browser that vouches that page and request belong together.

use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;
use warp::http::StatusCode;
use warp::http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use warp::http::uri::Authority;

use super::limits::QUOTE_BYTES_MAX;
use crate::report::words::steers;

/// Why a request is refused, in one sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Denied {
    /// The request names no host, or several.
    #[error("The request needs exactly one Host header.")]
    NoHost,
    /// The request names a host that is not known to be this server.
    #[error(
        "This coordinator does not answer to the name \"{0}\". Open it by its IP address, or start it with --allow-host {0}."
    )]
    Host(String),
    /// The request comes from another site's page, or a proxy has changed the host that it names.
    #[error(
        "This coordinator does not answer requests from pages of another site (\"{origin}\" is not \"{host}\"). If a \
         proxy in front has changed the host's name, have it pass the name on (nginx: proxy_set_header Host \
         $http_host;) and start the coordinator with --allow-host and that name."
    )]
    Origin {
        /// The site.
        origin: String,
        /// The host that the request names.
        host: String,
    },
    /// The visitor has no invitation.
    #[error(
        "This training is by invitation: open the link that you were sent, which ends in #invite= and a token."
    )]
    Uninvited,
    /// The operator has banned the visitor's address.
    #[error("The operator of this training has banned this address.")]
    Banned,
}

impl Denied {
    /// The status of the response.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Denied::NoHost => StatusCode::BAD_REQUEST,
            Denied::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Denied::Origin { .. } | Denied::Banned => StatusCode::FORBIDDEN,
            Denied::Uninvited => StatusCode::UNAUTHORIZED,
        }
    }
}

/// Judges a request by its headers. `authority` is the host and port that the request names. `allowed` holds
/// the server's own host names, besides IP addresses and `localhost`.
///
/// A request without Origin passes. Programs send none, and browsers always send it where a page of another
/// site could do harm (on the channel).
pub(super) fn check(
    headers: &HeaderMap,
    authority: Option<&Authority>,
    allowed: &[String],
) -> Result<(), Denied> {
    let authority = authority.ok_or(Denied::NoHost)?;
    if headers.get_all(HOST).iter().count() > 1 || authority.as_str().contains('@') {
        return Err(Denied::NoHost);
    }
    if !is_own_host(authority.host(), allowed) {
        return Err(Denied::Host(quote(authority.host())));
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => Ok(()),
        (Some(origin), None)
            if is_same_site(origin, authority) || is_own_name(origin, allowed) || is_vouched_for(headers) =>
        {
            Ok(())
        }
        (Some(origin), _) => Err(Denied::Origin {
            origin: quote(&String::from_utf8_lossy(origin.as_bytes())),
            host: quote(authority.as_str()),
        }),
    }
}

/// The beginning of a client's text, made safe to repeat.
pub(super) fn quote(text: &str) -> String {
    let clean = text.chars().map(|c| if steers(c) { '?' } else { c });
    let mut quoted = String::new();
    for c in clean {
        if quoted.len() + c.len_utf8() > QUOTE_BYTES_MAX {
            break;
        }
        quoted.push(c);
    }
    quoted
}

fn is_own_host(host: &str, allowed: &[String]) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    host.parse::<Ipv4Addr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || allowed.iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// Whether an Origin is this server's: `http` or `https` (behind a proxy that terminates TLS) with exactly
/// the host and port that the request names.
fn is_same_site(origin: &HeaderValue, authority: &Authority) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let (site, default_port) = match (origin.strip_prefix("http://"), origin.strip_prefix("https://")) {
        (Some(site), _) => (site, ":80"),
        (_, Some(site)) => (site, ":443"),
        _ => return false,
    };
    let without_default = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_ascii_lowercase();
    without_default(site) == without_default(authority.as_str())
}

/// Whether an Origin is one of the server's own names on a port that needs no mention.
fn is_own_name(origin: &HeaderValue, allowed: &[String]) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let site = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    site.is_some_and(|site| allowed.iter().any(|name| name.eq_ignore_ascii_case(site)))
}

/// Whether the browser says that the page has the same origin as the address that it asked for. Pages cannot
/// set this header. The host in front of a proxy is another than the one behind it, but both are this server.
fn is_vouched_for(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(host: &str, origin: Option<&str>) -> Result<(), Denied> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        let allowed = ["train.example.org".to_owned()];
        check(&headers, host.parse().ok().as_ref(), &allowed)
    }

    #[test]
    fn hosts() {
        let own = [
            "127.0.0.1:8080",
            "127.0.0.1",
            "192.168.1.20:8080",
            "[::1]:8080",
            "[2001:db8::1]",
            "localhost:8080",
            "LocalHost",
            "localhost.",
            "train.example.org",
            "Train.Example.ORG:443",
        ];
        for host in own {
            assert_eq!(judge(host, None), Ok(()), "{host}");
        }
        let foreign = [
            "evil.example",
            "localhost.evil.example:8080",
            "127.0.0.1.evil.example",
            "notlocalhost",
            "2130706433",
            "0x7f.0.0.1",
            "127.1",
            "example.org",
            "sub.train.example.org",
            "[localhost]",
        ];
        for host in foreign {
            assert!(judge(host, None).is_err(), "{host}");
        }
        assert_eq!(judge("a@127.0.0.1", None), Err(Denied::NoHost));
    }

    #[test]
    fn origins() {
        let same = [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("localhost", "http://localhost"),
            ("localhost:80", "http://localhost"),
            ("train.example.org", "https://train.example.org"),
            ("Train.example.org:443", "https://train.EXAMPLE.org"),
            ("[::1]:8080", "http://[::1]:8080"),
        ];
        for (host, origin) in same {
            assert_eq!(judge(host, Some(origin)), Ok(()), "{origin}");
        }
        let foreign = [
            ("127.0.0.1:8080", "http://127.0.0.1:9090"),
            ("127.0.0.1:8080", "http://localhost:8080"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080.evil.example"),
            ("127.0.0.1:8080", "http://evil.example"),
            ("127.0.0.1:8080", "null"),
            ("127.0.0.1:8080", ""),
            ("127.0.0.1:8080", "chrome-extension://127.0.0.1:8080"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("localhost:443", "http://localhost"),
        ];
        for (host, origin) in foreign {
            assert!(matches!(judge(host, Some(origin)), Err(Denied::Origin { .. })), "{origin}");
        }
    }

    #[test]
    fn behind_a_proxy_that_changes_the_host() {
        assert_eq!(judge("127.0.0.1:8080", Some("https://train.example.org")), Ok(()));
        assert!(judge("127.0.0.1:8080", Some("https://train.example.org:8443")).is_err());
        let refused = judge("127.0.0.1:8080", Some("http://192.0.2.7")).unwrap_err().to_string();
        assert!(refused.contains("proxy_set_header Host $http_host;"), "{refused}");
        let authority = Authority::from_static("127.0.0.1:8080");
        for (site, allowed) in [("same-origin", true), ("same-site", false), ("cross-site", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, HeaderValue::from_static("https://train.example.net"));
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            assert_eq!(check(&headers, Some(&authority), &[]).is_ok(), allowed, "{site}");
        }
        // The name of the host still counts: it is what a rebound name gives away.
        let authority = Authority::from_static("evil.example");
        let mut headers = HeaderMap::new();
        headers.insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
        assert!(matches!(check(&headers, Some(&authority), &[]), Err(Denied::Host(_))));
    }

    #[test]
    fn one_host_and_one_origin() {
        assert_eq!(check(&HeaderMap::new(), None, &[]), Err(Denied::NoHost));
        let authority = Authority::from_static("localhost");
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static("localhost"));
        headers.append(HOST, HeaderValue::from_static("localhost"));
        assert_eq!(check(&headers, Some(&authority), &[]), Err(Denied::NoHost));
        let mut headers = HeaderMap::new();
        headers.append(ORIGIN, HeaderValue::from_static("http://localhost"));
        headers.append(ORIGIN, HeaderValue::from_static("http://localhost"));
        assert!(matches!(check(&headers, Some(&authority), &[]), Err(Denied::Origin { .. })));
    }

    #[test]
    fn what_is_repeated_is_short_and_printable() {
        assert_eq!(quote("a\nb\u{1b}[0m"), "a?b?[0m");
        assert_eq!(quote(&"ü".repeat(1000)).len(), QUOTE_BYTES_MAX);
    }
}
