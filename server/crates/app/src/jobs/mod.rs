//! What workers do: one file per job.

pub(crate) mod deliver;
pub(crate) mod dispatch_event;
pub(crate) mod rewrap_secrets;
pub(crate) mod run_turn;
