//! What an operator sets and sees: encryption, compression, limits, load, stops, and the commands beside `serve`.

use std::{
    process::{Command, Output},
    time::Duration,
};

use futures::future::join_all;
use http::HeaderMap;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor as _;
use switchboard_sdk::v1;
use tonic::{
    codec::CompressionEncoding,
    transport::{Certificate, Channel, ClientTlsConfig},
};

use crate::harness::{Dir, Grpc, KEYRING, Receiver, World, reason, until};

#[tokio::test]
async fn the_internal_listener_speaks_tls_when_it_is_set() {
    let dir = Dir::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let world = World::with(&[
        ("SWITCHBOARD_GRPC_TLS_CERT", certificate.to_str().unwrap()),
        ("SWITCHBOARD_GRPC_TLS_KEY", key.to_str().unwrap()),
    ])
    .await;

    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(made.cert.pem()))
        .domain_name("localhost");
    let endpoint = Channel::from_shared(format!("https://{}", world.grpc_addr())).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
    let grpc = Grpc::over(channel, &world.key);
    assert!(grpc.agents().list_agents(v1::ListAgentsRequest::default()).await.is_ok());

    let plain = Channel::from_shared(format!("http://{}", world.grpc_addr())).unwrap().connect_lazy();
    let refused = Grpc::over(plain, &world.key).agents().list_agents(v1::ListAgentsRequest::default()).await;
    assert!(refused.is_err(), "a call without encryption must not be served");
    world.stop().await;
}

#[tokio::test]
async fn calls_are_compressed_when_the_client_can() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let mut agents =
        grpc.agents().send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip);
    let agent = v1::Agent {
        display_name: "Wordy".to_owned(),
        instructions: "be brief ".repeat(2_000),
        engine: Some(v1::Engine { vendor: "mock".to_owned(), ..v1::Engine::default() }),
        ..v1::Agent::default()
    };
    let request = v1::CreateAgentRequest { agent: Some(agent), ..v1::CreateAgentRequest::default() };
    agents.create_agent(request).await.unwrap();
    let listed = agents.list_agents(v1::ListAgentsRequest::default()).await.unwrap();
    assert_eq!(listed.metadata().get("grpc-encoding").unwrap(), "gzip");
    assert_eq!(listed.into_inner().agents[0].instructions.len(), 18_000);

    let plain = grpc.agents().list_agents(v1::ListAgentsRequest::default()).await.unwrap();
    assert!(plain.metadata().get("grpc-encoding").is_none());
    world.stop().await;
}

