//! What a vendor can do: one small trait per capability. `None` in [`Vendor`] means "cannot".

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::{
    DeliveryId, EventId, MessageId, Reason, Timestamp,
    channel::Channel,
    channel_kind::ChannelKind,
    connection::{Connection, Connector},
    crm::Crm,
    crm_event::AccountHooks,
    dialogue::Role,
    engine::CompletionModel,
    inbound::{InboundEvent, RawRequest, Verified},
    mirror::ChatMirror,
    oauth::OAuthProvider,
    part::Part,
    source::CrmSources,
};

/// An outside company, or a kind of endpoint, that we talk to.
#[derive(Clone)]
pub struct Vendor {
    /// Its id in settings, the database and the contract.
    pub id: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// Where its API is described.
    pub docs: &'static str,
    /// Reads its callbacks.
    pub receiver: Option<Arc<dyn WebhookReceiver>>,
    /// Sends messages to it.
    pub sender: Option<Arc<dyn MessageSender>>,
    /// Writes answers.
    pub engine: Option<Arc<dyn CompletionModel>>,
    /// Connects a workspace to it. `None`: it needs no account.
    pub connector: Option<Arc<dyn Connector>>,
    /// Lets people authorize us there. `None`: credentials are all it takes.
    pub oauth: Option<Arc<dyn OAuthProvider>>,
    /// Keeps a workspace's customers and deals.
    pub crm: Option<Arc<dyn Crm>>,
    /// Files chats by their sources. `None`: it has none.
    pub sources: Option<Arc<dyn CrmSources>>,
    /// Tells of what happens in an account. `None`: it doesn't.
    pub hooks: Option<Arc<dyn AccountHooks>>,
    /// What its channels are like. `None`: they post to a URL.
    pub channel: Option<Arc<dyn ChannelKind>>,
    /// Shows what is said on other channels in chats of its own.
    pub mirror: Option<Arc<dyn ChatMirror>>,
}

impl Vendor {
    /// A vendor that can do nothing yet.
    pub const fn new(id: &'static str, name: &'static str, docs: &'static str) -> Self {
        Self {
            id,
            name,
            docs,
            receiver: None,
            sender: None,
            engine: None,
            connector: None,
            oauth: None,
            crm: None,
            sources: None,
            hooks: None,
            channel: None,
            mirror: None,
        }
    }
}

impl fmt::Debug for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vendor").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The list of vendors.
#[derive(Debug, Clone)]
pub struct Vendors(Arc<[Vendor]>);

impl Vendors {
    /// Makes the list.
    pub fn new(list: Vec<Vendor>) -> Self {
        Self(list.into())
    }

    /// Finds one by id.
    pub fn get(&self, id: &str) -> Option<&Vendor> {
        self.0.iter().find(|vendor| vendor.id == id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Vendor> {
        self.0.iter()
    }
}

/// What we hold of one account at a vendor: for a channel, its secrets in the clear, for as long as a call takes.
#[derive(Debug, Clone, Default)]
pub struct VendorAccount {
    /// Where to post to. Empty where the vendor is reached over an integration.
    pub url: String,
    /// The token that our calls carry.
    pub token: SecretString,
    /// The Standard Webhooks secrets, newest first.
    pub signing_secrets: Vec<SecretString>,
    /// The integration that the channel is reached over. Empty where it needs none.
    pub connection: Connection,
    /// The channel's own settings, an object or null; the vendor has checked them.
    pub settings: Value,
}

/// Reads callbacks. Pure: bytes in, facts out.
pub trait WebhookReceiver: Send + Sync {
    /// Checks who sent the call, over its raw bytes.
    fn verify(
        &self,
        request: &RawRequest,
        account: &VendorAccount,
        now: Timestamp,
    ) -> Result<(), VerifyError>;

    /// Puts a call that came by way of this channel into our words. One that names another channel is refused: what was
    /// verified are the credentials of this one.
    fn normalize(
        &self,
        request: &Verified<RawRequest>,
        channel: &Channel,
    ) -> Result<Vec<InboundEvent>, NormalizeError>;
}

/// Checks who sent a call: the way to a [`Verified`] request.
pub fn verify(
    receiver: &dyn WebhookReceiver,
    request: RawRequest,
    account: &VendorAccount,
    now: Timestamp,
) -> Result<Verified<RawRequest>, VerifyError> {
    receiver.verify(&request, account, now)?;
    Ok(Verified::vouched(request))
}

/// The sender of a call could not be made out.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It carries no signature.
    #[error("the call carries no signature")]
    Missing,
    /// The signature does not fit.
    #[error("the signature does not match")]
    Mismatch,
}

/// A verified call could not be understood.
#[derive(Debug, thiserror::Error)]
#[error("the call could not be understood")]
pub struct NormalizeError {
    /// Every bad field.
    pub fields: Vec<crate::FieldViolation>,
}

/// Whether a vendor drops a message that is sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resend {
    /// It takes our id and drops repeats.
    ByOurId,
    /// It can be asked whether it has the message.
    ByLookup,
    /// Neither.
    Unknown,
}

/// Sends messages.
#[async_trait]
pub trait MessageSender: Send + Sync {
    /// What happens when a message is sent again on a channel with these settings.
    fn resend(&self, settings: &Value) -> Resend;

    /// The longest text of one message, in characters; longer ones are split before they are sent.
    fn max_text_chars(&self) -> usize;

    /// Checks an account's address when it is saved, before anything is sent there. Else the reason, `FieldInvalid` or
    /// `TargetForbidden`, and a text for people that follows the field's name.
    async fn check_target(&self, url: &str) -> Result<(), (Reason, String)>;

    /// Sends one message. Never retries by itself.
    async fn send(&self, account: &VendorAccount, message: &OutboundMessage) -> Result<Receipt, VendorError>;
}

