//! Values of the settings that say where a training of several processes meets.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::{Host, Url};

/// The URL of a store: a folder, or a bucket with a path in it. It holds no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl {
    kind: StoreKind,
    /// The bucket, as the client of its service wants it; empty for a folder.
    bucket: String,
    path: String,
}

/// The kinds of stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// A folder of this machine, or one that several share.
    Folder,
    /// Amazon's, or any other service that speaks its protocol.
    S3,
    /// Google's.
    Google,
    /// Microsoft's.
    Azure,
}

/// Characters of the addresses of NATS servers together.
const LINK_CHARACTERS_MAX: usize = 1024;

const EXAMPLES: &str = "give a folder, s3://bucket/path, gs://bucket/path or az://container/path";

impl StoreUrl {
    /// The kind of service.
    pub fn kind(&self) -> StoreKind {
        self.kind
    }

    /// The URL without the path.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The folder, or the path in the bucket.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Changes the path of a folder.
    pub(super) fn change_folder(&mut self, change: impl FnOnce(&mut PathBuf)) {
        if self.kind == StoreKind::Folder {
            let mut path = PathBuf::from(&self.path);
            change(&mut path);
            // It was text, and so were the folders that it is below.
            self.path = path.to_string_lossy().into_owned();
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            StoreKind::Folder => write!(formatter, "{}", self.path),
            _ if self.path.is_empty() => write!(formatter, "{}", self.bucket),
            _ => write!(formatter, "{}/{}", self.bucket, self.path),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<StoreUrl, String> {
        let folder = |path: &str| {
            let (kind, bucket) = (StoreKind::Folder, String::new());
            StoreUrl { kind, bucket, path: path.to_owned() }
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            let is_path = !text.is_empty() && !text.contains('\0');
            return if is_path { Ok(folder(text)) } else { Err(EXAMPLES.to_owned()) };
        };
        let kind = match scheme {
            // file:///tmp/store
            "file" if rest.starts_with('/') => return Ok(folder(rest)),
            "file" => return Err("write file:///path, or the path alone".to_owned()),
            "s3" => StoreKind::S3,
            "gs" => StoreKind::Google,
            "az" => StoreKind::Azure,
            _ => return Err(EXAMPLES.to_owned()),
        };
        if rest.contains(['@', '?', '#']) {
            let problem = "credentials and options do not belong into the URL; set them in the environment, such as \
                           AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
            return Err(problem.to_owned());
        }
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_matches('/');
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if bucket.is_empty() || !bucket.bytes().all(is_name) || path.split('/').any(|part| part == "..") {
            return Err(EXAMPLES.to_owned());
        }
        Ok(StoreUrl { kind, bucket: format!("{scheme}://{bucket}"), path: path.to_owned() })
    }
}

/// The addresses of NATS servers, as a user writes them: `nats://host:4222`, or `tls://host`; several with commas
/// between them. It holds no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkUrl(String);

impl LinkUrl {
    /// Each server's address.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.0.split(',')
    }
}

impl fmt::Display for LinkUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for LinkUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<LinkUrl, String> {
        let is_address = |address: &str| {
            let rest = address.strip_prefix("nats://").or_else(|| address.strip_prefix("tls://"));
            rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
        };
        if text.contains('@') {
            let problem = "credentials do not belong into the URL; set NATS_USER and NATS_PASSWORD, NATS_TOKEN or \
                           NATS_NKEY in the environment";
            return Err(problem.to_owned());
        }
        if text.len() > LINK_CHARACTERS_MAX || !text.split(',').all(is_address) {
            return Err(
                "give nats://host:4222 or tls://host:4222; several with commas between them".to_owned()
            );
        }
        Ok(LinkUrl(text.to_owned()))
    }
}

/// A public address that has the shards besides the coordinator: of a bucket, or of a network that delivers content. A
/// shard is at this address, `/shards/` and its hash in hexadecimal. Everybody sees it, so it holds no secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct ShardUrl(Url);

