//! Handshakes that should fail, by a foreign client (`openssl s_client`) and by our own library with a key that is not
//! the certificate's: each is refused, its reason is counted, and honest boxes notice nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use homeward_tests::homes::Home;
use homeward_tests::programs::{finish, wait_for};
use homeward_tests::shared;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P384_SHA384, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::service::ask;
use super::stage::{SOON, Stage, is_connected};

/// What is shown, and what it is counted as at the gate and where boxes enrol; nothing where it is let through.
struct Case {
    name: &'static str,
    files: Option<Files>,
    more: &'static [&'static str],
    gate: Option<&'static str>,
    enrol: Option<&'static str>,
}

struct Files {
    leaf: PathBuf,
    key: PathBuf,
    chain: Option<PathBuf>,
}

/// The authority whose folder was stolen, and certificates that it would never make.
struct Forge<'a> {
    folder: &'a Path,
    issuer: Issuer<'static, KeyPair>,
    gateway: String,
}

impl Forge<'_> {
    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, &self.gateway);
        let uri = format!("spiffe://homeward/gateway/{}", self.gateway);
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ascii"))];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let serial = homeward_fleet::ca::signer::serial().expect("random");
        params.serial_number = Some(SerialNumber::from_slice(&serial.0));
        params.not_before = date_time_ymd(2024, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        params
    }

    fn keep(&self, name: &str, leaf: &[u8], key: &KeyPair, chain: &[Vec<u8>]) -> Files {
        let write = |end: &str, text: String| {
            let path = self.folder.join(format!("{name}.{end}"));
            std::fs::write(&path, text).expect("written");
            path
        };
        let pem = |der: &[u8]| homeward_fleet::ca::signer::pem(&CertificateDer::from(der));
        Files {
            leaf: write("crt", pem(leaf)),
            key: write("key", key.serialize_pem()),
            chain: (!chain.is_empty()).then(|| write("chain", chain.iter().map(|der| pem(der)).collect())),
        }
    }

    /// A leaf of the real issuer, changed.
    fn leaf(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Files {
        let key = KeyPair::generate().expect("a key");
        self.leaf_over(name, &key, change)
    }

    fn leaf_over(&self, name: &str, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Files {
        let mut params = self.params();
        change(&mut params);
        let leaf = params.signed_by(key, &self.issuer).expect("signed");
        self.keep(name, leaf.der(), key, &[])
    }

    fn self_signed(&self) -> Files {
        let key = KeyPair::generate().expect("a key");
        let leaf = self.params().self_signed(&key).expect("signed");
        self.keep("self-signed", leaf.der(), &key, &[])
    }

    fn broken_signature(&self) -> Files {
        let key = KeyPair::generate().expect("a key");
        let mut leaf = self
            .params()
            .signed_by(&key, &self.issuer)
            .expect("signed")
            .der()
            .to_vec();
        *leaf.last_mut().expect("a signature") ^= 1;
        self.keep("broken-signature", &leaf, &key, &[])
    }

    /// A leaf below `depth` authorities of somebody who has the issuer's key.
    fn below(&self, name: &str, depth: u8, change: impl Fn(&mut CertificateParams)) -> Files {
        let mut chain = Vec::new();
        let mut above: Option<Issuer<'static, KeyPair>> = None;
        for level in 0..depth {
            let key = KeyPair::generate().expect("a key");
            let mut params = self.params();
            params
                .distinguished_name
                .push(DnType::CommonName, format!("level {level}"));
            params.subject_alt_names = Vec::new();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            change(&mut params);
            let made = params
                .signed_by(&key, above.as_ref().unwrap_or(&self.issuer))
                .expect("signed");
            chain.insert(0, made.der().to_vec());
            above = Some(Issuer::from_ca_cert_der(made.der(), key).expect("an authority"));
        }
        let key = KeyPair::generate().expect("a key");
        let leaf = self
            .params()
            .signed_by(&key, above.as_ref().unwrap_or(&self.issuer))
            .expect("signed");
        self.keep(name, leaf.der(), &key, &chain)
    }

    fn authority_as_leaf(&self) -> Files {
        self.leaf("authority", |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        })
    }

    fn cases(&self) -> Vec<Case> {
        let case = |name, files, gate, enrol| Case {
            name,
            files,
            more: &[],
            gate,
            enrol,
        };
        let both = |name, files, reason| case(name, Some(files), Some(reason), Some(reason));
        let wide = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
        vec![
            case("no certificate", None, Some("no-certificate"), None),
            both("self-signed", self.self_signed(), "unknown-issuer"),
            both(
                "for a server",
                self.leaf("server", |p| {
                    p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                }),
                "usage",
            ),
            both(
                "expired, and too late even to renew",
                self.leaf("expired", |p| p.not_after = date_time_ymd(2025, 1, 1)),
                "expired",
            ),
            both(
                "not yet valid",
                self.leaf("early", |p| p.not_before = date_time_ymd(2039, 1, 1)),
                "not-yet-valid",
            ),
            both("another signature", self.broken_signature(), "signature"),
            both("an authority as a leaf", self.authority_as_leaf(), "chain"),
            case(
                "twelve authorities deep",
                Some(self.below("deep", 12, |_| ())),
                Some("unknown-issuer"),
                Some("chain"),
            ),
            case(
                "a name constraint",
                Some(self.below("constrained", 1, |p| {
                    p.name_constraints = Some(NameConstraints {
                        permitted_subtrees: vec![GeneralSubtree::DnsName("homeward".into())],
                        excluded_subtrees: Vec::new(),
                    });
                })),
                Some("unknown-issuer"),
                Some("chain"),
            ),
            // The chain holds; that the key is of another curve is found by our own rules, after the handshake.
            case(
                "another curve",
                Some(self.leaf_over("curve", &wide, |_| ())),
                Some("identity"),
                None,
            ),
            case(
                "two names",
                Some(self.leaf("names", |p| {
                    p.subject_alt_names
                        .push(SanType::DnsName("other".try_into().expect("ascii")));
                })),
                Some("identity"),
                None,
            ),
            Case {
                more: &["-tls1_2"],
                ..case("an old TLS", None, Some("protocol"), None)
            },
        ]
    }
}

