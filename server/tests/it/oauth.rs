//! OAuth 2.0: a person lets a workspace into an account, and the account is never lost again.

use std::{process::Stdio, time::Duration};

use futures::future::join_all;
use prost_types::{Struct, value::Kind};
use simulator::{
    Fault,
    amocrm::{AmoCrm, CLIENT_ID, Renewal},
};
use sqlx::Executor as _;
use switchboard_sdk::v1;
use tokio::time::timeout;
use tonic::transport::Channel;

use crate::{
    fake_engine::Fake,
    harness::{Answer, Dir, Grpc, KEYRING, World, reason, until},
    integrations::{connect, events, fake, text},
    restart::{Process, values},
    tenants::second_workspace,
};

const REDIRECT: &str = "https://app.example/oauth/callback";
const SECRET: &str = "client-secret-of-ours";
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn amocrm() -> AmoCrm {
    AmoCrm::start("127.0.0.1:0".parse().unwrap(), SECRET, REDIRECT).await.unwrap()
}

/// An integration with a simulated account.
pub(crate) fn account(at: &AmoCrm) -> v1::Integration {
    let base_url = at.base_url();
    let members = [
        ("subdomain", "acme"),
        ("client_id", CLIENT_ID),
        ("redirect_url", REDIRECT),
        ("base_url", base_url.as_str()),
    ];
    let value = |text: &str| prost_types::Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let fields = members.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect();
    v1::Integration {
        vendor: "amocrm".to_owned(),
        display_name: "Our <CRM>".to_owned(),
        settings: Some(Struct { fields }),
        credentials: [("client_secret".to_owned(), SECRET.to_owned())].into(),
        ..v1::Integration::default()
    }
}

/// Begins an authorization, and gives the state that the vendor would send back.
pub(crate) async fn begin(grpc: &Grpc, id: &str) -> String {
    let request = v1::StartAuthorizationRequest { id: id.to_owned() };
    let begun = grpc.integrations().start_authorization(request).await.unwrap().into_inner();
    let url = url::Url::parse(&begun.authorize_url).unwrap();
    assert_eq!(url.path(), "/oauth");
    url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned()
}

pub(crate) async fn come_back(world: &World, parameters: &[(&str, &str)]) -> Answer {
    let url = url::Url::parse_with_params(&world.url("/oauth/callback"), parameters).unwrap();
    let path = format!("/oauth/callback?{}", url.query().unwrap());
    world.call(reqwest::Method::GET, &path, &[], None).await
}

/// An integration that a person has authorized.
pub(crate) async fn authorized(world: &World, at: &AmoCrm) -> v1::Integration {
    let made = connect(world, account(at)).await;
    authorize(world, at, &made.id).await;
    made
}

