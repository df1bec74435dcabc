//! What is kept of what gateways send: promises over streams, records, connections and their retention.

use homeward_protocol::ack::Next;
use homeward_protocol::alarm::{Alarm, Condition};
use homeward_protocol::envelope::{ChainHash, Entry, Envelope, Item, Lane};
use homeward_protocol::grade::{Grade, Reason};
use homeward_protocol::guard::{self, WriteAttempt};
use homeward_protocol::id::{BootId, Epoch, GatewayId, SensorId, Seq};
use homeward_protocol::link::{Cause as LinkCause, Outage};
use homeward_protocol::posture::{Clock, Disk, PostureReport, SensorHeard, ShortText};
use homeward_protocol::reading::{Details, Kind, Mark, Quality, Reading, SensorClock, Sent, Value as Given};
use homeward_protocol::signed::{Signed, Signer};
use homeward_protocol::time::{ClockTrust, Timestamp, Uptime};
use homeward_protocol::unit::{Decimal, Unit};

use super::{Home, NOW, block};
use crate::gate::{Passage, Why};
use crate::ingest::Arrived;
use crate::ingest::tests::story;
use crate::store::take::{Outcome, Sealed, take};
use crate::store::{
    Store, StoreConfig, StoreError, Tx, audit, check, connections, console, migrate, records, retention,
};

/// A signer for rows that nobody verifies.
pub(crate) struct NoKey;

impl Signer for NoKey {
    fn sign(&self, _: &[u8]) -> Result<[u8; 64], String> {
        Ok([7; 64])
    }
}

/// 64 characters that nothing compresses.
pub(super) fn digest_of(n: u64) -> String {
    crate::store::hex(ring::digest::digest(&ring::digest::SHA256, &n.to_le_bytes()).as_ref())
}

pub(crate) fn gateway() -> GatewayId {
    "gw-1".parse().expect("an id")
}

pub(crate) fn reading(at_ms: i64, celsius: i64) -> Item {
    Item::Reading(Reading {
        sensor: "probe".parse().expect("an id"),
        kind: Kind::AirTemperature,
        value: Given::Number(Decimal::whole(celsius)),
        taken_at: Timestamp::synced(at_ms),
        quality: Quality::Good,
        grade: Grade::Associated,
        details: Details::default(),
    })
}

pub(crate) fn envelope(epoch: u64, lane: Lane, first: u64, prev: ChainHash, items: &[Item]) -> Envelope {
    let entry = |item: &Item| Entry::Item(item.encode().expect("encodes"));
    Envelope {
        gateway: gateway(),
        epoch: Epoch(epoch),
        lane,
        oldest: Seq(first),
        first: Seq(first),
        prev,
        sent_at: NOW,
        entries: items.iter().map(entry).collect(),
    }
}

pub(crate) fn start(epoch: u64, lane: Lane) -> ChainHash {
    ChainHash::start(Epoch(epoch), lane)
}

pub(crate) fn store_at(store: &Store, envelope: Envelope, now: Timestamp) -> Outcome {
    speak_at(store, false, envelope, now)
}

pub(super) fn speak_at(store: &Store, spare: bool, envelope: Envelope, now: Timestamp) -> Outcome {
    let signed = Signed::seal(&envelope, &NoKey).expect("seals");
    let mut arrived = Arrived::new(envelope);
    arrived.spare = spare;
    let taken = store.write(move |tx| {
        let sealed = Sealed {
            arrived: &arrived,
            signed: &signed,
        };
        take(tx, &gateway(), &[sealed], now)
    });
    block(taken).expect("stored").remove(0)
}

fn count(tx: &mut dyn Tx, sql: &'static str) -> Result<i64, StoreError> {
    tx.row(sql, &[])?.map_or(Ok(-1), |row| row.int(0))
}

fn read<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
) -> T {
    block(store.read(work)).expect("read")
}

