//! Reference values read as they were written, and nothing else reads as reference values.
#![expect(clippy::disallowed_methods, reason = "shell: tests make keys")]

use homeward_protocol::evidence::Component;
use homeward_protocol::posture::ShortText;
use homeward_protocol::reference::{Good, MAX_RELEASE, MAX_VALUES, Measurand, Release};
use homeward_protocol::signed::{PublicKey, Signer};
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

fn release(count: u16) -> Release {
    let value = |n: u16| Good {
        what: if n.is_multiple_of(2) {
            Measurand::Component(Component::ALL[usize::from(n / 2) % 5])
        } else {
            Measurand::Register(u8::try_from(n % 24).expect("small"))
        },
        version: n.is_multiple_of(2).then(|| ShortText::cut("1.2.3")),
        sha256: [n.to_be_bytes(); 16].concat().try_into().expect("32 bytes"),
    };
    Release {
        name: ShortText::cut("0.1.0"),
        values: (0..count).map(value).collect(),
    }
}

#[test]
fn a_release_reads_back_and_one_changed_bit_is_noticed() {
    let key = Key::new();
    for count in [0, 1, 7, u16::try_from(MAX_VALUES).expect("small")] {
        let bytes = release(count).seal(&key).expect("seals");
        assert!(bytes.len() <= MAX_RELEASE, "{count}");
        let read = Release::verify(&bytes, &key.public()).expect("verifies");
        assert_eq!(read.get(), &release(count));
        assert!(
            Release::verify(&bytes, &Key::new().public()).is_err(),
            "another key"
        );
    }
    let good = release(7).seal(&key).expect("seals");
    let mut bytes = good.clone();
    for at in 0..good.len() {
        bytes[at] ^= 1 << (at % 8);
        assert!(Release::verify(&bytes, &key.public()).is_err(), "byte {at}");
        bytes[at] = good[at];
        assert!(
            Release::verify(&good[..at], &key.public()).is_err(),
            "cut at {at}"
        );
    }
}

#[test]
fn a_release_that_could_not_be_read_is_not_made() {
    let key = Key::new();
    let too_many = release(u16::try_from(MAX_VALUES).expect("small") + 1);
    assert!(too_many.seal(&key).is_err());
    let mut twice = release(3);
    twice.values.push(twice.values[0].clone());
    assert!(twice.seal(&key).is_err());
    let mut odd = release(2);
    odd.values[1].what = Measurand::Register(24);
    assert!(odd.seal(&key).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Release::claimed(&bytes);
    }
}
