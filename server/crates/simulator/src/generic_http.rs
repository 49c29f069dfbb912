//! A small messenger: the endpoint that a channel of kind `generic_http` posts its replies to.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use serde::Deserialize;
use standardwebhooks::Webhook;
use tokio::sync::{broadcast, watch};

use crate::{
    body::Body as Answer,
    fault::{Fault, Faults},
    listener::{Cut, Handler, Listener},
};

/// How many messages a slow reader of [`Messenger::subscribe`] may fall behind before it misses some.
const BACKLOG: usize = 16_384;

/// A messenger that listens. Dropping it stops it.
#[derive(Debug)]
pub struct Messenger {
    state: Arc<State>,
    listener: Listener,
}

/// What the messenger was told about its channel, to check deliveries against.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The header that carries the token.
    pub token_header: HeaderName,
    /// The channel's token.
    pub token: String,
    /// The Standard Webhooks secrets; any of them will do. Empty: signatures are not looked at.
    pub signing_secrets: Vec<String>,
}

/// One request, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedRequest {
    /// The method.
    pub method: Method,
    /// The path and query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The status that it was answered with. `None`: the connection was cut.
    pub answered: Option<StatusCode>,
}

/// One message, however often it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// The `webhook-id` it came with. Empty: it had none, and a repeat can't be told.
    pub webhook_id: String,
    /// The path it was posted to, by which chats can be told apart.
    pub path: String,
    /// Its id.
    pub message_id: String,
    /// Who wrote it.
    pub role: String,
    /// What it says.
    pub text: String,
}

impl Messenger {
    /// Starts a messenger that keeps everything. Port 0 is any free one.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        Self::start_with(address, Some(Mutex::default())).await
    }

    /// Starts a messenger that only counts, for measurements: no ledger, no checks, no dropping of repeats. Faults and
    /// [`Messenger::subscribe`] work.
    pub async fn start_quiet(address: SocketAddr) -> io::Result<Self> {
        Self::start_with(address, None).await
    }

    async fn start_with(address: SocketAddr, ledger: Option<Mutex<Ledger>>) -> io::Result<Self> {
        let state = Arc::new(State {
            faults: Faults::default(),
            credentials: Mutex::default(),
            ledger,
            requests: AtomicU64::new(0),
            messages: watch::Sender::new(0),
            published: broadcast::Sender::new(BACKLOG),
        });
        Ok(Self { listener: Listener::start(address, Arc::clone(&state)).await?, state })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The URL for a channel. Every other path of the same address works too.
    pub fn url(&self) -> String {
        format!("http://{}/deliveries", self.address())
    }

    /// Checks token and signature from now on; what does not fit is answered with 401. The date is not checked: the
    /// sender's clock may be a simulated one.
    pub fn expect(&self, credentials: Credentials) {
        *lock(&self.state.credentials) = Some(Arc::new(credentials));
    }

    /// The faults to come.
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// Every request so far, in the order in which they were answered. Empty when quiet.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.state.ledger.as_ref().map(|ledger| lock(ledger).requests.clone()).unwrap_or_default()
    }

    /// Every message so far, repeats dropped, in the order of their arrival. Empty when quiet.
    pub fn messages(&self) -> Vec<ReceivedMessage> {
        self.state.ledger.as_ref().map(|ledger| lock(ledger).messages.clone()).unwrap_or_default()
    }

    /// How many requests came, taken or not.
    pub fn request_count(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// How many messages were taken; when quiet, repeats count.
    pub fn message_count(&self) -> u64 {
        *self.state.messages.borrow()
    }

    /// Waits until at least so many messages were taken. Put a timeout around it.
    pub async fn wait_for(&self, messages: u64) {
        let mut count = self.state.messages.subscribe();
        count.wait_for(|count| *count >= messages).await.expect("the sender lives as long as this messenger");
    }

    /// Gives the messages to come.
    pub fn subscribe(&self) -> broadcast::Receiver<ReceivedMessage> {
        self.state.published.subscribe()
    }

    /// Stops, connections and all, and comes back when the port is free again. Dropping stops too, but a moment later.
    pub async fn stop(self) {
        self.listener.stop().await;
    }
}

#[derive(Debug)]
struct State {
    faults: Faults,
    credentials: Mutex<Option<Arc<Credentials>>>,
    /// `None`: nothing is kept.
    ledger: Option<Mutex<Ledger>>,
    requests: AtomicU64,
    messages: watch::Sender<u64>,
    published: broadcast::Sender<ReceivedMessage>,
}

#[derive(Debug, Default)]
struct Ledger {
    requests: Vec<ReceivedRequest>,
    messages: Vec<ReceivedMessage>,
    seen: HashSet<String>,
}

/// What is posted to us. Further members are welcome: a receiver must not break when the sender learns something new.
#[derive(Deserialize)]
struct Body {
    message_id: String,
    role: String,
    text: String,
}

