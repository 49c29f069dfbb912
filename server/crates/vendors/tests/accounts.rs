//! Connections to engines that keep conversations, and to Gemini: tried, listed and forgotten, over their simulators.

#![expect(clippy::unwrap_used, reason = "a failing test may panic")]

use std::{collections::BTreeSet, sync::Arc};

use domain::{
    DialogueId,
    connection::{CheckOutcome, Connection},
    vendor::{FailureKind, Vendor},
};
use serde_json::json;
use simulator::{Call, KEY, Simulator};
use uuid::Uuid;
use vendors::http::{AllowList, HttpClient, Settings};

fn vendor(id: &str) -> Vendor {
    let settings = Settings { allow: AllowList::All, ..Settings::default() };
    vendors::all(HttpClient::new(settings), vendors::Settings::default()).get(id).unwrap().clone()
}

async fn simulator() -> Arc<Simulator> {
    Arc::new(Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap())
}

fn connection(base_url: &str, key: &str) -> Connection {
    Connection {
        settings: json!({ "base_url": base_url }),
        credentials: [("api_key".to_owned(), key.into())].into(),
        ..Connection::default()
    }
}

#[test]
fn the_published_schema_has_the_members_that_settings_are_read_by() {
    let settings = Settings { allow: AllowList::All, ..Settings::default() };
    let all = vendors::all(HttpClient::new(settings), vendors::Settings::default());
    for vendor in all.iter() {
        let Some(connector) = &vendor.connector else { continue };
        let schema = connector.settings_schema();
        assert_eq!(schema["additionalProperties"], false, "{}", vendor.id);
        let published: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        // What is refused for being unknown names what is known; a list is no value of any member.
        let refused = connector.check_settings(&json!({ "no such member": [[]] })).unwrap_err();
        let refused = refused.into_iter().find(|bad| bad.field == "settings.no such member").unwrap();
        let known: BTreeSet<_> =
            refused.detail.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect();
        // amoCRM reads its settings its own way.
        if known.is_empty() && vendor.id == "amocrm" {
            continue;
        }
        assert_eq!(published, known, "{}", vendor.id);
        for name in published {
            let bad = connector.check_settings(&json!({ name.clone(): [[]] })).unwrap_err();
            let bad = bad.into_iter().find(|bad| bad.field == format!("settings.{name}")).unwrap();
            assert!(!bad.detail.contains("not known"), "{}: {bad:?}", vendor.id);
        }
    }
}

#[tokio::test]
async fn a_check_says_step_by_step_what_works() {
    use CheckOutcome::{Failed, Passed, Skipped};
    let simulator = simulator().await;
    for id in ["gemini", "manus", "dify"] {
        let connector = vendor(id).connector.unwrap();
        let base_url = simulator.vendor(id).unwrap().base_url().to_owned();
        let workflow = base_url.replace("/v1", "/workflow/v1");
        let nobody = "http://127.0.0.1:9/v1".to_owned();
        for (base_url, key, expected) in [
            (&base_url, KEY, [Passed, Passed, Passed]),
            (&base_url, "wrong", [Passed, Failed, Skipped]),
            (&nobody, KEY, [Failed, Skipped, Skipped]),
            (&workflow, KEY, [Passed, Passed, Failed]),
        ] {
            if *base_url == workflow && id != "dify" {
                continue;
            }
            let steps = connector.check(&connection(base_url, key)).await;
            assert_eq!(
                steps.iter().map(|step| step.outcome).collect::<Vec<_>>(),
                expected,
                "{id}: {steps:?}"
            );
            for step in steps {
                assert!(!step.detail.contains(key) && !step.detail.is_empty(), "{id}: {step:?}");
                assert_eq!(step.remedy.is_empty(), step.outcome != Failed, "{id}: {step:?}");
            }
        }
    }
}

#[tokio::test]
async fn settings_are_read_strictly() {
    for id in ["gemini", "manus", "dify"] {
        let (connector, engine) = (vendor(id).connector.unwrap(), vendor(id).engine.unwrap());
        assert_eq!(connector.check_settings(&json!({})), Ok(()));
        assert!(connector.settings_schema()["properties"]["base_url"]["default"].is_string());
        assert!(connector.credentials().iter().all(|field| field.required && field.name == "api_key"));
        let bad = connector.check_settings(&json!({ "base_url": "x", "other": 1 })).unwrap_err();
        assert_eq!(bad.iter().map(|bad| bad.field.as_str()).collect::<Vec<_>>(), ["settings.other"], "{id}");
        assert_eq!(
            connector.check_settings(&json!({ "base_url": "x" })).unwrap_err()[0].field,
            "settings.base_url"
        );
        assert_eq!(
            connector.targets(&json!({ "base_url": "http://x" })),
            [("base_url", "http://x".to_owned())]
        );
        let bad = engine.check_settings(&json!({ "other": 1, "temperature": 2 })).unwrap_err();
        assert_eq!(bad.len(), 2, "{id}: {bad:?}");
    }
}

#[tokio::test]
async fn models_are_listed_over_all_pages() {
    let simulator = simulator().await;
    let listed = async |id: &str| {
        let connection = connection(simulator.vendor(id).unwrap().base_url(), KEY);
        let models = vendor(id).engine.unwrap().list_models(&connection).await.unwrap();
        models.into_iter().map(|model| model.id).collect::<Vec<_>>()
    };
    assert_eq!(listed("gemini").await, ["gemini-3.6-flash", "gemini-2.5-flash"]);
    assert_eq!(listed("manus").await, ["manus-1.6", "manus-1.6-lite", "manus-1.6-max"]);
    assert!(listed("dify").await.is_empty());
}

#[tokio::test]
async fn a_dialogue_is_forgotten_at_the_vendor() {
    let simulator = simulator().await;
    let dialogue = DialogueId(Uuid::from_u128(7));
    for (id, notes, method, path) in [
        (
            "dify",
            json!({ "conversation": "9c0d", "through": 1 }),
            http::Method::DELETE,
            "/v1/conversations/9c0d",
        ),
        (
            "manus",
            json!({ "task": "t1", "through": 1, "run": 1, "working": false }),
            http::Method::POST,
            "/v2/task.delete",
        ),
    ] {
        let simulated = simulator.vendor(id).unwrap();
        let engine = vendor(id).engine.unwrap();
        let good = connection(simulated.base_url(), KEY);
        // What is gone there is forgotten.
        engine.forget(&good, dialogue, &notes).await.unwrap();
        let call: Call = simulated.calls().pop().unwrap();
        assert_eq!((call.method, call.path.as_str()), (method, path));
        assert!(String::from_utf8_lossy(&call.body).contains(if id == "dify" { "0007" } else { "t1" }));
        let refused = engine.forget(&connection(simulated.base_url(), "wrong"), dialogue, &notes).await;
        assert_eq!(refused.unwrap_err().kind, FailureKind::Unauthorized);
        engine.forget(&good, dialogue, &json!({ "of": "another engine" })).await.unwrap();
        assert_eq!(simulated.calls().len(), 2);
    }
}
