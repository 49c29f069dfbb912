//! The bridge of edna and amoCRM: a channel whose dialogues are shown in a CRM's chats, where managers answer.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use serde_json::json;
use simulator::{
    Fault, KEY,
    amocrm::{AmoCrm, CHATS_SECRET, ChatMessage},
    edna::{Edna, WHATSAPP},
};
use switchboard_sdk::v1::{self, InboundOutcome::Ignored};
use tonic::transport::Channel;

use crate::{
    chats::{Room, chat_settings, room, with_chats},
    crm_hooks::rotate,
    harness::{Dir, Grpc, http_client, mock, reason, to_struct, until},
    integrations::{connect, events, text},
    oauth::{amocrm, begin},
    restart::{Process, values},
};

/// A customer's number.
const ANNA: &str = "79990000002";
const SOURCE: &str = "tema_edna_1";

fn edna_integration(edna: &Edna) -> v1::Integration {
    v1::Integration {
        vendor: "edna".to_owned(),
        display_name: "edna".to_owned(),
        settings: Some(to_struct(&json!({ "base_url": edna.base_url() }))),
        credentials: [("api_key".to_owned(), KEY.to_owned())].into(),
        ..v1::Integration::default()
    }
}

fn whatsapp(agent_id: &str, integration_id: &str, chats_id: &str) -> v1::Channel {
    v1::Channel {
        display_name: "WhatsApp".to_owned(),
        agent_id: agent_id.to_owned(),
        vendor: "edna".to_owned(),
        integration_id: integration_id.to_owned(),
        settings: Some(to_struct(&json!({ "kind": "WHATSAPP", "subject_id": WHATSAPP }))),
        mirror: Some(v1::ChannelMirror {
            channel_id: chats_id.to_owned(),
            source_external_id: SOURCE.to_owned(),
        }),
        ..v1::Channel::default()
    }
}

/// A channel of WhatsApp that is shown in the account's chats.
struct Bridge {
    room: Room,
    edna: Edna,
    channel_id: String,
    chats_id: String,
}

async fn bridge() -> Bridge {
    let room = room().await;
    let chats_id = room.connected().await;
    let edna = Edna::start(([127, 0, 0, 1], 0).into(), KEY).await.unwrap();
    let integration = connect(&room.world, edna_integration(&edna)).await;
    let channel = whatsapp(&room.agent_id, &integration.id, &chats_id);
    let request = v1::CreateChannelRequest { channel: Some(channel.clone()), request_id: String::new() };
    let made = room.grpc.channels().create_channel(request).await.unwrap().into_inner().channel.unwrap();
    assert_eq!(made.mirror, channel.mirror);
    let request = v1::ConnectChannelRequest { id: made.id.clone() };
    let steps = room.grpc.channels().connect_channel(request).await.unwrap().into_inner().steps;
    assert!(steps.iter().all(|step| step.outcome() == v1::CheckOutcome::Passed), "{steps:?}");
    Bridge { room, edna, channel_id: made.id, chats_id }
}

impl Bridge {
    async fn customer(&self, id: i64, text: &str) {
        assert_eq!(self.edna.customer_writes(WHATSAPP, id, ANNA, text).await.unwrap(), 200);
    }

    /// Waits until the chats hold what is wanted.
    async fn chats(&self, wanted: impl FnMut(&Vec<ChatMessage>) -> bool) -> Vec<ChatMessage> {
        soon(self.room.at.wait_for_chats(wanted)).await
    }

