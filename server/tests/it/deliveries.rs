//! Delivering, against a receiver that fails.

use serde_json::json;
use switchboard_sdk::v1::{self, AttemptState, DeliveryState};

use crate::harness::{CUT, Receiver, World, reason, until};

#[tokio::test]
async fn a_receiver_that_is_down_gets_its_messages_in_order_when_it_is_up() {
    let world =
        World::with(&[("SWITCHBOARD_DELIVERY_PAUSES", "100ms,200ms,200ms,200ms,200ms,200ms,200ms")]).await;
    let receiver = Receiver::start().await;
    receiver.answer_with(503);
    let route = world.route(&receiver, json!({})).await;
    for text in ["one", "two", "three"] {
        let token = format!("Bearer {}", route.agent_token);
        let headers = [("x-chatbot_auth_token", token.as_str()), ("prefer", "wait=10")];
        let body = route.message(Some(text), text).to_string();
        assert_eq!(world.post("/api/webhook/new_message", &headers, body).await.status, 200);
    }
    receiver.wait_for(2).await;
    // Strictly first in, first out: while the head waits for its retry nothing behind it goes out.
    let first = receiver.received()[0].json()["text"].clone();
    assert!(receiver.received().iter().all(|received| received.json()["text"] == first));
    let failed = receiver.received().len();
    receiver.answer_with(200);
    let received = receiver.wait_for(failed + 3).await;
    let texts: Vec<_> =
        received.iter().rev().take(3).map(|received| received.json()["text"].to_string()).collect();
    assert!(texts[2].contains("one") && texts[1].contains("two") && texts[0].contains("three"), "{texts:?}");
    // The same delivery, the same id: a receiver can drop repeats.
    let ids: Vec<_> =
        received.iter().take(failed + 1).map(|received| received.headers["webhook-id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_receiver_that_refuses_connections_gets_its_message_when_it_is_up() {
    let world = World::with(&[("SWITCHBOARD_DELIVERY_PAUSES", &["100ms"; 100].join(","))]).await;
    let mut receiver = Receiver::down();
    let route = world.route(&receiver, json!({})).await;
    assert_eq!(world.new_message(&route, &route.message(Some("m1"), "hello")).await.status, 200);
    let grpc = world.grpc().await;
    let delivery = async || {
        let listed = grpc.dialogues().list_deliveries(v1::ListDeliveriesRequest::default()).await.unwrap();
        let id = listed.into_inner().deliveries.pop()?.id;
        let read = grpc.dialogues().get_delivery(v1::GetDeliveryRequest { id }).await.unwrap();
        read.into_inner().delivery
    };
    let waiting = until(|| async { delivery().await.filter(|delivery| delivery.attempt_count >= 2) }).await;
    let first = &waiting.attempts[0];
    assert_eq!((first.state(), first.http_status), (AttemptState::Failed, 0), "{first:?}");
    assert!(receiver.received().is_empty());

    receiver.come_up();
    let received = receiver.wait_for(1).await.remove(0);
    assert!(received.json()["text"].as_str().unwrap().contains("hello"));
    let done =
        until(|| async { delivery().await.filter(|delivery| delivery.state() == DeliveryState::Delivered) })
            .await;
    let last = done.attempts.last().unwrap();
    assert_eq!((last.state(), last.http_status), (AttemptState::Succeeded, 200), "{last:?}");
    assert_eq!(receiver.received().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn what_is_refused_for_good_is_dead_and_can_be_revived() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.answer_with(400);
    let route = world.route(&receiver, json!({})).await;
    assert_eq!(world.new_message(&route, &route.message(Some("m1"), "hello")).await.status, 200);
    let grpc = world.grpc().await;
    let dead = until(|| async {
        let request = v1::ListDeliveriesRequest {
            state: DeliveryState::Dead.into(),
            ..v1::ListDeliveriesRequest::default()
        };
        grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries.pop()
    })
    .await;
    assert_eq!((dead.attempt_count, dead.reason.as_str()), (1, "refused"));

    receiver.answer_with(200);
    let retry = || v1::RetryDeliveryRequest { id: dead.id.clone() };
    let revived = grpc.dialogues().retry_delivery(retry()).await.unwrap().into_inner().delivery.unwrap();
    assert_eq!(revived.state(), DeliveryState::Pending);
    let get = || v1::GetDeliveryRequest { id: dead.id.clone() };
    let delivered = until(|| async {
        let delivery = grpc.dialogues().get_delivery(get()).await.unwrap().into_inner().delivery.unwrap();
        Some(delivery).filter(|delivery| delivery.state() == DeliveryState::Delivered)
    })
    .await;
    let states: Vec<_> = delivered.attempts.iter().map(v1::Attempt::state).collect();
    assert_eq!(states, [AttemptState::Failed, AttemptState::Succeeded]);
    assert_eq!((delivered.attempts[0].http_status, delivered.attempts[1].http_status), (400, 200));

    let refused = grpc.dialogues().retry_delivery(retry()).await.unwrap_err();
    assert_eq!(reason(&refused).0, "DELIVERY_NOT_DEAD");
    world.stop().await;
}

#[tokio::test]
async fn attempts_end_in_a_dead_letter() {
    let world = World::with(&[("SWITCHBOARD_DELIVERY_PAUSES", "10ms,10ms")]).await;
    let receiver = Receiver::start().await;
    receiver.answer_with(500);
    let route = world.route(&receiver, json!({})).await;
    assert_eq!(world.new_message(&route, &route.message(Some("m1"), "hello")).await.status, 200);
    let grpc = world.grpc().await;
    let dead = until(|| async {
        let request = v1::ListDeliveriesRequest::default();
        let found = grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries.pop();
        found.filter(|delivery| delivery.state() == DeliveryState::Dead)
    })
    .await;
    assert_eq!((dead.attempt_count, dead.reason.as_str()), (3, "attempts_exhausted"));
    assert_eq!(receiver.received().len(), 3);
    world.stop().await;
}

#[tokio::test]
async fn what_waits_for_a_deleted_channel_is_withheld() {
    let world = World::with(&[("SWITCHBOARD_DELIVERY_PAUSES", "300ms,300ms,300ms")]).await;
    let receiver = Receiver::start().await;
    // A refusal that surely had no effect.
    receiver.answer_with(429);
    let route = world.route(&receiver, json!({})).await;
    assert_eq!(world.new_message(&route, &route.message(Some("m1"), "hello")).await.status, 200);
    receiver.wait_for(1).await;
    let grpc = world.grpc().await;
    grpc.channels().delete_channel(v1::DeleteChannelRequest { id: route.channel_id.clone() }).await.unwrap();
    let withheld = until(|| async {
        let request = v1::ListDeliveriesRequest::default();
        let found = grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries.pop();
        found.filter(|delivery| delivery.state() == DeliveryState::Withheld)
    })
    .await;
    assert_eq!(withheld.reason, "channel_inactive");
    assert_eq!(
        world
            .new_message(&route, &route.message(Some("m2"), "hello"))
            .await
            .problem(404, "CHANNEL_NOT_FOUND")
            .len(),
        0
    );
    world.stop().await;
}

#[tokio::test]
async fn what_may_have_arrived_follows_the_channels_policy() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let grpc = world.grpc().await;
    let route = world.route(&receiver, json!({})).await;
    let newest = || async {
        let request = v1::ListDeliveriesRequest::default();
        grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries.into_iter().next()
    };
    // By default it is sent again, and says so meanwhile.
    receiver.answer_with(CUT);
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    let uncertain =
        until(|| async { newest().await.filter(|delivery| delivery.state() == DeliveryState::Uncertain) })
            .await;
    receiver.answer_with(200);
    let get = |id: &str| v1::GetDeliveryRequest { id: id.to_owned() };
    let delivered = until(|| async {
        let delivery = grpc.dialogues().get_delivery(get(&uncertain.id)).await.unwrap().into_inner().delivery;
        delivery.filter(|delivery| delivery.state() == DeliveryState::Delivered)
    })
    .await;
    assert_eq!(delivered.attempts[0].state(), AttemptState::Unknown);

    // Under HOLD a person decides, and what follows goes out meanwhile.
    let hold =
        v1::DeliveryPolicy { uncertain: v1::UncertainPolicy::Hold.into(), ..v1::DeliveryPolicy::default() };
    world.set_delivery_policy(&route, hold).await.unwrap();
    receiver.answer_with(CUT);
    let calls = receiver.received().len();
    world.new_message(&route, &route.message(Some("m2"), "two")).await;
    let held =
        until(|| async { newest().await.filter(|delivery| delivery.state() == DeliveryState::Held) }).await;
    assert_eq!((held.attempt_count, held.reason.as_str()), (1, "maybe_delivered"));
    receiver.answer_with(200);
    world.new_message(&route, &route.message(Some("m3"), "three")).await;
    let received = receiver.wait_for(calls + 2).await;
    assert!(received[calls + 1].json()["text"].to_string().contains("three"));

    let resolve = |resolution: v1::DeliveryResolution| v1::ResolveDeliveryRequest {
        id: held.id.clone(),
        resolution: resolution.into(),
    };
    let unset = grpc.dialogues().resolve_delivery(resolve(v1::DeliveryResolution::Unspecified)).await;
    assert_eq!(reason(&unset.unwrap_err()).1, ["resolution"]);
    grpc.dialogues().resolve_delivery(resolve(v1::DeliveryResolution::Resend)).await.unwrap();
    let received = receiver.wait_for(calls + 3).await;
    assert!(received[calls + 2].json()["text"].to_string().contains("two"));
    let again = until(|| async {
        let delivery = grpc.dialogues().get_delivery(get(&held.id)).await.unwrap().into_inner().delivery;
        delivery.filter(|delivery| delivery.state() == DeliveryState::Delivered)
    })
    .await;
    assert_eq!(again.attempt_count, 2);
    let refused = grpc.dialogues().resolve_delivery(resolve(v1::DeliveryResolution::Discard)).await;
    assert_eq!(reason(&refused.unwrap_err()).0, "DELIVERY_NOT_HELD");
    world.stop().await;
}

#[tokio::test]
async fn the_governor_keeps_a_channel_under_its_rate() {
    const RATE: u32 = 6;
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let policy =
        v1::DeliveryPolicy { max_per_second: Some(f64::from(RATE)), ..v1::DeliveryPolicy::default() };
    world.set_delivery_policy(&route, policy).await.unwrap();
    let grpc = world.grpc().await;
    for chat in 0..20 {
        let request = v1::ReceiveMessageRequest {
            channel_id: route.channel_id.clone(),
            chat: format!("chat-{chat}"),
            text: "hello".to_owned(),
            sender: v1::MessageSender::Customer.into(),
            ..v1::ReceiveMessageRequest::default()
        };
        grpc.webhooks().receive_message(request).await.unwrap();
    }
    let received = receiver.wait_for(20).await;
    for window in received.windows(RATE as usize + 1) {
        let span = window[RATE as usize].at - window[0].at;
        assert!(span >= std::time::Duration::from_secs(1), "{} calls within {span:?}", RATE + 1);
    }
    world.stop().await;
}

#[tokio::test]
async fn several_processes_keep_a_channel_under_its_rate_together() {
    const RATE: usize = 14;
    const CHATS: usize = 56;
    let world = World::new().await;
    let others = [world.another().await, world.another().await];
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let rate = f64::from(u32::try_from(RATE).unwrap());
    let policy = v1::DeliveryPolicy { max_per_second: Some(rate), ..v1::DeliveryPolicy::default() };
    world.set_delivery_policy(&route, policy).await.unwrap();
    let addresses = others.iter().map(|other| other.grpc.unwrap()).chain([world.grpc_addr()]);
    let mut doors = Vec::new();
    for address in addresses {
        let channel = tonic::transport::Channel::from_shared(format!("http://{address}")).unwrap();
        doors.push(crate::harness::Grpc::over(channel.connect().await.unwrap(), &world.key));
    }
    let said = (0..CHATS).map(|chat| {
        let request = v1::ReceiveMessageRequest {
            channel_id: route.channel_id.clone(),
            chat: format!("chat-{chat}"),
            text: "hello".to_owned(),
            sender: v1::MessageSender::Customer.into(),
            ..v1::ReceiveMessageRequest::default()
        };
        let mut webhooks = doors[chat % doors.len()].webhooks();
        async move { webhooks.receive_message(request).await.unwrap() }
    });
    futures::future::join_all(said).await;
    let received = receiver.wait_for(CHATS).await;
    for window in received.windows(RATE + 1) {
        let span = window[RATE].at - window[0].at;
        assert!(span >= std::time::Duration::from_secs(1), "{} calls within {span:?}", RATE + 1);
    }
    // And the rate is used: 56 at 12 a second take less than five seconds.
    let whole = received[CHATS - 1].at - received[0].at;
    assert!(whole < std::time::Duration::from_secs(10), "{whole:?}");
    for other in others {
        other.stop().await.unwrap();
    }
    world.stop().await;
}

#[tokio::test]
async fn a_receiver_that_asks_to_wait_is_given_the_time() {
    let world = World::with(&[("SWITCHBOARD_DELIVERY_PAUSES", "100ms,100ms,100ms")]).await;
    let receiver = Receiver::start().await;
    receiver.answer_with(429);
    receiver.ask_to_wait(2);
    let route = world.route(&receiver, json!({})).await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    let first = receiver.wait_for(1).await[0].at;
    receiver.answer_with(200);
    let second = receiver.wait_for(2).await[1].at;
    assert!(second - first >= std::time::Duration::from_secs(2), "{:?}", second - first);
    world.stop().await;
}

#[tokio::test]
async fn the_guard_withholds_and_says_why() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let grpc = world.grpc().await;
    let route = world.route(&receiver, json!({})).await;
    let now = domain::Clock::now(&domain::SystemClock);
    let clock = |hours: i32| {
        let at = now + time::Duration::hours(i64::from(hours));
        format!("{:02}:{:02}", at.hour(), at.minute())
    };
    let limited = v1::DeliveryPolicy {
        loop_limit: Some(0),
        hourly_limit: Some(2),
        quiet_hours: Some(v1::QuietHours { start: clock(-1), end: clock(1), time_zone: "UTC".to_owned() }),
        ..v1::DeliveryPolicy::default()
    };
    world.set_delivery_policy(&route, limited.clone()).await.unwrap();
    world.new_message(&route, &route.message(Some("m1"), "one")).await;
    receiver.wait_for(1).await;
    let settled = |count: usize| {
        let grpc = grpc.clone();
        async move {
            until(|| async {
                let request = v1::ListDeliveriesRequest::default();
                let all = grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries;
                let done = all.len() == count && all.iter().all(|delivery| delivery.settle_time.is_some());
                Some(all).filter(|_| done)
            })
            .await
        }
    };
    let dialogue_id = settled(1).await[0].dialogue_id.clone();
    let send = v1::SendMessageRequest {
        dialogue_id,
        text: "buy now".to_owned(),
        author: v1::MessageAuthor::Automation.into(),
        ..v1::SendMessageRequest::default()
    };
    grpc.dialogues().send_message(send).await.unwrap();
    let quiet = settled(2).await[0].clone();
    assert_eq!((quiet.state(), quiet.reason.as_str()), (DeliveryState::Withheld, "quiet_hours"));
    world.new_message(&route, &route.message(Some("m2"), "two")).await;
    settled(3).await;
    world.new_message(&route, &route.message(Some("m3"), "three")).await;
    let capped = settled(4).await[0].clone();
    assert_eq!((capped.state(), capped.reason.as_str()), (DeliveryState::Withheld, "rate_capped"));

    let route = world.route(&receiver, json!({})).await;
    let limited = v1::DeliveryPolicy { loop_limit: Some(1), ..v1::DeliveryPolicy::default() };
    world.set_delivery_policy(&route, limited).await.unwrap();
    world.new_message(&route, &route.message(Some("m1"), "one")).await;
    settled(5).await;
    world.new_message(&route, &route.message(Some("m2"), "two")).await;
    let looped = settled(6).await[0].clone();
    assert_eq!((looped.state(), looped.reason.as_str()), (DeliveryState::Withheld, "loop"));

    let bad = v1::DeliveryPolicy {
        quiet_hours: Some(v1::QuietHours {
            start: "22:00".to_owned(),
            end: "08:00".to_owned(),
            time_zone: "Mars/Olympus".to_owned(),
        }),
        ..v1::DeliveryPolicy::default()
    };
    let refused = world.set_delivery_policy(&route, bad).await.unwrap_err();
    assert_eq!(reason(&refused).1, ["channel.delivery_policy.quiet_hours.time_zone"]);
    let bad = v1::DeliveryPolicy { max_per_second: Some(-3.0), ..v1::DeliveryPolicy::default() };
    let refused = world.set_delivery_policy(&route, bad).await.unwrap_err();
    assert_eq!(reason(&refused).1, ["channel.delivery_policy.max_per_second"]);
    world.stop().await;
}

#[tokio::test]
async fn another_rate_begins_at_once() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let grpc = world.grpc().await;
    let route = world.route(&receiver, json!({})).await;
    let rate = |rate: f64| v1::DeliveryPolicy { max_per_second: Some(rate), ..v1::DeliveryPolicy::default() };
    world.set_delivery_policy(&route, rate(0.01)).await.unwrap();
    for chat in 0..4 {
        let request = v1::ReceiveMessageRequest {
            channel_id: route.channel_id.clone(),
            chat: format!("chat-{chat}"),
            text: "hello".to_owned(),
            sender: v1::MessageSender::Customer.into(),
            ..v1::ReceiveMessageRequest::default()
        };
        grpc.webhooks().receive_message(request).await.unwrap();
    }
    receiver.wait_for(1).await;
    // The others wait for minutes, until the receiver takes more.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(receiver.received().len(), 1);
    world.set_delivery_policy(&route, rate(100.0)).await.unwrap();
    receiver.wait_for(4).await;
    world.stop().await;
}

#[tokio::test]
async fn workspaces_whose_work_is_far_off_keep_nobody_waiting() {
    use sqlx::Executor as _;

    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    // More than a claim serves, and before this one in every order.
    let mut owner = world.owner().await;
    let far = "insert into job_keys (workspace_id, subject_id, lane, next_run_at)
         select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, gen_random_uuid(), 'timer', 'tomorrow'
         from generate_series(1, 600) n";
    owner.execute(far).await.unwrap();
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    world.stop().await;
}
