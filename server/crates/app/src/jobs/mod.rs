//! What workers do: one file per job.

pub(crate) mod ask_engine;
pub(crate) mod deliver;
pub(crate) mod dispatch_event;
pub(crate) mod erase;
mod history;
pub(crate) mod keep_sources;
pub(crate) mod keep_subscriptions;
pub(crate) mod mirror_dialogue;
pub(crate) mod renew_grants;
mod return_control;
pub(crate) mod rewrap_secrets;
pub(crate) mod run_turn;
pub(crate) mod sweep_dispatches;
