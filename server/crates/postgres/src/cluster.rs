//! Starts, adopts and stops a cluster.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::{
        fs::{OpenOptionsExt, fchown},
        net::UnixStream,
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{self as std_process, Child},
    thread,
    time::{Duration, Instant},
};

use crate::{
    binaries,
    directories::{Layout, PORT},
    error::Error,
    options,
    pid_file::{self, PidFile, socket_name},
    process::{self, Kind},
    user::{self, User},
};

/// How often we look again while waiting. A start takes about 50 ms, so that a longer pause would be noticed.
const POLL: Duration = Duration::from_millis(10);
/// How long a stop may write out what is in memory. Longer, and recovery at the next start is the better bargain.
const FAST_STOP: Duration = Duration::from_secs(30);
/// How long a stop at once, which writes nothing, may take.
const IMMEDIATE_STOP: Duration = Duration::from_secs(10);

/// What a private cluster is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cluster's own directory, for example `<data>/pg`. Made if missing; afterwards the database's user owns it.
    pub dir: PathBuf,
    /// The directory of the server programs, when it is not to be searched for.
    pub bin: Option<PathBuf>,
    /// Server settings as name and value, over our defaults. Those that decide who reaches the server are refused.
    pub options: Vec<(String, String)>,
    /// How long a start may take until connections are accepted, recovery after a crash included, the making of a new
    /// cluster not. A server that ends while starting is an error at once, so this may be generous.
    pub startup_timeout: Duration,
}

impl Settings {
    /// Gives the settings that are right for lasting data in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), bin: None, options: Vec::new(), startup_timeout: Duration::from_mins(2) }
    }
}

/// A private server that is ready for connections.
///
/// Connect to the socket in [`socket_dir`](Self::socket_dir) as the role `postgres` without a password. Dropping it
/// stops the server too, but swallows errors; [`stop`](Self::stop) tells them.
#[derive(Debug)]
pub struct Cluster {
    layout: Layout,
    server: Server,
    /// Ours, if we started it. An adopted server is some dead process's child and can only be watched.
    child: Option<Child>,
    stopped: bool,
}

/// Where a ready server is.
#[derive(Debug)]
struct Server {
    pid: u32,
    socket_dir: PathBuf,
    port: u16,
}

impl Cluster {
    /// Starts the cluster in `settings.dir`, making it first if there is none, and waits until it accepts connections.
    ///
    /// A server that already runs on this directory, left by a process that was killed, is adopted instead. It goes on
    /// with the options *it* was started with.
    ///
    /// Blocks; a new cluster takes about a second. Hold the [`DataLock`](crate::DataLock) of the data directory.
    ///
    /// # Errors
    /// Each names its remedy. When the server ended or was not ready in time, the error carries the end of its log.
    pub fn start(settings: Settings) -> Result<Self, Error> {
        let Settings { dir, bin, options, startup_timeout } = settings;
        let options = options::merge(&options)?;
        let user = user::for_children()?;
        let layout = Layout::prepare(&dir, user)?;
        if let Some(server) = adopt(&layout, startup_timeout)? {
            return Ok(Self { layout, server, child: None, stopped: false });
        }

        remove_unfinished(&layout)?;
        let bin = if let Some(version) = layout.version()? {
            binaries::find_for_version(bin.as_deref(), &version, &layout.data, user)?
        } else {
            let bin = binaries::find_binaries(bin.as_deref())?;
            initialise(&layout, &bin, user)?;
            bin
        };
        clear_remains(&layout, user)?;
        let child = spawn(&layout, &bin, &options, user)?;
        // From here on a failure has to stop the server, which dropping the cluster does.
        let server = Server { pid: child.id(), socket_dir: layout.socket_dir.clone(), port: PORT };
        let mut cluster = Self { layout, server, child: Some(child), stopped: false };
        cluster.wait_until_ready(startup_timeout)?;
        Ok(cluster)
    }

    /// Answers the directory of the server's socket.
    pub fn socket_dir(&self) -> &Path {
        &self.server.socket_dir
    }

    /// Answers the port, which is only part of the socket's name: the server listens on no network address.
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// Answers the server's process id, for logs and for measuring.
    pub fn pid(&self) -> u32 {
        self.server.pid
    }

    /// Answers whether the server was already running, left behind by a process that was killed.
    pub fn adopted(&self) -> bool {
        self.child.is_none()
    }

    /// Answers where the server writes its log. The log of the start before it has `.1` appended.
    pub fn log(&self) -> &Path {
        &self.layout.log
    }

