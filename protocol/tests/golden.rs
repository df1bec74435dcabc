//! The wire as it was promised: one file a message and version.
//!
//! A file is added, never changed: agents in homes speak what is in them for years. `NAME.cbor` (or `.txt` for what
//! travels as text) is what travels, `NAME.cbor.txt` the same for people. `HOMEWARD_GOLDEN=write` writes files that are
//! missing, and only those.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests read files and one switch from the environment"
)]

use std::collections::BTreeSet;
use std::fmt::{Debug, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

use homeward_protocol::ack::{Ack, Next};
use homeward_protocol::alarm::{Alarm, Condition};
use homeward_protocol::attest::{Ask, Challenge, Held, Nonce, Notice, Tier, Trust};
use homeward_protocol::bond::{Bond, KeyClass};
use homeward_protocol::claim::{Claim, Code, Pin, ServerInfo};
use homeward_protocol::envelope::{ChainHash, Entry, Envelope, Item, Lane, LossCause, Lost, MAX_ENVELOPE};
use homeward_protocol::evidence::bundle::{Bundle, Register, Tail, TpmPart};
use homeward_protocol::evidence::{ChainEnd, Component, Evidence, Measured, Profile};
use homeward_protocol::grade::{Grade, Reason};
use homeward_protocol::guard::{Outcome, Why, WriteAttempt};
use homeward_protocol::id::{Epoch, GatewayId, Seq};
use homeward_protocol::link::{Cause, Outage};
use homeward_protocol::policy::check::check;
use homeward_protocol::policy::isolation::{IsolationOrder, Ordered};
use homeward_protocol::policy::moment::Moment;
use homeward_protocol::policy::network::Protocol;
use homeward_protocol::policy::sign::{
    Floor, Ground, Keyring, Offer, PolicyMark, Refusal, Review, SecondPerson, SignedDigest, SigningKey,
    accept,
};
use homeward_protocol::policy::state::{
    Basis, Isolation, Phase, PointState, PolicyState, Refused, ReturnCause, Returned, Standing, StoppedFlow,
    StoppedFlows,
};
use homeward_protocol::policy::{MAX_POLICY, Policy, PolicyVersion};
use homeward_protocol::posture::fact::{self, Fact, FactId, Value as Fact1, What, Why as Unknown};
use homeward_protocol::posture::facts::{FactReport, FactSet, Still};
use homeward_protocol::posture::inventory::{
    self, Component as Software, Inventory, Kind as SoftwareKind, Piece, Word,
};
use homeward_protocol::posture::{
    Clock, Disk, KeyFacts, KeyPlace, PostureReport, Sealing, SensorHeard, ShortText,
};
use homeward_protocol::postures::{Link, Occasion, START, TpmClock, after};
use homeward_protocol::quiet::QuietOrder;
use homeward_protocol::reading::{Details, Kind, Mark, Quality, Reading, SensorClock, Sent, State, Value};
use homeward_protocol::release::Installer;
use homeward_protocol::release::dossier::{self, Dossier};
use homeward_protocol::release::force::{
    self, Force, ForceNumber, MAX_FORCE, Overrule, Overrules, Refusal as ForceRefusal,
};
use homeward_protocol::release::notes::{self, Notes};
use homeward_protocol::release::state::{
    Can, Ended, ForceStanding, ForceTold, ForceWords, Met, Offer as Offered, Outcome as HowEnded, Progress,
    Undecided, UpdateMark, UpdateState,
};
use homeward_protocol::signed::{PublicKey, Signed, Signer};
use homeward_protocol::support::{
    Became, EndCause, Ended as SupportEnded, Moved, Refusal as SupportRefusal, Session, SessionNumber,
    SupportOrder, SupportRecord,
};
use homeward_protocol::time::{ClockTrust, Timestamp, Uptime};
use homeward_protocol::topic::{Filter, Topic};
use homeward_protocol::trust::TrustMark;
use homeward_protocol::unit::{Decimal, Unit};
use homeward_protocol::watch::{DeviceFacts, Finding, Suspicion, WatchReport};
use homeward_protocol::wire::{self, Bytes};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

const AT: Timestamp = Timestamp::synced(1_795_000_000_123);

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn writing() -> bool {
    std::env::var("HOMEWARD_GOLDEN").is_ok_and(|v| v == "write")
}

/// What the file holds; written first when it is missing and that was asked for.
fn kept(name: &str, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let file = golden(name);
    if !file.exists() && writing() {
        fs::write(&file, make()).expect("the golden folder can be written");
    }
    fs::read(&file).unwrap_or_else(|e| panic!("{name}: {e}; HOMEWARD_GOLDEN=write makes it"))
}

fn is_cbor(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e == "cbor")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}

fn for_people(bytes: &[u8], value: &impl Debug) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        text.push_str(&hex(line));
        text.push('\n');
    }
    let _ = writeln!(text, "\n{value:#?}");
    text
}

/// `value` encodes to the file and the file decodes to `value`.
fn holds<T: PartialEq + Debug>(
    name: &str,
    value: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> T,
) {
    let bytes = kept(name, || encode(value));
    assert_eq!(&decode(&bytes), value, "{name} reads differently");
    assert_eq!(encode(value), bytes, "{name} would be written differently");
    if is_cbor(name) {
        let page = kept(&format!("{name}.txt"), || for_people(&bytes, value).into_bytes());
        let hex = String::from_utf8_lossy(&page)
            .split("\n\n")
            .next()
            .unwrap_or_default()
            .replace('\n', "");
        let same = for_people(&bytes, value)
            .split("\n\n")
            .next()
            .unwrap_or_default()
            .replace('\n', "");
        assert_eq!(hex, same, "{name}.txt shows other bytes");
    }
}

fn text_holds<T>(name: &str, value: &T)
where
    T: PartialEq + Debug + ToString + std::str::FromStr<Err: Debug>,
{
    holds(
        name,
        value,
        |v| format!("{}\n", v.to_string()).into_bytes(),
        |b| {
            std::str::from_utf8(b)
                .expect("text")
                .trim_end()
                .parse()
                .expect("reads")
        },
    );
}

