//! Policies on the console: how far they are, who gets them, and shutting a box off.

use axum::http::{Method, StatusCode};

use super::scenario::policies::{House, document};
use super::scenario::{csrf, filled, session};
use super::visit::{ask, get};

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

fn form(fields: &str) -> String {
    format!("csrf={}&{fields}", csrf("olga"))
}

#[tokio::test]
async fn the_list_says_how_far_each_policy_has_come_and_names_who_stands_behind_it() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let text = get(&world, "/policies", &cookie).await.text;
    for said in [
        "Policies: 2 boxes need you",
        "7 homes in the north",
        "by Ann Smith, reviewed by Ben Okafor",
        "1 refused it",
        "1 went back from it",
        "Keyring 1",
        "2 rules do not hold on some box",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let text = get(&world, "/policies/7", &cookie).await.text;
    for said in [
        "By ring",
        "What changes from policy 6",
        "<strong>sshd/password-login</strong> <del>yes</del>",
        "refused: its time has not begun",
        "applied, and went back to what held before",
        "h-3: A stranger signs in to the box.",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(get(&world, "/policies/99", &cookie).await.status == StatusCode::NOT_FOUND);
    let nurse = session(&world, "nina").await;
    assert_eq!(
        get(&world, "/policies", &nurse).await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn which_boxes_do_not_meet_a_rule_and_since_when() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let all = get(&world, "/rules", &cookie).await.text;
    for point in ["sshd/password-login", "outbound/others", "usb"] {
        assert!(all.contains(&format!("/rules?point={point}")), "{point}: {all}");
    }
    assert!(!all.contains("sshd/root-login"), "{all}");
    let one = get(&world, "/rules?point=sshd/password-login", &cookie)
        .await
        .text;
    assert!(
        one.contains("gw-01aaaa") && one.contains("Changed by hand"),
        "{one}"
    );
    assert!(one.contains("13:47"), "since when: {one}");
    assert!(one.contains("Guards against h-3"), "{one}");
    let (_, timeline) = one.split_once("When it did not hold").expect("a timeline");
    assert!(
        timeline.contains("gw-01aaaa</a>: changed by hand; wanted no, observed yes")
            && timeline.contains("until now"),
        "{timeline}"
    );
    let held = get(&world, "/rules?point=sshd/root-login", &cookie).await.text;
    assert!(!held.contains("When it did not hold"), "{held}");
    let odd = get(&world, "/rules?point=%3Cscript%3E", &cookie).await;
    assert_eq!(odd.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_policy_is_given_only_after_what_changes_was_shown() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let all = form("to=all&name=");
    let shown = ask(&world, Method::POST, "/policies/7/assign", &cookie, &all).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert!(
        shown
            .text
            .contains("1 thing changes on 3 boxes that have policy 6"),
        "{}",
        shown.text
    );
    let count = || get(&world, "/policies/7", &cookie);
    assert!(!count().await.text.contains("<li>all gateways, by olga"));
    let sure = form("to=all&name=&sure=1");
    let done = ask(&world, Method::POST, "/policies/7/assign", &cookie, &sure).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    assert!(count().await.text.contains("<li>all gateways, by olga"));
    let nobody = form("to=gateway&name=gw-nobody");
    let answer = ask(&world, Method::POST, "/policies/7/assign", &cookie, &nobody).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let trail = get(&world, "/audit", &cookie).await.text;
    assert!(trail.contains("policy-assigned"), "{trail}");
}

#[tokio::test]
async fn a_document_is_checked_with_lines_and_what_strangers_signed_is_refused() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let bad = form(&format!("text={}", encoded(&document(8, "perhaps"))));
    let text = ask(&world, Method::POST, "/policies/check", &cookie, &bad)
        .await
        .text;
    assert!(
        text.contains("cannot be signed") && text.contains("<th scope=\"row\">15</th>"),
        "{text}"
    );
    let long = document(8, "no") + &"# a comment\n".repeat(2500);
    let good = form(&format!("text={}", encoded(&long)));
    let text = ask(&world, Method::POST, "/policies/check", &cookie, &good)
        .await
        .text;
    assert!(
        text.contains("homes in the north, version 8 can be signed"),
        "{text}"
    );

    let stranger = House::new().papers(&document(9, "yes")).to_string();
    let brought = form(&format!("papers={}", encoded(&stranger)));
    let answer = ask(&world, Method::POST, "/policies", &cookie, &brought).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("signed by no root"), "{}", answer.text);
    let text = get(&world, "/policies", &cookie).await.text;
    assert!(!text.contains("/policies/9"), "{text}");
}

#[tokio::test]
async fn a_box_is_shut_off_and_opened_again_with_a_reason_and_says_what_holds() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let page = |gateway: &'static str| {
        let (world, cookie) = (&world, &cookie);
        async move { get(world, &format!("/gateways/{gateway}"), cookie).await.text }
    };
    assert!(
        page("gw-05aaaa")
            .await
            .contains("shut off: vital flows only, as the box says")
    );
    let none = ask(
        &world,
        Method::POST,
        "/gateways/gw-01aaaa/isolate",
        &cookie,
        &form("reason=+"),
    )
    .await;
    assert_eq!(none.status, StatusCode::UNPROCESSABLE_ENTITY);
    let why = form("reason=calls+home");
    let done = ask(&world, Method::POST, "/gateways/gw-01aaaa/isolate", &cookie, &why).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    let text = page("gw-01aaaa").await;
    assert!(
        text.contains("the box has not confirmed it") && text.contains("calls home"),
        "{text}"
    );
    assert!(text.contains("/gateways/gw-01aaaa/release") && !text.contains("/gateways/gw-01aaaa/isolate"));
    let done = ask(
        &world,
        Method::POST,
        "/gateways/gw-05aaaa/release",
        &cookie,
        &form("reason=mended"),
    )
    .await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    assert!(
        page("gw-05aaaa")
            .await
            .contains("to be opened again; the box has not confirmed it")
    );
    let trail = get(&world, "/audit", &cookie).await.text;
    assert!(
        trail.contains("gateway-isolated") && trail.contains("isolation-lifted"),
        "{trail}"
    );
}