    /// Answers whether the server is still there. It is not started again by itself: connections tell of its end sooner
    /// than any watching could, and the caller knows whether a new start is wanted.
    pub fn is_running(&self) -> bool {
        process::kind(self.server.pid, &self.layout.data) == Kind::Server
    }

    /// Stops the server: connections are closed, memory is written out. Blocks up to 40 s, usually some 10 ms.
    ///
    /// When writing takes longer than 30 s the server is told to stop at once. No committed transaction is lost by
    /// that; the next start recovers it from the log.
    ///
    /// # Errors
    /// [`Error::StopTimeout`] when the server is still there.
    pub fn stop(mut self) -> Result<(), Error> {
        self.shut_down()
    }

    fn shut_down(&mut self) -> Result<(), Error> {
        // Whatever comes, it is not tried a second time by drop.
        if std::mem::replace(&mut self.stopped, true) {
            return Ok(());
        }
        let pid = self.server.pid;
        for (signal, patience) in [("INT", FAST_STOP), ("QUIT", IMMEDIATE_STOP)] {
            if self.has_ended() {
                return Ok(());
            }
            // An error means that it ended just now; the next look tells.
            let _ = process::signal(pid, signal);
            let deadline = Instant::now() + patience;
            while Instant::now() < deadline {
                if self.has_ended() {
                    tracing::debug!(pid, signal, "the private PostgreSQL has stopped");
                    return Ok(());
                }
                thread::sleep(POLL);
            }
            tracing::warn!(pid, signal, "the private PostgreSQL has not stopped in {} s", patience.as_secs());
        }
        Err(Error::StopTimeout { pid })
    }

    fn has_ended(&mut self) -> bool {
        match &mut self.child {
            // Waiting also frees the process table's entry.
            Some(child) => !matches!(child.try_wait(), Ok(None)),
            None => !self.is_running(),
        }
    }

    fn wait_until_ready(&mut self, patience: Duration) -> Result<(), Error> {
        let started = Instant::now();
        let mut told = false;
        loop {
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                // Killed between the start of its server and the first line of the pid file, our predecessor leaves one
                // that we could not see before. Of two servers PostgreSQL lets only one live, and it was the other one.
                if let Some(server) = adopt(&self.layout, patience)? {
                    self.server = server;
                    self.child = None;
                    return Ok(());
                }
                self.stopped = true;
                let output = last_lines(&self.layout.log);
                return Err(Error::Exited { status, log: self.layout.log.clone(), output });
            }
            if let Some(file) = PidFile::read(&self.layout.data)?
                && file.pid == self.server.pid
                && accepts(&file)
            {
                tracing::debug!(pid = file.pid, elapsed = ?started.elapsed(), "the private PostgreSQL is ready");
                return Ok(());
            }
            if started.elapsed() > patience {
                return Err(too_late(&self.layout, self.server.pid, patience));
            }
            if !told && started.elapsed() > Duration::from_secs(5) {
                told = true;
                let log = self.layout.log.display();
                tracing::info!(%log, "the private PostgreSQL is still starting; after a crash it recovers first");
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down() {
            tracing::error!(%error, "the private PostgreSQL was left running");
        }
    }
}

/// Takes over the server that runs on this directory. `None` when there is none.
fn adopt(layout: &Layout, patience: Duration) -> Result<Option<Server>, Error> {
    let started = Instant::now();
    loop {
        let Some(file) = PidFile::read(&layout.data)? else {
            return Ok(None);
        };
        if process::kind(file.pid, &layout.data) != Kind::Server {
            return Ok(None);
        }
        // One that is starting or recovering is waited for. So is one that is stopping: it ends, and the loop with it.
        if accepts(&file)
            && let PidFile { pid, port: Some(port), socket_dir: Some(socket_dir), .. } = file
        {
            tracing::info!(pid, "took over the private PostgreSQL that a killed process had left running");
            return Ok(Some(Server { pid, socket_dir, port }));
        }
        if started.elapsed() > patience {
            return Err(too_late(layout, file.pid, patience));
        }
        thread::sleep(POLL);
    }
}

/// Answers whether the server says it is ready and its socket agrees.
fn accepts(file: &PidFile) -> bool {
    file.is_ready() && file.socket().is_some_and(|socket| UnixStream::connect(socket).is_ok())
}

fn too_late(layout: &Layout, pid: u32, patience: Duration) -> Error {
    Error::StartTimeout {
        pid,
        seconds: patience.as_secs(),
        log: layout.log.clone(),
        output: last_lines(&layout.log),
    }
}

/// Makes a new cluster, and makes it appear under its name only when it is complete.
fn initialise(layout: &Layout, bin: &Path, user: Option<User>) -> Result<(), Error> {
    // A name of our own for each try keeps it apart from an `initdb` that outlived its parent.
    let new = layout.dir.join(format!("data.new-{}", std_process::id()));
    let program = bin.join("initdb");
    let output = user::command(&program, user)
        .arg("-D")
        .arg(&new)
        // Who can enter the socket's directory is trusted. The server listens nowhere else; should that ever change by
        // mistake, nobody gets in that way.
        .args(["-U", "postgres", "-A", "trust", "--auth-host=reject"])
        // The plain order of code points does not change under the indexes when the system is upgraded.
        .args(["-E", "UTF8", "--locale=C.UTF-8", "--no-instructions"])
        .output()
        .map_err(|source| Error::Run { program: program.clone(), source })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // Nothing is lost if this fails: the next try removes it.
        let _ = fs::remove_dir_all(&new);
        return Err(Error::Failed { program, status: output.status, output: text });
    }
    fs::rename(&new, &layout.data).map_err(Error::io("rename", &new))?;
    File::open(&layout.dir).and_then(|dir| dir.sync_all()).map_err(Error::io("write out", &layout.dir))?;
    tracing::info!(dir = %layout.data.display(), bin = %bin.display(), "made a new PostgreSQL cluster");
    Ok(())
}

