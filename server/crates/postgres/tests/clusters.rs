//! Starts real servers, in directories of their own, and stops every one of them.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, and clippy only knows the functions marked so"
)]

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use postgres::{Cluster, DataLock, Error, Settings, find_binaries};

/// Names the directory in which this test program, called again by a test, starts a cluster and waits to be killed.
const HOLD: &str = "SWITCHBOARD_TEST_HOLD";

/// A directory for one cluster; whatever runs in it at the end of the test is stopped.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Temporary directories are closed, and as root the server runs as another user that has to get through.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o711)).unwrap();
        Self { dir }
    }

    fn pg(&self) -> PathBuf {
        self.dir.path().join("data/pg")
    }

    fn settings(&self) -> Settings {
        settings(self.pg())
    }

    fn pid_file(&self) -> PathBuf {
        self.pg().join("data/postmaster.pid")
    }

    fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.pid_file()).ok()?.lines().next()?.parse().ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Only a test that failed half-way leaves one.
        if let Some(pid) = self.pid().filter(|pid| works_below(*pid, self.dir.path())) {
            kill(pid, "QUIT");
            wait_until(|| !works_below(pid, self.dir.path()));
        }
    }
}

fn settings(dir: PathBuf) -> Settings {
    let options = [("fsync", "off"), ("shared_buffers", "16MB"), ("max_connections", "10")];
    Settings {
        options: options.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..Settings::new(dir)
    }
}

fn works_below(pid: u32, dir: &Path) -> bool {
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| String::from_utf8_lossy(&line).contains(dir.to_str().unwrap()))
}

fn kill(pid: u32, signal: &str) {
    let script = format!("kill -s {signal} {pid}");
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited 30 s for nothing");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs one statement with the client program that lies beside the server's.
fn sql(cluster: &Cluster, statement: &str) -> String {
    let psql = find_binaries(None).unwrap().join("psql");
    let output = Command::new(psql)
        .args(["-X", "-A", "-t", "-U", "postgres", "-d", "postgres", "-v", "ON_ERROR_STOP=1"])
        .arg("-h")
        .arg(cluster.socket_dir())
        .args(["-p", &cluster.port().to_string(), "-c", statement])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A process of its own that holds a cluster, as a `serve` does.
struct Holder(Child);

impl Holder {
    fn start(place: &Place) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "holds_a_cluster_when_asked_to", "--nocapture"])
            .env(HOLD, place.pg())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Not a test by itself: the process that [`Holder`] starts runs this and is killed in it.
#[test]
fn holds_a_cluster_when_asked_to() {
    if let Some(dir) = std::env::var_os(HOLD) {
        let _cluster = Cluster::start(settings(dir.into())).unwrap();
        thread::sleep(Duration::from_mins(1));
    }
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let place = Place::new();
    let cluster = Cluster::start(place.settings()).unwrap();
    assert!(!cluster.adopted() && cluster.is_running());
    sql(&cluster, "create table marker as select 42 as answer");
    let pid = cluster.pid();
    cluster.stop().unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists() && !place.pid_file().exists());

    let cluster = Cluster::start(place.settings()).unwrap();
    assert_eq!(sql(&cluster, "select answer from marker"), "42");
    // The caller's options came through, and so did ours.
    assert_eq!(
        sql(&cluster, "select current_setting('fsync') || current_setting('listen_addresses')"),
        "off"
    );
    assert_eq!(sql(&cluster, "select current_setting('max_wal_size') || current_setting('jit')"), "2GBoff");
    cluster.stop().unwrap();
    assert!(place.pg().join("postgres.log.1").exists());
}

#[test]
fn the_defaults_start_and_write_through() {
    let place = Place::new();
    let cluster = Cluster::start(Settings::new(place.pg())).unwrap();
    assert_eq!(
        sql(&cluster, "select current_setting('fsync') || current_setting('synchronous_commit')"),
        "onon"
    );
    assert_eq!(
        sql(&cluster, "select datcollate || pg_encoding_to_char(encoding) from pg_database limit 1"),
        "C.UTF-8UTF8"
    );
}

#[test]
fn only_the_clusters_directory_changes_hands() {
    let place = Place::new();
    let cluster = Cluster::start(place.settings()).unwrap();
    let of = |path: &Path| {
        let metadata = fs::symlink_metadata(path).unwrap();
        (metadata.uid(), metadata.mode() & 0o777)
    };
    let (us, _) = of(place.dir.path());
    let (database, mode) = of(&place.pg());
    assert_eq!(mode, 0o700);
    for name in ["data", "socket", "postgres.log"] {
        let (owner, mode) = of(&place.pg().join(name));
        assert_eq!((owner, mode & 0o077), (database, 0), "{name}");
    }
    let parent = of(place.pg().parent().unwrap());
    if us == 0 {
        assert_ne!(database, 0);
        assert_eq!(parent, (0, 0o711));
    } else {
        assert_eq!((database, parent), (us, (us, 0o700)));
    }
    cluster.stop().unwrap();
}

