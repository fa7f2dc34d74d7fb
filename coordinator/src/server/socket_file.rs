//! The file of a Unix socket: made for one process, and removed with it.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Type};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

use super::limits::{SOCKET_BACKLOG, SOCKET_PROBE_MAX, SOCKET_TURNS_MAX};
use super::socket::BindError;

/// Its user and group may connect: a proxy belongs to the group. Whoever can connect is believed as a proxy.
const MODE: u32 = 0o660;
/// The pause between two attempts to have a folder for oneself.
const TURN_PAUSE: Duration = Duration::from_millis(50);

/// The file. Dropping it removes it, unless another process has put its own there.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    number: u64,
}

/// Listens at a path. The file of a process that is gone is replaced; nothing else is.
pub(super) async fn open(path: &Path) -> Result<(SocketFile, UnixListener), BindError> {
    // Two that begin at the same moment would each take the other's file for one of a process that is gone: between
    // its making and the first chance to connect.
    let _turn = turn(path).await;
    make_way(path).await?;
    listen(path).map_err(|source| BindError::Unix { path: path.to_owned(), source })
}

/// Waits a moment for the lock on the path's folder. A folder that cannot be locked, or that another program keeps
/// locked for its own reasons, is no reason not to listen.
async fn turn(path: &Path) -> Option<File> {
    let folder = File::open(path.parent()?).ok()?;
    for _ in 0..SOCKET_TURNS_MAX {
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(TryLockError::WouldBlock) => sleep(TURN_PAUSE).await,
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// Removes the socket of a process that is gone.
async fn make_way(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Unix { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        // A link may lead to a socket of somebody else.
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NoSocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match timeout(SOCKET_PROBE_MAX, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Too many wait already, so somebody must listen.
        Ok(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Err(failed(error)),
        _ => Err(BindError::Taken { path: path.to_owned() }),
    }
}

fn listen(path: &Path) -> io::Result<(SocketFile, UnixListener)> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::of(path)?;
    // Nobody can connect before the call of `listen`, so nobody does while the mode is still what the process makes
    // of it.
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    socket.listen(SOCKET_BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((file, UnixListener::from_std(socket.into())?))
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<SocketFile> {
        let made = fs::symlink_metadata(path)?;
        Ok(SocketFile { path: path.to_owned(), device: made.dev(), number: made.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own = |found: fs::Metadata| (found.dev(), found.ino()) == (self.device, self.number);
        if fs::symlink_metadata(&self.path).is_ok_and(is_own) {
            // What cannot be removed is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}
