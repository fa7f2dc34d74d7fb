//! A coordinator's address, as a person writes it.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use thiserror::Error;

/// The port when none is written.
const DEFAULT_PORT: u16 = 80;

/// A coordinator's address, written as `http://host:port`, `ws://host:port` or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host and port.
    pub(super) authority: String,
}

/// A text is not a coordinator's address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It names no host, or is no address at all.
    #[error("\"{0}\" is not a coordinator's address; use one like http://192.168.1.20:8080")]
    Malformed(String),
    /// It asks for TLS.
    #[error("\"{0}\" asks for encryption, which Shoal does not support yet; use http://")]
    Encrypted(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let malformed = || AddressError::Malformed(text.to_owned());
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = with_scheme.parse().map_err(|_| malformed())?;
        match uri.scheme_str() {
            Some("http" | "ws") => {}
            Some("https" | "wss") => return Err(AddressError::Encrypted(text.to_owned())),
            _ => return Err(malformed()),
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(malformed)?;
        let has_port = uri.authority().is_some_and(|authority| authority.as_str().len() > host.len());
        let port = match uri.port_u16() {
            Some(port) => port,
            // An invalid port, or a user's name.
            None if has_port => return Err(malformed()),
            None => DEFAULT_PORT,
        };
        Ok(Address { authority: format!("{host}:{port}") })
    }
}

/// The address of the coordinator's page.
impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}", self.authority)
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
        assert_eq!(address.to_string(), "http://[::1]:80");
    }

    #[test]
    fn an_address_that_cannot_be_used_is_named() {
        let unusable = [
            "",
            "http://",
            "ftp://shoal",
            "a b",
            "shoal:port",
            "shoal:99999",
            "http://a@shoal",
            "https://shoal",
        ];
        for text in unusable {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.to_string().contains(&format!("\"{text}\"")), "{error}");
            assert_eq!(matches!(error, AddressError::Encrypted(_)), text.starts_with("https"));
        }
    }
}