/// Posts events to the workspaces' own endpoints: no vendor, but a call outside all the same.
#[async_trait]
pub trait EventPoster: Send + Sync {
    /// Checks an address when it is saved, as [`MessageSender::check_target`] does.
    async fn check_target(&self, url: &str) -> Result<(), (Reason, String)>;

    /// Posts one event. Never retries by itself.
    async fn post(&self, event: &OutboundEvent) -> Result<Receipt, VendorError>;
}

/// An event to post.
#[derive(Debug, Clone)]
pub struct OutboundEvent {
    /// Where to.
    pub url: String,
    /// The secrets that sign, newest first.
    pub secrets: Vec<SecretString>,
    /// The event: the same for every attempt, so that a receiver can drop repeats.
    pub id: EventId,
    /// The body, JSON.
    pub body: String,
    /// When this attempt begins.
    pub now: Timestamp,
}

/// Calls the HTTP endpoints that are an agent's own tools: no vendor, but a call outside all the same.
#[async_trait]
pub trait ToolCaller: Send + Sync {
    /// Checks an address when it is saved, as [`MessageSender::check_target`] does.
    async fn check_target(&self, url: &str) -> Result<(), (Reason, String)>;

    /// Makes one call. Never retries by itself. Whatever the endpoint answers is an answer, also a refusal.
    async fn call(&self, call: &ToolRequest) -> Result<ToolAnswer, VendorError>;
}

/// A call of an agent's tool.
#[derive(Debug, Clone)]
pub struct ToolRequest {
    /// The method.
    pub method: String,
    /// Where to.
    pub url: String,
    /// Its headers, whose values are secrets.
    pub headers: Vec<(String, SecretString)>,
    /// What the model gave: the body, or for GET and DELETE the query.
    pub arguments: Value,
    /// The same whenever this call is made again, so that the endpoint can drop repeats.
    pub key: String,
    /// How long it may take.
    pub timeout: Duration,
    /// How much of the answer is read, in bytes.
    pub max_response_bytes: usize,
    /// The present moment.
    pub now: Timestamp,
}

/// What an endpoint answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolAnswer {
    /// Its HTTP status.
    pub http_status: u16,
    /// The beginning of its body.
    pub body: String,
    /// Whether there is more of it.
    pub cut: bool,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundMessage {
    /// The delivery: the same for every attempt, so that a receiver can drop repeats.
    pub delivery: DeliveryId,
    /// The message.
    pub message: MessageId,
    /// The chat inside the channel. Empty: the channel's own.
    pub chat: String,
    /// Who wrote it.
    pub role: Role,
    /// What it says. May be empty where it has parts.
    pub text: String,
    /// What it carries beside.
    pub parts: Vec<Part>,
    /// What makes it a template of the vendor's, in the vendor's own words; [`ChannelKind::check_template`] has checked it.
    pub template: Option<Value>,
    /// What was told, beside its words, of the customer's newest message before it: some vendors are answered there. Empty
    /// where the channel posts to a URL.
    pub answers: Map<String, Value>,
    /// When this attempt begins.
    pub now: Timestamp,
}

/// The vendor's answer to a message that it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Its HTTP status.
    pub http_status: Option<u16>,
    /// The beginning of its answer, at most 1,024 characters.
    pub excerpt: Option<String>,
    /// What the vendor calls the message, by which it speaks of it later. `None`: it speaks of it by our id, or never.
    pub vendor_message_id: Option<String>,
}

/// Whether trying again can help. The retrier knows nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It can't.
    Never,
    /// After this pause, as the vendor asked.
    After(Duration),
    /// By our own schedule.
    Backoff,
}

/// Whether a failed call may have had its effect all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It had none.
    No,
    /// Nobody knows: a timeout, or a cut after writing.
    Maybe,
}

/// What kind of trouble a vendor's refusal is, as far as somebody has to act on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FailureKind {
    /// None of these.
    #[default]
    Other,
    /// The credentials are wrong, expired or revoked: the connection needs new ones.
    Unauthorized,
    /// The credentials are good, and may not do this.
    Forbidden,
    /// The account has used up what it may, or must pay. Trying again does not help.
    OutOfQuota,
    /// Too many calls; it advises when to come again.
    RateLimited,
    /// The vendor is overloaded, down, or can't be reached.
    Unavailable,
    /// What was asked for is not there: a model, a conversation.
    NotFound,
    /// The input is longer than the model takes.
    InputTooLong,
    /// The answer was cut off, or is not what the vendor's API promises.
    BadAnswer,
    /// We stopped it.
    Cancelled,
}

impl FailureKind {
    /// Its name in the contract and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Other => "OTHER",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Forbidden => "FORBIDDEN",
            Self::OutOfQuota => "OUT_OF_QUOTA",
            Self::RateLimited => "RATE_LIMITED",
            Self::Unavailable => "UNAVAILABLE",
            Self::NotFound => "NOT_FOUND",
            Self::InputTooLong => "INPUT_TOO_LONG",
            Self::BadAnswer => "BAD_ANSWER",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// A vendor said no, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{vendor}: {operation} failed: {detail}")]
pub struct VendorError {
    /// The vendor's id.
    pub vendor: &'static str,
    /// What was tried.
    pub operation: &'static str,
    /// What kind of trouble it is, as far as somebody has to act on it.
    pub kind: FailureKind,
    /// Its HTTP status.
    pub http_status: Option<u16>,
    /// What went wrong, in one sentence, without secrets.
    pub detail: String,
    /// The beginning of its answer, at most 1,024 characters.
    pub excerpt: Option<String>,
    /// Whether it may have had its effect.
    pub applied: Applied,
    /// Whether trying again can help.
    pub retry: Retry,
}
