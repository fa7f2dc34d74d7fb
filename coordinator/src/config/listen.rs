//! Values of the settings that say where the page is.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use hyper::Uri;

use super::values::HostName;

/// Characters of the longest public address.
const PUBLIC_CHARACTERS_MAX: usize = 512;

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
