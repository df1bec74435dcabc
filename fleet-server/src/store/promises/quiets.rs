//! Promises about wishes for quiet.

use std::time::Duration;

use homeward_protocol::envelope::Lane;
use homeward_protocol::id::GatewayId;
use homeward_protocol::quiet::{LONGEST, QuietOrder};
use homeward_protocol::release::Version;
use homeward_protocol::release::state::UpdateState;
use homeward_protocol::time::Timestamp;

use super::{Home, NOW, block};
use crate::access::Sight;
use crate::care::Dependency;
use crate::quiet::{Stands, Wish};
use crate::store::care::{Placement, Team, add_placement, add_team};
use crate::store::records::Origin;
use crate::store::{Store, StoreError, Tx, gateways, quiets, updates};

const HOUR: Duration = Duration::from_hours(1);

fn gw(name: &str) -> GatewayId {
    name.parse().expect("an id")
}

/// A home with one box in service and one that was taken out of it.
fn made(tx: &mut dyn Tx) -> Result<(), StoreError> {
    let team = Team {
        id: "north".parse().expect("an id"),
        name: "North".into(),
    };
    add_team(tx, &team, "olga", NOW)?;
    let home = Placement {
        id: "home-1".parse().expect("an id"),
        team: team.id,
        dependency: Dependency::High,
    };
    add_placement(tx, &home, "olga", NOW)?;
    for name in ["gw-1", "gw-2"] {
        gateways::add(tx, &gw(name), Some(&home.id), NOW)?;
    }
    tx.execute("UPDATE gateways SET state = 'enrolled' WHERE id = 'gw-1'", &[])?;
    tx.execute("UPDATE gateways SET state = 'revoked' WHERE id = 'gw-2'", &[])?;
    Ok(())
}

/// The box names this number.
fn names(tx: &mut dyn Tx, quiet: u64, now: Timestamp) -> Result<(), StoreError> {
    let origin = Origin {
        gateway: "gw-1",
        epoch: "01",
        lane: Lane::Urgent,
        spare: false,
        now,
    };
    let state = UpdateState {
        runs: Version::ZERO,
        packaged: true,
        build: None,
        now: None,
        ended: None,
        installers: Vec::new(),
        undecided: None,
        met: None,
        quiet: Some(quiet),
        beside: Vec::new(),
        forces: Vec::new(),
        taken_at: now,
    };
    updates::put(tx, &origin, &state)
}

fn order(store: &Store, name: &str, length: Option<Duration>, now: Timestamp) -> Option<Wish> {
    let gateway = gw(name);
    let work = move |tx: &mut dyn Tx| quiets::order(tx, &gateway, length, ("dialysis", "nina"), now);
    block(store.write(work)).expect("answers")
}

fn waiting(store: &Store, now: Timestamp) -> Vec<(u64, u32)> {
    let all = block(store.read(move |tx| quiets::waiting(tx, now))).expect("reads");
    all.into_iter()
        .map(|(gateway, number, bytes)| {
            let order = QuietOrder::decode(&bytes).expect("an order");
            assert_eq!((gateway, order.order), (gw("gw-1"), number));
            (number, order.left_s)
        })
        .collect()
}

pub(super) fn quiet_is_said_until_its_box_names_it_and_ends_by_itself(home: &Home) {
    let store = home.open();
    block(store.write(made)).expect("made");
    assert_eq!(order(&store, "gw-1", None, NOW), None, "there is none to end");
    assert_eq!(
        order(&store, "gw-2", Some(HOUR), NOW),
        None,
        "it is out of service"
    );
    assert_eq!(order(&store, "gw-9", Some(HOUR), NOW), None, "nobody knows it");
    let first = order(&store, "gw-1", Some(HOUR), NOW).expect("given");
    // What is left is what is said, at that moment; a newer wish takes its place, with a higher number and a bound.
    assert_eq!(waiting(&store, NOW.plus_ms(60_000)), [(first.number, 59 * 60)]);
    let long = order(&store, "gw-1", Some(LONGEST * 9), NOW).expect("given");
    assert!(long.number > first.number);
    assert_eq!(
        long.until,
        NOW.plus_ms(i64::try_from(LONGEST.as_millis()).expect("short"))
    );
    drop(store);

    let store = home.open();
    let number = long.number;
    assert_eq!(waiting(&store, NOW), [(number, 72 * 3_600)]);
    block(store.write(move |tx| names(tx, number - 1, NOW))).expect("said");
    assert_eq!(waiting(&store, NOW).len(), 1, "it named the one before");
    block(store.write(move |tx| names(tx, number, NOW))).expect("said");
    assert!(waiting(&store, NOW).is_empty());
    let at = |sight: &Sight| {
        let sight = sight.clone();
        let home = "home-1".parse().expect("an id");
        block(store.read(move |tx| quiets::at(tx, &home, &sight))).expect("reads")
    };
    let seen = at(&Sight::Team("north".parse().expect("an id"))).expect("her home");
    assert_eq!(seen.len(), 1, "of boxes in service");
    assert_eq!(seen[0].named, Some(number));
    assert_eq!(at(&Sight::Team("south".parse().expect("an id"))), None);
    assert_eq!(at(&Sight::Nobody), None);

    // Ended by a person, or by itself: what no box heard for three days is over there, too.
    let ended = order(&store, "gw-1", None, NOW.plus_ms(1_000)).expect("it stood");
    assert_eq!(ended.stands(Some(number), NOW.plus_ms(2_000)), Stands::Ending);
    assert_eq!(waiting(&store, NOW.plus_ms(2_000)), [(ended.number, 0)]);
    assert_eq!(
        order(&store, "gw-1", None, NOW.plus_ms(3_000)),
        None,
        "it is ended"
    );
    let later = NOW.plus_ms(1_000 + i64::try_from(LONGEST.as_millis()).expect("short"));
    assert!(waiting(&store, later).is_empty());
    // A server that was restored begins above what the box names.
    block(store.write(|tx| tx.execute("DELETE FROM quiets", &[]).map(drop))).expect("gone");
    let far = number + 1_000_000_000_000;
    block(store.write(move |tx| names(tx, far, NOW))).expect("said");
    let again = order(&store, "gw-1", Some(HOUR), NOW).expect("given");
    assert_eq!(again.number, far + 1);
}