fn gateway() -> GatewayId {
    "gw-7f3k".parse().expect("an id")
}

fn reading(kind: Kind, value: Value) -> Item {
    Item::Reading(Reading {
        sensor: "freezer-1".parse().expect("an id"),
        kind,
        value,
        taken_at: AT,
        quality: Quality::Good,
        grade: Grade::Associated,
        details: Details::default(),
    })
}

/// A cuff that sends kilopascals and its own time, measured before the box could reach it.
fn converted() -> Item {
    Item::Reading(Reading {
        sensor: "cuff".parse().expect("an id"),
        kind: Kind::SystolicPressure,
        value: Value::Number(Decimal::new(1200, -1).expect("in range")),
        taken_at: AT,
        quality: Quality::Doubtful,
        grade: Grade::Associated,
        details: Details {
            reasons: vec![Reason::LegacyBond, Reason::GatewayUnjudged],
            marks: vec![Mark::FromStorage, Mark::Moved, Mark::IrregularPulse],
            sensor_clock: Some(SensorClock {
                at_ms: 1_794_996_400_000,
                ahead_ms: Some(-3_600_123),
            }),
            sent: Some(Sent {
                value: Decimal::new(160, -1).expect("in range"),
                unit: Unit::Kilopascal,
            }),
        },
    })
}

/// Every reason and every mark by the name it travels under.
fn all_reasons_and_marks() -> Item {
    Item::Reading(Reading {
        sensor: "cuff".parse().expect("an id"),
        kind: Kind::PulseRate,
        value: Value::Absent,
        taken_at: AT,
        quality: Quality::Doubtful,
        grade: Grade::Unverified,
        details: Details {
            reasons: Reason::ALL[..12].to_vec(),
            marks: Mark::ALL.to_vec(),
            sensor_clock: Some(SensorClock {
                at_ms: 0,
                ahead_ms: None,
            }),
            sent: None,
        },
    })
}

/// The reasons that came after the others.
fn because(reason: Reason) -> Item {
    let Item::Reading(reading) = reading(Kind::Door, Value::State(State::Open)) else {
        unreachable!("a reading")
    };
    Item::Reading(Reading {
        details: Details {
            reasons: vec![reason],
            ..Details::default()
        },
        ..reading
    })
}

fn posture() -> PostureReport {
    let heard = |sensor: &str, last_heard, failures, last_error| SensorHeard {
        sensor: String::from(sensor).try_into().expect("an id"),
        profile: ShortText::cut("example-freezer"),
        last_heard,
        interval_s: 60,
        failures,
        last_error,
    };
    PostureReport {
        taken_at: AT,
        agent: ShortText::cut("0.1.0"),
        os: ShortText::cut("Debian GNU/Linux 12 (bookworm)"),
        kernel: ShortText::cut("6.1.0-40-amd64"),
        uptime: Uptime(86_400_000),
        boot: "3e1c7c52-1f0e-4d52-9f0e-0d6c3a1f9b11".parse().expect("an id"),
        disk: Disk {
            total_bytes: 8_000_000_000,
            free_bytes: 5_000_000_000,
            outbox_bytes: 1_048_576,
        },
        clock: Clock {
            trust: ClockTrust::Synced,
            error_ms: Some(4),
        },
        sensors: vec![
            heard("freezer-1", Some(AT), 0, None),
            heard("ups", None, 3, Some(ShortText::cut("no answer within 1 s"))),
        ],
        trust: None,
        key: None,
    }
}

fn watch() -> WatchReport {
    let device = |sensor: &str, address: &str, bond, firmware, battery| DeviceFacts {
        sensor: sensor.parse().expect("an id"),
        address: address.parse().expect("an address"),
        bond,
        associated_at: AT,
        firmware,
        battery,
    };
    let bond = Bond {
        class: KeyClass::SecureAuthenticated,
        key_size: 16,
    };
    WatchReport {
        taken_at: AT,
        findings: vec![
            Finding {
                suspicion: Suspicion::Frozen,
                sensor: Some("glucose".parse().expect("an id")),
                address: None,
                since: AT,
                said: ShortText::cut("the same value 13 times in 60 minutes"),
            },
            Finding {
                suspicion: Suspicion::ScannerStopped,
                sensor: None,
                address: None,
                since: AT,
                said: ShortText::cut("nothing was heard for 30 minutes"),
            },
        ],
        more: 2,
        devices: vec![
            device(
                "cuff",
                "C1:00:00:00:0A:01",
                Some(bond),
                Some(ShortText::cut("1.2.3")),
                Some(87),
            ),
            device("scale", "C1:00:00:00:0A:02", None, None, None),
        ],
    }
}

fn stranger() -> WatchReport {
    let finding = Finding {
        suspicion: Suspicion::LookAlike,
        sensor: Some("cuff".parse().expect("an id")),
        address: Some("C1:00:00:00:0A:0F".parse().expect("an address")),
        since: AT,
        said: ShortText::cut("a second device with its name and services"),
    };
    WatchReport {
        findings: vec![finding],
        more: 0,
        devices: Vec::new(),
        ..watch()
    }
}

fn mark() -> PolicyMark {
    PolicyMark {
        version: PolicyVersion(7),
        digest: SignedDigest([0x7d; 32]),
    }
}

fn no_policy() -> PolicyState {
    PolicyState {
        taken_at: AT,
        basis: Basis::Nothing,
        policy: None,
        keyring: 0,
        phase: Phase::Settled,
        refused: None,
        returned: None,
        isolation: None,
        points: Vec::new(),
        more: 0,
    }
}

