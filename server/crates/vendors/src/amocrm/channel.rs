//! Channels over an account. The customer's messages come with the account's webhook, from salesbots, or, where the channel is one
//! of the Chats API's, from a mirror; where answers go is a setting.

use async_trait::async_trait;
use domain::{
    FieldViolation, MessageId, Reason, Timestamp,
    channel_kind::{ChannelKind, Connected, HookProof},
    connection::{CheckOutcome, CheckStep},
    crm::MAX_TEXT_CHARS,
    mirror::{MirroredChat, MirroredMessage},
    vendor::{
        FailureKind, MessageSender, OutboundMessage, Receipt, Resend, Retry, VendorAccount, VendorError,
    },
};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};

use super::{
    AmoCrm,
    chats::{Chats, THEIRS, uuid_like},
    failed, salesbot,
};

/// Where answers go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Answers {
    /// A note on the lead.
    #[default]
    Note,
    /// The customer's open talk, of whatever messenger.
    Talk,
    /// Chats of our own channel of the Chats API.
    Chat,
}

/// A channel's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ChannelSettings {
    pub(super) answers: Answers,
    /// The channel of the Chats API, as the vendor registered it.
    #[serde(deserialize_with = "vendor_id")]
    pub(super) chats_channel_id: Option<String>,
    /// Its bot: what is said by us is said by this.
    #[serde(deserialize_with = "vendor_id")]
    pub(super) bot_id: Option<String>,
    #[serde(deserialize_with = "words")]
    pub(super) bot_name: Option<String>,
    /// What the channel is called in the account.
    #[serde(deserialize_with = "words")]
    pub(super) title: Option<String>,
    /// The source of chats that name none.
    #[serde(deserialize_with = "source")]
    pub(super) source_external_id: Option<String>,
    /// The channel in the account, as connecting it told.
    #[serde(deserialize_with = "scope")]
    pub(super) scope_id: Option<String>,
}

fn checked<'de, D: Deserializer<'de>>(
    deserializer: D,
    good: impl Fn(&str) -> bool,
) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if good(&text) { Ok(Some(text)) } else { Err(de::Error::custom("not what it must be")) }
}

fn vendor_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, uuid_like)
}

fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| (1..=100).contains(&text.chars().count()) && !text.contains('\0'))
}

fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, domain::mirror::is_source)
}

fn scope<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| {
        text.split_once('_').is_some_and(|(channel, account)| uuid_like(channel) && uuid_like(account))
    })
}

impl ChannelSettings {
    pub(super) fn read(settings: &Value) -> Result<Self, Vec<FieldViolation>> {
        let read: Self = crate::settings::read(
            settings,
            &[
                ("answers", "must be NOTE, TALK or CHAT"),
                ("chats_channel_id", "must be the channel's id, as the vendor gave it"),
                ("bot_id", "must be the bot's id, as the vendor gave it"),
                ("bot_name", "must have 1 to 100 characters"),
                ("title", "must have 1 to 100 characters"),
                ("source_external_id", "must have 1 to 40 printable ASCII characters"),
                (
                    "scope_id",
                    "must be the channel's id and the account's, with _ between; ConnectChannel sets it",
                ),
            ],
        )?;
        let mut bad = Vec::new();
        let mut need = |name: &str, there: bool, why: &str| {
            if !there {
                bad.push(FieldViolation::new(format!("settings.{name}"), format!("is required {why}")));
            }
        };
        need(
            "chats_channel_id",
            read.answers != Answers::Chat || read.chats_channel_id.is_some(),
            "for answers that go into chats of the Chats API",
        );
        need(
            "bot_id",
            read.chats_channel_id.is_none() || read.bot_id.is_some(),
            "with chats_channel_id: what is said by us is said by the channel's bot",
        );
        if bad.is_empty() { Ok(read) } else { Err(bad) }
    }

    /// The account that the channel is connected to, as the Chats API calls it.
    pub(super) fn account(&self) -> Option<&str> {
        self.scope_id.as_deref().and_then(|scope| scope.split_once('_')).map(|(_, account)| account)
    }
}

fn step(name: &'static str, outcome: CheckOutcome, detail: String, remedy: &str) -> CheckStep {
    CheckStep { name, outcome, detail, remedy: remedy.to_owned() }
}

