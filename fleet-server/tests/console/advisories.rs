//! Advisories on the console and in the API: who sees what is weighed, who decides, and what a register asks of people.

use axum::http::{Method, StatusCode};
use homeward_fleet::access::Scope;
use serde_json::json;

use super::api;
use super::golden;
use super::scenario::advised::{advise, document};
use super::scenario::{World, csrf, filled, session, token};
use super::visit::{ask, get};

async fn world() -> World {
    let world = filled().await;
    world.desk.store.write(advise).await.expect("advises");
    for user in ["olga", "nina", "sam"] {
        session(&world, user).await;
    }
    world
}

fn cookie(user: &str) -> String {
    format!(
        "{}=SECRETOF{}",
        homeward_fleet::web::guard::SESSION,
        user.to_uppercase()
    )
}

async fn say(world: &World, user: &str, path: &str, fields: &str) -> StatusCode {
    // As the page has it that is before this person.
    let shown = path.trim_end_matches("/withdraw").trim_end_matches("/reopen");
    let text = get(world, shown, &cookie(user)).await.text;
    let seen = text.split("name=\"seen\" value=\"").nth(1);
    let seen = seen.and_then(|rest| rest.split('"').next()).unwrap_or("1");
    let form = format!("csrf={}&seen={seen}&{fields}", csrf(user));
    ask(world, Method::POST, path, &cookie(user), &form).await.status
}

const DECIDE: &str =
    "order=decide&choice=watch&on=2026-12-24&with=the+clinic&without=somebody+near&by_it=three+minutes";
const DONE: &str = "order=done";

