//! The clock of a simulation: a row that all processes go by.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::json;
use switchboard_sdk::v1;
use tonic::{Status, transport::Channel};

use crate::{
    harness::{Grpc, Receiver, World, reason, until},
    programs::json_of,
};

const SIMULATION: [(&str, &str); 1] = [("SWITCHBOARD_SIMULATION", "on")];

async fn advance(grpc: &Grpc, by: Duration) -> Result<v1::AdvanceClockResponse, Status> {
    let request = v1::AdvanceClockRequest { duration: Some(by.try_into().unwrap()) };
    grpc.workspaces().advance_clock(request).await.map(tonic::Response::into_inner)
}

/// What time a server says it is.
async fn now(grpc: &Grpc) -> i64 {
    let workspace = v1::Workspace { display_name: "W".to_owned(), ..v1::Workspace::default() };
    let request = v1::CreateWorkspaceRequest { workspace: Some(workspace), request_id: String::new() };
    let made = grpc.workspaces().create_workspace(request).await.unwrap().into_inner().workspace.unwrap();
    made.create_time.unwrap().seconds
}

fn real() -> i64 {
    domain::Clock::now(&domain::SystemClock).unix_timestamp()
}

#[tokio::test]
async fn three_weeks_pass_in_all_processes_at_once() {
    const WEEKS: Duration = Duration::from_hours(24 * 21);
    let world = World::with(&SIMULATION).await;
    let other = world.another().await;
    let endpoint = format!("http://{}", other.grpc.unwrap());
    let channel = Channel::from_shared(endpoint).unwrap().connect().await.unwrap();
    let (operator, elsewhere) = (world.grpc_as(&world.operator).await, Grpc::over(channel, &world.operator));
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    // Whoever took the dialogue keeps it for twenty days, by the clock.
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    let grpc = world.grpc().await;
    let listed = grpc.dialogues().list_dialogues(v1::ListDialoguesRequest::default()).await.unwrap();
    let dialogue_id = listed.into_inner().dialogues[0].id.clone();
    let request = v1::TakeControlRequest {
        dialogue_id: dialogue_id.clone(),
        return_after: Some(Duration::from_hours(24 * 20).try_into().unwrap()),
        ..v1::TakeControlRequest::default()
    };
    grpc.dialogues().take_control(request).await.unwrap();
    assert!((now(&elsewhere).await - real()).abs() < 60);

    let moved = advance(&operator, WEEKS).await.unwrap();
    assert_eq!(moved.ahead.unwrap().seconds.unsigned_abs(), WEEKS.as_secs());
    until(async || (now(&elsewhere).await - real() > 1_814_000).then_some(())).await;
    until(async || {
        let request = v1::GetDialogueRequest { id: dialogue_id.clone() };
        let dialogue = grpc.dialogues().get_dialogue(request).await.unwrap().into_inner().dialogue.unwrap();
        (dialogue.status() == v1::DialogueStatus::Pending).then_some(())
    })
    .await;
    // It goes on from there, also for a process that starts later.
    let moved = advance(&elsewhere, Duration::from_mins(1)).await.unwrap();
    assert_eq!(moved.ahead.unwrap().seconds.unsigned_abs(), WEEKS.as_secs() + 60);
    let third = world.another().await;
    let endpoint = format!("http://{}", third.grpc.unwrap());
    let channel = Channel::from_shared(endpoint).unwrap().connect().await.unwrap();
    assert!(now(&Grpc::over(channel, &world.operator)).await - real() > 1_814_000);

    let told = json_of(&world, &["clock", "advance", "1m", "--api-key", &world.operator]).await;
    assert_eq!(told[0]["aheadSeconds"], WEEKS.as_secs() + 120);

    for by in [Duration::ZERO, Duration::from_hours(24 * 367)] {
        let refused = advance(&operator, by).await.unwrap_err();
        assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec!["duration".to_owned()]));
    }
    let refused = advance(&grpc, WEEKS).await.unwrap_err();
    assert_eq!(reason(&refused).0, "SCOPE_MISSING");
    other.stop().await.unwrap();
    third.stop().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_database_with_other_data_is_no_simulation() {
    let world = World::new().await;
    let operator = world.grpc_as(&world.operator).await;
    let refused = advance(&operator, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(reason(&refused).0, "CLOCK_NOT_SIMULATED");
    let refused = world.try_another(|config| config.simulation = true).await.err().unwrap();
    assert!(refused.to_string().contains("this one holds other data"), "{refused}");
    let rows: i64 = sqlx::query_scalar("select count(*) from simulated_clock")
        .fetch_one(&mut world.owner().await)
        .await
        .unwrap();
    assert_eq!(rows, 0);
    assert!((now(&operator).await - real()).abs() < 60);
    world.stop().await;
}

#[tokio::test]
async fn the_simulators_clock_moves_the_servers() {
    let world = World::with(&SIMULATION).await;
    let server = format!("http://{}", world.grpc_addr());
    let mut simulator = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(["simulate", "--listen", "127.0.0.1:0", "--server", &server])
        .env("SWITCHBOARD_OPERATOR_KEY", &world.operator)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    // Kept open: it has more to say.
    let mut said = BufReader::new(simulator.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let at = line.split_whitespace().find_map(|word| word.strip_prefix("http://")).unwrap();
    let at = at.trim_end_matches(';').to_owned();
    let moved = world
        .http
        .post(format!("http://{at}/control/clock"))
        .header("content-type", "application/json")
        .body(r#"{"advance_seconds": 86400}"#)
        .send()
        .await
        .unwrap();
    assert!(moved.status().is_success(), "{}", moved.status());
    let operator = world.grpc_as(&world.operator).await;
    until(async || (now(&operator).await - real() >= 86_000).then_some(())).await;
    simulator.kill().unwrap();
    simulator.wait().unwrap();
    world.stop().await;
}
