//! Our TPM code against swtpm, and against tpm2-tools as the oracle of what bytes mean.
#![expect(clippy::disallowed_methods, reason = "shell: tests with files and programs")]

use std::fs;
use std::path::Path;
use std::time::Instant;

use homeward_agent::attest::Quoting as _;
use homeward_agent::attest::logs::Places;
use homeward_agent::attest::quote::Quoter;
use homeward_agent::tpm::TpmError;
use homeward_agent::tpm::chip::{Chip, Stated};
use homeward_agent::tpm::thread::Tpm;
use homeward_fleet::attest::Log;
use homeward_fleet::attest::logs::Logs;
use homeward_fleet::enrol::credential;
use homeward_protocol::attest::Nonce;
use homeward_protocol::event_log::{Bank, EventLog};
use homeward_protocol::evidence::bundle::MAX_TAIL;
use homeward_protocol::tpm::template::Endorsement;
use homeward_protocol::tpm::{AttestationKey, EndorsementKey, Public, certify, quote};
use homeward_tests::swtpm::{self, Maker, Vouched};

const UNIQUE: [u8; 32] = [5; 32];

fn chip(of: &swtpm::Chip) -> Chip {
    Chip::new(of.address().parse().expect("an address"))
}

fn attestation(chip: &mut Chip) -> AttestationKey {
    let area = chip.attestation(&UNIQUE).expect("an attestation key");
    AttestationKey::check(Public::parse(&area).expect("reads")).expect("is one")
}

/// All that an enrolment asks of a chip, with the server's half.
fn enrol(chip: &mut Chip, kind: Endorsement, endorsement: &EndorsementKey) {
    let attestation = attestation(chip);
    let made = credential::make(endorsement, &attestation.public().name(), &[9; 32]).expect("a credential");
    let opened = chip
        .activate(kind, &UNIQUE, &made.object, &made.secret)
        .expect("opens");
    assert_eq!(opened, [9; 32], "{kind:?}");
    let other = chip.activate(kind, &[6; 32], &made.object, &made.secret);
    assert!(
        matches!(&other, Err(error) if error.is_foreign()),
        "another key opened it: {other:?}"
    );
}

#[test]
fn a_credential_opens_in_its_tpm_only_for_each_kind_of_endorsement_key() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(maker) = Maker::new(dir.path()) else {
        return;
    };
    let real = maker.make(&dir.path().join("a"), Vouched::No);
    let other = maker.make(&dir.path().join("b"), Vouched::No);
    let (mut real, mut other) = (chip(&real), chip(&other));
    for kind in Endorsement::ALL {
        let key = real.endorsement(kind).expect("a key");
        enrol(&mut real, kind, &key);
        let name = attestation(&mut other).public().name();
        let made = credential::make(&key, &name, &[9; 32]).expect("a credential");
        let opened = other.activate(kind, &UNIQUE, &made.object, &made.secret);
        assert!(opened.is_err(), "another TPM opened it ({kind:?})");
    }
}

#[test]
fn quotes_and_certifications_of_a_tpm_hold_on_the_server() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(maker) = Maker::new(dir.path()) else {
        return;
    };
    let machine = maker.make(&dir.path().join("a"), Vouched::No);
    let mut chip = chip(&machine);
    let key = attestation(&mut chip);
    let tls = chip.make_tls_key().expect("a key");
    let Stated { statement, signature } = chip.certify(&tls, &UNIQUE, &[1; 32]).expect("certifies");
    let public = Public::parse(&tls.public).expect("reads");
    let certified = certify::check(&key, &public, &statement, &signature, &[1; 32]).expect("holds");
    for count in 0u32..300 {
        let message = count.to_be_bytes();
        let signed = chip.sign(&tls, &message).expect("signs");
        assert!(signed.is_of(certified.key(), &message), "signature {count}");
    }

    let wanted: Vec<u8> = (0..=23).collect();
    let (before, registers) = chip.quote(&UNIQUE, &[2; 32], &wanted).expect("quotes");
    let check = |stated: &Stated, registers: &quote::Registers| {
        quote::check(&key, &stated.statement, &stated.signature, &[2; 32], registers)
    };
    let first = check(&before, &registers).expect("holds");
    assert_eq!(first.registers().len(), 24);
    chip.extend(23, &[7; 32]).expect("measures");
    let (after, changed) = chip.quote(&UNIQUE, &[2; 32], &wanted).expect("quotes");
    assert_ne!(registers[&23], changed[&23]);
    check(&after, &changed).expect("holds");
    assert!(check(&after, &registers).is_err() && check(&before, &changed).is_err());

    drop(chip);
    machine.kill();
    let machine = swtpm::Chip::start(&dir.path().join("a"));
    let mut chip = self::chip(&machine);
    let (stated, registers) = chip.quote(&UNIQUE, &[2; 32], &wanted).expect("quotes");
    let second = check(&stated, &registers).expect("holds: the same key after a power cut");
    assert_eq!(second.clock().reset_count, first.clock().reset_count + 1);
    assert!(!second.clock().safe && second.clock().clock_ms < first.clock().clock_ms + 60_000);
    chip.sign(&tls, b"again").expect("signs after a power cut");
}

