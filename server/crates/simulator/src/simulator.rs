//! All simulated vendors of one address, and the routes by which a terminal or a test steers them.
//!
//! Each vendor is mounted under its id. Beside them:
//!
//! | route | what it does |
//! | --- | --- |
//! | `GET /control` | the vendors with their base URLs, and the clock |
//! | `GET /control/calls/{vendor}` | the vendor's calls, credentials left out |
//! | `POST /control/faults/{vendor}` | adds a fault: `{"fault": {"retry_after": 7}, "times": 2}`; without `times` until healed |
//! | `DELETE /control/faults/{vendor}` | heals it |
//! | `POST /control/clock` | moves the clock: `{"advance_seconds": 3600}` |

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Clock, Fault, Vendor,
    body::Body,
    listener::{Cut, Handler, Listener},
    vendor::{Api, KEY, Reply},
};

/// A vendor, and where it is mounted.
pub(crate) struct Mount {
    /// The vendor's id, and the first part of its paths.
    pub(crate) id: &'static str,
    /// What its base URL ends with.
    pub(crate) base_path: &'static str,
    /// What answers.
    pub(crate) api: Arc<dyn Api>,
}

/// The simulator. Dropping it stops it.
#[derive(Debug)]
pub struct Simulator {
    room: Arc<Room>,
    listener: Listener,
}

#[derive(Debug)]
struct Room {
    vendors: Vec<Vendor>,
    clock: Clock,
}

impl Simulator {
    /// Starts every vendor, with a clock that begins at a fixed moment. Port 0 is any free one.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        Self::start_with(address, Clock::default(), false).await
    }

    /// Starts every vendor with this clock. Quiet, it keeps no calls and only counts them: for measurements.
    pub async fn start_with(address: SocketAddr, clock: Clock, quiet: bool) -> io::Result<Self> {
        let socket = Listener::bind(address).await?;
        let address = socket.local_addr()?;
        let vendors = crate::mounts().into_iter().map(|mount| {
            let base_url = format!("http://{address}/{}{}", mount.id, mount.base_path);
            Vendor::new(mount.id, base_url, mount.api, clock.clone(), quiet)
        });
        let room = Arc::new(Room { vendors: vendors.collect(), clock });
        Ok(Self { listener: Listener::serve(socket, Arc::clone(&room))?, room })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The vendors.
    pub fn vendors(&self) -> &[Vendor] {
        &self.room.vendors
    }

    /// Finds a vendor by its id.
    pub fn vendor(&self, id: &str) -> Option<&Vendor> {
        self.room.find(id)
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.room.clock
    }

    /// Stops, connections and all, and comes back when the port is free again. Dropping stops too, but a moment later.
    pub async fn stop(self) {
        self.listener.stop().await;
    }
}

impl Handler for Room {
    async fn answer(&self, request: Request<Bytes>) -> Result<Response<Body>, Cut> {
        let path = request.uri().path().to_owned();
        let (first, rest) =
            path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_matches('/'), ""));
        if first == "control" {
            let reply = self.control(&request, rest);
            let mut response = Response::new(reply.body);
            *response.status_mut() = reply.status;
            *response.headers_mut() = reply.headers;
            return Ok(response);
        }
        let Some(vendor) = self.find(first) else {
            let mut response =
                Response::new(Bytes::from_static(b"no vendor is mounted here; see /control\n").into());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Ok(response);
        };
        let mut request = request;
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        *request.uri_mut() = Uri::try_from(format!("/{rest}{query}")).map_err(|_| Cut)?;
        vendor.serve(request).await
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewFault {
    fault: Fault,
    times: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: u64,
}

impl Room {
    fn find(&self, id: &str) -> Option<&Vendor> {
        self.vendors.iter().find(|vendor| vendor.id() == id)
    }

    fn control(&self, request: &Request<Bytes>, path: &str) -> Reply {
        let (noun, id) = path.split_once('/').unwrap_or((path, ""));
        let wrong = |status, why: String| Reply::json(status, &json!({ "error": why }));
        let vendor = self.find(id);
        match (request.method(), noun, vendor) {
            (&Method::GET, "", _) => Reply::json(StatusCode::OK, &self.overview()),
            (&Method::GET, "calls", Some(vendor)) => Reply::json(StatusCode::OK, &calls(vendor)),
            (&Method::POST, "faults", Some(vendor)) => match serde_json::from_slice(request.body()) {
                Ok(NewFault { fault, times }) => {
                    vendor.faults().add(fault, times);
                    Reply::json(StatusCode::OK, &json!({}))
                }
                Err(error) => wrong(StatusCode::BAD_REQUEST, error.to_string()),
            },
            (&Method::DELETE, "faults", Some(vendor)) => {
                vendor.faults().heal();
                Reply::json(StatusCode::OK, &json!({}))
            }
            (&Method::POST, "clock", _) => match serde_json::from_slice(request.body()) {
                Ok(Advance { advance_seconds }) => {
                    self.clock.advance(std::time::Duration::from_secs(advance_seconds));
                    Reply::json(StatusCode::OK, &self.overview())
                }
                Err(error) => wrong(StatusCode::BAD_REQUEST, error.to_string()),
            },
            _ => wrong(StatusCode::NOT_FOUND, "there is no such route, or no such vendor".to_owned()),
        }
    }

