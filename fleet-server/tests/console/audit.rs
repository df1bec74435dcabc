//! The audit page: what it finds, and when.

use homeward_fleet::store::audit;

use super::scenario::{World, filled, session};
use super::visit::{get, hand};

const WHOLE: &str = "rows is whole";
const BROKEN: &str = "The chain is broken";

async fn tamper(world: &World, sql: &'static str) {
    world
        .desk
        .store
        .write(move |tx| tx.execute(sql, &[]))
        .await
        .expect("tampered");
}

async fn says(world: &World, cookie: &str, what: &str) -> String {
    let text = get(world, "/audit", cookie).await.text;
    assert!(text.contains(what), "{text}");
    text
}

#[tokio::test]
async fn rows_that_are_new_are_checked_at_each_look() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    says(&world, &cookie, WHOLE).await;
    let head = world.desk.store.read(|tx| audit::head(tx)).await.expect("read");
    session(&world, "nina").await;
    let text = says(&world, &cookie, WHOLE).await;
    assert!(text.contains(&format!("all {} rows", head.last() + 1)), "{text}");
    let forged = "INSERT INTO audit (id, at, actor, action, subject, detail, hash)
                  SELECT max(id) + 1, 1, 'eve', 'user-added', 'eve', '', zeroblob(32) FROM audit";
    tamper(&world, forged).await;
    says(&world, &cookie, BROKEN).await;
    says(&world, &cookie, BROKEN).await;
}

#[tokio::test]
async fn rows_that_were_cut_off_are_missed() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    says(&world, &cookie, WHOLE).await;
    tamper(
        &world,
        "DELETE FROM audit WHERE id > (SELECT max(id) - 2 FROM audit)",
    )
    .await;
    let text = says(&world, &cookie, BROKEN).await;
    assert!(text.contains("rows and has"), "{text}");
}

#[tokio::test]
async fn an_old_row_that_was_changed_is_found_within_the_hour() {
    let mut world = filled().await;
    let to = hand(&mut world);
    let cookie = session(&world, "olga").await;
    says(&world, &cookie, WHOLE).await;
    tamper(&world, "UPDATE audit SET actor = 'eve' WHERE id = 2").await;
    to(59);
    says(&world, &cookie, WHOLE).await;
    to(60);
    let text = says(&world, &cookie, BROKEN).await;
    assert!(text.contains("row 2 of the audit trail"), "{text}");
}

#[tokio::test]
async fn a_newest_row_that_was_written_anew_is_found_at_once() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    says(&world, &cookie, WHOLE).await;
    tamper(
        &world,
        "UPDATE audit SET actor = 'eve', hash = zeroblob(32) WHERE id = (SELECT max(id) FROM audit)",
    )
    .await;
    says(&world, &cookie, BROKEN).await;
}
