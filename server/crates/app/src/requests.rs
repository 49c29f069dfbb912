//! What creations share: names, request ids.

use domain::{Error as Refusal, Reason, WorkspaceId, error::Violations};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{App, Error};

/// Checks a name for people.
pub(crate) fn check_name(violations: &mut Violations, field: &str, name: &str) {
    let count = name.chars().count();
    violations.require(
        (1..=200).contains(&count) && !name.contains('\0') && !name.trim().is_empty(),
        field,
        "is required: 1 to 200 characters, without U+0000",
    );
}

impl App {
    /// Makes a creation safe to repeat. `None`: go on and create `resource`. `Some`: it was created before, as this.
    pub(crate) async fn once<T: From<Uuid>>(
        &self,
        tx: &mut store::Tx,
        workspace: WorkspaceId,
        request_id: &str,
        method: &str,
        request: &impl Serialize,
        resource: Uuid,
    ) -> Result<Option<T>, Error> {
        if request_id.is_empty() {
            return Ok(None);
        }
        let id = Uuid::try_parse(request_id).map_err(|_| {
            Refusal::field(Reason::FieldInvalid, "request_id", "must be a UUID of your choice, or empty")
        })?;
        let text = serde_json::to_vec(&(method, request)).expect("requests are plain JSON");
        let digest = Sha256::digest(&text);
        match store::request_ids::note(tx, workspace, id, &digest, resource, self.now()).await? {
            None => Ok(None),
            Some((known, first)) if known == digest.as_slice() => Ok(Some(first.into())),
            Some(_) => Err(Refusal::field(
                Reason::RequestIdReused,
                "request_id",
                "was used before with another request; use a fresh one",
            )
            .into()),
        }
    }
}
