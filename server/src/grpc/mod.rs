//! The gRPC doors: one file per service, each parses, makes one call of the app, and converts.

mod agents;
mod auth;
mod channels;
mod contacts;
mod convert;
mod crm;
mod dialogues;
mod endpoints;
mod events;
mod imports;
mod integrations;
mod profiles;
mod rehearsals;
mod server;
mod sources;
mod webhooks;
mod workspaces;

use app::{App, Caller};
pub use server::{ListenerSettings, serve};
use tonic::{Request, Status};

use crate::error::{refusal_to_status, to_status};

/// The implementation of every service.
#[derive(Clone)]
pub struct Services {
    app: App,
}

/// Who calls: put there by the layer that checked the key.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(|| {
        to_status(domain::Error::new(domain::Reason::AuthMissing, "the call carries no API key"))
    })
}

fn refuse(error: &domain::Error) -> Status {
    refusal_to_status(error)
}
