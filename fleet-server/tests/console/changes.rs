//! What an operator changes.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use homeward_fleet::attest::baseline::{Baseline, Change};
use homeward_fleet::store::attest::firmware;

use super::scenario::{at, csrf, filled, session};
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

#[tokio::test]
async fn changed_firmware_is_shown_side_by_side_and_stands_once_a_person_says_why() {
    let world = filled().await;
    let (before, after) = ([0xab; 32], [0xcd; 32]);
    let seen = world.desk.store.write(move |tx| {
        let gateway = "gw-01aaaa".parse().expect("an id");
        let learned = Baseline(BTreeMap::from([(4, before)]));
        firmware::accept(tx, &gateway, &learned, "first seen", at(3600))?;
        let change = Change {
            register: 4,
            before: Some(before),
            after: Some(after),
        };
        firmware::see(tx, &gateway, &[change], at(60))
    });
    seen.await.expect("written");
    let cookie = session(&world, "olga").await;
    let page = async || get(&world, "/gateways/gw-01aaaa", &cookie).await.text;
    let shown = page().await;
    let row = shown.split("<th scope=\"row\">4</th>").nth(1).expect("a row");
    let row = row.split("</tr>").next().expect("an end");
    assert!(
        row.contains(&"ab".repeat(32)) && row.contains(&"cd".repeat(32)),
        "{row}"
    );

    let accept = async |reason: &str| {
        let form = format!("csrf={}&firmware=1&reason={reason}", csrf("olga"));
        ask(&world, Method::POST, "/gateways/gw-01aaaa/accept", &cookie, &form)
            .await
            .status
    };
    assert_eq!(
        accept("+").await,
        StatusCode::UNPROCESSABLE_ENTITY,
        "a reason is needed"
    );
    assert!(page().await.contains("Its firmware changed"));
    assert_eq!(accept("loader+1.8").await, StatusCode::SEE_OTHER);
    assert!(!page().await.contains("Its firmware changed"));
    let trail = get(&world, "/audit", &cookie).await.text;
    assert!(trail.contains("loader 1.8 (registers 4)"), "{trail}");
    let stands = world
        .desk
        .store
        .read(|tx| firmware::baseline(tx, &"gw-01aaaa".parse().expect("an id")));
    assert_eq!(stands.await.expect("read").0.get(&4), Some(&after));
    assert_ne!(
        accept("again").await,
        StatusCode::SEE_OTHER,
        "there is nothing more to accept"
    );
}