#[async_trait]
impl ChannelKind for AmoCrm {
    fn settings_schema(&self) -> Value {
        let text = |title: &str, description: &str| json!({ "type": "string", "title": title, "description": description });
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "answers": {
                    "type": "string", "enum": ["NOTE", "TALK", "CHAT"], "default": "NOTE", "title": "Answers",
                    "description": "Where answers go. NOTE: a note on the lead, which managers see and the customer does not. TALK: the customer's open talk, of whatever messenger. CHAT: a chat of the Chats API, where they are a record."
                },
                "chats_channel_id": text("Channel of the Chats API",
                    "The id that the vendor gave when it registered the channel. Other channels can be mirrored in its chats."),
                "bot_id": text("Bot", "The id of that channel's bot."),
                "bot_name": text("The bot's name", "What the managers see beside what we say. Default: Assistant."),
                "title": text("Title", "What the channel is called in the account. Default: Switchboard."),
                "source_external_id": text("Source", "The external id of the source of chats that name none."),
                "scope_id": text("Scope", "The channel in the account. ConnectChannel sets it.")
            }
        })
    }

    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>> {
        ChannelSettings::read(settings).map(drop)
    }

    fn check_template(&self, _: &Value, _: &Value) -> Result<(), Vec<FieldViolation>> {
        Err(vec![FieldViolation::new("template", "is not known here: neither notes nor chats have any")])
    }

    /// The Chats API and salesbots sign; nobody else calls a channel.
    fn hook_proof(&self) -> HookProof {
        HookProof::Signature
    }

    fn answers_calls(&self) -> bool {
        true
    }

    async fn connect(&self, account: &VendorAccount, hook_url: &str, now: Timestamp) -> Connected {
        const ACCOUNT: &str = "account";
        const CHANNEL: &str = "channel";
        const ADDRESS: &str = "address";
        let Ok(settings) = ChannelSettings::read(&account.settings) else {
            let detail = "The channel's settings are not what they must be.".to_owned();
            return vec![step(CHANNEL, CheckOutcome::Failed, detail, "Correct the channel's settings.")]
                .into();
        };
        if settings.chats_channel_id.is_none() {
            // The account tells its messages to the integration, whichever channel they belong to.
            return vec![step(
                "webhooks",
                CheckOutcome::Skipped,
                "Messages of the account's chats come with the integration's webhook.".to_owned(),
                "Name this channel as chat_channel_id in the integration's settings, and check the integration.",
            )]
            .into();
        }
        let failure = |name, error: &VendorError| {
            let remedy = match error.kind {
                FailureKind::Unauthorized => {
                    "Have a person authorize the integration, or correct its credentials."
                }
                FailureKind::Forbidden => {
                    "Set the integration's credential chats_secret to the channel's secret, and check this server's clock."
                }
                FailureKind::NotFound => "Correct the channel's setting chats_channel_id.",
                _ => "Try again later.",
            };
            step(name, CheckOutcome::Failed, format!("{}.", error.detail), remedy)
        };
        let amojo_id = match self.amojo_id(account).await {
            Ok(id) => id,
            Err(error) => return vec![failure(ACCOUNT, &error)].into(),
        };
        let mut steps = vec![step(
            ACCOUNT,
            CheckOutcome::Passed,
            format!("The Chats API knows the account as {amojo_id}."),
            "",
        )];
        let connected = match Chats::new(&self.http, account, "connect", now) {
            Ok(chats) => chats.connect(&amojo_id).await,
            Err(error) => Err(error),
        };
        let scope = match connected {
            Ok(scope) => scope,
            Err(error) => {
                steps.push(failure(CHANNEL, &error));
                return steps.into();
            }
        };
        steps.push(step(CHANNEL, CheckOutcome::Passed, format!("The channel is connected as {scope}."), ""));
        // No call registers an address: the vendor's people do, once for the channel.
        steps.push(step(
            ADDRESS,
            CheckOutcome::Skipped,
            format!("The vendor calls the address that it was given when it registered the channel: {hook_url}/:scope_id."),
            "If it was given another one, ask the vendor's support to change it.",
        ));
        Connected { steps, settings: Some(with_scope(&account.settings, Some(&scope))) }
    }

    async fn disconnect(&self, account: &VendorAccount, now: Timestamp) -> Option<Connected> {
        const CHANNEL: &str = "channel";
        let settings = ChannelSettings::read(&account.settings).ok()?;
        settings.chats_channel_id.as_ref()?;
        let Some(amojo_id) = settings.account() else {
            let detail = "It was not connected.".to_owned();
            return Some(vec![step(CHANNEL, CheckOutcome::Passed, detail, "")].into());
        };
        let done = match Chats::new(&self.http, account, "disconnect", now) {
            Ok(chats) => chats.disconnect(amojo_id).await,
            Err(error) => Err(error),
        };
        Some(match done {
            Ok(()) => Connected {
                steps: vec![step(
                    CHANNEL,
                    CheckOutcome::Passed,
                    "The account has the channel no more.".to_owned(),
                    "",
                )],
                settings: Some(with_scope(&account.settings, None)),
            },
            Err(error) => {
                let remedy = "Try again later, or take the channel out of the account by hand.";
                vec![step(CHANNEL, CheckOutcome::Failed, format!("{}.", error.detail), remedy)].into()
            }
        })
    }
}

fn with_scope(settings: &Value, scope: Option<&str>) -> Value {
    let mut members = settings.as_object().cloned().unwrap_or_default();
    match scope {
        Some(scope) => members.insert("scope_id".to_owned(), json!(scope)),
        None => members.remove("scope_id"),
    };
    Value::Object(members)
}

