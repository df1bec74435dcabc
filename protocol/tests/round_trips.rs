//! Whatever can be said is heard as it was said, and stays within its limit.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests make keys, which needs randomness"
)]

use homeward_protocol::ack::{Ack, Next};
use homeward_protocol::alarm::{Alarm, Condition};
use homeward_protocol::bond::{BleAddress, Bond, KeyClass};
use homeward_protocol::claim::{Claim, Code, Endpoint, MAX_CLAIM, Pin};
use homeward_protocol::envelope::{
    ChainHash, Entry, Envelope, Item, Lane, LossCause, Lost, MAX_ENTRIES, MAX_ENVELOPE, MAX_ITEM,
};
use homeward_protocol::grade::{Grade, Reason};
use homeward_protocol::guard::{Outcome, Why, WriteAttempt};
use homeward_protocol::id::{BootId, Epoch, GatewayId, PlacementId, SensorId, Seq, TeamId};
use homeward_protocol::link::{Cause, Outage};
use homeward_protocol::posture::{
    Clock, Disk, KeyFacts, KeyPlace, MAX_SENSORS, MAX_TEXT, PostureReport, Sealing, SensorHeard, ShortText,
};
use homeward_protocol::reading::{Details, Kind, Mark, Quality, Reading, SensorClock, Sent, State, Value};
use homeward_protocol::signed::{Message, OVERHEAD, PublicKey, Signed, SignedError, Signer};
use homeward_protocol::time::{ClockTrust, Timestamp, Uptime};
use homeward_protocol::topic::{Filter, MAX_TOPIC, Topic};
use homeward_protocol::trust::TrustMark;
use homeward_protocol::unit::{Decimal, Unit};
use homeward_protocol::watch::{DeviceFacts, Finding, MAX_FINDINGS, MAX_FIRMWARE, Suspicion, WatchReport};
use homeward_protocol::wire::{self, Bytes, WireError};
use proptest::prelude::*;
use proptest::sample::select;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

const ID: &str = "[a-z0-9][a-z0-9-]{6,38}[a-z0-9]";

fn time() -> impl Strategy<Value = Timestamp> {
    let trust = select(&[ClockTrust::Synced, ClockTrust::Unsynced, ClockTrust::Floor][..]);
    (any::<i64>(), trust).prop_map(|(ms, trust)| Timestamp { ms, trust })
}

fn sensor() -> impl Strategy<Value = SensorId> {
    ID.prop_map(|id| id.parse().expect("the pattern is the rule"))
}

fn gateway() -> impl Strategy<Value = GatewayId> {
    ID.prop_map(|id| id.parse().expect("the pattern is the rule"))
}

fn text() -> impl Strategy<Value = ShortText> {
    ".{0,200}".prop_map(|text| ShortText::cut(&text))
}

fn value() -> impl Strategy<Value = Value> {
    let number = decimal();
    let state = select(
        &[
            State::Closed,
            State::Open,
            State::Occupied,
            State::Discharging,
            State::Off,
        ][..],
    );
    prop_oneof![
        number.prop_map(Value::Number),
        state.prop_map(Value::State),
        Just(Value::Absent)
    ]
}

fn decimal() -> impl Strategy<Value = Decimal> {
    (any::<i64>(), -18i8..=18).prop_map(|(m, e)| Decimal::new(m, e).expect("in range"))
}

/// Reasons and marks in any order: they travel in their own.
fn details() -> impl Strategy<Value = Details> {
    let reasons = prop::sample::subsequence(Reason::ALL.to_vec(), 0..=Reason::ALL.len());
    let marks = prop::sample::subsequence(Mark::ALL.to_vec(), 0..=Mark::ALL.len());
    let clock = (any::<i64>(), prop::option::of(any::<i64>()));
    let clock = clock.prop_map(|(at_ms, ahead_ms)| SensorClock { at_ms, ahead_ms });
    let unit = select(&[Unit::Kilopascal, Unit::Percent, Unit::One][..]);
    let sent = (decimal(), unit).prop_map(|(value, unit)| Sent { value, unit });
    (reasons, marks, prop::option::of(clock), prop::option::of(sent)).prop_map(
        |(reasons, marks, sensor_clock, sent)| Details {
            reasons,
            marks,
            sensor_clock,
            sent,
        },
    )
}

