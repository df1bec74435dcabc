#![expect(
    clippy::disallowed_methods,
    reason = "tests: a folder to make an authority in"
)]

mod rotation;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;

use SanKind::{Dns, Uri};

use super::*;

const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

fn authority(dir: &Path) -> Authority {
    Authority::init(dir, "homeward".parse().expect("a domain"), NOW).expect("made")
}

fn id(text: &str) -> GatewayId {
    text.parse().expect("an id")
}

fn key() -> PublicKey {
    let key = KeyPair::generate().expect("a key");
    PublicKey::from_point(key.public_key_raw()).expect("a point")
}

fn serial(n: u8) -> Serial {
    Serial::from_random([n; 16])
}

#[test]
fn a_gateway_certificate_says_one_name_one_use_and_fourteen_days() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = authority(dir.path());
    let issued = authority
        .issue_gateway(&key(), &id("gw-1"), serial(0xff), NOW)
        .expect("issued");
    let (_, cert) = x509_parser::parse_x509_certificate(&issued.der).expect("a certificate");
    assert_eq!(cert.subject().to_string(), "CN=gw-1");
    let usage = cert.key_usage().expect("one").expect("there").value;
    assert!(usage.digital_signature() && usage.flags == 1);
    let extended = cert.extended_key_usage().expect("one").expect("there").value;
    assert!(extended.client_auth && !extended.server_auth && !extended.any);
    assert!(!cert.is_ca());
    assert!(
        cert.iter_extensions()
            .any(|e| e.oid == x509_parser::oid_registry::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER)
    );
    let seconds = cert.validity().not_after.timestamp() - cert.validity().not_before.timestamp();
    assert_eq!(seconds, 14 * 86_400 + 300);
    let leaf = Leaf::read(&issued.der, authority.trust_domain()).expect("ours");
    assert_eq!(leaf.gateway, id("gw-1"));
    assert_eq!(leaf.key, issued.key);
    assert_eq!(leaf.serial, issued.serial);
    assert_eq!(
        (leaf.not_before, leaf.not_after),
        (issued.not_before, issued.not_after)
    );
}

#[test]
fn certificates_with_other_names_are_nobodys() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = authority(dir.path());
    let domain = authority.trust_domain();
    let make = |cn: &str, names: &[SanKind]| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, cn);
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&serial(9).0));
        params.subject_alt_names = names.iter().map(SanKind::san).collect();
        let key = KeyPair::generate().expect("a key");
        let cert = params
            .signed_by(&key, &authority.gateways.issuer)
            .expect("signed");
        gateway_of(cert.der(), domain)
    };
    assert_eq!(
        make("gw-1", &[Uri("spiffe://homeward/gateway/gw-1")]),
        Ok(id("gw-1"))
    );
    for (cn, names) in [
        ("gw-1", &[][..]),
        ("gw-1", &[Dns("gw-1")]),
        ("gw-1", &[Uri("spiffe://homeward/gateway/gw-1"), Dns("gw-1")]),
        (
            "gw-1",
            &[
                Uri("spiffe://homeward/gateway/gw-1"),
                Uri("spiffe://homeward/gateway/gw-2"),
            ],
        ),
        ("gw-1", &[Uri("spiffe://homeward.other/gateway/gw-1")]),
        ("gw-1", &[Uri("spiffe://homeward/server/gw-1")]),
        ("gw-1", &[Uri("spiffe://homeward/gateway/GW-1")]),
        ("gw-1", &[Uri("spiffe://homeward/gateway/gw-1/x")]),
        ("gw-2", &[Uri("spiffe://homeward/gateway/gw-1")]),
    ] {
        assert!(make(cn, names).is_err(), "{cn} with {names:?} was taken");
    }
}

#[derive(Debug)]
enum SanKind {
    Dns(&'static str),
    Uri(&'static str),
}

impl SanKind {
    fn san(&self) -> rcgen::SanType {
        match self {
            SanKind::Dns(name) => rcgen::SanType::DnsName((*name).try_into().expect("ascii")),
            SanKind::Uri(name) => rcgen::SanType::URI((*name).try_into().expect("ascii")),
        }
    }
}

#[test]
fn an_authority_opens_again_without_its_roots_keys() {
    let dir = tempfile::tempdir().expect("a folder");
    let made = authority(dir.path());
    for key in ["root-1.key", "root-2.key"] {
        std::fs::remove_file(dir.path().join(key)).expect("was there");
    }
    let opened = Authority::open(dir.path()).expect("opens");
    assert_eq!(opened.trust_domain(), made.trust_domain());
    assert_eq!(opened.pin().expect("a pin"), made.pin().expect("a pin"));
    assert_eq!(opened.trust_bundle(), made.trust_bundle());
    assert!(Authority::init(dir.path(), made.domain.clone(), NOW).is_err());
}

#[test]
fn nobody_else_may_read_the_keys() {
    let dir = tempfile::tempdir().expect("a folder");
    let ca = dir.path().join("ca");
    authority(&ca);
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&ca), 0o700);
    for entry in std::fs::read_dir(&ca).expect("a folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_key_of_another_certificate_is_refused_at_the_start() {
    let (one, two) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    authority(one.path());
    authority(two.path());
    std::fs::copy(two.path().join("gateways.key"), one.path().join("gateways.key")).expect("copied");
    let error = Authority::open(one.path()).expect_err("refused");
    assert!(error.to_string().contains("another certificate"), "{error}");
}

#[test]
fn a_server_certificate_is_kept_until_its_time_or_its_names_run_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = authority(dir.path());
    let names = |texts: &[&str]| -> Vec<ServerName<'static>> {
        let parse = |t: &&str| ServerName::try_from((*t).to_owned()).expect("a name");
        texts.iter().map(parse).collect()
    };
    let get = |texts: &[&str], now| {
        let got = authority.server_identity(dir.path(), &names(texts), now);
        got.expect("an identity").chain
    };
    let first = get(&["fleet.example", "192.0.2.7", "2001:db8::7"], NOW);
    assert_eq!(
        get(
            &["fleet.example", "192.0.2.7", "2001:db8::7"],
            NOW.plus_ms(59 * DAY_MS)
        ),
        first
    );
    assert_ne!(
        get(
            &["fleet.example", "192.0.2.7", "2001:db8::7"],
            NOW.plus_ms(61 * DAY_MS)
        ),
        first
    );
    let other = get(&["fleet.example", "192.0.2.8"], NOW);
    assert_ne!(other, first);
    assert_ne!(get(&["fleet.example"], NOW), other);
}

#[test]
fn a_serial_reads_back_and_is_positive() {
    let serial = Serial::from_random([0xff; 16]);
    assert_eq!(serial.to_string().parse(), Ok(serial));
    assert!(serial.0[0] < 0x80);
    assert!(Serial::from_random([0; 16]).0[0] >= 0x40);
    assert!("7f".parse::<Serial>().is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let domain: TrustDomain = "homeward".parse().expect("a domain");
        prop_assert!(Leaf::read(&bytes, &domain).is_err());
    }
}