#[tokio::test]
async fn what_waits_too_long_or_too_much_is_told_to_come_back() {
    let world = World::with(&[("SWITCHBOARD_INBOX_CAPACITY", "2")]).await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    // Known to the cache of routes, so that only the write meets the lock.
    assert_eq!(world.new_message(&route, &route.message(Some("first"), "hello")).await.status, 200);
    receiver.wait_for(1).await;

    let mut owner = world.owner().await;
    owner.execute("begin; lock table message_keys in access exclusive mode").await.unwrap();
    let bodies: Vec<_> = (0..20).map(|n| route.message(Some(&format!("m{n}")), "hello")).collect();
    let answers = join_all(bodies.iter().map(|body| world.new_message(&route, body))).await;
    owner.execute("rollback").await.unwrap();

    let (mut overloaded, mut unavailable) = (0, 0);
    for answer in &answers {
        let body = answer.json();
        let reason = body["reason"].as_str().unwrap();
        answer.problem(503, reason);
        assert_eq!(answer.headers["retry-after"], "1", "{}", answer.text);
        match reason {
            "OVERLOADED" => overloaded += 1,
            "UNAVAILABLE" => unavailable += 1,
            other => panic!("{other}: {body}"),
        }
    }
    assert!(overloaded > 0 && unavailable > 0, "{overloaded} overloaded, {unavailable} unavailable");
    assert_eq!(world.said(&route).await.iter().filter(|said| said.starts_with("USER")).count(), 1);

    // Coming back works, and each is answered once.
    for body in &bodies {
        let answer = world.new_message(&route, body).await;
        assert_eq!((answer.status, answer.outcome()), (200, "RECORDED"), "{}", answer.text);
    }
    let said = || async {
        Some(world.said(&route).await)
            .filter(|said| said.last().is_some_and(|last| last.starts_with("ASSISTANT")))
    };
    let said = until(said).await;
    assert_eq!(said.iter().filter(|said| said.starts_with("USER")).count(), 21);
    world.stop().await;
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_says_so() {
    let world = World::new().await;
    let mut owner = world.owner().await;
    // The key is known from here on, and only the read of agents waits.
    world.grpc().await.agents().list_agents(v1::ListAgentsRequest::default()).await.unwrap();
    owner.execute("begin; lock table agents in access exclusive mode").await.unwrap();

    // gRPC-web: a client of our own would give up by its own clock.
    let answer = world
        .http
        .post(format!("http://{}/switchboard.v1.AgentsService/ListAgents", world.grpc_addr()))
        .header("authorization", format!("Bearer {}", world.key))
        .header("content-type", "application/grpc-web+proto")
        .header("grpc-timeout", "300m")
        .body(vec![0; 5])
        .send()
        .await
        .unwrap();
    owner.execute("rollback").await.unwrap();
    let status = tonic::Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    assert_eq!(reason(&status).0, "DEADLINE_EXCEEDED");
    world.stop().await;
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_an_internal_error_without_details() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let mut owner = world.owner().await;
    owner.execute("update channels set vendor = 'carrier_pigeon', token_sealed = ''").await.unwrap();
    owner.execute("update agents set engine = '[]'").await.unwrap();

    let request = v1::GetAgentRequest { id: route.agent_id.clone() };
    let status = world.grpc().await.agents().get_agent(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Internal);
    assert_eq!(reason(&status), ("INTERNAL".to_owned(), Vec::new()));
    assert_eq!(status.message(), "an internal error");
    world.stop().await;
}

#[tokio::test]
async fn a_stop_finishes_the_work_in_hand() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({ "delay_ms": 700 })).await;
    assert_eq!(world.new_message(&route, &route.message(Some("m1"), "hello")).await.status, 200);
    // The engine is at work when the stop comes.
    let mut owner = world.owner().await;
    until(|| async {
        let mut owner = world.owner().await;
        let running: i64 = sqlx::query_scalar("select count(*) from runs where state = 'STARTED'")
            .fetch_one(&mut owner)
            .await
            .unwrap();
        (running == 1).then_some(())
    })
    .await;
    world.stop().await;
    assert_eq!(receiver.received().len(), 1, "the reply was delivered before the server was gone");
    let states: (String, String) =
        sqlx::query_as("select (select state from turns), (select state from deliveries)")
            .fetch_one(&mut owner)
            .await
            .unwrap();
    assert_eq!(states, ("REPLIED".to_owned(), "DELIVERED".to_owned()));
}

async fn preflight(world: &World, origin: &str) -> HeaderMap {
    let url = format!("http://{}/switchboard.v1.AgentsService/ListAgents", world.grpc_addr());
    let request = world
        .http
        .request(Method::OPTIONS, url)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-grpc-web");
    request.send().await.unwrap().headers().clone()
}

