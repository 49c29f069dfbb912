//! Workspaces and API keys.

use std::time::Duration;

use domain::{
    ApiKeyId, Error as Refusal, Reason, Timestamp, WorkspaceId,
    budget::{self, Budget, Scope},
    error::Violations,
    stats::Stats,
    token::{self, TokenKind},
    workspace::{ApiKey, Level, Scopes, Service, Workspace},
};
use secrecy::SecretString;

use crate::{App, Caller, Error, Page, PageRequest, caller::missing, requests::check_name};

/// An API key to make.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// A name for people.
    pub display_name: String,
    /// What it may do; empty for operator keys.
    pub scopes: Scopes,
    /// When it stops working. `None`: never.
    pub expires_at: Option<Timestamp>,
}

pub(crate) fn operator_only(caller: &Caller) -> Result<(), Refusal> {
    match caller {
        Caller::Operator => Ok(()),
        Caller::Workspace { .. } => {
            Err(Refusal::new(Reason::ScopeMissing, "this call needs an operator key")
                .with("scope", "operator"))
        }
    }
}

fn not_found(id: WorkspaceId) -> Refusal {
    Refusal::not_found(Reason::WorkspaceNotFound, "workspace", id)
}

fn key_not_found(id: ApiKeyId) -> Refusal {
    Refusal::not_found(Reason::ApiKeyNotFound, "API key", id)
}

/// The workspace that a call about workspaces means: any one for operators, the caller's own for others. Another one's
/// is not found, as if it did not exist.
fn meant(caller: &Caller, id: Option<WorkspaceId>, level: Level) -> Result<WorkspaceId, Refusal> {
    match caller {
        Caller::Operator => match id {
            Some(id) if id != WorkspaceId::OPERATOR => Ok(id),
            Some(id) => Err(not_found(id)),
            None => Err(Refusal::field(Reason::FieldInvalid, "id", "is required with an operator key")),
        },
        Caller::Workspace { workspace, .. } => {
            if let Some(id) = id.filter(|id| id != workspace) {
                return Err(not_found(id));
            }
            caller.require(Service::Workspaces, level)
        }
    }
}

impl App {
    /// Creates a workspace.
    pub async fn create_workspace(
        &self,
        caller: &Caller,
        display_name: String,
        request_id: &str,
    ) -> Result<Workspace, Error> {
        operator_only(caller)?;
        let mut violations = Violations::default();
        check_name(&mut violations, "workspace.display_name", &display_name);
        violations.finish()?;
        let now = self.now();
        let workspace =
            Workspace { id: self.id(), display_name, budgets: Vec::new(), created_at: now, updated_at: now };

        let mut tx = self.store().workspace(WorkspaceId::OPERATOR).await?;
        let request = &workspace.display_name;
        let first: Option<WorkspaceId> = self
            .once(&mut tx, WorkspaceId::OPERATOR, request_id, "CreateWorkspace", request, workspace.id.0)
            .await?;
        if let Some(first) = first {
            store::commit(tx).await?;
            return self.get_workspace(caller, Some(first)).await;
        }
        // The transaction noted the request in the operator's own rows; the workspace's row is its own.
        store::workspaces::switch(&mut tx, workspace.id).await?;
        store::workspaces::insert(&mut tx, &workspace).await?;
        store::commit(tx).await?;
        Ok(workspace)
    }

    /// Reads a workspace. `None`: the caller's own.
    pub async fn get_workspace(&self, caller: &Caller, id: Option<WorkspaceId>) -> Result<Workspace, Error> {
        let id = meant(caller, id, Level::Read)?;
        let mut tx = self.store().workspace(id).await?;
        let workspace = store::workspaces::find(&mut tx, id).await?;
        store::commit(tx).await?;
        Ok(workspace.ok_or_else(|| not_found(id))?)
    }

