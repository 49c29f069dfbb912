//! Endpoints as a caller manages them: what may be saved, pages, replays, other workspaces.

use super::*;

#[tokio::test]
async fn private_addresses_are_refused_when_saved_and_when_called() {
    let world = World::with(&[("SWITCHBOARD_ALLOW_PRIVATE_TARGETS", "none")]).await;
    let grpc = world.grpc().await;
    let request = |url: &str| v1::CreateEndpointRequest {
        endpoint: Some(v1::Endpoint {
            display_name: "Endpoint".to_owned(),
            url: url.to_owned(),
            ..v1::Endpoint::default()
        }),
        request_id: String::new(),
    };
    for url in
        ["http://127.0.0.1:1/", "http://localhost:1/", "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/"]
    {
        let refused = grpc.webhooks().create_endpoint(request(url)).await.unwrap_err();
        assert_eq!(
            reason(&refused),
            ("TARGET_FORBIDDEN".to_owned(), vec!["endpoint.url".to_owned()]),
            "{url}"
        );
    }
    // A name that was public when it was saved and leads inside when it is called.
    let hook = Hook::start(|_| 200).await;
    let (endpoint, _) = create(&grpc, "https://endpoint.invalid/", &["agent.created"]).await;
    let mut conn = world.owner().await;
    for url in [hook.url.clone(), hook.url.replace("127.0.0.1", "localhost")] {
        sqlx::query("update webhook_endpoints set url = $1").bind(&url).execute(&mut conn).await.unwrap();
        let attempt = test(&grpc, &endpoint.id).await;
        assert_eq!((attempt.state(), attempt.http_status), (AttemptState::Failed, 0));
        assert!(attempt.error.contains("ask the operator to allow it"), "{}", attempt.error);
    }
    assert!(hook.received().is_empty());
    world.stop().await;
}

