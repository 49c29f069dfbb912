//! Mirrors: what is said on one channel, shown in chats of another vendor, where people read along and answer. The customer stays
//! where they are: what a person writes in such a chat goes out over the customer's own channel.

use async_trait::async_trait;

use crate::{
    MessageId, Timestamp,
    contact::MAX_WORD_CHARS,
    dialogue::Role,
    part::Part,
    vendor::{VendorAccount, VendorError},
};

/// How many messages of before are shown when a dialogue gets its chat.
pub const MAX_HISTORY: i64 = 100;

/// A chat that shows a dialogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MirroredChat {
    /// What we call it: the same for ever, so that opening it again finds it.
    pub id: String,
    /// What the vendor calls it. Empty: it is not opened yet.
    pub vendor_id: String,
    /// What we call the customer.
    pub customer: String,
    /// The customer's name. Empty: not known.
    pub name: String,
    /// Their telephone number. Empty: not known.
    pub phone: String,
    /// Their e-mail address. Empty: not known.
    pub email: String,
    /// The source that it is of. Empty: none.
    pub source: String,
    /// Whether the vendor's people began it, so that the vendor must be told its own name for it.
    pub theirs: bool,
}

/// A message to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirroredMessage {
    /// The message: the vendor drops a repeat by this.
    pub id: MessageId,
    /// Who wrote it.
    pub role: Role,
    /// What it says. May be empty where it has parts.
    pub text: String,
    /// What it carries beside.
    pub parts: Vec<Part>,
    /// When it was written.
    pub at: Timestamp,
    /// Whether nobody is to be called by it: it is history.
    pub silent: bool,
}

/// What became of a message of ours on its way to the customer, in the order in which it goes ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MirroredStatus {
    /// It is on its way, or was taken.
    Sent,
    /// It could not be delivered, or was withheld.
    Failed,
    /// The customer has it.
    Delivered,
    /// The customer has read it.
    Read,
}

impl MirroredStatus {
    /// Its word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "SENT",
            Self::Failed => "FAILED",
            Self::Delivered => "DELIVERED",
            Self::Read => "READ",
        }
    }

    /// Reads that word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Sent, Self::Failed, Self::Delivered, Self::Read].into_iter().find(|it| it.as_str() == word)
    }
}

/// Shows what is said elsewhere in chats of a vendor's. Every call may be made again: it changes nothing the second time.
#[async_trait]
pub trait ChatMirror: Send + Sync {
    /// Opens a chat and gives the vendor's id of it.
    async fn open(
        &self,
        account: &VendorAccount,
        chat: &MirroredChat,
        now: Timestamp,
    ) -> Result<String, VendorError>;

    /// Shows a message and gives the vendor's id of it. A message that takes several there is known by its first.
    async fn show(
        &self,
        account: &VendorAccount,
        chat: &MirroredChat,
        message: &MirroredMessage,
        now: Timestamp,
    ) -> Result<String, VendorError>;

    /// Tells what became of a message of ours, or of one that was written there: `error` says why it failed.
    async fn tell(
        &self,
        account: &VendorAccount,
        vendor_message_id: &str,
        status: MirroredStatus,
        error: &str,
        now: Timestamp,
    ) -> Result<(), VendorError>;
}

/// Whether it can be the external id of a source.
pub fn is_source(text: &str) -> bool {
    const MOST: usize = 40;
    (1..=MOST).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The name by which a customer is shown, of whom nothing else may be known.
pub fn name_of(chat: &MirroredChat) -> String {
    let known = [&chat.name, &chat.phone, &chat.email].into_iter().find(|word| !word.trim().is_empty());
    known.unwrap_or(&chat.customer).chars().take(MAX_WORD_CHARS).collect()
}
