//! An engine that needs no account: for demonstrations, tests and measurements.
//!
//! It is deterministic. The same request gives the same answer, which quotes what the customer wrote since the last
//! reply. The newest customer message can tell it what to do: see [`Directive`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    FieldViolation,
    dialogue::{Message, Role},
    vendor::{
        Answer, Applied, Completion, CompletionModel, Retry, Step, ToolCall, Vendor, VendorError,
    },
};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

/// The vendor's id.
pub const ID: &str = "mock";

/// The longest that an answer may take, in milliseconds.
const MAX_DELAY_MS: u64 = 600_000;
/// How much of the customer's messages an answer quotes, in characters.
const MAX_QUOTE_CHARS: usize = 2_000;

/// Gives the vendor.
pub fn vendor() -> Vendor {
    Vendor {
        id: ID,
        name: "Mock",
        docs: "https://github.com/search?q=switchboard+mock+engine",
        receiver: None,
        sender: None,
        engine: Some(Arc::new(Mock)),
    }
}

/// What an agent's `engine.settings` may hold.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// How long each answer takes, 0 to 600,000 ms.
    #[serde(deserialize_with = "delay_ms")]
    delay_ms: u64,
    fail: Fail,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Fail {
    /// Every run succeeds.
    #[default]
    Never,
    /// The first run of every turn fails, the next succeeds.
    Once,
    /// Every run fails.
    Always,
}

/// JSON has one kind of number, and a `google.protobuf.Struct` makes a double of each: 250.0 is 250.
fn delay_ms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    (0..=MAX_DELAY_MS)
        .contains(&(number as u64))
        .then_some(number as u64)
        .ok_or_else(|| de::Error::custom("out of range"))
}
