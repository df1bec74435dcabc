//! How long a session lasts.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use homeward_fleet::store::Tx;

use super::scenario::{PASSWORD, World, csrf, filled, session};
use super::visit::{Answer, ask, cookie, get, hand, send, sign_in};

/// Whether a page is shown; otherwise the way goes to sign in.
async fn is_open(world: &World, path: &str, cookie: &str) -> bool {
    let answer = get(world, path, cookie).await;
    let to_sign_in = answer.header("location") == "/sign-in";
    assert_eq!(
        answer.status == StatusCode::OK,
        !to_sign_in,
        "{path}: {}",
        answer.status
    );
    !to_sign_in
}

/// A part of a page, as a script of ours fetches it.
async fn fetch(world: &World, path: &str, cookie: &str) -> Answer {
    let request = Request::get(path)
        .header(header::HOST, "fleet.example")
        .header(header::COOKIE, cookie)
        .header("hx-request", "true")
        .body(Body::empty());
    send(world, request.expect("a request")).await
}

#[tokio::test]
async fn a_session_ends_an_hour_after_the_last_page_was_opened() {
    let mut world = filled().await;
    let to = hand(&mut world);
    let nina = session(&world, "nina").await;
    for minute in [59, 118, 177] {
        to(minute);
        assert!(is_open(&world, "/care", &nina).await, "after {minute} minutes");
    }
    to(177 + 61);
    assert!(!is_open(&world, "/care", &nina).await);
    let form = format!("csrf={}", csrf("nina"));
    let late = ask(&world, Method::POST, "/sign-out", &nina, &form).await;
    assert_eq!(
        late.status,
        StatusCode::UNAUTHORIZED,
        "nor does it change anything"
    );
}

#[tokio::test]
async fn what_a_page_does_by_itself_keeps_no_session_open() {
    let mut world = filled().await;
    let to = hand(&mut world);
    let nina = session(&world, "nina").await;
    for minute in [20, 40, 59] {
        to(minute);
        assert_eq!(fetch(&world, "/care/rows", &nina).await.status, StatusCode::OK);
        assert_eq!(get(&world, "/events", &nina).await.status, StatusCode::OK);
    }
    to(61);
    let ended = fetch(&world, "/care/rows", &nina).await;
    assert_eq!(ended.status, StatusCode::UNAUTHORIZED, "{}", ended.text);
    assert!(!is_open(&world, "/care", &nina).await);
}

#[tokio::test]
async fn no_session_outlives_a_shift_however_busy_it_is() {
    let mut world = filled().await;
    let to = hand(&mut world);
    let answer = sign_in(&world, "nina", PASSWORD).await;
    assert!(answer.header("set-cookie").contains("Max-Age=43200;"));
    let nina = cookie(&answer);
    for minute in (50..720).step_by(50).chain([719]) {
        to(minute);
        assert!(is_open(&world, "/care", &nina).await, "after {minute} minutes");
    }
    to(721);
    assert!(!is_open(&world, "/care", &nina).await);
    let again = cookie(&sign_in(&world, "nina", PASSWORD).await);
    assert!(is_open(&world, "/care", &again).await);
    let kept = world.desk.store.read(|tx: &mut dyn Tx| {
        let row = tx.row("SELECT count(*) FROM sessions", &[])?;
        row.map_or(Ok(0), |row| row.int(0))
    });
    assert_eq!(kept.await.expect("read"), 1, "the one that ended is gone");
}

#[tokio::test]
async fn a_disabled_persons_session_ends_at_once() {
    let world = filled().await;
    let (olga, sam) = (session(&world, "olga").await, session(&world, "sam").await);
    assert_eq!(get(&world, "/care", &sam).await.status, StatusCode::OK);
    let form = format!("csrf={}", csrf("olga"));
    ask(&world, Method::POST, "/users/sam/disable", &olga, &form).await;
    assert_eq!(get(&world, "/care", &sam).await.header("location"), "/sign-in");
    assert_eq!(
        get(&world, "/care/rows", &sam).await.header("location"),
        "/sign-in"
    );
    let own = ask(&world, Method::POST, "/users/olga/disable", &olga, &form).await;
    assert_eq!(own.status, StatusCode::UNPROCESSABLE_ENTITY);
}
