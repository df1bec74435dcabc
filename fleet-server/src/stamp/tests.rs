#![expect(
    clippy::disallowed_methods,
    reason = "tests: a folder to make an authority in, and keys"
)]

use std::path::Path;

use homeward_protocol::bond::BleAddress;
use homeward_protocol::envelope::Entry;
use homeward_protocol::grade::Reason;
use homeward_protocol::reading::{Details, Kind, Quality, Value};
use homeward_protocol::signed::{PublicKey, Signer};
use homeward_protocol::unit::Decimal;
use homeward_protocol::wire::Bytes;
use proptest::prelude::*;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::CertificateDer;

use super::*;
use crate::ca::{Authority, DAY_MS, GATEWAY_DAYS, Revoked, Serial};

const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);
const EPOCH: Epoch = Epoch(0x17);

/// A gateway that signs.
struct Speaker {
    id: GatewayId,
    key: EcdsaKeyPair,
    first: u64,
    prev: ChainHash,
    lane: Lane,
}

impl Signer for Speaker {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let signature = self
            .key
            .sign(&SystemRandom::new(), message)
            .map_err(|e| e.to_string())?;
        signature.as_ref().try_into().map_err(|_| "not 64 bytes".into())
    }
}

impl Speaker {
    fn new(id: &str) -> Speaker {
        let rng = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &rng);
        Speaker {
            id: id.parse().expect("an id"),
            key: key.expect("a key"),
            first: 1,
            prev: ChainHash::start(EPOCH, Lane::Vital),
            lane: Lane::Vital,
        }
    }

    fn public(&self) -> PublicKey {
        PublicKey::from_point(self.key.public_key().as_ref()).expect("a point")
    }

    fn envelope(&self, items: &[Item], sent_at: Timestamp) -> Envelope {
        let entry = |item: &Item| Entry::Item(item.encode().expect("encodes"));
        Envelope {
            gateway: self.id.clone(),
            epoch: EPOCH,
            lane: self.lane,
            oldest: Seq(1),
            first: Seq(self.first),
            prev: self.prev,
            sent_at,
            entries: items.iter().map(entry).collect(),
        }
    }

    fn says(&mut self, items: &[Item], sent_at: Timestamp) -> Vec<u8> {
        let envelope = self.envelope(items, sent_at);
        let signed = Signed::seal(&envelope, self).expect("seals");
        self.prev = envelope.entries.iter().fold(self.prev, ChainHash::after);
        self.first += u64::try_from(items.len()).expect("few");
        signed
    }

    /// Another lane of the same outbox.
    fn in_lane(self, lane: Lane) -> Speaker {
        Speaker {
            lane,
            first: 1,
            prev: ChainHash::start(EPOCH, lane),
            ..self
        }
    }
}

struct Fleet {
    authority: Authority,
    _dir: tempfile::TempDir,
}

fn authority(dir: &Path) -> Authority {
    Authority::init(dir, "homeward".parse().expect("a domain"), NOW).expect("made")
}

impl Fleet {
    fn new() -> Fleet {
        let dir = tempfile::tempdir().expect("a folder");
        Fleet {
            authority: authority(dir.path()),
            _dir: dir,
        }
    }

    fn certificate(&self, of: &Speaker, serial: u8, at: Timestamp) -> CertificateDer<'static> {
        let serial = Serial::from_random([serial; 16]);
        let issued = self.authority.issue_gateway(&of.public(), &of.id, serial, at);
        issued.expect("issued").der
    }

    fn papers(&self, leaves: &[CertificateDer<'static>]) -> Papers {
        let all = [leaves, &[self.authority.gateway_issuer().clone()]].concat();
        Papers::read(&self.authority.trust_bundle(), &all, Vec::new()).expect("papers")
    }

    fn verifier(&self, of: &Speaker) -> Verifier {
        Verifier::new(self.papers(&[self.certificate(of, 1, NOW)]))
    }
}

fn reading(grade: Grade, reasons: &[Reason], taken_at: Timestamp) -> Item {
    Item::Reading(Reading {
        sensor: "cuff".parse().expect("an id"),
        kind: Kind::SystolicPressure,
        value: Value::Number(Decimal::whole(120)),
        taken_at,
        quality: Quality::Good,
        grade,
        details: Details {
            reasons: reasons.to_vec(),
            ..Details::default()
        },
    })
}

fn verified(taken_at: Timestamp) -> Item {
    reading(Grade::Verified, &[], taken_at)
}

fn bonds(class: KeyClass, key_size: u8, associated_at: i64, taken_at: i64) -> Item {
    Item::Watch(WatchReport {
        taken_at: Timestamp::synced(taken_at),
        findings: Vec::new(),
        more: 0,
        devices: vec![DeviceFacts {
            sensor: "cuff".parse().expect("an id"),
            address: BleAddress([0xC1, 0, 0, 0, 0, 1]),
            bond: Some(Bond { class, key_size }),
            associated_at: Timestamp::synced(associated_at),
            firmware: None,
            battery: None,
        }],
    })
}