/// How often each reason was counted, at the gate or at the HTTPS doors, and of the gate's own rules.
fn counted(stage: &Stage) -> BTreeMap<String, u64> {
    let text = ask(stage.fleet.port("local"), "/metrics");
    let value = |line: &str| line.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let label = |line: &str, key: &str| {
        let (_, rest) = line.split_once(&format!("{key}=\""))?;
        rest.split('"').next().map(str::to_owned)
    };
    let of = |line: &str| {
        let reason = label(line, "reason")?;
        if line.starts_with("homeward_handshakes_refused_total") {
            Some((format!("{} {reason}", label(line, "door")?), value(line)))
        } else if line.starts_with("homeward_gate_refused_total") && reason == "identity" {
            Some((format!("gate {reason}"), value(line)))
        } else {
            None
        }
    };
    text.lines().filter_map(of).collect()
}

fn s_client(port: u16, case: &Case) {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-verify_quiet", "-servername", "localhost"]);
    command
        .arg("-connect")
        .arg(format!("127.0.0.1:{port}"))
        .args(case.more);
    if let Some(files) = &case.files {
        command.arg("-cert").arg(&files.leaf).arg("-key").arg(&files.key);
        if let Some(chain) = &files.chain {
            command.arg("-cert_chain").arg(chain);
        }
    }
    // The server's alert comes after the client's own end of the handshake: something has to be read.
    finish(&mut command, b"\x10\x00", SOON);
}

