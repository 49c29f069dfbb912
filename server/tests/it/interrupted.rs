//! A tool's effect that is cut short between the endpoint's answer and our commit.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, routing::post};
use http::HeaderMap;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use switchboard_sdk::v1;
use tokio::sync::Notify;

use crate::{
    harness::{Dir, KEYRING, Receiver, World, until},
    restart::{Process, values},
};

/// An endpoint that books a table once for each key, and remembers all calls.
#[derive(Clone, Default)]
struct Bookings {
    keys: Arc<Mutex<Vec<String>>>,
    /// Fires when a call is there; its answer waits for `go_on`.
    came: Arc<Notify>,
    go_on: Arc<Notify>,
    answered: Arc<Notify>,
}

impl Bookings {
    async fn start(&self) -> String {
        let app = Router::new().route("/", post(book)).with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        url
    }

    fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }
}

async fn book(State(bookings): State<Bookings>, headers: HeaderMap) -> Json<Value> {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let known = bookings.keys().contains(&key);
    bookings.keys.lock().unwrap().push(key);
    bookings.came.notify_one();
    bookings.go_on.notified().await;
    bookings.answered.notify_one();
    Json(json!({ "table": 7, "booked_before": known }))
}

async fn count(owner: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(owner).await.unwrap()
}

#[tokio::test]
async fn an_effect_cut_short_before_its_commit_is_done_once() {
    let mut world = World::new().await;
    let receiver = Receiver::start().await;
    let bookings = Bookings::default();
    let route = world.route(&receiver, json!({})).await;
    let tool = v1::HttpTool {
        name: "book".to_owned(),
        description: "Books a table.".to_owned(),
        url: bookings.start().await,
        ..v1::HttpTool::default()
    };
    let toolbox = Some(v1::Toolbox { tools: Vec::new(), http: vec![tool] });
    let agent = v1::Agent { id: route.agent_id.clone(), toolbox, ..v1::Agent::default() };
    world.update_agent(agent, "toolbox").await.unwrap();
    // The dialogue is there before, so that its row can be held.
    world.new_message(&route, &route.message(Some("m0"), "hello")).await;
    receiver.wait_for(1).await;
    world.server.take().unwrap().stop().await.unwrap();

    let dirs = [Dir::new(), Dir::new()];
    let database = world.database_url();
    let environment =
        [("DATABASE_URL", &*database), ("SWITCHBOARD_KEYRING", KEYRING), ("SWITCHBOARD_LEASE_SECONDS", "1")];
    let start = |dir: &Dir| Process::start_with(dir.path(), &environment, Stdio::null());
    let first = start(&dirs[0]);
    let http = values(&dirs[0].path().join("listeners"), &["http"]).await.remove(0);
    let sent = world
        .http
        .post(format!("http://{http}/api/webhook/new_message"))
        .header("x-chatbot_auth_token", format!("Bearer {}", route.agent_token))
        .header("content-type", "application/json")
        .body(route.message(Some("m1"), "/call book {}").to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 200);

    // The endpoint has done it and answers, while what follows from the answer can't be written.
    bookings.came.notified().await;
    let mut holder = world.owner().await;
    let mut held = holder.begin().await.unwrap();
    sqlx::query("select 1 from dialogues for update").execute(&mut *held).await.unwrap();
    bookings.go_on.notify_one();
    bookings.answered.notified().await;
    let mut owner = world.owner().await;
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
        and query ilike '%update dialogues set version%'";
    until(async || {
        let mut owner = world.owner().await;
        (count(&mut owner, waits).await > 0).then_some(())
    })
    .await;
    first.kill();
    held.rollback().await.unwrap();
    let results = "select count(*) from run_steps where results is not null and answer #>> '{tool_calls,0,name}' = 'book'";
    assert_eq!(count(&mut owner, results).await, 0, "the step was committed, and what its tool gave was not");

    let second = start(&dirs[1]);
    bookings.came.notified().await;
    bookings.go_on.notify_one();
    let answer = receiver.wait_for(2).await[1].json()["text"].as_str().unwrap().to_owned();
    assert!(answer.contains("booked_before"), "{answer}");
    let keys = bookings.keys();
    assert_eq!(keys.len(), 2, "it was called again");
    assert_eq!(keys[0], keys[1], "under the key that tells a repeat");
    until(async || {
        let mut owner = world.owner().await;
        (count(&mut owner, "select count(*) from turns where state = 'REPLIED'").await == 2).then_some(())
    })
    .await;
    assert_eq!(count(&mut owner, results).await, 1);
    let states: Vec<String> = sqlx::query_scalar(
        "select r.state from runs r join turns t on t.workspace_id = r.workspace_id and t.id = r.turn_id
         order by t.created_at, r.number",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(states, ["ANSWERED", "LOST", "ANSWERED"]);
    assert_eq!(receiver.received().len(), 2, "one reply");
    second.stop();
}
