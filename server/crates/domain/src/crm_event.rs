//! What happens in a CRM, in our words: read out of the calls by which it tells of it.

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::{
    Timestamp,
    connection::Connection,
    part::Part,
    vendor::{NormalizeError, VendorError},
};

/// The type of an event that we have no word for. It is kept with its data as they came.
pub const UNKNOWN: &str = "crm.unknown";

/// A call of a CRM, read.
#[derive(Debug, Clone, PartialEq)]
pub struct CrmHook {
    /// Whose account it says it is of.
    pub account: CrmAccount,
    /// What it tells, in no order that means anything.
    pub events: Vec<CrmEvent>,
}

/// The account that a call is of, as the call says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrmAccount {
    /// Its id at the vendor.
    pub id: Option<String>,
    /// The first part of its host.
    pub subdomain: Option<String>,
}

/// Something that happened in a CRM.
#[derive(Debug, Clone, PartialEq)]
pub struct CrmEvent {
    /// The type, in the past tense, as the contract has it.
    pub kind: &'static str,
    /// What makes a repeat known, in the integration.
    pub key: String,
    /// Whether the key is this event's alone: it holds the vendor's own id of it, or the moment. If not, the same may happen
    /// again, and the key tells repeats for as long as the vendor tries.
    pub lasting: bool,
    /// What is told, in our words.
    pub data: Map<String, Value>,
    /// The message, of an event that is about one.
    pub message: Option<ChatMessage>,
}

/// Who wrote a message of a chat in the CRM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The customer.
    Customer,
    /// A person of the company.
    Person,
    /// A program: a bot of the CRM's own, or one whose kind is not told.
    Program,
}

/// A message of a chat in the CRM, of whatever messenger.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatMessage {
    /// The vendor's id of it.
    pub id: String,
    /// Who wrote it.
    pub writer: Writer,
    /// What it says.
    pub text: String,
    /// What it carries.
    pub parts: Vec<Part>,
    /// The vendor's id of the chat.
    pub chat: Option<String>,
    /// The talk: what is answered.
    pub talk: Option<i64>,
    /// The lead it belongs to. `None`: it is sorted to none yet.
    pub lead: Option<i64>,
    /// The contact.
    pub contact: Option<i64>,
    /// Who wrote it, by name.
    pub author: Option<String>,
    /// The messenger, as the vendor calls it.
    pub origin: Option<String>,
    /// When it was written.
    pub sent_at: Option<Timestamp>,
}

/// That a CRM calls us, as it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Whether it has stopped calling, after too many bad answers.
    pub disabled: bool,
    /// Whether it tells all that we want to be told.
    pub complete: bool,
}

/// Reads a CRM's calls, and has it make them.
#[async_trait]
pub trait AccountHooks: Send + Sync {
    /// Reads a call. Pure: bytes in, facts out.
    fn read(&self, body: &[u8]) -> Result<CrmHook, NormalizeError>;

    /// Whether a call is of the account that these settings are for. `known`: that account's id at the vendor, once the vendor
    /// has said it; it stays the same when the account moves to another address.
    fn is_of(&self, settings: &Value, known: Option<&str>, account: &CrmAccount) -> bool;

    /// Asks for the account's id at the vendor.
    async fn account_id(&self, connection: &Connection) -> Result<String, VendorError>;

    /// Asks how it stands with the calls to an address. `None`: there are none.
    async fn subscription(
        &self,
        connection: &Connection,
        url: &str,
    ) -> Result<Option<Subscription>, VendorError>;

    /// Has it call an address, whatever was before. Safe to repeat.
    async fn subscribe(&self, connection: &Connection, url: &str) -> Result<Subscription, VendorError>;

    /// Has it call an address no more. That it didn't is fine.
    async fn unsubscribe(&self, connection: &Connection, url: &str) -> Result<(), VendorError>;
}
