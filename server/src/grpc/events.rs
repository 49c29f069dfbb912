//! `EventsService`.

use std::{pin::Pin, time::Duration};

use app::events::{Filter, Watched};
use domain::{Error, Reason, event};
use futures::{Stream, StreamExt};
use switchboard_sdk::v1::{self, events_service_server::EventsService};
use tonic::{Request, Response, Status};

use super::{Services, caller, convert, dialogues, refuse};
use crate::error::to_status;

fn to_wire(event: &event::Event, cursor: String) -> v1::Event {
    v1::Event {
        id: event.id.to_string(),
        r#type: event.kind.clone(),
        cursor,
        create_time: Some(convert::moment(event.occurred_at)),
        dialogue_id: event.dialogue.map(|id| id.to_string()).unwrap_or_default(),
        subject_id: event.subject.map(|id| id.to_string()).unwrap_or_default(),
        message: event.message.clone().map(dialogues::message),
        data: Some(convert::to_struct(&event.data)),
    }
}

fn filter(dialogue: &str, kinds: Vec<String>) -> Result<Filter, Error> {
    Ok(Filter { dialogue: convert::optional_id("dialogue_id", dialogue)?, kinds })
}

fn heartbeat(wire: Option<prost_types::Duration>) -> Result<Duration, Error> {
    const DEFAULT: Duration = Duration::from_secs(15);
    wire.map_or(Some(DEFAULT), |wire| Duration::try_from(wire).ok())
        .filter(|pause| (Duration::from_secs(1)..=Duration::from_mins(1)).contains(pause))
        .ok_or_else(|| {
            Error::field(Reason::FieldInvalid, "heartbeat_interval", "must be 1 s to 60 s, or not set")
        })
}

#[tonic::async_trait]
impl EventsService for Services {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read =
            || Ok((filter(&request.dialogue_id, request.types)?, heartbeat(request.heartbeat_interval)?));
        let (filter, heartbeat) = read().map_err(|error: Error| refuse(&error))?;
        let stream = self.app.watch(&caller, &request.cursor, filter, heartbeat).await.map_err(to_status)?;
        // The app ends its stream when the process stops, and only then: the caller is told to come back.
        let goodbye = futures::stream::once(async {
            let stopping =
                Error::new(Reason::Unavailable, "the server is stopping; connect again with the last cursor")
                    .retry_after(Duration::from_secs(1));
            Err(refuse(&stopping))
        });
        let stream = stream.map(|item| match item {
            Ok(Watched::Event(event, cursor)) => {
                Ok(v1::WatchResponse { event: Some(to_wire(&event, cursor.clone())), cursor })
            }
            Ok(Watched::Heartbeat(cursor)) => Ok(v1::WatchResponse { event: None, cursor }),
            Err(error) => Err(to_status(error)),
        });
        Ok(Response::new(Box::pin(stream.chain(goodbye))))
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let filter = filter(&request.dialogue_id, request.types).map_err(|error| refuse(&error))?;
        let page = self
            .app
            .list_events(&caller, &request.cursor, &filter, request.page_size)
            .await
            .map_err(to_status)?;
        Ok(Response::new(v1::ListEventsResponse {
            events: page.events.into_iter().map(|(event, cursor)| to_wire(&event, cursor)).collect(),
            next_cursor: page.next_cursor,
            more: page.more,
        }))
    }
}
