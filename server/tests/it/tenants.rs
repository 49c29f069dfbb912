//! Walls between workspaces, and the keys that open them.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use switchboard_sdk::v1;

use crate::harness::{Receiver, World, reason};

pub(crate) async fn second_workspace(world: &World) -> (String, String) {
    let operator = world.grpc_as(&world.operator).await;
    let workspace = v1::Workspace { display_name: "Second".to_owned(), ..v1::Workspace::default() };
    let request = v1::CreateWorkspaceRequest { workspace: Some(workspace), request_id: String::new() };
    let workspace =
        operator.workspaces().create_workspace(request).await.unwrap().into_inner().workspace.unwrap();
    let scopes = domain::workspace::Scopes::all().names();
    let api_key = v1::ApiKey { display_name: "all".to_owned(), scopes, ..v1::ApiKey::default() };
    let request = v1::CreateApiKeyRequest {
        workspace_id: workspace.id.clone(),
        api_key: Some(api_key),
        request_id: String::new(),
    };
    let key = operator.workspaces().create_api_key(request).await.unwrap().into_inner();
    (workspace.id, key.secret)
}

#[tokio::test]
async fn another_workspace_s_lists_are_empty() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    let (_, key) = second_workspace(&world).await;
    let other = world.grpc_as(&key).await;
    assert!(
        other
            .agents()
            .list_agents(v1::ListAgentsRequest::default())
            .await
            .unwrap()
            .into_inner()
            .agents
            .is_empty()
    );
    assert!(
        other
            .events()
            .list_events(v1::ListEventsRequest::default())
            .await
            .unwrap()
            .into_inner()
            .events
            .is_empty()
    );
    world.stop().await;
}

#[tokio::test]
async fn row_level_security_alone_keeps_workspaces_apart() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    let (second, _) = second_workspace(&world).await;

    let mut conn = world.owner().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'workspace_id'
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition order by 1",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(tables.len() > 15, "{tables:?}");
    for table in &tables {
        let row = sqlx::query(
            "select relrowsecurity and relforcerowsecurity, (select count(*) from pg_policy p where p.polrelid = c.oid)
             from pg_class c where oid = $1::regclass",
        )
        .bind(table)
        .fetch_one(&mut conn)
        .await;
        let row = row.unwrap();
        assert!(row.get::<bool, _>(0), "{table} is not behind row-level security");
        assert_eq!(row.get::<i64, _>(1), 2, "{table} has not its two policies");
    }

    // The application's own role, and no filter in the query.
    let mut tx = conn.begin().await.unwrap();
    tx.execute("set local role switchboard_app").await.unwrap();
    let mut count = async |workspace: &str, table: &str| -> i64 {
        sqlx::query("select set_config('app.workspace_id', $1, true)")
            .bind(workspace)
            .execute(&mut *tx)
            .await
            .unwrap();
        let sql = format!("select count(*) from {table}");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *tx).await.unwrap()
    };
    let own = world.key.split('_').nth(1).unwrap().to_owned();
    for table in
        ["agents", "channels", "dialogues", "messages", "turns", "deliveries", "events", "inbound_webhooks"]
    {
        assert!(count(&own, table).await > 0, "{table}");
        assert_eq!(count(&second, table).await, 0, "{table}");
        assert_eq!(count("", table).await, 0, "a query without a workspace sees nothing of {table}");
    }
    drop(tx);
    // Nor can the role write into another workspace.
    let mut tx = conn.begin().await.unwrap();
    tx.execute("set local role switchboard_app").await.unwrap();
    sqlx::query("select set_config('app.workspace_id', $1, true)")
        .bind(&own)
        .execute(&mut *tx)
        .await
        .unwrap();
    let foreign = sqlx::query(
        "insert into workspaces (workspace_id, display_name, created_at, updated_at) values ($1::uuid, 'x', now(), now())",
    )
    .bind(&second);
    assert!(foreign.execute(&mut *tx).await.unwrap_err().to_string().contains("row-level security"));
    drop(tx);
    world.stop().await;
}

#[tokio::test]
async fn nobody_but_our_two_roles_may_call_our_functions() {
    let world = World::new().await;
    let mut owner = world.owner().await;
    let open: Vec<String> = sqlx::query_scalar(
        "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
         cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
         where n.nspname = 'public' and a.grantee = 0 order by 1",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(open, Vec::<String>::new(), "PUBLIC may call these");
    world.stop().await;
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_until_it_is_revoked() {
    let world = World::new().await;
    let admin = world.grpc().await;
    let request = |scopes: &[&str]| v1::CreateApiKeyRequest {
        api_key: Some(v1::ApiKey {
            display_name: "reader".to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            ..v1::ApiKey::default()
        }),
        ..v1::CreateApiKeyRequest::default()
    };
    let made =
        admin.workspaces().create_api_key(request(&["agents:read", "workspaces:admin"])).await.unwrap();
    let made = made.into_inner();
    let reader = world.grpc_as(&made.secret).await;
    assert!(reader.agents().list_agents(v1::ListAgentsRequest::default()).await.is_ok());
    let refused = reader.channels().list_channels(v1::ListChannelsRequest::default()).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).0.as_str()),
        (tonic::Code::PermissionDenied, "SCOPE_MISSING")
    );
    // None grants what it lacks.
    let refused = reader.workspaces().create_api_key(request(&["channels:read"])).await.unwrap_err();
    assert_eq!(reason(&refused).0, "SCOPE_MISSING");
    let refused = reader.workspaces().create_api_key(request(&["agents:rule"])).await.unwrap_err();
    assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec!["api_key.scopes".to_owned()]));

    let id = made.api_key.unwrap().id;
    let revoke = v1::RevokeApiKeyRequest { id, ..v1::RevokeApiKeyRequest::default() };
    admin.workspaces().revoke_api_key(revoke).await.unwrap();
    let refused = reader.agents().list_agents(v1::ListAgentsRequest::default()).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).0.as_str()),
        (tonic::Code::Unauthenticated, "TOKEN_UNKNOWN")
    );

    // The operator's key opens workspaces, and nothing inside them.
    let operator = world.grpc_as(&world.operator).await;
    assert!(operator.workspaces().list_workspaces(v1::ListWorkspacesRequest::default()).await.is_ok());
    let refused = operator.agents().list_agents(v1::ListAgentsRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused).0, "SCOPE_MISSING");
    world.stop().await;
}