#[tokio::test]
async fn browsers_may_call_from_the_origins_that_are_set() {
    let world = World::new().await;
    let allowed = preflight(&world, "http://localhost:3000").await;
    assert_eq!(allowed["access-control-allow-origin"], "http://localhost:3000");
    assert!(allowed["access-control-allow-headers"].to_str().unwrap().contains("x-grpc-web"));
    assert!(preflight(&world, "https://evil.example").await.get("access-control-allow-origin").is_none());
    world.stop().await;

    let world = World::with(&[("SWITCHBOARD_CORS_ORIGINS", "https://app.example")]).await;
    let allowed = preflight(&world, "https://app.example").await;
    assert_eq!(allowed["access-control-allow-origin"], "https://app.example");
    assert!(preflight(&world, "http://localhost:3000").await.get("access-control-allow-origin").is_none());
    world.stop().await;
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_a_given_one_is_kept() {
    let world = World::new().await;
    let ask = async |headers: &[(&str, &str)]| world.call(Method::GET, "/healthz", headers, None).await;
    assert!(!ask(&[]).await.headers["x-request-id"].is_empty());
    assert_eq!(ask(&[("x-request-id", "mine-1")]).await.headers["x-request-id"], "mine-1");

    let grpc = world.grpc().await;
    let mut request = tonic::Request::new(v1::ListAgentsRequest::default());
    request.metadata_mut().insert("x-request-id", "mine-2".parse().unwrap());
    let answer = grpc.agents().list_agents(request).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "mine-2");
    let answer = grpc.agents().list_agents(v1::ListAgentsRequest::default()).await.unwrap();
    assert!(!answer.metadata().get("x-request-id").unwrap().is_empty());
    world.stop().await;
}