fn policy_state() -> PolicyState {
    let said = ShortText::cut;
    let point = |point: &str, applied: Option<&str>, observed: Option<&str>, standing| PointState {
        point: point.parse().expect("a point"),
        hazard: "h-3".parse().expect("an id"),
        wanted: said("no"),
        applied: applied.map(said),
        observed: observed.map(said),
        standing,
        since: AT,
    };
    let points = vec![
        point("sshd/password-login", Some("no"), Some("yes"), Standing::Drifted),
        point(
            "usb",
            None,
            None,
            Standing::NotEnforceableHere(said("no USB here")),
        ),
        point(
            "outbound/others",
            None,
            None,
            Standing::Failed(said("nft is not installed")),
        ),
        point("outbound/flow/ntp", Some("no"), Some("no"), Standing::Holds),
    ];
    PolicyState {
        basis: Basis::StrictAfterExpiry,
        policy: Some(mark()),
        keyring: 2,
        phase: Phase::Confirming,
        refused: Some(Refused {
            mark: Some(mark()),
            why: Refusal::Older,
            at: AT,
        }),
        returned: Some(Returned {
            from: mark(),
            cause: ReturnCause::StepFailed(said("no room on the disk")),
            at: AT,
        }),
        isolation: Some(Isolation {
            order: 12,
            ordered: Ordered::Isolate,
            since: Some(AT),
        }),
        points,
        more: 3,
        ..no_policy()
    }
}

fn no_update() -> UpdateState {
    UpdateState {
        runs: "1.3.0".parse().expect("a version"),
        packaged: true,
        build: None,
        now: None,
        ended: None,
        installers: Vec::new(),
        undecided: None,
        met: None,
        quiet: None,
        beside: Vec::new(),
        forces: Vec::new(),
        taken_at: Timestamp::synced(1_767_225_600_000),
    }
}

fn update_built() -> UpdateState {
    UpdateState {
        build: Some(SignedDigest([7; 32])),
        ..no_update()
    }
}

fn update_met() -> UpdateState {
    UpdateState {
        met: Some(Met {
            sensor: "pump".parse().expect("an id"),
            at: Timestamp::synced(1_767_225_500_000),
        }),
        ..no_update()
    }
}

fn update_paused() -> UpdateState {
    let why = ShortText::cut("the link costs by the byte, and over such a one nothing is fetched");
    let (have, of) = (70_000, 5_200_000);
    UpdateState {
        now: update_state()
            .now
            .map(|(mark, _)| (mark, Progress::Paused { have, of, why })),
        ..no_update()
    }
}

fn update_state() -> UpdateState {
    let mark = UpdateMark {
        counter: 7,
        installer: Installer::AgentSlot,
        version: "1.4.0".parse().expect("a version"),
    };
    let until = Timestamp::synced(1_767_227_400_000);
    let missing = vec![ShortText::cut("cuff was heard before, and was not since")];
    UpdateState {
        packaged: false,
        now: Some((mark, Progress::OnTrial { until, missing })),
        ended: Some(Ended {
            counter: Some(6),
            outcome: HowEnded::NotProven(ShortText::cut("the server was not reached since")),
            at: Timestamp::synced(1_767_139_200_000),
        }),
        ..no_update()
    }
}

fn update_offers() -> UpdateState {
    let offer = |installer, can| Offered { installer, can };
    UpdateState {
        installers: vec![
            offer(Installer::Apt, Can::Yes("2026.7.1".parse().expect("a version"))),
            offer(
                Installer::Rauc,
                Can::No(ShortText::cut("no service of RAUC answers")),
            ),
        ],
        beside: vec![ShortText::cut("unattended-upgrades installs by itself")],
        ended: Some(Ended {
            counter: Some(8),
            outcome: HowEnded::Stays(ShortText::cut("hw-base is half configured")),
            at: Timestamp::synced(1_767_139_200_000),
        }),
        ..no_update()
    }
}

fn update_undecided() -> UpdateState {
    UpdateState {
        undecided: Some(Box::new(Undecided {
            why: ShortText::cut(
                "the repository is not believed: timestamp version 3 expired on 2026-01-01T00:00:00Z",
            ),
            since: Timestamp::synced(1_767_225_600_000),
        })),
        ..no_update()
    }
}

fn update_fetching() -> UpdateState {
    let mark = update_state().now.map(|(mark, _)| mark);
    let progress = Progress::Fetching {
        have: 0,
        of: 9_437_184,
        why: Some(ShortText::cut("the repository does not have it")),
    };
    UpdateState {
        now: mark.map(|mark| (mark, progress)),
        ..no_update()
    }
}

fn force() -> Force {
    Force {
        number: ForceNumber(4),
        gateway: gateway(),
        assignment: 7,
        path: "agent/1.4.0/x86_64/homeward-agent".to_owned(),
        sha256: SignedDigest([0x5a; 32]),
        overrules: Overrules::of(Overrule::ALL).expect("all"),
        reason: ShortText::cut("the hole in 1.3.0 is being used in the district"),
        not_before: Moment::from_secs(1_795_000_000),
        until: Moment::from_secs(1_795_086_400),
    }
}

fn update_forced() -> UpdateState {
    let words = ForceWords {
        number: force().number,
        author: ShortText::cut("ann"),
        reviewer: ShortText::cut("ben"),
        overrules: force().overrules,
        reason: force().reason,
        until: force().until,
    };
    let told = |words, stands| ForceTold {
        digest: SignedDigest([7; 32]),
        words,
        stands,
    };
    let what = vec![ShortText::cut("nurse asked for quiet")];
    let refused = ForceStanding::Refused(ForceRefusal::Unsigned(Refusal::SamePerson));
    UpdateState {
        forces: vec![told(Some(words), ForceStanding::Used(what)), told(None, refused)],
        ..no_update()
    }
}

#[test]
fn each_standing_of_an_order_to_force_keeps_its_bytes() {
    let all = [
        ForceStanding::NotYet,
        ForceStanding::NoTime,
        ForceStanding::InEffect,
        ForceStanding::Used(Vec::new()),
        ForceStanding::Ended,
        ForceStanding::Refused(ForceRefusal::OtherGateway),
        ForceStanding::Refused(ForceRefusal::OtherUpdate),
        ForceStanding::Refused(ForceRefusal::Over),
        ForceStanding::Refused(ForceRefusal::Older),
        ForceStanding::Refused(ForceRefusal::Begun),
    ];
    let encode = |all: &Vec<ForceStanding>| wire::encode(all, 1024).expect("encodes");
    holds("force-1-standings.cbor", &all.to_vec(), encode, |b| {
        wire::decode(b, 1024).expect("decodes")
    });
}

