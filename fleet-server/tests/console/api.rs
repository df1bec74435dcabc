//! The API through its router.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use homeward_fleet::access::{self, Needs, Scope, Verb};
use homeward_fleet::api;
use homeward_fleet::support::hub::Hub;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::golden;
use super::scenario::releases;
use super::scenario::{NOW, World, at, filled, token};

const ALL: &str = "hw_ALL";
const NONE: &str = "hw_NONE";

async fn world() -> World {
    let world = filled().await;
    token(&world, ALL, Scope::ALL.to_vec()).await;
    world
}

pub(super) async fn ask(
    world: &World,
    method: Method,
    path: &str,
    bearer: &str,
    body: Value,
) -> (StatusCode, Value, String) {
    let desk = api::Desk {
        hub: Hub::new().0,
        roots: world.desk.roots.clone(),
        releases: world.desk.releases.clone(),
        papers: releases::papers(),
        store: world.desk.store.clone(),
        clock: world.desk.clock.clone(),
        bus: world.desk.bus.clone(),
        invitations: world.desk.invitations.clone(),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {bearer}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()));
    let response = api::router(desk)
        .oneshot(request.expect("a request"))
        .await
        .expect("an answer");
    let status = response.status();
    let kind = response
        .headers()
        .get("content-type")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let kind = kind.to_owned();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        kind,
    )
}

async fn get(world: &World, path: &str) -> (StatusCode, Value) {
    let (status, body, _) = ask(world, Method::GET, path, ALL, Value::Null).await;
    (status, body)
}

#[test]
fn every_endpoint_is_in_the_table_and_every_line_of_the_table_is_an_endpoint() {
    let served: Vec<(Verb, &str)> = api::endpoints()
        .into_iter()
        .map(|(verb, path, _)| (verb, path))
        .collect();
    let listed = access::ROUTES.iter().filter(|r| r.path.starts_with("/api/"));
    let listed: Vec<(Verb, &str)> = listed.map(|r| (r.verb, r.path)).collect();
    assert_eq!(served, listed);
}

#[test]
fn the_description_is_the_one_that_was_agreed_and_knows_every_endpoint() {
    let spec = serde_json::to_value(api::spec::document()).expect("is JSON");
    assert!(
        spec["openapi"].as_str().is_some_and(|v| v.starts_with("3.1")),
        "{spec}"
    );
    for route in access::ROUTES
        .iter()
        .filter(|r| r.path.starts_with("/api/") && r.path != "/api/v1/openapi.json")
    {
        let described = &spec["paths"][route.path][route.verb.name().to_lowercase()];
        assert!(
            described.is_object(),
            "{} {} is not described",
            route.verb.name(),
            route.path
        );
        if let Needs::Token(scope) = route.needs {
            assert_eq!(
                described["security"],
                json!([{ "token": [scope.name()] }]),
                "{}",
                route.path
            );
        }
    }
    golden(
        "openapi.json",
        &(serde_json::to_string_pretty(&spec).expect("prints") + "\n"),
    );
}

#[tokio::test]
async fn what_could_not_be_read_is_told_with_its_reason() {
    let world = world().await;
    let (_, told) = get(&world, "/api/v1/gateways/gw-01aaaa").await;
    let expected = json!({
        "total": 3, "kept": 1, "last_at": "2026-11-18T14:39:10Z",
        "last_why": "a record in another lane than its own"
    });
    assert_eq!(told["unreadable"], expected, "{told}");
    let (_, silent) = get(&world, "/api/v1/gateways/gw-03aaaa").await;
    assert_eq!(silent["unreadable"], Value::Null);
}

