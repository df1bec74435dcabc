//! What pages say.

use axum::http::Method;
use homeward_fleet::clock::Clock;

use super::golden;
use super::scenario::{at, csrf, filled, session};
use super::visit::{ask, get};

#[tokio::test]
async fn silence_is_never_green_on_any_page() {
    let mut world = filled().await;
    let cookie = session(&world, "olga").await;
    for path in [
        "/care",
        "/fleet",
        "/care/rows",
        "/fleet/rows",
        "/gateways/gw-04aaaa",
    ] {
        assert!(
            get(&world, path, &cookie).await.text.contains("all-working"),
            "{path}: nothing green to lose"
        );
    }
    world.desk.clock = Clock::from_fn(|| at(-600));
    for path in [
        "/care",
        "/fleet",
        "/care/rows",
        "/fleet/rows",
        "/gateways/gw-04aaaa",
    ] {
        let text = get(&world, path, &cookie).await.text;
        assert!(
            !text.contains("home all-working") && !text.contains("single all-working"),
            "{path}: {text}"
        );
        assert!(text.contains("Not heard since 14:"), "{path}: {text}");
    }
}

#[tokio::test]
async fn the_pages_look_as_they_were_agreed() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    for (path, name) in [
        ("/fleet", "fleet.html"),
        ("/gateways/gw-01aaaa", "gateway.html"),
        ("/approvals", "approvals.html"),
        ("/gateways/gw-12aaaa/approve", "approve.html"),
        ("/claims", "claims.html"),
        ("/drafts", "drafts.html"),
        ("/drafts/2", "draft.html"),
        ("/drafts/3", "draft_faulty.html"),
        ("/nowhere", "nothing_here.html"),
    ] {
        golden(name, &get(&world, path, &cookie).await.text);
    }
    let other = session(&world, "omar").await;
    let review = get(&world, "/drafts/1/review", &other).await.text;
    golden("draft_review.html", &review);
}

#[tokio::test]
async fn what_people_type_is_never_markup() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let form = format!(
        "csrf={}&team=odd&name=%3Cscript%3Ealert(1)%3C%2Fscript%3E%22",
        csrf("olga")
    );
    ask(&world, Method::POST, "/teams", &cookie, &form).await;
    let text = get(&world, "/placements", &cookie).await.text;
    assert!(
        text.contains("&#60;script&#62;") && !text.contains("<script>alert"),
        "{text}"
    );
    let text = get(&world, "/care?q=%22%3E%3Cimg%20src%3Dx%3E", &cookie)
        .await
        .text;
    assert!(!text.contains("<img"), "{text}");
}

#[tokio::test]
async fn what_a_box_sent_and_nobody_could_read_is_told_with_its_reason() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let text = get(&world, "/gateways/gw-01aaaa", &cookie).await.text;
    for said in [
        "3 pieces of what the box sent could not be read",
        "a record in another lane than its own",
        "1 of them is kept as they came",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let text = get(&world, "/gateways/gw-03aaaa", &cookie).await.text;
    assert!(!text.contains("could not be read"), "{text}");
}