    async fn dialogue(&self) -> v1::Dialogue {
        self.room.dialogues(&self.channel_id).await.remove(0)
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap()
}

fn says(said: &[ChatMessage], text: &str) -> bool {
    said.iter().any(|message| message.text() == text)
}

#[tokio::test]
async fn a_customers_message_is_shown_under_its_source_and_what_a_manager_answers_goes_back() {
    let bridge = Box::pin(bridge()).await;
    bridge.customer(1, "hello").await;
    let said = bridge.chats(|said| said.len() == 2).await;
    let dialogue = bridge.dialogue().await;
    let (asked, answered) = (&said[0], &said[1]);
    assert!(asked.incoming && !asked.silent && asked.text() == "hello", "{asked:?}");
    assert!(!answered.incoming && answered.text().contains("hello"), "{answered:?}");
    for message in [asked, answered] {
        assert_eq!((&*message.conversation_id, &*message.source), (&*dialogue.id, SOURCE));
    }
    assert_eq!(
        (&asked.sender["name"], &asked.sender["profile"]["phone"]),
        (&json!("Anna"), &json!(format!("+{ANNA}")))
    );

    // What edna tells of the agent's answer is told there, in whatever order, each step once.
    let sent = soon(bridge.edna.wait_for(1)).await.remove(0);
    for status in ["SENT", "READ", "DELIVERED", "READ"] {
        bridge.edna.tell(&sent, status, None).await.unwrap();
    }
    let read = bridge.chats(|said| said[1].statuses.last().is_some_and(|(code, _)| *code == 2)).await;
    assert!(read[1].statuses.len() <= 2, "{:?}", read[1].statuses);

    // A manager answers: once, over edna, and the agent is silent from now on.
    let (written, status) = bridge.room.at.manager_writes(&dialogue.id, "I am Maria").await.unwrap();
    assert_eq!(status, 200);
    let again = bridge.room.at.chats_hook_body(&dialogue.id, json!({ "type": "text", "text": "I am Maria" }));
    let mut again = again;
    again["message"]["message"]["id"] = json!(written.id);
    assert_eq!(bridge.room.at.call_chats(&again.to_string()).await.unwrap(), 200);
    let sent = soon(bridge.edna.wait_for(2)).await.remove(1);
    assert_eq!((&*sent.address, &sent.content["text"]), (ANNA, &json!("I am Maria")));
    let now = bridge.dialogue().await;
    assert_eq!((now.status(), now.control.unwrap().by.as_str()), (v1::DialogueStatus::Open, "Maria"));
    bridge.edna.tell(&sent, "DELIVERED", None).await.unwrap();
    let told = |said: &Vec<ChatMessage>| {
        said.iter().any(|it| it.id == written.id && it.statuses == [(1, String::new())])
    };
    bridge.chats(told).await;
    bridge.customer(2, "thanks").await;
    bridge.chats(|said| says(said, "thanks")).await;
    // An operator of ours is shown, too, and what can't be delivered says why.
    bridge.room.operator_says(&dialogue.id, "From the desk").await;
    let sent = soon(bridge.edna.wait_for(3)).await.remove(2);
    bridge.edna.tell(&sent, "UNDELIVERED", Some("not-whatsapp-user")).await.unwrap();
    let failed = bridge
        .chats(|said| {
            said.iter().any(|it| it.text() == "From the desk" && it.statuses.iter().any(|it| it.0 == -1))
        })
        .await;
    let failed = failed.iter().find(|it| it.text() == "From the desk").unwrap();
    assert!(failed.statuses[0].1.contains("not-whatsapp-user"), "{failed:?}");

    // Each message is there once, in the dialogue's order; the manager's was there before.
    let texts: Vec<_> = bridge.room.at.chat_messages().iter().map(|it| it.text().to_owned()).collect();
    assert_eq!(texts.iter().filter(|text| *text == "hello" || *text == "thanks").count(), 2, "{texts:?}");
    let ours: Vec<_> = texts.iter().filter(|text| *text != "I am Maria").collect();
    assert_eq!((ours[0].as_str(), ours[2].as_str(), ours[3].as_str()), ("hello", "thanks", "From the desk"));
    assert_eq!(bridge.edna.sent().len(), 3);
    assert!(bridge.room.dialogues(&bridge.chats_id).await.is_empty(), "the chat is the dialogue's");
    bridge.room.world.stop().await;
}

#[tokio::test]
async fn what_the_account_tells_of_a_mirrored_chat_is_no_turn_and_names_the_lead() {
    let bridge = Box::pin(bridge()).await;
    let room = &bridge.room;
    // The agent answers the account's other chats.
    let notes = room.channel(&json!({})).await.id;
    room.name_for_chats(&notes).await;
    let path = rotate(&room.world, &room.integration.id).await.path;
    bridge.customer(1, "hello").await;
    let said = bridge.chats(|said| said.len() == 2).await;
    let dialogue = bridge.dialogue().await;
    let chat = room.at.chat_id(&dialogue.id).unwrap();
    let of = |kind: &str, id: &str, author: &str| {
        format!(
            "{kind}[add][0][id]={id}&{kind}[add][0][chat_id]={chat}&{kind}[add][0][text]=hello\
             &{kind}[add][0][entity_type]=lead&{kind}[add][0][entity_id]=5001&{kind}[add][0][contact_id]=6001\
             &{kind}[add][0][author][type]={author}"
        )
    };
    room.account_tells(&path, &of("message", &said[0].id, "external")).await;
    room.account_tells(&path, &of("outgoing_message", &said[1].id, "internal")).await;
    let echoes = until(|| async {
        Some(events(&room.world, "message.echoed").await).filter(|echoes| echoes.len() == 2)
    })
    .await;
    assert_eq!(text(&echoes[0], "crm_message_id"), said[0].id);
    let now = bridge.dialogue().await;
    assert_eq!((now.status(), now.message_count), (v1::DialogueStatus::Pending, 2));
    let crm = now.crm.unwrap();
    assert_eq!((&*crm.lead_id, &*crm.contact_id), ("5001", "6001"));
    assert_eq!(crm.integration_id, room.integration.id);
    assert!(room.dialogues(&notes).await.is_empty());
    // So does what we wrote, should the Chats API tell of it.
    let mut back = room.at.chats_hook_body(&dialogue.id, json!({ "type": "text", "text": "echo" }));
    back["message"]["message"]["id"] = json!(said[1].id);
    assert_eq!(room.at.call_chats(&back.to_string()).await.unwrap(), 200);
    assert_eq!(room.outcome(&bridge.chats_id).await, Ignored);
    assert_eq!(bridge.dialogue().await.message_count, 2);
    bridge.room.world.stop().await;
}

#[tokio::test]
async fn what_the_chats_did_not_take_is_shown_when_they_are_back_in_its_order() {
    let bridge = Box::pin(bridge()).await;
    let at = &bridge.room.at;
    // Down while the chat is opened, then answers that get lost after the message was taken.
    at.faults().add(Fault::Down, Some(3));
    bridge.customer(1, "one").await;
    bridge.chats(|said| says(said, "one")).await;
    at.faults().add(Fault::ApplyThenCut, Some(2));
    for (id, text) in [(2, "two"), (3, "[unwanted] three"), (4, "four")] {
        bridge.customer(id, text).await;
    }
    // One that the vendor refuses for what it says is given up, and an event tells of it; the others go on. The agent's answer to
    // it holds its words, too.
    bridge.chats(|said| says(said, "four")).await;
    let failed =
        until(|| async { events(&bridge.room.world, "mirror.failed").await.into_iter().next() }).await;
    assert_eq!(text(&failed, "channel_id"), bridge.chats_id);
    assert!(text(&failed, "error").contains("message.text"), "{failed:?}");
    let customers: Vec<_> =
        at.chat_messages().into_iter().filter(|it| it.incoming).map(|it| it.text().to_owned()).collect();
    assert_eq!(customers, ["one", "two", "four"]);
    let ids: BTreeSet<_> = at.chat_messages().into_iter().map(|it| it.msgid).collect();
    assert_eq!(ids.len(), at.chat_messages().len(), "none is there twice");
    bridge.room.world.stop().await;
}

#[tokio::test]
async fn a_dialogue_that_was_there_before_is_shown_with_its_history() {
    let bridge = Box::pin(bridge()).await;
    let room = &bridge.room;
    let update = async |mirror: Option<v1::ChannelMirror>| {
        let channel = v1::Channel { id: bridge.channel_id.clone(), mirror, ..v1::Channel::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["mirror".to_owned()] });
        let request = v1::UpdateChannelRequest { channel: Some(channel), update_mask };
        room.grpc.channels().update_channel(request).await
    };
    update(None).await.unwrap();
    bridge.customer(1, "long ago").await;
    soon(bridge.edna.wait_for(1)).await;
    room.world.clock().advance(Duration::from_hours(1));
    room.at.clock().advance(Duration::from_hours(1));
    let mirror =
        v1::ChannelMirror { channel_id: bridge.chats_id.clone(), source_external_id: SOURCE.to_owned() };
    update(Some(mirror.clone())).await.unwrap();
    bridge.customer(2, "again").await;
    let said = bridge.chats(|said| said.len() == 4).await;
    let loud: Vec<_> = said.iter().filter(|it| it.incoming).map(|it| (it.text(), it.silent)).collect();
    assert_eq!(loud, [("long ago", true), ("again", false)]);

