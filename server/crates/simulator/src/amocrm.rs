//! amoCRM and Kommo: one account, let into by one-time codes, access tokens of a day and refresh tokens that work once, and
//! its REST API. <https://www.amocrm.ru/developers/content/oauth/oauth> (read 2026-11-20)
//!
//! What the account keeps is put there by [`AmoCrm::put`], or by `PUT /control/{kind}` with an array; `GET` shows it. A kind is
//! the path of a collection: `leads`, `leads/custom_fields`, `leads/pipelines`, `leads/tags`, `leads/notes`, the same of
//! `contacts`, and `users`, `tasks`, `sources`.

mod account;
mod chats;
mod limit;
mod rest;
mod salesbot;
mod sources;
mod webhooks;

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use self::{
    account::Account,
    chats::Chats,
    limit::{Limit, Verdict},
    webhooks::Webhooks,
};
pub use self::{
    chats::{AMOJO_ID, CHATS_BOT, CHATS_CHANNEL, CHATS_SECRET, ChatMessage},
    salesbot::SALESBOT,
    webhooks::Webhook,
};
use crate::{
    Clock,
    body::Body,
    fault::{Fault, Faults},
    listener::{Cut, Handler, Listener},
};

/// What the integration is called at the vendor.
pub const CLIENT_ID: &str = "3f0a0000-1111-4222-8333-000000000001";

/// The account's id.
pub const ACCOUNT_ID: u64 = 31_000_001;

