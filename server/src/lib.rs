//! The doors of Switchboard, and how a process starts and stops.
//!
//! `grpc` and `http` parse, make one call of `app`, and convert; `error` is the only place where an app error becomes a
//! status or a problem+json; `config` is the only place that reads the environment. No SQL and no decisions here.

pub mod config;
mod cors;
pub mod demo;
pub mod error;
pub mod grpc;
pub mod http;
pub mod keys;
pub mod simulate;
pub mod start;
pub mod telemetry;
