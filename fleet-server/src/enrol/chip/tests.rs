//! Proofs by software keys that play a TPM: what a real one proves is tested against swtpm.

use homeward_protocol::tpm::template::{self, Endorsement};
use homeward_protocol::tpm::{Name, Writer};
use homeward_protocol::wire::Bytes;
use rcgen::{KeyPair, SigningKey as _};

use super::*;

const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

/// The area of a template with the point of `key`; the templates end in two coordinates of 32 bytes or none.
fn area(template: &[u8], head: usize, key: &KeyPair) -> Bytes {
    use rcgen::PublicKeyData as _;
    let point = key.der_bytes();
    Bytes(
        Writer::new()
            .raw(&template[..head])
            .sized(&point[1..33])
            .sized(&point[33..])
            .done(),
    )
}

fn statement(name: &Name, extra: &[u8; 32]) -> Vec<u8> {
    let clock = Writer::new().raw(&[0; 8]).u32(1).u32(0).u8(1).raw(&[0; 8]).done();
    Writer::new()
        .u32(0xff54_4347)
        .u16(0x8017)
        .sized(&[])
        .sized(extra)
        .raw(&clock)
        .sized(name.as_bytes())
        .sized(&[])
        .done()
}

/// r and s out of a DER signature, without their leading zeros.
fn signature(der: &[u8]) -> Vec<u8> {
    let r_length = usize::from(der[3]);
    let (r, s) = (&der[4..4 + r_length], &der[6 + r_length..]);
    let bare = |n: &[u8]| n.iter().copied().skip_while(|b| *b == 0).collect::<Vec<u8>>();
    Writer::new()
        .u16(0x18)
        .u16(0xb)
        .sized(&bare(r))
        .sized(&bare(s))
        .done()
}

struct Box {
    endorsement: KeyPair,
    attestation: KeyPair,
    tls: KeyPair,
}

impl Box {
    fn new() -> Box {
        let key = || KeyPair::generate().expect("a key");
        Box {
            endorsement: key(),
            attestation: key(),
            tls: key(),
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            // Up to the point: 10 + 32 of the head and policy, 6 + 2 of cipher and scheme, 2 + 2 of curve and derivation.
            endorsement: area(&Endorsement::P256.template(), 54, &self.endorsement),
            certificate: None,
            attestation: area(&template::attestation(&[0; 32]), 20, &self.attestation),
        }
    }

    fn proof(&self, key: &ChipKey, made_ms: i64) -> Proof {
        let shown = Shown::read(&self.hello()).expect("reads");
        let tls = area(&template::tls(), 20, &self.tls);
        let name = Public::parse(&tls.0).expect("reads").name();
        let statement = statement(&name, &key.extra(&shown, made_ms));
        let signed = self.attestation.sign(&statement).expect("signs");
        Proof {
            hello: self.hello(),
            made_ms,
            opened: Bytes(key.secret(&shown, made_ms).to_vec()),
            key: tls,
            statement: Bytes(statement),
            signature: Bytes(signature(&signed)),
        }
    }
}

#[test]
fn a_proof_holds_for_its_keys_within_its_time_only() {
    let (key, a_box) = (ChipKey::new(&[1; 32]), Box::new());
    let proof = a_box.proof(&key, NOW.ms);
    let proved = prove(&key, &proof, NOW.plus_ms(1000)).expect("holds");
    assert_eq!(proved.key.point(), rcgen::PublicKeyData::der_bytes(&a_box.tls));
    for (now, says) in [
        (-1, "late"),
        (0, "holds"),
        (CHALLENGE_MS, "holds"),
        (CHALLENGE_MS + 1, "late"),
    ] {
        let judged = prove(&key, &proof, NOW.plus_ms(now));
        assert_eq!(judged.err(), (says == "late").then_some(ChipError::Late), "{now}");
    }
    assert_eq!(
        prove(&ChipKey::new(&[2; 32]), &proof, NOW),
        Err(ChipError::NotOpened)
    );
}

#[test]
fn no_part_of_a_proof_can_be_another_box_s() {
    let key = ChipKey::new(&[1; 32]);
    let (one, two) = (Box::new(), Box::new());
    let (mine, theirs) = (one.proof(&key, NOW.ms), two.proof(&key, NOW.ms));
    let with = |change: &dyn Fn(&mut Proof)| {
        let mut proof = mine.clone();
        change(&mut proof);
        prove(&key, &proof, NOW)
    };
    assert!(with(&|_| {}).is_ok());
    assert_eq!(
        with(&|p| p.opened = theirs.opened.clone()),
        Err(ChipError::NotOpened)
    );
    assert_eq!(with(&|p| p.opened = Bytes(Vec::new())), Err(ChipError::NotOpened));
    assert_eq!(with(&|p| p.made_ms -= 1), Err(ChipError::NotOpened));
    assert_eq!(
        with(&|p| p.hello.endorsement = theirs.hello.endorsement.clone()),
        Err(ChipError::NotOpened)
    );
    assert_eq!(
        with(&|p| p.hello.attestation = theirs.hello.attestation.clone()),
        Err(ChipError::NotOpened)
    );
    let wrong = with(&|p| p.key = theirs.key.clone());
    assert_eq!(wrong, Err(ChipError::Certification(StatementError::OtherObject)));
    let wrong = with(&|p| p.signature = theirs.signature.clone());
    assert_eq!(wrong, Err(ChipError::Certification(StatementError::OtherKey)));
    let swapped = with(&|p| p.hello.attestation = p.key.clone());
    assert!(
        matches!(swapped, Err(ChipError::Keys(_))),
        "a key that signs anything"
    );
    let wrong = with(&|p| p.hello.certificate = Some(Bytes(b"none".to_vec())));
    assert_eq!(wrong, Err(ChipError::Certificate));
}

#[test]
fn a_chip_is_known_by_a_hash_that_only_this_server_makes() {
    let shown = Shown::read(&Box::new().hello()).expect("reads");
    let hash = shown.endorsement.hash();
    let (ours, theirs) = (
        ChipKey::new(&[1; 32]).chip(&hash),
        ChipKey::new(&[2; 32]).chip(&hash),
    );
    assert_ne!(ours, theirs);
    assert_ne!(ours.0, hash);
}
