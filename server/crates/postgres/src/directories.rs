//! Makes the directories of a cluster, with the owners and modes they need.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, lchown},
    path::{Path, PathBuf},
};

use crate::{
    error::Error,
    pid_file::socket_name,
    user::{self, User},
};

/// The port of every private server. It opens nothing: it is only part of the name of a socket.
pub(crate) const PORT: u16 = 5432;

/// The kernel takes 107 bytes on Linux and 103 elsewhere, and the lock file beside the socket has a longer name.
const SOCKET_PATH_LIMIT: usize = 100;

/// Answers where Switchboard keeps its data when nobody says otherwise.
///
/// As root it is `/var/lib/switchboard`, because the database's user could not enter a directory in root's home. For
/// others it is `switchboard` in `xdg` (the value of `XDG_DATA_HOME`, passed on only if it is an absolute path) or in
/// `.local/share` of `home`. Nothing is created.
///
/// # Errors
/// [`Error::NoHome`] when both are missing and we are not root.
pub fn data_dir_default(home: Option<PathBuf>, xdg: Option<PathBuf>) -> Result<PathBuf, Error> {
    default_for(user::own_uid() == Some(0), home, xdg)
}

fn default_for(root: bool, home: Option<PathBuf>, xdg: Option<PathBuf>) -> Result<PathBuf, Error> {
    if root {
        return Ok(PathBuf::from("/var/lib/switchboard"));
    }
    // The XDG specification wants relative paths ignored.
    let xdg = xdg.filter(|path| path.is_absolute());
    let home = home.filter(|path| !path.as_os_str().is_empty());
    let base = xdg.or_else(|| home.map(|home| home.join(".local/share"))).ok_or(Error::NoHome)?;
    Ok(base.join("switchboard"))
}

/// The paths of one cluster, absolute and without links.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The cluster's own directory.
    pub(crate) dir: PathBuf,
    /// What `initdb` makes.
    pub(crate) data: PathBuf,
    /// The socket's directory.
    pub(crate) socket_dir: PathBuf,
    /// The server's log.
    pub(crate) log: PathBuf,
}

impl Layout {
    /// Makes what is missing of `dir` for a server that runs as `user` (`None`: as ourselves) and checks the rest.
    pub(crate) fn prepare(dir: &Path, user: Option<User>) -> Result<Self, Error> {
        let dir = std::path::absolute(dir).map_err(Error::io("resolve", dir))?;
        if dir.to_str().is_none_or(|text| text.contains(['\n', '\r', '"'])) {
            return Err(Error::UnusablePath(dir));
        }
        if let Some(parent) = dir.parent() {
            create_with_parents(parent)?;
        }
        own(&dir, user)?;
        let dir = fs::canonicalize(&dir).map_err(Error::io("resolve", &dir))?;
        let layout = Self {
            data: dir.join("data"),
            socket_dir: dir.join("socket"),
            log: dir.join("postgres.log"),
            dir,
        };
        let socket = layout.socket_dir.join(socket_name(PORT));
        let length = socket.as_os_str().len();
        if length > SOCKET_PATH_LIMIT {
            return Err(Error::SocketPathTooLong { path: socket, length, limit: SOCKET_PATH_LIMIT });
        }
        if let Some(user) = user {
            check_way(&layout.dir, user)?;
        }
        layout.make_socket_dir(user)?;
        layout.check_data(user)?;
        Ok(layout)
    }

    fn make_socket_dir(&self, user: Option<User>) -> Result<(), Error> {
        let path = &self.socket_dir;
        match DirBuilder::new().mode(0o700).create(path) {
            // From here on the directory is inside one that belongs to the other user, so root follows no links.
            Ok(()) => match user {
                Some(user) => {
                    lchown(path, Some(user.uid), Some(user.gid)).map_err(Error::io("give away", path))
                }
                None => Ok(()),
            },
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let metadata = fs::symlink_metadata(path).map_err(Error::io("look at", path))?;
                if metadata.is_dir() {
                    expect_owner(path, metadata.uid(), user)
                } else {
                    Err(Error::NotACluster(path.clone()))
                }
            }
            Err(error) => Err(Error::io("create", path)(error)),
        }
    }

    /// Refuses data that the server would refuse too, with a better explanation.
    fn check_data(&self, user: Option<User>) -> Result<(), Error> {
        match fs::symlink_metadata(&self.data) {
            Ok(metadata) => expect_owner(&self.dir, metadata.uid(), user)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("look at", &self.data)(error)),
        }
        if self.version()?.is_some() || is_empty(&self.data)? {
            Ok(())
        } else {
            Err(Error::NotACluster(self.data.clone()))
        }
    }

    /// Reads the major version that made the cluster. `None` when there is no cluster yet.
    pub(crate) fn version(&self) -> Result<Option<String>, Error> {
        let path = self.data.join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }
}

