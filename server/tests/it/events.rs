//! The log: watched live, read again, never with a gap.

use serde_json::json;
use switchboard_sdk::v1;

use crate::harness::{Receiver, World, reason};

#[tokio::test]
async fn a_watcher_sees_the_answer_arrive_and_can_go_on_from_its_cursor() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let mut stream = grpc.events().watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(first.event.is_none() && !first.cursor.is_empty(), "the first is a heartbeat");
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    let mut seen = Vec::new();
    let mut after_received = String::new();
    while seen.last().map(String::as_str) != Some("delivery.delivered") {
        let item = stream.message().await.unwrap().unwrap();
        // What was set up before may get its place in the log only now.
        let Some(event) = item.event.filter(|event| !event.dialogue_id.is_empty()) else { continue };
        if event.r#type == "message.received" {
            after_received = item.cursor;
        }
        if event.r#type == "message.replied" {
            assert!(event.message.unwrap().text.contains("hello"));
        }
        seen.push(event.r#type);
    }
    assert_eq!(seen, ["dialogue.created", "message.received", "message.replied", "delivery.delivered"]);

    let request = v1::ListEventsRequest { cursor: after_received, ..v1::ListEventsRequest::default() };
    let page = grpc.events().list_events(request).await.unwrap().into_inner();
    let types: Vec<_> = page.events.iter().map(|event| event.r#type.as_str()).collect();
    assert_eq!(types, ["message.replied", "delivery.delivered"]);
    world.stop().await;
}

/// Each watcher's log is read by all, and they stand at different places, begin at different moments and want different
/// things.
#[tokio::test]
async fn many_watchers_each_see_every_event_once_and_in_order() {
    const MESSAGES: usize = 60;
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let watch = async |cursor: String, types: &[&str]| {
        let types = types.iter().map(ToString::to_string).collect();
        let request = v1::WatchRequest { cursor, types, ..v1::WatchRequest::default() };
        grpc.events().watch(request).await.unwrap().into_inner()
    };
    // What a watcher saw up to the last message, with the cursors behind each.
    let see = |mut stream: tonic::Streaming<v1::WatchResponse>| async move {
        let (mut seen, mut last) = (Vec::new(), false);
        while !last {
            let item =
                tokio::time::timeout(std::time::Duration::from_secs(20), stream.message()).await.unwrap();
            let Some(event) = item.unwrap().unwrap().event else { continue };
            last = event.message.is_some_and(|message| message.text == "the last");
            seen.push((event.id, event.cursor));
        }
        seen
    };
    let mut watchers = Vec::new();
    for _ in 0..20 {
        watchers.push(tokio::spawn(see(watch("0".to_owned(), &[]).await)));
    }
    let mut received = Vec::new();
    for _ in 0..5 {
        received.push(tokio::spawn(see(watch("0".to_owned(), &["message.received"]).await)));
    }
    for at in 0..MESSAGES {
        let text = if at + 1 == MESSAGES { "the last".to_owned() } else { at.to_string() };
        // Chats of their own, so that events of many dialogues come in one another's midst.
        let mut body = route.message(Some(&at.to_string()), &text);
        body["chat_id"] = json!(format!("{}/{}", route.channel_id, at % 7));
        assert_eq!(world.new_message(&route, &body).await.status, 200);
        if at % 5 == 0 {
            watchers.push(tokio::spawn(see(watch("0".to_owned(), &[]).await)));
        }
    }
    let whole = watchers.pop().unwrap().await.unwrap();
    for watcher in watchers {
        assert_eq!(watcher.await.unwrap(), whole);
    }
    let request = v1::ListEventsRequest { page_size: 1_000, ..v1::ListEventsRequest::default() };
    let listed = grpc.events().list_events(request).await.unwrap().into_inner().events;
    let listed: Vec<_> = listed.into_iter().map(|event| (event.id, event.cursor, event.r#type)).collect();
    let both = |(id, cursor, _): &(String, String, String)| (id.clone(), cursor.clone());
    assert_eq!(whole, listed[..whole.len()].iter().map(both).collect::<Vec<_>>());
    let of_kind: Vec<_> = listed.iter().filter(|event| event.2 == "message.received").map(both).collect();
    assert_eq!(of_kind.len(), MESSAGES);
    for watcher in received {
        assert_eq!(watcher.await.unwrap(), of_kind);
    }
    // From any place on, while others stand elsewhere.
    for (at, (_, cursor)) in whole.iter().enumerate().step_by(7) {
        let rest = &whole[at + 1..];
        if !rest.is_empty() {
            assert_eq!(see(watch(cursor.clone(), &[]).await).await, rest);
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn pages_of_any_size_give_every_event_once() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    for at in 0..5 {
        world.new_message(&route, &route.message(Some(&at.to_string()), "hello")).await;
    }
    receiver.wait_for(1).await;
    // All turns are over when their deliveries are told of.
    let grpc = world.grpc().await;
    let read = async |size: i32| {
        let (mut cursor, mut ids) = (String::new(), Vec::new());
        loop {
            let request =
                v1::ListEventsRequest { page_size: size, cursor, ..v1::ListEventsRequest::default() };
            let page = grpc.events().list_events(request).await.unwrap().into_inner();
            ids.extend(page.events.into_iter().map(|event| event.id));
            cursor = page.next_cursor;
            if !page.more {
                return ids;
            }
        }
    };
    crate::harness::until(|| async {
        let before = read(1_000).await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        Some(()).filter(|()| before.len() >= 9)
    })
    .await;
    let all = read(1_000).await;
    for size in [1, 2, 3, 7] {
        assert_eq!(read(size).await, all, "pages of {size}");
    }
    world.stop().await;
}

#[tokio::test]
async fn cursors_of_others_and_of_the_future_are_refused() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let list = async |cursor: String| {
        let request = v1::ListEventsRequest { cursor, ..v1::ListEventsRequest::default() };
        grpc.events().list_events(request).await
    };
    let here = list(String::new()).await.unwrap().into_inner().next_cursor;
    assert!(list(here.clone()).await.is_ok());
    assert_eq!(reason(&list("rubbish".to_owned()).await.unwrap_err()).0, "CURSOR_INVALID");
    let workspace = grpc.workspaces().get_workspace(v1::GetWorkspaceRequest::default()).await.unwrap();
    let workspace = workspace.into_inner().workspace.unwrap().id.parse().unwrap();
    let future = domain::event::Cursor { workspace, epoch: 1, position: 1_000_000 }.encode();
    assert_eq!(reason(&list(future).await.unwrap_err()).0, "CURSOR_AHEAD");
    let other =
        domain::event::Cursor { workspace: uuid::Uuid::from_u128(1).into(), epoch: 1, position: 0 }.encode();
    assert_eq!(reason(&list(other).await.unwrap_err()).0, "CURSOR_INVALID");
    world.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_a_word_when_the_server_stops() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let mut stream = grpc.events().watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let began = std::time::Instant::now();
    world.stop().await;
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "an open stream must not hold the process");
    let ended = stream.message().await.unwrap_err();
    assert_eq!(ended.code(), tonic::Code::Unavailable);
}
