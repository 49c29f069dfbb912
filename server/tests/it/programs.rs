//! The programs that people use: the command line over gRPC, and `curl` over REST.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Receiver, World, until};

/// Runs a program to its end: whether it succeeded, and what it printed and complained of.
async fn run(mut command: Command) -> (bool, String, String) {
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command
        .args(arguments)
        .env("SWITCHBOARD_ENDPOINT", format!("http://{}", world.grpc_addr()))
        .env("SWITCHBOARD_API_KEY", &world.key);
    command
}

/// Runs a client command for programs: one JSON document a line.
async fn json_of(world: &World, arguments: &[&str]) -> Vec<Value> {
    let (good, stdout, stderr) = run(command(world, &[arguments, &["--output", "json"]].concat())).await;
    assert!(good, "{arguments:?}: {stderr}");
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect()
}

/// The value of the first member of this name, however deep.
fn find(value: &Value, name: &str) -> Option<String> {
    match value {
        Value::Object(members) => members
            .get(name)
            .and_then(Value::as_str)
            .map(ToOwned::to_owned)
            .or_else(|| members.values().find_map(|value| find(value, name))),
        Value::Array(items) => items.iter().find_map(|value| find(value, name)),
        _ => None,
    }
}

#[tokio::test]
async fn the_command_line_leads_from_an_agent_to_its_answer() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let made = json_of(&world, &["agents", "create", "--name", "Ada"]).await;
    let agent = find(&made[0], "id").unwrap();
    let url = receiver.url();
    let made =
        json_of(&world, &["channels", "create", "--name", "Web", "--agent", &agent, "--url", &url]).await;
    let channel = find(&made[0], "id").unwrap();
    json_of(&world, &["send", "--channel", &channel, "Do you deliver?"]).await;
    receiver.wait_for(1).await;

    let listed = json_of(&world, &["dialogues", "list"]).await;
    let dialogue = find(&listed[0], "id").unwrap();
    let shown = json_of(&world, &["dialogues", "show", &dialogue]).await;
    assert!(Value::from(shown).to_string().contains("Do you deliver?"));
    let (good, table, stderr) = run(command(&world, &["agents", "list"])).await;
    assert!(good && table.contains("Ada") && table.contains(&agent), "{table}{stderr}");

    let unknown = ["dialogues", "show", "0198c0de-0000-7000-8000-000000000004"];
    let (good, _, stderr) = run(command(&world, &unknown)).await;
    assert!(!good && stderr.contains("DIALOGUE_NOT_FOUND"), "{stderr}");
    world.stop().await;
}

#[tokio::test]
async fn the_command_line_makes_an_endpoint_and_shows_its_dispatches() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let url = receiver.url();
    let arguments = ["endpoints", "create", "--name", "CRM", "--url", &url, "--type", "endpoint.created"];
    let made = json_of(&world, &arguments).await.remove(0);
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"), "{made}");
    let id = made["id"].as_str().unwrap();
    receiver.wait_for(1).await;
    let dispatched = until(|| async {
        let listed = json_of(&world, &["dispatches", "list", id]).await;
        listed.into_iter().next().filter(|dispatch| dispatch["state"] == "DELIVERED")
    })
    .await;
    assert_eq!(dispatched["eventType"], "endpoint.created");
    receiver.answer_with(410);
    let tested = json_of(&world, &["endpoints", "test", id]).await.remove(0);
    assert_eq!((tested["state"].as_str(), tested["httpStatus"].as_i64()), (Some("FAILED"), Some(410)));
    let (good, table, stderr) = run(command(&world, &["endpoints", "list"])).await;
    assert!(good && table.contains("CRM") && table.contains("true"), "{table}{stderr}");
    let (good, _, stderr) = run(command(&world, &["endpoints", "delete", id])).await;
    assert!(good, "{stderr}");
    let (good, _, stderr) = run(command(&world, &["dispatches", "list", id])).await;
    assert!(!good && stderr.contains("ENDPOINT_NOT_FOUND"), "{stderr}");
    world.stop().await;
}

#[tokio::test]
async fn curl_sends_a_message_and_reads_the_dialogue() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let curl = async |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail-with-body", "--noproxy", "*"]).args(arguments);
        run(command).await
    };
    let token = format!("x-chatbot_auth_token: Bearer {}", route.agent_token);
    let body = route.message(Some("m1"), "Do you deliver?").to_string();
    let json = "content-type: application/json";
    let url = world.url("/api/webhook/new_message");
    let (good, _, stderr) = curl(&["-H", &token, "-H", json, "--data", &body, &url]).await;
    assert!(good, "{stderr}");

    let key = format!("authorization: Bearer {}", world.key);
    let url = world.url(&format!("/api/channels/{}/dialogue", route.channel_id));
    let said = until(|| async {
        let (good, stdout, stderr) = curl(&["-H", &key, &url]).await;
        assert!(good, "{stderr}");
        let said: Value = serde_json::from_str(&stdout).unwrap();
        (said.as_array().unwrap().len() == 2).then_some(said)
    })
    .await;
    assert_eq!((&said[0]["role"], &said[1]["role"]), (&json!("USER"), &json!("ASSISTANT")));
    world.stop().await;
}
