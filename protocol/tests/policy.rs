//! Policies: what the checker finds and where, what a difference says, and whom a box believes.

#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests read a file, and one switch from the environment"
)]

use homeward_protocol::id::{GatewayId, GroupId};
use homeward_protocol::policy::check::{Severity, check, faults};
use homeward_protocol::policy::diff::diff;
use homeward_protocol::policy::moment::Moment;
use homeward_protocol::policy::sign::{
    Floor, Ground, Keyring, Offer, PolicyMark, Refusal, Review, SecondPerson, SignedDigest, SigningKey,
    accept, kept,
};
use homeward_protocol::policy::{Audience, MAX_POLICY, Policy, PolicyVersion};
use homeward_protocol::posture::ShortText;
use homeward_protocol::signed::{PublicKey, Signed, Signer};
use homeward_protocol::time::{ClockTrust, Timestamp};
use homeward_protocol::wire::{self, Bytes};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

const DOCUMENT: &str = concat!(
    include_str!("policies/every-rule.toml"),
    include_str!("policies/updates.toml")
);
const DAY: i64 = 86_400_000;

fn policy() -> Policy {
    let checked = check(DOCUMENT);
    checked
        .policy
        .unwrap_or_else(|| panic!("{:#?}", checked.findings))
}

struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Key {
        let rng = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).expect("a key");
        Key(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &rng).expect("a key"))
    }

    fn public(&self) -> PublicKey {
        PublicKey::from_point(self.0.public_key().as_ref()).expect("a point")
    }

    fn named(&self, name: &str) -> SigningKey {
        SigningKey {
            name: ShortText::cut(name),
            key: self.public(),
        }
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

/// A fleet's people: a root, an author, a reviewer; and a server that was taken over.
struct House {
    root: Key,
    ann: Key,
    ben: Key,
    server: Key,
}

impl House {
    fn new() -> House {
        House {
            root: Key::new(),
            ann: Key::new(),
            ben: Key::new(),
            server: Key::new(),
        }
    }

    fn keyring(&self, version: u64) -> Keyring {
        Keyring {
            version,
            issued: policy().issued,
            expires: policy().expires,
            authors: vec![self.ann.named("ann")],
            reviewers: vec![self.ann.named("ann, too"), self.ben.named("ben")],
            second_person: SecondPerson::Required,
        }
    }

    fn offer(&self, policy: &Policy) -> Offer {
        offer(&self.keyring(1), &self.root, policy, &self.ann, Some(&self.ben))
    }

    fn asks(&self, offer: &Offer, floor: Floor, now: Timestamp) -> Result<PolicyMark, Refusal> {
        let gateway: GatewayId = "gw-1".parse().expect("an id");
        let root = self.root.public();
        let ground = Ground {
            gateway: &gateway,
            roots: std::slice::from_ref(&root),
            floor,
            now,
        };
        accept(offer, ground).map(|accepted| accepted.mark)
    }

    fn answer(&self, offer: &Offer) -> Result<PolicyMark, Refusal> {
        self.asks(offer, Floor::default(), noon())
    }
}

/// A day into the policy's life.
fn noon() -> Timestamp {
    Timestamp::synced(policy().issued.ms() + DAY)
}

fn ring() -> Vec<GroupId> {
    vec!["ring-1".parse().expect("an id")]
}

fn offer(keyring: &Keyring, root: &Key, policy: &Policy, author: &Key, reviewer: Option<&Key>) -> Offer {
    let policy_bytes = Signed::seal(policy, author).expect("seals");
    let review = Review {
        policy: SignedDigest::of(&policy_bytes),
        version: policy.version,
        at: policy.issued,
    };
    let review = reviewer.map(|key| Bytes(Signed::seal(&review, key).expect("seals")));
    Offer {
        keyring: Bytes(Signed::seal(keyring, root).expect("seals")),
        policy: Bytes(policy_bytes),
        review,
        groups: ring(),
    }
}

#[test]
fn the_example_is_without_errors_and_comes_back_from_the_wire() {
    let checked = check(DOCUMENT);
    assert!(
        checked.findings.iter().all(|f| f.severity == Severity::Warning),
        "{:#?}",
        checked.findings
    );
    let bytes = wire::encode(&policy(), MAX_POLICY).expect("encodes");
    assert_eq!(
        wire::decode::<Policy>(&bytes, MAX_POLICY).expect("decodes"),
        policy()
    );
}

#[test]
fn each_fault_is_found_where_it_stands() {
    let table: [(&str, &str, &str); 12] = [
        ("confirm_s = 240", "confirm_s = 5", "confirm_s"),
        ("version = 7", "version = 0", "version"),
        ("2027-05-18", "2026-05-18", "expires"),
        ("ports = [\"123\"]", "ports = []", "outbound.flow[0].ports"),
        (
            "address = \"10.20.0.8\"",
            "address = \"10.20.0.0/24\"",
            "devices.device[1].address",
        ),
        ("name = \"packages\"", "name = \"ntp\"", "outbound.flow"),
        (
            "functions = [6, 16]",
            "functions = [3]",
            "modbus_writes.allow[0].functions",
        ),
        ("max_auth_tries = 3", "max_auth_tries = 0", "sshd.max_auth_tries"),
        ("minutes = 180", "minutes = 5", "maintenance.window[0].minutes"),
        (
            "[inbound]\nhazard = \"h-3\"",
            "[inbound]\nhazard = \"h-9\"",
            "inbound.hazard",
        ),
        (
            "sources = [\"192.0.2.1\"]",
            "sources = [\"a b\"]",
            "time.sources[0]",
        ),
        (
            "ports = [\"22\"]\n\n[thresholds]",
            "ports = []\n\n[thresholds]",
            "support.ports",
        ),
    ];
    for (right, wrong, path) in table {
        assert!(DOCUMENT.contains(right), "{right}");
        let text = DOCUMENT.replacen(right, wrong, 1);
        let checked = check(&text);
        assert_eq!(checked.policy, None, "{path}");
        let found = checked
            .findings
            .iter()
            .find(|f| f.path == path && f.severity == Severity::Error);
        let found = found.unwrap_or_else(|| panic!("{path}: {:#?}", checked.findings));
        let line = text.lines().nth(found.line - 1).unwrap_or_default();
        let last = path
            .rsplit(['.', '['])
            .find(|part| !part.ends_with(']'))
            .unwrap_or_default();
        assert!(
            line.contains(last) || line.contains("[["),
            "{path} at {}: {line}",
            found.line
        );
    }
}

#[test]
fn what_the_reader_refuses_is_told_with_line_and_column() {
    for (right, wrong, line) in [
        ("confirm_s = 240", "confirm_z = 240", "confirm_z"),
        ("\"udp\"", "\"sctp\"", "sctp"),
        ("\"192.0.2.1\"", "\"192.0.2.1/8\"", "192.0.2.1/8"),
        ("2026-11-18T08", "2026-13-18T08", "2026-13"),
        ("[hazards]", "[hazards", "[hazards"),
    ] {
        let text = DOCUMENT.replacen(right, wrong, 1);
        let checked = check(&text);
        let [found] = checked.findings.as_slice() else {
            panic!("{wrong}: {:#?}", checked.findings)
        };
        let shown = text.lines().nth(found.line - 1).unwrap_or_default();
        assert!(shown.contains(line), "{wrong}: {found}");
        assert!(found.column >= 1 && checked.policy.is_none());
    }
    assert!(check(&"#".repeat(MAX_POLICY + 1)).policy.is_none());
}

#[test]
fn a_difference_names_each_point_that_changes_and_no_other() {
    let before = policy();
    assert_eq!(diff(&before, &before), []);
    let text = DOCUMENT
        .replacen("version = 7", "version = 8", 1)
        .replacen("root_login = \"no\"", "root_login = \"keys-only\"", 1)
        .replacen("ports = [\"80\", \"443\"]", "ports = [\"443\"]", 1)
        .replacen(
            "\n[[devices.device]]\nname = \"lamp\"\naddress = \"10.20.0.8\"\n",
            "",
            1,
        );
    let after = check(&text).policy.expect("reads");
    let said: Vec<String> = diff(&before, &after).iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 4, "{said:#?}");
    assert_eq!(said[0], "version: 7 -> 8");
    assert!(
        said[1].contains("tcp 198.51.100.0/24 port 80, 443") && said[1].contains("port 443 ("),
        "{said:#?}"
    );
    assert!(
        said[2].starts_with("devices/device/lamp: no longer ruled"),
        "{said:#?}"
    );
    assert!(
        said[3].starts_with("sshd/root-login: no (") && said[3].contains("by a key only"),
        "{said:#?}"
    );
}

