//! One `serve` per data directory.

use std::{
    fs::{File, TryLockError},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use crate::{directories, error::Error};

/// Holds a data directory for this process until it is dropped or the process ends, however it ends.
///
/// Take it before [`Cluster::start`](crate::Cluster::start): two processes that start the same cluster at once would
/// both believe that the server is theirs to stop.
#[derive(Debug)]
pub struct DataLock {
    // The kernel holds the lock as long as this file is open, and lets go of it even after `kill -9`. That is why the
    // lock is not the file's existence, and why the file is never removed: a file removed by one holder while another
    // waits for it would let in two.
    _file: File,
    path: PathBuf,
}

impl DataLock {
    /// Takes the file `lock` in `data_dir`, which is made if it does not exist, and writes our process id into it.
    ///
    /// # Errors
    /// [`Error::Locked`] with the holder's process id when another process holds it.
    pub fn acquire(data_dir: &Path) -> Result<Self, Error> {
        directories::create_with_parents(data_dir)?;
        let path = data_dir.join("lock");
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        // A process that a former holder was just starting shares its files for the moment until it becomes another
        // program; such a lock is gone right after, and a real holder's is not.
        let mut locked = file.try_lock();
        for _ in 0..20 {
            if !matches!(locked, Err(TryLockError::WouldBlock)) {
                break;
            }
            thread::sleep(Duration::from_millis(20));
            locked = file.try_lock();
        }
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The number only makes the message better: without it the lock is just as taken.
                let _ = file.read_to_string(&mut text);
                return Err(Error::Locked { dir: data_dir.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", &path)(source)),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", process::id()))
            .map_err(Error::io("write", &path))?;
        Ok(Self { _file: file, path })
    }

    /// Answers the lock file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataLock::acquire(&dir.path().join("data")).unwrap();
        let refused = DataLock::acquire(&dir.path().join("data")).unwrap_err();
        assert!(matches!(refused, Error::Locked { pid: Some(pid), .. } if pid == process::id()), "{refused}");
        assert!(refused.to_string().contains("a second `serve`"), "{refused}");
        drop(held);
        DataLock::acquire(&dir.path().join("data")).unwrap();
    }
}