pub(super) fn an_envelope_is_stored_once_and_its_reading_is_the_latest(home: &Home) {
    let store = home.open();
    let first = envelope(
        1,
        Lane::Vital,
        1,
        start(1, Lane::Vital),
        &[reading(1000, 20), reading(2000, 21)],
    );
    let outcome = store_at(&store, first.clone(), NOW);
    assert_eq!(
        (outcome.ack.up_to, outcome.ack.next, outcome.readings),
        (Seq(2), Next::Continue, 2)
    );
    let again = store_at(&store, first.clone(), NOW);
    assert_eq!(
        (again.decision, again.ack.up_to, again.readings),
        ("duplicate", Seq(2), 0)
    );
    let kept = read(&store, |tx| {
        let row = tx.row(
            "SELECT mantissa, exponent, taken_at FROM latest WHERE sensor = 'probe'",
            &[],
        )?;
        let row = row.expect("a row");
        Ok((
            row.int(0)?,
            row.int(1)?,
            row.int(2)?,
            count(tx, "SELECT count(*) FROM readings")?,
        ))
    });
    assert_eq!(kept, (21, 0, 2000, 2));
    // Another outbox with older readings (a box put back) does not hide the newer one; a newer one does.
    for (epoch, at, shown) in [(2, 1500, 21), (3, 2500, 30)] {
        let lane = Lane::Vital;
        store_at(
            &store,
            envelope(epoch, lane, 1, start(epoch, lane), &[reading(at, 30)]),
            NOW,
        );
        let now = read(&store, |tx| count(tx, "SELECT mantissa FROM latest"));
        assert_eq!(now, shown);
    }
    let reopened = home.open();
    assert_eq!(store_at(&reopened, first, NOW).decision, "duplicate");
}

pub(super) fn what_is_known_of_a_reading_is_kept_and_it_stands_no_higher_than_its_reasons(home: &Home) {
    let known = Details {
        reasons: vec![Reason::BondChanged, Reason::GatewayUnjudged],
        marks: vec![Mark::FromStorage, Mark::Moved],
        sensor_clock: Some(SensorClock {
            at_ms: -1,
            ahead_ms: Some(-3_600_000),
        }),
        sent: Some(Sent {
            value: Decimal::new(160, -1).expect("fits"),
            unit: Unit::Kilopascal,
        }),
    };
    let store = home.open();
    super::attest::trusted(&store, "gw-1", Timestamp::synced(0));
    let with = |grade, details: &Details| match reading(1000, 20) {
        Item::Reading(reading) => Item::Reading(Reading {
            grade,
            details: details.clone(),
            ..reading
        }),
        other => other,
    };
    let items = [
        with(Grade::Verified, &known),
        with(Grade::Verified, &Details::default()),
        with(Grade::Unverified, &Details::default()),
    ];
    store_at(
        &store,
        envelope(1, Lane::Vital, 1, start(1, Lane::Vital), &items),
        NOW,
    );
    let kept = read(&store, |tx| {
        let probe = "probe".parse().expect("an id");
        console::readings(tx, &gateway(), &probe, (0, 2000), 10)
    });
    let mut seen: Vec<(Grade, Details)> = kept.into_iter().map(|r| (r.grade, r.details)).collect();
    seen.sort_by_key(|(grade, details)| (*grade, details.is_empty()));
    let plain = Details::default;
    assert_eq!(
        seen,
        [
            (Grade::Unverified, known),
            (Grade::Unverified, plain()),
            (Grade::Verified, plain())
        ]
    );
    // The newest of its kind has none, and does not keep those of the one before it.
    let newest = read(&store, |tx| console::latest(tx, &gateway()));
    assert_eq!((newest.len(), newest[0].details.is_empty()), (1, true));
    let empty = read(&store, |tx| {
        count(tx, "SELECT count(*) FROM readings WHERE details IS NULL")
    });
    assert_eq!(empty, 2, "nothing is kept of nothing");
}

