//! Agents that are not always there.

use domain::{Clock, SystemClock};
use serde_json::json;
use sqlx::Executor;
use switchboard_sdk::v1::{self, DialogueStatus, OutsideHours, TurnState, Weekday};

use super::{change, closed, dialogue, said, say, try_change, turns};
use crate::harness::{Receiver, World, reason, until};

/// Hours that are days away from now, whatever day it is.
fn elsewhen(outside: OutsideHours) -> v1::Agent {
    let days = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];
    let today = usize::from(SystemClock.now().weekday().number_days_from_monday());
    let hours = v1::WeeklyHours {
        day: days[(today + 3) % 7].into(),
        start: "09:00".to_owned(),
        end: "17:00".to_owned(),
    };
    let schedule = v1::Schedule {
        hours: vec![hours],
        holidays: Vec::new(),
        outside: outside.into(),
        outside_text: "We are back soon.".to_owned(),
    };
    v1::Agent { schedule: Some(schedule), ..v1::Agent::default() }
}

#[tokio::test]
async fn outside_of_its_hours_an_agent_does_as_its_schedule_says() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let grpc = world.grpc().await;
    let route = world.route(&receiver, json!({})).await;
    let refused = try_change(&world, &route, "schedule", elsewhen(OutsideHours::Unspecified)).await;
    assert_eq!(reason(&refused.unwrap_err()).1, ["agent.schedule.outside"]);

    change(&world, &route, "schedule", elsewhen(OutsideHours::AnswerText)).await;
    assert_eq!(say(&world, &receiver, &route, "m1", "hello", 1).await, "We are back soon.");
    let turn = closed(&grpc, &route).await;
    assert_eq!((turn.state(), turn.reason.as_str()), (TurnState::Replied, "outside_hours"));

    change(&world, &route, "schedule", elsewhen(OutsideHours::StaySilent)).await;
    world.new_message(&route, &route.message(Some("m2"), "hello?")).await;
    let turn = closed(&grpc, &route).await;
    assert_eq!((turn.state(), turn.reason.as_str()), (TurnState::Silent, "outside_hours"));

    let policy =
        v1::ReplyPolicy { hand_over_notice: "A person takes over.".to_owned(), ..v1::ReplyPolicy::default() };
    world.set_policy(&route, policy).await;
    change(&world, &route, "schedule", elsewhen(OutsideHours::HandOver)).await;
    assert_eq!(say(&world, &receiver, &route, "m3", "hello??", 2).await, "A person takes over.");
    assert_eq!(dialogue(&grpc, &route).await.status(), DialogueStatus::Open);
    world.stop().await;
}

#[tokio::test]
async fn a_turn_waits_for_the_opening_and_gathers_messages_meanwhile() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let grpc = world.grpc().await;
    let route = world.route(&receiver, json!({})).await;
    change(&world, &route, "schedule", elsewhen(OutsideHours::Wait)).await;
    let mut owner = world.owner().await;
    for (id, text) in [("m1", "one"), ("m2", "two")] {
        world.new_message(&route, &route.message(Some(id), text)).await;
        // The next message comes once the turn waits: while one is looked at, another would be opened.
        let days: f64 = until(|| async {
            let mut conn = world.owner().await;
            let waits: f64 = sqlx::query_scalar(
                "select extract(epoch from next_run_at - clock_timestamp())::float8 / 86400 from job_keys
                 where lane = 'turn' and next_run_at < 'infinity' and locked_by is null",
            )
            .fetch_optional(&mut conn)
            .await
            .unwrap()?;
            Some(waits).filter(|waits| *waits > 1.0)
        })
        .await;
        assert!((1.9..4.0).contains(&days), "{days}");
        assert_eq!(turns(&grpc, &route).await[0].state(), TurnState::Collecting);
    }
    assert!(receiver.received().is_empty());

    // The hours begin: nobody else has to come by.
    change(&world, &route, "schedule", v1::Agent::default()).await;
    owner.execute("update jobs set run_at = clock_timestamp() where lane = 'turn'").await.unwrap();
    owner.execute("update job_keys set next_run_at = clock_timestamp() where lane = 'turn'").await.unwrap();
    let answer = said(&receiver.wait_for(1).await[0]);
    assert_eq!(answer, "You wrote 2 messages: “one”, “two”");
    let turn = closed(&grpc, &route).await;
    assert_eq!((turn.state(), turn.covered_through, turn.late), (TurnState::Replied, 2, false));
    assert_eq!((turn.runs.len(), turns(&grpc, &route).await.len()), (1, 1));
    world.stop().await;
}