#[test]
fn nothing_is_left_in_a_tpm_and_what_a_crashed_client_left_is_removed() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(maker) = Maker::new(dir.path()) else {
        return;
    };
    let machine = maker.make(&dir.path().join("a"), Vouched::No);
    let tls = {
        let mut chip = chip(&machine);
        let tls = chip.make_tls_key().expect("a key");
        for _ in 0..5 {
            chip.sign(&tls, b"a").expect("signs");
            chip.certify(&tls, &UNIQUE, &[1; 32]).expect("certifies");
            chip.activate(Endorsement::P256, &UNIQUE, &[0; 4], &[0; 4])
                .expect_err("no credential");
            let sealed = chip.seal(&[8; 32]).expect("seals");
            assert_eq!(chip.unseal(&sealed).expect("opens"), [8; 32]);
            chip.quote(&UNIQUE, &[1; 32], &[0, 7]).expect("quotes");
        }
        chip.sign(&tls, b"a").expect("signs");
        tls
    };
    // The TLS key of the client before is still loaded; three of those would be the end without a look around.
    for _ in 0..5 {
        chip(&machine).sign(&tls, b"b").expect("signs");
    }
}

#[test]
fn what_one_tpm_wrapped_another_does_not_open() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(maker) = Maker::new(dir.path()) else {
        return;
    };
    let (one, two) = (
        maker.make(&dir.path().join("a"), Vouched::No),
        maker.make(&dir.path().join("b"), Vouched::No),
    );
    let (mut one, mut two) = (chip(&one), chip(&two));
    let (tls, sealed) = (
        one.make_tls_key().expect("a key"),
        one.seal(b"canary").expect("seals"),
    );
    for foreign in [two.sign(&tls, b"a").map(drop), two.unseal(&sealed).map(drop)] {
        let error = foreign.expect_err("another TPM's");
        assert!(
            error.is_foreign() && error.to_string().contains("another TPM"),
            "{error}"
        );
    }
    let contents = [sealed.private.as_slice(), &sealed.public].concat();
    assert!(!contents.windows(6).any(|w| w == b"canary"));
}

#[test]
fn a_tpm_that_is_gone_is_an_error_and_one_that_comes_back_is_used() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(maker) = Maker::new(dir.path()) else {
        return;
    };
    let machine = maker.make(&dir.path().join("a"), Vouched::No);
    let mut chip = chip(&machine);
    let tls = chip.make_tls_key().expect("a key");
    machine.kill();
    assert!(matches!(chip.sign(&tls, b"a"), Err(TpmError::Unreachable { .. })));
    let _machine = swtpm::Chip::start(&dir.path().join("a"));
    chip.sign(&tls, b"a").expect("signs again");
}

#[test]
fn power_cuts_do_not_lock_the_keys_away() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(maker) = Maker::new(dir.path()) else {
        return;
    };
    let mut machine = maker.make(&dir.path().join("a"), Vouched::No);
    let tls = chip(&machine).make_tls_key().expect("a key");
    for _ in 0..6 {
        let mut chip = chip(&machine);
        chip.sign(&tls, b"a").expect("signs");
        chip.quote(&UNIQUE, &[1; 32], &[0]).expect("quotes");
        machine.kill();
        machine = swtpm::Chip::start(&dir.path().join("a"));
    }
}

#[test]
fn a_maker_s_certificate_is_found_where_it_lies() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(maker) = Maker::new(dir.path()) else {
        return;
    };
    let machine = maker.make(&dir.path().join("a"), Vouched::Yes);
    let endorsed = chip(&machine).endorsed().expect("endorsed");
    assert_eq!(
        endorsed.kind,
        Endorsement::P384,
        "swtpm certifies this one among the quick ones"
    );
    let der = endorsed.certificate.expect("a certificate");
    let (rest, certificate) = x509_parser::parse_x509_certificate(&der).expect("reads");
    assert!(rest.is_empty());
    assert_eq!(certificate.public_key().raw, endorsed.key.public().spki());
}

