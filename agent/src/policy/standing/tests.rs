//! What is said to be done of each rule is what is found of it.

use homeward_protocol::bond::BleAddress;
use homeward_protocol::policy::check::check;
use homeward_protocol::policy::rules::RadioMode;
use homeward_protocol::time::Timestamp;

use super::does::Does;
use super::*;
use crate::config::Config;
use crate::policy::habits::Habits;
use crate::policy::nftables;
use crate::policy::rules::{Needs, Network};
use crate::posture::facts::seen::Seen;
use crate::posture::facts::{accounts, timing};
use crate::sense::{Pace, Sensor, Way};

fn policy() -> Policy {
    let text = concat!(
        include_str!("../../../../protocol/tests/policies/every-rule.toml"),
        include_str!("../../../../protocol/tests/policies/updates.toml")
    );
    check(text).policy.expect("a policy")
}

/// The sensors that the policy names, where it wants them.
fn sensors(policy: &Policy) -> Vec<Sensor> {
    let rule = policy.sensors.as_ref().expect("ruled");
    let profile = homeward_devices::profile::shipped("comet-tx5xx").expect("a profile");
    let way = |at: &str| match at.parse::<BleAddress>() {
        Ok(address) => Way::Ble(address),
        Err(_) => Way::Tcp(at.to_owned()),
    };
    let sensor = |one: &homeward_protocol::policy::rules::AllowedSensor| {
        let pace = Pace {
            interval: std::time::Duration::from_secs(10),
            silent_after: std::time::Duration::from_mins(5),
        };
        Sensor {
            id: one.sensor.clone(),
            profile: std::sync::Arc::new(profile.clone()),
            way: way(one.address.as_ref().map_or("192.0.2.1:502", ShortText::as_str)),
            unit: 1,
            identity: None,
            interval: pace.interval,
            silent_after: pace.silent_after,
        }
    };
    let mut all: Vec<Sensor> = rule.allow.iter().map(sensor).collect();
    let named = policy
        .polling
        .iter()
        .flat_map(|rule| &rule.every)
        .map(|one| &one.sensor);
    let silent = policy
        .thresholds
        .iter()
        .flat_map(|rule| &rule.silent)
        .map(|one| &one.sensor);
    for id in named.chain(silent) {
        assert!(
            all.iter().any(|sensor| sensor.id == *id),
            "{id} is named and not allowed"
        );
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

/// A box that is all that the policy wants, and its table as it was set.
fn good(policy: &Policy) -> (Observed, BTreeMap<String, String>) {
    let needs = Needs::default();
    let network = Network::of(policy, &needs).expect("it rules the network");
    let made = nftables::transaction(Some(&network));
    let parts = made["nftables"].as_array().into_iter().flatten();
    let parts: Vec<_> = parts.filter_map(|one| one.get("add").cloned()).collect();
    let table = nftables::read(&serde_json::json!({ "nftables": parts })).expect("a listing");
    let table = super::super::ask::Table { kept: true, ..table };
    let seen = Seen::new(Timestamp::synced(0), "a test");
    let source = policy.time.as_ref().expect("ruled").sources[0]
        .as_str()
        .to_owned();
    let tracking = format!("C0000201,{source},3,1.1,0.0001,0.1,0.2,1.2,0.01,0.3,0.02,0.001,64.2,Normal\n");
    let config = Config::parse("").expect("nothing is needed");
    let writes = policy.modbus_writes.as_ref().expect("ruled");
    let facts = Facts {
        usb: Some(Vec::new()),
        listening: Some(Vec::new()),
        clock_synced: true,
        guarded: writes.allow.iter().map(|one| one.sensor.clone()).collect(),
        adapters: Some(Vec::new()),
        sights: Sights {
            accounts: Some(accounts::roots(&seen, &[])),
            groups: BTreeMap::new(),
            time: Some(timing::chrony(&seen, &tracking)),
        },
        ..Habits::of(Some(policy)).facts(&config, &sensors(policy))
    };
    let rule = policy.sshd.as_ref().expect("ruled");
    let observed = Observed {
        network: Part::Said(Answer::Network(table.clone())),
        sshd: Part::Said(Answer::Sshd(sshd::read(&sshd::file(rule, &BTreeMap::new())))),
        facts,
    };
    (observed, table.points)
}

#[test]
fn each_point_of_a_good_box_is_set_and_holds_or_holds_or_is_out_of_reach_as_its_rule_says() {
    let policy = policy();
    let (observed, table) = good(&policy);
    let points = policy.points();
    for rule in Rule::ALL {
        assert!(
            points.iter().any(|point| point.id.rule() == *rule),
            "{rule:?} is not tried"
        );
    }
    for point in points {
        let found = find(&point, &policy, Some(&table), &observed);
        let does = match (&found.standing, found.applied.is_some()) {
            (Standing::Holds, true) => Does::Enforces,
            (Standing::Holds, false) => Does::Observes,
            (Standing::NotEnforceableHere(_), _) => Does::Nothing,
            (other, _) => panic!("{}: {other:?}, {:?}", point.id, found.observed),
        };
        assert_eq!(does, Does::of(point.id.rule()), "{}", point.id);
    }
}

#[test]
fn a_box_that_is_otherwise_is_found_and_one_that_cannot_say_is_not_held_for_good() {
    let policy = policy();
    let (mut observed, table) = good(&policy);
    let standing = |observed: &Observed, name: &str| {
        let points = policy.points();
        let point = points
            .iter()
            .find(|point| point.id.to_string() == name)
            .expect("a point");
        find(point, &policy, Some(&table), observed).standing
    };
    observed.facts.usb = Some(vec![0x08, 0x03]);
    observed.facts.listening = Some(vec![(Protocol::Tcp, 23)]);
    observed.facts.posture_s += 1_000_000;
    observed.facts.evidence_s = None;
    observed.facts.outbox_kib = u64::MAX;
    observed.facts.fetch_rate = None;
    observed.facts.metered = OnMetered::Always;
    let radio = Adapter {
        path: "/org/bluez/hci0".into(),
        powered: true,
        discoverable: true,
        pairable: false,
    };
    observed.facts.adapters = Some(vec![radio]);
    for read in observed.facts.sensors.values_mut() {
        read.interval_ms += 1;
        read.silent_min += 1;
        read.least_grade = Some(Grade::Unverified);
    }
    for name in [
        "usb",
        "listening",
        "intervals/posture",
        "intervals/evidence",
        "retention/outbox",
        "updates/rate",
        "updates/metered",
        "bluetooth",
    ] {
        assert_eq!(standing(&observed, name), Standing::Drifted, "{name}");
    }
    for point in policy.points() {
        let name = point.id.to_string();
        if name.starts_with("polling/") || name.starts_with("thresholds/") {
            assert_eq!(standing(&observed, &name), Standing::Drifted, "{name}");
        }
    }
    observed.facts.adapters = None;
    observed.facts.guarded.clear();
    observed.facts.usb = None;
    observed.facts.listening = None;
    let write = format!(
        "modbus-writes/{}",
        policy.modbus_writes.as_ref().expect("ruled").allow[0].sensor
    );
    for name in ["bluetooth", "usb", "listening", &write] {
        let is = standing(&observed, name);
        assert!(matches!(is, Standing::NotEnforceableHere(_)), "{name}: {is:?}");
    }
}

#[test]
fn a_radio_that_reads_sensors_is_not_switched_off_and_that_is_said() {
    let mut policy = policy();
    let rule = policy.bluetooth.as_mut().expect("ruled");
    rule.mode = RadioMode::Off;
    let (mut observed, table) = good(&policy);
    observed.facts.reads_bluetooth = true;
    let points = policy.points();
    let point = points
        .iter()
        .find(|point| point.id.rule() == Rule::Bluetooth)
        .expect("a point");
    let found = find(point, &policy, Some(&table), &observed);
    assert!(
        matches!(found.standing, Standing::NotEnforceableHere(_)),
        "{found:?}"
    );
}
