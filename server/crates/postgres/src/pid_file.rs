//! `postmaster.pid`, the file in which a running server says who and where it is.
//!
//! Its lines: process id, data directory, start time, port, socket directory, listen address, shared memory key, status
//! (source: `src/include/utils/pidfile.h` of `PostgreSQL`, the same since version 10).

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, fchown},
    path::{Path, PathBuf},
};

use crate::{error::Error, user::User};

/// What a server wrote about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PidFile {
    /// The postmaster's process id.
    pub(crate) pid: u32,
    /// The port, which is part of the socket's name; absent in the first moments of a start.
    pub(crate) port: Option<u16>,
    /// Where the socket is; absent in the first moments of a start.
    pub(crate) socket_dir: Option<PathBuf>,
    /// `starting`, `stopping`, `ready` or `standby`; absent in the first moments of a start.
    pub(crate) status: Option<String>,
}

impl PidFile {
    /// Reads the file of the cluster in `data`. `None` when there is none or it has no process id (yet).
    pub(crate) fn read(data: &Path) -> Result<Option<Self>, Error> {
        let path = path(data);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().collect();
        let line =
            |number: usize| lines.get(number - 1).map(|line| line.trim()).filter(|line| !line.is_empty());
        Some(Self {
            // A single-user server writes its id with a minus.
            pid: line(1)?.trim_start_matches('-').parse().ok()?,
            port: line(4).and_then(|port| port.parse().ok()),
            socket_dir: line(5).map(PathBuf::from),
            status: line(8).map(str::to_owned),
        })
    }

    /// Answers whether the server says that it accepts connections.
    pub(crate) fn is_ready(&self) -> bool {
        self.status.as_deref() == Some("ready")
    }

    /// Answers the socket's path, once the server has said where it is.
    pub(crate) fn socket(&self) -> Option<PathBuf> {
        Some(self.socket_dir.as_ref()?.join(socket_name(self.port?)))
    }
}

/// Answers the name that `PostgreSQL` gives the socket of a port.
pub(crate) fn socket_name(port: u16) -> String {
    format!(".s.PGSQL.{port}")
}

/// Lets the next server start although the file names a living process, which the caller knows not to be a server.
///
/// Process ids repeat, in containers nearly always. A server that finds a living process of its own user under
/// the id in the file takes it for another server and refuses to start. It makes an exception for its parent, and that
/// will be us, so the file gets our id. Removing the file would be simpler but would also remove the key by which a new
/// server finds out that children of a dead one are still at work on the data.
pub(crate) fn disown(data: &Path, user: Option<User>) -> Result<(), Error> {
    let path = path(data);
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let Some((_, rest)) = text.split_once('\n') else {
        return fs::remove_file(&path).map_err(Error::io("remove", &path));
    };
    let new = data.join(format!("postmaster.pid.{}", std::process::id()));
    let write = || {
        // The directory is the other user's. Making a new file never follows a link that lies there.
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        write!(file, "{}\n{rest}", std::process::id())?;
        if let Some(user) = user {
            fchown(&file, Some(user.uid), Some(user.gid))?;
        }
        fs::rename(&new, &path)
    };
    write().map_err(Error::io("rewrite", &path))
}

/// Removes a file without any content, which a machine that lost power can leave and which stops every start.
pub(crate) fn remove_empty(data: &Path) -> Result<(), Error> {
    let path = path(data);
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.len() == 0 => fs::remove_file(&path).map_err(Error::io("remove", &path)),
        _ => Ok(()),
    }
}

fn path(data: &Path) -> PathBuf {
    data.join("postmaster.pid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_server_is_read() {
        let text = "4242\n/d/pg/data\n1763688000\n5432\n/d/pg/socket\n\n  1234567         0\nready   \n";
        let file = PidFile::parse(text).unwrap();
        assert_eq!((file.pid, file.is_ready()), (4242, true));
        assert_eq!(file.socket().unwrap(), Path::new("/d/pg/socket/.s.PGSQL.5432"));
    }

    #[test]
    fn a_file_that_is_being_written_is_not_ready() {
        assert_eq!(PidFile::parse(""), None);
        assert_eq!(PidFile::parse("\n"), None);
        let file = PidFile::parse("4242\n/d/pg/data\n1763688000\n").unwrap();
        assert!(!file.is_ready());
        assert_eq!(file.socket(), None);
    }
}
