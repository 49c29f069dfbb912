//! What the database does alone: one row per transaction, in the same cluster as the server's database.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::Command;

use super::server::DataDir;

const DATABASE: &str = "bench";
/// The part of a message's row that counts: ids and a text of the same length.
const TABLE: &str = "create table message (id bigint generated always as identity primary key, \
                     workspace_id uuid not null, dialogue_id uuid not null, body text not null)";
const CLIENTS: &str = "64";

/// The baseline of ingestion.
#[derive(Debug)]
pub struct Pgbench {
    bin: PathBuf,
    socket: PathBuf,
    port: String,
    script: PathBuf,
}

impl Pgbench {
    /// Makes a database for it in the cluster of a running server.
    pub async fn prepare(data: &DataDir) -> anyhow::Result<Self> {
        let socket = data.socket();
        let bin = postgres::find_binaries(None)?;
        let port = data.port()?.to_string();
        let script = socket.with_file_name("..").join("bench.sql");
        let body = "abcdefghijklmnopqrstuvwxyz 0123456789 ".repeat(6);
        let insert = format!(
            "insert into message (workspace_id, dialogue_id, body) values \
             ('00000000-0000-0000-0000-000000000000', gen_random_uuid(), '{}');\n",
            &body[..200]
        );
        fs::write(&script, insert)?;
        let pgbench = Self { bin, socket, port, script };
        let fsync = pgbench.sql("postgres", "show fsync").await?;
        if fsync.trim() != "on" {
            bail!("the cluster runs with fsync {}", fsync.trim());
        }
        pgbench.sql("postgres", &format!("create database {DATABASE}")).await?;
        pgbench.sql(DATABASE, TABLE).await?;
        Ok(pgbench)
    }

    async fn sql(&self, database: &str, statement: &str) -> anyhow::Result<String> {
        output(self.command("psql").args(["-X", "-q", "-A", "-t", "-c", statement, database])).await
    }

    fn command(&self, program: &str) -> Command {
        let path = self.bin.join(program);
        // Some packages put it among the programs for people.
        let path = if path.exists() { path } else { Path::new("/usr/bin").join(program) };
        let mut command = Command::new(path);
        command.arg("-h").arg(&self.socket).args(["-p", &self.port, "-U", "postgres"]);
        command
    }

    /// Inserts for a time, in whole seconds; gives the transactions per second.
    pub async fn run(&self, length: Duration) -> anyhow::Result<f64> {
        let seconds = length.as_secs().max(1).to_string();
        let text = output(
            self.command("pgbench")
                .args(["-n", "-M", "prepared", "-c", CLIENTS, "-j", "2", "-T", &seconds, "-f"])
                .arg(&self.script)
                .arg(DATABASE),
        )
        .await?;
        tps(&text).with_context(|| format!("pgbench did not tell its tps:\n{text}"))
    }
}

async fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.kill_on_drop(true).output().await.with_context(|| format!("starting {name}"))?;
    if !output.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn tps(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tps_are_read() {
        let text = "latency average = 3.1 ms\ntps = 20512.73 (without initial connection time)\n";
        assert_eq!(tps(text), Some(20_512.73));
        assert_eq!(tps("pgbench (18.1)\n"), None);
    }
}