#[async_trait]
impl MessageSender for AmoCrm {
    /// The Chats API drops what has our id already. Elsewhere the vendor knows none, and the same words may be meant twice.
    fn resend(&self, settings: &Value) -> Resend {
        match ChannelSettings::read(settings) {
            Ok(settings) if settings.answers == Answers::Chat => Resend::ByOurId,
            _ => Resend::Unknown,
        }
    }

    fn max_text_chars(&self) -> usize {
        MAX_TEXT_CHARS
    }

    async fn check_target(&self, url: &str) -> Result<(), (Reason, String)> {
        self.http.check_target(url).await
    }

    async fn send(&self, account: &VendorAccount, message: &OutboundMessage) -> Result<Receipt, VendorError> {
        let settings = ChannelSettings::read(&account.settings).map_err(|_| {
            let detail = "the channel's settings are not what they must be";
            failed("send", FailureKind::Other, detail, Retry::Never)
        })?;
        // A salesbot that asked waits for its answer, wherever answers go else.
        if let Some(return_url) = message.answers.get(salesbot::RETURN_URL).and_then(Value::as_str) {
            return self.go_on(account, return_url, &text(message)).await;
        }
        match settings.answers {
            Answers::Note => self.leave_note(account, message).await,
            Answers::Talk => self.talk(account, message).await,
            Answers::Chat => self.write_into_chat(account, message).await,
        }
    }
}

impl AmoCrm {
    /// Writes into a chat of our own channel, of which the vendor may hear only now.
    async fn write_into_chat(
        &self,
        account: &VendorAccount,
        message: &OutboundMessage,
    ) -> Result<Receipt, VendorError> {
        if message.chat.is_empty() || message.chat.starts_with(super::notes::LEAD) {
            let detail = "the chat is none of the Chats API's; answers to the account's other chats go by TALK or NOTE";
            return Err(failed("send", FailureKind::Other, detail, Retry::Never));
        }
        let chats = Chats::new(&self.http, account, "send", message.now)?;
        let theirs = message.chat.strip_prefix(THEIRS);
        let mut chat = MirroredChat {
            id: message.chat.clone(),
            vendor_id: theirs.unwrap_or_default().to_owned(),
            customer: message.chat.clone(),
            theirs: theirs.is_some(),
            ..MirroredChat::default()
        };
        if theirs.is_none() {
            chat.vendor_id = chats.open(&chat).await.map_err(|error| VendorError {
                // Nothing was said yet, whatever became of this.
                applied: domain::vendor::Applied::No,
                ..error
            })?;
        }
        let record = MirroredMessage {
            id: MessageId(message.delivery.0),
            role: message.role,
            text: message.text.clone(),
            parts: message.parts.clone(),
            at: message.now,
            silent: false,
        };
        let id = chats.record(&chat, &record).await?;
        Ok(Receipt { vendor_message_id: Some(id), ..Receipt::default() })
    }
}

/// What is said where only text can be: the text, and the addresses of what the message carries.
pub(super) fn text(message: &OutboundMessage) -> String {
    let lines = std::iter::once(&message.text).filter(|text| !text.is_empty());
    let lines = lines.chain(message.parts.iter().map(|part| &part.url));
    lines.map(String::as_str).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_what_is_wrong() {
        let chat = json!({
            "answers": "CHAT", "chats_channel_id": "11111111-2222-4333-8444-555555555555", "bot_id": "b-1",
            "source_external_id": "tema_edna 1",
        });
        for good in
            [Value::Null, json!({}), json!({ "answers": "NOTE" }), json!({ "answers": "TALK" }), chat.clone()]
        {
            assert!(ChannelSettings::read(&good).is_ok(), "{good}");
        }
        let bad = |settings: Value| -> Vec<String> {
            ChannelSettings::read(&settings).unwrap_err().into_iter().map(|bad| bad.field).collect()
        };
        assert_eq!(
            bad(json!({ "answers": "LOUD", "colour": "red" })),
            ["settings.answers", "settings.colour"]
        );
        assert_eq!(bad(json!({ "answers": "CHAT" })), ["settings.chats_channel_id"]);
        assert_eq!(bad(json!({ "chats_channel_id": "c" })), ["settings.bot_id"]);
        for (name, value) in [
            ("chats_channel_id", "../connect"),
            ("source_external_id", "Источник"),
            ("scope_id", "one"),
            ("bot_id", ""),
            ("title", "\0"),
        ] {
            let mut settings = chat.clone();
            settings[name] = json!(value);
            assert_eq!(bad(settings), [format!("settings.{name}")]);
        }
        let connected = ChannelSettings::read(&with_scope(&chat, Some("c-1_a-1"))).unwrap();
        assert_eq!(connected.account(), Some("a-1"));
        assert_eq!(with_scope(&with_scope(&chat, Some("c-1_a-1")), None), chat);
    }
}