/// As [`an_offer_of_the_first_version_is_accepted`], for an order to force.
#[test]
fn an_order_to_force_of_the_first_version_is_accepted() {
    let encode = |force: &Force| wire::encode(force, MAX_FORCE).expect("encodes");
    holds("force-1.cbor", &force(), encode, |b| {
        wire::decode(b, MAX_FORCE).expect("decodes")
    });
    let (name, root) = ("force-offer-1.cbor", "force-offer-1.point");
    assert_eq!(golden(name).exists(), golden(root).exists(), "the pair was torn");
    let (root_key, author, reviewer) = (new_key(), new_key(), new_key());
    let signing = |key: &Key, name: &str| SigningKey {
        name: ShortText::cut(name),
        key: PublicKey::from_point(key.0.public_key().as_ref()).expect("a point"),
    };
    let bytes = kept(name, || {
        let keyring = keyring(vec![signing(&author, "ann")], vec![signing(&reviewer, "ben")]);
        let signed = Signed::seal(&force(), &author).expect("seals");
        let review = force::Review {
            force: SignedDigest::of(&signed),
            number: ForceNumber(4),
            at: Moment::from_secs(1_795_000_100),
        };
        let offer = force::Offer {
            keyring: Bytes(Signed::seal(&keyring, &root_key).expect("seals")),
            force: Bytes(signed),
            review: Bytes(Signed::seal(&review, &reviewer).expect("seals")),
        };
        offer.encode().expect("encodes")
    });
    let point = kept(root, || root_key.0.public_key().as_ref().to_vec());
    let offer = force::Offer::decode(&bytes).expect("reads");
    let root = PublicKey::from_point(&point).expect("a point");
    let ground = Ground {
        gateway: &gateway(),
        roots: std::slice::from_ref(&root),
        floor: Floor::default(),
        now: Timestamp::synced(1_795_000_200_000),
    };
    let accepted = force::accept(&offer, ground).expect("is accepted");
    assert_eq!(accepted.order(), &force());
    assert_eq!(accepted.people().1.as_str(), "ben");
    assert_eq!(offer.encode().expect("encodes"), bytes);
}

fn stopped() -> StoppedFlows {
    let flow = |point: &str, who: &str, peer: &str, protocol, port| StoppedFlow {
        point: point.parse().expect("a point"),
        who: ShortText::cut(who),
        peer: peer.parse().expect("an address"),
        protocol,
        port,
    };
    StoppedFlows {
        taken_at: AT,
        flows: vec![
            flow(
                "devices/others",
                "monitor",
                "198.51.100.7",
                Some(Protocol::Tcp),
                515,
            ),
            flow(
                "outbound/others",
                "user 1000",
                "2001:db8::7",
                Some(Protocol::Udp),
                53,
            ),
            flow("inbound/others", "192.0.2.9", "192.0.2.1", None, 0),
        ],
        more: 1,
    }
}

/// A document with every rule, as an operator writes it.
const DOCUMENT: &str = include_str!("policies/every-rule.toml");

/// A rule that came later.
const UPDATES: &str = concat!(
    include_str!("policies/every-rule.toml"),
    include_str!("policies/updates.toml")
);

fn policy() -> Policy {
    document(DOCUMENT)
}

fn document(text: &str) -> Policy {
    let checked = check(text);
    checked
        .policy
        .unwrap_or_else(|| panic!("{:#?}", checked.findings))
}

fn keyring(authors: Vec<SigningKey>, reviewers: Vec<SigningKey>) -> Keyring {
    Keyring {
        version: 2,
        issued: Moment::from_secs(1_795_000_000),
        expires: Moment::from_secs(1_895_000_000),
        authors,
        reviewers,
        second_person: SecondPerson::Required,
    }
}

#[test]
fn policies_keep_their_bytes_and_points_their_names() {
    let encode = |p: &Policy| wire::encode(p, MAX_POLICY).expect("encodes");
    holds("policy-1.cbor", &policy(), encode, |b| {
        wire::decode(b, MAX_POLICY).expect("decodes")
    });
    holds("policy-1-updates.cbor", &document(UPDATES), encode, |b| {
        wire::decode(b, MAX_POLICY).expect("decodes")
    });
    let mut text = String::new();
    for point in policy().points() {
        let _ = writeln!(text, "{} ({}): {}", point.id, point.hazard, point.wanted);
    }
    let kept = kept("policy-1-points.txt", || text.clone().into_bytes());
    assert_eq!(String::from_utf8_lossy(&kept), text);
    let orders = [
        ("isolation-1-isolate.cbor", Ordered::Isolate),
        ("isolation-1-lift.cbor", Ordered::Lift),
    ];
    for (name, ordered) in orders {
        let order = IsolationOrder {
            order: 12,
            ordered,
            reason: ShortText::cut("a stranger's device speaks through it"),
            at: AT,
        };
        let encode = |o: &IsolationOrder| o.encode().expect("encodes");
        holds(name, &order, encode, |b| {
            IsolationOrder::decode(b).expect("decodes")
        });
    }
    let mut words = String::new();
    for refusal in Refusal::ALL {
        let _ = writeln!(words, "{refusal:?}: {refusal}");
    }
    let kept = self::kept("refusals-1.txt", || words.clone().into_bytes());
    assert_eq!(String::from_utf8_lossy(&kept), words);
}

#[test]
fn a_wish_for_quiet_keeps_its_bytes() {
    for (name, left_s) in [("quiet-1-wish.cbor", 4 * 3_600), ("quiet-1-end.cbor", 0)] {
        let order = QuietOrder {
            order: 1_795_000_000_007,
            left_s,
            by: ShortText::cut("nina"),
            reason: ShortText::cut("dialysis at home"),
        };
        let encode = |o: &QuietOrder| o.encode().expect("encodes");
        holds(name, &order, encode, |b| QuietOrder::decode(b).expect("decodes"));
    }
}

