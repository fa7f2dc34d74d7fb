//! A coordinator's address, as a person writes it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::Uri;
use thiserror::Error;

use crate::config::is_localhost;

/// A coordinator's address, written as `http://host:port/path`, `https://host`, `ws://host:port` or `host:port`, with
/// an invitation behind `#invite=` if there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether to speak TLS.
    pub(super) secure: bool,
    /// The host, without brackets.
    pub(super) host: String,
    /// Host and port, as they stand in requests.
    pub(super) authority: String,
    /// The path of the page, without a slash at its end: empty, or `/shoal`.
    pub(super) base: String,
    /// The invitation's token.
    pub(super) invite: Option<String>,
}

/// A text is not a coordinator's address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It names no host, or is no address at all.
    #[error("\"{0}\" is not a coordinator's address; use one like http://192.168.1.20:8080")]
    Malformed(String),
}

impl Address {
    /// Whether it asks for TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host and port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether it is one of this machine.
    pub(super) fn is_loopback(&self) -> bool {
        is_localhost(&self.host) || self.host.parse().is_ok_and(|host: IpAddr| host.is_loopback())
    }

    /// Host and port as browsers name them: without the port that the scheme has anyway. Some servers of many sites
    /// know their names in no other way.
    pub(super) fn site(&self) -> &str {
        let usual = if self.secure { ":443" } else { ":80" };
        self.authority.strip_suffix(usual).unwrap_or(&self.authority)
    }

    /// The address of something beside the page. `path` begins with a slash.
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The address of the channel.
    pub(crate) fn channel(&self) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}/channel", self.authority, self.base)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let (text, fragment) = text.split_once('#').map_or((text, None), |(text, rest)| (text, Some(rest)));
        let malformed = || AddressError::Malformed(text.to_owned());
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = with_scheme.parse().map_err(|_| malformed())?;
        let secure = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(malformed()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(malformed)?;
        let has_port = uri.authority().is_some_and(|authority| authority.as_str().len() > host.len());
        let port = match uri.port_u16() {
            Some(port) => port,
            // An invalid port, or a user's name.
            None if has_port => return Err(malformed()),
            None if secure => 443,
            None => 80,
        };
        // The channel's own address is as good as the page's.
        let base = uri.path().strip_suffix("/channel").unwrap_or(uri.path()).trim_end_matches('/');
        let invite = match fragment {
            None | Some("") => None,
            Some(fragment) => {
                let token = fragment.split('&').find_map(|item| item.strip_prefix("invite="));
                Some(token.filter(|token| !token.is_empty()).ok_or_else(malformed)?.to_owned())
            }
        };
        Ok(Address {
            secure,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            authority: format!("{host}:{port}"),
            base: base.to_owned(),
            invite,
        })
    }
}

/// The address of the coordinator's page, without the invitation, which is nobody else's business.
impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(formatter, "{scheme}://{}{}", self.authority, self.base)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_written_in_several_ways() {
        for text in ["http://shoal:8080", "http://shoal:8080/", "ws://shoal:8080/channel", "shoal:8080"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), "http://shoal:8080");
            assert_eq!(address.to_string().parse(), Ok(address), "its own spelling is one of them");
        }
        let address: Address = "http://[::1]/".parse().unwrap();
        assert_eq!((address.to_string().as_str(), address.host.as_str()), ("http://[::1]:80", "::1"));
        assert_eq!(address.site(), "[::1]");
        assert_eq!("shoal:8080".parse::<Address>().unwrap().site(), "shoal:8080");
    }

    #[test]
    fn an_address_may_have_encryption_a_path_and_an_invitation() {
        let address: Address = "https://example.org/shoal/#invite=a-token".parse().unwrap();
        assert_eq!(address.to_string(), "https://example.org:443/shoal");
        assert_eq!(address.channel(), "wss://example.org:443/shoal/channel");
        assert_eq!(address.path("/api/status"), "/shoal/api/status");
        assert_eq!(address.site(), "example.org");
        assert_eq!(address.invite.as_deref(), Some("a-token"));
        assert!(!format!("{address:?} {address}").contains("token"));
        let plain: Address = "http://example.org/".parse().unwrap();
        assert_eq!((plain.channel().as_str(), plain.invite), ("ws://example.org:80/channel", None));
    }

    #[test]
    fn an_address_that_cannot_be_used_is_named() {
        let unusable = ["", "http://", "ftp://shoal", "a b", "shoal:port", "shoal:99999", "http://a@shoal"];
        for text in unusable {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.to_string().contains(&format!("\"{text}\"")), "{error}");
        }
        assert!("http://shoal#token".parse::<Address>().is_err(), "no invitation");
    }
}
