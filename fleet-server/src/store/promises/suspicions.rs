//! What is kept of what gateways notice about their sensors.

use homeward_protocol::bond::{BleAddress, Bond, KeyClass};
use homeward_protocol::envelope::Lane;
use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::{ClockTrust, Timestamp};
use homeward_protocol::watch::{DeviceFacts, Finding, Suspicion, WatchReport};

use super::{Home, NOW, block};
use crate::access::Sight;
use crate::care::{Doubt, Doubted};
use crate::store::care::known;
use crate::store::records::Origin;
use crate::store::suspicions::{self, Shown, bonds, findings};
use crate::store::{Store, StoreError, Tx, retention};

fn id(text: &str) -> GatewayId {
    text.parse().expect("an id")
}

fn finding(suspicion: Suspicion, sensor: &str, address: Option<u8>) -> Finding {
    Finding {
        suspicion,
        sensor: sensor.parse().ok(),
        address: address.map(|n| BleAddress([n; 6])),
        since: NOW.plus_ms(-60_000),
        said: ShortText::cut("in plain words"),
    }
}

fn device(sensor: &str, n: u8) -> DeviceFacts {
    DeviceFacts {
        sensor: sensor.parse().expect("an id"),
        address: BleAddress([n; 6]),
        bond: Some(Bond {
            class: KeyClass::SecureAuthenticated,
            key_size: 16,
        }),
        associated_at: NOW.plus_ms(-1000),
        firmware: Some(ShortText::cut("1.2")),
        battery: Some(80),
    }
}

fn report(findings: Vec<Finding>, devices: Vec<DeviceFacts>) -> WatchReport {
    WatchReport {
        taken_at: NOW,
        findings,
        more: 0,
        devices,
    }
}

fn write(store: &Store, work: impl FnOnce(&mut dyn Tx) -> Result<(), StoreError> + Send + 'static) {
    block(store.write(work)).expect("written");
}

fn put(store: &Store, gateway: &'static str, epoch: &'static str, report: WatchReport, now: Timestamp) {
    write(store, move |tx| {
        let lane = Lane::Urgent;
        let at = Origin {
            gateway,
            epoch,
            lane,
            spare: false,
            now,
        };
        suspicions::put(tx, &at, &report)
    });
}

fn enrolled(store: &Store, ids: &'static [&'static str]) {
    write(store, move |tx| {
        for id in ids {
            tx.execute(
                "INSERT INTO gateways (id, state, created_at) VALUES ($1, 'enrolled', 1)",
                &[(*id).into()],
            )?;
        }
        Ok(())
    });
}

fn shown(store: &Store, gateway: &str) -> Vec<Shown> {
    let gateway = id(gateway);
    block(store.read(move |tx| findings(tx, &gateway))).expect("read")
}

fn doubts(store: &Store) -> Vec<(GatewayId, Vec<Doubt>)> {
    let all = block(store.read(|tx| known(tx, &Sight::Fleet, NOW))).expect("read");
    all.into_iter()
        .map(|known| (known.gateway, known.facts.doubts))
        .collect()
}