    // What can't be a mirror is refused.
    let refused = |bad: v1::ChannelMirror| async { reason(&update(Some(bad)).await.unwrap_err()) };
    let own = v1::ChannelMirror { channel_id: bridge.channel_id.clone(), ..mirror.clone() };
    assert_eq!(
        refused(own).await,
        ("FIELD_INVALID".to_owned(), vec!["channel.mirror.channel_id".to_owned()])
    );
    let source = v1::ChannelMirror { source_external_id: "Источник".to_owned(), ..mirror.clone() };
    assert_eq!(refused(source).await.1, ["channel.mirror.source_external_id"]);
    let generic = room.world.route(&crate::harness::Receiver::start().await, json!({})).await.channel_id;
    let generic = v1::ChannelMirror { channel_id: generic, ..mirror.clone() };
    assert_eq!(refused(generic).await.1, ["channel.mirror.channel_id"]);

    // A channel that goes takes the mirrors in its chats along.
    let request = v1::DeleteChannelRequest { id: bridge.chats_id.clone() };
    room.grpc.channels().delete_channel(request).await.unwrap();
    let request = v1::GetChannelRequest { id: bridge.channel_id.clone() };
    let channel = room.grpc.channels().get_channel(request).await.unwrap().into_inner().channel.unwrap();
    assert!(channel.mirror.is_none());
    bridge.room.world.stop().await;
}

