//! The other half of every vendor: its API on loopback, for stories, measurements, demonstrations and users' own tests.
//!
//! One file per vendor, named like its adapter in `vendors`. A simulated vendor keeps what it received, lets a test or a
//! terminal wait for it, and fails when told to: faults are data ([`Fault`]), switched while it runs. It knows nothing of
//! the server; what it checks, it checks as an outsider would.
//!
//! Vendors of models are mounted on one address, [`Simulator`]: `switchboard simulate` serves them.
//!
//! To add one: a file with its [`vendor::Api`], which reads its requests as strictly as the vendor does and lets
//! [`model`] decide what is said, and its row in [`mounts`]. Faults, keys, pace and the ledger are the frame's. A vendor
//! that is no model and has an address of its own answers through `listener`, as `generic_http` does.
#![warn(missing_docs)]

pub mod amocrm;
mod anthropic;
mod body;
mod clock;
mod dify;
pub mod edna;
mod fault;
mod gemini;
pub mod generic_http;
mod ledger;
mod listener;
mod manus;
mod marked;
mod model;
mod openai;
mod outside;
mod simulator;
mod vendor;

use std::sync::Arc;

pub use clock::Clock;
pub use fault::{Fault, Faults};
pub use ledger::{Call, Counts, Ended};
pub use simulator::Simulator;
pub use vendor::{KEY, Vendor};

/// Every vendor of models, each once.
fn mounts() -> Vec<simulator::Mount> {
    vec![
        simulator::Mount { id: "anthropic", base_path: "", api: Arc::new(anthropic::Anthropic) },
        simulator::Mount { id: "dify", base_path: "/v1", api: Arc::new(dify::Dify::default()) },
        simulator::Mount { id: "gemini", base_path: "/v1beta", api: Arc::new(gemini::Gemini) },
        simulator::Mount { id: "manus", base_path: "", api: Arc::new(manus::Manus::default()) },
        simulator::Mount { id: "openai", base_path: "/v1", api: Arc::new(openai::OpenAi) },
    ]
}
