//! A connection to a coordinator, with TLS or without.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::Address;

/// Time in which a connection must be made.
pub(crate) const CONNECTING_MAX: Duration = Duration::from_secs(10);

/// A stream of bytes either way.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The way to a coordinator. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) address: Address,
    tls: Option<TlsConnector>,
}

impl Wire {
    /// To the coordinator at `address`. TLS trusts the system's certificates, and those in the PEM file `ca`.
    ///
    /// # Errors
    /// When there are no certificates to trust.
    pub(crate) fn new(address: Address, ca: Option<&Path>) -> anyhow::Result<Wire> {
        let tls = if address.secure { Some(connector(ca)?) } else { None };
        Ok(Wire { address, tls })
    }

    /// Connects. An error says which step failed.
    pub(crate) async fn connect(&self) -> anyhow::Result<Box<dyn Stream>> {
        let stream = connect(&self.address.authority).await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.address.host.clone())
            .with_context(|| format!("\"{}\" cannot stand in a certificate", self.address.host))?;
        match timeout(CONNECTING_MAX, tls.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => {
                bail!(
                    "no encrypted connection can be made ({error}); for a certificate of your own, give --ca FILE"
                )
            }
            Err(_) => bail!("the host does not begin the encryption within {} s", CONNECTING_MAX.as_secs()),
        }
    }
}

fn connector(ca: Option<&Path>) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca {
        let unreadable = || format!("cannot read {}; give a PEM file with certificates", path.display());
        for certificate in CertificateDer::pem_file_iter(path).with_context(unreadable)? {
            roots.add(certificate.with_context(unreadable)?).with_context(unreadable)?;
        }
    }
    if roots.is_empty() {
        bail!("this system has no certificates to trust; install ca-certificates, or give --ca FILE");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Connects to `authority` (host and port). An error says which step failed.
pub(crate) async fn connect(authority: &str) -> anyhow::Result<TcpStream> {
    let addresses = match timeout(CONNECTING_MAX, lookup_host(authority)).await {
        Ok(Ok(addresses)) => addresses.collect::<Vec<SocketAddr>>(),
        Ok(Err(error)) => bail!("the host's name cannot be found ({error})"),
        Err(_) => bail!("the host's name cannot be found in {} s", CONNECTING_MAX.as_secs()),
    };
    let stream = match timeout(CONNECTING_MAX, TcpStream::connect(&addresses[..])).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            bail!("the host refuses the connection: no program listens on that port")
        }
        Ok(Err(error)) => bail!("the host cannot be reached ({error})"),
        Err(_) => bail!("the host does not answer within {} s", CONNECTING_MAX.as_secs()),
    };
    // Every message is sent whole and at once. Waiting for more bytes would only delay it.
    stream.set_nodelay(true)?;
    Ok(stream)
}