fn refused_and_counted(stage: &Stage, door: &str, port: u16, case: &Case, reason: Option<&str>) {
    let before = counted(stage);
    s_client(port, case);
    let Some(reason) = reason else { return };
    let key = format!("{door} {reason}");
    let was = before.get(&key).copied().unwrap_or(0);
    let what = format!(
        "`{}` to be counted as {key}; counted: {:?}",
        case.name,
        counted(stage)
    );
    wait_for(&what, Duration::from_secs(15), || {
        (counted(stage).get(&key).copied().unwrap_or(0) > was).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_handshake_is_refused_with_its_reason_and_honest_boxes_notice_nothing() {
    if shared::program("openssl").is_none() {
        shared::missing("openssl", "apt install openssl");
        return;
    }
    let stage = Stage::new();
    let mut home: Home = stage.home("mill-road-12").await;
    home.run();
    stage.more_readings(4);
    let ca = stage.fleet.dir().join("ca");
    let read = |name: &str| std::fs::read_to_string(ca.join(name)).expect("there");
    let issuer = CertificateDer::from_pem_slice(read("gateways.crt").as_bytes()).expect("a certificate");
    let key = KeyPair::from_pem(&read("gateways.key")).expect("a key");
    let folder = stage.path().join("forged");
    std::fs::create_dir(&folder).expect("a folder");
    let forge = Forge {
        folder: &folder,
        issuer: Issuer::from_ca_cert_der(&issuer, key).expect("an issuer"),
        gateway: home.gateway.to_string(),
    };
    for case in forge.cases() {
        refused_and_counted(&stage, "gate", stage.fleet.port("gate"), &case, case.gate);
        refused_and_counted(&stage, "https", stage.fleet.port("enrol"), &case, case.enrol);
        if case.files.is_some() {
            refused_and_counted(&stage, "https", stage.fleet.port("renewal"), &case, case.enrol);
        }
    }
    stolen_certificate(&stage, &home).await;
    stage.more_readings(10);
    assert!(is_connected(&home));
    home.agent.stop();
    home.run();
    wait_for("the box to come back", SOON, || is_connected(&home).then_some(()));
    let seen = "SELECT count(*) FROM connections";
    wait_for("both connections of the box to be on record", SOON, || {
        (stage.number(seen) >= 2).then_some(())
    });
    assert_eq!(
        stage.number(seen),
        2,
        "no forged box was ever connected, and ours left only when it was asked to"
    );
}

/// Somebody has a box's certificate, which is public, and not its key.
async fn stolen_certificate(stage: &Stage, home: &Home) {
    let path = home.agent.dir().join("identity/certificate.pem");
    let pem = std::fs::read(path).expect("there");
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .map(|der| der.expect("a certificate"))
        .collect();
    let other = KeyPair::generate().expect("a key");
    let key = PrivateKeyDer::Pkcs8(other.serialize_der().into());
    let provider = rustls::crypto::ring::default_provider();
    let signing = provider.key_provider.load_private_key(key).expect("a key");
    let certified = rustls::sign::CertifiedKey::new(chain, signing);
    let resolver = std::sync::Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    let mut roots = rustls::RootCertStore::empty();
    let trust = std::fs::read(home.agent.dir().join("identity/trust.pem")).expect("there");
    for root in CertificateDer::pem_slice_iter(&trust) {
        roots.add(root.expect("a certificate")).expect("a root");
    }
    let config = rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_cert_resolver(resolver);
    let was = counted(stage).get("gate signature").copied().unwrap_or(0);
    let tcp = tokio::net::TcpStream::connect(("127.0.0.1", stage.fleet.port("gate")))
        .await
        .expect("connects");
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    if let Ok(mut stream) = connector.connect(name, tcp).await {
        let mut byte = [0];
        let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut byte).await;
    }
    wait_for("the stolen certificate to be counted", SOON, || {
        (counted(stage).get("gate signature").copied().unwrap_or(0) > was).then_some(())
    });
}
