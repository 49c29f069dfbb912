#![warn(missing_docs)]
//! Switchboard for Rust: the contract's types, a client, and the server's half of the contract behind a feature.

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