#[tokio::test]
async fn events_are_replayed_by_id_and_by_range() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    for text in ["a1", "a2", "a3"] {
        say(&world, &route, "a", text).await;
    }
    let grpc = world.grpc().await;
    let all = until(|| async {
        let all = log(&grpc).await;
        let replies = all.iter().filter(|event| event.r#type == "message.received").count();
        Some(all).filter(|_| replies == 3)
    })
    .await;
    let received: Vec<_> = all.iter().filter(|event| event.r#type == "message.received").collect();
    let hook = Hook::start(|_| 200).await;
    let (endpoint, secret) = create(&grpc, &hook.url, &["message.received", "agent.deleted"]).await;
    let replay = async |request: v1::ReplayEventsRequest| {
        let request = v1::ReplayEventsRequest { endpoint_id: endpoint.id.clone(), ..request };
        grpc.webhooks().replay_events(request).await.map(tonic::Response::into_inner)
    };
    let by_id = |ids: &[&str]| v1::ReplayEventsRequest {
        event_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..v1::ReplayEventsRequest::default()
    };
    // By id, whatever the filter says, each once.
    let created = all.iter().find(|event| event.r#type == "dialogue.created").unwrap();
    let answer = replay(by_id(&[&created.id, &received[1].id, &created.id])).await.unwrap();
    assert_eq!((answer.dispatch_count, answer.more, answer.next_cursor.as_str()), (2, false, ""));
    let calls = hook.wait_for(2).await;
    assert!(calls.iter().all(|call| verifies(&secret, call)));
    let ids: Vec<_> =
        calls.iter().map(|call| call.headers["webhook-id"].to_str().unwrap().to_owned()).collect();
    assert_eq!(ids, [created.id.clone(), received[1].id.clone()], "in the order of the log");
    assert!(dispatches(&grpc, &endpoint.id).await.iter().all(|dispatch| dispatch.replay));

    // By range: behind the first message, up to the last; the filter lets messages through.
    let range = |start: &str, end: &str| v1::ReplayEventsRequest {
        start_cursor: start.to_owned(),
        end_cursor: end.to_owned(),
        ..v1::ReplayEventsRequest::default()
    };
    let answer = replay(range(&received[0].cursor, &received[2].cursor)).await.unwrap();
    assert_eq!((answer.dispatch_count, answer.more), (2, false));
    assert_eq!(answer.next_cursor, received[2].cursor);
    let calls = hook.wait_for(4).await;
    let texts: Vec<_> = calls[2..].iter().map(|call| call.json()["message"]["text"].clone()).collect();
    assert_eq!(texts, ["a2", "a3"]);
    let types = v1::ReplayEventsRequest { event_types: vec!["agent.deleted".to_owned()], ..range("0", "") };
    assert_eq!(replay(types).await.unwrap().dispatch_count, 0);
    assert_eq!(replay(range("0", "")).await.unwrap().dispatch_count, 3);

    // What can't be.
    let unknown = replay(by_id(&["0198c0de-0000-7000-8000-00000000000c"])).await.unwrap_err();
    assert_eq!(reason(&unknown).0, "EVENT_NOT_FOUND");
    for (request, fields) in [
        (range("", ""), vec!["start_cursor"]),
        (range(&received[2].cursor, &received[0].cursor), vec!["end_cursor"]),
        (by_id(&["1"]), vec!["event_ids[0]"]),
        (
            v1::ReplayEventsRequest { start_cursor: "0".to_owned(), ..by_id(&[&created.id]) },
            vec!["start_cursor"],
        ),
        (
            v1::ReplayEventsRequest { event_types: vec!["No Type".to_owned()], ..range("0", "") },
            vec!["event_types"],
        ),
    ] {
        let refused = replay(request).await.unwrap_err();
        assert_eq!(
            reason(&refused),
            ("FIELD_INVALID".to_owned(), fields.into_iter().map(Into::into).collect())
        );
    }
    let workspace = grpc.workspaces().get_workspace(v1::GetWorkspaceRequest::default()).await.unwrap();
    let workspace = workspace.into_inner().workspace.unwrap().id.parse().unwrap();
    let cursor = |epoch, position| domain::event::Cursor { workspace, epoch, position }.encode();
    let refused = replay(range(&cursor(1, 1_000_000), "")).await.unwrap_err();
    assert_eq!(reason(&refused), ("CURSOR_AHEAD".to_owned(), vec!["start_cursor".to_owned()]));
    let refused = replay(range("0", &cursor(1, 1_000_000))).await.unwrap_err();
    assert_eq!(reason(&refused), ("CURSOR_AHEAD".to_owned(), vec!["end_cursor".to_owned()]));

    // The beginning of the log is gone: the answer says where to start.
    let mut conn = world.owner().await;
    conn.execute("delete from event_positions where position <= 4").await.unwrap();
    let refused = replay(range(&cursor(1, 2), "")).await.unwrap_err();
    assert_eq!(reason(&refused), ("CURSOR_EXPIRED".to_owned(), vec!["start_cursor".to_owned()]));
    let start = {
        use tonic_types::StatusExt as _;
        refused.get_error_details().error_info().unwrap().metadata["cursor"].clone()
    };
    assert_eq!(start, cursor(1, 4));
    assert!(replay(range(&start, "")).await.is_ok());
    let list = v1::ListEventsRequest { cursor: cursor(1, 2), ..v1::ListEventsRequest::default() };
    assert_eq!(reason(&grpc.events().list_events(list).await.unwrap_err()).0, "CURSOR_EXPIRED");
    // A log that began anew.
    conn.execute("update event_logs set epoch = 2").await.unwrap();
    let refused = replay(range(&cursor(1, 6), "")).await.unwrap_err();
    assert_eq!(reason(&refused).0, "CURSOR_EXPIRED");
    world.stop().await;
}

#[tokio::test]
async fn another_workspace_s_endpoints_are_not_there() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let hook = Hook::start(|_| 200).await;
    let own = world.grpc().await;
    let (endpoint, _) = create(&own, &hook.url, &["message.received"]).await;
    say(&world, &route, "a", "a1").await;
    let dispatch = newest(&own, &endpoint.id, DispatchState::Delivered).await;
    let (_, key) = second_workspace(&world).await;
    let other = world.grpc_as(&key).await.webhooks();
    let id = || endpoint.id.clone();
    let list = other.clone().list_endpoints(v1::ListEndpointsRequest::default()).await.unwrap().into_inner();
    assert!(list.endpoints.is_empty());
    let mask = prost_types::FieldMask { paths: vec!["active".to_owned()] };
    let changed = v1::Endpoint { id: id(), active: Some(false), ..v1::Endpoint::default() };
    let update = v1::UpdateEndpointRequest { endpoint: Some(changed), update_mask: Some(mask) };
    let list = v1::ListDispatchesRequest { endpoint_id: id(), ..v1::ListDispatchesRequest::default() };
    let replay = v1::ReplayEventsRequest {
        endpoint_id: id(),
        start_cursor: "0".to_owned(),
        ..v1::ReplayEventsRequest::default()
    };
    let foreign = v1::Endpoint {
        display_name: "x".to_owned(),
        url: hook.url.clone(),
        channel_id: route.channel_id.clone(),
        ..v1::Endpoint::default()
    };
    let foreign = v1::CreateEndpointRequest { endpoint: Some(foreign), request_id: String::new() };
    for (answer, expected) in [
        (
            other.clone().get_endpoint(v1::GetEndpointRequest { id: id() }).await.map(drop),
            "ENDPOINT_NOT_FOUND",
        ),
        (other.clone().update_endpoint(update).await.map(drop), "ENDPOINT_NOT_FOUND"),
        (
            other
                .clone()
                .rotate_endpoint_secret(v1::RotateEndpointSecretRequest { id: id() })
                .await
                .map(drop),
            "ENDPOINT_NOT_FOUND",
        ),
        (
            other.clone().test_endpoint(v1::TestEndpointRequest { id: id() }).await.map(drop),
            "ENDPOINT_NOT_FOUND",
        ),
        (other.clone().list_dispatches(list).await.map(drop), "ENDPOINT_NOT_FOUND"),
        (other.clone().replay_events(replay).await.map(drop), "ENDPOINT_NOT_FOUND"),
        (
            other.clone().delete_endpoint(v1::DeleteEndpointRequest { id: id() }).await.map(drop),
            "ENDPOINT_NOT_FOUND",
        ),
        (
            other.clone().get_dispatch(v1::GetDispatchRequest { id: dispatch.id.clone() }).await.map(drop),
            "DISPATCH_NOT_FOUND",
        ),
        (
            other
                .clone()
                .retry_dispatch(v1::RetryDispatchRequest { id: dispatch.id.clone() })
                .await
                .map(drop),
            "DISPATCH_NOT_FOUND",
        ),
        (other.clone().create_endpoint(foreign).await.map(drop), "CHANNEL_NOT_FOUND"),
    ] {
        assert_eq!(reason(&answer.unwrap_err()).0, expected);
    }
    assert_eq!(get(&own, &endpoint.id).await.active, Some(true));
    world.stop().await;
}

#[tokio::test]
async fn endpoints_are_created_once_listed_in_pages_and_checked() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let request_id = "0198c0de-0000-4000-8000-000000000001";
    let request = |name: &str| v1::CreateEndpointRequest {
        endpoint: Some(v1::Endpoint {
            display_name: name.to_owned(),
            url: "http://127.0.0.1:9/".to_owned(),
            event_types: vec!["message.received".to_owned()],
            ..v1::Endpoint::default()
        }),
        request_id: request_id.to_owned(),
    };
    let first = grpc.webhooks().create_endpoint(request("one")).await.unwrap().into_inner();
    let again = grpc.webhooks().create_endpoint(request("one")).await.unwrap().into_inner();
    assert_eq!(first, again, "a repeat answers alike, secret and all");
    let reused = grpc.webhooks().create_endpoint(request("other")).await.unwrap_err();
    assert_eq!(reason(&reused).0, "REQUEST_ID_REUSED");

    let bad = v1::Endpoint {
        event_types: vec!["Message.*".to_owned()],
        url: "x".repeat(3_000),
        ..v1::Endpoint::default()
    };
    let bad = v1::CreateEndpointRequest { endpoint: Some(bad), request_id: String::new() };
    let refused = grpc.webhooks().create_endpoint(bad).await.unwrap_err();
    let fields = ["endpoint.display_name", "endpoint.url", "endpoint.event_types"].map(ToOwned::to_owned);
    assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), fields.to_vec()));
    let bad = v1::Endpoint { schedule: 9, channel_id: "x".to_owned(), ..v1::Endpoint::default() };
    let bad = v1::CreateEndpointRequest { endpoint: Some(bad), request_id: String::new() };
    let refused = grpc.webhooks().create_endpoint(bad).await.unwrap_err();
    assert_eq!(reason(&refused).1, ["endpoint.channel_id", "endpoint.schedule"]);
    let update = v1::UpdateEndpointRequest {
        endpoint: first.endpoint.clone(),
        update_mask: Some(prost_types::FieldMask { paths: vec!["secret".to_owned()] }),
    };
    let refused = grpc.webhooks().update_endpoint(update).await.unwrap_err();
    assert_eq!(reason(&refused).0, "FIELD_MASK_INVALID");

    let (second, _) = create(&grpc, "http://127.0.0.1:9/", &["agent.deleted"]).await;
    set_active(&grpc, &second.id, false).await;
    let list = async |size, token: &str, active| {
        let request = v1::ListEndpointsRequest { page_size: size, page_token: token.to_owned(), active };
        grpc.webhooks().list_endpoints(request).await.unwrap().into_inner()
    };
    let page = list(1, "", None).await;
    assert_eq!(page.endpoints[0].id, first.endpoint.as_ref().unwrap().id);
    let page = list(1, &page.next_page_token, None).await;
    assert_eq!((page.endpoints[0].id.as_str(), page.next_page_token.as_str()), (&*second.id, ""));
    let inactive = list(0, "", Some(false)).await.endpoints;
    assert_eq!(inactive.iter().map(|endpoint| &endpoint.id).collect::<Vec<_>>(), [&second.id]);

    // Every field that can be changed, changed.
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let paths = ["display_name", "url", "event_types", "channel_id", "schedule", "active"];
    let changed = v1::Endpoint {
        id: second.id.clone(),
        display_name: "New".to_owned(),
        url: "http://127.0.0.1:10/".to_owned(),
        event_types: vec!["turn.failed".to_owned()],
        channel_id: route.channel_id,
        schedule: EndpointSchedule::Standard.into(),
        active: Some(true),
        ..v1::Endpoint::default()
    };
    let update = v1::UpdateEndpointRequest {
        endpoint: Some(changed.clone()),
        update_mask: Some(prost_types::FieldMask { paths: paths.map(ToOwned::to_owned).to_vec() }),
    };
    grpc.webhooks().update_endpoint(update).await.unwrap();
    let stored = get(&grpc, &second.id).await;
    let expected =
        v1::Endpoint { create_time: stored.create_time, update_time: stored.update_time, ..changed };
    assert_eq!(stored, expected);
    world.stop().await;
}