/// As [`a_signature_of_the_first_version_verifies`], for three people.
#[test]
fn an_offer_of_the_first_version_is_accepted() {
    let name = "policy-offer-1.cbor";
    let root = "policy-offer-1.point";
    assert_eq!(golden(name).exists(), golden(root).exists(), "the pair was torn");
    let (root_key, author, reviewer) = (new_key(), new_key(), new_key());
    let signing = |key: &Key, name: &str| SigningKey {
        name: ShortText::cut(name),
        key: PublicKey::from_point(key.0.public_key().as_ref()).expect("a point"),
    };
    let bytes = kept(name, || {
        let keyring = keyring(vec![signing(&author, "ann")], vec![signing(&reviewer, "ben")]);
        let policy = Signed::seal(&policy(), &author).expect("seals");
        let review = Review {
            policy: SignedDigest::of(&policy),
            version: PolicyVersion(7),
            at: Moment::from_secs(1_795_000_100),
        };
        let offer = Offer {
            keyring: Bytes(Signed::seal(&keyring, &root_key).expect("seals")),
            policy: Bytes(policy),
            review: Some(Bytes(Signed::seal(&review, &reviewer).expect("seals"))),
            groups: vec!["ring-1".parse().expect("an id")],
        };
        offer.encode().expect("encodes")
    });
    let point = kept(root, || root_key.0.public_key().as_ref().to_vec());
    let offer = Offer::decode(&bytes).expect("reads");
    let root = PublicKey::from_point(&point).expect("a point");
    let ground = Ground {
        gateway: &gateway(),
        roots: std::slice::from_ref(&root),
        floor: Floor::default(),
        now: Timestamp::synced(1_795_000_200_000),
    };
    let accepted = accept(&offer, ground).expect("is accepted");
    assert_eq!(accepted.policy.get(), &policy());
    assert_eq!(accepted.reviewer.as_ref().map(ShortText::as_str), Some("ben"));
    assert_eq!(offer.encode().expect("encodes"), bytes);
}

fn new_key() -> Key {
    let rng = SystemRandom::new();
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).expect("a key");
    Key(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &rng).expect("a key"))
}

/// Every name, and every kind of value in turn.
fn every_fact() -> FactSet {
    let values = [
        Fact1::Flag(true),
        Fact1::Count(24),
        fact::text("sshd"),
        Fact1::list(["nosuid", "nodev"]),
        Fact1::Bytes(8_589_934_592),
        Fact1::Percent(42),
        Fact1::MilliCelsius(-1500),
        Fact1::Millis(-12),
        Fact1::Moment(1_795_000_000_000),
        Fact1::Unknown(Unknown::NotThere),
        Fact1::Unknown(Unknown::NeedsRights),
        Fact1::Unknown(Unknown::Failed),
        Fact1::Unknown(Unknown::TimedOut),
    ];
    let fact = |(what, value): (&What, &Fact1)| {
        let id = match what {
            What::Listen => FactId::about(*what, "tcp/0.0.0.0:22"),
            _ => FactId::of(*what),
        };
        Fact::new(id, value.clone(), "/etc/os-release", AT)
    };
    FactSet::new(What::ALL.iter().zip(values.iter().cycle()).map(fact))
}

fn facts_since() -> FactReport {
    let base = every_fact();
    let mut now: Vec<Fact> = base
        .facts()
        .filter(|f| f.id.what() != What::Swap)
        .cloned()
        .collect();
    now[0].value = fact::text("Debian GNU/Linux 13 (trixie)");
    FactSet::new(now).since(8, (7, &base), AT)
}

fn inventory_list() -> Inventory {
    let word = |text: &str| text.parse::<Word>().expect("a word");
    let component = |(kind, name): (SoftwareKind, &str)| Software {
        kind,
        name: word(name),
        version: word("1:2.36-9+deb12u14"),
        arch: Some(word("arm64")),
        origin: Some((word("glibc"), word("2.36-9+deb12u14"))),
    };
    let all = [
        (SoftwareKind::Deb, "libc6"),
        (SoftwareKind::Rpm, "glibc"),
        (SoftwareKind::Ipk, "libc"),
        (SoftwareKind::Apk, "musl"),
        (SoftwareKind::Program, "homeward-agent"),
        (SoftwareKind::Crate, "ring"),
    ];
    Inventory::new((word("debian"), Some(word("12"))), all.map(component).to_vec())
}

fn software() -> Piece {
    let bytes = inventory_list().encode().expect("a list encodes");
    inventory::pieces(&bytes).remove(0)
}

fn support_session() -> Session {
    Session {
        session: SessionNumber(1_795_000_000_000),
        ticket: ShortText::cut("INC-4711"),
        by: ShortText::cut("olga"),
        reason: ShortText::cut("the scale reports nothing"),
        port: 22,
        lasts_s: 900,
    }
}

fn support(became: Became) -> Item {
    Item::Support(Box::new(SupportRecord {
        of: support_session(),
        became,
        at: AT,
    }))
}

fn ended() -> SupportEnded {
    SupportEnded {
        cause: EndCause::Expired,
        lasted_s: Some(900),
        moved: Some(Moved {
            links: 2,
            in_bytes: 4_096,
            out_bytes: 65_536,
        }),
    }
}