/// The path before the subdomain where that is a part of it.
const ACCOUNTS: &str = "/accounts/";

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
    clock: Clock,
    account: Mutex<Account>,
    limit: Mutex<Limit>,
    /// How long the token endpoint thinks before it gives a pair.
    thinks: Mutex<Duration>,
    renewals: watch::Sender<Vec<Renewal>>,
    webhooks: Mutex<Webhooks>,
    chats: Mutex<Chats>,
    /// What was said in chats.
    said: watch::Sender<Vec<ChatMessage>>,
    /// When it was started, by the machine's clock and by its own, in Unix seconds.
    begun_at: i64,
    clock_began_at: i64,
    /// How often the token endpoint was called, before anything came of it.
    called: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Tokens {
    made: u64,
    codes: HashSet<String>,
    /// Until when each works.
    access: HashMap<String, i64>,
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
        let clock = Clock::default();
        let state = Arc::new(State {
            chats: Mutex::default(),
            said: watch::Sender::default(),
            begun_at: now(),
            clock_began_at: clock.unix_seconds(),
            client_secret: client_secret.to_owned(),
            redirect_url: redirect_url.to_owned(),
            faults: Faults::default(),
            tokens: Mutex::default(),
            clock,
            account: Mutex::default(),
            limit: Mutex::default(),
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

    /// Its clock, by which access tokens end.
    pub fn clock(&self) -> &Clock {
        &self.state.clock
    }

    /// Puts things into the account, each in the place of an older one with its id. Gives their ids, which those get that have
    /// none.
    pub fn put(&self, kind: &str, things: &[Value]) -> Vec<u64> {
        let mut account = lock(&self.state.account);
        things.iter().map(|thing| account.put(kind, thing.clone())).collect()
    }

    /// What the account keeps of a kind.
    pub fn all(&self, kind: &str) -> Vec<Value> {
        lock(&self.state.account).all(kind)
    }

    /// Takes a thing out of the account.
    pub fn remove(&self, kind: &str, id: u64) {
        lock(&self.state.account).remove(kind, id);
    }

    /// Somebody merges one lead into another: its contacts and notes go over, and it is gone.
    pub fn merge_leads(&self, gone: u64, into: u64) {
        lock(&self.state.account).merge_leads(gone, into);
    }

    /// Whether who consented is an administrator.
    pub fn set_admin(&self, admin: bool) {
        lock(&self.state.account).admin = admin;
    }

    /// Whether the account is paid for.
    pub fn set_paid(&self, paid: bool) {
        lock(&self.state.account).paid = paid;
    }

    /// Whether "multiple sources" is switched on in the integration.
    pub fn set_multiple_sources(&self, on: bool) {
        lock(&self.state.account).multiple_sources = on;
    }

    /// What a connection's `base_url` is set to where the account may move: the subdomain is a part of the path.
    pub fn movable_base_url(&self) -> String {
        format!("{}{ACCOUNTS}{{subdomain}}", self.base_url())
    }

    /// Moves the account to another subdomain: nothing is at the old one any more.
    pub fn move_to(&self, subdomain: &str) {
        subdomain.clone_into(&mut lock(&self.state.account).subdomain);
    }

    /// Whether our calls are answered with 403, whatever they are.
    pub fn set_blocked(&self, blocked: bool) {
        lock(&self.state.limit).set_blocked(blocked);
    }

    /// How many calls of the REST API came so far, refused ones too.
    pub fn rest_calls(&self) -> usize {
        lock(&self.state.limit).total()
    }

    /// The most of them that came within any second.
    pub fn busiest_second(&self) -> usize {
        lock(&self.state.limit).busiest_second()
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

#[expect(clippy::disallowed_methods, reason = "who calls its chats writes the date by its own clock")]
fn now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

impl Tokens {
    fn make(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-{:04}-def502f8c1", self.made)
    }

    fn pair(&mut self, now: i64) -> Value {
        let (access, refresh) = (self.make("access"), self.make("refresh"));
        self.newest = Some(access.clone());
        self.before = self.refresh.replace(refresh.clone());
        let expires_in = self.access_lives.unwrap_or(86_400);
        self.access.insert(access.clone(), now.saturating_add_unsigned(expires_in));
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
            good.then(|| tokens.pair(self.clock.unix_seconds()))
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

    /// Tells where the account is now, to who holds one of its tokens.
    /// <https://github.com/amocrm/amocrm-oauth-client> (read 2026-11-20)
    fn whereabouts(&self, request: &Request<Bytes>, current: bool) -> Response<Body> {
        let given = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let good = {
            let tokens = lock(&self.tokens);
            if current {
                let token = given("x-refresh-token").map(str::to_owned);
                token.is_some() && (token == tokens.refresh || token == tokens.before)
            } else {
                let token = given("authorization").and_then(|value| value.strip_prefix("Bearer "));
                token.is_some_and(|token| tokens.access.contains_key(token))
            }
        };
        if !good {
            return refuse(StatusCode::UNAUTHORIZED, "Token has been revoked");
        }
        let subdomain = lock(&self.account).subdomain.clone();
        let domain = format!("{subdomain}.amocrm.ru");
        let body =
            json!({ "id": ACCOUNT_ID, "subdomain": subdomain, "domain": domain, "top_level_domain": "ru" });
        answer(StatusCode::OK, &body)
    }

    /// Answers a call of the REST API: first come the number of calls and the token.
    fn api(&self, request: &Request<Bytes>, path: &str) -> Response<Body> {
        match lock(&self.limit).call(Instant::now()) {
            Verdict::Taken => {}
            // What stands before the API answers, not in its words.
            Verdict::TooMany => {
                return plain(StatusCode::TOO_MANY_REQUESTS, "<html><h1>429 Too Many Requests</h1></html>");
            }
            Verdict::Blocked => return plain(StatusCode::FORBIDDEN, "<html><h1>403 Forbidden</h1></html>"),
        }
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = given.and_then(|given| given.strip_prefix("Bearer ")).unwrap_or_default();
        let now = self.clock.unix_seconds();
        if lock(&self.tokens).access.get(token).is_none_or(|until| *until <= now) {
            return rest::problem(StatusCode::UNAUTHORIZED, "Неверный логин или пароль");
        }
        let host =
            request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let mut response = self.rest(request, path, &format!("http://{host}"));
        response.headers_mut().insert("x-request-id", header::HeaderValue::from_static("0f3a-request"));
        response
    }

    /// A person who opens this page has consented, and is sent back with a code.
    fn consent_page(&self, request: &Request<Bytes>) -> Response<Body> {
        let query = request.uri().query().unwrap_or_default();
        let state = query.split('&').find_map(|pair| pair.strip_prefix("state=")).unwrap_or_default();
        let code = {
            let mut tokens = lock(&self.tokens);
            let code = tokens.make("code");
            tokens.codes.insert(code.clone());
            code
        };
        let back = format!("{}?code={code}&referer=acme.amocrm.ru&state={state}", self.redirect_url);
        let mut response = plain(StatusCode::FOUND, "consented");
        if let Ok(back) = header::HeaderValue::from_str(&back) {
            response.headers_mut().insert(header::LOCATION, back);
        }
        response
    }

    /// Shows what the account keeps of a kind, puts there what is sent, or takes everything out.
    fn control(&self, request: &Request<Bytes>, kind: &str) -> Response<Body> {
        let mut account = lock(&self.account);
        match (request.method(), serde_json::from_slice(request.body())) {
            (&Method::GET, _) => answer(StatusCode::OK, &json!(account.all(kind))),
            (&Method::DELETE, _) => {
                account.clear(kind);
                answer(StatusCode::OK, &json!({}))
            }
            (&Method::PUT, Ok(Value::Array(things))) => {
                let ids: Vec<_> = things.into_iter().map(|thing| account.put(kind, thing)).collect();
                answer(StatusCode::OK, &json!({ "ids": ids }))
            }
            _ => rest::problem(StatusCode::BAD_REQUEST, "GET, DELETE, or PUT with an array"),
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()).into());
    *response.status_mut() = status;
    response
}

impl Handler for State {
    async fn answer(&self, request: Request<Bytes>) -> Result<Response<Body>, Cut> {
        let mut path = request.uri().path().to_owned();
        if let Some(what) = path.strip_prefix("/control/chats/") {
            return Ok(self.control_chats(&request, what).await);
        }
        if path == "/oauth" {
            return Ok(self.consent_page(&request));
        }
        let mut elsewhere = false;
        if let Some((subdomain, rest)) = path.strip_prefix(ACCOUNTS).and_then(|rest| rest.split_once('/')) {
            elsewhere = subdomain != lock(&self.account).subdomain;
            path = format!("/{rest}");
        }
        if let Some(kind) = path.strip_prefix("/control/") {
            return Ok(self.control(&request, kind));
        }
        if path == "/oauth2/access_token" {
            self.called.send_modify(|called| *called += 1);
        }
        let fault = self.faults.next();
        if let Some(pause) = fault.map(Fault::pause).filter(|pause| !pause.is_zero()) {
            tokio::time::sleep(pause).await;
        }
        match fault {
            Some(Fault::Down) => return Ok(refuse(StatusCode::SERVICE_UNAVAILABLE, "down")),
            Some(Fault::CutAfterReading) => return Err(Cut),
            Some(Fault::Status(status)) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Ok(rest::problem(status, "as a test wants it"));
            }
            Some(Fault::RateLimited) => return Ok(plain(StatusCode::TOO_MANY_REQUESTS, "slow down")),
            _ => {}
        }
        let response = match (request.method(), path.as_str(), path.strip_prefix("/api/v4/")) {
            _ if elsewhere => plain(StatusCode::NOT_FOUND, "<html><h1>404 Not Found</h1></html>"),
            (&Method::GET, "/oauth2/account/current/subdomain", _) => self.whereabouts(&request, true),
            (&Method::GET, "/oauth2/account/subdomain", _) => self.whereabouts(&request, false),
            (&Method::POST, "/oauth2/access_token", _) => self.token(request.body()).await,
            (_, path, _) if path.starts_with("/v2/origin/custom/") => {
                self.chats(&request, path.trim_start_matches("/v2/origin/custom/"))
            }
            (_, _, Some(path)) => self.api(&request, path),
            _ => refuse(StatusCode::NOT_FOUND, "no such route"),
        };
        match fault {
            Some(Fault::ApplyThenFail) => Ok(refuse(StatusCode::INTERNAL_SERVER_ERROR, "broken")),
            Some(Fault::ApplyThenCut) => Err(Cut),
            _ => Ok(response),
        }
    }
}