fn only_doubt(checked: Result<Checked, Fault>) -> Doubt {
    let checked = checked.expect("the envelope holds");
    assert!(checked.stamps.is_empty(), "{:?}", checked.stamps);
    let [(_, doubt)] = checked.refused.as_slice() else {
        panic!("{:?}", checked.refused);
    };
    doubt.clone()
}

#[test]
fn a_chain_of_envelopes_holds_from_its_beginning_and_a_missing_one_is_said() {
    let fleet = Fleet::new();
    let mut gateway = Speaker::new("gw-1");
    let mut verifier = fleet.verifier(&gateway);
    let files: Vec<Vec<u8>> = (0..4)
        .map(|n| gateway.says(&[verified(NOW), verified(NOW.plus_ms(n))], NOW.plus_ms(n)))
        .collect();
    let first = verifier.check(&files[0]).expect("holds");
    assert_eq!((first.link, first.stamps.len()), (Link::Begins, 2));
    assert_eq!(verifier.check(&files[1]).expect("holds").link, Link::Follows);
    assert!(matches!(verifier.check(&files[1]), Err(Fault::Order(Seq(3)))));
    let last = verifier.check(&files[3]).expect("holds");
    assert_eq!(last.link, Link::Apart(Some(2)));
    assert_eq!(last.stamps.last().map(|s| s.seq), Some(Seq(8)));
}

#[test]
fn a_record_that_was_left_out_or_put_in_breaks_the_chain() {
    let fleet = Fleet::new();
    let mut gateway = Speaker::new("gw-1");
    let mut verifier = fleet.verifier(&gateway);
    verifier
        .check(&gateway.says(&[verified(NOW)], NOW))
        .expect("holds");
    gateway.prev = gateway.prev.then(b"something else");
    let forged = gateway.says(&[verified(NOW)], NOW);
    assert!(matches!(verifier.check(&forged), Err(Fault::Chain(Seq(2)))));
    let mut gateway = Speaker::new("gw-1");
    let mut verifier = fleet.verifier(&gateway);
    gateway.prev = gateway.prev.then(b"as if there had been more");
    let forged = gateway.says(&[verified(NOW)], NOW);
    assert!(matches!(verifier.check(&forged), Err(Fault::Chain(Seq(1)))));
}

#[test]
fn one_changed_bit_anywhere_fails() {
    let fleet = Fleet::new();
    let mut gateway = Speaker::new("gw-1");
    let papers = [fleet.certificate(&gateway, 1, NOW)];
    let bytes = gateway.says(
        &[
            verified(NOW),
            reading(Grade::Associated, &[Reason::NoIdentity], NOW),
        ],
        NOW,
    );
    let check = |bytes: &[u8]| Verifier::new(fleet.papers(&papers)).check(bytes);
    assert_eq!(check(&bytes).expect("holds").stamps.len(), 2);
    let mut verifier = Verifier::new(fleet.papers(&papers));
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(verifier.check(&changed).is_err(), "bit {bit}");
    }
    assert_eq!(verifier.check(&bytes).expect("holds still").stamps.len(), 2);
}

#[test]
fn one_changed_bit_of_a_certificate_names_nobody() {
    let fleet = Fleet::new();
    let mut gateway = Speaker::new("gw-1");
    let bytes = gateway.says(&[verified(NOW)], NOW);
    let (leaf, issuer) = (
        fleet.certificate(&gateway, 1, NOW),
        fleet.authority.gateway_issuer(),
    );
    let roots = fleet.authority.trust_bundle();
    for which in 0..2 {
        let size = if which == 0 { leaf.len() } else { issuer.len() };
        for bit in (0..size * 8).step_by(5) {
            let mut all = [leaf.to_vec(), issuer.to_vec()];
            all[which][bit / 8] ^= 1 << (bit % 8);
            let all = all.map(CertificateDer::from);
            let papers = Papers::read(&roots, &all, Vec::new()).expect("the roots are right");
            assert!(
                Verifier::new(papers).check(&bytes).is_err(),
                "certificate {which}, bit {bit}"
            );
        }
    }
}

