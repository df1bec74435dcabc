//! Evidence reads as it was written, is nothing else when a bit of it is changed, and holds no claim twice.
#![expect(clippy::disallowed_methods, reason = "shell: tests make keys")]

use coset::HeaderBuilder;
use coset::cbor::Value;
use homeward_protocol::evidence::{
    ChainEnd, Component, Evidence, MAX_EVIDENCE, MAX_MEASURED, Measured, Profile,
};
use homeward_protocol::posture::{MAX_TEXT, ShortText};
use homeward_protocol::signed::tagged::{Tagged, thumbprint};
use homeward_protocol::signed::{PublicKey, SignedError, Signer};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

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
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let signed = self
            .0
            .sign(&SystemRandom::new(), message)
            .map_err(|e| e.to_string())?;
        signed.as_ref().try_into().map_err(|_| "not 64 bytes".to_owned())
    }
}

fn measured(component: Component) -> Measured {
    Measured {
        component,
        version: Some(ShortText::cut("1.2.3")),
        sha256: [7; 32],
    }
}

fn evidence() -> Evidence {
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
        measured: vec![measured(Component::Agent), measured(Component::Kernel)],
        postures: None,
    }
}

fn text() -> impl Strategy<Value = ShortText> {
    "[ -~]{0,40}".prop_map(|t| ShortText::cut(&t))
}

prop_compose! {
    fn any_evidence()(
        numbers in any::<[u64; 3]>(),
        words in any::<[[u8; 32]; 3]>(),
        box_id in any::<[u8; 16]>(),
        tpm in any::<bool>(),
        software in (text(), text()),
        versions in prop::collection::vec(prop::option::of(text()), 0..=5),
        postures in any::<Option<(u64, [u8; 32])>>(),
    ) -> Evidence {
        let one = |(component, version)| Measured { component, version, sha256: words[0] };
        Evidence {
            issued_at_s: numbers[0],
            key: words[0],
            nonce: words[1],
            box_id,
            uptime_s: numbers[1],
            boot_count: numbers[2],
            boot_seed: words[2],
            profile: if tpm { Profile::Tpm } else { Profile::Software },
            software,
            measured: Component::ALL.into_iter().zip(versions).map(one).collect(),
            postures: postures.map(|(seq, head)| ChainEnd { seq, head }),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn reads_as_it_was_written(written in any_evidence()) {
        let key = Key::new();
        let bytes = written.seal(&key).expect("seals");
        let read = Evidence::verify(&bytes, &key.public()).expect("verifies").into_inner();
        prop_assert_eq!(read, written);
    }
}

#[test]
fn one_changed_bit_anywhere_is_noticed() {
    let key = Key::new();
    let good = evidence().seal(&key).expect("seals");
    let mut bytes = good.clone();
    for at in 0..good.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            assert!(
                Evidence::verify(&bytes, &key.public()).is_err(),
                "byte {at}, bit {bit}"
            );
            bytes[at] = good[at];
        }
    }
    for end in 0..good.len() {
        assert!(
            Evidence::verify(&good[..end], &key.public()).is_err(),
            "cut at {end}"
        );
    }
    assert!(
        Evidence::verify(&good, &Key::new().public()).is_err(),
        "another key"
    );
    assert!(Evidence::verify(&good, &key.public()).is_ok());
}

/// Signs claims that no honest agent writes.
fn signed(key: &Key, change: impl FnOnce(&mut Vec<(Value, Value)>)) -> Vec<u8> {
    let good = evidence().seal(key).expect("seals");
    let payload = Tagged::parse(&good, MAX_EVIDENCE)
        .and_then(|t| t.verify(&key.public(), &[]))
        .expect("its payload");
    let claims: Value = coset::cbor::from_reader(payload.get().as_slice()).expect("claims");
    let mut claims = claims.into_map().expect("a map");
    change(&mut claims);
    sealed(key, &Value::Map(claims), "application/eat+cwt")
}

fn sealed(key: &Key, claims: &Value, content_type: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    coset::cbor::into_writer(claims, &mut payload).expect("encodes");
    let header = HeaderBuilder::new().content_type(content_type.to_owned()).build();
    Tagged::seal(payload, header, key).expect("seals")
}

