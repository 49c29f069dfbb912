//! Who we are, and whom the server programs run as.

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use crate::error::Error;

/// The user the server programs run as when we may not run them as ourselves.
const SERVER_USER: &str = "postgres";

/// A user by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Answers the user that child processes have to become: `None` keeps ours, which is right for everyone but root.
pub(crate) fn for_children() -> Result<Option<User>, Error> {
    if own_uid() != Some(0) {
        return Ok(None);
    }
    let uid = ask_id(&["-u", SERVER_USER]).ok_or(Error::NoPostgresUser)?;
    let gid = ask_id(&["-g", SERVER_USER]).ok_or(Error::NoPostgresUser)?;
    // A user `postgres` that is root under another name would not help.
    if uid == 0 { Err(Error::NoPostgresUser) } else { Ok(Some(User { uid, gid })) }
}

/// Answers our effective user id.
pub(crate) fn own_uid() -> Option<u32> {
    // std has no call for it, but the kernel shows our process as belonging to our effective user. Where there is no
    // /proc the program `id` knows.
    match fs::metadata("/proc/self") {
        Ok(metadata) => Some(metadata.uid()),
        Err(_) => ask_id(&["-u"]),
    }
}

/// Prepares a program to run as `user`, with nothing inherited from our environment.
///
/// The environment of a `serve` may hold secrets and `PG*` variables; neither is the database's business.
pub(crate) fn command(program: &Path, user: Option<User>) -> Command {
    let mut command = Command::new(program);
    command
        // Our own working directory may be closed to the other user.
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    if let Some(user) = user {
        // std drops root's supplementary groups along with the user id.
        command.uid(user.uid).gid(user.gid);
    }
    command
}

fn ask_id(arguments: &[&str]) -> Option<u32> {
    // `id` also knows the users that come from a directory service and are in no file.
    let output = Command::new("id").args(arguments).stdin(Stdio::null()).output().ok()?;
    if !output.status.success() {
        return None;
    }
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_and_id_agree_about_us() {
        assert_eq!(own_uid(), ask_id(&["-u"]));
    }

    #[test]
    fn a_user_that_does_not_exist_has_no_number() {
        assert_eq!(ask_id(&["-u", "no-such-user-here"]), None);
    }
}