#[tokio::test]
async fn a_manager_writes_first_and_the_customer_answers_in_the_same_chat() {
    let bridge = Box::pin(bridge()).await;
    let at = &bridge.room.at;
    let (written, status) =
        at.manager_begins(&format!("+{ANNA}"), SOURCE, "Your order is ready").await.unwrap();
    assert_eq!(status, 200);
    let sent = soon(bridge.edna.wait_for(1)).await.remove(0);
    assert_eq!((&*sent.address, &sent.content["text"]), (ANNA, &json!("Your order is ready")));
    let dialogue = bridge.dialogue().await;
    assert_eq!(dialogue.chat, ANNA);
    bridge.customer(1, "I am coming").await;
    let said = bridge.chats(|said| says(said, "I am coming")).await;
    let answer = said.iter().find(|it| it.text() == "I am coming").unwrap();
    assert_eq!(answer.conversation_id, dialogue.id);
    assert!(at.chat_id(&dialogue.id).is_some());
    bridge.edna.tell(&sent, "READ", None).await.unwrap();
    bridge
        .chats(|said| said.iter().any(|it| it.id == written.id && it.statuses == [(2, String::new())]))
        .await;
    bridge.room.world.stop().await;
}

#[tokio::test]
async fn a_bridge_that_is_killed_goes_on_where_it_was_and_nothing_is_there_twice() {
    const MESSAGES: i64 = 24;
    let dir = Dir::new();
    let data = dir.path().join("data");
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let public_url = format!("http://{address}");
    let listeners = data.join("listeners");
    let start = async || {
        let further = [("SWITCHBOARD_HTTP_ADDR", address.as_str()), ("SWITCHBOARD_PUBLIC_URL", &public_url)];
        let _ = std::fs::remove_file(&listeners);
        let process = Process::start_with(&data, &further, Stdio::null());
        let grpc = values(&listeners, &["grpc"]).await.remove(0);
        let key = values(&data.join("credentials"), &["workspace_key"]).await.remove(0);
        let endpoint = Channel::from_shared(format!("http://{grpc}")).unwrap();
        (process, Grpc::over(endpoint.connect().await.unwrap(), &key))
    };
    let (mut process, grpc) = start().await;
    let at = amocrm().await;
    let edna = Edna::start(([127, 0, 0, 1], 0).into(), KEY).await.unwrap();
    let integration = async |integration: v1::Integration| {
        let request =
            v1::CreateIntegrationRequest { integration: Some(integration), request_id: String::new() };
        grpc.integrations().create_integration(request).await.unwrap().into_inner().integration.unwrap().id
    };
    let crm = integration(with_chats(&at, CHATS_SECRET)).await;
    let state = begin(&grpc, &crm).await;
    let url =
        format!("{public_url}/oauth/callback?state={state}&code={}&referer=acme.amocrm.ru", at.consent());
    assert_eq!(http_client().get(url).send().await.unwrap().status(), 200);
    let gateway = integration(edna_integration(&edna)).await;
    let agent =
        v1::Agent { display_name: "A".to_owned(), engine: Some(mock(&json!({}))), ..v1::Agent::default() };
    let request = v1::CreateAgentRequest { agent: Some(agent), request_id: String::new() };
    let agent = grpc.agents().create_agent(request).await.unwrap().into_inner().agent.unwrap().id;
    let make = async |channel: v1::Channel| {
        let request = v1::CreateChannelRequest { channel: Some(channel), request_id: String::new() };
        let id = grpc.channels().create_channel(request).await.unwrap().into_inner().channel.unwrap().id;
        grpc.channels().connect_channel(v1::ConnectChannelRequest { id: id.clone() }).await.unwrap();
        id
    };
    let chats = make(v1::Channel {
        display_name: "Chats".to_owned(),
        agent_id: agent.clone(),
        vendor: "amocrm".to_owned(),
        integration_id: crm,
        settings: Some(to_struct(&chat_settings())),
        ..v1::Channel::default()
    })
    .await;
    at.register_chats_hook(&format!("{public_url}/hooks/{chats}/:scope_id"));
    make(whatsapp(&agent, &gateway, &chats)).await;

    // Killed three times in the middle of it; whoever calls calls again until it is taken, as edna does.
    for id in 1..=MESSAGES {
        until(|| async {
            let taken = edna.customer_writes(WHATSAPP, id, ANNA, &format!("message {id}")).await;
            taken.is_ok_and(|status| status == 200).then_some(())
        })
        .await;
        if id % 8 == 4 {
            soon(at.wait_for_chats(|said| !said.is_empty())).await;
            process.kill();
            process = start().await.0;
        }
    }
    let of_customer = |said: &Vec<ChatMessage>| {
        said.iter().filter(|it| it.incoming).map(|it| it.text().to_owned()).collect::<Vec<_>>()
    };
    let wanted: Vec<_> = (1..=MESSAGES).map(|id| format!("message {id}")).collect();
    let said =
        tokio::time::timeout(Duration::from_mins(1), at.wait_for_chats(|said| of_customer(said) == wanted));
    assert!(said.await.is_ok(), "{:?}", of_customer(&at.chat_messages()));
    let ids: BTreeSet<_> = at.chat_messages().into_iter().map(|it| it.msgid).collect();
    assert_eq!(ids.len(), at.chat_messages().len());

    // A manager's word goes out once, whatever happens to who took it.
    let dialogue = at.chat_messages()[0].conversation_id.clone();
    let body = at.chats_hook_body(&dialogue, json!({ "type": "text", "text": "I am Maria" })).to_string();
    assert_eq!(at.call_chats(&body).await.unwrap(), 200);
    process.kill();
    let (process, _) = start().await;
    until(|| async { (at.call_chats(&body).await.is_ok_and(|status| status == 200)).then_some(()) }).await;
    let maria = |it: &simulator::edna::Sent| it.content["text"] == "I am Maria";
    until(|| async { edna.sent().iter().any(maria).then_some(()) }).await;
    assert_eq!(edna.sent().iter().filter(|it| maria(it)).count(), 1);
    // The agent's answers, too, are shown once each: as many as went out.
    let shown = |at: &AmoCrm| {
        at.chat_messages().into_iter().filter(|it| !it.incoming && !it.msgid.is_empty()).count()
    };
    let agents = edna.sent().iter().filter(|it| !maria(it)).count();
    until(|| async { (shown(&at) >= agents).then_some(()) }).await;
    assert_eq!(shown(&at), agents);
    process.stop();
}
