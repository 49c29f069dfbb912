//! Stories through the public doors: real HTTP, real gRPC, real Postgres. One binary, one file per noun.
#![allow(clippy::unwrap_used, reason = "a story that can't go on has failed")]

mod bad_input;
mod budgets;
mod channels;
mod control;
mod deliveries;
mod dialogues;
mod endpoints;
mod error_reasons;
mod events;
mod fake_engine;
mod foreign_ids;
mod harness;
mod integrations;
mod internal_listener;
mod operations;
mod preview;
mod programs;
mod readme;
mod replay;
mod restart;
mod streams;
mod tenants;
mod turns;
mod waiting;
mod webhooks;
