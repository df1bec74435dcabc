//! What the server takes in, who shall have what, and how far each has come.
#![expect(clippy::disallowed_methods, reason = "test: makes keys")]

use std::collections::HashMap;

use homeward_protocol::id::{GatewayId, GroupId};
use homeward_protocol::policy::check::check;
use homeward_protocol::policy::moment::Moment;
use homeward_protocol::policy::sign::{
    Keyring, Offer, PolicyMark, Refusal, Review, SecondPerson, SignedDigest, SigningKey,
};
use homeward_protocol::policy::state::{Basis, Phase, PolicyState, Refused, ReturnCause, Returned};
use homeward_protocol::policy::{Policy, PolicyVersion};
use homeward_protocol::posture::ShortText;
use homeward_protocol::signed::{PublicKey, Signed, Signer};
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire::Bytes;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::admit::{admit, keyring};
use super::book::{Book, Entry, Fit, Order, Target};
use super::progress::{Present, Progress, Told, due, progress};
use super::rollout::{Counts, Line, plan};

/// 2026-11-26T08:00:00Z.
pub(crate) const NOON: i64 = 1_795_680_000_000;
const DAY: i64 = 86_400_000;
const NOW: Timestamp = Timestamp::synced(NOON);

/// A key of somebody.
pub(crate) struct Key(EcdsaKeyPair);