    fn overview(&self) -> Value {
        let vendors: Vec<_> = self
            .vendors
            .iter()
            .map(|vendor| json!({ "id": vendor.id(), "base_url": vendor.base_url(), "api_key": KEY }))
            .collect();
        json!({ "vendors": vendors, "unix_seconds": self.clock.unix_seconds() })
    }
}

fn calls(vendor: &Vendor) -> Value {
    let calls = vendor.calls().into_iter().map(|call| {
        json!({
            "method": call.method.as_str(),
            "path": call.path,
            "body": serde_json::from_slice::<Value>(&call.body)
                .unwrap_or_else(|_| String::from_utf8_lossy(&call.body).into()),
            "status": call.status.map(|status| status.as_u16()),
            "pieces": call.pieces,
            "ended": format!("{:?}", call.ended),
        })
    });
    calls.collect()
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;
    use crate::{Ended, Fault};

    async fn simulator() -> Simulator {
        Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap()
    }

    async fn send(simulator: &Simulator, first_line: &str, key: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(simulator.address()).await.unwrap();
        let request = format!(
            "{first_line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Gives the whole answer, or what came of it before a cut.
    async fn ask(simulator: &Simulator, first_line: &str, key: &str, body: &str) -> String {
        let mut answer = String::new();
        let _ = send(simulator, first_line, key, body).await.read_to_string(&mut answer).await;
        answer
    }

    const POST: &str = "POST /openai/v1/chat/completions";

    fn chat(text: &str) -> String {
        json!({
            "model": "gpt-4o-mini",
            "messages": [{ "role": "user", "content": text }],
            "stream": true,
        })
        .to_string()
    }

    #[tokio::test]
    async fn a_vendor_answers_who_has_the_key() {
        let simulator = simulator().await;
        let answer = ask(&simulator, POST, KEY, &chat("Hi")).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("data: [DONE]"), "{answer}");
        assert!(ask(&simulator, POST, "wrong", &chat("Hi")).await.contains("invalid_api_key"));
        let vendor = simulator.vendor("openai").unwrap();
        let calls = vendor.calls();
        assert_eq!(
            (calls[0].path.as_str(), calls[0].ended, calls[1].status),
            ("/v1/chat/completions", Ended::Answered, Some(StatusCode::UNAUTHORIZED))
        );
        assert_eq!(vendor.counts().ended, 2);
        assert!(ask(&simulator, "GET /elsewhere", KEY, "").await.starts_with("HTTP/1.1 404 "));
    }

    #[tokio::test]
    async fn it_is_steered_by_calls() {
        let simulator = simulator().await;
        let fault = r#"{"fault": {"retry_after": 7}, "times": 1}"#;
        ask(&simulator, "POST /control/faults/openai", "", fault).await;
        let answer = ask(&simulator, POST, KEY, &chat("Hi")).await;
        assert!(answer.contains("retry-after: 7") && answer.contains("rate_limit_exceeded"), "{answer}");
        assert!(ask(&simulator, POST, KEY, &chat("Hi")).await.starts_with("HTTP/1.1 200 "));
        let calls = ask(&simulator, "GET /control/calls/openai", "", "").await;
        assert!(calls.contains("gpt-4o-mini") && !calls.contains(KEY), "{calls}");
        let before = simulator.clock().unix_seconds();
        ask(&simulator, "POST /control/clock", "", r#"{"advance_seconds": 3600}"#).await;
        assert!(simulator.clock().unix_seconds() >= before + 3600);
        assert!(ask(&simulator, "GET /control", "", "").await.contains("/openai/v1"));
        for bad in [r#"{"fault": "explode"}"#, "", r#"{"fault": "down", "often": 1}"#] {
            let answer = ask(&simulator, "POST /control/faults/openai", "", bad).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{bad}: {answer}");
        }
    }

    #[tokio::test]
    async fn streams_are_cut_stall_and_never_end_as_told() {
        let simulator = simulator().await;
        let vendor = simulator.vendor("openai").unwrap();
        vendor.faults().add(Fault::CutAfterPieces(2), Some(1));
        let answer = ask(&simulator, POST, KEY, &chat("Hi")).await;
        assert!(answer.matches("data: ").count() == 2 && !answer.contains("[DONE]"), "{answer}");
        assert_eq!(vendor.calls()[0].ended, Ended::Cut);
        for fault in [Fault::StallAfterPieces(1), Fault::Endless] {
            vendor.faults().add(fault, Some(1));
            let mut stream = send(&simulator, POST, KEY, &chat("Hi")).await;
            let mut some = [0; 200];
            stream.read_exact(&mut some).await.unwrap();
            let open = vendor.counts();
            assert_eq!(open.begun, open.ended + 1, "{fault:?}");
            drop(stream);
            vendor.wait_until(|counts| counts.hung_up > open.hung_up).await;
        }
    }
}
