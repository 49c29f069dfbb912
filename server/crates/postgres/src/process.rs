//! What the operating system knows about processes, and how they are told to stop.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Command, Stdio},
};

/// What a process turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The server of the data directory asked about.
    Server,
    /// Something else that is alive.
    Other,
    /// Nothing: there is no such process, or it has ended and only waits for its parent to notice.
    Gone,
}

/// Finds out whether `pid` is the server (the postmaster, not one of its children) of the cluster in `data`.
///
/// A process id in a file proves nothing: after a crash or a restart of the machine it may be anyone's. So the process
/// must be called `postgres` and must either work in the data directory or have been started with it.
pub(crate) fn kind(pid: u32, data: &Path) -> Kind {
    let Some(words) = command_line(pid) else {
        return Kind::Gone;
    };
    let Some((program, arguments)) = words.split_first().filter(|(program, _)| !program.is_empty()) else {
        // A process without a command line has ended and waits for its parent, or has only just begun, or is the
        // kernel's own.
        return if is_defunct(pid) { Kind::Gone } else { Kind::Other };
    };
    let name = Path::new(OsStr::from_bytes(program)).file_name().unwrap_or_default();
    // Children call themselves `postgres: checkpointer` and the like, all in one word.
    if name != "postgres" && name != "postmaster" {
        return Kind::Other;
    }
    // The server's working directory is always its data directory. The link can be unreadable though, for root too
    // where a container withholds the right to trace other users' processes; then the command line has to do.
    let works_there = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data);
    let started_with_it = arguments
        .windows(2)
        .any(|pair| pair[0].as_slice() == b"-D" && Path::new(OsStr::from_bytes(&pair[1])) == data);
    if works_there || started_with_it { Kind::Server } else { Kind::Other }
}

/// Sends a signal, named without its `SIG`.
pub(crate) fn signal(pid: u32, name: &str) -> io::Result<()> {
    // std can only send SIGKILL, and only to children. The shell's own `kill` is everywhere; the program of that name
    // is missing from slim container images.
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$1\" \"$2\" 2>/dev/null", "sh", name, &pid.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("no process {pid} to send {name} to")))
    }
}

/// Reads a process's program and arguments. `None` when it does not exist; empty when it has none.
fn command_line(pid: u32) -> Option<Vec<Vec<u8>>> {
    if has_proc() {
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        return Some(bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect());
    }
    // Systems without /proc. Words with spaces in them fall apart here, so that such a server is not recognised; then
    // the start fails with PostgreSQL's own message, and nothing is harmed.
    let output = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output().ok()?;
    let words: Vec<Vec<u8>> = output
        .stdout
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    (!words.is_empty()).then_some(words)
}

/// Answers whether the process has ended and only waits for its parent to notice.
fn is_defunct(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        // The state follows the name, which is in brackets and may itself hold any character.
        Ok(stat) => stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X'])),
        Err(_) => has_proc(),
    }
}

fn has_proc() -> bool {
    Path::new("/proc/self/cmdline").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_no_server_of_any_directory() {
        assert_eq!(kind(std::process::id(), Path::new("/")), Kind::Other);
    }

    #[test]
    fn an_ended_child_is_gone_even_before_it_is_waited_for() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert_eq!(kind(child.id(), Path::new("/")), Kind::Other);
        signal(child.id(), "KILL").unwrap();
        while kind(child.id(), Path::new("/")) != Kind::Gone {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(signal(child.id(), "INT").is_err());
    }
}
