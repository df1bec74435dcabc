//! A person chooses another password.

use axum::http::{Method, StatusCode};

use super::scenario::{PASSWORD, World, csrf, filled, session};
use super::visit::{Answer, ask, cookie, get, sign_in};

const NEW: &str = "seven wet otters dance";

/// Fills the form.
async fn change(world: &World, who: &str, token: &str, current: &str, new: &str) -> Answer {
    let form = format!(
        "csrf={token}&current={}&new={}",
        current.replace(' ', "+"),
        new.replace(' ', "+")
    );
    ask(world, Method::POST, "/password", who, &form).await
}

#[tokio::test]
async fn another_password_ends_the_other_sessions_and_stands_in_the_trail() {
    let world = filled().await;
    let here = cookie(&sign_in(&world, "nina", PASSWORD).await);
    let elsewhere = cookie(&sign_in(&world, "nina", PASSWORD).await);
    let sam = session(&world, "sam").await;
    let token = get(&world, "/password", &here).await.csrf().to_owned();
    let answer = change(&world, &here, &token, PASSWORD, NEW).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (StatusCode::SEE_OTHER, "/password?changed=1")
    );
    let done = get(&world, "/password?changed=1", &here).await;
    assert!(done.text.contains("Your password is changed"), "{}", done.text);
    assert_eq!(
        get(&world, "/care", &elsewhere).await.header("location"),
        "/sign-in"
    );
    assert_eq!(get(&world, "/care", &sam).await.status, StatusCode::OK);
    assert_eq!(
        sign_in(&world, "nina", PASSWORD).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(sign_in(&world, "nina", NEW).await.status, StatusCode::SEE_OTHER);
    let olga = session(&world, "olga").await;
    let trail = get(&world, "/audit", &olga).await.text;
    assert!(
        trail.contains("password-changed") && trail.contains("other sessions ended: 1"),
        "{trail}"
    );
    assert!(!trail.contains("otters"), "{trail}");
}

#[tokio::test]
async fn a_password_that_may_not_be_changes_nothing() {
    let world = filled().await;
    let nina = session(&world, "nina").await;
    for (new, why) in [
        ("short", "at least 12 characters"),
        (PASSWORD, "the one that you have"),
        (&"x".repeat(300), "at most 256 bytes"),
    ] {
        let answer = change(&world, &nina, &csrf("nina"), PASSWORD, new).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{new}");
        assert!(answer.text.contains(why), "{new}: {}", answer.text);
    }
    assert_eq!(
        sign_in(&world, "nina", PASSWORD).await.status,
        StatusCode::SEE_OTHER
    );
}

#[tokio::test]
async fn an_open_console_is_no_way_to_guess_the_password() {
    let world = filled().await;
    let nina = session(&world, "nina").await;
    let mut said = Vec::new();
    for current in ["wrong wrong wrong", "wrong", "", "w", &"w".repeat(5000), PASSWORD] {
        let answer = change(&world, &nina, &csrf("nina"), current, NEW).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{current}");
        said.push(answer.text);
    }
    said.dedup();
    assert_eq!(said.len(), 1, "also the right one, after five wrong ones");
    assert!(said[0].contains("is not right"), "{}", said[0]);
    assert_eq!(
        sign_in(&world, "nina", PASSWORD).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        get(&world, "/care", &nina).await.status,
        StatusCode::OK,
        "the work goes on"
    );
}
