//! What kind of app a key is, and what it wants to be given.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{Timestamp, vendor::VendorError};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Account;
use crate::{account, http::HttpClient};

/// How long an app is known. Who changes its inputs waits no longer.
const FRESH: Duration = Duration::from_mins(10);
/// How many apps are known.
const MOST: usize = 1_000;

/// An app.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct App {
    /// Its kind, as Dify names it.
    pub(super) mode: String,
    /// Its inputs that are texts: other values are refused there.
    pub(super) texts: HashSet<String>,
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    mode: String,
}

#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    user_input_form: Vec<serde_json::Map<String, Value>>,
}

impl App {
    /// Asks for it.
    pub(super) async fn read(http: &HttpClient, account: &Account<'_>) -> Result<Self, VendorError> {
        let Info { mode } = account.read(http, "read app", "info").await?;
        let mut app = Self { mode, texts: HashSet::new() };
        if app.chats() {
            let Parameters { user_input_form } = account.read(http, "read app", "parameters").await?;
            app.texts = texts(&user_input_form);
        }
        Ok(app)
    }

    /// Whether it has a chat. Releases before 0.9 don't say what it is.
    pub(super) fn chats(&self) -> bool {
        !matches!(self.mode.as_str(), "completion" | "workflow")
    }

    /// Whether it refuses to answer whole.
    pub(super) fn only_streams(&self) -> bool {
        matches!(self.mode.as_str(), "agent" | "agent-chat")
    }
}

fn texts(form: &[serde_json::Map<String, Value>]) -> HashSet<String> {
    let fields = form.iter().flatten();
    let texts = fields.filter(|(kind, _)| matches!(kind.as_str(), "text-input" | "paragraph" | "select"));
    texts.filter_map(|(_, field)| field["variable"].as_str().map(str::to_owned)).collect()
}

/// The apps that were asked for.
#[derive(Default)]
pub(super) struct Apps(Mutex<Vec<Known>>);

/// An app by a digest of where it is and of its key, and when it was asked for.
type Known = ([u8; 32], Timestamp, Arc<App>);

impl Apps {
    pub(super) async fn get(
        &self,
        http: &HttpClient,
        account: &Account<'_>,
    ) -> Result<Arc<App>, VendorError> {
        let key = account::key_of(account.connection).map(ExposeSecret::expose_secret).unwrap_or_default();
        let digest = Sha256::new().chain_update(&account.base_url).chain_update([0]).chain_update(key);
        let digest: [u8; 32] = digest.finalize().into();
        let fresh = |read_at: Timestamp| (account.now - read_at).unsigned_abs() < FRESH;
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known =
            lock().iter().find(|(known, at, _)| *known == digest && fresh(*at)).map(|it| it.2.clone());
        if let Some(app) = known {
            return Ok(app);
        }
        let app = Arc::new(App::read(http, account).await?);
        let mut apps = lock();
        apps.retain(|(known, at, _)| *known != digest && fresh(*at));
        apps.truncate(MOST - 1);
        apps.push((digest, account.now, app.clone()));
        Ok(app)
    }
}
