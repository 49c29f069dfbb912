#![warn(missing_docs)]
#![doc = include_str!("../README.md")]
//!
//! # The room
//!
//! | file | what it holds |
//! | --- | --- |
//! | `gen/` | written by `cargo xtask gen rust` from `proto/switchboard/v1`, never by hand |
//! | `client.rs` | endpoint, key, deadlines, retries |
//! | `errors.rs` | why a call failed, as data |
//! | `pages.rs` | a list of any length as one stream |
//! | `webhook.rs` | whether a webhook came from Switchboard |
//!
//! The other SDKs have files of the same names that do the same. This crate knows nothing of `server/`. A new service
//! needs an accessor in `client.rs`; a new streaming method needs its path there, which a test asks for.

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
pub mod errors;
#[cfg(feature = "client")]
pub mod pages;
#[cfg(feature = "webhook")]
pub mod webhook;

#[cfg(feature = "client")]
pub use crate::{
    client::{Builder, Client, ConnectError, Retries, retrying},
    errors::{Error, FieldViolation},
    pages::{Pages, pages},
};
/// The types of `Timestamp`, `Duration`, `FieldMask` and `Struct` fields.
pub use prost_types;
/// What calls take and give: requests with metadata, streams, statuses.
pub use tonic;

/// The contract `switchboard.v1`: messages, enums, and the services' clients and server traits.
///
/// Written by `cargo xtask gen rust` from `proto/switchboard/v1`; never edited by hand.
#[allow(
    clippy::all,
    clippy::pedantic,
    rustdoc::all,
    unused_qualifications,
    unreachable_pub,
    reason = "generated code is judged by its generator's tests, not by our house style"
)]
pub mod v1 {
    include!("gen/switchboard.v1.rs");
}

/// The contract as an encoded `google.protobuf.FileDescriptorSet`, with all imports and without comments: what server
/// reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptor.binpb");

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_shows_the_example_that_is_run() {
        let (_, example) = include_str!("../examples/quickstart.rs").split_once("\n\n").unwrap();
        assert!(include_str!("../README.md").contains(example), "copy examples/quickstart.rs into README.md");
    }
}
