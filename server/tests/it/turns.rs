//! Reply policies: bursts, newer messages, engines that fail, late answers.

use std::time::Duration;

use serde_json::json;
use switchboard_sdk::v1::{self, RunState, TurnState};

use crate::{
    harness::{Grpc, Receiver, Route, World, reason, until},
    tenants::second_workspace,
};

fn millis(millis: i32) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::from(millis / 1000), nanos: millis % 1000 * 1_000_000 }
}

async fn turns(grpc: &Grpc, route: &Route) -> Vec<v1::Turn> {
    let request = v1::ListDialoguesRequest {
        channel_id: route.channel_id.clone(),
        ..v1::ListDialoguesRequest::default()
    };
    let dialogue =
        grpc.dialogues().list_dialogues(request).await.unwrap().into_inner().dialogues.pop().unwrap();
    let request = v1::ListTurnsRequest { dialogue_id: dialogue.id, ..v1::ListTurnsRequest::default() };
    grpc.dialogues().list_turns(request).await.unwrap().into_inner().turns
}

/// The newest turn, once it is closed, with its runs.
async fn closed(grpc: &Grpc, route: &Route) -> v1::Turn {
    let id = until(|| async {
        turns(grpc, route)
            .await
            .into_iter()
            .next()
            .filter(|turn| turn.close_time.is_some())
            .map(|turn| turn.id)
    })
    .await;
    grpc.dialogues().get_turn(v1::GetTurnRequest { id }).await.unwrap().into_inner().turn.unwrap()
}

#[tokio::test]
async fn a_burst_is_one_turn_after_a_quiet_window() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let policy = v1::ReplyPolicy { quiet_window: Some(millis(600)), ..v1::ReplyPolicy::default() };
    world.set_policy(&route, policy).await;
    for (id, text) in [("m1", "one"), ("m2", "two"), ("m3", "three"), ("m4", "four"), ("m5", "five")] {
        world.new_message(&route, &route.message(Some(id), text)).await;
        // Together they last longer than the window: each message begins it anew.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(receiver.received().is_empty());
    let answer = receiver.wait_for(1).await[0].json()["text"].to_string();
    for text in ["one", "two", "three", "four", "five"] {
        assert!(answer.contains(text), "{answer}");
    }
    let grpc = world.grpc().await;
    let turn = closed(&grpc, &route).await;
    assert_eq!((turn.state(), turn.covered_through, turn.runs.len()), (TurnState::Replied, 5, 1));
    assert_eq!(turns(&grpc, &route).await.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_burst_without_end_is_answered_after_the_longest_wait() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let policy = v1::ReplyPolicy {
        quiet_window: Some(millis(500)),
        longest_wait: Some(millis(1_000)),
        ..v1::ReplyPolicy::default()
    };
    world.set_policy(&route, policy).await;
    let begun = std::time::Instant::now();
    let mut sent = 0;
    while receiver.received().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(15), "it was never answered");
        world.new_message(&route, &route.message(Some(&format!("m{sent}")), "and")).await;
        sent += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(950), "answered after {:?}", begun.elapsed());
    world.stop().await;
}

#[tokio::test]
async fn under_restart_newer_messages_supersede_the_run() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({ "delay_ms": 800 })).await;
    let policy =
        v1::ReplyPolicy { newer_message: v1::NewerMessage::Restart.into(), ..v1::ReplyPolicy::default() };
    world.set_policy(&route, policy).await;
    for (id, text) in [("m1", "one"), ("m2", "two"), ("m3", "three")] {
        world.new_message(&route, &route.message(Some(id), text)).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let grpc = world.grpc().await;
    let turn = closed(&grpc, &route).await;
    let states: Vec<_> = turn.runs.iter().map(v1::Run::state).collect();
    assert_eq!(states, [RunState::Superseded, RunState::Superseded, RunState::Answered]);
    assert_eq!((turn.state(), turn.covered_through), (TurnState::Replied, 3));
    let received = receiver.wait_for(1).await;
    let answer = received[0].json()["text"].to_string();
    assert!(answer.contains("one") && answer.contains("two") && answer.contains("three"), "{answer}");
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!((receiver.received().len(), turns(&grpc, &route).await.len()), (1, 1));
    world.stop().await;
}

