//! Dialogues that people hold go back to the agent where its rules say so.

use std::time::{Duration, Instant};

use serde_json::json;
use switchboard_sdk::v1::{self, DialogueStatus, MessageRole, TurnState};

use crate::harness::{Grpc, Receiver, Route, World, reason, until};

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

fn rules(unanswered_after: Option<i64>, phrases: &[&str]) -> v1::ReplyPolicy {
    v1::ReplyPolicy {
        return_rules: Some(v1::ReturnRules {
            unanswered_after: unanswered_after.map(seconds),
            phrases: phrases.iter().map(|phrase| (*phrase).to_owned()).collect(),
        }),
        ..v1::ReplyPolicy::default()
    }
}

/// A dialogue with these rules that the agent has answered once and a person has taken.
struct Taken {
    world: World,
    receiver: Receiver,
    route: Route,
    grpc: Grpc,
    id: String,
}

impl Taken {
    async fn under(policy: v1::ReplyPolicy) -> Self {
        let world = World::new().await;
        let receiver = Receiver::start().await;
        let route = world.route(&receiver, json!({})).await;
        let grpc = world.grpc().await;
        world.set_policy(&route, policy).await;
        world.new_message(&route, &route.message(Some("m1"), "hello")).await;
        receiver.wait_for(1).await;
        let request = v1::ListDialoguesRequest::default();
        let id = grpc.dialogues().list_dialogues(request).await.unwrap().into_inner().dialogues.remove(0).id;
        let request = v1::TakeControlRequest { dialogue_id: id.clone(), ..v1::TakeControlRequest::default() };
        grpc.dialogues().take_control(request).await.unwrap();
        Self { world, receiver, route, grpc, id }
    }

