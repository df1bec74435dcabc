//! What a copied spare key, or one wrong clock, cannot do.

use homeward_protocol::alarm::{Alarm, Condition};
use homeward_protocol::envelope::{Item, Lane};
use homeward_protocol::link::{Cause, Outage};
use homeward_protocol::policy::state::{Standing, StoppedFlow, StoppedFlows};
use homeward_protocol::posture::ShortText;
use homeward_protocol::posture::inventory::pieces;
use homeward_protocol::support::Became;
use homeward_protocol::time::Timestamp;
use homeward_protocol::watch::WatchReport;
use homeward_protocol::wire::Bytes;

use super::kept::{attempt, envelope, gateway, reading, report, speak_at, start};
use super::{Home, NOW, block, facts, policies, support};
use crate::gate::Passage;
use crate::policy::book::Book;
use crate::store::policies::overview;
use crate::store::{Store, StoreError, connections, console};

/// 2100-01-01.
const FAR: Timestamp = Timestamp::synced(4_102_444_800_000);

/// One of each kind that says what the box is or has, taken at this moment.
fn of_the_box(at: Timestamp, word: &str) -> Vec<Item> {
    let posture = match report(&[word]) {
        Item::Posture(posture) => Item::Posture(homeward_protocol::posture::PostureReport {
            taken_at: at,
            ..posture
        }),
        other => other,
    };
    let list = facts::list(2).encode().expect("it fits");
    vec![
        posture,
        Item::Watch(WatchReport {
            taken_at: at,
            findings: Vec::new(),
            more: 0,
            devices: Vec::new(),
        }),
        attempt(at.ms),
        Item::Proof(Bytes(vec![1, 2, 3])),
        Item::Policy(Box::new(policies::state(
            vec![policies::point("a", word, Standing::Drifted, at)],
            at,
        ))),
        Item::Stopped(StoppedFlows {
            taken_at: at,
            flows: vec![StoppedFlow {
                point: homeward_protocol::policy::points::PointId::new(
                    homeward_protocol::policy::points::Rule::Devices,
                    "others",
                ),
                who: ShortText::cut("monitor"),
                peer: "203.0.113.9".parse().expect("an address"),
                protocol: None,
                port: 0,
            }],
            more: 0,
        }),
        Item::Support(Box::new(support::record(1, Became::Opened))),
        Item::Facts(facts::naming(&list).full(1, at)),
        Item::Software(pieces(&list).remove(0)),
    ]
}

/// Sends each by itself, in an outbox of its own.
fn say(store: &Store, spare: bool, (epoch, items): (u64, Vec<Item>), now: Timestamp) {
    for lane in Lane::ALL {
        let of_lane: Vec<Item> = items.iter().filter(|item| item.lane() == lane).cloned().collect();
        if !of_lane.is_empty() {
            speak_at(
                store,
                spare,
                envelope(epoch, lane, 1, start(epoch, lane), &of_lane),
                now,
            );
        }
    }
}

const OF_THE_BOX: [&str; 16] = [
    "SELECT count(*) FROM postures",
    "SELECT count(*) FROM sensors",
    "SELECT count(*) FROM watches",
    "SELECT count(*) FROM attempts",
    "SELECT count(*) FROM audit",
    "SELECT count(*) FROM stretches",
    "SELECT count(*) FROM chain_ends",
    "SELECT count(*) FROM policy_states",
    "SELECT count(*) FROM policy_points",
    "SELECT count(*) FROM drifts",
    "SELECT count(*) FROM stopped_flows",
    "SELECT count(*) FROM stopped_totals",
    "SELECT count(*) FROM support_sessions",
    "SELECT count(*) FROM fact_states",
    "SELECT count(*) FROM inventories",
    "SELECT count(*) FROM inventory_pieces",
];

fn counts<const N: usize>(store: &Store, what: [&'static str; N]) -> [i64; N] {
    let work = move |tx: &mut dyn crate::store::Tx| {
        let counted: Result<Vec<i64>, StoreError> = what
            .iter()
            .map(|sql| tx.row(sql, &[])?.map_or(Ok(-1), |row| row.int(0)))
            .collect();
        counted
    };
    let counted = block(store.read(work)).expect("reads");
    counted.try_into().expect("as many")
}

pub(super) fn a_spare_key_speaks_for_sensors_alone(home: &Home) {
    let store = home.open();
    let of_sensors = vec![
        reading(1000, 20),
        Item::Alarm(Alarm {
            condition: Condition::TpmSilent,
            sensor: None,
            active: true,
            at: NOW,
        }),
        Item::Outage(Outage {
            from: Timestamp::synced(100),
            until: Timestamp::synced(200),
            cause: Cause::Closed,
        }),
    ];
    let all = [of_the_box(FAR, "spare"), of_sensors].concat();
    say(&store, true, (9, all), NOW);
    assert_eq!(counts(&store, OF_THE_BOX), [0; 16]);
    let taken = [
        "SELECT count(*) FROM readings",
        "SELECT count(*) FROM alarms",
        "SELECT count(*) FROM outages",
    ];
    assert_eq!(counts(&store, taken), [1; 3]);
}

pub(super) fn a_clock_that_ran_ahead_once_freezes_nothing(home: &Home) {
    let store = home.open();
    let (later, last) = (NOW.plus_ms(1000), NOW.plus_ms(2000));
    let with = |at: Timestamp, word| [of_the_box(at, word), vec![reading(at.ms, 20)]].concat();
    say(&store, false, (1, with(FAR, "ahead")), NOW);
    say(&store, false, (2, with(later, "right")), later);
    // A disk that was put back says nothing new.
    say(&store, false, (3, with(NOW, "old")), last);
    let stands = block(store.read(|tx| {
        let text = |tx: &mut dyn crate::store::Tx, sql| {
            let row = tx.row(sql, &[])?.expect("there");
            Ok::<_, StoreError>(row.text(0)?.to_owned())
        };
        Ok((
            text(tx, "SELECT sensor FROM sensors")?,
            text(tx, "SELECT observed FROM policy_points")?,
            [
                text(tx, "SELECT epoch FROM watches")?,
                text(tx, "SELECT epoch FROM fact_states")?,
                text(tx, "SELECT epoch FROM latest")?,
            ],
            console::latest(tx, &gateway())?[0].taken_at,
        ))
    }))
    .expect("reads");
    let second = "0000000000000002".to_owned();
    assert_eq!(
        stands,
        (
            "right".into(),
            "right".into(),
            [second.clone(), second.clone(), second],
            later
        )
    );
}

pub(super) fn a_gateway_that_came_with_its_spare_key_counts_as_away_for_its_policy(home: &Home) {
    let store = home.open();
    let expected = store.write(|tx| {
        tx.execute(
            "INSERT INTO gateways (id, state, created_at) VALUES ('gw-1', 'enrolled', 1)",
            &[],
        )
    });
    block(expected).expect("made");
    let connected = |spare: bool, ms: i64| {
        let came = Passage::Connected {
            gateway: gateway(),
            spare,
            address: "192.0.2.7:1".into(),
            at: Timestamp::synced(ms),
        };
        block(store.write(move |tx| connections::note(tx, &[came]))).expect("noted");
        let work = |tx: &mut dyn crate::store::Tx| {
            let line = overview::line(tx, &Book::default(), &gateway(), NOW)?.expect("there");
            Ok((
                line.connected,
                overview::lines(tx, &Book::default(), NOW)?[0].connected,
            ))
        };
        block(store.read(work)).expect("reads")
    };
    assert_eq!(connected(true, 1), (false, false));
    assert_eq!(connected(false, 2), (true, true));
}