fn support_items() -> [(&'static str, Item); 3] {
    [
        (
            "item-1-support-refused.cbor",
            support(Became::Refused(SupportRefusal::Port)),
        ),
        ("item-1-support-opened.cbor", support(Became::Opened)),
        ("item-1-support-ended.cbor", support(Became::Ended(ended()))),
    ]
}

#[test]
fn orders_of_support_keep_their_bytes() {
    let orders = [
        ("support-1-open.cbor", SupportOrder::Open(support_session())),
        (
            "support-1-end.cbor",
            SupportOrder::End(SessionNumber(1_795_000_000_000)),
        ),
    ];
    for (name, order) in orders {
        let encode = |o: &SupportOrder| o.encode().expect("encodes");
        holds(name, &order, encode, |b| {
            SupportOrder::decode(b).expect("decodes")
        });
    }
    let mut words = String::new();
    for refusal in SupportRefusal::ALL {
        let _ = writeln!(words, "{}: {refusal}", refusal.name());
    }
    for cause in EndCause::ALL {
        let _ = writeln!(words, "{}: {cause}", cause.name());
    }
    let kept = self::kept("support-words-1.txt", || words.clone().into_bytes());
    assert_eq!(String::from_utf8_lossy(&kept), words);
}

fn update_items() -> Vec<(&'static str, Item)> {
    vec![
        ("item-1-update.cbor", Item::Update(Box::new(update_state()))),
        ("item-1-update-none.cbor", Item::Update(Box::new(no_update()))),
        ("item-1-update-built.cbor", Item::Update(Box::new(update_built()))),
        ("item-1-update-met.cbor", Item::Update(Box::new(update_met()))),
        (
            "item-1-update-paused.cbor",
            Item::Update(Box::new(update_paused())),
        ),
        (
            "item-1-update-offers.cbor",
            Item::Update(Box::new(update_offers())),
        ),
        (
            "item-1-update-fetching.cbor",
            Item::Update(Box::new(update_fetching())),
        ),
        (
            "item-1-update-forced.cbor",
            Item::Update(Box::new(update_forced())),
        ),
        (
            "item-1-update-undecided.cbor",
            Item::Update(Box::new(update_undecided())),
        ),
        ("item-1-update-quiet.cbor", Item::Update(Box::new(update_quiet()))),
    ]
}

fn update_quiet() -> UpdateState {
    UpdateState {
        quiet: Some(1_795_000_000_007),
        ..no_update()
    }
}

fn items() -> Vec<(&'static str, Item)> {
    let floor = Timestamp {
        ms: 1_790_000_000_000,
        trust: ClockTrust::Floor,
    };
    let unsynced = Timestamp {
        ms: 1_795_000_060_000,
        trust: ClockTrust::Unsynced,
    };
    let number = Decimal::new(-805, -1).expect("in range");
    vec![
        (
            "item-1-reading-number.cbor",
            reading(Kind::StorageTemperature, Value::Number(number)),
        ),
        (
            "item-1-reading-state.cbor",
            reading(Kind::Door, Value::State(State::Open)),
        ),
        (
            "item-1-reading-absent.cbor",
            reading(Kind::BatteryCharge, Value::Absent),
        ),
        ("item-1-reading-details.cbor", converted()),
        ("item-1-reading-all-reasons.cbor", all_reasons_and_marks()),
        ("item-1-reading-unproven.cbor", because(Reason::GatewayUnproven)),
        ("item-1-proof.cbor", Item::Proof(Bytes(vec![0xd2, 0x84]))),
        ("item-1-facts-full.cbor", Item::Facts(every_fact().full(7, AT))),
        ("item-1-facts-since.cbor", Item::Facts(facts_since())),
        ("item-1-software.cbor", Item::Software(software())),
        ("item-1-posture.cbor", Item::Posture(posture())),
        (
            "item-1-posture-trust.cbor",
            Item::Posture(PostureReport {
                trust: Some(TrustMark::of(&[Pin([1; 32]), Pin([2; 32])])),
                ..posture()
            }),
        ),
        (
            "item-1-posture-key.cbor",
            Item::Posture(PostureReport {
                key: Some(KeyFacts {
                    place: KeyPlace::Spare,
                    sealed: Sealing::Machine,
                }),
                ..posture()
            }),
        ),
        ("item-1-reading-spare-key.cbor", because(Reason::SpareKey)),
        ("item-1-reading-below-policy.cbor", because(Reason::BelowPolicy)),
        (
            "item-1-alarm-tpm-silent.cbor",
            Item::Alarm(Alarm {
                condition: Condition::TpmSilent,
                sensor: None,
                active: true,
                at: AT,
            }),
        ),
        ("item-1-watch.cbor", Item::Watch(watch())),
        ("item-1-watch-stranger.cbor", Item::Watch(stranger())),
        ("item-1-policy.cbor", Item::Policy(Box::new(policy_state()))),
        ("item-1-policy-none.cbor", Item::Policy(Box::new(no_policy()))),
        ("item-1-stopped.cbor", Item::Stopped(stopped())),
        (
            "item-1-write-refused.cbor",
            Item::Write(WriteAttempt {
                sensor: "ups".parse().expect("an id"),
                at: AT,
                peer: ShortText::cut("monitor at 192.0.2.20"),
                unit: 1,
                function: 16,
                address: Some(1054),
                count: 2,
                outcome: Outcome::Refused(Why::Function),
                times: 3,
            }),
        ),
        (
            "item-1-alarm.cbor",
            Item::Alarm(Alarm {
                condition: Condition::SensorSilent,
                sensor: Some("ups".parse().expect("an id")),
                active: true,
                at: unsynced,
            }),
        ),
        (
            "item-1-outage.cbor",
            Item::Outage(Outage {
                from: floor,
                until: AT,
                cause: Cause::Unreachable,
            }),
        ),
    ]
}

fn envelope() -> Envelope {
    let epoch = Epoch(0x0123_4567_89ab_cdef);
    let body = |item: &Item| item.encode().expect("an item encodes");
    Envelope {
        gateway: gateway(),
        epoch,
        lane: Lane::Vital,
        oldest: Seq(40),
        first: Seq(41),
        prev: ChainHash::start(epoch, Lane::Vital).then(b"before"),
        sent_at: AT,
        entries: vec![
            Entry::Item(body(&reading(Kind::Door, Value::State(State::Closed)))),
            Entry::Lost(Lost {
                count: 12,
                cause: LossCause::Quota,
                head: ChainHash([0xab; 32]),
                at: AT,
            }),
            Entry::Item(Bytes(vec![0xf6])),
        ],
    }
}

fn claim() -> Claim {
    Claim {
        server: "fleet.example:8443".parse().expect("an endpoint"),
        pin: Pin::of_spki(b"a public key"),
        gateway: gateway(),
        code: Code::from_random([0x5a; 10]),
        expires: 1_795_604_800,
    }
}

#[test]
fn acknowledgements_keep_their_bytes() {
    for (name, next) in [
        ("ack-1-continue.cbor", Next::Continue),
        ("ack-1-new-epoch.cbor", Next::NewEpoch),
    ] {
        let ack = Ack {
            epoch: Epoch(u64::MAX),
            lane: Lane::Urgent,
            up_to: Seq(300),
            next,
        };
        holds(
            name,
            &ack,
            |a| a.encode().expect("encodes"),
            |b| Ack::decode(b).expect("decodes"),
        );
    }
}

#[test]
fn records_keep_their_bytes() {
    for (name, item) in items().into_iter().chain(support_items()).chain(update_items()) {
        let decode = |b: &[u8]| Item::decode(&Bytes(b.to_vec())).expect("decodes");
        holds(name, &item, |i| i.encode().expect("encodes").0, decode);
    }
}

#[test]
fn envelopes_keep_their_bytes() {
    let encode = |e: &Envelope| wire::encode(e, MAX_ENVELOPE).expect("encodes");
    holds("envelope-1.cbor", &envelope(), encode, |b| {
        wire::decode(b, MAX_ENVELOPE).expect("decodes")
    });
}

struct Key(EcdsaKeyPair);

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

/// A signature is different each time it is made, so the first one is kept with its public key and has to verify.
#[test]
fn a_signature_of_the_first_version_verifies() {
    let rng = SystemRandom::new();
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).expect("a key");
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &rng).expect("a key");
    let point = key.public_key().as_ref().to_vec();
    let both_missing =
        !golden("envelope-1-signed.cbor").exists() && !golden("envelope-1-signed.point").exists();
    assert!(
        both_missing || !writing() || golden("envelope-1-signed.point").exists(),
        "the pair was torn"
    );
    let bytes = kept("envelope-1-signed.cbor", || {
        Signed::seal(&envelope(), &Key(key)).expect("seals")
    });
    let point = kept("envelope-1-signed.point", || point);
    let public = PublicKey::from_point(&point).expect("a P-256 point");
    let signed = Signed::<Envelope>::parse(&bytes).expect("reads");
    assert_eq!(signed.verify(&public).expect("verifies").get(), &envelope());
}

