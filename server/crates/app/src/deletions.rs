//! Deleting dialogues. What indexes find goes at once; [`crate::jobs::erase`] deletes the rest, at engines too.

use domain::{
    DialogueId, WorkspaceId,
    workspace::{Level, Service},
};
use serde_json::Value;

use crate::{App, Caller, Error, dialogues::not_found};

impl App {
    /// Deletes a dialogue with all that was said in it. A repeat is answered like the first.
    pub async fn delete_dialogue(&self, caller: &Caller, id: DialogueId) -> Result<(), Error> {
        let workspace = caller.require(Service::Dialogues, Level::Admin)?;
        let mut tx = self.store().workspace(workspace).await?;
        let deletion = self.id();
        if !store::erasures::delete_dialogue(&mut tx, workspace, id, deletion, self.now()).await?
            && !store::erasures::was_deleted(&mut tx, workspace, id).await?
        {
            return Err(not_found(id).into());
        }
        store::commit(tx).await?;
        self.inner.hub.disturb(workspace, id);
        self.inner.erasing.notify_one();
        Ok(())
    }

    /// Has a conversation deleted that an engine has just made and that nobody will go on with.
    pub(crate) async fn leave_conversation(
        &self,
        workspace: WorkspaceId,
        dialogue: DialogueId,
        engine: &str,
        notes: &Value,
    ) -> Result<(), Error> {
        let mut tx = self.store().workspace(workspace).await?;
        store::erasures::leave(&mut tx, workspace, self.id(), dialogue, engine, notes, self.now()).await?;
        store::commit(tx).await?;
        self.inner.erasing.notify_one();
        Ok(())
    }
}
