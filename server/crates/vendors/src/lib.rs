//! The outside world: one file per vendor, each an adapter between its words and ours.
//!
//! An adapter turns values into calls and callbacks into values. It stores nothing, retries nothing, and knows neither
//! the database, gRPC, the HTTP server nor any other vendor; what the rest of the house needs to know of a vendor it
//! asks through the traits of [`domain::vendor`]. [`http`] is the only client: it bounds time and size and keeps calls
//! away from private addresses.
//!
//! Vendors of models share how a dialogue is put to them ([`conversation`]), how events are read from a stream ([`sse`]),
//! and what an account has ([`account`]).
//!
//! To add a vendor: its file, in the order vendor, settings, receive, send, wire structs, errors, tests; its `mod` and its
//! row in [`all`]; samples of what it sends in `fixtures/<vendor>/`, where `tests/contract.rs` finds them; and its other
//! half in `simulator`.
#![warn(missing_docs)]

use domain::vendor::Vendors;

mod account;
pub mod amocrm;
pub mod anthropic;
mod conversation;
pub mod dify;
pub mod edna;
pub mod event_poster;
#[cfg(test)]
mod fuzz;
pub mod gemini;
pub mod generic_http;
pub mod http;
pub mod http_tool;
pub mod manus;
pub mod mock;
pub mod openai;
mod refusal;
mod settings;
mod signature;
mod sse;
mod transcript;

/// What the vendors need to be told by the operator.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// How calls to plain HTTP endpoints look.
    pub generic_http: generic_http::Headers,
    /// The sources of amoCRM's integrations that say nothing of them.
    pub amocrm_sources: amocrm::sources::Defaults,
}

/// Gives every vendor, each once.
pub fn all(http: http::HttpClient, settings: Settings) -> Vendors {
    Vendors::new(vec![
        anthropic::vendor(http.clone()),
        generic_http::vendor(http.clone(), settings.generic_http),
        dify::vendor(http.clone()),
        edna::vendor(http.clone()),
        gemini::vendor(http.clone()),
        manus::vendor(http.clone()),
        mock::vendor(),
        amocrm::vendor(http.clone(), settings.amocrm_sources),
        openai::vendor(http),
    ])
}
