//! amoCRM's way of letting programs in: one-time codes, access tokens of a day, refresh tokens that work once.
//! <https://www.amocrm.ru/developers/content/oauth/oauth> (read 2026-11-20)

mod webhooks;

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

pub use self::webhooks::Webhook;
use crate::{
    body::Body,
    fault::{Fault, Faults},
    listener::{Cut, Handler, Listener},
};

/// What the integration is called at the vendor.
pub const CLIENT_ID: &str = "3f0a0000-1111-4222-8333-000000000001";

/// An account that listens. Dropping it stops it.
#[derive(Debug)]
pub struct AmoCrm {
    state: Arc<State>,
    listener: Listener,
}

/// What a call of the token endpoint came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// A pair was given.
    Given,
    /// The refresh token, or the code, was spent, or is none of ours.
    Refused,
}

#[derive(Debug)]
struct State {
    client_secret: String,
    redirect_url: String,
    faults: Faults,
    tokens: Mutex<Tokens>,
    /// How long the token endpoint thinks before it gives a pair.
    thinks: Mutex<Duration>,
    renewals: watch::Sender<Vec<Renewal>>,
    webhooks: Mutex<webhooks::Webhooks>,
    /// How often the token endpoint was called, before anything came of it.
    called: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Tokens {
    made: u64,
    codes: HashSet<String>,
    access: HashSet<String>,
    /// The refresh token that works. Each new pair ends the one before it.
    refresh: Option<String>,
    /// The pair before the newest: its refresh token.
    before: Option<String>,
    /// The newest access token.
    newest: Option<String>,
    /// How long access tokens live, in seconds. `None`: a day.
    access_lives: Option<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AmoCrm {
    /// Starts an account whose integration has this secret and this redirect address. Port 0 is any free one.
    pub async fn start(address: SocketAddr, client_secret: &str, redirect_url: &str) -> io::Result<Self> {
        let state = Arc::new(State {
            client_secret: client_secret.to_owned(),
            redirect_url: redirect_url.to_owned(),
            faults: Faults::default(),
            tokens: Mutex::default(),
            thinks: Mutex::default(),
            renewals: watch::Sender::default(),
            webhooks: Mutex::default(),
            called: watch::Sender::default(),
        });
        let socket = Listener::bind(address).await?;
        Ok(Self { listener: Listener::serve(socket, Arc::clone(&state))?, state })
    }

    /// What a connection's `base_url` is set to.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// A person consents: gives the code that they bring back.
    pub fn consent(&self) -> String {
        let mut tokens = lock(&self.state.tokens);
        let code = tokens.make("code");
        tokens.codes.insert(code.clone());
        code
    }

    /// Gives access tokens so many seconds from now on; a day unless told otherwise.
    pub fn access_lives(&self, seconds: u64) {
        lock(&self.state.tokens).access_lives = Some(seconds);
    }

    /// Lets the token endpoint think before it answers. The pair is changed before that.
    pub fn think(&self, pause: Duration) {
        *lock(&self.state.thinks) = pause;
    }

    /// Ends all that was granted, as an administrator can.
    pub fn revoke(&self) {
        let mut tokens = lock(&self.state.tokens);
        tokens.access.clear();
        tokens.refresh = None;
    }

    /// Whom the account tells what happens in it.
    pub fn webhooks(&self) -> Vec<Webhook> {
        lock(&self.state.webhooks).list()
    }

    /// Stops telling, as the vendor does after too many bad answers.
    pub fn disable_webhooks(&self) {
        lock(&self.state.webhooks).disable_all();
    }

    /// Takes the newest pair back, as if it had never been given: the refresh token before it works again.
    pub fn take_back(&self) {
        let mut tokens = lock(&self.state.tokens);
        if let Some(newest) = tokens.newest.take() {
            tokens.access.remove(&newest);
        }
        tokens.refresh = tokens.before.take();
    }

    /// The faults to come, of the token endpoint and the API alike.
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// What refreshes came to so far, in their order.
    pub fn renewals(&self) -> Vec<Renewal> {
        self.state.renewals.borrow().clone()
    }

    /// How often the token endpoint was called so far, whatever came of it.
    pub fn calls(&self) -> usize {
        *self.state.called.borrow()
    }

    /// Waits until the token endpoint was called so often, before anything came of it. Put a timeout around it.
    pub async fn wait_for_calls(&self, count: usize) {
        let mut called = self.state.called.subscribe();
        let waited = called.wait_for(|called| *called >= count).await;
        waited.expect("the state lives as long as this");
    }

    /// Waits until so many refreshes came. Put a timeout around it.
    pub async fn wait_for_renewals(&self, count: usize) -> Vec<Renewal> {
        let mut renewals = self.state.renewals.subscribe();
        let renewals = renewals.wait_for(|renewals| renewals.len() >= count).await;
        renewals.expect("the state lives as long as this").clone()
    }
}

impl Tokens {
    fn make(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-{:04}-def502f8c1", self.made)
    }

    fn pair(&mut self) -> Value {
        let (access, refresh) = (self.make("access"), self.make("refresh"));
        self.access.insert(access.clone());
        self.newest = Some(access.clone());
        self.before = self.refresh.replace(refresh.clone());
        let expires_in = self.access_lives.unwrap_or(86_400);
        json!({
            "token_type": "Bearer", "expires_in": expires_in, "access_token": access, "refresh_token": refresh,
        })
    }
}

/// A request of the token endpoint.
#[derive(Deserialize)]
struct TokenRequest {
    client_id: String,
    client_secret: String,
    grant_type: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    refresh_token: String,
    redirect_uri: String,
}

fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let kind = if status.is_success() { "application/hal+json" } else { "application/problem+json" };
    let mut response = Response::new(Bytes::from(body.to_string()).into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

fn refuse(status: StatusCode, hint: &str) -> Response<Body> {
    let kind = "https://developers.amocrm.ru/v3/errors/OAuthProblemJson";
    let body = json!({
        "hint": hint, "title": "Некорректный запрос", "type": kind, "status": status.as_u16(), "detail": hint,
    });
    answer(status, &body)
}

impl State {
    async fn token(&self, body: &Bytes) -> Response<Body> {
        let Ok(request) = serde_json::from_slice::<TokenRequest>(body) else {
            return refuse(StatusCode::BAD_REQUEST, "The request is not valid");
        };
        if request.client_id != CLIENT_ID || request.client_secret != self.client_secret {
            return refuse(StatusCode::UNAUTHORIZED, "Client authentication failed");
        }
        if request.redirect_uri != self.redirect_url {
            return refuse(StatusCode::BAD_REQUEST, "Redirect URI mismatch");
        }
        let refreshes = request.grant_type == "refresh_token";
        let given = {
            let mut tokens = lock(&self.tokens);
            let good = if refreshes {
                tokens.refresh.as_ref() == Some(&request.refresh_token)
            } else {
                request.grant_type == "authorization_code" && tokens.codes.remove(&request.code)
            };
            good.then(|| tokens.pair())
        };
        if refreshes {
            let renewal = if given.is_some() { Renewal::Given } else { Renewal::Refused };
            self.renewals.send_modify(|renewals| renewals.push(renewal));
        }
        let thinks = *lock(&self.thinks);
        tokio::time::sleep(thinks).await;
        given.map_or_else(
            || refuse(StatusCode::BAD_REQUEST, "Token has been revoked"),
            |pair| answer(StatusCode::OK, &pair),
        )
    }

    fn subscriptions(&self, request: &Request<Bytes>) -> Response<Body> {
        if let Some(refusal) = self.stranger(request) {
            return refusal;
        }
        let query = request.uri().query().unwrap_or_default();
        let (status, body) = lock(&self.webhooks).answer(request.method(), query, request.body());
        if let Some(body) = body {
            return answer(status, &body);
        }
        let mut response = Response::new(Bytes::new().into());
        *response.status_mut() = status;
        response
    }

    fn stranger(&self, request: &Request<Bytes>) -> Option<Response<Body>> {
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = given.and_then(|given| given.strip_prefix("Bearer ")).unwrap_or_default();
        (!lock(&self.tokens).access.contains(token)).then(|| {
            answer(
                StatusCode::UNAUTHORIZED,
                &json!({ "title": "Unauthorized", "status": 401, "detail": "Неверный логин или пароль" }),
            )
        })
    }

    fn account(&self, request: &Request<Bytes>) -> Response<Body> {
        if let Some(refusal) = self.stranger(request) {
            return refusal;
        }
        answer(StatusCode::OK, &json!({ "id": 31_000_001, "name": "Acme", "subdomain": "acme" }))
    }
}

impl Handler for State {
    async fn answer(&self, request: Request<Bytes>) -> Result<Response<Body>, Cut> {
        if request.method() == Method::POST {
            self.called.send_modify(|called| *called += 1);
        }
        let fault = self.faults.next();
        if let Some(pause) = fault.map(Fault::pause).filter(|pause| !pause.is_zero()) {
            tokio::time::sleep(pause).await;
        }
        match fault {
            Some(Fault::Down) => return Ok(refuse(StatusCode::SERVICE_UNAVAILABLE, "down")),
            Some(Fault::Status(status)) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Ok(refuse(status, "refused"));
            }
            Some(Fault::CutAfterReading) => return Err(Cut),
            _ => {}
        }
        let response = match (request.method(), request.uri().path()) {
            (&Method::POST, "/oauth2/access_token") => self.token(request.body()).await,
            (&Method::GET, "/api/v4/account") => self.account(&request),
            (_, "/api/v4/webhooks") => self.subscriptions(&request),
            _ => refuse(StatusCode::NOT_FOUND, "no such route"),
        };
        match fault {
            Some(Fault::ApplyThenFail) => Ok(refuse(StatusCode::INTERNAL_SERVER_ERROR, "broken")),
            Some(Fault::ApplyThenCut) => Err(Cut),
            _ => Ok(response),
        }
    }
}
