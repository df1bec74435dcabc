//! Two people of a keyring, a root that names them, and the orders to force that they sign.

use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::moment::Moment;
use homeward_protocol::policy::sign::{Floor, Ground, Keyring, SecondPerson, SignedDigest, SigningKey};
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::force::{
    Accepted, Force, ForceNumber, Offer, Overrule, Overrules, Refusal, Review, accept,
};
use homeward_protocol::signed::{PublicKey, Signed, Signer};
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire::Bytes;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

/// 2026-01-01, when orders begin.
pub(crate) const BEGINS: i64 = 1_767_225_600;
pub(crate) const HOUR: i64 = 3_600;

pub(crate) struct Key(EcdsaKeyPair);

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
        let signature = self.0.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|e| e.to_string())?;
        signature
            .as_ref()
            .try_into()
            .map_err(|_| "not 64 bytes".to_owned())
    }
}

pub(crate) struct People {
    root: Key,
    ann: Key,
    ben: Key,
}

/// For the update with the word 7, of four hours.
pub(crate) fn order(number: u64, overrules: impl IntoIterator<Item = Overrule>) -> Force {
    Force {
        number: ForceNumber(number),
        gateway: "gw-1".parse().expect("an id"),
        assignment: 7,
        path: "agent/x86_64/homeward-agent".to_owned(),
        sha256: SignedDigest([7; 32]),
        overrules: Overrules::of(overrules).expect("something"),
        reason: ShortText::cut("the hole is being used"),
        not_before: Moment::from_secs(BEGINS),
        until: Moment::from_secs(BEGINS + 4 * HOUR),
    }
}

impl People {
    pub(crate) fn new() -> People {
        People {
            root: Key::new(),
            ann: Key::new(),
            ben: Key::new(),
        }
    }

    pub(crate) fn offer(&self, order: &Force, keyring: u64) -> Offer {
        let named = |name: &str, key: &Key| SigningKey {
            name: ShortText::cut(name),
            key: key.public(),
        };
        let keyring = Keyring {
            version: keyring,
            issued: Moment::from_secs(BEGINS - HOUR),
            expires: Moment::from_secs(BEGINS + 1000 * HOUR),
            authors: vec![named("ann", &self.ann)],
            reviewers: vec![named("ben", &self.ben)],
            second_person: SecondPerson::Required,
        };
        let force = Signed::seal(order, &self.ann).expect("seals");
        let review = Review {
            force: SignedDigest::of(&force),
            number: order.number,
            at: order.not_before,
        };
        Offer {
            keyring: Bytes(Signed::seal(&keyring, &self.root).expect("seals")),
            force: Bytes(force),
            review: Bytes(Signed::seal(&review, &self.ben).expect("seals")),
        }
    }

    /// As a box judges it at this second, which has seen a keyring of this number.
    pub(crate) fn judge(&self, offer: &Offer, keyring: u64, at_s: i64) -> Result<Accepted, Refusal> {
        let gateway: GatewayId = "gw-1".parse().expect("an id");
        let root = self.root.public();
        let ground = Ground {
            gateway: &gateway,
            roots: std::slice::from_ref(&root),
            floor: Floor {
                keyring,
                policy: None,
            },
            now: Timestamp::synced(at_s * 1000),
        };
        accept(offer, ground)
    }

    /// One that overrules these.
    pub(crate) fn accepted(&self, overrules: impl IntoIterator<Item = Overrule>) -> Accepted {
        let offer = self.offer(&order(1, overrules), 1);
        self.judge(&offer, 0, BEGINS).expect("two people stand behind it")
    }
}