#[tokio::test]
async fn a_turn_is_superseded_so_often_and_no_more() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({ "delay_ms": 600 })).await;
    let policy = v1::ReplyPolicy {
        newer_message: v1::NewerMessage::Restart.into(),
        max_restarts: Some(1),
        ..v1::ReplyPolicy::default()
    };
    world.set_policy(&route, policy).await;
    for (id, text) in [("m1", "one"), ("m2", "two"), ("m3", "three")] {
        world.new_message(&route, &route.message(Some(id), text)).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let received = receiver.wait_for(2).await;
    let first = received[0].json()["text"].to_string();
    assert!(first.contains("one") && first.contains("two") && !first.contains("three"), "{first}");
    let grpc = world.grpc().await;
    assert_eq!(closed(&grpc, &route).await.covered_through, 3);
    assert_eq!(turns(&grpc, &route).await.len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn a_run_that_has_called_a_tool_is_not_superseded() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({ "delay_ms": 400 })).await;
    let policy =
        v1::ReplyPolicy { newer_message: v1::NewerMessage::Restart.into(), ..v1::ReplyPolicy::default() };
    world.set_policy(&route, policy).await;
    world.new_message(&route, &route.message(Some("m1"), "/tool set_attribute city Riga")).await;
    let grpc = world.grpc().await;
    // The step with its effect is committed; the engine writes its answer.
    until(|| async {
        let request = v1::ListDialoguesRequest::default();
        let found = grpc.dialogues().list_dialogues(request).await.unwrap().into_inner().dialogues.pop()?;
        Some(()).filter(|()| found.attributes.is_some_and(|noted| noted.fields.contains_key("city")))
    })
    .await;
    world.new_message(&route, &route.message(Some("m2"), "two")).await;
    receiver.wait_for(2).await;
    let all = turns(&grpc, &route).await;
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|turn| turn.state() == TurnState::Replied), "{all:?}");
    world.stop().await;
}

#[tokio::test]
async fn when_the_engine_fails_the_policy_decides() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let grpc = world.grpc().await;
    let route = world.route(&receiver, json!({ "fail": "always" })).await;
    let policy = v1::ReplyPolicy {
        on_failure: v1::OnFailure::FallbackText.into(),
        fallback_text: "We will be with you soon.".to_owned(),
        ..v1::ReplyPolicy::default()
    };
    world.set_policy(&route, policy).await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    assert_eq!(receiver.wait_for(1).await[0].json()["text"], "We will be with you soon.");
    let turn = closed(&grpc, &route).await;
    assert_eq!((turn.state(), turn.reason.as_str()), (TurnState::Replied, "fallback"));
    assert!(turn.runs.iter().all(|run| run.state() == RunState::Failed && !run.error.is_empty()));

    let policy = v1::ReplyPolicy {
        on_failure: v1::OnFailure::HandOver.into(),
        hand_over_notice: "A person takes over.".to_owned(),
        ..v1::ReplyPolicy::default()
    };
    world.set_policy(&route, policy).await;
    world.new_message(&route, &route.message(Some("m2"), "hello again")).await;
    assert_eq!(receiver.wait_for(2).await[1].json()["text"], "A person takes over.");
    let turn = closed(&grpc, &route).await;
    assert_eq!((turn.state(), turn.reason.as_str()), (TurnState::Failed, "engine_failed"));
    let request = v1::GetDialogueRequest { id: turn.dialogue_id };
    let dialogue = grpc.dialogues().get_dialogue(request).await.unwrap().into_inner().dialogue.unwrap();
    assert_eq!(dialogue.status(), v1::DialogueStatus::Open);
    assert_eq!(dialogue.control.unwrap().reason, "engine_failed");
    world.stop().await;
}