#[tokio::test]
async fn support_sessions_are_shown_asked_for_with_the_password_and_ended() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let text = get(&world, "/support", &cookie).await.text;
    for said in [
        "1 support session under way",
        "olga: the scale reports nothing",
        "ended: nothing went through it for too long",
        "1 connections, 4096 bytes in, 65536 bytes out",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let page = get(&world, "/gateways/gw-05aaaa", &cookie).await.text;
    assert!(page.contains("/gateways/gw-05aaaa/support/end"), "{page}");
    let asked = |password: &str| {
        form(&format!(
            "ticket=INC-1&reason=silent&minutes=10&port=22&password={}",
            encoded(password)
        ))
    };
    let open = |gateway: &'static str, fields: String| {
        let (world, cookie) = (&world, &cookie);
        async move {
            let path = format!("/gateways/{gateway}/support/open");
            ask(world, Method::POST, &path, cookie, &fields).await
        }
    };
    let right = "correct horse battery";
    let busy = open("gw-05aaaa", asked(right)).await;
    assert!(
        busy.text.contains("nother session of it is not over yet"),
        "{}",
        busy.text
    );
    let wrong = open("gw-01aaaa", asked("somebody else's")).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let unbound = form("ticket=%20&reason=silent&minutes=10&port=22&password=x");
    assert!(
        open("gw-01aaaa", unbound)
            .await
            .text
            .contains("bound to a ticket")
    );
    assert_eq!(
        open("gw-01aaaa", asked(right)).await.status,
        StatusCode::SEE_OTHER
    );
    let done = form("reason=done");
    let end = ask(
        &world,
        Method::POST,
        "/gateways/gw-05aaaa/support/end",
        &cookie,
        &done,
    )
    .await;
    assert_eq!(end.status, StatusCode::SEE_OTHER);
    let page = get(&world, "/gateways/gw-05aaaa", &cookie).await.text;
    assert!(page.contains("end ordered by olga"), "{page}");
    let nurse = session(&world, "nina").await;
    assert_eq!(
        get(&world, "/support", &nurse).await.status,
        StatusCode::FORBIDDEN
    );
}