prop_compose! {
    fn reading()(
        details in details(),
        sensor in sensor(), value in value(), taken_at in time(),
        kind in select(&[Kind::Door, Kind::RoomPressure, Kind::TimeRemaining, Kind::StorageTemperature][..]),
        quality in select(&[Quality::Good, Quality::OutOfRange, Quality::Doubtful][..]),
        grade in select(&[Grade::Unverified, Grade::Associated, Grade::Verified][..]),
    ) -> Reading {
        Reading { sensor, kind, value, taken_at, quality, grade, details }
    }
}

prop_compose! {
    fn heard()(
        sensor in sensor(), profile in text(), last_heard in prop::option::of(time()),
        interval_s in any::<u32>(), failures in any::<u32>(), last_error in prop::option::of(text()),
    ) -> SensorHeard {
        SensorHeard { sensor, profile, last_heard, interval_s, failures, last_error }
    }
}

prop_compose! {
    fn posture()(
        taken_at in time(), agent in text(), os in text(), kernel in text(), up in any::<u64>(), boot in ID,
        room in any::<[u64; 3]>(), error_ms in prop::option::of(any::<u64>()), anchors in prop::option::of(any::<u8>()),
        key in prop::option::of(key_facts()),
        sensors in prop::collection::vec(heard(), 0..6),
    ) -> PostureReport {
        let [total_bytes, free_bytes, outbox_bytes] = room;
        PostureReport {
            taken_at, agent, os, kernel, sensors,
            uptime: Uptime(up),
            boot: boot.parse().expect("the pattern is the rule"),
            disk: Disk { total_bytes, free_bytes, outbox_bytes },
            clock: Clock { trust: taken_at.trust, error_ms },
            trust: anchors.map(|n| TrustMark::of(&[Pin([n; 32])])),
            key,
        }
    }
}

fn key_facts() -> impl Strategy<Value = KeyFacts> {
    let place = select(&[KeyPlace::Tpm, KeyPlace::File, KeyPlace::Spare][..]);
    let sealed = select(
        &[
            Sealing::Tpm,
            Sealing::Credential,
            Sealing::Machine,
            Sealing::Nothing,
        ][..],
    );
    (place, sealed).prop_map(|(place, sealed)| KeyFacts { place, sealed })
}

fn suspicion() -> impl Strategy<Value = Suspicion> {
    select(&Suspicion::ALL[..])
}

fn bond() -> impl Strategy<Value = Bond> {
    let class = select(
        &[
            KeyClass::Debug,
            KeyClass::LegacyUnauthenticated,
            KeyClass::SecureUnauthenticated,
            KeyClass::LegacyAuthenticated,
            KeyClass::SecureAuthenticated,
        ][..],
    );
    (class, any::<u8>()).prop_map(|(class, key_size)| Bond { class, key_size })
}

prop_compose! {
    fn finding()(
        suspicion in suspicion(), sensor in prop::option::of(sensor()), since in time(), said in text(),
        address in prop::option::of(any::<[u8; 6]>()),
    ) -> Finding {
        Finding { suspicion, sensor, address: address.map(BleAddress), since, said }
    }
}

prop_compose! {
    fn device()(
        sensor in sensor(), address in any::<[u8; 6]>(), bond in prop::option::of(bond()), associated_at in time(),
        firmware in prop::option::of("[ -~]{0,32}"), battery in prop::option::of(any::<u8>()),
    ) -> DeviceFacts {
        let firmware = firmware.map(|text| ShortText::cut(&text));
        DeviceFacts { sensor, address: BleAddress(address), bond, associated_at, firmware, battery }
    }
}

prop_compose! {
    fn watch()(
        taken_at in time(), more in any::<u32>(), findings in prop::collection::vec(finding(), 0..6),
        devices in prop::collection::vec(device(), 0..6),
    ) -> WatchReport {
        WatchReport { taken_at, findings, more, devices }
    }
}

prop_compose! {
    fn attempt()(
        sensor in sensor(), at in time(), peer in text(), unit in any::<u8>(), function in any::<u8>(),
        address in prop::option::of(any::<u16>()), count in any::<u16>(), times in any::<u32>(),
        outcome in prop_oneof![
            select(&Why::ALL[..]).prop_map(Outcome::Refused),
            select(&[Outcome::Written, Outcome::Failed][..]),
        ],
    ) -> WriteAttempt {
        WriteAttempt { sensor, at, peer, unit, function, address, count, outcome, times }
    }
}