impl Key {
    pub(crate) fn new() -> Key {
        let rng = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &rng);
        Key(pair.expect("a key"))
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::from_point(self.0.public_key().as_ref()).expect("a point")
    }

    pub(crate) fn named(&self, name: &str) -> SigningKey {
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

/// A fleet's people: a root, an author, a reviewer.
pub(crate) struct House {
    pub(crate) root: Key,
    pub(crate) ann: Key,
    pub(crate) ben: Key,
}

impl House {
    pub(crate) fn new() -> House {
        House {
            root: Key::new(),
            ann: Key::new(),
            ben: Key::new(),
        }
    }

    pub(crate) fn keyring(&self, version: u64) -> Keyring {
        Keyring {
            version,
            issued: Moment::from_secs(NOON / 1000 - 100 * 86_400),
            expires: Moment::from_secs(NOON / 1000 + 100 * 86_400),
            authors: vec![self.ann.named("Ann")],
            reviewers: vec![self.ben.named("Ben")],
            second_person: SecondPerson::Required,
        }
    }

    /// What Ann signed and Ben reviewed, under this keyring.
    pub(crate) fn offer(&self, policy: &Policy, keyring: &Keyring) -> Offer {
        let signed = Signed::seal(policy, &self.ann).expect("signs");
        let review = Review {
            policy: SignedDigest::of(&signed),
            version: policy.version,
            at: policy.issued,
        };
        Offer {
            keyring: Bytes(Signed::seal(keyring, &self.root).expect("signs")),
            policy: Bytes(signed),
            review: Some(Bytes(Signed::seal(&review, &self.ben).expect("signs"))),
            groups: Vec::new(),
        }
    }
}

/// A policy for these, with one rule of sshd and one of USB.
pub(crate) fn policy(version: u64, audience: &str, password_login: &str) -> Policy {
    let text = format!(
        r#"name = "homes"
version = {version}
issued = "2026-11-20T00:00:00Z"
expires = "2026-12-20T00:00:00Z"
on_expiry = "keep"
confirm_s = 120
audience = {audience}
[hazards]
h-1 = "A stranger signs in to the box."
[sshd]
hazard = "h-1"
password_login = "{password_login}"
[usb]
hazard = "h-1"
allow = ["hub"]
"#
    );
    let checked = check(&text);
    checked
        .policy
        .unwrap_or_else(|| panic!("{:#?}", checked.findings))
}

fn gw(name: &str) -> GatewayId {
    name.parse().expect("an id")
}

fn group(name: &str) -> GroupId {
    name.parse().expect("an id")
}

fn entry(offer: &Offer) -> Entry {
    let policy: Policy = Signed::parse(&offer.policy.0)
        .and_then(|signed| signed.unverified())
        .expect("reads");
    Entry {
        mark: PolicyMark {
            version: policy.version,
            digest: offer.digest(),
        },
        signed: offer.policy.0.clone(),
        review: offer.review.as_ref().map(|review| review.0.clone()),
        policy,
        withdrawn: false,
    }
}

fn order(target: Target, version: u64) -> Order {
    Order {
        target,
        version,
        at: NOW.plus_ms(-DAY),
        by: "olga".into(),
    }
}

#[test]
fn a_policy_is_taken_in_for_its_whole_audience_and_refused_as_a_box_refuses_it() {
    let house = House::new();
    let ring = house.keyring(3);
    let roots = [house.root.public()];
    for audience in [
        r#""all""#,
        r#"{ groups = ["ring-1"] }"#,
        r#"{ gateways = ["gw-1"] }"#,
    ] {
        let offer = house.offer(&policy(7, audience, "no"), &ring);
        let accepted = admit(&offer, &roots, 3, NOW).expect("taken");
        assert_eq!(accepted.author.as_str(), "Ann");
        assert_eq!(accepted.reviewer.as_ref().map(ShortText::as_str), Some("Ben"));
    }
    let offer = house.offer(&policy(7, r#""all""#, "no"), &ring);
    let refused = |offer: &Offer, roots: &[PublicKey], newest, now| admit(offer, roots, newest, now).err();
    assert_eq!(refused(&offer, &[], 0, NOW), Some(Refusal::UnknownRoot));
    assert_eq!(refused(&offer, &roots, 4, NOW), Some(Refusal::OlderKeyring));
    assert_eq!(
        refused(&offer, &roots, 3, NOW.plus_ms(40 * DAY)),
        Some(Refusal::Expired)
    );
    assert_eq!(
        refused(&offer, &roots, 3, NOW.plus_ms(101 * DAY)),
        Some(Refusal::KeyringExpired)
    );
    assert_eq!(
        refused(&offer, &roots, 3, NOW.plus_ms(-50 * DAY)),
        None,
        "its time begins later"
    );
    let unreviewed = Offer {
        review: None,
        ..offer.clone()
    };
    assert_eq!(refused(&unreviewed, &roots, 3, NOW), Some(Refusal::NotReviewed));
    let own_review = House {
        ben: Key::new(),
        ..House::new()
    }
    .offer(&policy(7, r#""all""#, "no"), &ring);
    let others = Offer {
        keyring: offer.keyring.clone(),
        ..own_review
    };
    assert_eq!(refused(&others, &roots, 3, NOW), Some(Refusal::WrongSigner));

    assert!(keyring(&offer.keyring.0, &roots, 3, NOW).is_ok());
    assert_eq!(
        keyring(&offer.keyring.0, &roots, 4, NOW).err(),
        Some(Refusal::OlderKeyring)
    );
    assert_eq!(
        keyring(&offer.keyring.0, &[], 0, NOW).err(),
        Some(Refusal::UnknownRoot)
    );
    assert_eq!(
        keyring(&[1, 2, 3], &roots, 0, NOW).err(),
        Some(Refusal::Unreadable)
    );
}

/// Version 1 for all, 2 for the ring, 3 for one box, 4 by a person who left.
fn filled(house: &House) -> Book {
    let ring = house.keyring(1);
    let policies = [
        policy(1, r#""all""#, "yes"),
        policy(2, r#"{ groups = ["ring-1"] }"#, "no"),
        policy(3, r#"{ gateways = ["gw-3"] }"#, "no"),
    ];
    let offers: Vec<Offer> = policies.iter().map(|policy| house.offer(policy, &ring)).collect();
    let orders = [
        order(Target::All, 1),
        order(Target::All, 2),
        order(Target::Gateway(gw("gw-1")), 3),
        order(Target::Gateway(gw("gw-3")), 3),
    ];
    let groups = HashMap::from([(gw("gw-2"), vec![group("ring-1"), group("ring-2")])]);
    let signed = Signed::seal(&ring, &house.root).expect("signs");
    Book::new(
        offers.iter().map(entry).collect(),
        Some((signed, NOW.plus_ms(100 * DAY))),
        &orders,
        groups,
        &[house.root.public()],
    )
}

#[test]
fn a_gateway_shall_have_the_highest_number_that_is_assigned_and_meant_for_it() {
    let house = House::new();
    let book = filled(&house);
    let wanted = |gateway: &str| {
        book.wanted(&gw(gateway), NOW)
            .map(|wanted| wanted.entry.mark.version.0)
    };
    // 3 is assigned to gw-1 too, and not for it by its own audience.
    assert_eq!(wanted("gw-1"), Some(1));
    assert_eq!(wanted("gw-2"), Some(2), "by its group");
    assert_eq!(wanted("gw-3"), Some(3));
    assert_eq!(book.wanted(&gw("gw-1"), NOW).map(|w| w.fit), Some(Fit::Fit));
    assert_eq!(
        book.wanted(&gw("gw-1"), NOW.plus_ms(30 * DAY)).map(|w| w.fit),
        Some(Fit::Expired)
    );
    assert!(
        book.wanted(&gw("gw-1"), NOW.plus_ms(-30 * DAY)).is_none(),
        "not begun"
    );
    let offer = book.offer(book.entry(2).expect("loaded"), &gw("gw-2"));
    assert_eq!(offer.groups, [group("ring-1"), group("ring-2")]);
    assert!(offer.encode().is_ok());
}

#[test]
fn what_is_withdrawn_or_signed_by_people_who_left_is_not_offered() {
    let house = House::new();
    let ring = house.keyring(1);
    let offer = house.offer(&policy(5, r#""all""#, "no"), &ring);
    let newer = Keyring {
        authors: vec![house.ben.named("Ben")],
        reviewers: vec![Key::new().named("Cleo")],
        ..house.keyring(2)
    };
    let newer = Signed::seal(&newer, &house.root).expect("signs");
    let (roots, orders) = ([house.root.public()], [order(Target::All, 5)]);
    let book = |entry, ring: &[u8], until| {
        let ring = Some((ring.to_vec(), NOW.plus_ms(until)));
        Book::new(vec![entry], ring, &orders, HashMap::new(), &roots)
    };
    let fit = |book: &Book| book.wanted(&gw("gw-1"), NOW).map(|wanted| wanted.fit);
    let old = &offer.keyring.0;
    assert_eq!(fit(&book(entry(&offer), old, DAY)), Some(Fit::Fit));
    assert_eq!(fit(&book(entry(&offer), old, 0)), Some(Fit::SignersGone));
    assert_eq!(fit(&book(entry(&offer), &newer, DAY)), Some(Fit::SignersGone));
    let gone = Entry {
        withdrawn: true,
        ..entry(&offer)
    };
    assert_eq!(fit(&book(gone, old, DAY)), None);
}

fn said(policy: Option<PolicyMark>, phase: Phase) -> PolicyState {
    PolicyState {
        taken_at: NOW,
        basis: Basis::Signed,
        policy,
        keyring: 1,
        phase,
        refused: None,
        returned: None,
        isolation: None,
        points: Vec::new(),
        more: 0,
    }
}

const HERE: Present = Present {
    connected: true,
    held: false,
};
const AWAY: Present = Present {
    connected: false,
    held: false,
};
const HELD: Present = Present {
    connected: true,
    held: true,
};

#[test]
fn progress_is_what_the_box_says_and_else_why_it_has_not_been_told() {
    let house = House::new();
    let book = filled(&house);
    let wanted = book.wanted(&gw("gw-1"), NOW).expect("wanted");
    let mark = wanted.entry.mark;
    let newer = PolicyMark {
        version: PolicyVersion(9),
        ..mark
    };
    let how = |said: Option<&PolicyState>, present| progress(Some(&wanted), said, present);
    let holds = |phase| said(Some(mark), phase);
    assert_eq!(how(None, HERE), Progress::OnItsWay);
    assert_eq!(how(None, AWAY), Progress::Away);
    assert_eq!(how(None, HELD), Progress::Held);
    assert_eq!(how(Some(&holds(Phase::Applying)), AWAY), Progress::Applying);
    assert_eq!(how(Some(&holds(Phase::Confirming)), HERE), Progress::Confirming);
    assert_eq!(how(Some(&holds(Phase::Settled)), HELD), Progress::Applied);
    for (basis, expected) in [
        (Basis::Expired, Progress::Applied),
        (Basis::StrictAfterExpiry, Progress::Strict),
        (Basis::StrictUnreadable, Progress::Strict),
    ] {
        let said = PolicyState {
            basis,
            ..holds(Phase::Settled)
        };
        assert_eq!(how(Some(&said), HERE), expected);
        assert_eq!(expected.is_wrong(), expected == Progress::Strict);
    }
    let unreadable = PolicyState {
        basis: Basis::StrictUnreadable,
        ..said(None, Phase::Settled)
    };
    assert_eq!(progress(None, Some(&unreadable), HERE), Progress::Strict);
    assert_eq!(
        how(Some(&unreadable), HERE),
        Progress::OnItsWay,
        "it is sent again"
    );
    assert_eq!(
        how(Some(&said(Some(newer), Phase::Settled)), HERE),
        Progress::Newer
    );
    let same_number = PolicyMark {
        digest: SignedDigest([0; 32]),
        ..mark
    };
    assert_eq!(
        how(Some(&said(Some(same_number), Phase::Settled)), HERE),
        Progress::OnItsWay,
        "the number alone is not the policy"
    );
    let refused = |mark, why| PolicyState {
        refused: Some(Refused { mark, why, at: NOW }),
        ..said(None, Phase::Settled)
    };
    let why = Refusal::WrongAudience;
    assert_eq!(how(Some(&refused(Some(mark), why)), HERE), Progress::Refused(why));
    assert_eq!(how(Some(&refused(Some(newer), why)), HERE), Progress::OnItsWay);
    let back = PolicyState {
        returned: Some(Returned {
            from: mark,
            cause: ReturnCause::ServerNotReached,
            at: NOW,
        }),
        ..said(None, Phase::Settled)
    };
    assert_eq!(how(Some(&back), HERE), Progress::Returned);
    assert_eq!(progress(None, None, HERE), Progress::Nothing);
    assert_eq!(
        progress(None, Some(&holds(Phase::Settled)), HERE),
        Progress::Newer
    );
}

#[test]
fn nothing_is_sent_twice_in_a_row_to_those_in_quarantine_or_to_those_that_went_back() {
    let house = House::new();
    let book = filled(&house);
    let wanted = book.wanted(&gw("gw-1"), NOW).expect("wanted");
    let told = |ago: i64| {
        Some(Told {
            mark: wanted.entry.mark,
            at: NOW.plus_ms(-ago),
        })
    };
    let send = |how, told, returned, held| due(how, &wanted, told, returned, (held, NOW));
    let way = Progress::OnItsWay;
    assert!(send(way, None, None, false));
    assert!(!send(way, None, None, true), "in quarantine");
    assert!(!send(way, told(1000), None, false));
    assert!(send(way, told(60_000), None, false));
    assert!(send(way, told(-5_000), None, false), "the clock went back");
    let other = Some(Told {
        mark: PolicyMark {
            version: PolicyVersion(2),
            ..wanted.entry.mark
        },
        at: NOW,
    });
    assert!(send(way, other, None, false));
    let no = Progress::Refused(Refusal::NotYet);
    assert!(send(no, None, None, false) && !send(no, told(60_000), None, false));
    assert!(send(no, told(3_600_000), None, false));
    // It was assigned a day ago: a return heard since then is not tried again by itself.
    assert!(!send(Progress::Returned, None, Some(NOW), false));
    assert!(send(Progress::Returned, None, Some(NOW.plus_ms(-2 * DAY)), false));
    for how in [
        Progress::Applied,
        Progress::Strict,
        Progress::Applying,
        Progress::Confirming,
        Progress::Newer,
    ] {
        assert!(!send(how, None, None, false), "{how:?}");
    }
}

fn line(gateway: &str, wanted: u64, progress: Progress, holds: Option<u64>) -> Line {
    Line {
        gateway: gw(gateway),
        connected: true,
        wanted: Some(wanted),
        progress,
        holds: holds.map(|version| PolicyMark {
            version: PolicyVersion(version),
            digest: SignedDigest([0; 32]),
        }),
        drifted: 0,
        failed: 0,
        not_enforceable: 0,
        heard: None,
    }
}

#[test]
fn a_plan_says_what_changes_on_how_many_boxes_and_who_is_left_out() {
    let house = House::new();
    let book = filled(&house);
    let lines = [
        line("gw-1", 1, Progress::Applied, Some(1)),
        line("gw-2", 1, Progress::Applied, Some(1)),
        line("gw-3", 3, Progress::Applied, Some(3)),
        line("gw-4", 1, Progress::Away, None),
    ];
    let planned = plan(&book, &lines, 2, &[Target::All], NOW);
    assert_eq!((planned.already, planned.newer, planned.outside), (0, 0, 3));
    assert_eq!(planned.steps.len(), 1);
    let step = &planned.steps[0];
    assert_eq!(
        (step.from, step.gateways.as_slice()),
        (Some(1), &[gw("gw-2")][..])
    );
    let said: Vec<String> = step.changes.iter().map(ToString::to_string).collect();
    assert!(
        said.iter()
            .any(|line| line.starts_with("sshd/password-login: yes")),
        "{said:?}"
    );
    assert!(!said.iter().any(|line| line.starts_with("usb")), "{said:?}");

    let planned = plan(&book, &lines, 1, &[Target::All], NOW);
    assert_eq!((planned.already, planned.newer), (2, 1));
    assert_eq!(planned.steps[0].from, None);
    let said: Vec<String> = planned.steps[0].changes.iter().map(ToString::to_string).collect();
    assert!(said.iter().all(|line| line.contains(": new: ")), "{said:?}");
}

#[test]
fn a_roll_out_counts_each_box_once_and_only_in_line_when_nothing_drifted() {
    let mut drifted = line("gw-2", 1, Progress::Applied, Some(1));
    drifted.drifted = 2;
    let lines = [
        line("gw-1", 1, Progress::Applied, Some(1)),
        drifted,
        line("gw-3", 1, Progress::Refused(Refusal::Older), None),
        line("gw-4", 1, Progress::Away, None),
        line("gw-5", 2, Progress::Returned, Some(1)),
        line("gw-6", 1, Progress::Strict, Some(1)),
        Line {
            not_enforceable: 1,
            ..line("gw-7", 1, Progress::Applied, Some(1))
        },
        Line {
            connected: false,
            ..line("gw-8", 1, Progress::Applied, Some(1))
        },
    ];
    let counts = Counts::of(&lines, 1);
    assert_eq!((counts.wanted, counts.applied, counts.in_line), (7, 4, 1));
    assert_eq!((counts.in_part, counts.unheard, counts.strict), (1, 1, 1));
    assert_eq!((counts.refused, counts.away, counts.returned), (1, 1, 0));
    assert!(lines[1].is_wrong() && lines[2].is_wrong() && lines[4].is_wrong() && lines[5].is_wrong());
    assert!(!lines[0].is_wrong() && !lines[3].is_wrong());
}