/// A real firmware's log in a real TPM stack, in parts of 40 KiB and then as what is new.
#[test]
fn a_firmware_s_log_goes_up_in_parts_and_replays_to_the_quote() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(maker) = Maker::new(dir.path()) else {
        return;
    };
    let machine = maker.make(&dir.path().join("a"), Vouched::No);
    let mut chip = chip(&machine);
    let Some(log) = homeward_tests::shared::data("data/eventlogs/ubuntu-2104-no-dbx.bin") else {
        return;
    };
    // Its events twice: longer than one answer. The first event, which says what the others look like, stays one.
    let log = fs::read(log).expect("reads");
    let header = 32 + usize::try_from(u32::from_le_bytes(log[28..32].try_into().expect("4"))).expect("short");
    let log = [log.as_slice(), &log[header..]].concat();
    let parsed = EventLog::parse(&log).expect("reads");
    assert!(
        log.len() > MAX_TAIL && parsed.locality.is_none(),
        "{} bytes",
        log.len()
    );
    for event in parsed.events.iter().filter(|event| event.kind != 3) {
        let digest = event.digests.iter().find(|(bank, _)| *bank == Bank::SHA256);
        let digest: [u8; 32] = digest.expect("of the bank").1.try_into().expect("32 bytes");
        let register = u8::try_from(event.pcr).expect("a register");
        chip.extend(register, &digest).expect("measures");
    }
    let list = dir.path().join("firmware");
    fs::write(&list, &log).expect("our own folder");
    let places = Places {
        firmware: list,
        kernel: dir.path().join("none"),
    };
    let key = attestation(&mut chip);
    drop(chip);
    let tpm = Tpm::start(machine.address().parse().expect("an address")).expect("a thread");
    let quoter = Quoter::beside(tpm, UNIQUE, places);
    let boot = Nonce([7; 32]);
    let (mut logs, mut found, mut sizes) = (None::<Logs>, Vec::new(), Vec::new());
    for _ in 0..4 {
        let held = logs.as_ref().map(Logs::held);
        let part = quoter.quote([3; 32], boot, held.as_ref()).expect("quotes");
        let registers: quote::Registers = part
            .registers
            .iter()
            .map(|r| (r.index, r.value.0.as_slice().try_into().expect("32 bytes")))
            .collect();
        quote::check(&key, &part.attest.0, &part.signature.0, &[3; 32], &registers).expect("holds");
        let (log, _, next) = Logs::take(logs.as_ref(), boot, &part, &registers);
        found.push(log);
        sizes.push(part.log.map_or(0, |tail| tail.bytes.0.len()));
        logs = Some(next);
    }
    println!("{} bytes of log, sent as {sizes:?}: {found:?}", log.len());
    assert_eq!(found.last(), Some(&Log::Replays));
    assert_eq!(sizes.last(), Some(&0), "nothing comes twice");
    assert!(sizes.iter().all(|size| *size <= MAX_TAIL));
}

/// tpm2-tools reads what we made, and makes what we read.
#[test]
fn tpm2_tools_agree() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(maker) = Maker::new(dir.path()) else {
        return;
    };
    let Some(_) = homeward_tests::shared::debian("tpm2_checkquote", "tpm2-tools") else {
        return;
    };
    let machine = maker.make(&dir.path().join("a"), Vouched::No);
    let d = dir.path();
    our_quote_passes_their_check(&machine, d);
    their_keys_open_our_credentials(&machine, d);
}

fn our_quote_passes_their_check(machine: &swtpm::Chip, d: &Path) {
    let mut chip = chip(machine);
    let key = attestation(&mut chip);
    let wanted = [0u8, 4, 7, 23];
    let (stated, registers) = chip.quote(&UNIQUE, &[0xab; 32], &wanted).expect("quotes");
    drop(chip);
    fs::write(d.join("ak.pem"), pem(&key.public().spki())).expect("writes");
    fs::write(d.join("quote"), &stated.statement).expect("writes");
    fs::write(d.join("signature"), &stated.signature).expect("writes");
    let nonce = "ab".repeat(32);
    let mut check = vec![
        "-u",
        "ak.pem",
        "-m",
        "quote",
        "-s",
        "signature",
        "-q",
        &nonce,
        "-g",
        "sha256",
    ];
    machine.tool(d, "tpm2_checkquote", &check);
    let said = machine
        .tool(d, "tpm2_pcrread", &["sha256:0,4,7,23"])
        .to_lowercase();
    for value in registers.values() {
        let hex = value.iter().fold(String::new(), |hex, b| format!("{hex}{b:02x}"));
        assert!(said.contains(&hex), "{said}");
    }
    let wrong = "ac".repeat(32);
    check[7] = &wrong;
    let refused = std::panic::catch_unwind(|| machine.tool(d, "tpm2_checkquote", &check));
    assert!(refused.is_err(), "the oracle takes anything");
}