fn set(claims: &mut [(Value, Value)], key: i64, value: Value) {
    let claim = claims.iter_mut().find(|(k, _)| *k == Value::from(key));
    claim.expect("the claim").1 = value;
}

type Change = fn(&mut Vec<(Value, Value)>);

#[test]
fn claims_that_break_a_rule_are_refused_though_signed() {
    let key = Key::new();
    let changes: [(&str, Change); 11] = [
        ("an end of postures without a hash", |c| {
            c.push((Value::from(-65_537), Value::Array(vec![1.into()])));
        }),
        ("a claim missing", |c| {
            c.remove(0);
        }),
        ("a claim twice", |c| {
            let again = c[0].clone();
            c.push(again);
        }),
        ("an unknown claim", |c| c.push((9999.into(), 1.into()))),
        ("a claim named by text", |c| c.push(("iat".into(), 1.into()))),
        ("a nonce of 31 bytes", |c| set(c, 10, Value::Bytes(vec![2; 31]))),
        ("a UEID from a serial number", |c| {
            set(c, 256, Value::Bytes(vec![2; 17]));
        }),
        ("an unknown profile", |c| {
            set(c, 265, "tag:example,2026:other".into());
        }),
        ("a negative boot count", |c| set(c, 267, Value::from(-1))),
        ("a control character", |c| set(c, 270, "homeward\u{7}".into())),
        ("a text that is too long", |c| {
            set(c, 270, "x".repeat(MAX_TEXT + 1).into());
        }),
    ];
    for (what, change) in changes {
        let refused = Evidence::verify(&signed(&key, change), &key.public());
        assert!(matches!(refused, Err(SignedError::Payload(_))), "{what}");
    }
    assert!(Evidence::verify(&signed(&key, |_| {}), &key.public()).is_ok());
}

#[test]
fn measurements_that_break_a_rule_are_refused_though_signed() {
    let key = Key::new();
    let many = |count: usize| {
        Value::Array(vec![
            Value::Array(vec![295.into(), Value::Bytes(Vec::new())]);
            count
        ])
    };
    let twice = Evidence {
        measured: vec![measured(Component::Agent), measured(Component::Agent)],
        ..evidence()
    };
    let odd = [
        signed(&key, |c| set(c, 273, many(MAX_MEASURED + 1))),
        signed(&key, |c| set(c, 273, many(1))),
        signed(&key, |c| set(c, 273, Value::Null)),
        twice.seal(&key).expect("seals"),
    ];
    for bytes in odd {
        assert!(Evidence::verify(&bytes, &key.public()).is_err());
    }
}

#[test]
fn another_content_type_or_size_is_refused() {
    let key = Key::new();
    let claims = Value::Map(Vec::new());
    let other = sealed(&key, &claims, "application/cwt");
    assert!(matches!(
        Evidence::verify(&other, &key.public()),
        Err(SignedError::Structure(_))
    ));
    let long = vec![0; MAX_EVIDENCE + 1];
    assert!(matches!(
        Evidence::verify(&long, &key.public()),
        Err(SignedError::TooLong { .. })
    ));
    let full = Evidence {
        measured: Component::ALL.map(measured).to_vec(),
        software: (
            ShortText::cut(&"x".repeat(MAX_TEXT)),
            ShortText::cut(&"y".repeat(MAX_TEXT)),
        ),
        ..evidence()
    };
    assert!(
        full.seal(&key).expect("seals").len() < MAX_EVIDENCE / 2,
        "the fullest evidence is far from the limit"
    );
}

/// SHA-256 over the deterministic encoding of {1: 2, -1: 1, -2: x, -3: y}.
#[test]
fn the_thumbprint_is_that_of_the_cose_key() {
    let point = [&[4], [0x11; 32].as_slice(), [0x22; 32].as_slice()].concat();
    let key = PublicKey::from_point(&point).expect("a point");
    let cose_key = Value::Map(vec![
        (1.into(), 2.into()),
        (Value::from(-1), 1.into()),
        (Value::from(-2), Value::Bytes(vec![0x11; 32])),
        (Value::from(-3), Value::Bytes(vec![0x22; 32])),
    ]);
    let mut bytes = Vec::new();
    coset::cbor::into_writer(&cose_key, &mut bytes).expect("encodes");
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    assert_eq!(thumbprint(&key).as_slice(), digest.as_ref());
}