    /// Lists workspaces: all for an operator, its own for a workspace's key.
    pub async fn list_workspaces(
        &self,
        caller: &Caller,
        page: &PageRequest,
    ) -> Result<Page<Workspace>, Error> {
        let limit = page.limit()?;
        let filter = "workspaces";
        let after: Option<WorkspaceId> = page.after(&filter)?;
        let items = match caller {
            Caller::Operator => store::workspaces::list_all(self.store().pool(), after, limit + 1).await?,
            Caller::Workspace { .. } if after.is_some() => Vec::new(),
            Caller::Workspace { .. } => vec![self.get_workspace(caller, None).await?],
        };
        Ok(Page::cut(items, limit, &filter, |workspace| workspace.id))
    }

    /// Changes a workspace; `None` stays.
    pub async fn update_workspace(
        &self,
        caller: &Caller,
        id: Option<WorkspaceId>,
        display_name: Option<&str>,
        budgets: Option<&[Budget]>,
    ) -> Result<Workspace, Error> {
        let id = meant(caller, id, Level::Admin)?;
        let mut violations = Violations::default();
        if let Some(display_name) = display_name {
            check_name(&mut violations, "workspace.display_name", display_name);
        }
        budget::check(&mut violations, "workspace.budgets", budgets.unwrap_or_default(), &[Scope::Workspace]);
        violations.finish()?;
        let mut tx = self.store().workspace(id).await?;
        let there = store::workspaces::update(&mut tx, id, display_name, budgets, self.now()).await?;
        let workspace = store::workspaces::find(&mut tx, id).await?;
        if budgets.is_some() {
            store::notify_configuration(&mut tx, id).await?;
        }
        store::commit(tx).await?;
        if budgets.is_some() {
            self.forget();
        }
        Ok(workspace.filter(|_| there).ok_or_else(|| not_found(id))?)
    }

    /// Deletes a workspace with everything in it.
    pub async fn delete_workspace(&self, caller: &Caller, id: WorkspaceId) -> Result<(), Error> {
        operator_only(caller)?;
        let id = meant(caller, Some(id), Level::Admin)?;
        let there = store::workspaces::delete(self.store().pool(), id).await?;
        let mut tx = self.store().workspace(id).await?;
        store::notify_configuration(&mut tx, id).await?;
        store::commit(tx).await?;
        if there { Ok(()) } else { Err(not_found(id).into()) }
    }

    /// What a workspace has done so far. `None`: the caller's own.
    pub async fn get_stats(&self, caller: &Caller, id: Option<WorkspaceId>) -> Result<Stats, Error> {
        let id = meant(caller, id, Level::Read)?;
        let mut tx = self.store().workspace(id).await?;
        store::workspaces::find(&mut tx, id).await?.ok_or_else(|| not_found(id))?;
        let stats = store::stats::read(&mut tx, id).await?;
        store::commit(tx).await?;
        Ok(stats)
    }

    /// When this process was started, and how long it has been running.
    pub fn uptime(&self) -> (Timestamp, Duration) {
        let running = self.inner.begun.elapsed();
        (self.inner.started_at, running)
    }

    /// Creates an API key and gives its secret, once: a repeat by `request_id` gets none.
    pub async fn create_api_key(
        &self,
        caller: &Caller,
        workspace: Option<WorkspaceId>,
        new: NewApiKey,
        request_id: &str,
    ) -> Result<(ApiKey, Option<SecretString>), Error> {
        let workspace = meant(caller, workspace, Level::Admin)?;
        let mut violations = Violations::default();
        check_name(&mut violations, "api_key.display_name", &new.display_name);
        violations.require(!new.scopes.is_empty(), "api_key.scopes", "is required: at least one scope");
        violations.require(
            new.expires_at.is_none_or(|at| at > self.now()),
            "api_key.expire_time",
            "must be in the future, or not set",
        );
        violations.finish()?;
        if let Caller::Workspace { scopes, .. } = caller
            && let Some(lacking) = scopes.lacking(&new.scopes)
        {
            return Err(missing(lacking).into());
        }
        self.get_workspace_unchecked(workspace).await?;
        let id: ApiKeyId = self.id();
        let mut tx = self.store().workspace(workspace).await?;
        let expires = new.expires_at.map(Timestamp::unix_timestamp_nanos);
        let request = (&new.display_name, new.scopes.names(), expires);
        let first: Option<ApiKeyId> =
            self.once(&mut tx, workspace, request_id, "CreateApiKey", &request, id.0).await?;
        if let Some(first) = first {
            let key = store::workspaces::find_key(&mut tx, workspace, first).await?;
            return Ok((key.ok_or_else(|| key_not_found(first))?, None));
        }
        let (key, secret) = self.issue_key(&mut tx, TokenKind::WorkspaceKey, workspace, id, new).await?;
        store::commit(tx).await?;
        Ok((key, Some(secret)))
    }