#[test]
fn only_a_certificate_that_names_this_gateway_for_this_key_at_this_time_counts() {
    let fleet = Fleet::new();
    let mut gateway = Speaker::new("gw-1");
    let bytes = gateway.says(&[verified(NOW)], NOW);
    let check = |papers: Papers| Verifier::new(papers).check(&bytes);
    assert!(check(fleet.papers(&[fleet.certificate(&gateway, 1, NOW)])).is_ok());

    let other = Speaker::new("gw-2");
    let papers = fleet.papers(&[fleet.certificate(&other, 1, NOW)]);
    assert!(
        matches!(check(papers), Err(Fault::NoCertificate(_))),
        "another gateway's"
    );
    let namesake = Speaker::new("gw-1");
    let papers = fleet.papers(&[fleet.certificate(&namesake, 1, NOW)]);
    let found = check(papers);
    assert!(
        matches!(found, Err(Fault::Signed(SignedError::Signature))),
        "another key"
    );
    let stranger = Fleet::new();
    let papers = Papers::read(
        &fleet.authority.trust_bundle(),
        &[
            stranger.certificate(&gateway, 1, NOW),
            stranger.authority.gateway_issuer().clone(),
        ],
        Vec::new(),
    );
    let papers = papers.expect("the roots are right");
    assert_eq!(papers.refused().len(), 1, "another fleet's");
    assert!(matches!(check(papers), Err(Fault::NoCertificate(_))));

    for (issued_at, good) in [(-15, false), (-13, true), (0, true), (1, false)] {
        let at = NOW.plus_ms(issued_at * DAY_MS);
        let found = check(fleet.papers(&[fleet.certificate(&gateway, 1, at)]));
        assert_eq!(found.is_ok(), good, "issued {issued_at} days before: {found:?}");
    }
    let renewed = [-28, -14, 0].map(|days| fleet.certificate(&gateway, 1, NOW.plus_ms(days * DAY_MS)));
    assert!(check(fleet.papers(&renewed)).is_ok(), "one of its renewals");
}

#[test]
fn a_certificate_on_the_revocation_list_counts_no_more() {
    let fleet = Fleet::new();
    let mut gateway = Speaker::new("gw-1");
    let bytes = gateway.says(&[verified(NOW)], NOW);
    let leaf = fleet.certificate(&gateway, 1, NOW);
    let all = [leaf, fleet.authority.gateway_issuer().clone()];
    for (number, good) in [(1, false), (2, true)] {
        let gone = Revoked {
            serial: Serial::from_random([number; 16]),
            at: NOW,
        };
        let crl = fleet.authority.crl(&[gone], NOW).expect("a list");
        let papers = Papers::read(&fleet.authority.trust_bundle(), &all, vec![crl]).expect("papers");
        assert_eq!(papers.refused().len(), usize::from(!good));
        assert_eq!(Verifier::new(papers).check(&bytes).is_ok(), good);
    }
}

#[test]
fn a_grade_above_its_own_reasons_or_its_own_clock_is_refused() {
    let fleet = Fleet::new();
    for reason in Reason::ALL {
        let mut gateway = Speaker::new("gw-1");
        let bytes = gateway.says(&[reading(Grade::Verified, &[reason], NOW)], NOW);
        let doubt = only_doubt(fleet.verifier(&gateway).check(&bytes));
        assert!(
            matches!(doubt, Doubt::AboveItsReasons { .. }),
            "{reason:?}: {doubt:?}"
        );
    }
    for trust in [ClockTrust::Unsynced, ClockTrust::Floor] {
        let mut gateway = Speaker::new("gw-1");
        let doubtful = Timestamp { ms: NOW.ms, trust };
        let bytes = gateway.says(&[verified(doubtful)], NOW);
        let doubt = only_doubt(fleet.verifier(&gateway).check(&bytes));
        assert!(matches!(doubt, Doubt::AboveItsReasons { .. }), "{doubt:?}");
        // The clock was right as it measured, and in doubt as it sent, long after its certificate ended.
        let late = doubtful.plus_ms(2 * GATEWAY_DAYS * DAY_MS);
        let bytes = gateway.says(&[verified(NOW), reading(Grade::Associated, &[], NOW)], late);
        let mut verifier = fleet.verifier(&gateway);
        let checked = verifier.check(&bytes).expect("the envelope holds");
        assert_eq!(checked.refused, [(Seq(2), Doubt::TimeNotShown)]);
        assert_eq!(checked.stamps.len(), 1, "what claims less holds");
    }
}

#[test]
fn a_reading_from_the_future_is_refused_and_a_corrected_clock_is_not() {
    let fleet = Fleet::new();
    let mut gateway = Speaker::new("gw-1");
    let items = [
        verified(NOW.plus_ms(CORRECTION_MS)),
        verified(NOW.plus_ms(CORRECTION_MS + 1)),
    ];
    let bytes = gateway.says(&items, NOW);
    let checked = fleet.verifier(&gateway).check(&bytes).expect("holds");
    assert_eq!(
        checked.refused,
        [(Seq(2), Doubt::FromTheFuture(CORRECTION_MS + 1))]
    );
}