#[test]
fn claims_keep_their_text() {
    text_holds("claim-1.txt", &claim());
    let json = |c: &Claim| serde_json::to_vec_pretty(c).expect("encodes");
    holds("claim-1.json", &claim(), json, |b| {
        std::str::from_utf8(b).expect("text").parse().expect("reads")
    });
    let info = ServerInfo {
        gate: "fleet.example:8883".parse().expect("an endpoint"),
        renewal: "[2001:db8::7]:8444".parse().expect("an endpoint"),
    };
    let json = |i: &ServerInfo| serde_json::to_vec_pretty(i).expect("encodes");
    holds("server-info-1.json", &info, json, |b| {
        serde_json::from_slice(b).expect("reads")
    });
}

#[test]
fn dossiers_keep_their_bytes() {
    let dossier = dossier::read(include_str!("dossiers/cuff.toml")).expect("a dossier");
    holds(
        "dossier-1.json",
        &dossier,
        |d| d.to_bytes().expect("encodes"),
        |b| Dossier::decode(b).expect("decodes"),
    );
}

#[test]
fn notes_keep_their_bytes() {
    let notes = notes::read(include_str!("notes/agent.toml")).expect("notes");
    holds(
        "notes-1.json",
        &notes,
        |n| serde_json::to_vec_pretty(&n.to_json()).expect("encodes"),
        |b| {
            let value = serde_json::from_slice(b).expect("JSON");
            Notes::of_target(Some(&value)).expect("reads").expect("notes")
        },
    );
}

#[test]
fn topics_keep_their_text() {
    for lane in Lane::ALL {
        text_holds(&format!("topic-1-up-{lane}.txt"), &Topic::Up(gateway(), lane));
    }
    text_holds("topic-1-up-still.txt", &Topic::Still(gateway()));
    text_holds("topic-1-ack.txt", &Topic::Ack(gateway()));
    text_holds("topic-1-up-evidence.txt", &Topic::Evidence(gateway()));
    text_holds("topic-1-up-ask.txt", &Topic::Ask(gateway()));
    text_holds("topic-1-challenge.txt", &Topic::Challenge(gateway()));
    text_holds("topic-1-verdict.txt", &Topic::Verdict(gateway()));
    text_holds("topic-1-policy.txt", &Topic::Policy(gateway()));
    text_holds("topic-1-isolation.txt", &Topic::Isolation(gateway()));
    text_holds("topic-1-assignment.txt", &Topic::Assignment(gateway()));
    text_holds("topic-1-force.txt", &Topic::Force(gateway()));
    text_holds("topic-1-support.txt", &Topic::Support(gateway()));
    text_holds("topic-1-hint.txt", &Topic::Hint(gateway()));
    text_holds("topic-1-fleet-notice.txt", &Topic::FleetNotice);
    text_holds("filter-1-down.txt", &Filter::Down(gateway()));
    text_holds("filter-1-acks.txt", &Filter::Acks(gateway()));
    text_holds("filter-1-fleet.txt", &Filter::Fleet);
}

#[test]
fn still_and_the_list_of_software_keep_their_bytes() {
    let mark = every_fact().mark();
    for (name, software) in [("still-1.cbor", Some(mark)), ("still-1-no-list.cbor", None)] {
        let still = Still {
            number: 8,
            mark,
            software,
        };
        let encode = |s: &Still| s.encode().expect("encodes");
        holds(name, &still, encode, |b| Still::decode(b).expect("decodes"));
    }
    let encode = |list: &Inventory| list.encode().expect("encodes");
    holds("inventory-1.cbor", &inventory_list(), encode, |b| {
        Inventory::decode(b).expect("decodes")
    });
}

