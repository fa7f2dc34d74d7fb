//! TLS: the server's certificate, and the beginning of each connection.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The first byte of a TLS connection: a handshake's record.
const HANDSHAKE: u8 = 22;

/// What stands on the wire to a program that does not speak TLS.
const PLAIN_ANSWER: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\
    content-length: 64\r\n\r\nThis coordinator speaks TLS: write https:// instead of http://.\n";

/// A server's certificate and key. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    self_signed: bool,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tls").field("self_signed", &self.self_signed).finish_non_exhaustive()
    }
}

/// A certificate that cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {problem}; give a PEM file", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// Certificate and key do not fit together, or are of an unknown kind.
    #[error("the certificate in {} cannot be used with its key: {problem}; check both files", path.display())]
    Pair {
        /// The certificate's file.
        path: PathBuf,
        /// The problem.
        problem: rustls::Error,
    },
    /// No certificate could be made.
    #[error("cannot make a certificate: {0}; give one with --tls-cert and --tls-key")]
    Making(String),
}

impl Tls {
    /// The certificate chain and the key in two PEM files.
    ///
    /// # Errors
    /// When a file cannot be read, or the two do not go together.
    pub fn from_files(cert: &Path, key: &Path) -> Result<Tls, TlsError> {
        let unreadable = |path: &Path, problem: String| TlsError::File { path: path.to_owned(), problem };
        let chain = CertificateDer::pem_file_iter(cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unreadable(cert, error.to_string()))?;
        if chain.is_empty() {
            return Err(unreadable(cert, "it has no certificate".to_owned()));
        }
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error.to_string()))?;
        let config =
            config(chain, secret).map_err(|problem| TlsError::Pair { path: cert.to_owned(), problem })?;
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), self_signed: false })
    }

    /// A new certificate for these names and addresses, signed by itself.
    ///
    /// # Errors
    /// When the system has no randomness, or a name cannot stand in a certificate.
    pub fn self_signed(names: &[String], addresses: &[IpAddr]) -> Result<Tls, TlsError> {
        let names = names.iter().cloned().chain(addresses.iter().map(IpAddr::to_string));
        let names: Vec<String> = names.chain(["localhost".to_owned()]).collect();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(names).map_err(|error| TlsError::Making(error.to_string()))?;
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let config = config(vec![cert.der().clone()], key.into())
            .map_err(|error| TlsError::Making(error.to_string()))?;
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), self_signed: true })
    }

    /// Whether browsers have no reason to trust the certificate.
    pub(super) fn is_self_signed(&self) -> bool {
        self.self_signed
    }

    /// Begins TLS on a connection; `None` if the other end does not do its part within `deadline`. A program
    /// that speaks plain HTTP is told so.
    pub(super) async fn accept(
        &self,
        mut stream: TcpStream,
        deadline: Duration,
    ) -> Option<TlsStream<TcpStream>> {
        let mut first = [0];
        match timeout(deadline, stream.peek(&mut first)).await {
            Ok(Ok(1)) if first[0] != HANDSHAKE => {
                let _ = timeout(deadline, stream.write_all(PLAIN_ANSWER)).await;
                let _ = timeout(deadline, stream.shutdown()).await;
                return None;
            }
            Ok(Ok(1)) => {}
            _ => return None,
        }
        match timeout(deadline, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS connection ended early");
                None
            }
            Err(_) => None,
        }
    }
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
