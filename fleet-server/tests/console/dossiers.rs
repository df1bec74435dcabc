//! Firmware of devices on the console and in the API: who sees a task, who may say what of it, and that no call pushes it.

use axum::http::{Method, StatusCode};
use homeward_fleet::access::{self, Needs, Scope, Verb};
use homeward_fleet::store::care::place;
use homeward_fleet::store::dossiers::{self, Found, Kept};
use homeward_fleet::store::{StoreError, Tx};
use homeward_protocol::release::dossier::{Class, Dossier, Performer, read};
use serde_json::{Value, json};

use super::api;
use super::golden;
use super::scenario::{World, at, csrf, filled, session, token};
use super::visit::{ask, get};

fn dossier(class: Class) -> Dossier {
    let mut one = read(include_str!("../../../protocol/tests/dossiers/cuff.toml")).expect("a dossier");
    if class == Class::Implant {
        one.name = "pacer-7".into();
        one.model = "Pacer 7".into();
        one.profiles = Vec::new();
        one.by = Performer::ClinicVisit;
        one.class = class;
    }
    one
}

/// Task 1: a cuff in the north; task 2: an implant in the same home.
fn open(tx: &mut dyn Tx) -> Result<(), StoreError> {
    for (class, device) in [(Class::Sensor, "cuff"), (Class::Implant, "pacemaker")] {
        let dossier = dossier(class);
        let bytes = dossier.to_bytes().expect("bytes");
        let kept = Kept {
            sha256: class.name().repeat(8),
            path: dossier.path(),
            dossier,
            taken_at: at(3600),
        };
        dossiers::keep(tx, (&kept.sha256, &kept.path), &bytes, at(3600))?;
        let found = Found {
            gateway: "gw-01aaaa".parse().expect("an id"),
            device: device.parse().expect("an id"),
            shown: (class == Class::Sensor).then(|| "2.1".into()),
        };
        dossiers::open(tx, &kept, &found, "olga", at(3600))?;
    }
    Ok(())
}

async fn world() -> World {
    let world = filled().await;
    world.desk.store.write(open).await.expect("opens");
    for user in ["olga", "omar", "nina", "sam"] {
        assert_eq!(session(&world, user).await, cookie(user));
    }
    world
}

/// Of this person's session, which is open.
fn cookie(user: &str) -> String {
    format!(
        "{}=SECRETOF{}",
        homeward_fleet::web::guard::SESSION,
        user.to_uppercase()
    )
}

async fn say(world: &World, user: &str, task: u8, fields: &str) -> StatusCode {
    let cookie = cookie(user);
    let form = format!("csrf={}&{fields}", csrf(user));
    let path = format!("/dossiers/{task}");
    ask(world, Method::POST, &path, &cookie, &form).await.status
}

const PLAN: &str = "order=plan&on=2026-12-24";
const SHOWS: &str = "order=confirm&shows=2.2";