#[test]
fn dropping_stops_the_server() {
    let place = Place::new();
    drop(Cluster::start(place.settings()).unwrap());
    assert!(!place.pid_file().exists());
}

#[test]
fn a_server_whose_parent_was_killed_is_adopted_and_stopped() {
    let place = Place::new();
    let holder = Holder::start(&place);
    wait_until(|| fs::read_to_string(place.pid_file()).is_ok_and(|text| text.contains("ready")));
    let orphan = place.pid().unwrap();
    holder.kill();
    assert!(works_below(orphan, place.dir.path()), "the server outlives its parent");

    let cluster = Cluster::start(place.settings()).unwrap();
    assert!(cluster.adopted() && cluster.is_running());
    assert_eq!(cluster.pid(), orphan);
    sql(&cluster, "create table marker as select 1");
    cluster.stop().unwrap();
    assert!(!works_below(orphan, place.dir.path()) && !place.pid_file().exists());
}

#[test]
fn a_handle_that_was_forgotten_is_found_again() {
    let place = Place::new();
    let cluster = Cluster::start(place.settings()).unwrap();
    let pid = cluster.pid();
    std::mem::forget(cluster);
    let cluster = Cluster::start(place.settings()).unwrap();
    assert!(cluster.adopted());
    assert_eq!(cluster.pid(), pid);
    cluster.stop().unwrap();
    assert!(!works_below(pid, place.dir.path()));
}

#[test]
fn a_kill_at_any_moment_of_a_start_leaves_a_usable_cluster() {
    let place = Place::new();
    // From the middle of initdb to a server that is up: each kill comes at another moment of the start.
    for milliseconds in [100, 300, 500, 700, 900] {
        let holder = Holder::start(&place);
        thread::sleep(Duration::from_millis(milliseconds));
        holder.kill();
    }
    let cluster = Cluster::start(place.settings()).unwrap();
    assert_eq!(sql(&cluster, "select 1"), "1");
    cluster.stop().unwrap();
    let left =
        fs::read_dir(place.pg()).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.starts_with("data")).collect::<Vec<_>>(), ["data"]);
}

#[test]
fn a_server_that_crashed_is_started_again() {
    let place = Place::new();
    let cluster = Cluster::start(place.settings()).unwrap();
    sql(&cluster, "create table marker as select 7 as answer");
    // At once, with nothing written out and the pid file left where it is.
    let remains = fs::read_to_string(place.pid_file()).unwrap();
    kill(cluster.pid(), "QUIT");
    wait_until(|| !cluster.is_running());
    drop(cluster);
    if !place.pid_file().exists() {
        fs::write(place.pid_file(), remains).unwrap();
        give_to_the_database(&place, &place.pid_file());
    }

    let cluster = Cluster::start(place.settings()).unwrap();
    assert!(!cluster.adopted());
    assert_eq!(sql(&cluster, "select answer from marker"), "7");
    cluster.stop().unwrap();
}

#[test]
fn a_pid_file_that_names_somebody_else_does_not_stop_a_start_and_nobody_is_harmed() {
    let place = Place::new();
    Cluster::start(place.settings()).unwrap().stop().unwrap();
    let owner = fs::metadata(place.pg()).unwrap();
    let mut innocent = {
        use std::os::unix::process::CommandExt;
        // As the database's own user, which is the case in which PostgreSQL refuses to start.
        let mut command = Command::new("sleep");
        if owner.uid() != fs::metadata("/proc/self").unwrap().uid() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        command.arg("600").current_dir("/").spawn().unwrap()
    };
    let data = place.pg().join("data");
    let socket = place.pg().join("socket");
    for (path, text) in [
        (
            place.pid_file(),
            format!("{}\n{}\n1\n5432\n{}\n\n1 1\nready\n", innocent.id(), data.display(), socket.display()),
        ),
        (
            socket.join(".s.PGSQL.5432.lock"),
            format!("{}\n{}\n1\n5432\n{}\n", innocent.id(), data.display(), socket.display()),
        ),
    ] {
        fs::write(&path, text).unwrap();
        give_to_the_database(&place, &path);
    }

    let cluster = Cluster::start(place.settings());
    let alive = innocent.try_wait().unwrap().is_none();
    innocent.kill().unwrap();
    innocent.wait().unwrap();
    assert!(alive);
    let cluster = cluster.unwrap();
    assert!(!cluster.adopted());
    cluster.stop().unwrap();
}

#[test]
fn an_empty_pid_file_does_not_stop_a_start() {
    let place = Place::new();
    Cluster::start(place.settings()).unwrap().stop().unwrap();
    fs::write(place.pid_file(), "").unwrap();
    give_to_the_database(&place, &place.pid_file());
    Cluster::start(place.settings()).unwrap().stop().unwrap();
}

