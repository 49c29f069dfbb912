//! The real binary with its private database, killed at the worst moment.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::json;
use switchboard_sdk::v1::{
    self, agents_service_client::AgentsServiceClient, channels_service_client::ChannelsServiceClient,
};
use tonic::{Request, transport::Channel};

use crate::harness::{Dir, Receiver, http_client, until};

pub(crate) struct Process(Child);

impl Drop for Process {
    /// A story that fails leaves nothing running; one that ended has nothing left to kill.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &[], Stdio::null())
    }

    /// With further variables of the environment, and its log there.
    pub(crate) fn start_with(data: &Path, further: &[(&str, &str)], log: Stdio) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .arg("serve")
            .env_remove("DATABASE_URL")
            .env("SWITCHBOARD_DATA_DIR", data)
            .env("SWITCHBOARD_HTTP_ADDR", "127.0.0.1:0")
            .env("SWITCHBOARD_GRPC_ADDR", "127.0.0.1:0")
            .env("SWITCHBOARD_ALLOW_PRIVATE_TARGETS", "127.0.0.0/8")
            .env("SWITCHBOARD_LOG", "warn")
            .envs(further.iter().copied())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// SIGTERM, and the wait for the end.
    pub(crate) fn stop(mut self) {
        Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

pub(crate) async fn values(path: &Path, names: &[&str]) -> Vec<String> {
    until(|| async {
        let text = std::fs::read_to_string(path).ok()?;
        names
            .iter()
            .map(|name| {
                text.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).map(ToOwned::to_owned)
            })
            .collect()
    })
    .await
}

#[tokio::test]
async fn a_message_survives_kill_9_between_record_and_reply() {
    let dir = Dir::new();
    let data = dir.path().join("data");
    let receiver = Receiver::start().await;
    let process = Process::start(&data);
    let key = values(&data.join("credentials"), &["workspace_key"]).await.remove(0);
    let listeners = data.join("listeners");
    let addresses = values(&listeners, &["grpc", "http"]).await;
    for name in ["credentials", "keyring", "listeners"] {
        let mode = std::fs::metadata(data.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name} is its owner's alone");
    }

    let channel = Channel::from_shared(format!("http://{}", addresses[0])).unwrap().connect().await.unwrap();
    let with_key = |mut request: Request<()>| {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        Ok(request)
    };
    // Slow enough to be killed while it thinks.
    let slow = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(1_500.0)) };
    let engine = v1::Engine {
        vendor: "mock".to_owned(),
        settings: Some(prost_types::Struct { fields: [("delay_ms".to_owned(), slow)].into() }),
        ..v1::Engine::default()
    };
    let agent = v1::Agent { display_name: "A".to_owned(), engine: Some(engine), ..v1::Agent::default() };
    let request = v1::CreateAgentRequest { agent: Some(agent), request_id: String::new() };
    let agent = AgentsServiceClient::with_interceptor(channel.clone(), with_key)
        .create_agent(request)
        .await
        .unwrap()
        .into_inner();
    let new = v1::Channel {
        display_name: "C".to_owned(),
        agent_id: agent.agent.unwrap().id,
        url: receiver.url(),
        ..v1::Channel::default()
    };
    let request = v1::CreateChannelRequest { channel: Some(new), request_id: String::new() };
    let made = ChannelsServiceClient::with_interceptor(channel, with_key)
        .create_channel(request)
        .await
        .unwrap()
        .into_inner();
    let id = made.channel.unwrap().id;

    let http = http_client();
    let body =
        json!({ "message_id": "m1", "chat_id": id, "text": "are you there?", "message_sender": "customer" });
    let send = async |address: &str| {
        http.post(format!("http://{address}/api/webhook/new_message"))
            .header("x-chatbot_auth_token", format!("Bearer {}", agent.token))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap()
    };
    let accepted = send(&addresses[1]).await;
    assert_eq!(accepted.status(), 200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    process.kill();
    assert!(receiver.received().is_empty(), "killed before the reply");

    std::fs::remove_file(&listeners).unwrap();
    let process = Process::start(&data);
    let addresses = values(&listeners, &["grpc", "http"]).await;
    let received = receiver.wait_for(1).await;
    assert!(received[0].json()["text"].as_str().unwrap().contains("are you there?"));
    // The caller that retries because it saw the crash changes nothing.
    let repeated = send(&addresses[1]).await;
    assert_eq!(repeated.headers()["switchboard-outcome"], "DUPLICATE");
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(receiver.received().len(), 1, "one message, one answer");

    let dialogue = http
        .get(format!("http://{}/api/channels/{id}/dialogue", addresses[1]))
        .header("authorization", format!("Bearer {key}"))
        .send()
        .await
        .unwrap();
    let messages: serde_json::Value = serde_json::from_str(&dialogue.text().await.unwrap()).unwrap();
    assert_eq!(messages.as_array().unwrap().len(), 2, "{messages}");
    process.stop();
}
