//! The commands about endpoints and the dispatches of events to them.

use clap::{Subcommand, ValueEnum};
use serde_json::json;
use switchboard_sdk::{Client, pages, v1};

use crate::output::{Output, Row, moment, print, short};

/// What to do with endpoints.
#[derive(Debug, Subcommand)]
pub enum Endpoints {
    /// Creates an endpoint, and shows its secret, once.
    Create {
        /// A name for people.
        #[arg(long)]
        name: String,
        /// Where events are posted.
        #[arg(long)]
        url: String,
        /// Only events of these types. Default: of any.
        #[arg(long = "type")]
        types: Vec<String>,
        /// Only events of this channel. Default: of any.
        #[arg(long, default_value = "")]
        channel: String,
        /// When a failed dispatch is tried again.
        #[arg(long, value_enum, default_value_t = Schedule::Standard)]
        schedule: Schedule,
    },
    /// Lists endpoints, oldest first.
    List,
    /// Posts one test event now.
    Test {
        /// The endpoint's id.
        id: String,
    },
    /// Deletes an endpoint.
    Delete {
        /// The endpoint's id.
        id: String,
    },
}

/// When a failed dispatch is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Schedule {
    /// Eight attempts in about 28 hours.
    Standard,
    /// A few attempts in seconds, for trying an endpoint out.
    Sandbox,
}

/// What to do with dispatches.
#[derive(Debug, Subcommand)]
pub enum Dispatches {
    /// Lists an endpoint's dispatches, newest first.
    List {
        /// The endpoint's id.
        endpoint_id: String,
    },
}

const ENDPOINT: [&str; 6] = ["ID", "NAME", "URL", "TYPES", "ACTIVE", "DISABLED"];

fn row(endpoint: &v1::Endpoint) -> Row {
    let types = endpoint.event_types.join(",");
    let schedule = short(endpoint.schedule().as_str_name(), "ENDPOINT_SCHEDULE_");
    Row {
        json: json!({
            "id": endpoint.id, "displayName": endpoint.display_name, "url": endpoint.url,
            "eventTypes": endpoint.event_types, "channelId": endpoint.channel_id, "schedule": schedule,
            "active": endpoint.active(), "disabledReason": endpoint.disabled_reason,
            "failingSinceTime": moment(endpoint.failing_since_time.as_ref()),
            "createTime": moment(endpoint.create_time.as_ref()),
        }),
        cells: vec![
            endpoint.id.clone(),
            endpoint.display_name.clone(),
            endpoint.url.clone(),
            types,
            endpoint.active().to_string(),
            endpoint.disabled_reason.clone(),
        ],
    }
}

pub(crate) async fn endpoints(client: &Client, output: Output, command: Endpoints) -> anyhow::Result<()> {
    match command {
        Endpoints::Create { name, url, types, channel, schedule } => {
            let schedule = match schedule {
                Schedule::Standard => v1::EndpointSchedule::Standard,
                Schedule::Sandbox => v1::EndpointSchedule::Sandbox,
            };
            let new = v1::Endpoint {
                display_name: name,
                url,
                event_types: types,
                channel_id: channel,
                schedule: schedule.into(),
                ..v1::Endpoint::default()
            };
            let request = v1::CreateEndpointRequest { endpoint: Some(new), request_id: String::new() };
            let made = client.webhooks().create_endpoint(request).await?.into_inner();
            let mut row = row(&made.endpoint.unwrap_or_default());
            row.json["secret"] = json!(made.secret);
            print(output, &ENDPOINT, &[row]);
            if output == Output::Table {
                println!("secret: {}", made.secret);
            }
        }
        Endpoints::List => {
            let client = client.clone();
            let all = pages(move |page_token| {
                let mut webhooks = client.webhooks();
                async move {
                    let request = v1::ListEndpointsRequest { page_size: 1_000, page_token, active: None };
                    let page = webhooks.list_endpoints(request).await?.into_inner();
                    Ok((page.endpoints, page.next_page_token))
                }
            });
            let rows: Vec<Row> = all.collect().await?.iter().map(row).collect();
            print(output, &ENDPOINT, &rows);
        }
        Endpoints::Test { id } => {
            let tested = client.webhooks().test_endpoint(v1::TestEndpointRequest { id }).await?.into_inner();
            let attempt = tested.attempt.unwrap_or_default();
            let state = short(attempt.state().as_str_name(), "ATTEMPT_STATE_");
            let row = Row {
                json: json!({
                    "state": state, "httpStatus": attempt.http_status, "error": attempt.error,
                    "responseExcerpt": attempt.response_excerpt,
                }),
                cells: vec![state, attempt.http_status.to_string(), attempt.error],
            };
            print(output, &["STATE", "STATUS", "ERROR"], &[row]);
        }
        Endpoints::Delete { id } => {
            client.webhooks().delete_endpoint(v1::DeleteEndpointRequest { id }).await?;
        }
    }
    Ok(())
}

fn dispatch(dispatch: &v1::Dispatch) -> Row {
    let state = short(dispatch.state().as_str_name(), "DISPATCH_STATE_");
    let (created, next) =
        (moment(dispatch.create_time.as_ref()), moment(dispatch.next_attempt_time.as_ref()));
    Row {
        json: json!({
            "id": dispatch.id, "eventId": dispatch.event_id, "eventType": dispatch.event_type,
            "dialogueId": dispatch.dialogue_id, "state": state, "reason": dispatch.reason,
            "attemptCount": dispatch.attempt_count, "nextAttemptTime": next, "replay": dispatch.replay,
            "createTime": created,
        }),
        cells: vec![
            dispatch.id.clone(),
            dispatch.event_type.clone(),
            state,
            dispatch.reason.clone(),
            dispatch.attempt_count.to_string(),
            created,
            next,
        ],
    }
}

pub(crate) async fn dispatches(client: &Client, output: Output, command: Dispatches) -> anyhow::Result<()> {
    let Dispatches::List { endpoint_id } = command;
    let client = client.clone();
    let all = pages(move |page_token| {
        let (mut webhooks, endpoint_id) = (client.webhooks(), endpoint_id.clone());
        async move {
            let request = v1::ListDispatchesRequest {
                page_size: 1_000,
                page_token,
                endpoint_id,
                ..v1::ListDispatchesRequest::default()
            };
            let page = webhooks.list_dispatches(request).await?.into_inner();
            Ok((page.dispatches, page.next_page_token))
        }
    });
    let rows: Vec<Row> = all.collect().await?.iter().map(dispatch).collect();
    print(output, &["ID", "TYPE", "STATE", "REASON", "ATTEMPTS", "CREATED", "NEXT ATTEMPT"], &rows);
    Ok(())
}
