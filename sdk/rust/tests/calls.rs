//! What the client adds to a call, as a server on loopback sees it.
#![cfg(feature = "client")]
#![expect(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderMap;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use switchboard_sdk::tonic::{Code, Request, Status};
use switchboard_sdk::v1::{GetAgentRequest, WatchRequest};
use switchboard_sdk::{Client, ConnectError};
use tokio::net::TcpListener;

/// The path and the headers of every call so far.
type Seen = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// Starts a server that answers every call with `UNIMPLEMENTED`, or never where `stalled`.
async fn server(stalled: bool) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let noted = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let noted = noted.clone();
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let (parts, _) = request.into_parts();
                noted.lock().unwrap().push((parts.uri.path().to_owned(), parts.headers));
                async move {
                    if stalled {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, Infallible>(Status::unimplemented("only a test").into_http::<tonic::body::Body>())
                }
            });
            tokio::spawn(
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (endpoint, seen)
}

fn last(seen: &Seen) -> (String, HeaderMap) {
    seen.lock().unwrap().pop().unwrap()
}

#[tokio::test]
async fn key_deadline_and_compression_are_added() {
    let (endpoint, seen) = server(false).await;
    let client = Client::connect(endpoint, "swb_key").await.unwrap();

    let error = client.agents().get_agent(GetAgentRequest::default()).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Unimplemented, "only a test"));
    let (path, headers) = last(&seen);
    assert_eq!(path, "/switchboard.v1.AgentsService/GetAgent");
    assert_eq!(headers["authorization"], "Bearer swb_key");
    assert_eq!(headers["grpc-timeout"], "30000m");
    assert_eq!(headers["grpc-accept-encoding"], "gzip,identity");
    assert!(headers["user-agent"].to_str().unwrap().starts_with("switchboard-rust/"));

    client.events().watch(WatchRequest::default()).await.unwrap_err();
    let (path, headers) = last(&seen);
    assert_eq!(path, "/switchboard.v1.EventsService/Watch");
    assert_eq!(headers["authorization"], "Bearer swb_key");
    assert!(!headers.contains_key("grpc-timeout"), "streams have no deadline");
}

#[tokio::test]
async fn what_the_request_says_goes_first() {
    let (endpoint, seen) = server(false).await;
    let client = Client::connect(endpoint, "swb_key").await.unwrap();
    let mut request = Request::new(GetAgentRequest::default());
    request.set_timeout(Duration::from_secs(2));
    request.metadata_mut().insert("authorization", "Bearer another".parse().unwrap());
    client.agents().get_agent(request).await.unwrap_err();
    let (_, headers) = last(&seen);
    assert_eq!(headers["authorization"], "Bearer another");
    assert_eq!(headers.get_all("grpc-timeout").iter().count(), 1);
    assert_eq!(headers["grpc-timeout"], "2000000u");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let (endpoint, _) = server(true).await;
    let client = Client::builder(endpoint).deadline(Duration::from_millis(50)).connect().await.unwrap();
    let error = client.agents().get_agent(GetAgentRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    // A port that was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);

    let error = Client::connect(&endpoint, "swb_key").await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }));
    assert!(error.to_string().contains(&endpoint), "{error}");

    let lazy = Client::builder(&endpoint).connect_lazy().unwrap();
    let error = lazy.agents().get_agent(GetAgentRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "which `retrying` tries again");
}
