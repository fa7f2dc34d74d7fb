//! Values of the settings that say who may visit, and from where.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::error::ConfigError;
use super::table::RunConfig;

/// A network, written as an address with the length of its prefix, such as 10.0.0.0/8, or as a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Whether an address belongs to the network. IPv4 addresses mapped to IPv6 count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let network = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(u32::from(address)).checked_shr(32 - u32::from(self.prefix)),
            IpAddr::V6(address) => u128::from(address).checked_shr(128 - u32::from(self.prefix)),
        };
        let address = address.to_canonical();
        // A prefix of 0 shifts all bits away and contains every address of its kind.
        address.is_ipv4() == self.address.is_ipv4()
            && network(address).unwrap_or(0) == network(self.address).unwrap_or(0)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "give a network such as 10.0.0.0/8, or an address such as 127.0.0.1".to_owned();
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let (address, bits) = if let Ok(address) = address.parse::<Ipv4Addr>() {
            (IpAddr::V4(address), 32)
        } else {
            (IpAddr::V6(address.parse::<Ipv6Addr>().map_err(|_| wrong())?), 128)
        };
        let prefix = prefix.unwrap_or(bits);
        if prefix > bits { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

/// The token that visitors need.
#[derive(Clone, PartialEq, Eq)]
pub enum Invite {
    /// `auto`: the coordinator draws one.
    Auto,
    /// A given value.
    Token(String),
}

impl Invite {
    /// Characters of the shortest token that may be chosen.
    const CHARACTERS_MIN: usize = 8;
    /// Characters of the longest.
    const CHARACTERS_MAX: usize = 128;
    /// Bytes of randomness in a token that is drawn.
    const RANDOM_BYTES: usize = 16;

    /// Draws a token that nobody can guess.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn draw() -> Result<String, getrandom::Error> {
        let mut bytes = [0; Self::RANDOM_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl RunConfig {
    /// Draws the token of an `auto` invitation, so that `run.toml` keeps it.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn draw_invite(&mut self) -> Result<(), ConfigError> {
        if self.invite == Some(Invite::Auto) {
            let token = Invite::draw().map_err(|error| ConfigError::Setting {
                setting: "invite",
                problem: format!("no token can be drawn ({error}); give one"),
            })?;
            self.invite = Some(Invite::Token(token));
        }
        Ok(())
    }
}

/// Without the token, which is never logged.
impl fmt::Debug for Invite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "Auto",
            Self::Token(_) => "Token(..)",
        })
    }
}

/// The value in `run.toml`, with which a resumed run keeps its link.
impl fmt::Display for Invite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "auto",
            Self::Token(token) => token,
        })
    }
}

impl FromStr for Invite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let length = Self::CHARACTERS_MIN..=Self::CHARACTERS_MAX;
        if length.contains(&text.len()) && text.bytes().all(is_plain) {
            return Ok(Self::Token(text.to_owned()));
        }
        Err(format!(
            "give auto, or {} to {} letters, digits, hyphens and underscores",
            Self::CHARACTERS_MIN,
            Self::CHARACTERS_MAX
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses() {
        let contains = |network: &str, address: &str| {
            network.parse::<Cidr>().unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.200.3.4") && !contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("127.0.0.1", "127.0.0.1") && !contains("127.0.0.1", "127.0.0.2"));
        assert!(contains("127.0.0.0/8", "::ffff:127.0.0.1"));
        assert!(contains("0.0.0.0/0", "192.0.2.1") && !contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:1::5") && !contains("2001:db8::/32", "2001:db9::"));
        assert!(contains("::/0", "2001:db8::1") && contains("::1", "::1"));
    }

    #[test]
    fn what_is_no_network_is_refused_with_an_example() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "example.org", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(text.parse::<Cidr>().unwrap_err().contains("10.0.0.0/8"), "{text}");
        }
        assert_eq!("10.0.0.0/8".parse::<Cidr>().unwrap().to_string(), "10.0.0.0/8");
    }

    #[test]
    fn a_token_is_drawn_or_chosen_and_never_shown_for_diagnosis() {
        assert_eq!("auto".parse(), Ok(Invite::Auto));
        let token = Invite::draw().unwrap();
        assert_ne!(token, Invite::draw().unwrap());
        let invite: Invite = token.parse().unwrap();
        assert_eq!(invite.to_string(), token);
        assert!(!format!("{invite:?}").contains(&token));
        for wrong in ["", "short", "with spaces in it", "with#fragment", &"x".repeat(129)] {
            assert!(wrong.parse::<Invite>().is_err(), "{wrong}");
        }
    }
}
