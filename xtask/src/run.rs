//! Other programs: run with a headline, or captured.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// Runs a command whose output people want to see. Its command line is printed first.
///
/// # Errors
///
/// When it can't be started or ends with another code than 0; the error holds the command line.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = line(command);
    println!("$ {line}");
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("starting `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Runs a command like [`run`] and shows each line of its standard output to `read` as well.
///
/// It ends when the command does. A process that the command left behind may hold its output open for ever; what that
/// one writes is nobody's.
///
/// # Errors
///
/// As [`run`].
pub fn run_lines(command: &mut Command, mut read: impl FnMut(&str)) -> anyhow::Result<()> {
    let line = line(command);
    println!("$ {line}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting `{line}`"))?;
    let output = child.stdout.take().context("the command has no output")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut bytes = Vec::new();
        while output.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
            if sender.send(String::from_utf8_lossy(&bytes).into_owned()).is_err() {
                return;
            }
            bytes.clear();
        }
    });
    let mut ended = None;
    let status = loop {
        match (lines.recv_timeout(Duration::from_millis(100)), ended) {
            (Ok(line), _) => {
                print!("{line}");
                read(line.trim_end());
            }
            // Silence after the end: all that the command itself wrote has arrived.
            (Err(RecvTimeoutError::Timeout), Some(status)) => break status,
            (Err(RecvTimeoutError::Timeout), None) => ended = child.try_wait()?,
            (Err(RecvTimeoutError::Disconnected), _) => break child.wait()?,
        }
    };
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Runs a command quietly and gives what it wrote to its standard output.
///
/// # Errors
///
/// When it can't be started, ends with another code than 0 (the error holds the command line and all that it wrote) or
/// writes something that is not UTF-8.
pub fn capture(command: &mut Command) -> anyhow::Result<String> {
    let line = line(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting `{line}`"))?;
    if !output.status.success() {
        bail!(
            "`{line}` failed: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("reading the output of `{line}`"))
}

/// A `cargo` of the same toolchain, in the checkout.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// A `git` in the checkout.
pub fn git(root: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(root);
    command
}

/// Whether a program is on `PATH`.
pub fn available(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| is_executable(&folder.join(program))))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The command as a person would type it, with the folder where that is another than ours. Environment variables are
/// left out: keys of the server under test travel there.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![word(program.file_name().unwrap_or(program.as_os_str()))];
    words.extend(command.get_args().map(word));
    let here = env::current_dir().ok();
    match command.get_current_dir() {
        Some(folder) if here.as_deref() != Some(folder) => {
            format!("{} (in {})", words.join(" "), folder.display())
        }
        _ => words.join(" "),
    }
}

fn word(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.is_empty() || word.contains(char::is_whitespace) {
        format!("'{word}'")
    } else {
        word.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_what_it_said() {
        let error = capture(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("sh -c 'echo out; echo err >&2; exit 3'"), "{text}");
        assert!(text.contains("out\nerr\n"), "{text}");
    }

    #[test]
    fn every_line_is_read_and_what_is_left_behind_is_not_waited_for() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; sleep 10 & echo two; exit 3"]);
        let started = std::time::Instant::now();
        let error = run_lines(&mut command, |line| lines.push(line.to_owned())).unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(lines, ["one", "two"]);
        assert!(error.to_string().ends_with("exit status: 3"), "{error}");
    }

    #[test]
    fn only_executable_files_are_programs() {
        assert!(available("sh"));
        assert!(!available("no-such-program-anywhere"));
    }
}
