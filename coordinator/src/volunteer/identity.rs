//! The random number by which coordinators know a native volunteer again.
//!
//! It stays in a file. Each coordinator is told another number that follows from it, so that none can pretend to be
//! this volunteer elsewhere.

use std::env;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use protocol::message::TOKEN_BYTES;

/// Volunteers of one user on one machine that are known again.
const VOLUNTEERS_MAX: usize = 16;
/// Bytes of a file that are looked at.
const FILE_BYTES_MAX: u64 = 256;

/// A volunteer's number. No other volunteer on this machine uses the same file as long as this one exists.
#[derive(Debug)]
pub struct Identity {
    secret: [u8; TOKEN_BYTES],
    _locked: Option<File>,
}

impl Identity {
    /// The number in `path`, which is drawn and written there if there is no such file.
    ///
    /// # Errors
    /// When the file cannot be used, or another volunteer uses it.
    pub fn of_file(path: &Path) -> anyhow::Result<Identity> {
        let file = open(path).with_context(|| format!("cannot open the identity {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "another volunteer uses the identity {}; give each volunteer a file of its own",
                path.display()
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock the identity {}", path.display()));
            }
        }
        Identity::of_locked(file, path)
    }

    /// The first number of this user that no other volunteer on this machine uses. One that is not kept, where nothing
    /// can be.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn of_user() -> anyhow::Result<Identity> {
        if let Some(directory) = state_directory()
            && fs::create_dir_all(&directory).is_ok()
        {
            for number in 0..VOLUNTEERS_MAX {
                let path = directory.join(format!("volunteer-{number}"));
                let Ok(file) = open(&path) else { continue };
                if file.try_lock().is_err() {
                    continue;
                }
                match Identity::of_locked(file, &path) {
                    Ok(identity) => return Ok(identity),
                    Err(error) => tracing::info!("{error:#}"),
                }
            }
        }
        Ok(Identity { secret: draw()?, _locked: None })
    }

    /// What a coordinator is told. `authority` is its host and port.
    pub fn token(&self, authority: &str) -> [u8; TOKEN_BYTES] {
        let material = [&self.secret[..], authority.as_bytes()].concat();
        let derived =
            blake3::derive_key("shoal token of a volunteer for one coordinator, version 1", &material);
        *derived.first_chunk().expect("a hash is longer than a token")
    }

    fn of_locked(mut file: File, path: &Path) -> anyhow::Result<Identity> {
        let mut text = String::new();
        let name = path.display();
        (&file)
            .take(FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .with_context(|| format!("cannot read the identity {name}"))?;
        let text = text.trim();
        let secret = if text.is_empty() {
            let secret = draw()?;
            write(&mut file, secret).with_context(|| format!("cannot write the identity {name}"))?;
            secret
        } else {
            read(text).ok_or_else(|| {
                anyhow!("{name} is not the identity of a volunteer; delete it, or name another file")
            })?
        };
        Ok(Identity { secret, _locked: Some(file) })
    }
}

/// Opens a file that only this user may read, and makes it if there is none.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn write(file: &mut File, secret: [u8; TOKEN_BYTES]) -> io::Result<()> {
    file.rewind()?;
    writeln!(file, "{:032x}", u128::from_be_bytes(secret))?;
    file.sync_all()
}

fn read(text: &str) -> Option<[u8; TOKEN_BYTES]> {
    let is_token = text.len() == 2 * TOKEN_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| is_token)?;
    Some(number.to_be_bytes())
}

fn draw() -> anyhow::Result<[u8; TOKEN_BYTES]> {
    let mut secret = [0; TOKEN_BYTES];
    getrandom::fill(&mut secret).map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
    Ok(secret)
}

/// Where programs of this user keep what is not worth a backup.
fn state_directory() -> Option<PathBuf> {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        variable("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        variable("XDG_STATE_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/state")))
    };
    base.map(|base| base.join("shoal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_the_number_for_one_volunteer_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("me");
        let first = Identity::of_file(&path).unwrap();
        let refused = Identity::of_file(&path).unwrap_err().to_string();
        assert!(refused.contains("another volunteer uses the identity"), "{refused}");
        let token = first.token("192.0.2.1:8080");
        drop(first);
        let again = Identity::of_file(&path).unwrap();
        assert_eq!(again.token("192.0.2.1:8080"), token);
        assert_ne!(again.token("192.0.2.2:8080"), token, "coordinators cannot compare what they know");
        assert_ne!(Identity::of_file(&directory.path().join("you")).unwrap().token("192.0.2.1:8080"), token);
    }

    #[test]
    fn a_file_that_holds_something_else_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("letter");
        for content in ["Dear volunteer,", "0123", "+0123456789abcdef0123456789abcde", &"0".repeat(1000)] {
            fs::write(&path, content).unwrap();
            let refused = Identity::of_file(&path).unwrap_err().to_string();
            assert!(refused.contains("is not the identity of a volunteer"), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }
}
