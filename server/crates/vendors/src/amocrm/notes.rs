//! Answers that are left as notes on the lead: the managers read what the agent says where they work. The customer does not see
//! a note. <https://www.amocrm.ru/developers/content/crm_platform/events-and-notes> (read 2026-11-20)

use domain::{
    crm::{Crm as _, CrmError, Entity, NewNote},
    vendor::{FailureKind, OutboundMessage, Receipt, Retry, VendorAccount, VendorError},
};

use super::{AmoCrm, channel::text, failed};

/// What the chat of a lead begins with; its id follows.
pub(super) const LEAD: &str = "lead:";

impl AmoCrm {
    pub(super) async fn leave_note(
        &self,
        account: &VendorAccount,
        message: &OutboundMessage,
    ) -> Result<Receipt, VendorError> {
        let Some(lead) = message.chat.strip_prefix(LEAD) else {
            let detail = "the chat belongs to no lead, so there is nothing to leave a note on";
            return Err(failed("send", FailureKind::Other, detail, Retry::Never));
        };
        let note = NewNote {
            entity: Entity::Lead,
            entity_id: lead.to_owned(),
            text: text(message),
            unless_since: None,
        };
        match self.add_note(&account.connection, &note).await {
            Ok(id) => Ok(Receipt { vendor_message_id: Some(id), ..Receipt::default() }),
            Err(CrmError::Vendor(error)) => Err(error),
            Err(error @ CrmError::Gone(..)) => {
                let detail = format!("{error}: it was deleted, or merged into another");
                Err(failed("send", FailureKind::NotFound, &detail, Retry::Never))
            }
            Err(CrmError::Invalid(fields)) => {
                let fields: Vec<_> =
                    fields.iter().map(|bad| format!("{} {}", bad.field, bad.detail)).collect();
                Err(failed("send", FailureKind::Other, &fields.join("; "), Retry::Never))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        DeliveryId, MessageId, Timestamp,
        dialogue::Role,
        vendor::{Applied, MessageSender as _},
    };
    use uuid::Uuid;

    use super::{super::sources, *};
    use crate::http::{HttpClient, Settings};

    #[tokio::test]
    async fn a_chat_without_a_lead_has_nothing_to_leave_a_note_on() {
        let amocrm =
            AmoCrm { http: HttpClient::new(Settings::default()), sources: sources::Defaults::default() };
        let message = OutboundMessage {
            delivery: DeliveryId(Uuid::from_u128(1)),
            message: MessageId(Uuid::from_u128(2)),
            chat: "chat:9".to_owned(),
            role: Role::Assistant,
            text: "Ten".to_owned(),
            parts: Vec::new(),
            template: None,
            answers: serde_json::Map::new(),
            now: Timestamp::UNIX_EPOCH,
        };
        let refused = amocrm.send(&VendorAccount::default(), &message).await.unwrap_err();
        assert_eq!((refused.applied, refused.retry), (Applied::No, Retry::Never));
        assert!(refused.detail.contains("no lead"), "{refused}");
    }
}
