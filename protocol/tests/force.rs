//! Orders to force: whom a box believes, and what can stand in one.
#![expect(clippy::disallowed_methods, reason = "shell: tests make keys")]

use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::moment::Moment;
use homeward_protocol::policy::sign::{
    Floor, Ground, Keyring, Refusal as Unsigned, SecondPerson, SignedDigest, SigningKey,
};
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::force::{
    Accepted, Force, ForceNumber, Offer, Overrule, Overrules, Refusal, Review, accept, kept,
};
use homeward_protocol::signed::{Message, PublicKey, Signed, SignedError, Signer};
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire::{self, Bytes};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

/// 2026-11-26T08:00:00Z.
const BEGINS: i64 = 1_795_680_000;
const HOUR: i64 = 3_600;

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
        let signature = self.0.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|e| e.to_string())?;
        signature
            .as_ref()
            .try_into()
            .map_err(|_| "not 64 bytes".to_owned())
    }
}

fn order() -> Force {
    Force {
        number: ForceNumber(4),
        gateway: "gw-1".parse().expect("an id"),
        assignment: 17,
        path: "agent/1.4.0/x86_64/homeward-agent".to_owned(),
        sha256: SignedDigest([7; 32]),
        overrules: Overrules::of([Overrule::Hold, Overrule::Alarm]).expect("two"),
        reason: ShortText::cut("the hole in 1.3.0 is being used in the district"),
        not_before: Moment::from_secs(BEGINS),
        until: Moment::from_secs(BEGINS + 4 * HOUR),
    }
}

/// A fleet's people: a root, two who may write and review both; and a server that was taken over.
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
            issued: Moment::from_secs(BEGINS - HOUR),
            expires: Moment::from_secs(BEGINS + 100 * HOUR),
            authors: vec![self.ann.named("ann"), self.ben.named("ben")],
            reviewers: vec![self.ann.named("ann, too"), self.ben.named("ben")],
            second_person: SecondPerson::Required,
        }
    }

    fn offer(&self) -> Offer {
        offer(&self.keyring(3), &self.root, &order(), &self.ann, &self.ben)
    }

    fn ask(&self, offer: &Offer, floor: u64, at_s: i64) -> Result<Accepted, Refusal> {
        let root = self.root.public();
        let floor = Floor {
            keyring: floor,
            policy: None,
        };
        let gateway: GatewayId = "gw-1".parse().expect("an id");
        let ground = Ground {
            gateway: &gateway,
            roots: std::slice::from_ref(&root),
            floor,
            now: Timestamp::synced(at_s * 1000),
        };
        accept(offer, ground)
    }

    fn answer(&self, offer: &Offer) -> Result<Accepted, Refusal> {
        self.ask(offer, 3, BEGINS + HOUR)
    }
}

fn offer(keyring: &Keyring, root: &Key, order: &Force, author: &Key, reviewer: &Key) -> Offer {
    let force = Signed::seal(order, author).expect("seals");
    let review = Review {
        force: SignedDigest::of(&force),
        number: order.number,
        at: order.not_before,
    };
    Offer {
        keyring: Bytes(Signed::seal(keyring, root).expect("seals")),
        force: Bytes(force),
        review: Bytes(Signed::seal(&review, reviewer).expect("seals")),
    }
}

#[test]
fn two_people_of_the_keyring_are_believed_and_named() {
    let house = House::new();
    let offer = Offer::decode(&house.offer().encode().expect("encodes")).expect("reads back");
    let accepted = house.answer(&offer).expect("is accepted");
    assert_eq!(accepted.order(), &order());
    let (author, reviewer) = accepted.people();
    assert_eq!((author.as_str(), reviewer.as_str()), ("ann", "ben"));
    // It is kept before its time.
    assert!(house.ask(&offer, 3, BEGINS - HOUR).is_ok());
    assert!(kept(&offer, &[house.root.public()]).is_ok());
}

#[test]
fn each_fault_is_refused_for_what_it_is() {
    let house = House::new();
    let House {
        root,
        ann,
        ben,
        server,
    } = &house;
    let ring = house.keyring(3);
    let unsigned = |why| Err(Refusal::Unsigned(why));
    let why = |offer: &Offer| house.answer(offer).map(|_| ());
    assert_eq!(
        why(&offer(&ring, server, &order(), ann, ben)),
        unsigned(Unsigned::UnknownRoot)
    );
    assert_eq!(
        why(&offer(&ring, root, &order(), server, ben)),
        unsigned(Unsigned::WrongSigner)
    );
    assert_eq!(
        why(&offer(&ring, root, &order(), ann, server)),
        unsigned(Unsigned::WrongReview)
    );
    assert_eq!(
        why(&offer(&ring, root, &order(), ann, ann)),
        unsigned(Unsigned::SamePerson),
        "one key under two names is one person"
    );
    // A review of another order; a signature of a policy's review.
    let mut odd = house.offer();
    let other = Force {
        assignment: 18,
        ..order()
    };
    odd.force = offer(&ring, root, &other, ann, ben).force;
    assert_eq!(why(&odd), unsigned(Unsigned::WrongReview));
    let mut odd = house.offer();
    let review = homeward_protocol::policy::sign::Review {
        policy: odd.digest(),
        version: homeward_protocol::policy::PolicyVersion(4),
        at: order().not_before,
    };
    odd.review = Bytes(Signed::seal(&review, ben).expect("seals"));
    assert_eq!(why(&odd), unsigned(Unsigned::WrongReview));
    // Another box, an old keyring, and the end.
    let other = Force {
        gateway: "gw-2".parse().expect("an id"),
        ..order()
    };
    assert_eq!(
        why(&offer(&ring, root, &other, ann, ben)),
        Err(Refusal::OtherGateway)
    );
    let late = |floor, at| house.ask(&house.offer(), floor, at).map(|_| ());
    assert_eq!(late(4, BEGINS), unsigned(Unsigned::OlderKeyring));
    assert_eq!(late(3, BEGINS + 100 * HOUR), unsigned(Unsigned::KeyringExpired));
    assert_eq!(late(3, BEGINS + 4 * HOUR), Err(Refusal::Over));
}

