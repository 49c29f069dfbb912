//! The README's first conversation.
#![expect(clippy::print_stdout, reason = "an example speaks to the person who runs it")]

use std::env;

use switchboard_sdk::Client;
use switchboard_sdk::v1::{Agent, Channel, CreateAgentRequest, CreateChannelRequest, Engine};
use switchboard_sdk::v1::{MessageSender, ReceiveMessageRequest, WatchRequest};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = env::var("SWITCHBOARD_ENDPOINT").unwrap_or("http://127.0.0.1:50051".to_owned());
    let client = Client::builder(endpoint).api_key(env::var("SWITCHBOARD_API_KEY")?).connect().await?;

    // Who answers: `mock` needs no account anywhere and gives the same answer to the same history.
    let agent = Agent {
        display_name: "Receptionist".to_owned(),
        engine: Some(Engine { vendor: "mock".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let request = CreateAgentRequest { agent: Some(agent), ..Default::default() };
    let agent = client.agents().create_agent(request).await?.into_inner().agent.ok_or("no agent")?;

    // The route that messages travel: answers are posted to its URL.
    let channel = Channel {
        display_name: "Website".to_owned(),
        agent_id: agent.id,
        url: env::var("REPLY_URL").unwrap_or("http://127.0.0.1:9000/replies".to_owned()),
        ..Default::default()
    };
    let request = CreateChannelRequest { channel: Some(channel), ..Default::default() };
    let channel =
        client.channels().create_channel(request).await?.into_inner().channel.ok_or("no channel")?;

    // The first message of a stream is a heartbeat: from here on no event is missed.
    let mut events = client.events().watch(WatchRequest::default()).await?.into_inner();
    events.message().await?.ok_or("the stream ended")?;

    let request = ReceiveMessageRequest {
        channel_id: channel.id,
        message_id: "website-1".to_owned(),
        text: "Do you deliver on Sundays?".to_owned(),
        sender: MessageSender::Customer.into(),
        ..Default::default()
    };
    let received = client.webhooks().receive_message(request).await?.into_inner();

    while let Some(answer) = events.message().await? {
        let Some(event) = answer.event else { continue };
        if event.dialogue_id == received.dialogue_id && event.r#type == "message.replied" {
            println!("{}", event.message.ok_or("no message")?.text);
            return Ok(());
        }
    }
    Err("the stream ended before the answer came".into())
}