    async fn customer(&self, id: &str, text: &str) {
        let answer = self.world.new_message(&self.route, &self.route.message(Some(id), text)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    async fn operator(&self, text: &str) {
        let request = v1::SendMessageRequest {
            dialogue_id: self.id.clone(),
            text: text.to_owned(),
            author: v1::MessageAuthor::Operator.into(),
            ..v1::SendMessageRequest::default()
        };
        self.grpc.dialogues().send_message(request).await.unwrap();
    }

    async fn dialogue(&self) -> v1::Dialogue {
        let request = v1::GetDialogueRequest { id: self.id.clone() };
        self.grpc.dialogues().get_dialogue(request).await.unwrap().into_inner().dialogue.unwrap()
    }

    /// The turns, newest first.
    async fn turns(&self) -> Vec<v1::Turn> {
        let request =
            v1::ListTurnsRequest { dialogue_id: self.id.clone(), ..v1::ListTurnsRequest::default() };
        self.grpc.dialogues().list_turns(request).await.unwrap().into_inner().turns
    }

    /// The newest turn, once there are so many and it is closed.
    async fn closed(&self, count: usize) -> v1::Turn {
        until(|| async {
            let turns = self.turns().await;
            let there = turns.len() == count;
            turns.into_iter().next().filter(|turn| there && turn.close_time.is_some())
        })
        .await
    }

    /// Waits until a turn waits for the person.
    async fn waits(&self) {
        let mut owner = self.world.owner().await;
        loop {
            let waiting: i64 = sqlx::query_scalar(
                "select count(*) from turns t join jobs j on j.workspace_id = t.workspace_id and j.target_id = t.id
                 where t.state = 'COLLECTING' and t.waited_until = j.run_at",
            )
            .fetch_one(&mut owner)
            .await
            .unwrap();
            if waiting == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_customer_whom_nobody_answers_is_the_agent_s_again() {
    let taken = Taken::under(rules(Some(2), &[])).await;
    let began = Instant::now();
    taken.customer("m2", "still there?").await;
    taken.waits().await;
    taken.customer("m3", "anybody?").await;
    assert_eq!(taken.dialogue().await.status(), DialogueStatus::Open);
    let answer = taken.receiver.wait_for(2).await[1].json()["text"].to_string();
    assert!(answer.contains("still there?") && answer.contains("anybody?"), "{answer}");
    assert!(began.elapsed() >= Duration::from_millis(1_900), "after {:?}", began.elapsed());

    let dialogue = taken.dialogue().await;
    let control = dialogue.control.clone().unwrap();
    assert_eq!((dialogue.status(), control.reason.as_str()), (DialogueStatus::Pending, "unanswered"));
    let turn = taken.closed(2).await;
    assert_eq!((turn.state(), turn.late), (TurnState::Replied, false));
    // An event with its reason, and a marker that the agent has read.
    let request = v1::ListEventsRequest {
        types: vec!["dialogue.control_changed".to_owned()],
        ..v1::ListEventsRequest::default()
    };
    let returned = until(|| async {
        let events = taken.grpc.events().list_events(request.clone()).await.unwrap().into_inner().events;
        events.into_iter().nth(1)
    })
    .await;
    let data = returned.data.unwrap();
    let text = |name: &str| match data.fields[name].kind.clone().unwrap() {
        prost_types::value::Kind::StringValue(text) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        (text("from"), text("to"), text("reason")),
        ("OPEN".into(), "PENDING".into(), "unanswered".into())
    );
    let request =
        v1::ListMessagesRequest { dialogue_id: taken.id.clone(), ..v1::ListMessagesRequest::default() };
    let messages = taken.grpc.dialogues().list_messages(request).await.unwrap().into_inner().messages;
    let markers: Vec<_> = messages.iter().filter(|message| message.role() == MessageRole::System).collect();
    assert_eq!(markers.len(), 2, "{messages:?}");
    assert!(markers[1].text.contains("agent answers"), "{}", markers[1].text);
    taken.world.stop().await;
}

#[tokio::test]
async fn who_answers_in_time_keeps_the_dialogue() {
    let taken = Taken::under(rules(Some(2), &[])).await;
    taken.customer("m2", "how much is it?").await;
    taken.waits().await;
    taken.operator("ten").await;
    let turn = taken.closed(2).await;
    assert_eq!((turn.state(), turn.reason.as_str()), (TurnState::Silent, "human_holds"));
    assert_eq!(taken.dialogue().await.status(), DialogueStatus::Open);
    assert_eq!(taken.receiver.received().len(), 2, "the person's words, and no answer of the agent's");
    // The next question counts for itself.
    let began = Instant::now();
    taken.customer("m3", "and two of them?").await;
    let answer = taken.receiver.wait_for(3).await[2].json()["text"].to_string();
    assert!(answer.contains("two of them"), "{answer}");
    assert!(began.elapsed() >= Duration::from_millis(1_900), "after {:?}", began.elapsed());
    taken.world.stop().await;
}

#[tokio::test]
async fn a_customer_asks_for_the_agent_in_so_many_words() {
    let taken = Taken::under(rules(None, &["the bot, please"])).await;
    taken.customer("m2", "is the bot, please note, a person?").await;
    let turn = taken.closed(2).await;
    assert_eq!((turn.state(), turn.reason.as_str()), (TurnState::Silent, "human_holds"));
    taken.customer("m3", "The BOT, please!").await;
    let answer = taken.receiver.wait_for(2).await[1].json()["text"].to_string();
    assert!(answer.contains("The BOT, please!"), "{answer}");
    let dialogue = taken.dialogue().await;
    let control = dialogue.control.clone().unwrap();
    assert_eq!((dialogue.status(), control.reason.as_str()), (DialogueStatus::Pending, "customer_asked"));
    taken.world.stop().await;
}

#[tokio::test]
async fn what_waits_is_answered_at_once_when_the_person_lets_go() {
    let taken = Taken::under(rules(Some(3_600), &[])).await;
    taken.customer("m2", "still there?").await;
    taken.waits().await;
    let request = v1::ReleaseControlRequest { dialogue_id: taken.id.clone(), ..Default::default() };
    taken.grpc.dialogues().release_control(request).await.unwrap();
    let answer = taken.receiver.wait_for(2).await[1].json()["text"].to_string();
    assert!(answer.contains("still there?"), "{answer}");
    assert_eq!(taken.closed(2).await.state(), TurnState::Replied);
    taken.world.stop().await;
}

#[tokio::test]
async fn a_rule_keeps_its_time_though_the_worker_dies() {
    let taken = Taken::under(rules(Some(3), &[])).await;
    taken.customer("m2", "still there?").await;
    taken.waits().await;
    let Taken { mut world, receiver, .. } = taken;
    let heir = world.another().await;
    world.server.take().unwrap().stop().await.unwrap();
    let answer = receiver.wait_for(2).await[1].json()["text"].to_string();
    assert!(answer.contains("still there?"), "{answer}");
    heir.stop().await.unwrap();
}

#[tokio::test]
async fn absurd_rules_are_refused_by_field() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let many = ["bot"; 21];
    for (policy, field) in [
        (rules(Some(-1), &[]), "unanswered_after"),
        (rules(Some(i64::MAX), &[]), "unanswered_after"),
        (rules(Some(31 * 86_400), &[]), "unanswered_after"),
        (rules(None, &many), "phrases"),
        (rules(None, &["bot", " .,! "]), "phrases[1]"),
        (rules(None, &[&"x".repeat(101)]), "phrases[0]"),
    ] {
        let refused = world.try_policy(&route, policy).await.unwrap_err();
        let field = format!("agent.reply_policy.return_rules.{field}");
        assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec![field]));
    }
    // What is saved is shown.
    world.set_policy(&route, rules(Some(60), &["bot"])).await;
    let request = v1::GetAgentRequest { id: route.agent_id.clone() };
    let agent = world.grpc().await.agents().get_agent(request).await.unwrap().into_inner().agent.unwrap();
    assert_eq!(agent.reply_policy.unwrap().return_rules, rules(Some(60), &["bot"]).return_rules);
    world.stop().await;
}