#[tokio::test]
async fn late_turns_are_marked_and_follow_their_policy() {
    // The workers were away: the first run fails, and the next comes late.
    let world = World::with(&[("SWITCHBOARD_RUN_PAUSES", "1500ms,1500ms")]).await;
    let receiver = Receiver::start().await;
    let grpc = world.grpc().await;
    let late = |on_late: v1::OnLate| v1::ReplyPolicy {
        longest_wait: Some(millis(1_000)),
        late_after: Some(millis(1_000)),
        on_late: on_late.into(),
        apology_text: "Sorry for the wait.".to_owned(),
        ..v1::ReplyPolicy::default()
    };
    let route = world.route(&receiver, json!({ "fail": "once" })).await;
    world.set_policy(&route, late(v1::OnLate::Apologise)).await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    let text = receiver.wait_for(1).await[0].json()["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("Sorry for the wait.\n\n") && text.contains("hello"), "{text}");
    let turn = closed(&grpc, &route).await;
    assert!(turn.late && turn.state() == TurnState::Replied);

    let route = world.route(&receiver, json!({ "fail": "once" })).await;
    world.set_policy(&route, late(v1::OnLate::HandOver)).await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    let turn = closed(&grpc, &route).await;
    assert_eq!((turn.late, turn.state(), turn.reason.as_str()), (true, TurnState::Silent, "late"));
    assert_eq!(receiver.received().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_message_that_was_written_long_before_it_came_is_late() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let grpc = world.grpc().await;
    let route = world.route(&receiver, json!({})).await;
    let late = v1::ReplyPolicy {
        late_after: Some(millis(60_000)),
        on_late: v1::OnLate::Apologise.into(),
        apology_text: "Sorry for the wait.".to_owned(),
        ..v1::ReplyPolicy::default()
    };
    world.set_policy(&route, late.clone()).await;
    let now = domain::Clock::now(&domain::SystemClock).unix_timestamp();
    let receive = async |id: &str, seconds_ago: i64| {
        let request = v1::ReceiveMessageRequest {
            channel_id: route.channel_id.clone(),
            message_id: id.to_owned(),
            text: format!("{id}, please"),
            sender: v1::MessageSender::Customer.into(),
            send_time: Some(prost_types::Timestamp { seconds: now - seconds_ago, nanos: 0 }),
            ..v1::ReceiveMessageRequest::default()
        };
        grpc.webhooks().receive_message(request).await.unwrap();
    };
    // As when the messenger tells after an outage what customers wrote during it.
    receive("m1", 600).await;
    let text = receiver.wait_for(1).await[0].json()["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("Sorry for the wait.\n\n") && text.contains("m1"), "{text}");
    assert!(closed(&grpc, &route).await.late);
    // What was written just now is not, nor what claims to come from the future.
    receive("m2", 5).await;
    receive("m3", -600).await;
    receiver.wait_for(2).await;
    let newest = until(|| async {
        let all = turns(&grpc, &route).await;
        Some(all).filter(|all| all.iter().all(|turn| turn.close_time.is_some()))
    })
    .await;
    assert_eq!(newest.iter().filter(|turn| turn.late).count(), 1, "{newest:?}");

    // One old message makes a burst late, however fresh the others are.
    let quiet =
        v1::ReplyPolicy { quiet_window: Some(millis(500)), on_late: v1::OnLate::HandOver.into(), ..late };
    world.set_policy(&route, quiet).await;
    receive("m4", 0).await;
    receive("m5", 3_600).await;
    receive("m6", 1).await;
    let turn = closed(&grpc, &route).await;
    assert_eq!((turn.late, turn.state(), turn.reason.as_str()), (true, TurnState::Silent, "late"));
    world.stop().await;
}

#[tokio::test]
async fn absurd_policies_are_refused_by_field() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    for (policy, field) in [
        (
            v1::ReplyPolicy { quiet_window: Some(millis(-1)), ..Default::default() },
            "agent.reply_policy.quiet_window",
        ),
        (
            v1::ReplyPolicy {
                longest_wait: Some(prost_types::Duration { seconds: i64::MAX, nanos: 0 }),
                ..Default::default()
            },
            "agent.reply_policy.longest_wait",
        ),
        (v1::ReplyPolicy { max_restarts: Some(0), ..Default::default() }, "agent.reply_policy.max_restarts"),
        (v1::ReplyPolicy { on_failure: 77, ..Default::default() }, "agent.reply_policy.on_failure"),
    ] {
        let refused = world.try_policy(&route, policy).await.unwrap_err();
        assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec![field.to_owned()]));
    }
    world.stop().await;
}