#[test]
fn challenges_and_judgements_keep_their_bytes() {
    let held = Held {
        boot: Nonce([0x5b; 32]),
        log_bytes: 34_000,
        ima_entries: 12,
    };
    for (name, held) in [("challenge-1.cbor", None), ("challenge-1-held.cbor", Some(held))] {
        let challenge = Challenge {
            nonce: Nonce([0x4e; 32]),
            held,
        };
        let encode = |c: &Challenge| c.encode().expect("encodes");
        holds(name, &challenge, encode, |b| {
            Challenge::decode(b).expect("decodes")
        });
    }
    for trust in Trust::ALL {
        let notice = Notice {
            trust,
            tier: Tier::ALL[trust as usize % 4],
            issued_at: AT,
            expires_at: AT.plus_ms(129_600_000),
            quarantined: trust == Trust::Failed,
            said: vec![ShortText::cut(
                "the agent's program is not the one of its release",
            )],
        };
        let encode = |n: &Notice| n.encode().expect("encodes");
        let name = format!("notice-1-{}.cbor", trust.name());
        holds(&name, &notice, encode, |b| Notice::decode(b).expect("decodes"));
    }
    let words: Vec<&str> = Ask::ALL.iter().map(|ask| ask.name()).collect();
    let text = kept("ask-1.txt", || words.join("\n").into_bytes());
    assert_eq!(String::from_utf8_lossy(&text), words.join("\n"));
}

fn evidence() -> Evidence {
    let measured = |component| Measured {
        component,
        version: Some(ShortText::cut("1.2.3")),
        sha256: [0x5a; 32],
    };
    Evidence {
        issued_at_s: 1_795_000_000,
        key: [1; 32],
        nonce: [2; 32],
        box_id: [3; 16],
        uptime_s: 90,
        boot_count: 4,
        boot_seed: [5; 32],
        profile: Profile::Software,
        software: (ShortText::cut("homeward-agent"), ShortText::cut("0.1.0")),
        measured: Component::ALL.map(measured).to_vec(),
        postures: Some(ChainEnd {
            seq: 17,
            head: [6; 32],
        }),
    }
}

/// As [`a_signature_of_the_first_version_verifies`].
#[test]
fn evidence_of_the_first_version_verifies() {
    let rng = SystemRandom::new();
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).expect("a key");
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &rng).expect("a key");
    let point = key.public_key().as_ref().to_vec();
    let both = golden("evidence-1-signed.cbor").exists() == golden("evidence-1-signed.point").exists();
    assert!(both, "the pair was torn");
    let bytes = kept("evidence-1-signed.cbor", || {
        evidence().seal(&Key(key)).expect("seals")
    });
    let point = kept("evidence-1-signed.point", || point);
    let public = PublicKey::from_point(&point).expect("a P-256 point");
    let read = Evidence::verify(&bytes, &public).expect("verifies");
    assert_eq!(read.get(), &evidence());
}

/// The bytes that are signed; a signature over them is different each time.
#[test]
fn links_of_postures_keep_their_bytes() {
    let tpm = TpmClock {
        clock_ms: 86_400_000,
        resets: 3,
        restarts: 1,
        safe: false,
    };
    for (name, tpm) in [
        ("posture-link-1.cbor", None),
        ("posture-link-1-tpm.cbor", Some(tpm)),
    ] {
        let link = Link {
            seq: 17,
            prev: Nonce([1; 32]),
            boot_count: 4,
            boot_seed: Nonce([5; 32]),
            uptime_s: 90,
            at: AT,
            occasion: Occasion::Back,
            next_s: 3600,
            measured: Nonce([6; 32]),
            tpm,
        };
        let encode = |l: &Link| wire::encode(l, MAX_ENVELOPE).expect("encodes");
        holds(name, &link, encode, |b| {
            wire::decode(b, MAX_ENVELOPE).expect("decodes")
        });
    }
    let one = after(&START, b"one");
    let text = format!("{}\n{}\n", hex(&one.0), hex(&after(&one, b"two").0));
    let kept = kept("postures-1.txt", || text.clone().into_bytes());
    assert_eq!(String::from_utf8_lossy(&kept), text);
}

#[test]
fn bundles_keep_their_bytes() {
    let part = TpmPart {
        attest: Bytes(vec![1, 2]),
        signature: Bytes(vec![3]),
        registers: vec![Register {
            bank: 0x000b,
            index: 7,
            value: Bytes(vec![4; 32]),
        }],
        log: Some(Tail {
            from: 0,
            whole: 34_000,
            bytes: Bytes(vec![5; 3]),
        }),
        ima: None,
    };
    for (name, tpm) in [("bundle-1.cbor", None), ("bundle-1-tpm.cbor", Some(part))] {
        let bundle = Bundle {
            token: vec![0xd2, 0x84],
            tpm,
        };
        let encode = |b: &Bundle| b.encode().expect("encodes");
        holds(name, &bundle, encode, |b| Bundle::decode(b).expect("decodes"));
    }
}

/// The chain is in no message, but both sides compute it.
#[test]
fn chains_keep_their_hashes() {
    let mut text = String::new();
    for lane in Lane::ALL {
        let start = ChainHash::start(Epoch(7), lane);
        let one = start.then(b"one");
        for hash in [start, one, one.then(b"two")] {
            text.push_str(&hex(&hash.0));
            text.push('\n');
        }
    }
    let kept = kept("chain-1.txt", || text.clone().into_bytes());
    assert_eq!(String::from_utf8_lossy(&kept), text);
}

/// A file that no test reads promises nothing.
#[test]
fn every_file_is_somebodys() {
    let me = include_str!("golden.rs");
    let names = |name: &str| {
        let base = name
            .strip_suffix(".txt")
            .filter(|base| is_cbor(base))
            .unwrap_or(name);
        me.contains(base) || base.starts_with("topic-1-up-") || base.starts_with("notice-1-")
    };
    let files = fs::read_dir(golden("")).expect("the golden folder");
    let files: BTreeSet<String> = files
        .filter_map(|f| f.ok()?.file_name().into_string().ok())
        .filter(|f| !names(f))
        .collect();
    assert!(files.is_empty(), "nobody reads {files:?}");
}
