//! Answers that go into the customer's talk, of whatever messenger: the vendor delivers them.
//! <https://developers.kommo.com/reference/talks> (read 2026-11-20; whether accounts of amocrm.ru have it is not told)

use domain::vendor::{FailureKind, OutboundMessage, Receipt, Retry, VendorAccount, VendorError};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::{
    AmoCrm,
    channel::text,
    chats::{THEIRS, uuid_like},
    failed,
    notes::LEAD,
    rest::{Refusal, Rest},
};

#[derive(Deserialize)]
struct Talk {
    #[serde(rename = "talk_id")]
    id: u64,
    #[serde(default)]
    updated_at: i64,
    #[serde(default)]
    chat_id: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContactOfChat {
    contact_id: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    id: String,
}

fn none(detail: &str) -> VendorError {
    failed("send", FailureKind::NotFound, detail, Retry::Never)
}

impl AmoCrm {
    /// Says it in the talk that is open with the customer. The newest is the one that they wrote in.
    pub(super) async fn talk(
        &self,
        account: &VendorAccount,
        message: &OutboundMessage,
    ) -> Result<Receipt, VendorError> {
        let rest = Rest::new(&self.http, &account.connection, "send")?;
        let talks = match (message.chat.strip_prefix(LEAD), message.chat.strip_prefix(THEIRS)) {
            (Some(lead), _) if lead.parse::<u64>().is_ok() => {
                talks(&rest, &[("filter[entity_id]", lead), ("filter[entity_type]", "lead")]).await
            }
            (_, Some(chat)) if uuid_like(chat) => {
                let found = rest.list::<ContactOfChat>("contacts/chats", &[("chat_id", chat)], "chats").await;
                let contact = found?.first().map(|found| found.contact_id.to_string());
                let contact = contact.ok_or_else(|| none("the chat belongs to no contact of the account"))?;
                let talks = talks(&rest, &[("filter[contact_id][]", &contact)]).await;
                talks.map(|talks| talks.into_iter().filter(|talk| talk.chat_id == chat).collect())
            }
            _ => return Err(none("the chat is none of the account's, so there is no talk to answer in")),
        };
        let talk = talks?.into_iter().max_by_key(|talk| (talk.updated_at, talk.id));
        let talk = talk.ok_or_else(|| none("no talk is open with the customer; answer by hand"))?;
        let path = format!("talks/{}/send_message", talk.id);
        let said = rest.send::<Said>(Method::POST, &path, &json!({ "text": text(message) })).await;
        let said = said.map_err(VendorError::from)?.unwrap_or_default();
        Ok(Receipt { vendor_message_id: Some(said.id).filter(|id| !id.is_empty()), ..Receipt::default() })
    }
}

async fn talks(rest: &Rest<'_>, query: &[(&str, &str)]) -> Result<Vec<Talk>, VendorError> {
    let open = [query, &[("filter[only_in_work]", "1")]].concat();
    rest.list::<Talk>("talks", &open, "talks").await.map_err(|refusal: Refusal| (*refusal.error).clone())
}
