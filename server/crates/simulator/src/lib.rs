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

mod body;
mod clock;
mod fault;
pub mod generic_http;
mod ledger;
mod listener;
mod model;
mod openai;
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
    vec![simulator::Mount { id: "openai", base_path: "/v1", api: Arc::new(openai::OpenAi) }]
}
