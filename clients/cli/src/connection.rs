//! Where the server is and who asks: from the command line, or from what the server on this machine left in its data
//! directory.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use switchboard_sdk::Client;

/// How to reach the server.
#[derive(Debug, Args)]
pub struct Connection {
    /// The server's gRPC address. Default: the one in the data directory, else `http://127.0.0.1:50051`.
    #[arg(long, env = "SWITCHBOARD_ENDPOINT", global = true)]
    endpoint: Option<String>,
    /// The workspace's API key, or an operator's where one is needed. Default: the one in the data directory.
    #[arg(long, env = "SWITCHBOARD_API_KEY", hide_env_values = true, global = true)]
    api_key: Option<String>,
    /// The data directory of a server on this machine.
    #[arg(long, env = "SWITCHBOARD_DATA_DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl Connection {
    /// Makes the client. Nothing is called yet.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        self.client_with("workspace_key")
    }

    /// Makes the client of an operator.
    pub(crate) fn operator(&self) -> anyhow::Result<Client> {
        self.client_with("operator_key")
    }

    fn client_with(&self, key: &str) -> anyhow::Result<Client> {
        let dir = self.data_dir.clone().unwrap_or_else(default_data_dir);
        let key = match &self.api_key {
            Some(key) => key.clone(),
            None => value(&dir.join("credentials"), key).with_context(|| {
                format!("no API key: give --api-key, or start a server with its data in {}", dir.display())
            })?,
        };
        let endpoint = self.endpoint.clone().unwrap_or_else(|| {
            value(&dir.join("listeners"), "grpc")
                .map_or_else(|_| "http://127.0.0.1:50051".to_owned(), |address| format!("http://{address}"))
        });
        Ok(Client::builder(endpoint).api_key(key).connect_lazy()?)
    }
}

fn default_data_dir() -> PathBuf {
    let system = PathBuf::from("/var/lib/switchboard");
    if system.join("credentials").is_file() {
        return system;
    }
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    variable("XDG_DATA_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
        .map_or(system, |data| data.join("switchboard"))
}

/// Reads `name=value` from a file of such lines.
fn value(path: &Path, name: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    find(&text, name).map(ToOwned::to_owned).with_context(|| format!("{} holds no {name}", path.display()))
}

fn find<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        line.split_once('=').filter(|(known, _)| *known == name).map(|(_, value)| value.trim())
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn credentials_are_read_by_name() {
        let text = "operator_key=sbo_1\nworkspace_key=sbk_2==\n";
        assert_eq!(super::find(text, "workspace_key"), Some("sbk_2=="));
        assert_eq!(super::find(text, "key"), None);
    }
}
