//! How a fleet judged one gateway, signed by the fleet, so that it can be read beside the readings without asking.
//!
//! A tagged `COSE_Sign1` (ES256) by the key of the fleet's own listeners, whose certificate leads to the fleet's roots:
//!
//! ```text
//! { 0: gateway, 1: written at (ms), 2: complete since (ms),
//!   3: [ { 265: profile, 6: iat (s), 4: exp (s), 1004: { 0: "Homeward", 1: version },
//!          266: { "gateway": { 1000: status, 1001: [8 numbers], 1003: tier } } }, … ] }      / the newest first /
//! ```
//! Each judgement has the shape of an EAR. One signature is over all of them, so none can be left out.
//!
//! Source: EAT Attestation Results (draft-ietf-rats-ear), section 3; AR4SI for the vector.

use coset::HeaderBuilder;
use coset::cbor::Value;
use homeward_protocol::attest::{Tier, Trust};
use homeward_protocol::grade::Reason;
use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::tagged::Tagged;
use homeward_protocol::signed::{PublicKey, SignedError, Signer};
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire::WireError;

use crate::attest::reliance::{Reliance, Stretch};
use crate::attest::{Claim, Status, Vector};

/// Longest such file, bytes: ten years of a judgement a day are below it.
pub const MAX_JUDGED: usize = 2 << 20;
/// Most judgements of one file.
const MOST: usize = 8192;
const CONTENT_TYPE: &str = "application/vnd.homeward.judgements+cbor";
const PROFILE: &str = "tag:homeward.example,2026:judgement#1";
const SHAPE: WireError = WireError::Rule("judgements in another form");

/// One judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// In one word.
    pub status: Status,
    /// By what.
    pub vector: Vector,
    /// What proved it.
    pub tier: Tier,
    /// From when it counted, to the second.
    pub from: Timestamp,
    /// Until when at most.
    pub until: Timestamp,
}

/// All judgements of a gateway since some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Whose.
    pub gateway: GatewayId,
    /// When it was written down.
    pub written_at: Timestamp,
    /// Since when none is missing.
    pub since: Timestamp,
    /// They, the newest first.
    pub judgements: Vec<Judgement>,
}

impl Judged {
    /// Signs it.
    ///
    /// # Errors
    /// When it is longer than it may be, or the key does not sign.
    pub fn seal(&self, signer: &dyn Signer) -> Result<Vec<u8>, SignedError> {
        let mut payload = Vec::new();
        coset::cbor::into_writer(&self.value(), &mut payload).map_err(|_| SignedError::Payload(SHAPE))?;
        if payload.len() > MAX_JUDGED / 2 || self.judgements.len() > MOST {
            return Err(SignedError::TooLong {
                got: payload.len(),
                max: MAX_JUDGED / 2,
            });
        }
        let header = HeaderBuilder::new().content_type(CONTENT_TYPE.to_owned()).build();
        Tagged::seal(payload, header, signer)
    }

    /// Checks form and signature, then reads it. Whose key it is, is for the caller to know.
    ///
    /// # Errors
    /// When it is something else, or that key did not sign it.
    pub fn verify(bytes: &[u8], key: &PublicKey) -> Result<Judged, SignedError> {
        let tagged = Tagged::parse(bytes, MAX_JUDGED)?;
        let kind = tagged.header().content_type.clone();
        if kind != Some(coset::ContentType::Text(CONTENT_TYPE.to_owned())) {
            return Err(SignedError::Structure("not judgements"));
        }
        let payload = tagged.verify(key, &[])?.into_inner();
        let mut rest = payload.as_slice();
        let value: Value = coset::cbor::from_reader(&mut rest).map_err(|_| SignedError::Payload(SHAPE))?;
        if !rest.is_empty() {
            return Err(SignedError::Payload(SHAPE));
        }
        read(value).ok_or(SignedError::Payload(SHAPE))
    }

    /// What the fleet held against readings that were taken then; `None` for a time that it does not speak of.
    pub fn against(&self, taken_at: Timestamp) -> Option<Result<(), Reason>> {
        if taken_at.ms < self.since.ms || taken_at.ms > self.written_at.ms {
            return None;
        }
        let stretch = |one: &Judgement| Stretch {
            status: one.status,
            from: one.from,
            until: one.until,
        };
        // How it stood when the file was written is no word about an earlier time.
        let record = Reliance {
            now: Trust::Unknown,
            judgements: self.judgements.iter().map(stretch).collect(),
            spare: false,
        };
        Some(record.against(taken_at).map_or(Ok(()), Err))
    }

    fn value(&self) -> Value {
        let all = self.judgements.iter().map(Judgement::value).collect();
        map([
            (0, self.gateway.as_str().into()),
            (1, self.written_at.ms.into()),
            (2, self.since.ms.into()),
            (3, Value::Array(all)),
        ])
    }
}

impl Judgement {
    fn value(&self) -> Value {
        let vector = Claim::ALL.map(|claim| i64::from(self.vector.get(claim)).into());
        let verifier = map([(0, "Homeward".into()), (1, env!("CARGO_PKG_VERSION").into())]);
        let gateway = map([
            (1000, i64::from(number(self.status)).into()),
            (1001, Value::Array(vector.to_vec())),
            (1003, self.tier.name().into()),
        ]);
        map([
            (265, PROFILE.into()),
            (6, self.from.secs().into()),
            (4, self.until.secs().into()),
            (1004, verifier),
            (266, Value::Map(vec![("gateway".into(), gateway)])),
        ])
    }
}

