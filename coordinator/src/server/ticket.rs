//! Admits only visitors with a token: those who are invited to help, and the operator.
//!
//! The link that gives a right carries the token behind a `#`, which browsers send to nobody. So the first page is a
//! small one without anything of the training. Its script sends the token once and gets a cookie for it. Programs
//! send the cookie right away, or the operator's token as `Authorization: Bearer TOKEN`.

use warp::http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue};

/// Seconds that a browser keeps the cookie: a month.
const COOKIE_SECONDS: u32 = 30 * 24 * 3600;

/// What a token gives the right to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    /// To help with the training.
    Help,
    /// To operate it.
    Operate,
}

impl Right {
    /// The beginning of the cookie's name. More characters follow: coordinators on other ports of this host have
    /// their own.
    const fn cookie_name(self) -> &'static str {
        match self {
            Right::Help => "shoal-invite",
            Right::Operate => "shoal-operator",
        }
    }
}

/// The token of one right.
#[derive(Clone)]
pub struct Ticket {
    right: Right,
    /// Comparing two BLAKE3 digests takes the same time wherever they differ.
    digest: blake3::Hash,
}

/// Without anything that the token could be guessed from.
impl std::fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Ticket({:?})", self.right)
    }
}

impl Ticket {
    /// Admits those that have `token` to the training.
    pub fn invitation(token: &str) -> Ticket {
        Ticket { right: Right::Help, digest: digest(token) }
    }

    /// Admits whoever has `token` to the dashboard.
    pub fn operator(token: &str) -> Ticket {
        Ticket { right: Right::Operate, digest: digest(token) }
    }

    /// Whether a request comes from somebody who has the token.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookies =
            cookies.flat_map(|value| value.split(';')).filter_map(|item| item.trim().split_once('='));
        let has_name = |name: &str| name.starts_with(self.right.cookie_name());
        let has_cookie = cookies.any(|(name, token)| has_name(name) && digest(token) == self.digest);
        has_cookie || self.right == Right::Operate && bearer(headers).is_some_and(|hash| hash == self.digest)
    }

    /// The cookie for a visitor who has sent `token`; `None` if it is a wrong one. `secure` says whether the
    /// connection is encrypted.
    pub(super) fn cookie(&self, token: &str, secure: bool) -> Option<HeaderValue> {
        if digest(token) != self.digest {
            return None;
        }
        let (name, number) = (self.right.cookie_name(), &self.digest.to_hex()[..8]);
        let secure = if secure { "; Secure" } else { "" };
        let cookie = format!(
            "{name}-{number}={token}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Strict{secure}"
        );
        let mut cookie = HeaderValue::try_from(cookie).ok()?;
        cookie.set_sensitive(true);
        Some(cookie)
    }
}

/// The header that a program sends for the token of an invitation.
pub(crate) fn cookie_of(token: &str) -> String {
    format!("{}={token}", Right::Help.cookie_name())
}

/// The digest of the token in a request's `Authorization: Bearer TOKEN`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<blake3::Hash> {
    let given = headers.get(AUTHORIZATION)?.as_bytes();
    given.strip_prefix(b"Bearer ").map(blake3::hash)
}

fn digest(token: &str) -> blake3::Hash {
    blake3::hash(token.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(ticket: &Ticket, cookies: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, cookie.parse().unwrap());
        }
        ticket.admits(&headers)
    }

    #[test]
    fn the_cookie_admits_and_nothing_else_does() {
        let invitation = Ticket::invitation("a-good-token");
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

    #[test]
    fn an_invitation_is_no_right_to_operate() {
        let (invitation, operator) = (Ticket::invitation("one-token"), Ticket::operator("one-token"));
        let cookie = |ticket: &Ticket| {
            let cookie = ticket.cookie("one-token", false).unwrap();
            cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
        };
        assert!(admits(&operator, &[&cookie(&operator)]) && !admits(&operator, &[&cookie(&invitation)]));
        assert!(!admits(&invitation, &[&cookie(&operator)]));
        let bearer = |token: &str| {
            let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
            HeaderMap::from_iter([(AUTHORIZATION, value)])
        };
        assert!(operator.admits(&bearer("one-token")) && !operator.admits(&bearer("another")));
        assert!(!invitation.admits(&bearer("one-token")));
    }
}