/// Characters of the address of shards.
const SHARD_URL_CHARACTERS_MAX: usize = 1024;

/// Whether a host name is one that every machine has for itself.
pub(crate) fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

impl ShardUrl {
    /// The scheme, the host and, unless it is the scheme's own, the port: `https://data.example.org`. It holds no
    /// character that means something in a header.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Whether the address is one of the machine that asks.
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => is_localhost(name),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(_)) | None => false,
        }
    }

    /// Whether others on the way can see what is fetched.
    fn is_exposed(&self) -> bool {
        self.0.scheme() == "http" && !self.is_loopback()
    }

    /// Whether browsers fetch from there for a page that came with TLS.
    ///
    /// # Errors
    /// What to do if they do not.
    pub fn check_for(&self, page_has_tls: bool) -> Result<(), String> {
        if page_has_tls && self.is_exposed() {
            return Err(format!(
                "browsers fetch nothing from {self} for a page at https://; give an address with https://"
            ));
        }
        Ok(())
    }

    /// A warning if others on the way see what volunteers fetch, and pages behind a proxy with TLS fetch nothing.
    pub fn warning(&self) -> Option<String> {
        self.is_exposed().then(|| {
            format!(
                "the data at {self} travel without encryption, and browsers do not fetch them for a page at https://; give \
                 --shard-url an address with https:// where there is one"
            )
        })
    }
}

/// Without a slash at its end.
impl fmt::Display for ShardUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for ShardUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ShardUrl({self})")
    }
}