#[test]
fn a_verified_reading_is_held_against_the_bond_that_its_gateway_reported() {
    let fleet = Fleet::new();
    let (full, before) = (KeyClass::SecureAuthenticated, NOW.ms - 1000);
    let table = [
        ("as reported", bonds(full, 16, before, before), None),
        (
            "nothing checked at the pairing",
            bonds(KeyClass::SecureUnauthenticated, 16, before, before),
            Some(Doubt::BondProvesLess),
        ),
        (
            "a short key",
            bonds(full, 7, before, before),
            Some(Doubt::BondProvesLess),
        ),
        (
            "associated afterwards",
            bonds(full, 16, NOW.ms + 1, before),
            Some(Doubt::BeforeAssociation),
        ),
        (
            "a report from afterwards says nothing of before",
            bonds(KeyClass::Debug, 7, before, NOW.ms + 1),
            None,
        ),
    ];
    for (what, report, doubt) in table {
        let mut gateway = Speaker::new("gw-1").in_lane(Lane::Urgent);
        let mut verifier = fleet.verifier(&gateway);
        verifier
            .check(&gateway.says(&[report], NOW))
            .expect("the report holds");
        let mut gateway = gateway.in_lane(Lane::Vital);
        let checked = verifier
            .check(&gateway.says(&[verified(NOW)], NOW))
            .expect("holds");
        assert_eq!(
            checked.refused.first().map(|(_, doubt)| doubt.clone()),
            doubt,
            "{what}"
        );
        let reported = checked.stamps.first().and_then(|stamp| stamp.bond);
        assert_eq!(reported.is_some(), what == "as reported", "{what}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_alone() {
    let fleet = Fleet::new();
    let gateway = Speaker::new("gw-1");
    let mut envelope = gateway.envelope(&[verified(NOW), verified(NOW)], NOW);
    envelope.entries.insert(1, Entry::Item(Bytes(vec![0xf6])));
    let bytes = Signed::seal(&envelope, &gateway).expect("seals");
    let checked = fleet.verifier(&gateway).check(&bytes).expect("holds");
    assert_eq!(checked.stamps.len(), 2);
    assert!(matches!(
        checked.refused.as_slice(),
        [(Seq(2), Doubt::Unreadable(_))]
    ));
}

/// As many stamps as a fleet's day brings, in envelopes of every size: each holds, and the forged ones among them,
/// and no other, are refused. A million in release form; fewer where nothing is optimised.
#[test]
fn many_stamps_are_told_from_the_forged_ones_among_them() {
    const STAMPS: usize = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
    let fleet = Fleet::new();
    let mut gateways: Vec<Speaker> = (0..50).map(|n| Speaker::new(&format!("gw-{n:03}"))).collect();
    let leaves: Vec<CertificateDer<'static>> =
        gateways.iter().map(|g| fleet.certificate(g, 1, NOW)).collect();
    let mut verifier = Verifier::new(fleet.papers(&leaves));
    let (mut held, mut refused, mut faults, mut forged, mut damaged) = (0, 0, 0, 0, 0);
    let mut round = 0_usize;
    while held + refused < STAMPS {
        let gateway = &mut gateways[round % 50];
        let size = 1 + round * 7 % 40;
        let at = NOW.plus_ms(i64::try_from(round).expect("small"));
        let forgery = |n: usize| (round + n).is_multiple_of(97);
        let items: Vec<Item> = (0..size)
            .map(|n| match n % 3 {
                _ if forgery(n) => reading(Grade::Verified, &[Reason::UnauthenticatedBond], at),
                0 => verified(at),
                1 => reading(
                    Grade::Associated,
                    &[Reason::LegacyBond, Reason::GatewayUnjudged],
                    at,
                ),
                _ => reading(Grade::Unverified, &[Reason::BondChanged], at),
            })
            .collect();
        forged += (0..size).filter(|n| forgery(*n)).count();
        let bytes = gateway.says(&items, at);
        if usize::is_multiple_of(round, 13) {
            let mut changed = bytes.clone();
            let bit = round * 31 % (changed.len() * 8);
            changed[bit / 8] ^= 1 << (bit % 8);
            damaged += 1;
            faults += usize::from(verifier.check(&changed).is_err());
        }
        let checked = verifier.check(&bytes).expect("an honest envelope holds");
        held += checked.stamps.len();
        refused += checked.refused.len();
        round += 1;
    }
    assert_eq!((refused, faults), (forged, damaged));
    assert!(held + refused >= STAMPS && forged > STAMPS / 200 && damaged > 0);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Verifier::default().check(&bytes).is_err());
        let framed = [&[0x84, 0x43, 0xa1, 0x01, 0x26, 0xa0][..], &bytes].concat();
        prop_assert!(Verifier::default().check(&framed).is_err());
    }
}
