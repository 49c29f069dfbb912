//! `switchboard keys`: API keys by whoever owns the database, without a running server.

use std::sync::Arc;

use anyhow::Context as _;
use app::{App, Caller, PageRequest, workspaces::NewApiKey};
use clap::Subcommand;
use domain::{
    ApiKeyId, SystemClock, Timestamp, WorkspaceId,
    workspace::{ApiKey, Scopes},
};
use secrecy::ExposeSecret;
use serde_json::json;
use switchboard_cli::{Output, Row, print};
use time::format_description::well_known::Rfc3339;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    start::{Database, build_app},
};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Creates a key and prints it, once.
    Create {
        /// The workspace's id. Without one: an operator key.
        #[arg(long)]
        workspace: Option<WorkspaceId>,
        /// A name for people.
        #[arg(long, default_value = "command line")]
        name: String,
        /// What it may do: `<service>:<read|write|admin>`, several with commas. Default: everything.
        #[arg(long, value_delimiter = ',')]
        scope: Vec<String>,
        /// When it stops working, RFC 3339.
        #[arg(long, value_parser = moment)]
        expires: Option<Timestamp>,
    },
    /// Lists the keys of a workspace.
    List {
        /// The workspace's id.
        #[arg(long)]
        workspace: WorkspaceId,
    },
    /// Revokes a key.
    Revoke {
        /// The workspace's id.
        #[arg(long)]
        workspace: WorkspaceId,
        /// The id of the key's record.
        id: ApiKeyId,
    },
}

fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text, &Rfc3339).map_err(|error| error.to_string())
}

/// Does it. The private database must not be in use by a running server; use the API there.
pub async fn run(config: &Config, output: Output, command: Command) -> anyhow::Result<()> {
    let database = Database::open(config).await?;
    let stop = CancellationToken::new();
    let app = build_app(config, &database, Arc::new(SystemClock), &[], stop.clone()).await?;
    let done = act(&app, output, command).await;
    stop.cancel();
    app.close(config.shutdown).await;
    database.close().await?;
    done
}

async fn act(app: &App, output: Output, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { workspace, name, scope, expires } => {
            let (key, secret) = match workspace {
                Some(workspace) => {
                    let scopes = if scope.is_empty() {
                        Scopes::all()
                    } else {
                        Scopes::parse(scope.iter().map(String::as_str))?
                    };
                    let new = NewApiKey { display_name: name, scopes, expires_at: expires };
                    let (key, secret) =
                        app.create_api_key(&Caller::Operator, Some(workspace), new, "").await?;
                    (key, secret.context("a new key has a secret")?)
                }
                None => app.create_operator_key(&name).await?,
            };
            let secret = secret.expose_secret().to_owned();
            let row = Row {
                json: json!({ "id": key.id, "displayName": key.display_name, "secret": secret }),
                cells: vec![key.id.to_string(), secret],
            };
            print(output, &["ID", "KEY"], &[row]);
        }
        Command::List { workspace } => {
            let mut page = PageRequest { size: 1_000, token: String::new() };
            let mut rows = Vec::new();
            loop {
                let keys = app.list_api_keys(&Caller::Operator, Some(workspace), &page).await?;
                rows.extend(keys.items.iter().map(|key| row(key, app.now())));
                if keys.next_token.is_empty() {
                    break;
                }
                page.token = keys.next_token;
            }
            print(output, &HEADINGS, &rows);
        }
        Command::Revoke { workspace, id } => {
            let key = app.revoke_api_key(&Caller::Operator, Some(workspace), id).await?;
            print(output, &HEADINGS, &[row(&key, app.now())]);
        }
    }
    Ok(())
}

const HEADINGS: [&str; 5] = ["ID", "KEY", "STATE", "NAME", "SCOPES"];

fn row(key: &ApiKey, now: Timestamp) -> Row {
    let state = match key.revoked_at {
        Some(_) => "revoked",
        None if key.expires_at.is_some_and(|at| at <= now) => "expired",
        None => "active",
    };
    let moment = |at: Timestamp| at.format(&Rfc3339).unwrap_or_default();
    let scopes = key.scopes.names();
    Row {
        cells: vec![
            key.id.to_string(),
            format!("…{}", key.suffix),
            state.to_owned(),
            key.display_name.clone(),
            scopes.join(","),
        ],
        json: json!({
            "id": key.id, "workspaceId": key.workspace, "displayName": key.display_name, "suffix": key.suffix,
            "state": state, "scopes": scopes, "createTime": moment(key.created_at),
            "expireTime": key.expires_at.map(moment), "revokeTime": key.revoked_at.map(moment),
        }),
    }
}