/// As an EAR says it.
const fn number(status: Status) -> i8 {
    match status {
        Status::None => 0,
        Status::Affirming => 2,
        Status::Warning => 32,
        Status::Contraindicated => 96,
    }
}

fn map<const N: usize>(fields: [(i64, Value); N]) -> Value {
    Value::Map(
        fields
            .into_iter()
            .map(|(key, value)| (key.into(), value))
            .collect(),
    )
}

/// The values under these numbers, in any order, each once, and nothing else.
fn fields<const N: usize>(value: Value, wanted: [i64; N]) -> Option<[Value; N]> {
    let pairs = value.into_map().ok()?;
    if pairs.len() != N {
        return None;
    }
    let find = |number: i64| {
        let found = pairs.iter().find(|(key, _)| *key == Value::from(number));
        found.map(|(_, value)| value.clone())
    };
    let all: Option<Vec<Value>> = wanted.into_iter().map(find).collect();
    all?.try_into().ok()
}

fn read(value: Value) -> Option<Judged> {
    let [gateway, written, since, all] = fields(value, [0, 1, 2, 3])?;
    let all = all.into_array().ok()?;
    if all.len() > MOST {
        return None;
    }
    let judgements: Vec<Judgement> = all.into_iter().map(judgement).collect::<Option<_>>()?;
    // Which one counted is found by their order.
    judgements
        .is_sorted_by(|a, b| a.from.ms >= b.from.ms)
        .then_some(())?;
    Some(Judged {
        gateway: gateway.into_text().ok()?.parse().ok()?,
        written_at: moment(written, 1)?,
        since: moment(since, 1)?,
        judgements,
    })
}

fn judgement(value: Value) -> Option<Judgement> {
    let [profile, from, until, verifier, submods] = fields(value, [265, 6, 4, 1004, 266])?;
    fields(verifier, [0, 1])?;
    if profile.as_text() != Some(PROFILE) {
        return None;
    }
    let submods = submods.into_map().ok()?;
    let [(name, gateway)]: [(Value, Value); 1] = submods.try_into().ok()?;
    if name.as_text() != Some("gateway") {
        return None;
    }
    let [status, vector, tier] = fields(gateway, [1000, 1001, 1003])?;
    let status = i64::try_from(status.into_integer().ok()?).ok()?;
    let all = [
        Status::None,
        Status::Affirming,
        Status::Warning,
        Status::Contraindicated,
    ];
    let numbers: Option<Vec<String>> = vector
        .into_array()
        .ok()?
        .into_iter()
        .map(|n| i64::try_from(n.into_integer().ok()?).ok().map(|n| n.to_string()))
        .collect();
    Some(Judgement {
        status: all.into_iter().find(|one| i64::from(number(*one)) == status)?,
        vector: numbers?.join(",").parse().ok()?,
        tier: Tier::from_name(tier.as_text()?)?,
        from: moment(from, 1000)?,
        until: moment(until, 1000)?,
    })
}

fn moment(value: Value, unit_ms: i64) -> Option<Timestamp> {
    let number = i64::try_from(value.into_integer().ok()?).ok()?;
    Some(Timestamp::synced(number.checked_mul(unit_ms)?))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "test: keys of its own")]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

    use super::*;

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    struct Key(EcdsaKeyPair);

    impl Key {
        fn new() -> Key {
            let (alg, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(alg, &random).expect("a key");
            Key(EcdsaKeyPair::from_pkcs8(alg, pkcs8.as_ref(), &random).expect("a key"))
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

    fn judged() -> Judged {
        let one = |status, hour: i64| Judgement {
            status,
            vector: "2,0,3,0,2,0,2,0".parse().expect("a vector"),
            tier: Tier::TpmChip,
            from: NOW.plus_ms(hour * 3_600_000),
            until: NOW.plus_ms((hour + 36) * 3_600_000),
        };
        Judged {
            gateway: "gw-1".parse().expect("an id"),
            written_at: NOW.plus_ms(100 * 3_600_000),
            since: NOW,
            judgements: vec![
                one(Status::Contraindicated, 90),
                one(Status::Warning, 60),
                one(Status::Affirming, 10),
            ],
        }
    }

    #[test]
    fn judgements_read_back_and_no_bit_of_them_can_be_changed() {
        let (key, other) = (Key::new(), Key::new());
        let bytes = judged().seal(&key).expect("signs");
        assert_eq!(Judged::verify(&bytes, &key.public()).expect("holds"), judged());
        assert!(Judged::verify(&bytes, &other.public()).is_err());
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            if let Ok(read) = Judged::verify(&bad, &key.public()) {
                assert_eq!(read, judged(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_reading_is_held_against_the_judgement_of_its_time() {
        let judged = judged();
        let at = |hour: i64| judged.against(NOW.plus_ms(hour * 3_600_000));
        for (hour, said) in [
            (-1, None),
            (5, Some(Err(Reason::GatewayUnjudged))),
            (20, Some(Ok(()))),
            (50, Some(Err(Reason::GatewayDoubted))), // it had ended, and was not renewed
            (70, Some(Err(Reason::GatewayDoubted))), // the next one was a failure
            (95, Some(Err(Reason::GatewayDoubted))),
            (101, None),
        ] {
            assert_eq!(at(hour), said, "hour {hour}");
        }
    }
}