/// Removes what an `initdb` left that was killed: it looks like a cluster and is none.
fn remove_unfinished(layout: &Layout) -> Result<(), Error> {
    for entry in fs::read_dir(&layout.dir).map_err(Error::io("read", &layout.dir))?.flatten() {
        if !entry.file_name().to_string_lossy().starts_with("data.new-") {
            continue;
        }
        // If only its parent was killed, the `initdb` itself still makes files while we remove them. It gives up as
        // soon as one of its directories is gone.
        let path = entry.path();
        let deadline = Instant::now() + Duration::from_secs(5);
        while let Err(error) = fs::remove_dir_all(&path) {
            if error.kind() == io::ErrorKind::NotFound {
                break;
            }
            if Instant::now() > deadline {
                return Err(Error::io("remove", path)(error));
            }
            thread::sleep(POLL);
        }
    }
    Ok(())
}

/// Removes what a crash can leave behind that would stop the next start. No server runs here when this is called.
fn clear_remains(layout: &Layout, user: Option<User>) -> Result<(), Error> {
    match PidFile::read(&layout.data)? {
        // The usual remains; PostgreSQL clears them itself.
        Some(file) if process::kind(file.pid, &layout.data) == Kind::Gone => {}
        Some(_) => pid_file::disown(&layout.data, user)?,
        None => pid_file::remove_empty(&layout.data)?,
    }
    let socket = socket_name(PORT);
    for name in [format!("{socket}.lock"), socket] {
        let path = layout.socket_dir.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn spawn(
    layout: &Layout,
    bin: &Path,
    options: &[(String, String)],
    user: Option<User>,
) -> Result<Child, Error> {
    let log = new_log(&layout.log, user)?;
    let program = bin.join("postgres");
    let mut command = user::command(&program, user);
    command.arg("-D").arg(&layout.data);
    for (name, value) in options {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command
        .args(["-c", "listen_addresses=", "-c", &format!("port={PORT}")])
        // It is a list; the quotes keep a path with a comma or a space in it one entry.
        .args(["-c", &format!("unix_socket_directories=\"{}\"", layout.socket_dir.display())])
        .stdout(log.try_clone().map_err(Error::io("open", &layout.log))?)
        .stderr(log)
        // Ctrl-C in a terminal goes to the whole group; the server has to outlive those who still use it.
        .process_group(0);
    command.spawn().map_err(|source| Error::Run { program, source })
}

/// Opens a fresh log and keeps the one before it, so that the log stays bounded and an error shows this start only.
fn new_log(path: &Path, user: Option<User>) -> Result<File, Error> {
    let mut previous = path.as_os_str().to_owned();
    previous.push(".1");
    match fs::rename(path, &previous) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("rename", path)(error));
        }
        _ => {}
    }
    // The directory is the other user's. Neither renaming nor making a new file follows a link that lies there, so root
    // writes nowhere else.
    let file = File::options()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::io("create", path))?;
    if let Some(user) = user {
        fchown(&file, Some(user.uid), Some(user.gid)).map_err(Error::io("give away", path))?;
    }
    Ok(file)
}

/// Reads the last lines of a log, as many as fit into an error message.
fn last_lines(log: &Path) -> String {
    const BYTES: u64 = 8 * 1024;
    const LINES: usize = 15;
    let read = || {
        if !fs::symlink_metadata(log)?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = match read() {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return format!("(the log cannot be read: {error})"),
    };
    let lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() {
        return "(the log is empty)".to_owned();
    }
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