#[tokio::test]
async fn a_workspace_whose_engine_hangs_keeps_no_other_waiting() {
    const PLACES: i64 = 8;
    let mut world = World::with(&[("SWITCHBOARD_CONCURRENCY", &PLACES.to_string())]).await;
    let receiver = Receiver::start().await;
    let hanging = world.route(&receiver, json!({ "delay_ms": 60_000 })).await;
    for chat in 0..3 * PLACES {
        let mut body = hanging.message(Some("m1"), "hello");
        body["chat_id"] = json!(format!("{}/{chat}", hanging.channel_id));
        assert_eq!(world.new_message(&hanging, &body).await.status, 200);
    }
    let mut owner = world.owner().await;
    let mut running = async || -> i64 {
        let count = sqlx::query_scalar("select count(*) from runs where state = 'STARTED'");
        count.fetch_one(&mut owner).await.unwrap()
    };
    // All that one workspace gets is taken, and no more for as long as one looks.
    let mut before = -1;
    loop {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let now = running().await;
        if now == before && now > 0 {
            break;
        }
        before = now;
    }
    assert!((PLACES / 2..PLACES).contains(&before), "{before} of {PLACES} places");

    let (_, key) = second_workspace(&world).await;
    world.key = key;
    let route = world.route(&receiver, json!({})).await;
    let began = std::time::Instant::now();
    for text in ["one", "two", "three"] {
        world.new_message(&route, &route.message(Some(text), text)).await;
        let answered =
            || receiver.received().iter().any(|call| call.json()["text"].to_string().contains(text));
        until(|| async { Some(()).filter(|()| answered()) }).await;
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(running().await, before, "the others still hang");
    drop(world);
}

#[tokio::test]
async fn a_quiet_window_that_was_moved_ends_late_though_its_worker_died() {
    // Nobody works here: the story is the worker that died.
    let world = World::with(&[("SWITCHBOARD_ROLES", "api")]).await;
    let receiver = Receiver::start().await;
    let (now, later) = (world.route(&receiver, json!({})).await, world.route(&receiver, json!({})).await);
    let patient = v1::ReplyPolicy {
        quiet_window: Some(millis(600_000)),
        longest_wait: Some(millis(600_000)),
        ..v1::ReplyPolicy::default()
    };
    world.set_policy(&later, patient).await;
    for route in [&now, &later] {
        world.new_message(route, &route.message(Some("m1"), "hello")).await;
    }
    let mut owner = world.owner().await;
    let dead = uuid::Uuid::from_u128(1);
    let held = sqlx::query("update job_keys set locked_by = $1, next_run_at = 'epoch' where lane = 'turn'");
    assert_eq!(held.bind(dead).execute(&mut owner).await.unwrap().rows_affected(), 2);
    let at = domain::Clock::now(&domain::SystemClock);
    for call in [
        "select system_heartbeat($1, interval '1 minute', $2)",
        "select null from system_retire($1, $2)",
        "select null from system_retire_others($1, $2)",
    ] {
        let living = uuid::Uuid::from_u128(2);
        let who = if call.contains("system_retire(") { dead } else { living };
        sqlx::query(call).bind(who).bind(at).execute(&mut owner).await.unwrap();
        let keys: Vec<(bool, bool, bool)> = sqlx::query_as(
            "select k.locked_by is null, k.next_run_at = 'epoch', k.next_run_at = j.run_at
             from job_keys k join jobs j using (workspace_id, subject_id, lane) where k.lane = 'turn'
             order by j.run_at",
        )
        .fetch_all(&mut owner)
        .await
        .unwrap();
        assert_eq!(keys, [(true, true, false), (true, false, true)], "{call}");
        let held =
            sqlx::query("update job_keys set locked_by = $1, next_run_at = 'epoch' where lane = 'turn'");
        held.bind(dead).execute(&mut owner).await.unwrap();
    }
    world.stop().await;
}