/// Runs the real binary with a database of the operator's.
async fn switchboard(url: &str, keyring: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    let data = Dir::new();
    command
        .args(arguments)
        .env("DATABASE_URL", url)
        .env("SWITCHBOARD_DATA_DIR", data.path())
        .env("SWITCHBOARD_HTTP_ADDR", "127.0.0.1:0")
        .env("SWITCHBOARD_GRPC_ADDR", "127.0.0.1:0")
        .env_remove("SWITCHBOARD_KEYRING")
        .env_remove("SWITCHBOARD_KEYRING_FILE");
    if let Some(ring) = keyring {
        command.env("SWITCHBOARD_KEYRING", ring);
    }
    let ended = tokio::task::spawn_blocking(move || command.output());
    tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn a_database_of_the_operators_needs_a_key_ring() {
    let world = World::new().await;
    let output = switchboard(&world.database_url(), None, &["serve"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("SWITCHBOARD_KEYRING or SWITCHBOARD_KEYRING_FILE is required with DATABASE_URL"),
        "{said}"
    );
    assert!(said.contains("head -c 32 /dev/urandom | base64"), "the remedy is named: {said}");

    // A file holds one, too, a key a line; one that is not there or holds something else is named without its content.
    let dir = Dir::new();
    let path = dir.path().join("ring");
    let keys = async |text: &str| {
        std::fs::write(&path, text).unwrap();
        let (url, path) = (world.database_url(), path.clone());
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command
            .args(["keys", "create"])
            .env("DATABASE_URL", url)
            .env("SWITCHBOARD_KEYRING_FILE", path)
            .env("SWITCHBOARD_DATA_DIR", dir.path());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let newer = KEYRING.replace("k1:", "k2:");
    let (good, said) = keys(&format!("{newer}\n{KEYRING}\n")).await;
    assert!(good, "{said}");
    let (good, said) = keys("k1:c2VjcmV0LXdvcmQ=").await;
    assert!(!good && said.contains("the key k1 has not 32 bytes") && !said.contains("c2VjcmV0"), "{said}");
    let (good, said) = keys(&format!("{KEYRING}\n{KEYRING}")).await;
    assert!(!good && said.contains("the key k1 is there twice"), "{said}");
    world.stop().await;
}

/// Of indexes that seem equally good, as all do on a young table, the planner takes the one made last; the gathered
/// statements of a new database would read a whole workspace for each row.
#[tokio::test]
async fn the_keys_that_rows_are_found_by_are_made_last() {
    let world = World::new().await;
    let late: Vec<String> = sqlx::query_scalar(
        "select i.indexrelid::regclass::text from pg_index i
         join pg_index k on k.indrelid = i.indrelid and k.indisprimary and k.indexrelid < i.indexrelid
         where i.indpred is null and i.indkey[0] = k.indkey[0] and i.indrelid in ('dialogues'::regclass, 'messages'::regclass, 'turns'::regclass,
             'deliveries'::regclass, 'jobs'::regclass)",
    )
    .fetch_all(&mut world.owner().await)
    .await
    .unwrap();
    assert!(late.is_empty(), "{late:?} came after the keys; make these last again");
    world.stop().await;
}

/// What a turn costs must not grow with what the workspace has, from the first turn on: nobody has statistics then.
#[tokio::test]
async fn turns_on_a_young_database_read_only_their_own_rows() {
    const CHATS: usize = 300;
    // Of one kind of row a turn reads a few.
    const MOST_PER_SEARCH: i64 = 10;
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let bodies: Vec<Value> = (0..CHATS)
        .map(|chat| {
            let mut body = route.message(Some("1"), "Hello");
            body["chat_id"] = json!(format!("{}/{chat}", route.channel_id));
            body
        })
        .collect();
    for answer in join_all(bodies.iter().map(|body| world.new_message(&route, body))).await {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    receiver.wait_for(CHATS).await;
    // Connections tell what they did when they come to rest.
    let read: Vec<(String, i64, i64)> = until(|| async {
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(
            "select indexrelname::text, idx_scan, idx_tup_read from pg_stat_user_indexes
             where relname ~ '^(dialogues|messages|turns|runs|deliveries|attempts|jobs)' and idx_scan > 0",
        )
        .fetch_all(&mut world.owner().await)
        .await
        .unwrap();
        let searches =
            |name: &str| rows.iter().filter(|row| row.0.starts_with(name)).map(|row| row.1).sum::<i64>();
        let all = i64::try_from(CHATS).unwrap();
        (searches("deliveries") >= 2 * all && searches("turns") >= all && searches("runs") >= all)
            .then_some(rows)
    })
    .await;
    for (index, searches, read) in read {
        assert!(read <= searches * MOST_PER_SEARCH, "{index}: {read} entries in {searches} searches");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_database_is_migrated_once_however_many_try() {
    let world = World::new().await;
    let mut owner = world.owner().await;
    let fresh =
        format!("{}_fresh", world.database_url().rsplit_once('/').unwrap().1.split('?').next().unwrap());
    owner.execute(sqlx::AssertSqlSafe(format!("create database {fresh}"))).await.unwrap();
    let (base, query) =
        world.database_url().split_once('?').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let url = format!("{}/{fresh}?{query}", base.rsplit_once('/').unwrap().0);
    let outputs = join_all((0..3).map(|_| switchboard(&url, None, &["migrate"]))).await;
    for output in outputs {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let again = switchboard(&url, None, &["migrate"]).await;
    assert!(again.status.success());
    let listed = switchboard(&url, Some(KEYRING), &["keys", "create", "--name", "laptop"]).await;
    assert!(String::from_utf8_lossy(&listed.stdout).contains("sbo_"), "{listed:?}");
    world.stop().await;
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked_without_a_server() {
    let world = World::new().await;
    let url = world.database_url();
    let workspaces = world.grpc_as(&world.operator).await.workspaces();
    let listed =
        workspaces.clone().list_workspaces(v1::ListWorkspacesRequest::default()).await.unwrap().into_inner();
    let workspace = listed.workspaces[0].id.clone();
    let keys = async |arguments: &[&str]| {
        let output = switchboard(&url, Some(KEYRING), arguments).await;
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };

    let scope = ["keys", "create", "--workspace", &workspace, "--name", "reader", "--scope", "agents:read"];
    let (made, stdout, stderr) = keys(&scope).await;
    assert!(made, "{stderr}");
    let key = stdout.split_whitespace().find(|word| word.starts_with("sbk_")).unwrap().to_owned();
    let reader = world.grpc_as(&key).await;
    assert!(reader.agents().list_agents(v1::ListAgentsRequest::default()).await.is_ok());
    let refused = reader.channels().list_channels(v1::ListChannelsRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused).0, "SCOPE_MISSING");

    let (_, table, _) = keys(&["keys", "list", "--workspace", &workspace]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["ID", "KEY", "STATE", "NAME", "SCOPES"]);
    let line = lines.iter().find(|line| line.contains("reader")).unwrap();
    let cells: Vec<&str> = line.split_whitespace().collect();
    let (id, suffix) = (cells[0], &key[key.len() - 4..]);
    assert_eq!(cells[1..], [&format!("…{suffix}"), "active", "reader", "agents:read"]);

    let listed = async || {
        let (good, lines, stderr) =
            keys(&["keys", "list", "--workspace", &workspace, "--output", "json"]).await;
        assert!(good, "{stderr}");
        let keys = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let keys: Vec<_> = keys.collect();
        assert_eq!(keys.len(), 2, "the first start's, and this: {lines}");
        keys.into_iter().find(|key| key["displayName"] == "reader").unwrap()
    };
    let read = listed().await;
    assert_eq!(
        (&read["id"], &read["suffix"], &read["state"]),
        (&json!(id), &json!(suffix), &json!("active"))
    );
    assert_eq!((&read["scopes"], &read["expireTime"]), (&json!(["agents:read"]), &json!(null)));
    let (revoked, line, stderr) =
        keys(&["keys", "revoke", "--workspace", &workspace, id, "--output", "json"]).await;
    assert!(revoked, "{stderr}");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["id"], &line["state"]), (&json!(id), &json!("revoked")));
    assert_eq!(listed().await, line);
    // The running server learns of it by notification.
    until(|| async {
        let called = reader.agents().list_agents(v1::ListAgentsRequest::default()).await;
        called.is_err().then_some(())
    })
    .await;

    let (made, line, stderr) = keys(&["--output", "json", "keys", "create"]).await;
    assert!(made, "{stderr}");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(line["secret"].as_str().unwrap().starts_with("sbo_"), "without a workspace, an operator's");

    let (made, _, stderr) =
        keys(&["keys", "create", "--workspace", &workspace, "--scope", "agents:everything"]).await;
    assert!(!made && stderr.contains("api_key.scopes: each is <service>:<read|write|admin>"), "{stderr}");
    world.stop().await;
}

#[tokio::test]
async fn cut_connections_lose_nothing_and_repeat_nothing() {
    const MESSAGES: usize = 300;
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let send = async |number: usize| {
        let mut body = route.message(Some(&format!("m{number}")), "hello");
        body["chat_id"] = json!(format!("{}/{}", route.channel_id, number % 40));
        // What can't be recorded now is told so, and comes again, as a CRM's webhook does.
        loop {
            let answer = world.new_message(&route, &body).await;
            if answer.status == 200 {
                return;
            }
            answer.problem(503, "UNAVAILABLE");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    let mut owner = world.owner().await;
    let cut = async {
        let mut cut = 0_i64;
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            cut += sqlx::query_scalar::<_, i64>(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid()",
            )
            .fetch_one(&mut owner)
            .await
            .unwrap();
        }
        cut
    };
    let sent = async {
        for from in (0..MESSAGES).step_by(30) {
            join_all((from..from + 30).map(send)).await;
        }
    };
    let (cut, ()) = tokio::join!(cut, sent);
    assert!(cut > 20, "{cut} connections were cut");

    let (messages, turns) = until(|| async {
        let open: i64 = sqlx::query_scalar(
            "select (select count(*) from turns where state <> 'REPLIED')
                 + (select count(*) from deliveries where state <> 'DELIVERED') + (select count(*) from jobs)",
        )
        .fetch_one(&mut world.owner().await)
        .await
        .unwrap();
        if open > 0 {
            return None;
        }
        let counts: (i64, i64) = sqlx::query_as(
            "select (select count(*) from messages m join turns t on t.id = m.turn_id where m.role = 'USER'),
                 (select count(*) from turns)",
        )
        .fetch_one(&mut world.owner().await)
        .await
        .unwrap();
        Some(counts)
    })
    .await;
    assert_eq!(messages, i64::try_from(MESSAGES).unwrap(), "each message is there once, and in a turn");
    // A delivery in doubt is sent again under its own id, by which the receiver drops it.
    let ids: std::collections::HashSet<String> = receiver
        .received()
        .iter()
        .map(|call| call.headers["webhook-id"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(i64::try_from(ids.len()).unwrap(), turns, "one reply per turn");
    world.stop().await;
}