/// Makes a directory and its missing parents.
///
/// As root they can be passed through by everyone (0711), because the database's user has to get to its own directory
/// below; it can list nothing there. As anyone else they are closed (0700). Directories that exist stay as they are.
pub(crate) fn create_with_parents(path: &Path) -> Result<(), Error> {
    if path.is_dir() || path.as_os_str().is_empty() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_with_parents(parent)?;
    }
    let mode = if user::own_uid() == Some(0) { 0o711 } else { 0o700 };
    match DirBuilder::new().mode(mode).create(path) {
        // Said again, because the umask takes bits away and root's is 077 on some machines.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(Error::io("set the mode of", path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(Error::io("create", path)(error)),
    }
}

/// Makes the cluster's directory, closed to others and belonging to the server's user.
fn own(dir: &Path, user: Option<User>) -> Result<(), Error> {
    let give_away = || match user {
        Some(user) => chown(dir, Some(user.uid), Some(user.gid)).map_err(Error::io("give away", dir)),
        None => Ok(()),
    };
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => give_away()?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let metadata = fs::metadata(dir).map_err(Error::io("look at", dir))?;
            if !metadata.is_dir() {
                return Err(Error::NotACluster(dir.to_owned()));
            }
            // A mistyped path must not give someone's full directory to the database's user.
            if expect_owner(dir, metadata.uid(), user).is_err() && user.is_some() && is_empty(dir)? {
                give_away()?;
            } else {
                expect_owner(dir, metadata.uid(), user)?;
            }
        }
        Err(error) => return Err(Error::io("create", dir)(error)),
    }
    fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(Error::io("close", dir))
}

fn expect_owner(path: &Path, owner: u32, user: Option<User>) -> Result<(), Error> {
    match user.map(|user| user.uid).or_else(user::own_uid) {
        Some(expected) if expected != owner => {
            Err(Error::WrongOwner { path: path.to_owned(), owner, expected })
        }
        _ => Ok(()),
    }
}

fn is_empty(dir: &Path) -> Result<bool, Error> {
    Ok(fs::read_dir(dir).map_err(Error::io("read", dir))?.next().is_none())
}

/// Checks that the other user gets to `dir`, and finds out where it is stopped if not.
fn check_way(dir: &Path, user: User) -> Result<(), Error> {
    if can_enter(dir, user)? {
        return Ok(());
    }
    let mut way: Vec<&Path> = dir.ancestors().collect();
    way.reverse();
    for parent in way {
        if !can_enter(parent, user)? {
            return Err(Error::NotTraversable { parent: parent.to_owned(), dir: dir.to_owned() });
        }
    }
    Ok(())
}

/// Tries it as that user, because mode bits alone do not tell: access lists and mount options count as well.
fn can_enter(dir: &Path, user: User) -> Result<bool, Error> {
    let shell = Path::new("sh");
    let output = user::command(shell, Some(user))
        .args(["-c", "cd \"$1\"", "sh"])
        .arg(dir)
        .output()
        .map_err(|source| Error::Run { program: shell.to_owned(), source })?;
    Ok(output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_place_depends_on_who_we_are() {
        let home = || Some(PathBuf::from("/home/ann"));
        let place = |root, home, xdg: Option<&str>| default_for(root, home, xdg.map(PathBuf::from)).unwrap();
        assert_eq!(place(true, home(), Some("/x")), Path::new("/var/lib/switchboard"));
        assert_eq!(place(false, home(), Some("/x")), Path::new("/x/switchboard"));
        assert_eq!(place(false, home(), Some("relative")), Path::new("/home/ann/.local/share/switchboard"));
        assert_eq!(place(false, home(), None), Path::new("/home/ann/.local/share/switchboard"));
        assert!(matches!(default_for(false, None, None), Err(Error::NoHome)));
    }

    #[test]
    fn paths_that_the_pid_file_cannot_hold_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["two\nlines", "quo\"te"] {
            let error = Layout::prepare(&dir.path().join(name), None).unwrap_err();
            assert!(matches!(error, Error::UnusablePath(_)), "{error}");
        }
    }

    #[test]
    fn a_socket_path_the_kernel_would_cut_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = Layout::prepare(&dir.path().join("long".repeat(30)), None).unwrap_err();
        assert!(matches!(error, Error::SocketPathTooLong { length, .. } if length > 100), "{error}");
    }
}