/// An offer without a review.
#[derive(serde::Serialize)]
struct Half {
    keyring: Bytes,
    force: Bytes,
}

#[test]
fn a_house_of_one_person_forces_nothing() {
    let house = House::new();
    let alone = Keyring {
        second_person: SecondPerson::NotRequired,
        reviewers: Vec::new(),
        ..house.keyring(3)
    };
    let House { root, ann, ben, .. } = &house;
    for second in [ann, ben] {
        let asked = house.answer(&offer(&alone, root, &order(), ann, second));
        assert_eq!(asked.map(|_| ()), Err(Refusal::Unsigned(Unsigned::WrongReview)));
    }
    // And one without a review cannot even be read.
    let Offer { keyring, force, .. } = house.offer();
    let half = wire::encode(&Half { keyring, force }, 8192).expect("encodes");
    assert!(Offer::decode(&half).is_err());
}

#[test]
fn what_breaks_a_rule_is_neither_signed_nor_read() {
    let house = House::new();
    let seal = |order: Force| Signed::seal(&order, &house.ann);
    let with = |change: fn(&mut Force)| {
        let mut order = order();
        change(&mut order);
        seal(order)
    };
    assert!(seal(order()).is_ok());
    for odd in [
        with(|order| order.number = ForceNumber(0)),
        with(|order| order.number = ForceNumber(u64::MAX)),
        with(|order| order.path = "../up".to_owned()),
        with(|order| order.reason = ShortText::cut("  ")),
        with(|order| order.until = order.not_before),
        with(|order| order.until = Moment::from_secs(BEGINS + 24 * HOUR + 1)),
    ] {
        assert!(matches!(odd, Err(SignedError::Payload(_))));
    }
    assert!(Overrules::of([]).is_none());
    // As documents write it, a session cannot even be named.
    let text = |overrules: &str| {
        format!(
            "number = 4\ngateway = \"gw-1\"\nassignment = 17\npath = \"agent/1.4.0\"\nsha256 = \"{}\"\noverrules = \
             {overrules}\nreason = \"a hole\"\nnot_before = \"2026-11-26T08:00:00Z\"\nuntil = \
             \"2026-11-26T12:00:00Z\"\n",
            "07".repeat(32)
        )
    };
    let read = Force::read(&text("[\"hold\", \"maintenance\"]")).expect("a document");
    assert_eq!(read.overrules.to_string(), "hold, maintenance");
    for odd in [
        "[]",
        "[\"session\"]",
        "[\"hold\", \"hold\"]",
        "[\"alarm\", \"hold\"]",
        "[\"just-started\"]",
        "[\"hold\"]\nmore = 1",
    ] {
        assert!(Force::read(&text(odd)).is_err(), "{odd}");
    }
    assert!(Force::read(&text("[\"hold\"]").repeat(20)).is_err(), "too long");
}

#[test]
fn the_largest_order_fits() {
    let house = House::new();
    let long = "x".repeat(128);
    let people: Vec<SigningKey> = (0..16).map(|_| Key::new().named(&long)).collect();
    let mut ring = house.keyring(u64::MAX);
    ring.authors.extend(people[..14].iter().cloned());
    ring.reviewers.extend(people[2..].iter().cloned());
    let order = Force {
        number: ForceNumber(i64::MAX as u64),
        gateway: "g".repeat(32).parse().unwrap_or(order().gateway),
        assignment: i64::MAX as u64,
        overrules: Overrules::of(Overrule::ALL).expect("all"),
        reason: ShortText::cut(&"é".repeat(64)),
        until: Moment::from_secs(BEGINS + 24 * HOUR),
        ..order()
    };
    let whole = offer(&ring, &house.root, &order, &house.ann, &house.ben);
    let bytes = whole.encode().expect("the largest fits");
    assert!(bytes.len() <= homeward_protocol::release::force::MAX_OFFER);
    assert!(wire::encode(&order, Force::MAX).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_changed_byte_is_refused(at: prop::sample::Index, bit in 0u8..8) {
        thread_local! {
            static MADE: (House, Vec<u8>) = {
                let house = House::new();
                let bytes = house.offer().encode().expect("encodes");
                (house, bytes)
            };
        }
        MADE.with(|(house, bytes)| {
            let mut changed = bytes.clone();
            let at = at.index(changed.len());
            changed[at] ^= 1 << bit;
            let taken = Offer::decode(&changed).ok().filter(|offer| house.answer(offer).is_ok());
            prop_assert!(taken.is_none(), "byte {at}");
            Ok(())
        })?;
    }

    #[test]
    fn one_key_twice_is_refused(first in 0usize..3, second in 0usize..3, listed in 1usize..4) {
        let house = House::new();
        let keys = [&house.ann, &house.ben, &house.server];
        let mut ring = house.keyring(3);
        // Under as many names as one likes.
        for at in 0..listed {
            ring.authors.push(keys[first].named(&format!("a{at}")));
            ring.reviewers.push(keys[second].named(&format!("r{at}")));
        }
        let asked = house.answer(&offer(&ring, &house.root, &order(), keys[first], keys[second]));
        prop_assert_eq!(asked.is_ok(), first != second);
        if first == second {
            prop_assert_eq!(asked.map(|_| ()), Err(Refusal::Unsigned(Unsigned::SamePerson)));
        }
    }
}