fn item() -> impl Strategy<Value = Item> {
    let condition = select(
        &[
            Condition::SensorSilent,
            Condition::DeviceAlarm,
            Condition::RecordsLost,
            Condition::WriteRefused,
            Condition::OtherDevice,
            Condition::TpmSilent,
        ][..],
    );
    let cause = select(
        &[
            Cause::Unreachable,
            Cause::Untrusted,
            Cause::Closed,
            Cause::NotRunning,
        ][..],
    );
    let alarm = (condition, prop::option::of(sensor()), any::<bool>(), time());
    prop_oneof![
        reading().prop_map(Item::Reading),
        posture().prop_map(Item::Posture),
        watch().prop_map(Item::Watch),
        attempt().prop_map(Item::Write),
        alarm.prop_map(|(condition, sensor, active, at)| Item::Alarm(Alarm {
            condition,
            sensor,
            active,
            at
        })),
        (time(), time(), cause).prop_map(|(from, until, cause)| Item::Outage(Outage { from, until, cause })),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let cause = select(&[LossCause::Quota, LossCause::DiskRefused, LossCause::Damaged][..]);
    let lost = (1..u64::from(u32::MAX), cause, any::<[u8; 32]>(), time());
    prop_oneof![
        4 => item().prop_map(|item| Entry::Item(item.encode().expect("an item encodes"))),
        1 => prop::collection::vec(any::<u8>(), 0..64).prop_map(|body| Entry::Item(Bytes(body))),
        1 => lost.prop_map(|(count, cause, head, at)| {
            Entry::Lost(Lost { count, cause, head: ChainHash(head), at })
        }),
    ]
}

prop_compose! {
    fn envelope()(
        gateway in gateway(), epoch in any::<u64>(), lane in select(&Lane::ALL[..]), oldest in 1..1u64 << 40,
        ahead in 0..1u64 << 20, prev in any::<[u8; 32]>(), sent_at in time(),
        entries in prop::collection::vec(entry(), 1..20),
    ) -> Envelope {
        Envelope {
            gateway, lane, sent_at, entries,
            epoch: Epoch(epoch),
            oldest: Seq(oldest),
            first: Seq(oldest + ahead),
            prev: ChainHash(prev),
        }
    }
}

struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Key {
        let rng = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &rng);
        Key(key.expect("a key"))
    }

    fn public(&self) -> PublicKey {
        PublicKey::from_point(self.0.public_key().as_ref()).expect("a point")
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let signature = self
            .0
            .sign(&SystemRandom::new(), message)
            .map_err(|e| e.to_string())?;
        signature
            .as_ref()
            .try_into()
            .map_err(|_| "not 64 bytes".to_owned())
    }
}

proptest! {
    #[test]
    fn records_arrive_as_they_were_sent(item in item()) {
        let body = item.encode().expect("within its limit");
        prop_assert_eq!(Item::decode(&body).expect("reads"), item);
    }

    #[test]
    fn acknowledgements_arrive_as_they_were_sent(
        epoch in any::<u64>(), up_to in any::<u64>(), lane in select(&Lane::ALL[..]), new in any::<bool>(),
    ) {
        let next = if new { Next::NewEpoch } else { Next::Continue };
        let ack = Ack { epoch: Epoch(epoch), lane, up_to: Seq(up_to), next };
        prop_assert_eq!(Ack::decode(&ack.encode().expect("small")).expect("reads"), ack);
    }

    #[test]
    fn topics_arrive_as_they_were_sent(gateway in gateway(), lane in select(&Lane::ALL[..])) {
        for topic in [Topic::Up(gateway.clone(), lane), Topic::Ack(gateway.clone()), Topic::Hint(gateway.clone())] {
            let text = topic.to_string();
            prop_assert!(text.len() <= MAX_TOPIC);
            prop_assert_eq!(text.parse(), Ok(topic));
        }
        let filter = Filter::Acks(gateway.clone());
        prop_assert_eq!(filter.to_string().parse::<Filter>(), Ok(filter));
        let filter = Filter::Down(gateway);
        prop_assert_eq!(filter.to_string().parse(), Ok(filter));
    }

    #[test]
    fn claims_arrive_as_they_were_sent(
        host in "[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?", v6 in prop::option::of(any::<[u16; 8]>()), port in 1u16..,
        pin in any::<[u8; 32]>(), gateway in gateway(), code in any::<[u8; 10]>(), expires in any::<i64>(),
    ) {
        let host = v6.map_or(host, |parts| std::net::Ipv6Addr::from(parts).to_string());
        let server = Endpoint { host, port };
        let claim = Claim { server, pin: Pin(pin), gateway, code: Code::from_random(code), expires };
        let line = claim.to_string();
        prop_assert!(line.len() <= MAX_CLAIM / 2);
        prop_assert_eq!(line.parse(), Ok(claim.clone()));
        let json = serde_json::to_string_pretty(&claim).expect("encodes");
        prop_assert!(json.len() <= MAX_CLAIM);
        prop_assert_eq!(json.parse(), Ok(claim));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Ack::decode(&bytes);
        let _ = Item::decode(&Bytes(bytes.clone()));
        let _ = Signed::<Envelope>::parse(&bytes);
        let _ = wire::decode::<Envelope>(&bytes, MAX_ENVELOPE).map(|e| (e.check().is_ok(), e.last()));
        let text = String::from_utf8_lossy(&bytes);
        let _ = (text.parse::<Topic>(), text.parse::<Filter>(), text.parse::<Claim>(), text.parse::<Endpoint>());
    }
}