#[test]
fn a_bad_option_fails_at_once_and_shows_the_log() {
    let place = Place::new();
    let mut settings = place.settings();
    settings.options.push(("no_such_option".to_owned(), "1".to_owned()));
    let started = Instant::now();
    let error = Cluster::start(settings).unwrap_err();
    assert!(matches!(error, Error::Exited { .. }), "{error}");
    assert!(error.to_string().contains("no_such_option"), "{error}");
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
    // And the cluster is none the worse for it.
    Cluster::start(place.settings()).unwrap().stop().unwrap();
}

#[test]
fn a_start_that_takes_too_long_is_given_up_and_leaves_nothing_running() {
    let place = Place::new();
    let settings = Settings { startup_timeout: Duration::ZERO, ..place.settings() };
    let error = Cluster::start(settings).unwrap_err();
    let Error::StartTimeout { pid, .. } = error else { panic!("{error}") };
    assert!(!works_below(pid, place.dir.path()));
}

#[test]
fn programs_of_another_version_are_refused_before_they_touch_the_data() {
    let place = Place::new();
    Cluster::start(place.settings()).unwrap().stop().unwrap();
    let file = place.pg().join("data/PG_VERSION");
    fs::write(&file, "11\n").unwrap();
    let error = Cluster::start(place.settings()).unwrap_err();
    assert!(matches!(&error, Error::WrongVersion { cluster, .. } if cluster == "11"), "{error}");
    assert!(error.to_string().contains("apt-get install postgresql-11"), "{error}");
}

#[test]
fn missing_programs_are_an_error_that_names_the_remedy() {
    let place = Place::new();
    let settings = Settings { bin: Some(place.dir.path().join("nowhere")), ..place.settings() };
    let error = Cluster::start(settings).unwrap_err();
    assert!(matches!(error, Error::NoBinaries { .. }), "{error}");
    assert!(error.to_string().contains("SWITCHBOARD_POSTGRES_BIN"), "{error}");
}

#[test]
fn a_full_directory_is_not_taken_for_a_cluster_nor_given_away() {
    let place = Place::new();
    fs::create_dir_all(place.pg().join("data")).unwrap();
    fs::write(place.pg().join("data/photo"), "mine").unwrap();
    let before = fs::metadata(place.pg()).unwrap().uid();
    let error = Cluster::start(place.settings()).unwrap_err();
    assert!(matches!(error, Error::WrongOwner { .. } | Error::NotACluster(_)), "{error}");
    assert_eq!(fs::metadata(place.pg()).unwrap().uid(), before);
}

#[test]
fn a_closed_parent_is_named() {
    let place = Place::new();
    let closed = place.dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    let started = Cluster::start(settings(closed.join("data/pg")));
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        let error = started.unwrap_err();
        assert!(
            matches!(&error, Error::NotTraversable { parent, .. } if *parent == closed.canonicalize().unwrap()),
            "{error}"
        );
    } else {
        // The server runs as ourselves, so that the door is open.
        started.unwrap().stop().unwrap();
    }
}

#[test]
fn a_link_on_the_way_and_odd_characters_in_the_path_do_no_harm() {
    let place = Place::new();
    let odd = place.dir.path().join("a, b='c' é");
    fs::create_dir(&odd).unwrap();
    fs::set_permissions(&odd, Permissions::from_mode(0o711)).unwrap();
    let link = place.dir.path().join("link");
    symlink(&odd, &link).unwrap();
    // A start ends only when the socket has accepted a connection; psql would take the comma for a list of hosts.
    let cluster = Cluster::start(settings(link.join("pg"))).unwrap();
    assert_eq!(cluster.socket_dir(), odd.canonicalize().unwrap().join("pg/socket"));
    std::mem::forget(cluster);
    let cluster = Cluster::start(settings(link.join("pg"))).unwrap();
    assert!(cluster.adopted());
    assert_eq!(cluster.socket_dir(), odd.canonicalize().unwrap().join("pg/socket"));
    cluster.stop().unwrap();
}

#[test]
fn a_second_process_on_the_same_data_directory_is_refused() {
    let place = Place::new();
    let data = place.dir.path().join("data");
    let lock = DataLock::acquire(&data).unwrap();
    // A cluster inside, with its children, must not keep the lock alive when we let go of it.
    let cluster = Cluster::start(place.settings()).unwrap();
    assert!(matches!(DataLock::acquire(&data), Err(Error::Locked { pid: Some(_), .. })));
    drop(lock);
    DataLock::acquire(&data).unwrap();
    cluster.stop().unwrap();
}

/// Makes a file that a test has written look as if the server had.
fn give_to_the_database(place: &Place, path: &Path) {
    let owner = fs::metadata(place.pg()).unwrap();
    std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}
