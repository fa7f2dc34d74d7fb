//! Values of the settings that say where the page is: for the system, and for visitors.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hyper::Uri;

use super::error::ConfigError;
use super::values::HostName;

/// The port used where an address names none.
pub const DEFAULT_PORT: u16 = 8080;
/// What comes before the path of a Unix socket.
const UNIX: &str = "unix:";
/// Bytes of the longest path of a Unix socket. Linux has room for 108 and BSD for 104, a zero at the end included.
const UNIX_PATH_BYTES_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
/// Characters of the longest public address.
const PUBLIC_CHARACTERS_MAX: usize = 512;

/// Where to serve: `ADDRESS:PORT`, or either half of it, or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address of TCP.
    Tcp(SocketAddr),
    /// The absolute path of a Unix socket, which a proxy on this machine connects to.
    Unix(PathBuf),
}

impl Listen {
    /// The path, if this is a Unix socket.
    pub fn unix(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }

    /// Checks that a page with this public address may be served here, encrypted or not.
    ///
    /// # Errors
    /// A Unix socket has no address that a browser could open, and its proxy speaks plain HTTP with it.
    pub fn suits(&self, public: Option<&PublicUrl>, encrypts: bool) -> Result<(), ConfigError> {
        let refuse =
            |setting, problem: &str| Err(ConfigError::Setting { setting, problem: problem.to_owned() });
        match self {
            Self::Unix(_) if encrypts => refuse(
                "listen",
                "behind a Unix socket the proxy encrypts; leave out --tls-cert, --tls-key and --tls-self-signed, or give an \
                 address such as 127.0.0.1:8080",
            ),
            Self::Unix(_) if public.is_none() => refuse(
                "listen",
                "no browser can open a Unix socket; give the address that the proxy has for visitors with --public-url, such \
                 as --public-url https://shoal.example.org",
            ),
            _ => Ok(()),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "{UNIX}{}", path.display()),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return unix_path(path).map(Self::Unix);
        }
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self::Tcp(address));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Tcp(SocketAddr::from((address, DEFAULT_PORT))));
        }
        let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
        match port.parse() {
            Ok(port) => Ok(Self::Tcp(local(port))),
            Err(_) if text == "localhost" => Ok(Self::default()),
            Err(_) => Err("give an address of this machine such as 127.0.0.1:8080, or a port; \
                           0.0.0.0:8080 lets the whole network in; unix:/run/shoal/shoal.sock is for a proxy"
                .to_owned()),
        }
    }
}

/// A path that the system takes for a socket. It must be absolute, so that `run.toml` and the proxy's settings mean
/// the same file in whatever folder a command is started.
fn unix_path(text: &str) -> Result<PathBuf, String> {
    if !text.starts_with('/') || text.chars().any(char::is_control) {
        return Err("give the absolute path of the socket, such as unix:/run/shoal/shoal.sock".to_owned());
    }
    if text.len() > UNIX_PATH_BYTES_MAX {
        return Err(format!(
            "the path of a Unix socket may have {UNIX_PATH_BYTES_MAX} bytes, and this one has {}; choose a shorter one, \
             such as unix:/run/shoal/shoal.sock",
            text.len()
        ));
    }
    Ok(PathBuf::from(text))
}

/// The address under which visitors find the page, as a proxy in front has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// Without slashes at its end.
    base: String,
    host: String,
    has_path: bool,
}

impl PublicUrl {
    /// The host, without a port; an address of IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether visitors come with TLS.
    pub fn is_secure(&self) -> bool {
        self.base.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
    }

    /// The address of the page. Its files are beside it, so a path ends with a slash.
    pub fn page(&self) -> String {
        if self.has_path { format!("{}/", self.base) } else { self.base.clone() }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.page())
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "give the page's address for visitors, such as https://shoal.example.org".to_owned();
        // A fragment would be lost without a word, and the invitation's comes here.
        if text.len() > PUBLIC_CHARACTERS_MAX || text.contains(['#', '?', '@']) {
            return Err(wrong());
        }
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong());
        };
        let host = authority.host();
        let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_host = inner
            .map_or_else(|| host.parse::<HostName>().is_ok(), |address| address.parse::<Ipv6Addr>().is_ok());
        // A port that is none makes the authority longer than the host.
        let has_good_port = authority.port_u16().is_some() || authority.as_str() == host;
        if !is_host || !has_good_port {
            return Err(wrong());
        }
        Ok(Self {
            base: text.trim_end_matches('/').to_owned(),
            host: host.to_owned(),
            has_path: !uri.path().trim_matches('/').is_empty(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_socket_has_an_absolute_path_that_the_system_takes() {
        let listen: Listen = "unix:/run/shoal/shoal.sock".parse().unwrap();
        assert_eq!(listen.unix(), Some(Path::new("/run/shoal/shoal.sock")));
        assert_eq!(listen.to_string().parse(), Ok(listen));
        for wrong in ["unix:", "unix:shoal.sock", "unix:@shoal", "unix:/run/sh\0al"] {
            assert!(wrong.parse::<Listen>().unwrap_err().contains("absolute path"), "{wrong}");
        }
        let longest = format!("unix:/{}", "s".repeat(UNIX_PATH_BYTES_MAX - 1));
        assert!(longest.parse::<Listen>().is_ok());
        let refused = format!("{longest}s").parse::<Listen>().unwrap_err();
        assert!(refused.contains("shorter") && refused.contains("unix:/run/shoal/shoal.sock"), "{refused}");
    }

    #[test]
    fn a_public_address_is_that_of_a_page() {
        for (given, page, host) in [
            ("https://shoal.example.org", "https://shoal.example.org", "shoal.example.org"),
            ("https://shoal.example.org/", "https://shoal.example.org", "shoal.example.org"),
            ("http://192.0.2.7:8000", "http://192.0.2.7:8000", "192.0.2.7"),
            ("http://[2001:db8::1]/", "http://[2001:db8::1]", "[2001:db8::1]"),
            ("https://example.org/shoal", "https://example.org/shoal/", "example.org"),
            ("https://example.org/shoal/", "https://example.org/shoal/", "example.org"),
        ] {
            let url: PublicUrl = given.parse().unwrap();
            assert_eq!((url.page().as_str(), url.host()), (page, host), "{given}");
            assert_eq!(url.is_secure(), given.starts_with("https"));
            assert_eq!(url.to_string().parse(), Ok(url));
        }
        let long = format!("https://example.org/{}", "a".repeat(PUBLIC_CHARACTERS_MAX));
        for wrong in [
            "",
            "shoal.example.org",
            "ftp://shoal.example.org",
            "https://",
            "https:///shoal",
            "https://a@shoal.example.org",
            "https://shoal.example.org:port",
            "https://shoal.example.org:99999",
            "https://shoal.example.org/#invite=a-token",
            "https://shoal.example.org/?a=b",
            "https://shoal example.org",
            &long,
        ] {
            assert!(wrong.parse::<PublicUrl>().unwrap_err().contains("https://shoal.example.org"), "{wrong}");
        }
    }
}
