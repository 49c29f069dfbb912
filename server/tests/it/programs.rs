//! The programs that people use: the command line over gRPC, and `curl` over REST.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    crm::seeded,
    fake_engine::Fake,
    harness::{Receiver, World, until},
    oauth::authorized,
};

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
pub(crate) async fn json_of(world: &World, arguments: &[&str]) -> Vec<Value> {
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

/// Runs a client command for people, and gives its table's lines.
async fn table_of(world: &World, arguments: &[&str]) -> Vec<String> {
    let (good, stdout, stderr) = run(command(world, arguments)).await;
    assert!(good, "{arguments:?}: {stderr}");
    stdout.lines().map(ToOwned::to_owned).collect()
}

/// Where the columns of a table begin.
fn columns(headings: &str) -> Vec<usize> {
    let mut columns = Vec::new();
    let mut before = b' ';
    for (at, byte) in headings.bytes().enumerate() {
        if byte != b' ' && before == b' ' {
            columns.push(at);
        }
        before = byte;
    }
    columns
}

/// The cells of a line under the columns.
fn cells(columns: &[usize], line: &str) -> Vec<String> {
    let characters: Vec<char> = line.chars().collect();
    let ends = columns.iter().skip(1).copied().chain([usize::MAX]);
    columns
        .iter()
        .zip(ends)
        .map(|(&from, to)| {
            let from = from.min(characters.len());
            characters[from..to.min(characters.len())].iter().collect::<String>().trim_end().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn tables_line_up_for_people() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let made = table_of(&world, &["agents", "create", "--name", "Поддержка 24/7"]).await;
    assert_eq!(made.len(), 2, "{made:?}");
    let heads = columns(&made[0]);
    assert_eq!(cells(&heads, &made[0]), ["ID", "NAME", "ENGINE", "ACTIVE", "TOKEN"]);
    let agent = cells(&heads, &made[1]);
    assert_eq!(agent[1..4], ["Поддержка 24/7", "mock", "true"]);
    assert!(agent[4].starts_with("sba_"), "the token is shown once: {agent:?}");
    table_of(&world, &["agents", "create", "--name", "Al"]).await;

    let listed = table_of(&world, &["agents", "list"]).await;
    let heads = columns(&listed[0]);
    let names: Vec<_> = listed[1..].iter().map(|line| cells(&heads, line)[1].clone()).collect();
    assert_eq!(names, ["Поддержка 24/7", "Al"]);
    let later = cells(&heads, &listed[1]).remove(4);
    assert_eq!(later, format!("…{}", &agent[4][agent[4].len() - 4..]), "later only its end");

    let url = receiver.url();
    let new = ["channels", "create", "--name", "Web", "--agent", &agent[0], "--url", &url];
    let made = table_of(&world, &new).await;
    let channel = cells(&columns(&made[0]), &made[1]);
    assert_eq!(channel[1..5], ["Web", &agent[0], &url, "true"]);
    assert!(made[2].starts_with("signing secret: whsec_"), "{made:?}");

    let sent = table_of(&world, &["send", "--channel", &channel[0], "--wait", "20", "Hi"]).await;
    assert_eq!(cells(&columns(&sent[0]), &sent[0]), ["MESSAGE", "DIALOGUE", "OUTCOME"]);
    let dialogue = cells(&columns(&sent[0]), &sent[1]).remove(1);
    let reply = cells(&columns(&sent[2]), &sent[3]);
    assert_eq!((reply[0].as_str(), reply[2].as_str()), ("2", "ASSISTANT"));

    let shown = table_of(&world, &["dialogues", "show", &dialogue]).await;
    let heads = columns(&shown[0]);
    assert_eq!(cells(&heads, &shown[0]), ["SEQ", "TIME", "ROLE", "TEXT"]);
    assert_eq!(cells(&heads, &shown[1])[2..], ["USER", "Hi"]);
    assert_eq!(cells(&heads, &shown[2])[3], reply[3]);
    assert_eq!(shown[3], "");
    assert_eq!(cells(&columns(&shown[4]), &shown[5])[1], "REPLIED");
    world.stop().await;
}

/// A command that goes on until it is ended: its lines as they come.
struct Stream(Child, std::sync::mpsc::Receiver<String>);

impl Stream {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (sender, receiver) = std::sync::mpsc::channel();
        // It ends with the command, whose output ends then.
        std::thread::spawn(move || lines.map(|line| sender.send(line)).all(|sent| sent.is_ok()));
        Self(child, receiver)
    }

    /// Lines up to one that holds this.
    async fn until(&self, last: &str) -> Vec<String> {
        let lines = std::cell::RefCell::new(Vec::new());
        until(|| async {
            lines.borrow_mut().extend(self.1.try_iter());
            lines.borrow().iter().any(|line: &String| line.contains(last)).then_some(())
        })
        .await;
        lines.into_inner()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn watch_shows_what_happens_as_it_happens() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    world.new_message(&route, &route.message(Some("m1"), "Do you deliver?")).await;
    receiver.wait_for(1).await;

    // From the beginning of the log, for people: time, type, subject, text.
    let table = Stream::start(command(&world, &["watch", "--cursor", "0"]));
    let lines = table.until("delivery.delivered").await;
    // What was set up before may get its place in the log later.
    let set_up = |kind: &&str| kind.starts_with("agent.") || kind.starts_with("channel.");
    let kinds = lines.iter().map(|line| line.split_whitespace().nth(1).unwrap());
    let kinds: Vec<_> = kinds.filter(|kind| !set_up(kind)).collect();
    let expected = ["dialogue.created", "message.received", "message.replied", "delivery.delivered"];
    assert_eq!(kinds, expected, "{lines:?}");
    let received = lines.iter().find(|line| line.contains("message.received")).unwrap();
    assert!(received.ends_with("  Do you deliver?"), "{received}");

    // Only some types, for programs; from a cursor that a line before carried, so that what comes now is seen, too.
    let all = json_of_stream(&world, &["watch", "--cursor", "0"], "message.received").await;
    let cursor = find(all.last().unwrap(), "cursor").unwrap();
    let some = ["watch", "--cursor", &cursor, "--type", "message.received", "--output", "json"]
        .map(ToOwned::to_owned);
    let some = Stream::start(command(&world, &some.each_ref().map(String::as_str)));
    world.new_message(&route, &route.message(Some("m2"), "And to Spain?")).await;
    let lines = some.until("And to Spain?").await;
    let [line] = &lines[..] else { panic!("one event of this type came since: {lines:?}") };
    let event: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&event["type"], &event["message"]["role"]), (&json!("message.received"), &json!("USER")));
    // The live one sees it as well.
    table.until("And to Spain?").await;
    world.stop().await;
}

/// The documents of a command that goes on, up to one of this type.
async fn json_of_stream(world: &World, arguments: &[&str], last: &str) -> Vec<Value> {
    let stream = Stream::start(command(world, &[arguments, &["--output", "json"]].concat()));
    let lines = stream.until(&format!("\"{last}\"")).await;
    let mut events: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = events.iter().position(|event| event["type"] == last).unwrap();
    events.truncate(end + 1);
    events
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

/// Runs a client command: its exit code, and what it printed and complained of.
async fn code_of(world: &World, arguments: &[&str]) -> (i32, String, String) {
    let mut command = command(world, arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_command_line_shows_what_a_crm_keeps() {
    let (world, at) = (World::new().await, seeded().await);
    authorized(&world, &at).await;
    let fields = json_of(&world, &["crm", "fields"]).await;
    assert_eq!((&fields[0]["displayName"], &fields[1]["choices"][0]["value"]), (&json!("City"), &json!("A")));
    assert_eq!(json_of(&world, &["crm", "fields", "contacts"]).await[0]["code"], "PHONE");
    let stages = json_of(&world, &["crm", "pipelines"]).await;
    assert_eq!(
        (stages.len(), &stages[0]["pipeline"], &stages[0]["main"]),
        (8, &json!("Sales"), &json!(true))
    );
    assert!(stages.iter().any(|stage| stage["kind"] == "WON" && stage["stageId"] == "142"));
    assert_eq!(json_of(&world, &["crm", "users"]).await[0]["admin"], json!(true));
    assert_eq!(json_of(&world, &["crm", "tags", "--refresh"]).await[0]["displayName"], "vip");
    let lead = &json_of(&world, &["crm", "lead", "5001"]).await[0];
    assert_eq!((&lead["price"], &lead["fields"]["88001"]), (&json!(15_000), &json!(["Tula"])));
    let table = table_of(&world, &["crm", "lead", "5001"]).await;
    assert!(table.iter().any(|line| line.starts_with("City") && line.ends_with("Tula")), "{table:?}");
    let table = table_of(&world, &["crm", "pipelines"]).await;
    assert_eq!(table.len(), 9, "{table:?}");
    let first: Vec<_> = table[1].split_whitespace().collect();
    assert_eq!(first, ["7700001", "Sales", "yes", "64000000", "Incoming", "INCOMING"]);
    let (code, _, stderr) = code_of(&world, &["crm", "lead", "5999"]).await;
    assert!(code == 4 && stderr.contains("CRM_LEAD_NOT_FOUND"), "{code}: {stderr}");
    assert!(json_of(&world, &["crm", "sources"]).await.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn the_doctor_says_what_is_wrong_and_its_exit_code_what_kind_of_thing_it_is() {
    let (world, at) = (World::new().await, seeded().await);
    let made = authorized(&world, &at).await;
    at.put(
        "sources",
        &[json!({
            "id": 7, "name": "Shop", "external_id": "shop", "pipeline_id": 7_700_001, "default": true,
        })],
    );
    let (code, stdout, stderr) = code_of(&world, &["doctor", "sources"]).await;
    assert!(code == 0 && stdout.contains("made and taken away again"), "{stdout}{stderr}");
    assert!(
        stdout.lines().nth(1).is_some_and(|line| line.contains("Shop") && line.contains("shop")),
        "{stdout}"
    );
    let (code, stdout, _) = code_of(&world, &["doctor", "sources", "--no-trial", "--output", "json"]).await;
    let steps: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(code == 0 && steps.iter().all(|step| step["name"] != "trial"), "{stdout}");
    let (code, stdout, stderr) = code_of(&world, &["doctor", "integration"]).await;
    assert!(code == 0 && stdout.contains("HEALTHY"), "{stdout}{stderr}");
    at.set_multiple_sources(false);
    let (code, stdout, stderr) = code_of(&world, &["doctor", "sources"]).await;
    assert!(code == 3 && stdout.contains("switch on \"Multiple sources\""), "{stdout}");
    assert!(stderr.contains("FAILED"), "{stderr}");
    at.set_multiple_sources(true);
    at.faults().add(simulator::Fault::Down, None);
    let (code, stdout, _) = code_of(&world, &["doctor", "sources"]).await;
    assert!(code == 6 && stdout.contains("503"), "{code}: {stdout}");
    at.faults().heal();
    at.remove("sources", 7);
    at.revoke();
    let (code, stdout, _) = code_of(&world, &["doctor", "integration", &made.id]).await;
    assert!(code == 3 && stdout.contains("StartAuthorization"), "{code}: {stdout}");
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

#[tokio::test]
async fn the_command_line_takes_a_dialogue_writes_in_it_and_gives_it_back() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    let id = find(&json_of(&world, &["dialogues", "list"]).await[0], "id").unwrap();

    let taken = json_of(&world, &["dialogues", "take", &id, "--by", "Maria", "--return-after", "3600"]).await;
    assert_eq!((&taken[0]["holder"], &taken[0]["by"]), (&json!("HUMAN"), &json!("Maria")));
    assert_ne!(taken[0]["returnTime"], "");
    let sent = json_of(&world, &["dialogues", "reply", &id, "--by", "Maria", "I am here"]).await;
    assert_eq!(sent[0]["author"], "OPERATOR");
    assert_eq!(receiver.wait_for(2).await[1].json()["text"], "I am here");
    let released = json_of(&world, &["dialogues", "release", &id]).await;
    assert_eq!((&released[0]["status"], &released[0]["holder"]), (&json!("PENDING"), &json!("AGENT")));

    until(|| async {
        let listed =
            json_of(&world, &["deliveries", "list", "--dialogue", &id, "--state", "delivered"]).await;
        (listed.len() == 2).then_some(())
    })
    .await;
    let delivery = find(&sent[0], "id").unwrap();
    let (good, _, stderr) = run(command(&world, &["deliveries", "resolve", &delivery, "resend"])).await;
    assert!(!good && stderr.contains("DELIVERY_NOT_HELD"), "{stderr}");
    let (good, _, stderr) = run(command(&world, &["deliveries", "retry", &delivery])).await;
    assert!(!good && stderr.contains("DELIVERY_NOT_DEAD"), "{stderr}");
    // It is gone after that, and deleting it again is no mistake.
    for _ in 0..2 {
        assert!(json_of(&world, &["dialogues", "delete", &id]).await.is_empty());
        assert!(json_of(&world, &["dialogues", "list"]).await.is_empty());
    }
    world.stop().await;
}

#[tokio::test]
async fn the_command_line_connects_an_engine() {
    let world = World::with_vendors(&[], vec![Fake::with_key("from the environment").vendor()]).await;
    let listed = json_of(&world, &["vendors"]).await;
    let vendor = listed.iter().find(|vendor| vendor["id"] == "acme").unwrap();
    assert_eq!(vendor["credentialFields"], json!(["api_key", "organisation"]));
    let arguments =
        ["integrations", "create", "--vendor", "acme", "--name", "Ours", "--setting", "region=us"];
    let mut create = command(&world, &arguments);
    create
        .args(["--credential-env", "api_key=ACME_KEY", "--output", "json"])
        .env("ACME_KEY", "from the environment");
    let (good, stdout, stderr) = run(create).await;
    assert!(good, "{stderr}");
    let made: Value = serde_json::from_str(&stdout).unwrap();
    let id = made["id"].as_str().unwrap();
    assert_ne!(made["credentialsSetTime"]["api_key"], "");
    let steps = json_of(&world, &["integrations", "check", id]).await;
    assert!(steps.iter().all(|step| step["outcome"] == "PASSED"), "{steps:?}");
    assert_eq!(json_of(&world, &["integrations", "get", id]).await[0]["health"], "HEALTHY");
    let models = json_of(&world, &["models", "acme", "--integration", id]).await;
    assert_eq!(models[0]["id"], "acme-1");
    let made = ["agents", "create", "--name", "Ada", "--engine", "acme", "--integration", id];
    let agent = find(&json_of(&world, &made).await[0], "id").unwrap();
    let (good, _, stderr) = run(command(&world, &["integrations", "delete", id])).await;
    assert!(!good && stderr.contains("INTEGRATION_IN_USE"), "{stderr}");
    table_of(&world, &["agents", "delete", &agent]).await;
    let rotated = table_of(&world, &["integrations", "rotate", id]).await;
    assert_eq!(cells(&columns(&rotated[0]), &rotated[1])[1..4], ["acme", "Ours", "HEALTHY"]);
    table_of(&world, &["integrations", "delete", id]).await;
    assert_eq!(json_of(&world, &["integrations", "list"]).await.len(), 0);
    world.stop().await;
}