impl Handler for State {
    async fn answer(&self, request: Request<Bytes>) -> Result<Response<Answer>, Cut> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let fault = self.faults.next();
        if let Some(pause) = fault.map(Fault::pause).filter(|pause| !pause.is_zero()) {
            tokio::time::sleep(pause).await;
        }
        let (status, retry_after) = match fault {
            Some(Fault::RateLimited) => (Some(StatusCode::TOO_MANY_REQUESTS), None),
            Some(Fault::Unauthorized) => (Some(StatusCode::UNAUTHORIZED), None),
            Some(Fault::Down) => (Some(StatusCode::SERVICE_UNAVAILABLE), None),
            Some(Fault::RetryAfter(seconds)) => (Some(StatusCode::TOO_MANY_REQUESTS), Some(seconds)),
            Some(Fault::Status(status)) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                if status.is_success() {
                    self.take(&request);
                }
                (Some(status), None)
            }
            Some(Fault::CutAfterReading) => (None, None),
            Some(Fault::ApplyThenFail) => {
                self.take(&request);
                (Some(StatusCode::INTERNAL_SERVER_ERROR), None)
            }
            Some(Fault::ApplyThenCut) => {
                self.take(&request);
                (None, None)
            }
            // The others are faults of models, which a messenger has not.
            _ => (Some(self.take(&request)), None),
        };
        self.note(request, status);
        let mut response = Response::new(Answer::default());
        *response.status_mut() = status.ok_or(Cut)?;
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
        }
        Ok(response)
    }
}

impl State {
    /// Takes a delivery, as a receiver should: checks it, drops a repeat, hands it on.
    fn take(&self, request: &Request<Bytes>) -> StatusCode {
        // Quiet and nobody listening: there is nothing to read the body for.
        if self.ledger.is_none() && self.published.receiver_count() == 0 {
            self.messages.send_modify(|count| *count += 1);
            return StatusCode::OK;
        }
        if request.method() != Method::POST {
            return StatusCode::METHOD_NOT_ALLOWED;
        }
        let credentials = lock(&self.credentials).clone();
        if self.ledger.is_some() && credentials.is_some_and(|known| !known.vouch_for(request)) {
            return StatusCode::UNAUTHORIZED;
        }
        let Ok(body) = serde_json::from_slice::<Body>(request.body()) else {
            return StatusCode::UNPROCESSABLE_ENTITY;
        };
        let message = ReceivedMessage {
            webhook_id: header(request.headers(), "webhook-id").unwrap_or_default().to_owned(),
            path: request.uri().path().to_owned(),
            message_id: body.message_id,
            role: body.role,
            text: body.text,
        };
        if let Some(ledger) = &self.ledger {
            let mut ledger = lock(ledger);
            if !message.webhook_id.is_empty() && !ledger.seen.insert(message.webhook_id.clone()) {
                return StatusCode::OK;
            }
            ledger.messages.push(message.clone());
        }
        // Nobody may be listening, which is no failure.
        let _ = self.published.send(message);
        self.messages.send_modify(|count| *count += 1);
        StatusCode::OK
    }

    fn note(&self, request: Request<Bytes>, answered: Option<StatusCode>) {
        if let Some(ledger) = &self.ledger {
            let (parts, body) = request.into_parts();
            let path = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
            let request =
                ReceivedRequest { method: parts.method, path, headers: parts.headers, body, answered };
            lock(ledger).requests.push(request);
        }
    }
}

