//! Admits only visitors with the invitation's token.
//!
//! The link that the operator hands out carries the token behind a `#`, which browsers send to nobody. So the first
//! page is a small one without anything of the training. Its script sends the token once and gets a cookie for it.
//! Programs send the cookie right away.

use warp::http::header::{COOKIE, HeaderMap, HeaderValue};

/// The cookie's name, which may have more characters: coordinators on other ports of this host have their own.
const COOKIE_NAME: &str = "shoal-invite";
/// Seconds that a browser keeps the cookie: a month.
const COOKIE_SECONDS: u32 = 30 * 24 * 3600;

/// The invitation of a run.
#[derive(Clone)]
pub struct Invitation {
    /// Comparing two BLAKE3 digests takes the same time wherever they differ.
    digest: blake3::Hash,
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Invitation")
    }
}

impl Invitation {
    /// Admits those that have `token`.
    pub fn new(token: &str) -> Invitation {
        Invitation { digest: digest(token) }
    }

    /// Whether a request comes from somebody invited.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookies =
            cookies.flat_map(|value| value.split(';')).filter_map(|item| item.trim().split_once('='));
        cookies.any(|(name, token)| name.starts_with(COOKIE_NAME) && digest(token) == self.digest)
    }

    /// The cookie for a visitor who has sent `token`; `None` if it is a wrong one. `secure` says whether the
    /// connection is encrypted.
    pub(super) fn cookie(&self, token: &str, secure: bool) -> Option<HeaderValue> {
        if digest(token) != self.digest {
            return None;
        }
        let name = &self.digest.to_hex()[..8];
        let secure = if secure { "; Secure" } else { "" };
        let cookie = format!(
            "{COOKIE_NAME}-{name}={token}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Strict{secure}"
        );
        let mut cookie = HeaderValue::try_from(cookie).ok()?;
        cookie.set_sensitive(true);
        Some(cookie)
    }
}

/// The header that a program sends for a token.
pub(crate) fn cookie_of(token: &str) -> String {
    format!("{COOKIE_NAME}={token}")
}

fn digest(token: &str) -> blake3::Hash {
    blake3::hash(token.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(invitation: &Invitation, cookies: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, cookie.parse().unwrap());
        }
        invitation.admits(&headers)
    }

    #[test]
    fn the_cookie_admits_and_nothing_else_does() {
        let invitation = Invitation::new("a-good-token");
        let cookie = invitation.cookie("a-good-token", true).unwrap();
        let cookie = cookie.to_str().unwrap();
        assert!(
            cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && cookie.contains("Secure")
        );
        let pair = cookie.split(';').next().unwrap();
        assert!(admits(&invitation, &[pair]));
        assert!(admits(&invitation, &[&format!("other=1; {pair}; more=2")]));
        assert!(admits(&invitation, &["other=1", &cookie_of("a-good-token")]));
        assert!(admits(&invitation, &["shoal-invite-12345678=another; shoal-invite=a-good-token"]));
        for wrong in ["", "shoal-invite=", "shoal-invite=a-good-toke", "other=a-good-token", "a-good-token"] {
            assert!(!admits(&invitation, &[wrong]), "{wrong}");
        }
        assert!(invitation.cookie("a-bad-token", true).is_none());
        assert!(!invitation.cookie("a-good-token", false).unwrap().to_str().unwrap().contains("Secure"));
    }
}
