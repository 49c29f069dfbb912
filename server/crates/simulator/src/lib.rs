//! The other half of every vendor: its API on loopback, for stories, measurements, demonstrations and users' own tests.
//!
//! One file per vendor, named like its adapter in `vendors`. A simulated vendor keeps what it received, lets a test or a
//! terminal wait for it, and fails when told to: faults are data ([`Fault`]), switched while it runs. It knows nothing of
//! the server; what it checks, it checks as an outsider would.
//!
//! To add a vendor: a file that answers its routes through `listener`, asks [`Faults`] before each answer, and keeps a
//! ledger of what came.
#![warn(missing_docs)]

mod fault;
pub mod generic_http;
mod listener;

pub use fault::{Fault, Faults};