impl Credentials {
    fn vouch_for(&self, request: &Request<Bytes>) -> bool {
        let headers = request.headers();
        let token = headers.get(&self.token_header).and_then(|value| value.to_str().ok());
        let signed = || {
            let id = header(headers, "webhook-id")?;
            let seconds: i64 = header(headers, "webhook-timestamp")?.parse().ok()?;
            let given = header(headers, "webhook-signature")?;
            self.signing_secrets.iter().find_map(|secret| {
                let expected = Webhook::new(secret).ok()?.sign(id, seconds, request.body()).ok()?;
                given.split(' ').any(|signature| signature == expected).then_some(())
            })
        };
        token.and_then(|token| token.strip_prefix("Bearer ")) == Some(&self.token)
            && (self.signing_secrets.is_empty() || signed().is_some())
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const TOKEN: HeaderName = HeaderName::from_static("x-chat_auth_token");

    async fn messenger() -> Messenger {
        Messenger::start(([127, 0, 0, 1], 0).into()).await.unwrap()
    }

    /// Posts a delivery; gives the head of the answer, or nothing if the connection was cut.
    async fn post(messenger: &Messenger, id: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(messenger.address()).await.unwrap();
        let body = format!(r#"{{"message_id":"{id}","role":"ASSISTANT","text":"Hi {id}","more":1}}"#);
        let request = format!(
            "POST /deliveries?x=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\nwebhook-id: {id}\r\n{headers}\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer.to_lowercase()
    }

    #[tokio::test]
    async fn it_keeps_every_request_and_every_message_once() {
        let messenger = messenger().await;
        let mut published = messenger.subscribe();
        for id in ["a", "b", "a"] {
            assert!(post(&messenger, id, "").await.starts_with("http/1.1 200 "));
        }
        messenger.wait_for(2).await;
        let ids: Vec<_> = messenger.messages().into_iter().map(|message| message.webhook_id).collect();
        assert_eq!(ids, ["a", "b"]);
        let first = ReceivedMessage {
            webhook_id: "a".into(),
            path: "/deliveries".into(),
            message_id: "a".into(),
            role: "ASSISTANT".into(),
            text: "Hi a".into(),
        };
        assert_eq!(published.recv().await.unwrap(), first);
        let requests = messenger.requests();
        assert_eq!((requests.len(), messenger.request_count(), messenger.message_count()), (3, 3, 2));
        assert_eq!(
            (requests[2].path.as_str(), requests[2].answered),
            ("/deliveries?x=1", Some(StatusCode::OK))
        );
    }

    #[tokio::test]
    async fn it_fails_as_told_and_recovers() {
        let messenger = messenger().await;
        for (fault, begins, taken) in [
            (Fault::Down, "http/1.1 503 ", 0),
            (Fault::RetryAfter(7), "http/1.1 429 ", 0),
            (Fault::Status(404), "http/1.1 404 ", 0),
            (Fault::CutAfterReading, "", 0),
            (Fault::ApplyThenFail, "http/1.1 500 ", 1),
            (Fault::ApplyThenCut, "", 2),
            (Fault::Status(202), "http/1.1 202 ", 3),
            (Fault::HangMs(1), "http/1.1 200 ", 4),
        ] {
            messenger.faults().add(fault, Some(1));
            let answer = post(&messenger, &format!("{fault:?}"), "").await;
            assert!(
                answer.starts_with(begins) && answer.is_empty() == begins.is_empty(),
                "{fault:?}: {answer}"
            );
            assert_eq!(answer.contains("retry-after: 7"), fault == Fault::RetryAfter(7));
            assert_eq!(messenger.messages().len(), taken, "{fault:?}");
        }
        assert!(post(&messenger, "at last", "").await.starts_with("http/1.1 200 "));
        assert_eq!(messenger.requests()[3].answered, None);
    }

    #[tokio::test]
    async fn it_checks_token_and_signature_once_it_knows_them() {
        let messenger = messenger().await;
        let credentials = Credentials {
            token_header: TOKEN,
            token: "sbc_token".into(),
            signing_secrets: vec!["whsec_AAAA".into(), SECRET.into()],
        };
        messenger.expect(credentials.clone());
        let body = br#"{"message_id":"a","role":"ASSISTANT","text":"Hi a","more":1}"#;
        let signature = Webhook::new(SECRET).unwrap().sign("a", 5, body).unwrap();
        let token = "x-chat_auth_token: Bearer sbc_token\r\n";
        let signed = format!("webhook-timestamp: 5\r\nwebhook-signature: v1,AAAA {signature}\r\n");
        for headers in ["", token, &signed, &format!("x-chat_auth_token: sbc_token\r\n{signed}")] {
            assert!(post(&messenger, "a", headers).await.starts_with("http/1.1 401 "), "{headers}");
        }
        assert!(post(&messenger, "b", &format!("{token}{signed}")).await.starts_with("http/1.1 401 "));
        assert!(post(&messenger, "a", &format!("{token}{signed}")).await.starts_with("http/1.1 200 "));
        messenger.expect(Credentials { signing_secrets: Vec::new(), ..credentials });
        assert!(post(&messenger, "c", token).await.starts_with("http/1.1 200 "));
        assert_eq!(messenger.message_count(), 2);
    }

    #[tokio::test]
    async fn stopping_cuts_what_hangs_and_frees_the_port() {
        let messenger = messenger().await;
        let address = messenger.address();
        messenger.faults().add(Fault::HangMs(600_000), None);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        while messenger.request_count() == 0 {
            tokio::task::yield_now().await;
        }
        messenger.stop().await;
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
        assert!(TcpStream::connect(address).await.is_err());
        let again = Messenger::start(address).await.unwrap();
        assert!(post(&again, "a", "").await.starts_with("http/1.1 200 "));
    }

    #[tokio::test]
    async fn a_quiet_one_only_counts() {
        let messenger = Messenger::start_quiet(([127, 0, 0, 1], 0).into()).await.unwrap();
        post(&messenger, "a", "").await;
        let mut published = messenger.subscribe();
        post(&messenger, "a", "").await;
        messenger.wait_for(2).await;
        assert_eq!(published.recv().await.unwrap().text, "Hi a");
        assert!(messenger.requests().is_empty() && messenger.messages().is_empty());
    }
}
