//! Signing in, and the first operator.

use axum::http::{Method, StatusCode};
use homeward_fleet::access;
use homeward_fleet::store::users;

use super::scenario::{PASSWORD, at, empty, filled};
use super::visit::{ask, get, sign_in};

#[tokio::test]
async fn signing_in_gives_a_cookie_that_scripts_and_other_sites_cannot_use() {
    let world = filled().await;
    let answer = sign_in(&world, "nina", PASSWORD).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (StatusCode::SEE_OTHER, "/care")
    );
    let cookie = answer.header("set-cookie");
    for part in ["__Host-hw=", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().expect("a pair");
    let page = get(&world, "/care", cookie).await;
    assert_eq!(page.status, StatusCode::OK);
    let out = ask(
        &world,
        Method::POST,
        "/sign-out",
        cookie,
        &format!("csrf={}", page.csrf()),
    )
    .await;
    assert_eq!(out.status, StatusCode::SEE_OTHER);
    assert_eq!(get(&world, "/care", cookie).await.header("location"), "/sign-in");
}

#[tokio::test]
async fn a_wrong_name_a_wrong_password_and_a_disabled_person_get_the_same_answer() {
    let world = filled().await;
    let mut said = Vec::new();
    for (name, password) in [
        ("nina", "wrong wrong wrong"),
        ("nobody", PASSWORD),
        ("gone", PASSWORD),
        ("É", PASSWORD),
    ] {
        let answer = sign_in(&world, name, password).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
        said.push(answer.text.replace(answer.csrf(), ""));
    }
    said.dedup();
    assert_eq!(said.len(), 1);
}

#[tokio::test]
async fn five_wrong_passwords_close_the_door_for_a_while_also_to_the_right_one() {
    let world = filled().await;
    for _ in 0..5 {
        sign_in(&world, "nina", "wrong wrong wrong").await;
    }
    assert_eq!(
        sign_in(&world, "nina", PASSWORD).await.status,
        StatusCode::UNAUTHORIZED
    );
    let later = at(-31);
    let kept = world
        .desk
        .store
        .read(|tx| users::kept(tx, &"nina".parse().expect("a name")))
        .await;
    let until = kept
        .expect("reads")
        .expect("is there")
        .locked_until
        .expect("is locked");
    assert!(until.ms > at(0).ms && until.ms < later.ms);
}

#[tokio::test]
async fn the_first_operator_needs_the_code_and_the_code_burns() {
    let world = empty();
    assert_eq!(get(&world, "/sign-in", "").await.header("location"), "/setup");
    let made = access::setup::setup_code(&world.desk.store, at(0))
        .await
        .expect("makes");
    let code = made.expect("nobody is there").to_string();
    let set_up = async |code: &str, password: &str| {
        let form = get(&world, "/setup", "").await;
        let cookie = form
            .header("set-cookie")
            .split(';')
            .next()
            .unwrap_or_default()
            .to_owned();
        let fields = format!("csrf={}&code={code}&name=olga&password={password}", form.csrf());
        ask(&world, Method::POST, "/setup", &cookie, &fields).await
    };
    assert_eq!(
        set_up("0000-0000-0000-0000", "correct+horse").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        set_up(&code, "short").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let answer = set_up(&code, "correct+horse").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (StatusCode::SEE_OTHER, "/fleet")
    );
    assert_eq!(get(&world, "/setup", "").await.header("location"), "/sign-in");
    let again = access::setup::setup_code(&world.desk.store, at(0))
        .await
        .expect("asks");
    assert!(again.is_none(), "a second set-up code was made");
}
