//! What the figures were measured on.

use std::fs;
use std::process::Command;
use std::thread;

use serde::Serialize;

use super::server::kib;
use crate::run;

/// The machine and what ran on it.
#[derive(Debug, Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    memory: String,
    kernel: String,
    postgres: String,
    rustc: String,
    /// The load average of the last minute before the first row: what else was busy.
    load_before: String,
}

impl Machine {
    /// Looks at this machine. What it doesn't tell is empty.
    pub fn read() -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let version = |command: &mut Command| run::capture(command).unwrap_or_default().trim().to_owned();
        let cpu = file("/proc/cpuinfo");
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let memory = kib(&file("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let postgres = postgres::find_binaries(None).map(|bin| bin.join("postgres")).unwrap_or_default();
        Self {
            cpu: cpu.map(|(_, name)| name.to_owned()).unwrap_or_default(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory: format!("{:.1} GiB", memory / 1024.0 / 1024.0),
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            postgres: version(Command::new(postgres).arg("--version")),
            rustc: version(Command::new("rustc").arg("--version")),
            load_before: file("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    /// In one line.
    pub fn line(&self) -> String {
        format!(
            "{} · {} cores · {} · Linux {} · {} · {} · load before {}",
            self.cpu, self.cores, self.memory, self.kernel, self.postgres, self.rustc, self.load_before
        )
    }
}