#[tokio::test]
async fn a_workspace_is_renamed_and_its_keys_are_listed() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let before = grpc.workspaces().get_workspace(v1::GetWorkspaceRequest::default()).await.unwrap();
    let before = before.into_inner().workspace.unwrap();
    let rename = |name: &str, paths: &[&str]| v1::UpdateWorkspaceRequest {
        workspace: Some(v1::Workspace { display_name: name.to_owned(), ..before.clone() }),
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
    };
    let renamed = grpc.workspaces().update_workspace(rename("Shop", &["display_name"])).await.unwrap();
    let renamed = renamed.into_inner().workspace.unwrap();
    assert_eq!((renamed.id.as_str(), renamed.display_name.as_str()), (before.id.as_str(), "Shop"));
    assert_eq!(renamed.create_time, before.create_time);
    let read = grpc.workspaces().get_workspace(v1::GetWorkspaceRequest { id: before.id.clone() }).await;
    assert_eq!(read.unwrap().into_inner().workspace, Some(renamed));
    let refused = grpc.workspaces().update_workspace(rename(" ", &["display_name"])).await.unwrap_err();
    assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec!["workspace.display_name".to_owned()]));
    let refused = grpc.workspaces().update_workspace(rename("Shop", &["create_time"])).await.unwrap_err();
    assert_eq!(reason(&refused).0, "FIELD_MASK_INVALID");

    let mut secrets = Vec::new();
    for name in ["one", "two"] {
        let api_key = v1::ApiKey {
            display_name: name.to_owned(),
            scopes: vec!["agents:read".to_owned()],
            ..v1::ApiKey::default()
        };
        let request =
            v1::CreateApiKeyRequest { api_key: Some(api_key), ..v1::CreateApiKeyRequest::default() };
        secrets.push(grpc.workspaces().create_api_key(request).await.unwrap().into_inner().secret);
    }
    let (mut keys, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListApiKeysRequest { workspace_id: String::new(), page_size: 1, page_token };
        let page = grpc.workspaces().list_api_keys(request).await.unwrap().into_inner();
        keys.extend(page.api_keys);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let names: Vec<_> = keys.iter().map(|key| key.display_name.as_str()).collect();
    assert_eq!(names, ["first start", "one", "two"], "oldest first");
    for (key, secret) in keys[1..].iter().zip(&secrets) {
        assert_eq!(
            (key.workspace_id.as_str(), &key.scopes[..]),
            (before.id.as_str(), &["agents:read".to_owned()][..])
        );
        assert!(secret.ends_with(&key.suffix) && key.suffix.len() == 4 && key.revoke_time.is_none());
    }
    let whole = format!("{keys:?}");
    assert!(secrets.iter().all(|secret| !whole.contains(secret)), "never the keys themselves");

    // Who may not rule the workspace learns nothing of its keys.
    let reader = world.grpc_as(&secrets[0]).await;
    let refused = reader.workspaces().list_api_keys(v1::ListApiKeysRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused).0, "SCOPE_MISSING");
    let refused = reader.workspaces().update_workspace(rename("X", &["display_name"])).await.unwrap_err();
    assert_eq!(reason(&refused).0, "SCOPE_MISSING");
    world.stop().await;
}

#[tokio::test]
async fn secrets_are_not_readable_in_the_database() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    let mut conn = world.owner().await;
    let secrets =
        [&route.agent_token, &route.channel_token, &route.signing_secret, &world.key, &world.operator];
    for table in ["agents", "channels", "api_keys", "inbound_webhooks", "events", "messages", "attempts"] {
        let sql = format!("select coalesce(string_agg(t::text, ''), '') from {table} t");
        let text: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut conn).await.unwrap();
        for secret in secrets {
            // A token's secret part may itself hold an underscore.
            let hidden = secret.splitn(3, '_').last().unwrap();
            let encoded: String = sqlx::query_scalar("select encode($1, 'hex')")
                .bind(secret.as_bytes())
                .fetch_one(&mut conn)
                .await
                .unwrap();
            assert!(!text.contains(hidden) && !text.contains(&encoded), "{table} holds a secret");
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_deleted_workspace_is_gone_with_all_it_had() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    let id = world.key.split('_').nth(1).unwrap().to_owned();
    let operator = world.grpc_as(&world.operator).await;
    operator.workspaces().delete_workspace(v1::DeleteWorkspaceRequest { id: id.clone() }).await.unwrap();
    let refused =
        world.grpc().await.agents().list_agents(v1::ListAgentsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let mut conn = world.owner().await;
    for table in ["agents", "channels", "dialogues", "messages", "message_keys", "api_keys", "integrations"] {
        let sql = format!("select count(*) from {table} where workspace_id = $1::uuid");
        let left: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).bind(&id).fetch_one(&mut conn).await.unwrap();
        assert_eq!(left, 0, "{table}");
    }
    world.stop().await;
}