/// Documents that differ from this one in one value, one entry or one key.
fn neighbours(of: &toml::Value) -> Vec<toml::Value> {
    use toml::Value;
    const WORDS: [&str; 24] = [
        "report",
        "put-back",
        "yes",
        "no",
        "keep",
        "strict",
        "verified",
        "associated",
        "unverified",
        "off",
        "open",
        "bonded-only",
        "audio",
        "hid",
        "udp",
        "tcp",
        "444",
        "192.0.2.77",
        "198.51.100.0/25",
        "10.20.0.77",
        "C1:00:00:00:0A:02",
        "monday",
        "another",
        "2026-11-19T08:00:00Z",
    ];
    match of {
        Value::String(text) => WORDS
            .iter()
            .filter(|word| *word != text)
            .map(|word| Value::String((*word).to_owned()))
            .collect(),
        Value::Integer(number) => [number - 1, number + 1, number * 2].map(Value::Integer).into(),
        Value::Array(items) => {
            let less = (0..items.len()).map(|at| {
                let kept = items.iter().enumerate().filter(|(other, _)| *other != at);
                Value::Array(kept.map(|(_, item)| item.clone()).collect())
            });
            let other = items.iter().enumerate().flat_map(|(at, item)| {
                neighbours(item).into_iter().map(move |item| {
                    let mut items = items.clone();
                    items[at] = item;
                    Value::Array(items)
                })
            });
            less.chain(other).collect()
        }
        Value::Table(table) => {
            let less = table.keys().map(|key| {
                let mut table = table.clone();
                table.remove(key);
                Value::Table(table)
            });
            let other = table.iter().flat_map(|(key, value)| {
                neighbours(value).into_iter().map(move |value| {
                    let mut table = table.clone();
                    table.insert(key.clone(), value);
                    Value::Table(table)
                })
            });
            less.chain(other).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn no_change_of_a_document_goes_without_words() {
    let before = policy();
    let whole: toml::Value = toml::from_str(DOCUMENT).expect("a table");
    let whole_text = toml::to_string(&whole).expect("a document");
    let (mut sound, mut wordless) = (0, Vec::new());
    for document in neighbours(&whole) {
        let text = toml::to_string(&document).expect("a document");
        let Some(after) = check(&text).policy.filter(|after| *after != before) else {
            continue;
        };
        sound += 1;
        for (old, new) in [(&before, &after), (&after, &before)] {
            let said = diff(old, new);
            assert!(!said.is_empty(), "{text}");
            if said
                .iter()
                .any(|change| change.what == "something that has no words")
            {
                let is_new = |line: &&str| !whole_text.lines().any(|old| old == *line);
                wordless.extend(text.lines().filter(is_new).map(str::to_owned));
            }
        }
    }
    assert!(sound > 150, "{sound} documents");
    // What a flow of a device is called changes nothing on any box.
    wordless.retain(|line| !line.starts_with("name = "));
    assert_eq!(wordless, Vec::<String>::new());
}

#[test]
fn every_rule_of_the_document_is_a_point_with_a_hazard_that_is_told() {
    let policy = policy();
    for rule in homeward_protocol::policy::points::Rule::ALL {
        assert!(
            policy.points().iter().any(|point| point.id.rule() == *rule),
            "{rule:?}"
        );
    }
    assert!(
        policy
            .points()
            .iter()
            .all(|point| policy.hazards.contains_key(&point.hazard))
    );
}

#[test]
fn two_people_of_the_keyring_are_believed_and_nobody_else_is() {
    let house = House::new();
    let good = house.offer(&policy());
    let mark = house.answer(&good).expect("is taken");
    assert_eq!(mark.version, PolicyVersion(7));
    let json = serde_json::to_string(&mark).expect("writes");
    assert!(json.contains(&mark.digest.to_string()), "{json}");
    assert_eq!(serde_json::from_str::<PolicyMark>(&json).expect("reads"), mark);
    let with = |author: &Key, reviewer: Option<&Key>| {
        house.answer(&offer(
            &house.keyring(1),
            &house.root,
            &policy(),
            author,
            reviewer,
        ))
    };
    assert_eq!(with(&house.server, Some(&house.ben)), Err(Refusal::WrongSigner));
    assert_eq!(
        with(&house.ben, Some(&house.ann)),
        Err(Refusal::WrongSigner),
        "a reviewer is no author"
    );
    assert_eq!(with(&house.ann, None), Err(Refusal::NotReviewed));
    assert_eq!(with(&house.ann, Some(&house.server)), Err(Refusal::WrongReview));
    assert_eq!(
        with(&house.ann, Some(&house.ann)),
        Err(Refusal::SamePerson),
        "one key under two names"
    );
    // A server that was taken over names its own key.
    let own = Keyring {
        authors: vec![house.server.named("ann")],
        ..house.keyring(9)
    };
    let forged = offer(&own, &house.server, &policy(), &house.server, Some(&house.ben));
    assert_eq!(house.answer(&forged), Err(Refusal::UnknownRoot));
    // A review of another policy.
    let other = house.offer(&Policy {
        confirm_s: 60,
        ..policy()
    });
    let mixed = Offer {
        review: other.review,
        ..good.clone()
    };
    assert_eq!(house.answer(&mixed), Err(Refusal::WrongReview));
    for (keyring, policy) in [
        (good.policy.clone(), good.policy.clone()),
        (Bytes(vec![0xf6]), good.policy.clone()),
    ] {
        let odd = Offer {
            keyring,
            policy,
            ..good.clone()
        };
        assert!(house.answer(&odd).is_err());
    }
}

#[test]
fn versions_audiences_and_times_are_refused_each_with_its_own_reason() {
    let house = House::new();
    let good = house.offer(&policy());
    let mark = house.answer(&good).expect("is taken");
    let floor = Floor {
        keyring: 1,
        policy: Some(mark),
    };
    assert_eq!(house.asks(&good, floor, noon()), Ok(mark), "twice is taken twice");
    let older = house.offer(&Policy {
        version: PolicyVersion(6),
        ..policy()
    });
    assert_eq!(house.asks(&older, floor, noon()), Err(Refusal::Older));
    let other = house.offer(&Policy {
        confirm_s: 60,
        ..policy()
    });
    assert_eq!(house.asks(&other, floor, noon()), Err(Refusal::OtherContent));
    let seen = Floor {
        keyring: 2,
        policy: None,
    };
    assert_eq!(house.asks(&good, seen, noon()), Err(Refusal::OlderKeyring));
    let elsewhere = Offer {
        groups: Vec::new(),
        ..good.clone()
    };
    assert_eq!(house.answer(&elsewhere), Err(Refusal::WrongAudience));
    let theirs = Audience::Gateways(vec!["gw-2".parse().expect("an id")]);
    assert_eq!(
        house.answer(&house.offer(&Policy {
            audience: theirs,
            ..policy()
        })),
        Err(Refusal::WrongAudience)
    );
    let at = |ms, trust| house.asks(&good, Floor::default(), Timestamp { ms, trust });
    assert_eq!(at(0, ClockTrust::Synced), Err(Refusal::NotYet));
    assert_eq!(at(0, ClockTrust::Floor), Ok(mark), "a box without a clock");
    assert_eq!(at(0, ClockTrust::Unsynced), Ok(mark));
    let late = policy().expires.ms();
    assert_eq!(at(late, ClockTrust::Synced), Err(Refusal::KeyringExpired));
    let long = Keyring {
        expires: Moment::from_secs(4_000_000_000),
        ..house.keyring(1)
    };
    let late_offer = offer(&long, &house.root, &policy(), &house.ann, Some(&house.ben));
    let late = Timestamp::synced(late);
    assert_eq!(
        house.asks(&late_offer, Floor::default(), late),
        Err(Refusal::Expired)
    );
    assert!(
        kept(&late_offer, &[house.root.public()]).is_ok(),
        "what was taken is read again after its end"
    );
}

#[cfg(feature = "schema")]
#[test]
fn the_published_schema_is_the_one_of_the_types() {
    let made = homeward_protocol::policy::schema::document();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/policy-1.json");
    if std::env::var("HOMEWARD_GOLDEN").is_ok_and(|v| v == "write") {
        std::fs::write(file, &made).expect("the folder can be written");
    }
    let kept = std::fs::read_to_string(file).expect("the published schema");
    assert!(
        kept == made,
        "the types have another schema: HOMEWARD_GOLDEN=write writes it, look at what changed"
    );
    let schema: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    let document: toml::Table = DOCUMENT.parse().expect("TOML");
    let properties = schema["properties"].as_object().expect("an object's schema");
    for key in document.keys() {
        assert!(properties.contains_key(key), "{key}");
    }
    assert_eq!(properties.len(), document.len(), "the example has every key");
    assert_eq!(schema["additionalProperties"], false);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A document with pieces cut out and put elsewhere is read or refused, and a finding points into it.
    #[test]
    fn any_text_is_checked(from in 0..4000usize, size in 0..200usize, to in 0..4000usize, with in "\\PC{0,12}") {
        let mut text: Vec<char> = DOCUMENT.chars().collect();
        let (from, to) = (from % text.len(), to % text.len());
        let cut: Vec<char> = text.drain(from..(from + size).min(text.len())).collect();
        let to = to.min(text.len());
        text.splice(to..to, cut.into_iter().chain(with.chars()));
        let text: String = text.into_iter().collect();
        let checked = check(&text);
        for finding in &checked.findings {
            prop_assert!(finding.line >= 1 && finding.line <= text.lines().count() + 1);
        }
        if let Some(policy) = checked.policy {
            prop_assert!(faults(&policy).is_empty());
            prop_assert!(diff(&policy, &policy).is_empty());
            let bytes = wire::encode(&policy, MAX_POLICY);
            prop_assert!(bytes.is_ok());
        }
    }

    #[test]
    fn any_bytes_are_an_offer_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let house_root = PublicKey::from_point(&[4; 65]).expect("65 bytes");
        if let Ok(offer) = Offer::decode(&bytes) {
            prop_assert!(kept(&offer, &[house_root]).is_err());
        }
    }
}
