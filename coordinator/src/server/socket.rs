//! Where the server accepts connections: an address of TCP, or a Unix socket for a proxy on this machine.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

#[cfg(not(target_os = "linux"))]
use super::limits::SEND_BUFFER_BYTES;
#[cfg(target_os = "linux")]
use super::limits::UNSENT_BYTES_MAX;
#[cfg(unix)]
use super::socket_file::{self, SocketFile};
use crate::config::Listen;

/// Stands for a visitor whom nobody names. RFC 7600 reserves it for the sender that has no address. It is not
/// loopback: a proxy that forgets the header would make this machine's rights, which are not counted and read the
/// figures, everybody's.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8));

/// The server cannot listen.
#[derive(Debug, Error)]
pub enum BindError {
    /// An address cannot be had.
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// A path cannot be had.
    #[error(
        "cannot listen on unix:{}: {source}; choose a path in a folder that this user may write to with --listen",
        path.display()
    )]
    Unix {
        /// The path.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A program listens there.
    #[error(
        "cannot listen on unix:{}: another program does; end it, or choose another path with --listen",
        path.display()
    )]
    Taken {
        /// The path.
        path: PathBuf,
    },
    /// Something else is in the way, and is none of the server's business.
    #[error(
        "cannot listen on unix:{}: there is something other than a socket; move it away, or choose another path with --listen",
        path.display()
    )]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The system has no such sockets.
    #[error(
        "cannot listen on unix:{}: this system has no Unix sockets for servers; choose an address such as 127.0.0.1:8080 \
         with --listen",
        path.display()
    )]
    Unsupported {
        /// The path.
        path: PathBuf,
    },
}

/// Accepts connections. Dropping it removes the file of a Unix socket.
#[derive(Debug)]
pub struct Socket {
    accepting: Accepting,
    place: Listen,
}

#[derive(Debug)]
enum Accepting {
    Tcp(TcpListener),
    // The file goes first: as long as the listener holds it, nobody else's file has its number.
    #[cfg(unix)]
    Unix {
        _file: SocketFile,
        listener: UnixListener,
    },
}

/// Listens at `place`; port 0 takes any free port.
///
/// # Errors
/// When the address or the path cannot be had, or a program listens there already.
pub async fn bind(place: Listen) -> Result<Socket, BindError> {
    match place {
        Listen::Tcp(address) => {
            let failed = |source| BindError::Tcp { address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let place = Listen::Tcp(listener.local_addr().map_err(failed)?);
            Ok(Socket { accepting: Accepting::Tcp(listener), place })
        }
        #[cfg(unix)]
        Listen::Unix(path) => {
            let (file, listener) = socket_file::open(&path).await?;
            Ok(Socket { accepting: Accepting::Unix { _file: file, listener }, place: Listen::Unix(path) })
        }
        #[cfg(not(unix))]
        Listen::Unix(path) => Err(BindError::Unsupported { path }),
    }
}

impl Socket {
    /// The address or the path.
    pub fn place(&self) -> &Listen {
        &self.place
    }

    /// The address; `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self.place {
            Listen::Tcp(address) => Some(address),
            Listen::Unix(_) => None,
        }
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.accepting {
            Accepting::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Peer::Tcp(peer)))
            }
            #[cfg(unix)]
            Accepting::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Peer::Unix))
            }
        }
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Somebody at an address.
    Tcp(SocketAddr),
    /// A program on this machine that may open the socket's file.
    #[cfg(unix)]
    Unix,
}

impl Peer {
    /// The address that a visitor has whom no trusted proxy names.
    pub(crate) fn ip(self) -> IpAddr {
        match self {
            Peer::Tcp(address) => address.ip().to_canonical(),
            #[cfg(unix)]
            Peer::Unix => NOBODY,
        }
    }

    /// Whether the system vouches for a proxy: the mode of the socket's file says who may be one.
    pub(crate) fn is_vouched_for(self) -> bool {
        match self {
            Peer::Tcp(_) => false,
            #[cfg(unix)]
            Peer::Unix => true,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(formatter),
            #[cfg(unix)]
            Peer::Unix => formatter.write_str("the Unix socket"),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Over a network.
    Tcp(TcpStream),
    /// Within this machine.
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Stream {
    /// Makes the system send small messages, such as assignments, at once, and keep few bytes that wait. A write
    /// then says how fast the other end takes data, and what was written last is not stuck behind megabytes. Where
    /// the system cannot bound those bytes alone, it bounds all that are not acknowledged.
    pub(super) fn tune(&self) {
        match self {
            Stream::Tcp(stream) => {
                let _ = stream.set_nodelay(true);
                // Without this, slow volunteers are noticed later.
                let socket = SockRef::from(stream);
                #[cfg(target_os = "linux")]
                let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
                #[cfg(not(target_os = "linux"))]
                let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
            }
            // It sends at once, and its buffer is small: 208 KB on Linux.
            #[cfg(unix)]
            Stream::Unix(_) => {}
        }
    }
}

/// Calls a method of the connection, whichever it is.
macro_rules! either {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Tcp($inner) => $call,
            #[cfg(unix)]
            Stream::Unix($inner) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, inner => Pin::new(inner).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, inner => Pin::new(inner).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, inner => Pin::new(inner).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        // Both kinds are.
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, inner => Pin::new(inner).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, inner => Pin::new(inner).poll_shutdown(context))
    }
}