/// Endorsement and attestation keys by the tools' own templates; credentials by ours.
fn their_keys_open_our_credentials(machine: &swtpm::Chip, d: &Path) {
    for kind in ["rsa", "ecc"] {
        machine.tool(d, "tpm2_createek", &["-c", "ek.ctx", "-G", kind, "-u", "ek.pub"]);
        machine.tool(d, "tpm2_flushcontext", &["-t"]);
        let create = [
            "-C", "ek.ctx", "-c", "ak.ctx", "-G", "ecc", "-g", "sha256", "-s", "ecdsa", "-u", "ak.pub", "-n",
            "ak.name",
        ];
        machine.tool(d, "tpm2_createak", &create);
        machine.tool(d, "tpm2_flushcontext", &["-t"]);
        let area = |name: &str| {
            let bytes = fs::read(d.join(name)).expect("the tool wrote it");
            Public::parse(&bytes[2..]).expect("reads")
        };
        let endorsement = EndorsementKey::check(area("ek.pub")).expect("is one");
        let key = area("ak.pub");
        assert_eq!(
            fs::read(d.join("ak.name")).expect("the tool wrote it"),
            key.name().as_bytes()
        );
        let made = credential::make(&endorsement, &key.name(), &[0x5c; 32]).expect("a credential");
        // The tools' own file: a magic number, a version, then both parts with their lengths.
        let sized = |b: &[u8]| [&u16::try_from(b.len()).expect("short").to_be_bytes(), b].concat();
        let file = [
            &[0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1][..],
            &sized(&made.object),
            &sized(&made.secret),
        ]
        .concat();
        fs::write(d.join("credential"), file).expect("writes");
        machine.tool(d, "tpm2_startauthsession", &["--policy-session", "-S", "s.ctx"]);
        machine.tool(d, "tpm2_policysecret", &["-S", "s.ctx", "-c", "e"]);
        let open = [
            "-c",
            "ak.ctx",
            "-C",
            "ek.ctx",
            "-i",
            "credential",
            "-o",
            "opened",
            "-P",
            "session:s.ctx",
        ];
        machine.tool(d, "tpm2_activatecredential", &open);
        assert_eq!(
            fs::read(d.join("opened")).expect("the tool wrote it"),
            [0x5c; 32],
            "{kind}"
        );
        machine.tool(d, "tpm2_flushcontext", &["s.ctx"]);
        machine.tool(d, "tpm2_flushcontext", &["-t"]);
    }
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

/// The figures of the note: printed, not judged, except that the server is not the slow part.
#[test]
fn figures() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(maker) = Maker::new(dir.path()) else {
        return;
    };
    let machine = maker.make(&dir.path().join("a"), Vouched::No);
    let mut chip = chip(&machine);
    let key = attestation(&mut chip);
    let tls = chip.make_tls_key().expect("a key");
    let time = |what: &str, rounds: u32, work: &mut dyn FnMut()| {
        work();
        let begun = Instant::now();
        (0..rounds).for_each(|_| work());
        println!("{what}: {} µs", begun.elapsed().as_micros() / u128::from(rounds));
    };
    time("sign", 200, &mut || {
        chip.sign(&tls, b"a").expect("signs");
    });
    time("quote with its key made anew", 50, &mut || {
        drop(
            chip.quote(&UNIQUE, &[1; 32], &[0, 1, 2, 3, 4, 5, 6, 7])
                .expect("quotes"),
        );
    });
    let (stated, registers) = chip.quote(&UNIQUE, &[1; 32], &[0, 7]).expect("quotes");
    time("server: verify a quote", 500, &mut || {
        quote::check(&key, &stated.statement, &stated.signature, &[1; 32], &registers).expect("holds");
    });
    for kind in Endorsement::ALL {
        let endorsement = chip.endorsement(kind).expect("a key");
        let name = key.public().name();
        time(&format!("server: make a credential, {kind:?}"), 50, &mut || {
            credential::make(&endorsement, &name, &[9; 32]).expect("a credential");
        });
    }
}
