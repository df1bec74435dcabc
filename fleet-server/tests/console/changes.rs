//! What an operator changes.

use axum::http::{Method, StatusCode};

use super::scenario::{csrf, filled, session};
use super::visit::{ask, get};

#[tokio::test]
async fn a_claim_is_shown_once_with_its_code_and_never_again() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let form = format!(
        "csrf={}&gateway=gw-new1&placement=home-11&approval=operator",
        csrf("olga")
    );
    let made = ask(&world, Method::POST, "/claims", &cookie, &form).await;
    let claim = made
        .text
        .split("homeward:claim?")
        .nth(1)
        .expect("the claim's text");
    assert!(
        claim.contains("g=gw-new1") && made.text.contains("<svg"),
        "{}",
        made.text
    );
    let code = claim
        .split("c=")
        .nth(1)
        .and_then(|c| c.get(..19))
        .expect("the code");
    for path in ["/claims", "/gateways/gw-new1", "/audit", "/fleet"] {
        let text = get(&world, path, &cookie).await.text;
        assert!(text.contains("gw-new1"), "{path}");
        assert!(!text.contains(code), "{path} shows the code");
    }
}

#[tokio::test]
async fn an_operator_approves_the_key_that_was_compared_and_revokes_with_a_reason() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let token = csrf("olga");
    let act = async |what: &str, fields: &str| {
        let path = format!("/gateways/gw-12aaaa/{what}");
        ask(
            &world,
            Method::POST,
            &path,
            &cookie,
            &format!("csrf={token}&{fields}"),
        )
        .await
    };
    assert_eq!(
        act("approve", "fingerprint=0000").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let page = get(&world, "/gateways/gw-12aaaa/approve", &cookie).await.text;
    let print = page
        .split("name=\"fingerprint\" value=\"")
        .nth(1)
        .and_then(|t| t.split('"').next());
    let print = print.expect("a fingerprint").to_owned();
    assert_eq!(
        act("approve", &format!("fingerprint={}", print.replace(' ', "+")))
            .await
            .status,
        StatusCode::SEE_OTHER
    );
    assert!(
        !get(&world, "/approvals", &cookie)
            .await
            .text
            .contains("gw-12aaaa")
    );
    assert_eq!(
        act("revoke", "reason=+").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(act("revoke", "reason=lost").await.status, StatusCode::SEE_OTHER);
    assert!(
        get(&world, "/audit", &cookie)
            .await
            .text
            .contains("gateway-revoked")
    );
    let page = get(&world, "/gateways/gw-12aaaa", &cookie).await.text;
    assert!(page.contains("out of service: lost"), "{page}");
}