#[tokio::test]
async fn the_list_and_a_task_look_as_they_were_agreed() {
    let world = world().await;
    let cookie = cookie("olga");
    golden("dossiers.html", &get(&world, "/dossiers", &cookie).await.text);
    let task = get(&world, "/dossiers/2", &cookie).await.text;
    assert!(task.contains("Do not do this at home"), "{task}");
    golden("dossier.html", &task);
    for nowhere in ["/dossiers/9", "/dossiers/-1", "/dossiers/x"] {
        assert_eq!(get(&world, nowhere, &cookie).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_nurse_sees_and_does_what_is_in_the_homes_of_the_own_team() {
    let world = world().await;
    let (nina, sam) = (cookie("nina"), cookie("sam"));
    assert!(
        get(&world, "/dossiers", &nina)
            .await
            .text
            .contains("2 devices wait")
    );
    assert!(
        get(&world, "/dossiers", &sam)
            .await
            .text
            .contains("No device waits")
    );
    assert_eq!(
        get(&world, "/dossiers/1", &sam).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(say(&world, "sam", 1, PLAN).await, StatusCode::NOT_FOUND);
    let odd = StatusCode::UNPROCESSABLE_ENTITY;
    for (fields, status) in [
        (SHOWS, odd),
        ("order=plan&on=yesterday", odd),
        ("order=refuse&reason=+", odd),
        ("order=push", StatusCode::NOT_FOUND),
        (PLAN, StatusCode::SEE_OTHER),
        ("order=confirm&shows=2.1", odd),
        (SHOWS, StatusCode::SEE_OTHER),
        (SHOWS, odd),
    ] {
        assert_eq!(say(&world, "nina", 1, fields).await, status, "{fields}");
    }
    let text = get(&world, "/dossiers/1", &nina).await.text;
    assert!(text.contains("done: nina saw 2.2 on the device"), "{text}");
    let form = format!("csrf={}&reason=it+was+replaced", csrf("nina"));
    let withdrawn = ask(&world, Method::POST, "/dossiers/2/withdraw", &nina, &form).await;
    assert_eq!(withdrawn.status, StatusCode::FORBIDDEN, "that is for operators");
}

#[tokio::test]
async fn an_implant_is_done_when_two_people_saw_it_in_their_own_sessions() {
    let world = world().await;
    assert_eq!(say(&world, "nina", 2, PLAN).await, StatusCode::SEE_OTHER);
    assert_eq!(say(&world, "nina", 2, SHOWS).await, StatusCode::SEE_OTHER);
    let nina = cookie("nina");
    let text = get(&world, "/dossiers/2", &nina).await.text;
    assert!(
        text.contains("You saw it first") && !text.contains("value=\"confirm\""),
        "{text}"
    );
    assert_eq!(
        say(&world, "nina", 2, SHOWS).await,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    // A program that names another person is no second pair of eyes.
    token(&world, "hw_WRITES", vec![Scope::FleetWrite]).await;
    let named = json!({ "person": "omar", "shows": "2.2" });
    let path = "/api/v1/dossiers/2/confirm";
    let (status, why, kind) = api::ask(&world, Method::POST, path, "hw_WRITES", named).await;
    assert_eq!(
        (status, kind.as_str()),
        (StatusCode::CONFLICT, "application/problem+json")
    );
    assert!(
        why["detail"]
            .as_str()
            .is_some_and(|why| why.contains("sign in to the console")),
        "{why}"
    );
    assert_eq!(say(&world, "omar", 2, SHOWS).await, StatusCode::SEE_OTHER);
    assert!(
        get(&world, "/dossiers/2", &nina)
            .await
            .text
            .contains("nina and omar saw 2.2")
    );
}

#[tokio::test]
async fn programs_see_tasks_and_may_say_what_a_person_did() {
    let world = world().await;
    token(&world, "hw_READS", vec![Scope::FleetRead]).await;
    token(&world, "hw_WRITES", vec![Scope::FleetWrite]).await;
    let tell = |path: &'static str, bearer: &'static str, body: Value| {
        let world = &world;
        async move { api::ask(world, Method::POST, path, bearer, body).await }
    };
    let (_, list, _) = api::ask(&world, Method::GET, "/api/v1/dossiers", "hw_READS", Value::Null).await;
    assert_eq!(list["tasks"].as_array().map(Vec::len), Some(2), "{list}");
    let (_, one, _) = api::ask(&world, Method::GET, "/api/v1/dossiers/1", "hw_READS", Value::Null).await;
    assert_eq!(
        (&one["state"], &one["shown"], &one["two"]),
        (&json!("open"), &json!("2.1"), &json!(false))
    );
    let plan = || json!({ "person": "nina", "on": "2026-12-24" });
    let (planned, at) = ("/api/v1/dossiers/1/plan", StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(tell(planned, "hw_READS", plan()).await.0, StatusCode::FORBIDDEN);
    for odd in [
        json!({ "person": "mallory", "on": "2026-12-24" }),
        json!({ "person": "nina", "on": "soon" }),
        json!({ "person": "nina" }),
        json!({ "person": "nina", "on": "2026-12-24", "push": true }),
    ] {
        let (status, _, kind) = tell(planned, "hw_WRITES", odd.clone()).await;
        assert_eq!((status, kind.as_str()), (at, "application/problem+json"), "{odd}");
    }
    assert_eq!(tell(planned, "hw_WRITES", plan()).await.1["state"], "planned");
    let shows = |text: &str| json!({ "person": "nina", "shows": text });
    let confirm = "/api/v1/dossiers/1/confirm";
    assert_eq!(
        tell(confirm, "hw_WRITES", shows("2.1")).await.0,
        StatusCode::CONFLICT
    );
    assert_eq!(tell(confirm, "hw_WRITES", shows("2.2")).await.1["state"], "done");
    let why = json!({ "person": "nina", "reason": "the patient travels" });
    assert_eq!(
        tell("/api/v1/dossiers/2/refuse", "hw_WRITES", why).await.1["state"],
        "refused"
    );
    assert_eq!(
        tell("/api/v1/dossiers/9/plan", "hw_WRITES", plan()).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn programs_open_tasks_of_what_is_published_take_them_back_and_ask_again() {
    let world = world().await;
    token(&world, "hw_WRITES", vec![Scope::FleetWrite]).await;
    let tell = |path: &'static str, body: Value| {
        let world = &world;
        async move { api::ask(world, Method::POST, path, "hw_WRITES", body).await }
    };
    let path = dossier(Class::Sensor).path().replace("1.0.0", "9.0.0");
    let odd = StatusCode::UNPROCESSABLE_ENTITY;
    for body in [
        json!({ "path": "dossier/none/1.0.0" }),
        json!({ "path": path, "gateway": "gw-01aaaa" }),
        json!({ "path": path, "gateway": "gw-nowhere", "device": "cuff" }),
        json!({ "path": path, "push": true }),
    ] {
        assert_eq!(tell("/api/v1/dossiers", body.clone()).await.0, odd, "{body}");
    }
    let named =
        |dry_run: bool| json!({ "path": path, "gateway": "gw-01aaaa", "device": "cuff", "dry_run": dry_run });
    let (status, dry, _) = tell("/api/v1/dossiers", named(true)).await;
    assert_eq!(
        (status, &dry["devices"][0]["task"]),
        (StatusCode::OK, &Value::Null)
    );
    let (_, opened, _) = tell("/api/v1/dossiers", named(false)).await;
    assert_eq!(opened["superseded"], json!([1]), "{opened}");
    assert_eq!(opened["devices"][0]["task"], 3);
    let page = get(&world, "/dossiers/1", &cookie("nina")).await.text;
    assert!(page.contains("newer instructions took its place"), "{page}");
    let why = || json!({ "person": "nina", "reason": "the patient travels" });
    assert_eq!(
        tell("/api/v1/dossiers/3/refuse", why()).await.1["state"],
        "refused"
    );
    assert_eq!(tell("/api/v1/dossiers/3/reopen", why()).await.1["state"], "open");
    assert_eq!(
        tell("/api/v1/dossiers/3/reopen", why()).await.0,
        StatusCode::CONFLICT
    );
    assert_eq!(
        tell("/api/v1/dossiers/3/withdraw", why()).await.1["state"],
        "withdrawn"
    );
}

#[tokio::test]
async fn a_task_whose_box_has_moved_asks_to_look_again_and_an_operator_opens_it_again() {
    let world = world().await;
    let moved = world.desk.store.write(|tx| {
        let (gateway, home) = (
            "gw-01aaaa".parse().expect("an id"),
            "home-90".parse().expect("an id"),
        );
        place(tx, &gateway, Some(&home), "olga", at(10))
    });
    assert!(moved.await.expect("moves"));
    let (olga, nina) = (cookie("olga"), cookie("nina"));
    let page = get(&world, "/dossiers/1", &nina).await.text;
    assert!(
        page.contains("moved: look again") && !page.contains("<section class=\"noprint\">\n<h2>Plan"),
        "{page}"
    );
    assert!(
        !page.contains("value=\"plan\"") && !page.contains("/reopen"),
        "{page}"
    );
    assert_eq!(
        say(&world, "nina", 1, PLAN).await,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        say(&world, "sam", 1, PLAN).await,
        StatusCode::NOT_FOUND,
        "another home's team"
    );
    assert!(
        get(&world, "/dossiers/1", &olga)
            .await
            .text
            .contains("/dossiers/1/reopen")
    );
    let form = format!("csrf={}&reason=it+went+along", csrf("olga"));
    let again = ask(&world, Method::POST, "/dossiers/1/reopen", &olga, &form).await;
    assert_eq!(again.status, StatusCode::SEE_OTHER);
    assert_eq!(say(&world, "sam", 1, PLAN).await, StatusCode::SEE_OTHER);
    assert_eq!(say(&world, "nina", 1, PLAN).await, StatusCode::NOT_FOUND);
}

/// Whatever is asked for, with every right there is, no word of the director comes of it.
#[tokio::test]
async fn no_call_pushes_anything_to_a_device() {
    let world = world().await;
    token(&world, "hw_ALL", Scope::ALL.to_vec()).await;
    let cookie = cookie("olga");
    let path = dossier(Class::Implant).path();
    let bodies = [
        json!({ "path": path, "target": path, "gateway": "gw-01aaaa", "installer": "dossier" }),
        json!({ "dossier": path, "targets": [path], "gateways": ["gw-01aaaa"], "class": "implant", "push": true }),
        json!({ "order": "open", "gateway": "gw-01aaaa", "person": "olga", "reason": "now", "all": true }),
        json!({ "reason": path }),
    ];
    let words = || {
        world.desk.store.read(|tx| {
            let rows = tx.rows("SELECT path FROM assignments ORDER BY gateway", &[])?;
            rows.iter()
                .map(|row| Ok(row.text(0)?.to_owned()))
                .collect::<Result<Vec<_>, StoreError>>()
        })
    };
    let before = words().await.expect("reads");
    let mut asked = 0;
    for route in access::ROUTES.iter().filter(|route| route.verb == Verb::Post) {
        let at = route
            .path
            .replace("{gateway}", "gw-01aaaa")
            .replace("{task}", "2")
            .replace("{campaign}", "agent-1.4.0")
            .replace("{version}", "7")
            .replace("{draft}", "1");
        for body in &bodies {
            asked += 1;
            match route.needs {
                Needs::Token(_) => {
                    api::ask(&world, Method::POST, &at, "hw_ALL", body.clone()).await;
                }
                // Not the ends of the session that asks.
                Needs::Person(_) if !matches!(at.as_str(), "/sign-out" | "/password") => {
                    let pairs = body.as_object().expect("an object").iter();
                    let pairs = pairs.map(|(key, value)| format!("&{key}={}", value.as_str().unwrap_or("1")));
                    let form = format!("csrf={}{}", csrf("olga"), pairs.collect::<String>());
                    ask(&world, Method::POST, &at, &cookie, &form).await;
                }
                Needs::Person(_) | Needs::Nothing => {}
            }
        }
    }
    assert!(asked > 150, "{asked} calls");
    assert_eq!(words().await.expect("reads"), before);
    assert!(
        before.iter().all(|path| !path.starts_with("dossier/")),
        "{before:?}"
    );
}
