//! Releases in plain words: the list, the paper for patients, and where an update is waited for.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use homeward_fleet::access::Scope;
use homeward_fleet::direct::shelf::read::Releases;
use homeward_fleet::web;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::api;
use super::golden;
use super::scenario::{World, filled, session, token};
use super::visit::get;

/// A page, as a browser that wants these languages gets it.
async fn speaking(world: &World, path: &str, cookie: &str, languages: &str) -> String {
    let request = Request::get(path)
        .header(header::COOKIE, cookie)
        .header(header::ACCEPT_LANGUAGE, languages)
        .body(Body::empty())
        .expect("a request");
    let answer = web::router(world.desk.clone())
        .oneshot(request)
        .await
        .expect("answers");
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

#[tokio::test]
async fn the_list_and_the_paper_look_as_they_were_agreed() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let list = get(&world, "/releases", &cookie).await.text;
    golden("releases.html", &list);
    let forward = list.matches("forward only: no automatic return").count();
    assert_eq!(forward, 2, "packages and a device's firmware: {list}");
    let paper = get(&world, "/releases/note?path=packages/2026.7.1&lang=de", &cookie)
        .await
        .text;
    golden("release_note.html", &paper);
    for nowhere in [
        "/releases/note?path=agent/9.9.9",
        "/releases/note?path=",
        "/releases/note?path=%3Cscript%3E",
    ] {
        assert_eq!(
            get(&world, nowhere, &cookie).await.status,
            StatusCode::NOT_FOUND,
            "{nowhere}"
        );
    }
}

#[tokio::test]
async fn a_reader_reads_the_own_language_where_it_is_there_and_english_else() {
    let world = filled().await;
    let nurse = session(&world, "nina").await;
    let german = speaking(&world, "/releases", &nurse, "de-CH, en;q=0.5").await;
    assert!(
        german.contains("lang=\"de\">Die Box fragt die Bluetooth-Sensoren"),
        "{german}"
    );
    assert!(!german.contains("The box asks its Bluetooth"), "{german}");
    let french = speaking(&world, "/releases", &nurse, "fr").await;
    assert!(french.contains("Le boîtier interroge"), "{french}");
    assert!(
        french.contains("lang=\"en\">Closes a hole"),
        "no French there: {french}"
    );
    let polish = speaking(&world, "/releases/note?path=agent/1.4.0", &nurse, "pl").await;
    assert!(
        polish.contains("lang=\"en\">An improvement for the box"),
        "{polish}"
    );
    // A nurse sees what it means, and nothing of the whole fleet.
    for fleet in ["that run it", "/campaigns/", "homeward-fleet"] {
        assert!(!german.contains(fleet), "{fleet}: {german}");
    }
}

#[tokio::test]
async fn where_an_update_is_waited_for_stands_what_it_means() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let box_page = get(&world, "/gateways/gw-01aaaa", &cookie).await.text;
    for says in [
        "infusion pump is in use",
        "forward only: no automatic return",
        "Closes a hole in the box",
    ] {
        assert!(box_page.contains(says), "{says}: {box_page}");
    }
    let nurse = session(&world, "nina").await;
    let care = get(&world, "/care", &nurse).await.text;
    let link =
        "An improvement waits for a quiet moment here: <a href=\"/releases/note?path=packages%2F2026.7.1\">";
    assert_eq!(care.matches(link).count(), 1, "{care}");
    let other = session(&world, "sam").await;
    assert!(
        !get(&world, "/care", &other).await.text.contains("An improvement"),
        "another team's home"
    );
}

#[tokio::test]
async fn nothing_published_and_nothing_believed_are_told_apart() {
    let mut world = filled().await;
    let cookie = session(&world, "olga").await;
    token(&world, "hw_READS", vec![Scope::FleetRead]).await;
    world.desk.releases = Releases::default();
    let none = get(&world, "/releases", &cookie).await.text;
    assert!(
        none.contains("No release is published") && none.contains("Nothing to install"),
        "{none}"
    );
    let ask = |world: World| async move {
        api::ask(&world, Method::GET, "/api/v1/releases", "hw_READS", Value::Null)
            .await
            .1
    };
    world.desk.releases = Releases::from_fn(|_| Err("timestamp expired on <b>Monday</b>".into()));
    let old = get(&world, "/releases", &cookie).await.text;
    assert!(
        old.contains("cannot be believed") && old.contains("timestamp expired"),
        "{old}"
    );
    assert!(!old.contains("<b>Monday"), "{old}");
    // The gateway's page and the campaigns stand without it.
    let page = get(&world, "/gateways/gw-01aaaa", &cookie).await;
    assert!(
        page.status == StatusCode::OK && page.text.contains("infusion pump"),
        "{}",
        page.text
    );
    let told = ask(world).await;
    assert_eq!(told["trouble"], "timestamp expired on <b>Monday</b>");
    assert_eq!(told["releases"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn programs_see_what_is_published_and_how_far_it_has_come() {
    let world = filled().await;
    token(&world, "hw_READS", vec![Scope::FleetRead]).await;
    let (status, told, _) = api::ask(&world, Method::GET, "/api/v1/releases", "hw_READS", Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let find = |path: &str| {
        let all = told["releases"].as_array().expect("releases");
        all.iter().find(|one| one["path"] == path).expect(path).clone()
    };
    let packages = find("packages/2026.7.1");
    assert_eq!(
        (&packages["forward_only"], &packages["told"]),
        (&true.into(), &1.into())
    );
    assert_eq!(packages["disruption"], "service-restart");
    let agent = find("agent/1.3.0");
    assert_eq!(
        (&agent["runs"], &agent["forward_only"]),
        (&1.into(), &false.into())
    );
    assert_eq!(agent["notes"], Value::Null);
    assert!(find("agent/1.4.0")["notes"]["patient"]["nl"].is_string());
}
