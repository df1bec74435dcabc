//! What one signature proves of the envelopes before it, and what it does not.
#![expect(clippy::disallowed_methods, reason = "test: keys of its own")]

use homeward_protocol::envelope::{ChainHash, LossCause, Lost};
use homeward_protocol::id::{Epoch, Seq};
use homeward_protocol::signed::Signer;
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire::Bytes;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::*;

const EPOCH: Epoch = Epoch(7);

/// A key that may sign, or signs nonsense.
enum Key {
    Real(Box<EcdsaKeyPair>),
    None,
}

impl Key {
    fn new() -> Key {
        let (alg, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(alg, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(alg, pkcs8.as_ref(), &random).expect("a key");
        Key::Real(Box::new(pair))
    }

    fn public(&self) -> Vec<PublicKey> {
        match self {
            Key::Real(pair) => PublicKey::from_point(pair.public_key().as_ref())
                .into_iter()
                .collect(),
            Key::None => Vec::new(),
        }
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let Key::Real(pair) = self else {
            return Ok([7; 64]);
        };
        let signed = pair.sign(&SystemRandom::new(), message);
        let signed = signed.map_err(|e| e.to_string())?;
        signed.as_ref().try_into().map_err(|_| "not 64 bytes".to_owned())
    }
}

fn gateway() -> GatewayId {
    "gw-1".parse().expect("an id")
}

/// Envelopes of two records each, one after the other.
fn chain(n: u64) -> Vec<Envelope> {
    let mut prev = ChainHash::start(EPOCH, Lane::Vital);
    let one = |n: u64| {
        let first = n * 2 + 1;
        let bodies = [first, first + 1].map(|n| Entry::Item(Bytes(n.to_be_bytes().to_vec())));
        let this = prev;
        prev = bodies.iter().fold(prev, ChainHash::after);
        Envelope {
            gateway: gateway(),
            epoch: EPOCH,
            lane: Lane::Vital,
            oldest: Seq(1),
            first: Seq(first),
            prev: this,
            sent_at: Timestamp::synced(1_795_000_000_000),
            entries: bodies.to_vec(),
        }
    };
    (0..n).map(one).collect()
}

fn seal(envelope: &Envelope, key: &Key) -> Vec<u8> {
    Signed::seal(envelope, key).expect("sealed")
}

/// Opens these, each signed by the key beside it; says which kind of fault each has.
fn faults(sent: &[(Envelope, &Key)], keys: &[PublicKey]) -> Vec<Option<Kind>> {
    let keys: Vec<Voice> = keys.iter().cloned().map(Voice::from).collect();
    let payloads: Vec<Vec<u8>> = sent.iter().map(|(envelope, key)| seal(envelope, key)).collect();
    open(&gateway(), Lane::Vital, &payloads, &keys)
        .iter()
        .map(|one| one.as_ref().err().map(|fault| fault.kind))
        .collect()
}

/// One that is not signed, changed like this, before one that is.
fn fault_before_a_signed_one(change: impl FnOnce(&mut Envelope)) -> Option<Kind> {
    let key = Key::new();
    let mut run = chain(2);
    let last = run.remove(1);
    change(&mut run[0]);
    let found = faults(&[(run.remove(0), &Key::None), (last, &key)], &key.public());
    assert_eq!(found[1], None, "the signed one stands by itself");
    found[0]
}

#[test]
fn the_last_signature_proves_the_records_that_lead_up_to_it() {
    let key = Key::new();
    let run = chain(5);
    let mut sent: Vec<(Envelope, &Key)> = run.into_iter().map(|envelope| (envelope, &Key::None)).collect();
    assert_eq!(faults(&sent, &key.public()), [Some(Kind::Signature); 5]);
    sent[4].1 = &key;
    assert_eq!(faults(&sent, &key.public()), [None; 5]);
    sent[4].1 = &Key::None;
    sent[2].1 = &key;
    let unproved = Some(Kind::Signature);
    assert_eq!(
        faults(&sent, &key.public()),
        [None, None, None, unproved, unproved]
    );
}

#[test]
fn what_the_chain_does_not_cover_needs_a_signature_of_its_own() {
    let unproved = Some(Kind::Signature);
    assert_eq!(fault_before_a_signed_one(|_| {}), None, "nothing was changed");
    let other_record = |e: &mut Envelope| e.entries[0] = Entry::Item(Bytes(vec![9]));
    assert_eq!(fault_before_a_signed_one(other_record), unproved);
    assert_eq!(
        fault_before_a_signed_one(|e| e.entries.truncate(1)),
        unproved,
        "a hole"
    );
    assert_eq!(fault_before_a_signed_one(|e| e.first = Seq(2)), unproved);
    assert_eq!(
        fault_before_a_signed_one(|e| e.prev = ChainHash([0; 32])),
        unproved
    );
    assert_eq!(fault_before_a_signed_one(|e| e.epoch = Epoch(8)), unproved);
    assert_eq!(fault_before_a_signed_one(|e| e.lane = Lane::Urgent), unproved);
    let elsewhere = |e: &mut Envelope| e.gateway = "gw-2".parse().expect("an id");
    assert_eq!(fault_before_a_signed_one(elsewhere), unproved);
    let loss = |e: &mut Envelope| {
        let lost = Lost {
            count: 1,
            cause: LossCause::Quota,
            head: e.entries.iter().fold(e.prev, ChainHash::after),
            at: e.sent_at,
        };
        e.entries[1] = Entry::Lost(lost);
    };
    assert_eq!(fault_before_a_signed_one(loss), unproved, "a loss is only stated");
}

#[test]
fn one_that_says_it_holds_less_than_the_next_is_not_vouched_for() {
    let key = Key::new();
    let mut run = chain(3);
    let last = run.remove(2);
    run[1].oldest = Seq(3);
    let sent = [(run.remove(1), &Key::None), (last, &key)];
    assert_eq!(faults(&sent, &key.public()), [Some(Kind::Signature), None]);
}

#[test]
fn a_signature_for_another_lane_or_gateway_vouches_for_nothing() {
    let key = Key::new();
    let mut run = chain(2);
    for envelope in &mut run {
        envelope.gateway = "gw-2".parse().expect("an id");
    }
    let last = run.remove(1);
    let sent = [(run.remove(0), &Key::None), (last, &key)];
    assert_eq!(
        faults(&sent, &key.public()),
        [Some(Kind::Signature), Some(Kind::Name)]
    );
}

/// Also of an envelope that the spare key vouches for.
#[test]
fn what_a_spare_key_signs_is_known_as_its_word() {
    let (own, spare) = (Key::new(), Key::new());
    let voices: Vec<Voice> = [(&own, false), (&spare, true)]
        .into_iter()
        .flat_map(|(key, spare)| key.public().into_iter().map(move |key| Voice { key, spare }))
        .collect();
    for (signers, said) in [
        ([&own, &own], [false, false]),
        ([&own, &spare], [true, true]),
        ([&spare, &own], [false, false]),
        ([&spare, &spare], [true, true]),
    ] {
        let sent: Vec<_> = chain(2)
            .iter()
            .zip(signers)
            .map(|(e, key)| seal(e, key))
            .collect();
        let opened = open(&gateway(), Lane::Vital, &sent, &voices);
        let spare: Vec<bool> = opened.into_iter().map(|one| one.expect("opens").spare).collect();
        assert_eq!(spare, said);
    }
}

proptest! {
    /// Whatever a byte on the way becomes: what is opened has the numbers and the records that were sent.
    #[test]
    fn a_changed_byte_is_found_or_changes_no_record(at in 0_usize..10_000, flip in 1_u8..=255) {
        let key = Key::new();
        let run = chain(3);
        let mut payloads: Vec<Vec<u8>> = run.iter().map(|envelope| seal(envelope, &key)).collect();
        let all: usize = payloads.iter().map(Vec::len).sum();
        let mut at = at % all;
        for payload in &mut payloads {
            if let Some(byte) = payload.get_mut(at) {
                *byte ^= flip;
                break;
            }
            at -= payload.len();
        }
        let keys: Vec<Voice> = key.public().into_iter().map(Voice::from).collect();
        for (sent, opened) in run.into_iter().zip(open(&gateway(), Lane::Vital, &payloads, &keys)) {
            if let Ok(opened) = opened {
                let sent = Arrived::new(sent);
                prop_assert_eq!((opened.epoch, opened.lane, opened.first), (sent.epoch, sent.lane, sent.first));
                prop_assert_eq!((opened.prev, &opened.places), (sent.prev, &sent.places));
                prop_assert!(opened.oldest <= sent.oldest);
            }
        }
    }
}
