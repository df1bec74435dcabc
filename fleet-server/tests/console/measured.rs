//! How long the long pages take. By name, with `--release`, `--ignored` and `--nocapture`.

use std::time::Instant;

use axum::http::StatusCode;
use homeward_fleet::audit::{Chain, Row};
use homeward_fleet::store::{StoreError, Tx};

use super::scenario::{World, at, filled, session};
use super::visit::get;

async fn timed(world: &World, path: &str, cookie: &str) -> u128 {
    let began = Instant::now();
    let answer = get(world, path, cookie).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    began.elapsed().as_millis()
}

#[tokio::test]
#[ignore = "a measurement: run it by name, with --release and --nocapture"]
async fn the_audit_page_with_a_million_rows() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let write = world.desk.store.write(|tx| add_rows(tx, 1_000_000));
    write.await.expect("written");
    let first = timed(&world, "/audit", &cookie).await;
    let second = timed(&world, "/audit", &cookie).await;
    let older = timed(&world, "/audit?before=500000", &cookie).await;
    println!(
        "audit page, 1,000,000 rows: {first} ms when all is walked, then {second} ms; an old page {older} ms"
    );
}

fn add_rows(tx: &mut dyn Tx, count: i64) -> Result<(), StoreError> {
    let mut chain: Chain = homeward_fleet::store::audit::head(tx)?;
    for _ in 0..count {
        let row = Row {
            id: chain.last() + 1,
            at_ms: at(0).ms,
            actor: "olga",
            action: "gateway-approved",
            subject: "gw-7f3k2m9xqa",
            detail: "a detail of the usual length, as people write it",
        };
        let hash = chain.head().then(&row);
        tx.execute(
            "INSERT INTO audit (id, at, actor, action, subject, detail, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[
                row.id.into(),
                row.at_ms.into(),
                row.actor.into(),
                row.action.into(),
                row.subject.into(),
                row.detail.into(),
                hash.0.as_slice().into(),
            ],
        )?;
        chain = Chain::after(row.id, hash);
    }
    Ok(())
}

#[tokio::test]
#[ignore = "a measurement: run it by name, with --release and --nocapture"]
async fn the_fleet_list_with_ten_thousand_gateways() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    world.desk.store.write(add_gateways).await.expect("written");
    let first = timed(&world, "/fleet", &cookie).await;
    let again = timed(&world, "/fleet", &cookie).await;
    let deep = timed(&world, "/fleet?after=all-working.gw-05000x", &cookie).await;
    let found = timed(&world, "/fleet?q=gw-07777", &cookie).await;
    println!(
        "fleet list, 10,000 gateways: {first} ms, {again} ms again, {deep} ms in the middle, {found} ms for a search"
    );
}

/// Each with a home, two sensors and four newest values.
fn add_gateways(tx: &mut dyn Tx) -> Result<(), StoreError> {
    let now = at(5).ms;
    let many = [
        "INSERT INTO placements (id, team, dependency, created_at)
         WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
         SELECT printf('house-%05d', i), 'north', 'medium', $1 FROM n",
        "INSERT INTO gateways (id, state, placement, created_at, enrolled_at, connected_at, address, last_heard)
         WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
         SELECT printf('gw-%05dx', i), 'enrolled', printf('house-%05d', i), $1, $1, $1, '192.0.2.1:1', $1 FROM n",
        "INSERT INTO sensors (gateway, sensor, profile, interval_s, failures, last_heard, last_stored, listed_at)
         SELECT g.id, s.name, 'room', 60, 0, $1, $1, $1 FROM gateways g
         JOIN (SELECT 'room' AS name UNION ALL SELECT 'power-supply') s WHERE g.id LIKE 'gw-%x'",
        "INSERT INTO latest (gateway, sensor, kind, mantissa, exponent, quality, grade, taken_at, clock, received_at)
         SELECT s.gateway, s.sensor, k.name, 200, -1, 'good', 'associated', $1, 'synced', $1 FROM sensors s
         JOIN (SELECT 'air-temperature' AS name UNION ALL SELECT 'relative-humidity') k WHERE s.gateway LIKE 'gw-%x'",
    ];
    for sql in many {
        tx.execute(sql, &[now.into()])?;
    }
    Ok(())
}