/// A person lets an integration into the account.
pub(crate) async fn authorize(world: &World, at: &AmoCrm, id: &str) {
    let state = begin(&world.grpc().await, id).await;
    let answer =
        come_back(world, &[("state", &state), ("code", &at.consent()), ("referer", "acme.amocrm.ru")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

async fn check(grpc: &Grpc, id: &str) -> v1::IntegrationHealth {
    let request = v1::CheckIntegrationRequest { id: id.to_owned() };
    let checked = grpc.integrations().check_integration(request).await.unwrap().into_inner();
    checked.integration.unwrap().health()
}

async fn get(world: &World, id: &str) -> v1::Integration {
    let request = v1::GetIntegrationRequest { id: id.to_owned() };
    world
        .grpc()
        .await
        .integrations()
        .get_integration(request)
        .await
        .unwrap()
        .into_inner()
        .integration
        .unwrap()
}

#[tokio::test]
async fn a_person_lets_the_workspace_in_once_and_in_time() {
    let vendor = Fake::with_key("good");
    let world = World::with_vendors(&[], vec![vendor.vendor()]).await;
    let at = amocrm().await;
    let made = connect(&world, account(&at)).await;
    let grpc = world.grpc().await;
    assert!(made.grant.is_none());
    let request = v1::CheckIntegrationRequest { id: made.id.clone() };
    let checked = grpc.integrations().check_integration(request).await.unwrap().into_inner();
    assert_eq!(checked.integration.unwrap().health(), v1::IntegrationHealth::NeedsAuthorization);
    assert!(checked.steps[0].remedy.contains("StartAuthorization"), "{:?}", checked.steps);

    // Nothing that is not ours, or not in time, or not whole, grants anything.
    let refused = async |parameters: &[(&str, &str)]| {
        let answer = come_back(&world, parameters).await;
        answer.problem(422, "AUTHORIZATION_INVALID");
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    let code = at.consent();
    refused(&[("code", &code)]).await;
    refused(&[("code", &code), ("state", "made up")]).await;
    let state = begin(&grpc, &made.id).await;
    let (second, _) = second_workspace(&world).await;
    let own = world.key.split('_').nth(1).unwrap().to_owned();
    let foreign = state.replace(&own, &second.replace('-', ""));
    assert_ne!(foreign, state);
    refused(&[("code", &code), ("state", &foreign)]).await;
    world.clock().advance(Duration::from_mins(11));
    assert!(refused(&[("code", &code), ("state", &state)]).await.contains("ten minutes"));
    let state = begin(&grpc, &made.id).await;
    refused(&[("state", &state)]).await;
    assert!(refused(&[("code", &code), ("state", &state)]).await.contains("used before"));
    // A refusal by the person, and a code that is none.
    let state = begin(&grpc, &made.id).await;
    let answer = come_back(&world, &[("state", &state), ("error", "access_denied")]).await;
    answer.problem(409, "AUTHORIZATION_REFUSED");
    let state = begin(&grpc, &made.id).await;
    let answer = come_back(&world, &[("state", &state), ("code", "made up")]).await;
    answer.problem(409, "VENDOR_REFUSED");
    let state = begin(&grpc, &made.id).await;
    let answer =
        come_back(&world, &[("state", &state), ("code", &code), ("referer", "evil.amocrm.ru")]).await;
    answer.problem(409, "VENDOR_REFUSED");
    assert!(get(&world, &made.id).await.grant.is_none());

    // The right one, with a browser.
    let state = begin(&grpc, &made.id).await;
    let path = format!("/oauth/callback?state={state}&code={code}&referer=acme.amocrm.ru");
    let answer = world.call(reqwest::Method::GET, &path, &[("accept", "text/html,*/*")], None).await;
    assert_eq!(
        (answer.status, &answer.headers["content-type"]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    assert!(answer.text.contains("Our &lt;CRM&gt; is connected"), "{}", answer.text);
    assert_eq!(answer.headers["referrer-policy"], "no-referrer");
    let answer = world.call(reqwest::Method::GET, &path, &[("accept", "text/html")], None).await;
    assert!(answer.status == 422 && answer.text.contains("used before"), "{}", answer.text);
    let granted = get(&world, &made.id).await;
    assert!(granted.grant.unwrap().expire_time.is_some());
    assert_eq!(check(&grpc, &made.id).await, v1::IntegrationHealth::Healthy);
    // Sealed anew, with a fresh key for each, it is what it was.
    let rotate = v1::RotateIntegrationRequest { id: made.id.clone() };
    grpc.integrations().rotate_integration(rotate).await.unwrap();
    assert_eq!(check(&grpc, &made.id).await, v1::IntegrationHealth::Healthy);

    let plain = connect(&world, fake("good")).await;
    let request = v1::StartAuthorizationRequest { id: plain.id };
    let refused = grpc.integrations().start_authorization(request).await.unwrap_err();
    assert_eq!(reason(&refused).0, "CAPABILITY_MISSING");
    world.stop().await;
}

#[tokio::test]
async fn a_pair_is_renewed_ahead_of_its_end_though_nobody_uses_it() {
    let world = World::new().await;
    let at = amocrm().await;
    let made = authorized(&world, &at).await;
    world.clock().advance(Duration::from_hours(21));
    assert_eq!(check(&world.grpc().await, &made.id).await, v1::IntegrationHealth::Healthy);
    assert_eq!(at.renewals(), [], "there is time");
    world.clock().advance(Duration::from_hours(2));
    timeout(PATIENCE, at.wait_for_renewals(1)).await.unwrap();
    let mut owner = world.owner().await;
    let renewed = || sqlx::query_as("select version, proven from integration_grants");
    until(|| async {
        let mut owner = world.owner().await;
        let (version, proven): (i64, bool) = renewed().fetch_one(&mut owner).await.unwrap();
        (version == 2 && !proven).then_some(())
    })
    .await;
    // Its first use proves it, and the pair before it is forgotten.
    assert_eq!(check(&world.grpc().await, &made.id).await, v1::IntegrationHealth::Healthy);
    let (version, proven): (i64, bool) = renewed().fetch_one(&mut owner).await.unwrap();
    assert_eq!((version, proven), (2, true));
    // A grant that was revoked at the vendor: one event with the remedy, and a person heals it.
    at.revoke();
    world.clock().advance(Duration::from_hours(23));
    until(|| async {
        let health = get(&world, &made.id).await.health();
        (health == v1::IntegrationHealth::NeedsAuthorization).then_some(())
    })
    .await;
    let changed = until(|| async {
        let changed = events(&world, "integration.health_changed").await;
        (changed.len() == 2).then_some(changed)
    })
    .await;
    assert!(text(&changed[1], "remedy").contains("StartAuthorization"));
    let state = begin(&world.grpc().await, &made.id).await;
    let answer = come_back(&world, &[("state", &state), ("code", &at.consent())]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(check(&world.grpc().await, &made.id).await, v1::IntegrationHealth::Healthy);
    world.stop().await;
}

#[tokio::test]
async fn a_hundred_callers_at_expiry_in_three_processes_make_one_renewal() {
    let world = World::new().await;
    let at = amocrm().await;
    let made = authorized(&world, &at).await;
    let others = [world.another().await, world.another().await];
    let mut doors = vec![world.grpc().await];
    for other in &others {
        let endpoint = format!("http://{}", other.grpc.unwrap());
        let channel = Channel::from_shared(endpoint).unwrap().connect().await.unwrap();
        doors.push(Grpc::over(channel, &world.key));
    }
    at.think(Duration::from_millis(400));
    // Whoever held the lease has died: its lease is waited for.
    let mut owner = world.owner().await;
    let dead = "update integration_grants
                set lease_by = gen_random_uuid(), lease_until = now() + interval '1 second'";
    owner.execute(dead).await.unwrap();
    world.clock().advance(Duration::from_hours(25));
    let healths = join_all((0..100).map(|n| check(&doors[n % 3], &made.id))).await;
    assert!(healths.iter().all(|health| *health == v1::IntegrationHealth::Healthy), "{healths:?}");
    assert_eq!(at.renewals(), [Renewal::Given]);

    // A holder that fell silent, is taken for dead, and wakes: its pair counts, and nobody's account is lost.
    world.clock().advance(Duration::from_hours(25));
    at.think(Duration::from_millis(1_200));
    let slow = tokio::spawn({
        let (door, id) = (doors[0].clone(), made.id.clone());
        async move { check(&door, &id).await }
    });
    timeout(PATIENCE, at.wait_for_renewals(2)).await.unwrap();
    owner.execute("update integration_grants set lease_until = now() - interval '1 second'").await.unwrap();
    let quick = check(&doors[1], &made.id).await;
    assert_eq!(
        (slow.await.unwrap(), quick),
        (v1::IntegrationHealth::Healthy, v1::IntegrationHealth::Healthy)
    );
    assert_eq!(at.renewals()[..2], [Renewal::Given, Renewal::Given]);
    let version: i64 =
        sqlx::query_scalar("select version from integration_grants").fetch_one(&mut owner).await.unwrap();
    assert_eq!(version, 3, "never an older pair over a newer one");
    for other in others {
        other.stop().await.unwrap();
    }
    world.stop().await;
}

/// The version of the only pair that there is.
async fn version(world: &World) -> Option<i64> {
    let mut owner = world.owner().await;
    let sql = "select version from integration_grants";
    sqlx::query_scalar(sql).fetch_optional(&mut owner).await.unwrap()
}

#[tokio::test]
async fn what_the_vendor_gave_is_kept_though_nobody_waits_for_it_any_more() {
    let mut world = World::new().await;
    let at = amocrm().await;
    let made = connect(&world, account(&at)).await;
    at.think(Duration::from_millis(400));
    // A browser that goes while the code is exchanged.
    let state = begin(&world.grpc().await, &made.id).await;
    let parameters = [("state", state), ("code", at.consent()), ("referer", "acme.amocrm.ru".to_owned())];
    let url = url::Url::parse_with_params(&world.url("/oauth/callback"), &parameters).unwrap();
    let hasty = reqwest::Client::new().get(url).timeout(Duration::from_millis(200));
    assert!(hasty.send().await.unwrap_err().is_timeout());
    until(|| async { version(&world).await.filter(|version| *version == 1) }).await;

    // A caller whose time ends while the pair is renewed: its refresh token works once.
    world.clock().advance(Duration::from_hours(25));
    let mut request = tonic::Request::new(v1::CheckIntegrationRequest { id: made.id.clone() });
    request.set_timeout(Duration::from_millis(200));
    let late = world.grpc().await.integrations().check_integration(request).await.unwrap_err();
    assert_eq!(late.code(), tonic::Code::DeadlineExceeded, "{late:?}");
    until(|| async { version(&world).await.filter(|version| *version == 2) }).await;
    at.think(Duration::ZERO);
    assert_eq!(check(&world.grpc().await, &made.id).await, v1::IntegrationHealth::Healthy);
    assert_eq!(at.renewals(), [Renewal::Given]);

    // So with a process that is told to stop meanwhile.
    at.think(Duration::from_millis(400));
    world.clock().advance(Duration::from_hours(25));
    let mut request = tonic::Request::new(v1::CheckIntegrationRequest { id: made.id.clone() });
    request.set_timeout(Duration::from_millis(100));
    world.grpc().await.integrations().check_integration(request).await.unwrap_err();
    world.server.take().unwrap().stop().await.unwrap();
    assert_eq!(version(&world).await, Some(3));
}

#[tokio::test]
async fn what_was_granted_at_one_server_is_not_sent_to_another() {
    let world = World::new().await;
    let (at, other) = (amocrm().await, amocrm().await);
    let made = authorized(&world, &at).await;
    let moved = v1::Integration { id: made.id.clone(), ..account(&other) };
    let paths = ["settings", "credentials"].map(str::to_owned).to_vec();
    let update_mask = Some(prost_types::FieldMask { paths });
    let request = v1::UpdateIntegrationRequest { integration: Some(moved), update_mask };
    let grpc = world.grpc().await;
    grpc.integrations().update_integration(request).await.unwrap();
    assert!(get(&world, &made.id).await.grant.is_none());
    assert_eq!(check(&grpc, &made.id).await, v1::IntegrationHealth::NeedsAuthorization);
    world.stop().await;
}

#[tokio::test]
async fn a_pair_that_never_worked_is_renewed_with_the_one_before_it() {
    let world = World::new().await;
    let at = amocrm().await;
    let made = authorized(&world, &at).await;
    world.clock().advance(Duration::from_hours(23));
    until(|| async { version(&world).await.filter(|version| *version == 2) }).await;
    at.take_back();
    world.clock().advance(Duration::from_hours(25));
    assert_eq!(check(&world.grpc().await, &made.id).await, v1::IntegrationHealth::Healthy);
    assert_eq!(at.renewals(), [Renewal::Given, Renewal::Refused, Renewal::Given]);
    world.stop().await;
}

#[tokio::test]
async fn a_vendor_that_is_down_is_asked_once_and_left_alone_for_a_while() {
    let world = World::new().await;
    let at = amocrm().await;
    let made = authorized(&world, &at).await;
    let before = at.calls();
    at.faults().add(Fault::Down, None);
    world.clock().advance(Duration::from_hours(25));
    let grpc = world.grpc().await;
    let healths = join_all((0..20).map(|_| check(&grpc, &made.id))).await;
    assert!(healths.iter().all(|health| *health == v1::IntegrationHealth::Failing), "{healths:?}");
    assert_eq!(at.calls(), before + 1);
    at.faults().heal();
    world.clock().advance(Duration::from_mins(2));
    assert_eq!(check(&grpc, &made.id).await, v1::IntegrationHealth::Healthy);
    assert_eq!(at.renewals(), [Renewal::Given]);
    world.stop().await;
}

#[tokio::test]
async fn a_renewal_that_is_refused_for_good_shows_in_the_health() {
    let world = World::new().await;
    let at = amocrm().await;
    let made = authorized(&world, &at).await;
    at.faults().add(Fault::Status(402), None);
    world.clock().advance(Duration::from_hours(23));
    let sick = until(|| async {
        let seen = get(&world, &made.id).await;
        (seen.health() == v1::IntegrationHealth::Failing).then_some(seen)
    })
    .await;
    assert!(sick.last_error.contains("402") && !sick.remedy.is_empty(), "{sick:?}");
    at.faults().heal();
    world.clock().advance(Duration::from_mins(2));
    until(|| async {
        (get(&world, &made.id).await.health() == v1::IntegrationHealth::Healthy).then_some(())
    })
    .await;
    world.stop().await;
}

/// Processes of the real program on the story's database, and what each is called over.
struct Crew {
    processes: Vec<Process>,
    doors: Vec<Grpc>,
    _dirs: Vec<Dir>,
}

impl Crew {
    async fn of_three(world: &World) -> Self {
        let dirs: Vec<Dir> = (0..3).map(|_| Dir::new()).collect();
        let database = world.database_url();
        let environment = [("DATABASE_URL", database.as_str()), ("SWITCHBOARD_KEYRING", KEYRING)];
        let start = |dir: &Dir| Process::start_with(dir.path(), &environment, Stdio::null());
        let processes = dirs.iter().map(start).collect();
        let mut doors = Vec::new();
        for dir in &dirs {
            let address = values(&dir.path().join("listeners"), &["grpc"]).await.remove(0);
            let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
            doors.push(Grpc::over(channel, &world.key));
        }
        Self { processes, doors, _dirs: dirs }
    }

    /// Calls a hundred times at once, whatever comes of it.
    fn rush(&self, id: &str) -> Vec<tokio::task::JoinHandle<bool>> {
        let call = |n: usize| {
            let (door, id) = (self.doors[n % 3].clone(), id.to_owned());
            tokio::spawn(async move {
                let request = v1::CheckIntegrationRequest { id };
                let checked = door.integrations().check_integration(request).await;
                checked.is_ok_and(|checked| {
                    let health = checked.into_inner().integration.unwrap().health();
                    health == v1::IntegrationHealth::Healthy
                })
            })
        };
        (0..100).map(call).collect()
    }

    fn kill(self) {
        self.processes.into_iter().for_each(Process::kill);
    }
}

/// When the processes are killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The vendor was asked, and has done nothing yet.
    Asked,
    /// The vendor has given the pair, and its answer is on its way: the one window in which a pair can be lost.
    Given,
    /// The pair is kept.
    Kept,
}

#[tokio::test]
async fn an_account_survives_kill_9_at_every_moment_of_its_renewal() {
    for moment in [Moment::Asked, Moment::Given, Moment::Kept] {
        let mut world = World::new().await;
        let at = amocrm().await;
        // A minute before its end a token counts as expired.
        at.access_lives(60);
        let made = authorized(&world, &at).await;
        world.server.take().unwrap().stop().await.unwrap();
        at.access_lives(86_400);
        let calls = 1;
        match moment {
            Moment::Asked => at.faults().add(Fault::HangMs(3_000), Some(1)),
            Moment::Given => at.think(Duration::from_secs(3)),
            Moment::Kept => {}
        }
        let crew = Crew::of_three(&world).await;
        let rush = crew.rush(&made.id);
        match moment {
            Moment::Asked => timeout(PATIENCE, at.wait_for_calls(calls + 1)).await.unwrap(),
            Moment::Given => drop(timeout(PATIENCE, at.wait_for_renewals(1)).await.unwrap()),
            Moment::Kept => {
                until(|| async {
                    let mut owner = world.owner().await;
                    let sql = "select version from integration_grants";
                    let version: i64 = sqlx::query_scalar(sql).fetch_one(&mut owner).await.unwrap();
                    (version == 2).then_some(())
                })
                .await;
            }
        }
        crew.kill();
        join_all(rush).await;
        at.faults().heal();
        at.think(Duration::from_millis(100));

        let crew = Crew::of_three(&world).await;
        let healthy =
            join_all(crew.rush(&made.id)).await.into_iter().filter(|good| *good.as_ref().unwrap()).count();
        if moment == Moment::Given {
            // The pair that nobody heard of is gone. It is said so, once, with what to do; and done, all is well.
            assert_eq!(healthy, 0);
            assert_eq!(at.renewals(), [Renewal::Given, Renewal::Refused]);
            let door = &crew.doors[0];
            let request = v1::GetIntegrationRequest { id: made.id.clone() };
            let sick = door.integrations().get_integration(request).await.unwrap().into_inner();
            let sick = sick.integration.unwrap();
            assert_eq!(sick.health(), v1::IntegrationHealth::NeedsAuthorization);
            assert!(sick.remedy.contains("StartAuthorization"), "{sick:?}");
        } else {
            assert_eq!(healthy, 100, "{moment:?}");
            assert_eq!(at.renewals(), [Renewal::Given], "{moment:?}");
        }
        crew.kill();
    }
}