#[tokio::test]
async fn the_pages_look_as_they_were_agreed() {
    let world = world().await;
    let (nina, olga) = (cookie("nina"), cookie("olga"));
    golden("advisories.html", &get(&world, "/advisories", &nina).await.text);
    golden("advisory.html", &get(&world, "/advisories/1", &nina).await.text);
    golden("implants.html", &get(&world, "/implants", &olga).await.text);
    for nowhere in ["/advisories/9", "/advisories/-1", "/advisories/x"] {
        assert_eq!(get(&world, nowhere, &olga).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_clinician_of_the_own_team_decides_and_nobody_else() {
    let world = world().await;
    let at = "/advisories/1";
    assert_eq!(
        get(&world, at, &cookie("sam")).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(say(&world, "sam", at, DECIDE).await, StatusCode::NOT_FOUND);
    let shown = get(&world, at, &cookie("olga")).await.text;
    assert!(
        !shown.contains("name=\"choice\""),
        "an operator is shown no decision to take"
    );
    let odd = StatusCode::UNPROCESSABLE_ENTITY;
    assert_eq!(say(&world, "olga", at, DECIDE).await, odd);
    for (fields, status) in [
        (DONE, odd),
        (
            "order=decide&choice=watch&on=2026-12-24&with=the+clinic&without=&by_it=three+minutes",
            odd,
        ),
        (
            "order=decide&choice=watch&on=&with=the+clinic&without=somebody&by_it=three+minutes",
            odd,
        ),
        (
            "order=decide&choice=push&on=2026-12-24&with=the+clinic&without=somebody&by_it=three+minutes",
            odd,
        ),
        ("order=push", StatusCode::NOT_FOUND),
        (DECIDE, StatusCode::SEE_OTHER),
    ] {
        assert_eq!(say(&world, "nina", at, fields).await, status, "{fields}");
    }
    let shown = get(&world, at, &cookie("nina")).await.text;
    assert!(
        shown.contains("nina decided with the clinic: nothing now"),
        "{shown}"
    );
    // What is left to operators, and what both may.
    let withdrawn = say(&world, "nina", "/advisories/1/withdraw", "reason=no").await;
    assert_eq!(withdrawn, StatusCode::FORBIDDEN);
    assert_eq!(
        say(
            &world,
            "nina",
            "/advisories/1/reopen",
            "reason=the+maker+says+more"
        )
        .await,
        StatusCode::SEE_OTHER
    );
    assert_eq!(
        say(&world, "olga", "/advisories/1/withdraw", "reason=a+mistake").await,
        StatusCode::SEE_OTHER
    );
}

#[tokio::test]
async fn a_nurse_keeps_the_register_of_the_own_homes() {
    let world = world().await;
    let new = "home=home-01&device=second&kind=implant&maker=Acme+Medical&model=Pacer+7+XT&shows=";
    assert_eq!(say(&world, "sam", "/implants", new).await, StatusCode::NOT_FOUND);
    assert_eq!(say(&world, "nina", "/implants", new).await, StatusCode::SEE_OTHER);
    assert_eq!(
        say(&world, "nina", "/implants", new).await,
        StatusCode::UNPROCESSABLE_ENTITY,
        "one name is one device"
    );
    for broken in [
        "device=a+b",
        "kind=toy",
        "maker=",
        "model=%E2%80%8B",
        "home=Mrs+Smith",
    ] {
        let form = format!("{new}&{broken}");
        assert!(
            say(&world, "nina", "/implants", &form).await.is_client_error(),
            "{broken}"
        );
    }
    let listed = get(&world, "/advisories", &cookie("nina")).await.text;
    assert!(
        listed.contains("2 devices: advisories are to be weighed"),
        "{listed}"
    );
    assert_eq!(
        say(&world, "sam", "/implants/3/end", "reason=gone").await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        say(&world, "nina", "/implants/3/seen", "shows=2.1").await,
        StatusCode::SEE_OTHER
    );
    assert_eq!(
        say(&world, "nina", "/implants/3/end", "reason=gone").await,
        StatusCode::SEE_OTHER
    );
    assert_eq!(
        say(&world, "nina", "/implants/3/end", "reason=gone").await,
        StatusCode::NOT_FOUND
    );
    let shown = get(&world, "/advisories/2", &cookie("nina")).await.text;
    assert!(
        shown.contains("the device is not in the register any more"),
        "{shown}"
    );
}

#[tokio::test]
async fn programs_take_advisories_in_and_decide_nothing() {
    let world = world().await;
    token(&world, "hw_ALL", Scope::ALL.to_vec()).await;
    let post = |path: &'static str, body| api::ask(&world, Method::POST, path, "hw_ALL", body);
    let look = |path: &'static str| api::ask(&world, Method::GET, path, "hw_ALL", json!({}));
    let known = document("1", "It answers whoever is near.");
    let (status, said, _) = post("/api/v1/advisories", known).await;
    assert_eq!((status, &said["new"]), (StatusCode::OK, &json!(false)), "{said}");
    let (status, said, _) = post("/api/v1/advisories", document("1", "Other words.")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{said}");
    let (status, said, _) = post("/api/v1/advisories", document("2", "It is used by thieves.")).await;
    assert_eq!(
        (status, &said["tasks"], &said["superseded"]),
        (StatusCode::OK, &json!([2]), &json!([1])),
        "{said}"
    );
    let (status, _, _) = post("/api/v1/advisories", json!({ "document": 1 })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let device = json!({ "home": "home-01", "device": "third", "kind": "implant", "maker": "Acme", "model": "Pacer 7" });
    let (status, said, _) = post("/api/v1/implants", device.clone()).await;
    assert_eq!((status, &said["tasks"]), (StatusCode::OK, &json!([3])), "{said}");
    assert_eq!(post("/api/v1/implants", device).await.0, StatusCode::CONFLICT);
    let (_, tasks, _) = look("/api/v1/advisories/tasks").await;
    assert_eq!(tasks["tasks"].as_array().map(Vec::len), Some(3), "{tasks}");
    let (_, listed, _) = look("/api/v1/advisories").await;
    assert_eq!(listed["advisories"][0]["version"], "2", "{listed}");
    let (status, said, _) = post("/api/v1/implants/3/end", json!({ "reason": "gone" })).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let (_, register, _) = look("/api/v1/implants").await;
    assert_eq!(
        register["implants"].as_array().map(Vec::len),
        Some(3),
        "{register}"
    );
}