impl FromStr for ShardUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<ShardUrl, String> {
        const EXAMPLE: &str = "give an address such as https://data.example.org/houses";
        if text.len() > SHARD_URL_CHARACTERS_MAX {
            return Err(format!("{EXAMPLE}, of at most {SHARD_URL_CHARACTERS_MAX} characters"));
        }
        let mut url = Url::parse(text).map_err(|error| format!("{EXAMPLE} ({error})"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{EXAMPLE}: volunteers know http:// and https:// alone"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let problem = "every volunteer sees the address, so it may hold no credentials; give one without, which hands \
                           shards to everybody";
            return Err(problem.to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            let problem = "every volunteer sees the address, so it may hold no signature, and shards are asked for without \
                           a query; give an address without ? and #, which hands shards to everybody";
            return Err(problem.to_owned());
        }
        match url.host() {
            // What a policy of pages can name, and nothing that means something there.
            Some(Host::Domain(name))
                if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.') => {}
            Some(Host::Ipv4(address)) if address.is_unspecified() || address.is_link_local() => {
                return Err(format!("{address} is another machine for everybody; give a host name"));
            }
            Some(Host::Ipv4(_)) => {}
            Some(Host::Ipv6(_)) => {
                return Err(
                    "the security policy of pages cannot name an IPv6 address; give a host name".to_owned()
                );
            }
            Some(Host::Domain(_)) | None => {
                return Err(format!("{EXAMPLE}: a host name has letters, digits, hyphens and points"));
            }
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(ShardUrl(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_buckets_are_told_apart() {
        let parsed = |text: &str| text.parse::<StoreUrl>().unwrap();
        let kinds = [StoreKind::Folder, StoreKind::Folder, StoreKind::S3];
        for (text, kind) in ["runs/store", "/srv/store", "s3://bucket/a/b"].into_iter().zip(kinds) {
            assert_eq!((parsed(text).to_string(), parsed(text).kind()), (text.to_owned(), kind));
        }
        assert_eq!(parsed("file:///srv/store").to_string(), "/srv/store");
        assert_eq!(parsed("gs://bucket/").to_string(), "gs://bucket");
        assert_eq!((parsed("az://box/x/").bucket(), parsed("az://box/x/").path()), ("az://box", "x"));
    }

    #[test]
    fn what_is_no_store_is_refused_and_secrets_are_not_taken() {
        for wrong in
            ["", "http://host/x", "s3://", "s3:///x", "s3://a/../b", "file://host/x", "s3://bad name/x"]
        {
            assert!(wrong.parse::<StoreUrl>().is_err(), "{wrong}");
        }
        for secret in ["s3://key:secret@bucket/x", "s3://bucket/x?token=1"] {
            assert!(secret.parse::<StoreUrl>().unwrap_err().contains("environment"), "{secret}");
        }
    }

    #[test]
    fn addresses_are_taken_and_secrets_in_them_are_not() {
        for url in ["nats://127.0.0.1:4222", "tls://host", "nats://a:1,nats://b:2"] {
            assert_eq!(url.parse::<LinkUrl>().unwrap().to_string(), url);
        }
        for wrong in ["", "host:4222", "http://host", "nats://", "nats://a,,nats://b", "nats://a b"] {
            assert!(wrong.parse::<LinkUrl>().unwrap_err().contains("nats://host:4222"), "{wrong}");
        }
        let secret = "nats://user:secret@host".parse::<LinkUrl>().unwrap_err();
        assert!(secret.contains("NATS_USER") && !secret.contains("secret@"), "{secret}");
    }

    #[test]
    fn an_address_of_shards_is_taken_and_its_origin_fits_into_a_policy() {
        for (text, shown, origin) in [
            ("https://data.example.org", "https://data.example.org", "https://data.example.org"),
            (
                "https://Data.Example.org/houses/",
                "https://data.example.org/houses",
                "https://data.example.org",
            ),
            ("https://d.example:8443/a/b", "https://d.example:8443/a/b", "https://d.example:8443"),
            ("https://d.example:443/a", "https://d.example/a", "https://d.example"),
            ("http://127.0.0.1:9000/x", "http://127.0.0.1:9000/x", "http://127.0.0.1:9000"),
            (
                "https://bücher.example/a b;c",
                "https://xn--bcher-kva.example/a%20b;c",
                "https://xn--bcher-kva.example",
            ),
        ] {
            let url: ShardUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.origin().as_str()), (shown, origin));
            assert_eq!(url.to_string().parse(), Ok(url), "its own spelling is one of them");
        }
    }

    #[test]
    fn what_is_no_public_address_of_shards_is_refused_with_a_remedy() {
        for (wrong, remedy) in [
            ("", "https://data.example.org"),
            ("data.example.org/x", "https://data.example.org"),
            ("s3://bucket/houses", "http://"),
            ("file:///srv/shoal", "http://"),
            ("https://", "https://data.example.org"),
            ("https://a b/x", "https://data.example.org"),
            ("https://a;script-src/x", "letters, digits"),
            ("https://*.example.org", "letters, digits"),
            ("https://a,b.example", "letters, digits"),
            ("https://me:secret@data.example.org", "without"),
            ("https://me@data.example.org", "without"),
            ("https://data.example.org/x?X-Amz-Signature=secret", "without ?"),
            ("https://data.example.org/x#y", "without ?"),
            ("http://[::1]:9000/x", "give a host name"),
            ("http://0.0.0.0:9000/x", "give a host name"),
            ("http://169.254.169.254/x", "give a host name"),
            (&format!("https://data.example.org/{}", "x".repeat(1024)), "at most 1024"),
        ] {
            let problem = wrong.parse::<ShardUrl>().unwrap_err();
            assert!(problem.contains(remedy) && !problem.contains("secret"), "{wrong}: {problem}");
        }
    }

    #[test]
    fn an_address_without_encryption_is_for_pages_without_or_for_the_same_machine() {
        let parsed = |text: &str| text.parse::<ShardUrl>().unwrap();
        for (text, warns, suits_tls) in [
            ("https://data.example.org", false, true),
            ("http://data.example.org", true, false),
            ("http://192.168.1.20:9000", true, false),
            ("http://127.0.0.1:9000", false, true),
            ("http://localhost:9000", false, true),
            ("http://localhost.:9000", false, true),
        ] {
            let url = parsed(text);
            assert_eq!((url.warning().is_some(), url.check_for(true).is_ok()), (warns, suits_tls), "{text}");
            assert_eq!(url.check_for(false), Ok(()));
        }
    }
}
