//! How many endpoints there may be, and how long their dispatches are kept.

use super::*;

#[tokio::test]
async fn a_workspace_has_so_many_endpoints_and_no_more() {
    let world = World::with(&[("SWITCHBOARD_MAX_ENDPOINTS", "3")]).await;
    let hook = Hook::start(|_| 200).await;
    let grpc = world.grpc().await;
    let make = async |grpc: &Grpc| {
        let endpoint = v1::Endpoint {
            display_name: "Endpoint".to_owned(),
            url: hook.url.clone(),
            event_types: vec!["agent.deleted".to_owned()],
            ..v1::Endpoint::default()
        };
        let request = v1::CreateEndpointRequest { endpoint: Some(endpoint), request_id: String::new() };
        grpc.webhooks().create_endpoint(request).await.map(|made| made.into_inner().endpoint.unwrap())
    };
    // However many ask at the same moment.
    let made = futures::future::join_all((0..8).map(|_| make(&grpc))).await;
    let (made, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (3, 5));
    for refusal in refused {
        assert_eq!(reason(&refusal.unwrap_err()).0, "ENDPOINT_LIMIT_REACHED");
    }
    // One that is inactive counts, one that is gone does not.
    let id = made[0].as_ref().unwrap().id.clone();
    set_active(&grpc, &id, false).await;
    assert_eq!(reason(&make(&grpc).await.unwrap_err()).0, "ENDPOINT_LIMIT_REACHED");
    grpc.webhooks().delete_endpoint(v1::DeleteEndpointRequest { id }).await.unwrap();
    assert!(make(&grpc).await.is_ok());
    // Another workspace has its own.
    let (_, key) = second_workspace(&world).await;
    assert!(make(&world.grpc_as(&key).await).await.is_ok());
    world.stop().await;
}

#[tokio::test]
async fn dispatches_are_kept_for_as_long_as_the_operator_says() {
    const WEEK: Duration = Duration::from_hours(7 * 24);
    let world = World::with(&[("SWITCHBOARD_DISPATCH_RETENTION_DAYS", "7")]).await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let (good, bad) = (Hook::start(|_| 200).await, Hook::start(|_| 500).await);
    let grpc = world.grpc().await;
    let (taken, _) = create(&grpc, &good.url, &["message.received"]).await;
    let (waiting, _) = create(&grpc, &bad.url, &["message.received"]).await;
    say(&world, &route, "a", "old").await;
    let old = newest(&grpc, &taken.id, DispatchState::Delivered).await;
    bad.wait_for(1).await;
    // What waits is kept, however old it is.
    set_active(&grpc, &waiting.id, false).await;
    world.clock().advance(WEEK / 2);
    say(&world, &route, "a", "new").await;
    until(|| async { Some(()).filter(|()| good.received().len() == 2) }).await;
    newest(&grpc, &taken.id, DispatchState::Delivered).await;

    // A process that does not know of a retention deletes nothing; one that does begins with it.
    world.clock().advance(WEEK / 2 + Duration::from_hours(1));
    let keeps = world.another_with(|config| config.dispatch_retention = None).await;
    assert_eq!(dispatches(&grpc, &taken.id).await.len(), 2);
    keeps.stop().await.unwrap();
    let sweeps = world.another().await;
    let left =
        until(|| async { Some(dispatches(&grpc, &taken.id).await).filter(|left| left.len() == 1) }).await;
    assert_ne!(left[0].id, old.id);
    assert_eq!(dispatches(&grpc, &waiting.id).await.len(), 1);
    let request = v1::RetryDispatchRequest { id: old.id.clone() };
    let gone = grpc.webhooks().retry_dispatch(request).await.unwrap_err();
    assert_eq!(reason(&gone).0, "DISPATCH_NOT_FOUND");
    let attempts: i64 = sqlx::query_scalar(
        "select count(*) from dispatch_attempts a where not exists (
             select 1 from dispatches d where d.workspace_id = a.workspace_id and d.id = a.dispatch_id)",
    )
    .fetch_one(&mut world.owner().await)
    .await
    .unwrap();
    assert_eq!(attempts, 0, "their attempts are gone with them");
    // The event is there, and is dispatched again to who asks for it.
    let request = v1::ReplayEventsRequest {
        endpoint_id: taken.id.clone(),
        event_ids: vec![old.event_id.clone()],
        ..v1::ReplayEventsRequest::default()
    };
    assert_eq!(grpc.webhooks().replay_events(request).await.unwrap().into_inner().dispatch_count, 1);
    good.wait_for(3).await;
    sweeps.stop().await.unwrap();
    world.stop().await;
}