proptest! {
    // A signature costs a millisecond in a test build.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn signed_envelopes_arrive_as_they_were_sent(envelope in envelope(), at in any::<prop::sample::Index>()) {
        let key = Key::new();
        let bytes = Signed::seal(&envelope, &key).expect("within its limit");
        prop_assert!(bytes.len() <= MAX_ENVELOPE + OVERHEAD);
        let signed = Signed::<Envelope>::parse(&bytes).expect("reads");
        let verified = signed.verify(&key.public()).expect("verifies");
        prop_assert_eq!(verified.get(), &envelope);

        let stranger = signed.verify(&Key::new().public());
        prop_assert!(matches!(stranger, Err(SignedError::Signature)));

        let mut changed = bytes.clone();
        let at = at.index(changed.len());
        changed[at] ^= 0x01;
        let believed = Signed::<Envelope>::parse(&changed).and_then(|s| s.verify(&key.public()));
        prop_assert!(believed.is_err(), "byte {} was changed and believed", at);
    }
}

fn longest_heard() -> SensorHeard {
    SensorHeard {
        sensor: "s".repeat(SensorId::MAX).parse().expect("an id"),
        profile: ShortText::cut(&"p".repeat(MAX_TEXT)),
        last_heard: Some(Timestamp {
            ms: i64::MIN,
            trust: ClockTrust::Unsynced,
        }),
        interval_s: u32::MAX,
        failures: u32::MAX,
        last_error: Some(ShortText::cut(&"e".repeat(MAX_TEXT))),
    }
}

fn longest_posture(sensors: usize) -> Item {
    let long = ShortText::cut(&"x".repeat(MAX_TEXT));
    let at = Timestamp {
        ms: i64::MIN,
        trust: ClockTrust::Unsynced,
    };
    Item::Posture(PostureReport {
        taken_at: at,
        agent: long.clone(),
        os: long.clone(),
        kernel: long,
        uptime: Uptime(u64::MAX),
        boot: "b".repeat(BootId::MAX).parse().expect("an id"),
        disk: Disk {
            total_bytes: u64::MAX,
            free_bytes: u64::MAX,
            outbox_bytes: u64::MAX,
        },
        clock: Clock {
            trust: ClockTrust::Unsynced,
            error_ms: Some(u64::MAX),
        },
        sensors: vec![longest_heard(); sensors],
        trust: Some(TrustMark::of(&[Pin([255; 32])])),
        key: Some(KeyFacts {
            place: KeyPlace::Spare,
            sealed: Sealing::Credential,
        }),
    })
}

fn envelope_of(entries: Vec<Entry>) -> Envelope {
    Envelope {
        gateway: "g".repeat(GatewayId::MAX).parse().expect("an id"),
        epoch: Epoch(u64::MAX),
        lane: Lane::Routine,
        oldest: Seq(1 << 62),
        first: Seq(1 << 62),
        prev: ChainHash([0xff; 32]),
        sent_at: Timestamp {
            ms: i64::MIN,
            trust: ClockTrust::Unsynced,
        },
        entries,
    }
}

