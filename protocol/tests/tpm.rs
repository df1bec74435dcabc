//! Structures of a TPM, made here by hand and by a software key that plays one.

use homeward_protocol::signed::PublicKey;
use homeward_protocol::tpm::quote::{Registers, digest_of, extra};
use homeward_protocol::tpm::signature::Ecdsa;
use homeward_protocol::tpm::statement::{Statement, StatementError};
use homeward_protocol::tpm::{
    AttestationKey, EndorsementKey, FormError, Public, Writer, certify, quote, template,
};
use proptest::prelude::*;
use ring::digest::{self, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

/// A key pair with the area that a TPM would give it.
struct Fake(EcdsaKeyPair);

impl Fake {
    #[expect(clippy::disallowed_methods, reason = "tests: keys")]
    fn new() -> Fake {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
        Fake(pair.expect("a key"))
    }

    fn area(&self, template: &[u8], attributes: u32) -> Vec<u8> {
        let point = self.0.public_key().as_ref();
        // The template up to its unique part: that of a P-256 key without policy and cipher.
        let mut area = template[..20].to_vec();
        area[4..8].copy_from_slice(&attributes.to_be_bytes());
        Writer::new()
            .raw(&area)
            .sized(&point[1..33])
            .sized(&point[33..])
            .done()
    }

    fn attestation(&self) -> AttestationKey {
        let area = self.area(&template::attestation(&[0; 32]), template::AK);
        AttestationKey::check(Public::parse(&area).expect("reads")).expect("an attestation key")
    }

    #[expect(clippy::disallowed_methods, reason = "tests: signatures")]
    fn sign(&self, statement: &[u8]) -> Vec<u8> {
        let signature = self.0.sign(&SystemRandom::new(), statement).expect("signs");
        let strip = |half: &[u8]| half.iter().copied().skip_while(|b| *b == 0).collect::<Vec<u8>>();
        let (r, s) = signature.as_ref().split_at(32);
        Writer::new()
            .u16(0x18)
            .u16(0xb)
            .sized(&strip(r))
            .sized(&strip(s))
            .done()
    }
}

fn statement(kind: u16, extra: &[u8], body: &[u8]) -> Vec<u8> {
    Writer::new()
        .u32(0xff54_4347)
        .u16(kind)
        .sized(&[0, 11])
        .sized(extra)
        .u32(0)
        .u32(77)
        .u32(5)
        .u32(1)
        .u8(1)
        .raw(&9u64.to_be_bytes())
        .raw(body)
        .done()
}

fn quoted(registers: &Registers) -> Vec<u8> {
    let mut bits = [0u8; 3];
    for number in registers.keys() {
        bits[usize::from(number / 8)] |= 1 << (number % 8);
    }
    Writer::new()
        .u32(1)
        .u16(0xb)
        .u8(3)
        .raw(&bits)
        .sized(&digest_of(registers))
        .done()
}

fn some_registers() -> Registers {
    [0u8, 4, 7, 23].into_iter().map(|n| (n, [n; 32])).collect()
}

#[test]
fn the_policies_of_endorsement_keys_are_what_their_commands_hash_to() {
    let secret = |algorithm: &'static digest::Algorithm| {
        let first = [
            vec![0; algorithm.output_len()],
            0x151u32.to_be_bytes().to_vec(),
            vec![0x40, 0, 0, 0xb],
        ]
        .concat();
        digest(algorithm, digest(algorithm, &first).as_ref())
            .as_ref()
            .to_vec()
    };
    assert_eq!(secret(&digest::SHA256), template::POLICY_A_SHA256);
    assert_eq!(secret(&digest::SHA384), template::POLICY_A_SHA384);
    let either = [
        vec![0; 48],
        0x171u32.to_be_bytes().to_vec(),
        template::POLICY_A_SHA384.to_vec(),
        template::POLICY_C_SHA384.to_vec(),
    ]
    .concat();
    assert_eq!(
        digest(&digest::SHA384, &either).as_ref(),
        template::POLICY_B_SHA384
    );
}

#[test]
fn a_quote_vouches_for_its_registers_its_key_and_its_challenge_only() {
    let (tpm, other) = (Fake::new(), Fake::new());
    let (nonce, registers) = ([7; 32], some_registers());
    let extra = extra(&nonce, b"token");
    let bytes = statement(0x8018, &extra, &quoted(&registers));
    let signature = tpm.sign(&bytes);
    let proved = quote::check(&tpm.attestation(), &bytes, &signature, &extra, &registers).expect("holds");
    assert_eq!(proved.registers(), &registers);
    assert_eq!(
        (proved.clock().reset_count, proved.clock().safe, proved.firmware()),
        (5, true, 9)
    );

    let wrong = |key: &Fake, extra: &[u8; 32], registers: &Registers| {
        quote::check(&key.attestation(), &bytes, &signature, extra, registers)
    };
    assert_eq!(wrong(&other, &extra, &registers), Err(StatementError::OtherKey));
    let old = quote::extra(&[8; 32], b"token");
    assert_eq!(wrong(&tpm, &old, &registers), Err(StatementError::OtherExtra));
    let other_token = quote::extra(&nonce, b"tokens");
    assert_eq!(
        wrong(&tpm, &other_token, &registers),
        Err(StatementError::OtherExtra)
    );
    let mut changed = registers.clone();
    changed.insert(7, [0; 32]);
    assert_eq!(wrong(&tpm, &extra, &changed), Err(StatementError::OtherRegisters));
    changed.clone_from(&registers);
    changed.insert(8, [0; 32]);
    assert_eq!(wrong(&tpm, &extra, &changed), Err(StatementError::OtherRegisters));
    changed.clone_from(&registers);
    changed.remove(&23);
    assert_eq!(wrong(&tpm, &extra, &changed), Err(StatementError::OtherRegisters));
}

