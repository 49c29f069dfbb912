//! Stories through the public doors: real HTTP, real gRPC, real Postgres. One binary, one file per noun.
#![allow(clippy::unwrap_used, reason = "a story that can't go on has failed")]

mod agents;
mod bad_input;
mod budgets;
mod canaries;
mod channels;
mod control;
mod deliveries;
mod dialogues;
mod edna;
mod endpoints;
mod engines;
mod engines_dify;
mod engines_gemini;
mod engines_manus;
mod error_reasons;
mod events;
mod fake_engine;
mod foreign_ids;
mod harness;
mod integrations;
mod internal_listener;
mod oauth;
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