pub(super) fn a_reading_that_comes_again_after_a_fork_stands_in_the_new_epoch_only(home: &Home) {
    let store = home.open();
    let lane = Lane::Vital;
    let vital = |epoch, items: &[Item]| envelope(epoch, lane, 1, start(epoch, lane), items);
    let floored = |n| match reading(500, n) {
        Item::Reading(mut reading) => {
            reading.taken_at.trust = ClockTrust::Floor;
            Item::Reading(reading)
        }
        other => other,
    };
    let old = [reading(1000, 20), reading(2000, 21), floored(5)];
    store_at(&store, vital(1, &old), NOW);
    let other = store_at(&store, vital(1, &[reading(1000, 20), reading(2500, 22)]), NOW);
    assert_eq!(
        (other.decision, other.ack.next, other.ack.up_to),
        ("fork", Next::NewEpoch, Seq(1))
    );
    // The word to forget the first was lost: the box sends all that it holds, and one value below its clock's floor.
    let again = [reading(1000, 20), reading(2000, 7), reading(2500, 22), floored(5)];
    store_at(&store, vital(2, &again), NOW);
    let kept = read(&store, |tx| {
        let rows = tx.rows("SELECT epoch, seq FROM readings ORDER BY epoch, seq", &[])?;
        rows.iter()
            .map(|row| Ok((u64::from_str_radix(row.text(0)?, 16).expect("hex"), row.int(1)?)))
            .collect::<Result<Vec<_>, StoreError>>()
    });
    assert_eq!(kept, [(1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (2, 4)]);
}

/// Neither key goes on with what the other began, and what the spare one says counts for the least.
pub(super) fn a_spare_key_has_outboxes_of_its_own_and_lowers_nothing_that_the_other_said(home: &Home) {
    let store = home.open();
    let lane = Lane::Vital;
    let vital = |epoch, items: &[Item]| envelope(epoch, lane, 1, start(epoch, lane), items);
    let say = |spare, envelope| {
        let outcome = speak_at(&store, spare, envelope, NOW);
        (
            outcome.decision,
            outcome.ack.next,
            outcome.ack.up_to,
            outcome.readings,
        )
    };
    let own = [reading(1000, 20), reading(2000, 21)];
    assert_eq!(
        say(false, vital(1, &own)),
        ("accepted", Next::Continue, Seq(2), 2)
    );
    // In the outbox of the other key: to be numbered anew, and nothing is moved.
    let more = [own.as_slice(), &[reading(3000, 22)]].concat();
    for again in [
        vital(1, &more),
        envelope(1, Lane::Routine, 1, start(1, Lane::Routine), &more),
    ] {
        assert_eq!(say(true, again), ("other-key", Next::NewEpoch, Seq(0), 0));
    }
    assert_eq!(
        say(true, vital(2, &more)),
        ("accepted", Next::Continue, Seq(3), 1)
    );
    assert_eq!(
        say(false, vital(2, &more)),
        ("other-key", Next::NewEpoch, Seq(0), 0)
    );
    let grades = |store: &Store| {
        read(store, |tx| {
            let probe = "probe".parse().expect("an id");
            let mut all = console::readings(tx, &gateway(), &probe, (0, 9000), 10)?;
            all.sort_by_key(|r| r.taken_at.ms);
            Ok(all
                .into_iter()
                .map(|r| (r.taken_at.ms, r.grade))
                .collect::<Vec<_>>())
        })
    };
    let (kept, spare) = (Grade::Associated, Grade::Unverified);
    assert_eq!(grades(&store), [(1000, kept), (2000, kept), (3000, spare)]);
    let reasons = read(&store, |tx| {
        let latest = console::latest(tx, &gateway())?;
        Ok(latest[0].details.reasons.clone())
    });
    assert_eq!(reasons, [Reason::SpareKey]);
    // Its own key says it too: that is worth more.
    assert_eq!(say(false, vital(3, &more)).0, "accepted");
    assert_eq!(grades(&store), [(1000, kept), (2000, kept), (3000, kept)]);
}

pub(super) fn whatever_disks_come_again_each_record_stands_once(home: &Home) {
    let store = home.open();
    // On a server each statement is a question over a socket.
    let stories = match home.config {
        StoreConfig::Sqlite(_) => 12,
        StoreConfig::Postgres(_) => 4,
    };
    story::disks_come_again_on(stories, || {
        block(store.write(|tx| {
            for wipe in [
                "DELETE FROM readings",
                "DELETE FROM alarms",
                "DELETE FROM latest",
                "DELETE FROM gaps",
                "DELETE FROM envelopes",
                "DELETE FROM streams",
            ] {
                tx.execute(wipe, &[])?;
            }
            Ok(())
        }))
        .expect("wiped");
        store.clone()
    });
}

pub(super) fn a_write_attempt_that_comes_again_is_told_once(home: &Home) {
    let store = home.open();
    let lane = attempt(1000).lane();
    let send =
        |epoch, items: &[Item]| store_at(&store, envelope(epoch, lane, 1, start(epoch, lane), items), NOW);
    // Two of one second, told apart by their milliseconds.
    send(1, &[attempt(1000), attempt(1001)]);
    // The outbox of a disk that was put back, then that of one that was put back again.
    send(2, &[attempt(1000), attempt(1002)]);
    send(3, &[attempt(1000), attempt(1001), attempt(1002), attempt(1003)]);
    let trail = read(&store, |tx| {
        Ok((
            audit::list(tx, i64::MAX, 100)?.len(),
            audit::check(tx)?.map(|chain| chain.last()),
        ))
    });
    assert_eq!(trail, (4, Ok(4)));
}

pub(super) fn attempt(at_ms: i64) -> Item {
    Item::Write(WriteAttempt {
        sensor: "ups".parse().expect("an id"),
        at: Timestamp::synced(at_ms),
        peer: ShortText::cut("192.0.2.20"),
        unit: 1,
        function: 16,
        address: Some(7),
        count: 1,
        outcome: guard::Outcome::Written,
        times: 1,
    })
}

pub(super) fn what_cannot_be_read_is_kept_up_to_a_bound_and_counted(home: &Home) {
    let store = home.open();
    for n in 0..40u8 {
        let now = NOW.plus_ms(i64::from(n));
        block(store.write(move |tx| records::reject(tx, &gateway(), &[n], "not ours", now))).expect("kept");
    }
    // A record in the wrong lane counts as stored, and is kept raw.
    let odd = envelope(1, Lane::Urgent, 1, start(1, Lane::Urgent), &[reading(1, 1)]);
    let outcome = store_at(&store, odd, NOW.plus_ms(100));
    assert_eq!(
        (outcome.ack.up_to, outcome.unreadable, outcome.readings),
        (Seq(1), 1, 0)
    );
    let kept = read(&store, |tx| {
        let total = count(tx, "SELECT total FROM rejects WHERE gateway = 'gw-1'")?;
        let oldest = count(tx, "SELECT min(received_at) FROM quarantine")?;
        Ok((count(tx, "SELECT count(*) FROM quarantine")?, total, oldest))
    });
    assert_eq!(kept, (records::MAX_QUARANTINED, 41, NOW.ms + 9));
}

pub(super) fn report(sensors: &[&str]) -> Item {
    let heard = |name: &&str| SensorHeard {
        sensor: name.parse::<SensorId>().expect("an id"),
        profile: ShortText::cut("room"),
        last_heard: None,
        interval_s: 60,
        failures: 0,
        last_error: None,
    };
    Item::Posture(PostureReport {
        taken_at: NOW,
        agent: ShortText::cut("0.1.0"),
        os: ShortText::cut("Debian 12"),
        kernel: ShortText::cut("6.1"),
        uptime: Uptime(1),
        boot: "boot-0001".parse::<BootId>().expect("an id"),
        disk: Disk {
            total_bytes: 1,
            free_bytes: 1,
            outbox_bytes: 1,
        },
        clock: Clock {
            trust: ClockTrust::Synced,
            error_ms: None,
        },
        sensors: sensors.iter().map(heard).collect(),
        trust: None,
        key: None,
    })
}

pub(super) fn an_alarm_and_an_outage_that_come_again_after_a_fork_stand_once(home: &Home) {
    let store = home.open();
    let send = |epoch, lane, items: &[Item], at_ms: i64| {
        let sent = envelope(epoch, lane, 1, start(epoch, lane), items);
        store_at(&store, sent, Timestamp::synced(at_ms)).decision
    };
    let alarm = |active, at_ms| {
        Item::Alarm(Alarm {
            condition: Condition::SensorSilent,
            sensor: None,
            active,
            at: Timestamp::synced(at_ms),
        })
    };
    let outage = |until_ms| {
        Item::Outage(Outage {
            from: Timestamp::synced(100),
            until: Timestamp::synced(until_ms),
            cause: LinkCause::Closed,
        })
    };
    send(1, Lane::Urgent, &[alarm(true, 1000), alarm(false, 2000)], 5000);
    send(1, Lane::Routine, &[outage(900)], 5001);
    // A disk that was put back: it knows of the beginning, not of the end; other records take stored numbers.
    let forked = send(1, Lane::Urgent, &[alarm(true, 1000), alarm(true, 3000)], 6000);
    assert_eq!(forked, "fork");
    send(2, Lane::Urgent, &[alarm(true, 1000)], 7000);
    send(2, Lane::Routine, &[outage(900), outage(901)], 7001);
    let (newest, alarms, outages) = read(&store, |tx| {
        let sql = "SELECT active, epoch, received_at FROM alarms ORDER BY received_at DESC, seq DESC";
        let alarms = tx.rows(sql, &[])?;
        let rows = alarms
            .iter()
            .map(|row| Ok((row.int(0)?, row.text(1)?.to_owned(), row.int(2)?)));
        let rows: Result<Vec<(i64, String, i64)>, StoreError> = rows.collect();
        let outages = count(
            tx,
            "SELECT count(*) FROM outages WHERE epoch = '0000000000000002'",
        )?;
        Ok((
            rows?,
            count(tx, "SELECT count(*) FROM alarms")?,
            outages + 10 * count(tx, "SELECT count(*) FROM outages")?,
        ))
    });
    assert_eq!((alarms, outages), (2, 22), "each stands once, in the new epoch");
    assert_eq!(
        newest[0].0, 0,
        "an end that was heard is not undone by an old beginning: {newest:?}"
    );
    assert_eq!(newest[1], (1, "0000000000000002".to_owned(), 5000));
}

pub(super) fn a_report_with_a_sensor_twice_is_stored_like_any_other(home: &Home) {
    let store = home.open();
    let vital = envelope(1, Lane::Vital, 1, start(1, Lane::Vital), &[reading(1000, 20)]);
    store_at(&store, vital, NOW);
    let alarm = Item::Alarm(Alarm {
        condition: Condition::SensorSilent,
        sensor: None,
        active: true,
        at: NOW,
    });
    let items = [report(&["old"]), alarm, report(&["probe", "probe", "door"])];
    let outcome = store_at(
        &store,
        envelope(1, Lane::Urgent, 1, start(1, Lane::Urgent), &items),
        NOW,
    );
    assert_eq!(outcome.ack.up_to, Seq(3));
    let kept = read(&store, |tx| {
        let probe = tx.row(
            "SELECT last_stored, interval_s FROM sensors WHERE sensor = 'probe'",
            &[],
        )?;
        let probe = probe.expect("listed");
        let alarms = count(
            tx,
            "SELECT count(*) FROM alarms WHERE condition = 'sensor-silent' AND active = 1",
        )?;
        Ok((
            count(tx, "SELECT count(*) FROM sensors")?,
            alarms,
            probe.int(0)?,
            probe.int(1)?,
        ))
    });
    assert_eq!(kept, (2, 1, NOW.ms, 60));
}

fn expect_gateway(store: &Store) {
    let insert = |tx: &mut dyn Tx| {
        tx.execute(
            "INSERT INTO gateways (id, state, created_at) VALUES ('gw-1', 'enrolled', 1)",
            &[],
        )
    };
    block(store.write(insert)).expect("a gateway");
}

fn note(store: &Store, passage: Passage) {
    note_all(store, vec![passage]);
}

fn note_all(store: &Store, passages: Vec<Passage>) {
    block(store.write(move |tx| connections::note(tx, &passages))).expect("noted");
}

fn left(connected_at: i64, at: i64) -> Passage {
    Passage::Left {
        gateway: gateway(),
        connected_at: Timestamp::synced(connected_at),
        at: Timestamp::synced(at),
        why: Why::Replaced,
    }
}

fn connected(at_ms: i64) -> Passage {
    Passage::Connected {
        gateway: gateway(),
        spare: false,
        address: format!("192.0.2.7:{at_ms}"),
        at: Timestamp::synced(at_ms),
    }
}

pub(super) fn a_connection_that_ends_late_leaves_the_newer_one_alone(home: &Home) {
    let store = home.open();
    expect_gateway(&store);
    note(&store, connected(1000));
    note(&store, connected(2000));
    note(&store, left(1000, 2001));
    let since = read(&store, |tx| count(tx, "SELECT connected_at FROM gateways"));
    assert_eq!(since, 2000);
    let history = read(&store, |tx| connections::history(tx, &gateway(), 10));
    assert_eq!((history.len(), &history[0].ended), (2, &None));
    assert_eq!(
        history[1].ended,
        Some((Timestamp::synced(2001), "replaced".into()))
    );
}

/// Whatever is gathered before it is written, and wherever it is cut, the same stands in the end.
pub(super) fn comings_and_goings_stand_alike_one_by_one_and_together(home: &Home) {
    let passages = || {
        vec![
            connected(1000),
            connected(2000),
            left(1000, 2001),
            left(2000, 2500),
            connected(2500),
            left(2500, 2500),
            connected(2500),
            connected(3000),
            left(2500, 3001),
        ]
    };
    let store = home.open();
    let mut seen = Vec::new();
    for cut in [0, 1, 4, 7] {
        expect_gateway(&store);
        let (first, rest) = (passages()[..cut].to_vec(), passages()[cut..].to_vec());
        note_all(&store, first);
        match cut {
            7 => rest.into_iter().for_each(|passage| note(&store, passage)),
            _ => note_all(&store, rest),
        }
        let history = read(&store, |tx| connections::history(tx, &gateway(), 10));
        let now = read(&store, |tx| count(tx, "SELECT connected_at FROM gateways"));
        seen.push((history, now));
        for wipe in ["DELETE FROM connections", "DELETE FROM gateways"] {
            block(store.write(move |tx| tx.execute(wipe, &[]))).expect("wiped");
        }
    }
    assert_eq!((seen[0].0.len(), seen[0].1), (4, 3000));
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
}

pub(super) fn connections_that_were_open_when_the_server_went_have_ended(home: &Home) {
    let store = home.open();
    expect_gateway(&store);
    note(&store, connected(1000));
    let ended = block(store.write(|tx| connections::end_all_open(tx, Timestamp::synced(5000))));
    assert_eq!(ended.expect("ended"), 1);
    let history = read(&store, |tx| connections::history(tx, &gateway(), 10));
    assert_eq!(
        history[0].ended,
        Some((Timestamp::synced(5000), "server-gone".into()))
    );
    assert_eq!(
        read(&store, |tx| count(tx, "SELECT count(connected_at) FROM gateways")),
        0
    );
}

pub(super) fn every_table_has_said_how_long_it_keeps_its_rows(_: &Home) {
    let lines = || migrate::SQLITE.iter().flat_map(|(_, text)| text.lines());
    // A table that is written anew takes the name of the one before.
    let renamed: Vec<&str> = lines()
        .filter_map(|line| line.strip_prefix("ALTER TABLE ")?.split_once(" RENAME TO "))
        .map(|(before, _)| before)
        .collect();
    let mut tables: Vec<&str> = lines()
        .filter_map(|line| line.strip_prefix("CREATE TABLE ")?.split_whitespace().next())
        .filter(|table| !renamed.contains(table))
        .collect();
    tables.sort_unstable();
    let ruled: Vec<&str> = retention::RULES.iter().map(|(table, _)| *table).collect();
    assert_eq!(tables, ruled);
}

pub(super) fn old_rows_go_in_bounded_steps_and_the_newest_envelopes_stay(home: &Home) {
    const DAY: i64 = 86_400_000;
    let store = home.open();
    let lane = Lane::Vital;
    let old = NOW.plus_ms(-500 * DAY);
    let mut prev = start(1, lane);
    for seq in 1..=100 {
        let one = envelope(1, lane, seq, prev, &[reading(old.ms, 20)]);
        prev = prev.after(&one.entries[0]);
        store_at(&store, one, old);
    }
    let outbox = |epoch, at| {
        let one = envelope(epoch, lane, 5, start(9, lane), &[reading(NOW.ms, 20)]);
        store_at(&store, one, at)
    };
    outbox(2, old); // with a gap, and never heard of again
    outbox(3, NOW);
    store_at(
        &store,
        envelope(1, Lane::Urgent, 1, start(1, Lane::Urgent), &[report(&[])]),
        NOW,
    );
    note(&store, connected(old.ms));
    block(store.write(move |tx| {
        tx.execute(
            "INSERT INTO certificates (serial, gateway, point, not_before, not_after, issued_at, der)
             SELECT 'aa', 'gw-1', head, 0, $1, 0, head FROM streams WHERE epoch = '0000000000000003'
                AND EXISTS (SELECT 1 FROM gateways WHERE id = 'gw-1')",
            &[old.ms.into()],
        )
    }))
    .expect("inserted");
    let more = block(store.write(|tx| retention::step(tx, 400, 30, NOW))).expect("deleted");
    assert!(!more);
    let left = read(&store, |tx| {
        Ok([
            count(tx, "SELECT count(*) FROM readings")?,
            count(
                tx,
                "SELECT count(*) FROM envelopes WHERE epoch = '0000000000000001' AND lane = 'vital'",
            )?,
            count(
                tx,
                "SELECT min(last_seq) FROM envelopes WHERE epoch = '0000000000000001' AND lane = 'vital'",
            )?,
            count(tx, "SELECT count(*) FROM gaps")?,
            count(
                tx,
                "SELECT count(*) FROM streams WHERE epoch = '0000000000000001'",
            )?,
            count(
                tx,
                "SELECT count(*) FROM streams WHERE epoch = '0000000000000002'",
            )?,
            count(tx, "SELECT count(*) FROM connections WHERE ended_at IS NULL")?,
        ])
    });
    assert_eq!(left, [1, 64, 37, 1, 2, 0, 1]);
}

pub(super) fn a_check_finds_what_was_changed_behind_the_streams_back(home: &Home) {
    let store = home.open();
    let lane = Lane::Vital;
    let mut prev = start(1, lane);
    for seq in 1..=10 {
        let one = envelope(1, lane, seq, prev, &[reading(NOW.ms, 20)]);
        prev = prev.after(&one.entries[0]);
        store_at(&store, one, NOW);
    }
    // Stated faults are no faults of the store: records that are not held any more, and a broken chain.
    let ahead = envelope(1, lane, 15, start(7, lane), &[reading(NOW.ms, 20)]);
    assert_eq!(store_at(&store, ahead, NOW).ack.up_to, Seq(15));
    let broken = envelope(1, lane, 16, start(8, lane), &[reading(NOW.ms, 20)]);
    assert_eq!(store_at(&store, broken, NOW).ack.up_to, Seq(16));
    let whole = read(&store, check::check);
    assert_eq!((whole.faults, whole.streams, whole.envelopes), (vec![], 1, 12));
    let faults = |sql: &'static str| {
        block(store.write(move |tx| tx.execute(sql, &[]))).expect("changed");
        read(&store, check::check).faults
    };
    assert_eq!(
        faults("DELETE FROM envelopes WHERE last_seq <= 3"),
        Vec::<String>::new()
    );
    assert_eq!(faults("DELETE FROM envelopes WHERE last_seq = 7").len(), 1);
    assert_eq!(faults("DELETE FROM gaps WHERE cause = 'chain-broken'").len(), 2);
    assert_eq!(faults("UPDATE streams SET up_to = 17").len(), 3);
}