pub(super) fn suspicions_stand_until_a_report_leaves_them_out(home: &Home) {
    let store = home.open();
    enrolled(&store, &["gw-1"]);
    let frozen = || finding(Suspicion::Frozen, "glucose", None);
    let like = finding(Suspicion::LookAlike, "cuff", Some(9));
    put(
        &store,
        "gw-1",
        "e1",
        report(vec![like, frozen()], vec![device("cuff", 1)]),
        NOW,
    );
    put(
        &store,
        "gw-1",
        "e1",
        report(vec![frozen()], vec![device("cuff", 1)]),
        NOW.plus_ms(5000),
    );
    let kept = shown(&store, "gw-1");
    let says = |s: &Shown| (s.suspicion, s.address, s.since.ms, s.cleared_at.map(|at| at.ms));
    let since = NOW.ms - 60_000;
    assert_eq!(
        kept.iter().map(says).collect::<Vec<_>>(),
        [
            (Suspicion::Frozen, None, since, None),
            (
                Suspicion::LookAlike,
                Some(BleAddress([9; 6])),
                since,
                Some(NOW.ms + 5000)
            ),
        ]
    );
    assert_eq!(doubts(&store)[0].1.len(), 1);
    let devices = block(store.read(|tx| bonds(tx, &id("gw-1")))).expect("read");
    assert_eq!(devices, [device("cuff", 1)]);
    // An older report of another outbox (a box put back) changes nothing; what a full one leaves out may stand.
    let mut older = report(Vec::new(), Vec::new());
    older.taken_at = NOW.plus_ms(-1);
    put(&store, "gw-1", "e2", older, NOW.plus_ms(6000));
    let mut full = report(Vec::new(), vec![device("cuff", 1)]);
    full.more = 3;
    put(&store, "gw-1", "e1", full, NOW.plus_ms(7000));
    assert_eq!(shown(&store, "gw-1")[0].cleared_at, None);
    // Raised again, it has a history; a clock that nobody trusts does not date it.
    put(
        &store,
        "gw-1",
        "e1",
        report(Vec::new(), Vec::new()),
        NOW.plus_ms(8000),
    );
    let mut again = frozen();
    again.since.trust = ClockTrust::Floor;
    put(
        &store,
        "gw-1",
        "e1",
        report(vec![again], Vec::new()),
        NOW.plus_ms(9000),
    );
    let kept = shown(&store, "gw-1");
    assert_eq!((kept.len(), kept[0].since.ms), (3, NOW.ms + 9000));
}

pub(super) fn a_device_that_two_gateways_have_is_found_at_both(home: &Home) {
    let store = home.open();
    enrolled(&store, &["gw-1", "gw-2", "gw-3"]);
    put(
        &store,
        "gw-1",
        "e1",
        report(Vec::new(), vec![device("cuff", 1), device("scale", 2)]),
        NOW,
    );
    put(
        &store,
        "gw-3",
        "e1",
        report(Vec::new(), vec![device("cuff", 3)]),
        NOW,
    );
    assert!(doubts(&store).iter().all(|(_, doubts)| doubts.is_empty()));
    put(
        &store,
        "gw-2",
        "e1",
        report(Vec::new(), vec![device("pressure", 1)]),
        NOW,
    );
    let shared = |sensor: &str, since_ms| Doubt {
        what: Doubted::Shared,
        sensor: sensor.parse().ok(),
        since: NOW.plus_ms(since_ms),
    };
    let expected = |third: Vec<Doubt>| {
        vec![
            (id("gw-1"), vec![shared("cuff", -1000)]),
            (id("gw-2"), vec![shared("pressure", -1000)]),
            (id("gw-3"), third),
        ]
    };
    assert_eq!(doubts(&store), expected(Vec::new()));
    // Hearing another home's device is enough for that home.
    let heard = finding(Suspicion::UnlistedDevice, "", Some(3));
    put(
        &store,
        "gw-2",
        "e1",
        report(vec![heard], vec![device("pressure", 1)]),
        NOW,
    );
    let now = doubts(&store);
    assert_eq!(now[2].1, [shared("cuff", -60_000)]);
    assert_eq!(now[1].1.len(), 2, "what it hears, and what it shares");
    // Out of service, a box shares nothing.
    write(&store, |tx| {
        tx.execute("UPDATE gateways SET state = 'revoked' WHERE id = 'gw-2'", &[])
            .map(drop)
    });
    assert!(doubts(&store)[0].1.is_empty() && doubts(&store)[2].1.is_empty());
}

pub(super) fn suspicions_that_are_over_grow_old_and_those_that_stand_do_not(home: &Home) {
    let store = home.open();
    enrolled(&store, &["gw-1"]);
    let old = NOW.plus_ms(-500 * 86_400_000);
    let both = vec![
        finding(Suspicion::Frozen, "a", None),
        finding(Suspicion::Silent, "b", None),
    ];
    put(&store, "gw-1", "e1", report(both, Vec::new()), old);
    put(
        &store,
        "gw-1",
        "e1",
        report(vec![finding(Suspicion::Silent, "b", None)], Vec::new()),
        old,
    );
    assert_eq!(shown(&store, "gw-1").len(), 2);
    write(&store, |tx| retention::step(tx, 400, 400, NOW).map(drop));
    let left = shown(&store, "gw-1");
    assert_eq!((left.len(), left[0].suspicion), (1, Suspicion::Silent));
}