#[test]
fn the_longest_posture_report_fits_a_record_and_a_record_an_envelope() {
    let body = longest_posture(MAX_SENSORS)
        .encode()
        .expect("the limits fit each other");
    assert!(Item::decode(&body).is_ok());
    let one_more = longest_posture(MAX_SENSORS + 1);
    assert!(one_more.encode().is_err() || Item::decode(&one_more.encode().expect("seen")).is_err());
    let envelope = envelope_of(vec![Entry::Item(Bytes(vec![0; MAX_ITEM]))]);
    Signed::seal(&envelope, &Key::new()).expect("an envelope takes the longest record");
}

fn longest_watch(findings: usize, devices: usize, firmware: usize) -> Item {
    let at = Timestamp {
        ms: i64::MIN,
        trust: ClockTrust::Unsynced,
    };
    let sensor: SensorId = "s".repeat(SensorId::MAX).parse().expect("an id");
    let finding = Finding {
        suspicion: Suspicion::ImpossibleChange,
        sensor: Some(sensor.clone()),
        address: Some(BleAddress([0xff; 6])),
        since: at,
        said: ShortText::cut(&"x".repeat(MAX_TEXT)),
    };
    let device = DeviceFacts {
        sensor,
        address: BleAddress([0xff; 6]),
        bond: Some(Bond {
            class: KeyClass::SecureUnauthenticated,
            key_size: 255,
        }),
        associated_at: at,
        firmware: Some(ShortText::cut(&"f".repeat(firmware))),
        battery: Some(255),
    };
    Item::Watch(WatchReport {
        taken_at: at,
        findings: vec![finding; findings],
        more: u32::MAX,
        devices: vec![device; devices],
    })
}

#[test]
fn the_longest_watch_report_fits_a_record() {
    let longest = longest_watch(MAX_FINDINGS, MAX_SENSORS, MAX_FIRMWARE);
    let body = longest.encode().expect("the limits fit each other");
    assert_eq!(Item::decode(&body).expect("reads"), longest);
    for over in [
        longest_watch(MAX_FINDINGS + 1, 1, 1),
        longest_watch(1, MAX_SENSORS + 1, 1),
        longest_watch(1, 1, MAX_FIRMWARE + 1),
    ] {
        let body = over.encode().expect("short enough");
        assert!(matches!(Item::decode(&body), Err(WireError::Rule(_))));
    }
}

#[test]
fn a_full_envelope_of_readings_fits() {
    let reading = Item::Reading(Reading {
        sensor: "s".repeat(SensorId::MAX).parse().expect("an id"),
        kind: Kind::OxygenConcentration,
        value: Value::Number(Decimal::new(i64::MIN, -18).expect("in range")),
        taken_at: Timestamp {
            ms: i64::MIN,
            trust: ClockTrust::Unsynced,
        },
        quality: Quality::OutOfRange,
        grade: Grade::Unverified,
        details: Details::default(),
    });
    let body = reading.encode().expect("small");
    let full = envelope_of(vec![Entry::Item(body.clone()); MAX_ENTRIES]);
    Signed::seal(&full, &Key::new()).expect("the limits fit each other");
    let over = envelope_of(vec![Entry::Item(body); MAX_ENTRIES + 1]);
    assert!(over.check().is_err());
}

#[test]
fn what_is_too_long_is_refused_before_it_is_read() {
    let long = |max: usize| vec![0x80; max + 1];
    assert!(matches!(Ack::decode(&long(256)), Err(WireError::TooLong { .. })));
    assert!(matches!(
        Item::decode(&Bytes(long(MAX_ITEM))),
        Err(WireError::TooLong { .. })
    ));
    let signed = Signed::<Envelope>::parse(&long(MAX_ENVELOPE + OVERHEAD));
    assert!(matches!(signed, Err(SignedError::TooLong { .. })));
    assert!("x".repeat(MAX_CLAIM + 1).parse::<Claim>().is_err());
}

#[test]
fn ids_have_the_lengths_they_say() {
    fn lengths<T: std::str::FromStr>(min: usize, max: usize) {
        let reads = |size: usize| "a".repeat(size).parse::<T>().is_ok();
        assert!(!reads(min - 1) && reads(min) && reads(max) && !reads(max + 1));
    }
    lengths::<GatewayId>(3, GatewayId::MAX);
    lengths::<SensorId>(1, SensorId::MAX);
    lengths::<PlacementId>(2, PlacementId::MAX);
    lengths::<TeamId>(2, TeamId::MAX);
    lengths::<BootId>(8, BootId::MAX);
}
