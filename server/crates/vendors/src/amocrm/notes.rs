//! Channels whose answers are left as notes on the lead: the customer's messages come with the account's webhook, and the
//! managers read what the agent says where they work. The customer does not see a note.
//! <https://www.amocrm.ru/developers/content/crm_platform/events-and-notes> (read 2026-11-20)

use async_trait::async_trait;
use domain::{
    FieldViolation, Reason, Timestamp,
    channel_kind::{ChannelKind, HookProof},
    connection::{CheckOutcome, CheckStep},
    crm::{Crm as _, CrmError, Entity, MAX_TEXT_CHARS, NewNote},
    vendor::{
        FailureKind, MessageSender, OutboundMessage, Receipt, Resend, Retry, VendorAccount, VendorError,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AmoCrm, failed};

/// What the chat of a lead begins with; its id follows.
const LEAD: &str = "lead:";

/// Where answers go. Others may come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum Answers {
    #[default]
    #[serde(rename = "NOTE")]
    Note,
}

/// A channel's settings.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ChannelSettings {
    answers: Answers,
}

fn read(settings: &Value) -> Result<ChannelSettings, Vec<FieldViolation>> {
    crate::settings::read(settings, &[("answers", "must be NOTE")])
}

#[async_trait]
impl ChannelKind for AmoCrm {
    fn settings_schema(&self) -> Value {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "answers": {
                    "type": "string", "enum": ["NOTE"], "default": "NOTE", "title": "Answers",
                    "description": "Where answers go. NOTE: a note on the lead, which managers see and the customer does not."
                }
            }
        })
    }

    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>> {
        read(settings).map(drop)
    }

    fn check_template(&self, _: &Value, _: &Value) -> Result<(), Vec<FieldViolation>> {
        Err(vec![FieldViolation::new("template", "is not known here: a note has none")])
    }

    fn hook_proof(&self) -> HookProof {
        HookProof::PathSecret
    }

    /// The account tells its messages to the integration, whichever channel they belong to.
    async fn connect(&self, _: &VendorAccount, _: &str, _: Timestamp) -> Vec<CheckStep> {
        vec![CheckStep {
            name: "webhooks",
            outcome: CheckOutcome::Skipped,
            detail: "Messages of the account's chats come with the integration's webhook.".to_owned(),
            remedy: "Name this channel as chat_channel_id in the integration's settings, and check the integration."
                .to_owned(),
        }]
    }
}

#[async_trait]
impl MessageSender for AmoCrm {
    /// The vendor knows no id of ours, and the same words may be meant twice.
    fn resend(&self, _: &Value) -> Resend {
        Resend::Unknown
    }

    fn max_text_chars(&self) -> usize {
        MAX_TEXT_CHARS
    }

    async fn check_target(&self, url: &str) -> Result<(), (Reason, String)> {
        self.http.check_target(url).await
    }

    async fn send(&self, account: &VendorAccount, message: &OutboundMessage) -> Result<Receipt, VendorError> {
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

/// What a note says: the text, and the addresses of what the message carries.
fn text(message: &OutboundMessage) -> String {
    let lines = std::iter::once(&message.text).filter(|text| !text.is_empty());
    let lines = lines.chain(message.parts.iter().map(|part| &part.url));
    lines.map(String::as_str).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use domain::{DeliveryId, MessageId, dialogue::Role, vendor::Applied};
    use uuid::Uuid;

    use super::*;
    use crate::{
        amocrm::sources::Defaults,
        http::{HttpClient, Settings},
    };

    #[tokio::test]
    async fn a_chat_without_a_lead_has_nothing_to_leave_a_note_on() {
        let amocrm = AmoCrm { http: HttpClient::new(Settings::default()), sources: Defaults::default() };
        let message = OutboundMessage {
            delivery: DeliveryId(Uuid::from_u128(1)),
            message: MessageId(Uuid::from_u128(2)),
            chat: "chat:9".to_owned(),
            role: Role::Assistant,
            text: "Ten".to_owned(),
            parts: Vec::new(),
            template: None,
            now: Timestamp::UNIX_EPOCH,
        };
        let account = VendorAccount {
            url: String::new(),
            token: String::new().into(),
            signing_secrets: Vec::new(),
            connection: domain::connection::Connection::default(),
            settings: Value::Null,
        };
        let refused = amocrm.send(&account, &message).await.unwrap_err();
        assert_eq!((refused.applied, refused.retry), (Applied::No, Retry::Never));
        assert!(refused.detail.contains("no lead"), "{refused}");
    }

    #[test]
    fn settings_name_what_is_wrong() {
        for good in [Value::Null, json!({}), json!({ "answers": "NOTE" })] {
            assert!(read(&good).is_ok());
        }
        let bad = read(&json!({ "answers": "LOUD", "colour": "red" })).unwrap_err();
        assert_eq!(
            bad.iter().map(|bad| &*bad.field).collect::<Vec<_>>(),
            ["settings.answers", "settings.colour"]
        );
    }
}