    /// Creates an operator key. For the command line and the first start, where no caller is checked.
    pub async fn create_operator_key(&self, display_name: &str) -> Result<(ApiKey, SecretString), Error> {
        let new =
            NewApiKey { display_name: display_name.to_owned(), scopes: Scopes::default(), expires_at: None };
        let mut tx = self.store().workspace(WorkspaceId::OPERATOR).await?;
        let issued =
            self.issue_key(&mut tx, TokenKind::OperatorKey, WorkspaceId::OPERATOR, self.id(), new).await?;
        store::commit(tx).await?;
        Ok(issued)
    }

    async fn issue_key(
        &self,
        tx: &mut store::Tx,
        kind: TokenKind,
        workspace: WorkspaceId,
        id: ApiKeyId,
        new: NewApiKey,
    ) -> Result<(ApiKey, SecretString), Error> {
        let token = token::issue(kind, workspace);
        let key = ApiKey {
            id,
            workspace,
            display_name: new.display_name,
            scopes: new.scopes,
            suffix: token.suffix,
            expires_at: new.expires_at,
            created_at: self.now(),
            revoked_at: None,
        };
        store::workspaces::insert_key(tx, &key, token.hash).await?;
        Ok((key, token.secret))
    }

    async fn get_workspace_unchecked(&self, id: WorkspaceId) -> Result<Workspace, Error> {
        self.get_workspace(&Caller::Operator, Some(id)).await
    }

    /// Lists the API keys of a workspace.
    pub async fn list_api_keys(
        &self,
        caller: &Caller,
        workspace: Option<WorkspaceId>,
        page: &PageRequest,
    ) -> Result<Page<ApiKey>, Error> {
        let workspace = meant(caller, workspace, Level::Admin)?;
        self.get_workspace_unchecked(workspace).await?;
        let limit = page.limit()?;
        let filter = ("api_keys", workspace);
        let after: Option<ApiKeyId> = page.after(&filter)?;
        let mut tx = self.store().workspace(workspace).await?;
        let items = store::workspaces::list_keys(&mut tx, workspace, after, limit + 1).await?;
        store::commit(tx).await?;
        Ok(Page::cut(items, limit, &filter, |key| key.id))
    }

    /// Revokes an API key.
    pub async fn revoke_api_key(
        &self,
        caller: &Caller,
        workspace: Option<WorkspaceId>,
        id: ApiKeyId,
    ) -> Result<ApiKey, Error> {
        let workspace = meant(caller, workspace, Level::Admin)?;
        let mut tx = self.store().workspace(workspace).await?;
        let key = store::workspaces::revoke_key(&mut tx, workspace, id, self.now()).await?;
        store::notify_configuration(&mut tx, workspace).await?;
        store::commit(tx).await?;
        self.forget();
        Ok(key.ok_or_else(|| key_not_found(id))?)
    }

    /// Whether a key of the operator's exists: whether this database was set up before.
    pub async fn is_set_up(&self) -> Result<bool, Error> {
        let mut tx = self.store().workspace(WorkspaceId::OPERATOR).await?;
        let keys = store::workspaces::list_keys(&mut tx, WorkspaceId::OPERATOR, None, 1).await?;
        store::commit(tx).await?;
        Ok(!keys.is_empty())
    }
}