#[tokio::test]
async fn console_and_api_stand_behind_one_door() {
    let world = world().await;
    let desk = api::Desk {
        hub: Hub::new().0,
        roots: world.desk.roots.clone(),
        releases: world.desk.releases.clone(),
        papers: releases::papers(),
        store: world.desk.store.clone(),
        clock: world.desk.clock.clone(),
        bus: world.desk.bus.clone(),
        invitations: world.desk.invitations.clone(),
    };
    let both = homeward_fleet::web::router(world.desk.clone()).merge(api::router(desk));
    for (path, status) in [
        ("/sign-in", 200),
        ("/api/v1/health", 200),
        ("/api/v1/gateways", 401),
        ("/api/v2", 404),
    ] {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let answer = both.clone().oneshot(request).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn each_token_gets_exactly_what_its_scopes_say() {
    let world = world().await;
    token(&world, "hw_FLEETREAD", vec![Scope::FleetRead]).await;
    token(&world, "hw_FLEETWRITE", vec![Scope::FleetWrite]).await;
    token(&world, "hw_POLICYWRITE", vec![Scope::PolicyWrite]).await;
    token(&world, "hw_CAREREAD", vec![Scope::CareRead]).await;
    let tokens = [
        (NONE, None),
        ("hw_FLEETREAD", Some(Scope::FleetRead)),
        ("hw_FLEETWRITE", Some(Scope::FleetWrite)),
        ("hw_POLICYWRITE", Some(Scope::PolicyWrite)),
        ("hw_CAREREAD", Some(Scope::CareRead)),
    ];
    for route in access::ROUTES.iter().filter(|r| r.path.starts_with("/api/")) {
        let path = route.path.replace("{gateway}", "gw-none");
        let method = if route.verb == Verb::Get {
            Method::GET
        } else {
            Method::POST
        };
        for (text, has) in tokens {
            let (status, _, kind) = ask(&world, method.clone(), &path, text, Value::Null).await;
            let expected = match (route.needs, has) {
                (Needs::Token(_), None) => Some(StatusCode::UNAUTHORIZED),
                (Needs::Token(needed), Some(scope)) if needed != scope => Some(StatusCode::FORBIDDEN),
                _ => None,
            };
            let shut = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
            assert_eq!(expected.is_some(), shut, "{path} {text}: {status}");
            assert!(expected.is_none_or(|e| e == status), "{path} {text}: {status}");
            assert!(!shut || kind == "application/problem+json", "{path}: {kind}");
        }
    }
}

#[tokio::test]
async fn expired_and_revoked_tokens_are_refused() {
    let world = world().await;
    assert_eq!(get(&world, "/api/v1/gateways").await.0, StatusCode::OK);
    let mut later = filled().await;
    token(&later, ALL, Scope::ALL.to_vec()).await;
    later.desk.clock = homeward_fleet::clock::Clock::from_fn(|| at(-90_000));
    assert_eq!(get(&later, "/api/v1/gateways").await.0, StatusCode::UNAUTHORIZED);
    let end = world
        .desk
        .store
        .write(|tx| homeward_fleet::store::tokens::revoke(tx, ALL, "olga", at(0)));
    assert!(end.await.expect("ends"));
    assert_eq!(get(&world, "/api/v1/gateways").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_list_says_what_the_page_says() {
    let world = world().await;
    let (status, body) = get(&world, "/api/v1/gateways").await;
    assert_eq!(status, StatusCode::OK);
    let counts = &body["counts"];
    let sum: i64 = ["needs_action", "not_heard", "check_today", "all_working"]
        .iter()
        .filter_map(|k| counts[*k].as_i64())
        .sum();
    assert_eq!(counts["total"].as_i64(), Some(sum));
    assert_eq!(body["gateways"][0]["standing"]["state"], "needs-action");
    let (_, one) = get(&world, "/api/v1/gateways/gw-01aaaa").await;
    assert_eq!(one["agent"], "0.1.0");
    assert_eq!(one["gaps"][0]["missing"], 12);
    let (status, body) = get(&world, "/api/v1/gateways?state=green").await;
    assert_eq!(
        (status, body["status"].as_i64()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some(422))
    );
}

#[tokio::test]
async fn a_reading_keeps_the_digits_of_its_device_and_its_unit() {
    let world = world().await;
    let (_, body) = get(&world, "/api/v1/gateways/gw-90bbbb/latest").await;
    let reading = &body["readings"][0];
    assert_eq!(
        (&reading["number"], &reading["unit"], &reading["kind"]),
        (&json!("-21.4"), &json!("Cel"), &json!("storage-temperature"))
    );
    let path = format!("/api/v1/gateways/gw-90bbbb/readings?sensor=freezer&from_ms=0&until_ms={NOW}&limit=1");
    let (_, body) = get(&world, &path).await;
    assert_eq!(body["readings"].as_array().map(Vec::len), Some(1));
    let (status, _) = get(&world, &path.replace("limit=1", "limit=1001")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_program_makes_a_claim_and_revokes_under_its_own_name() {
    let world = world().await;
    let claim = json!({ "gateway": "gw-api1", "placement": "home-11" });
    let (status, body, _) = ask(&world, Method::POST, "/api/v1/claims", ALL, claim).await;
    assert_eq!(status, StatusCode::CREATED);
    let line = body["claim"].as_str().expect("a line");
    assert_eq!(
        line.parse::<homeward_protocol::claim::Claim>()
            .expect("a claim")
            .gateway
            .as_str(),
        "gw-api1"
    );
    let revoke = json!({ "reason": "a test" });
    let path = "/api/v1/gateways/gw-api1/revoke";
    let (status, ..) = ask(&world, Method::POST, path, ALL, revoke.clone()).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, _, kind) = ask(&world, Method::POST, path, ALL, json!({ "why": 1 })).await;
    assert_eq!(
        (status, kind.as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, "application/problem+json")
    );
    let trail = world
        .desk
        .store
        .read(|tx| homeward_fleet::store::audit::list(tx, i64::MAX, 1))
        .await;
    assert_eq!(trail.expect("reads")[0].actor, "token:hw_ALL");
}

#[tokio::test]
async fn programs_check_give_and_follow_policies_and_shut_boxes_off() {
    let world = world().await;
    let (status, listed) = get(&world, "/api/v1/policies").await;
    assert_eq!(status, StatusCode::OK);
    let seven = &listed["policies"][0];
    assert_eq!(
        (&seven["version"], &seven["author"]),
        (&json!(7), &json!("Ann Smith"))
    );
    assert_eq!(seven["assigned_to"], json!(["group:ring-1"]));
    assert_eq!(
        (&seven["counts"]["refused"], &seven["counts"]["returned"]),
        (&json!(1), &json!(1))
    );

    let post = |path: &'static str, body: Value| ask(&world, Method::POST, path, ALL, body);
    let text = super::scenario::policies::document(8, "perhaps");
    let (_, checked, _) = post("/api/v1/policies/check", json!({ "text": text })).await;
    assert_eq!(
        (&checked["ok"], &checked["findings"][0]["line"]),
        (&json!(false), &json!(15))
    );
    let dry = json!({ "to": ["all"], "dry_run": true });
    let (status, plan, _) = post("/api/v1/policies/7/assign", dry).await;
    assert_eq!((status, &plan["already"]), (StatusCode::OK, &json!(2)));
    let odd = json!({ "to": ["everybody"] });
    assert_eq!(
        post("/api/v1/policies/7/assign", odd).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let none = json!({ "to": ["all"] });
    assert_eq!(
        post("/api/v1/policies/99/assign", none).await.0,
        StatusCode::NOT_FOUND
    );
    let papers = json!({ "papers": "-----BEGIN HOMEWARD POLICY-----" });
    assert_eq!(
        post("/api/v1/policies", papers).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );

    let (_, rules) = get(&world, "/api/v1/rules?point=sshd/password-login").await;
    assert_eq!(rules["boxes"][0]["gateway"], "gw-01aaaa");
    assert_eq!(rules["boxes"][0]["standing"], "drifted");
    let isolation = |gateway: &'static str| {
        let world = &world;
        async move { get(world, &format!("/api/v1/gateways/{gateway}/policy")).await.1["isolation"].clone() }
    };
    assert_eq!(isolation("gw-05aaaa").await, "holds");
    let why = json!({ "reason": "calls home" });
    assert_eq!(
        post("/api/v1/gateways/gw-01aaaa/isolate", why.clone()).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(isolation("gw-01aaaa").await, "ordered");
    assert_eq!(
        post("/api/v1/gateways/gw-05aaaa/release", why.clone()).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(isolation("gw-05aaaa").await, "lifting");
    assert_eq!(
        post("/api/v1/gateways/gw-nobody/isolate", why).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn programs_hold_updates_and_end_that() {
    let world = world().await;
    let path = "/api/v1/gateways/gw-01aaaa/quiet";
    let post = async |path: &str, body: Value| ask(&world, Method::POST, path, ALL, body).await.0;
    let stands = async || get(&world, path).await.1["stands"].clone();
    let wish = |hours: u32, reason: &str| json!({ "hours": hours, "reason": reason });
    assert_eq!(stands().await, "none");
    for wrong in [
        wish(2, "x"),
        wish(4, " "),
        wish(4, &"x".repeat(101)),
        json!({ "hours": 4 }),
    ] {
        assert_eq!(post(path, wrong).await, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(post(path, wish(4, "dialysis")).await, StatusCode::NO_CONTENT);
    assert_eq!(stands().await, "asked");
    let (_, told) = get(&world, path).await;
    let said = told["said"].as_str().unwrap_or_default();
    assert!(
        said.contains("dialysis. The box has not said yet that it heard"),
        "{told}"
    );
    let end = json!({ "reason": "it is done" });
    let ends = format!("{path}/end");
    assert_eq!(post(&ends, end.clone()).await, StatusCode::NO_CONTENT);
    assert_eq!(stands().await, "ending");
    assert_eq!(
        post(&ends, end).await,
        StatusCode::NOT_FOUND,
        "there is nothing to end"
    );
    let nobody = "/api/v1/gateways/gw-nobody/quiet";
    assert_eq!(post(nobody, wish(4, "dialysis")).await, StatusCode::NOT_FOUND);
    assert_eq!(
        ask(&world, Method::POST, path, NONE, wish(4, "x")).await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn programs_read_drafts_and_write_and_review_none() {
    let world = world().await;
    let (answered, listed) = get(&world, "/api/v1/drafts").await;
    assert_eq!(answered, StatusCode::OK);
    let stands: Vec<(&Value, &Value, &Value)> = listed["drafts"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|draft| (&draft["id"], &draft["state"], &draft["moved_by"]))
        .collect();
    assert_eq!(
        stands,
        [
            (&json!(3), &json!("writing"), &json!(null)),
            (&json!(2), &json!("reviewed"), &json!("olga")),
            (&json!(1), &json!("asked"), &json!("olga")),
        ]
    );
    let (_, faulty) = get(&world, "/api/v1/drafts/3").await;
    assert_eq!(faulty["findings"][0]["line"], 15);
    assert_eq!(faulty["authors"], json!(["olga"]));
    assert!(
        faulty["text"]
            .as_str()
            .is_some_and(|text| text.contains("perhaps"))
    );
    assert_eq!(faulty["digest"].as_str().map(str::len), Some(64));
    assert_eq!(get(&world, "/api/v1/drafts/99").await.0, StatusCode::NOT_FOUND);
    // Who holds a token would be two people at once.
    for path in ["/api/v1/drafts", "/api/v1/drafts/1", "/api/v1/drafts/1/review"] {
        let answer = ask(&world, Method::POST, path, ALL, json!({ "text": "x" })).await;
        assert!(answer.0.is_client_error(), "{path}: {}", answer.0);
    }
}