#[test]
fn no_byte_of_a_quote_may_change() {
    let tpm = Fake::new();
    let (extra, registers) = ([3; 32], some_registers());
    let bytes = statement(0x8018, &extra, &quoted(&registers));
    let signature = tpm.sign(&bytes);
    let holds = |bytes: &[u8], signature: &[u8]| {
        quote::check(&tpm.attestation(), bytes, signature, &extra, &registers).is_ok()
    };
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(!holds(&bad, &signature), "byte {at}");
        assert!(!holds(&bytes[..at], &signature), "cut at {at}");
    }
    for at in 0..signature.len() {
        let mut bad = signature.clone();
        bad[at] ^= 1;
        assert!(!holds(&bytes, &bad), "byte {at} of the signature");
    }
    assert!(!holds(&[bytes.as_slice(), &[0]].concat(), &signature));
}

#[test]
fn a_certification_is_of_one_key_that_stays_in_its_tpm() {
    let (tpm, key, other) = (Fake::new(), Fake::new(), Fake::new());
    let area = |of: &Fake, attributes| Public::parse(&of.area(&template::tls(), attributes)).expect("reads");
    let check = |public: &Public, named: &Public| {
        let body = Writer::new()
            .sized(named.name().as_bytes())
            .sized(&[0, 11])
            .done();
        let bytes = statement(0x8017, &[1; 32], &body);
        certify::check(&tpm.attestation(), public, &bytes, &tpm.sign(&bytes), &[1; 32])
    };
    let public = area(&key, template::TLS);
    let certified = check(&public, &public).expect("holds");
    assert_eq!(
        Some(certified.key()),
        PublicKey::from_point(key.0.public_key().as_ref()).as_ref()
    );
    let another = area(&other, template::TLS);
    assert_eq!(check(&another, &public), Err(StatementError::OtherObject));
    for movable in [0x0004_0470, 0x0004_0462, 0x0004_0452, 0x0006_0472, 0x0000_0472] {
        let public = area(&key, movable);
        assert!(
            matches!(check(&public, &public), Err(StatementError::Malformed(_))),
            "{movable:#x}"
        );
    }
    let bytes = statement(0x8018, &[1; 32], &quoted(&some_registers()));
    let quote = certify::check(&tpm.attestation(), &public, &bytes, &tpm.sign(&bytes), &[1; 32]);
    assert_eq!(quote, Err(StatementError::OtherKind));
}

#[test]
fn a_key_that_signs_anything_vouches_for_nothing() {
    let key = Fake::new();
    for attributes in [0x0004_0472, 0x0007_0472, 0x0005_0470, 0x0005_0462, 0x0005_0452] {
        let public = Public::parse(&key.area(&template::attestation(&[0; 32]), attributes)).expect("reads");
        assert!(AttestationKey::check(public).is_err(), "{attributes:#x}");
    }
    let signs = Public::parse(&key.area(&template::attestation(&[0; 32]), template::AK)).expect("reads");
    assert!(EndorsementKey::check(signs).is_err());
}

#[test]
fn numbers_without_their_leading_zeros_are_padded() {
    let short = Writer::new()
        .u16(0x18)
        .u16(0xb)
        .sized(&[5])
        .sized(&[0x80; 31])
        .done();
    let signature = Ecdsa::parse(&short).expect("reads");
    assert_eq!((signature.0[31], signature.0[32], signature.0[33]), (5, 0, 0x80));
    assert_eq!(signature.der()[..6], [0x30, 37, 2, 1, 5, 2]);
    let long = Writer::new()
        .u16(0x18)
        .u16(0xb)
        .sized(&[5])
        .sized(&[0x80; 33])
        .done();
    assert!(matches!(Ecdsa::parse(&long), Err(FormError::Length(_))));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = (Public::parse(&bytes), Statement::parse(&bytes), Ecdsa::parse(&bytes));
    }

    #[test]
    fn what_is_changed_has_another_name(at in 0usize..86, bit in 0u8..8) {
        let area = template::attestation(&[9; 32]);
        let name = Public::parse(&area).expect("reads").name();
        let mut changed = area.clone();
        changed[at] ^= 1 << bit;
        if let Ok(other) = Public::parse(&changed) {
            prop_assert_ne!(other.name(), name);
        }
    }
}
