//! Shell: `evidence verify|replay` and `reference make|show`: files in, a judgement out. Nothing is asked of a server or
//! of a data folder.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: reads and writes the files that it is given"
)]

use std::io::Read as _;
use std::path::Path;

use homeward_protocol::event_log::secure_boot::SecureBoot;
use homeward_protocol::event_log::{Bank, EventLog, MAX_LOG};
use homeward_protocol::evidence::bundle::{Bundle, MAX_BUNDLE};
use homeward_protocol::evidence::{Component, Evidence};
use homeward_protocol::posture::ShortText;
use homeward_protocol::reference::{Good, MAX_RELEASE, Measurand, Release};
use homeward_protocol::signed::PublicKey;
use homeward_protocol::signed::tagged::thumbprint;
use ring::digest::{Context, SHA256};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::keys::{FileKey, MAX_PEM, create, public_key, read};
use super::{AdminError, Said};
use crate::attest::reference::{Found, Reference};
use crate::cli::{EvidenceCommand, EvidenceVerify, ReferenceMake};
use crate::stamp::papers::Papers;
use crate::store::hex;

/// The largest program or kernel that is hashed, bytes.
const MAX_PROGRAM: u64 = 1 << 30;

/// Runs one `evidence` command.
pub fn run(command: &EvidenceCommand) -> Result<Said, AdminError> {
    match command {
        EvidenceCommand::Verify(asked) => verify(asked),
        EvidenceCommand::Replay { file } => replay(file),
    }
}

fn verify(asked: &EvidenceVerify) -> Result<Said, AdminError> {
    let bytes = read(&asked.file, MAX_BUNDLE as u64)?;
    let keys = keys(asked)?;
    let releases = asked
        .references
        .iter()
        .map(|file| release(file, asked.signer.as_deref()))
        .collect::<Result<Vec<_>, _>>()?;
    let bundle = match Bundle::decode(&bytes) {
        Ok(bundle) => bundle,
        Err(error) => return Ok(refused(&format!("it is no evidence: {error}"))),
    };
    let mut why = String::new();
    for key in &keys {
        match Evidence::verify(&bundle.token, key) {
            Ok(evidence) => {
                let evidence = evidence.into_inner();
                return Ok(told(asked, &evidence, key, &bundle, &Reference(releases)));
            }
            Err(error) => why = super::told(&error).replace('\n', " "),
        }
    }
    Ok(refused(&why))
}

fn refused(why: &str) -> Said {
    Said::new(format!("REFUSED: {why}"), &json!({ "ok": false, "why": why })).failed()
}

/// What holds, what speaks against it, and what a file alone cannot say.
fn told(
    asked: &EvidenceVerify,
    evidence: &Evidence,
    key: &PublicKey,
    bundle: &Bundle,
    reference: &Reference,
) -> Said {
    let mut against: Vec<String> = Vec::new();
    if evidence.key != thumbprint(key) {
        against.push("it names another key than the one that signed it".into());
    }
    match asked.nonce.as_deref() {
        Some(nonce) if nonce.eq_ignore_ascii_case(&hex(&evidence.nonce)) => {}
        Some(_) => against.push("it answers another challenge than the one given".into()),
        None => {}
    }
    let mut text = format!(
        "Signed by    {}\nSoftware     {} {}\nBox          {}\nBoot         number {}, up for {} s\n",
        hex(&evidence.key),
        evidence.software.0.as_str(),
        evidence.software.1.as_str(),
        hex(&evidence.box_id),
        evidence.boot_count,
        evidence.uptime_s,
    );
    let mut measured = Vec::new();
    for one in &evidence.measured {
        let version = one.version.as_ref().map_or("", |v| v.as_str());
        let found = reference.find(one.component, version, &one.sha256);
        let said = match found {
            Found::Known => "as released",
            Found::Other => "NOT as released",
            Found::UnknownVersion => "of a version that is not described",
            Found::Nothing => "not described",
        };
        if found == Found::Other {
            against.push(format!("{} {version} is not as released", one.component.name()));
        }
        let (name, digest) = (one.component.name(), hex(&one.sha256));
        text.push_str(&format!("Measured     {name:<9} {version:<22} {digest} {said}\n"));
        measured.push(json!({ "component": name, "version": version, "sha256": digest, "reference": said }));
    }
    let mut open = vec!["when it was made: only the one who made the challenge knows".to_owned()];
    if asked.nonce.is_none() {
        open.insert(
            0,
            "whether it answers a challenge: none was given (--nonce)".into(),
        );
    }
    open.push("what the box measured is its own word".into());
    if bundle.tpm.is_some() {
        open.push("the TPM's part was not checked: the attestation key is the server's to know".into());
    }
    for one in &against {
        text.push_str(&format!("AGAINST      {one}\n"));
    }
    for one in &open {
        text.push_str(&format!("Not shown    {one}\n"));
    }
    text.push_str(if against.is_empty() {
        "The signature holds, and nothing speaks against it"
    } else {
        "The signature holds, and the evidence does not"
    });
    let json = json!({
        "ok": against.is_empty(),
        "key": hex(&evidence.key),
        "box": hex(&evidence.box_id),
        "nonce": hex(&evidence.nonce),
        "boot_count": evidence.boot_count,
        "software": evidence.software.0.as_str(),
        "version": evidence.software.1.as_str(),
        "measured": measured,
        "tpm": bundle.tpm.is_some(),
        "against": against,
        "not_shown": open,
    });
    let said = Said::new(text, &json);
    if against.is_empty() { said } else { said.failed() }
}

/// The keys that may have signed: of certificates that lead to the roots, or one that is given.
fn keys(asked: &EvidenceVerify) -> Result<Vec<PublicKey>, AdminError> {
    let mut keys = Vec::new();
    if let Some(file) = &asked.key {
        keys.push(public_key(file)?);
    }
    if let Some(roots) = &asked.roots {
        let mut certificates = Vec::new();
        for file in &asked.certificates {
            certificates.extend(pems(file)?);
        }
        let papers = Papers::read(&pems(roots)?, &certificates, Vec::new());
        let papers = papers.map_err(|e| AdminError::Asked(e.to_string()))?;
        keys.extend(papers.keys().cloned());
        if keys.is_empty() {
            let why = papers.refused().join("; ");
            return Err(AdminError::Asked(format!(
                "no certificate of a gateway leads to the given roots: {why}"
            )));
        }
    }
    if keys.is_empty() {
        let why = "which key should have signed it? Give --roots and --certificates, or --key";
        return Err(AdminError::Asked(why.into()));
    }
    Ok(keys)
}

fn pems(file: &Path) -> Result<Vec<CertificateDer<'static>>, AdminError> {
    let text = read(file, MAX_PEM)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    all.map_err(|e| AdminError::Asked(format!("{}: {e}", file.display())))
}

/// A signed release, checked against the signer's key where one is given.
pub fn signed_release(file: &Path, signer: &PublicKey) -> Result<(Release, Vec<u8>), AdminError> {
    let bytes = read(file, MAX_RELEASE as u64)?;
    let release = Release::verify(&bytes, signer).map_err(|error| {
        let why = super::told(&error).replace('\n', " ");
        AdminError::Found(format!("{} is not believed: {why}", file.display()))
    })?;
    Ok((release.into_inner(), bytes))
}

/// What signed values say.
pub fn show(file: &Path, signer: &Path) -> Result<Said, AdminError> {
    let signer = public_key(signer)?;
    let (release, _) = signed_release(file, &signer)?;
    let name = |what: Measurand| match what {
        Measurand::Component(component) => component.name().to_owned(),
        Measurand::Register(register) => format!("register {register}"),
    };
    let mut text = format!(
        "Release {}, {} values, signed by {}\n",
        release.name.as_str(),
        release.values.len(),
        signer.fingerprint()
    );
    let mut rows = Vec::new();
    for good in &release.values {
        let version = good.version.as_ref().map_or("-", |v| v.as_str());
        let (what, sha256) = (name(good.what), hex(&good.sha256));
        text.push_str(&format!("{what:<12} {version:<22} {sha256}\n"));
        rows.push(
            json!({ "of": what, "version": good.version.as_ref().map(ShortText::as_str), "sha256": sha256 }),
        );
    }
    let json = json!({ "release": release.name.as_str(), "signer": signer.fingerprint(), "values": rows });
    Ok(Said::new(text, &json))
}

fn release(file: &Path, signer: Option<&Path>) -> Result<Release, AdminError> {
    let signer = signer.ok_or_else(|| {
        AdminError::Asked("whose reference values are they? Give the signer's key: --signer FILE".into())
    })?;
    Ok(signed_release(file, &public_key(signer)?)?.0)
}

/// Prints the registers that a log replays to, and what it cannot vouch for.
fn replay(file: &Path) -> Result<Said, AdminError> {
    let bytes = read(file, MAX_LOG as u64)?;
    let log = match EventLog::parse(&bytes) {
        Ok(log) => log,
        Err(error) => return Ok(refused(&error.to_string())),
    };
    let mut banks = serde_json::Map::new();
    let mut text = String::new();
    let mut cannot = Vec::new();
    for bank in &log.banks {
        let Some(registers) = log.replay(*bank) else {
            cannot.push(format!("{bank}: no hash of that name is known here"));
            continue;
        };
        let mut values = serde_json::Map::new();
        for (register, value) in registers {
            text.push_str(&format!("{bank:<8} {register:>2} {}\n", hex(&value)));
            values.insert(register.to_string(), Value::String(hex(&value)));
        }
        banks.insert(bank.to_string(), Value::Object(values));
    }
    let unsaid = log.events.iter().filter(|event| !event.says()).count();
    cannot.push(format!(
        "{unsaid} of {} events describe something else than what was measured: their text proves nothing",
        log.events.len()
    ));
    cannot.push("what kind each event is: no register covers that".into());
    cannot.push("that any of it happened: compare the registers with those that a TPM quotes".into());
    if !log.banks.contains(&Bank::SHA256) {
        cannot.push("SHA-256 registers: the log has none".into());
    }
    let secure_boot = match log.secure_boot() {
        SecureBoot::On => "on",
        SecureBoot::Off => "off",
        SecureBoot::OffOrUnknown => "off or unknown",
        SecureBoot::NotSaid => "not said",
    };
    text.push_str(&format!(
        "Secure Boot: {secure_boot}, once register 7 equals a quoted one\n"
    ));
    for one in &cannot {
        text.push_str(&format!("Cannot vouch for: {one}\n"));
    }
    let json = json!({
        "ok": true,
        "banks": banks,
        "events": log.events.len(),
        "startup_locality": log.locality,
        "secure_boot": secure_boot,
        "cannot_vouch_for": cannot,
    });
    Ok(Said::new(text, &json))
}

/// Measures the files of a release and signs the values.
pub fn make(asked: &ReferenceMake) -> Result<Said, AdminError> {
    let key = FileKey::read(&asked.key, None)?;
    let mut values = Vec::new();
    for (component, given) in [
        (Component::Agent, &asked.agent),
        (Component::Launcher, &asked.launcher),
        (Component::Kernel, &asked.kernel),
        (Component::Policy, &asked.policy),
    ] {
        for one in given {
            let (version, file) = named(one, &asked.release);
            values.push(Good {
                what: Measurand::Component(component),
                version: Some(ShortText::cut(version)),
                sha256: hash_file(Path::new(file))?,
            });
        }
    }
    for digest in &asked.packages {
        values.push(Good {
            what: Measurand::Component(Component::Packages),
            version: None,
            sha256: digest_of(digest)?,
        });
    }
    for one in &asked.register {
        let wrong = || AdminError::Asked(format!("`{one}`: a register is given as NUMBER=SHA256"));
        let (number, digest) = one.split_once('=').ok_or_else(wrong)?;
        values.push(Good {
            what: Measurand::Register(number.parse().map_err(|_| wrong())?),
            version: None,
            sha256: digest_of(digest)?,
        });
    }
    let name = ShortText::try_from(asked.release.clone()).map_err(AdminError::Asked)?;
    let release = Release { name, values };
    let bytes = release
        .seal(&key)
        .map_err(|error| AdminError::Asked(super::told(&error)))?;
    write_new(&asked.out, &bytes)?;
    let fingerprint = key.public()?.fingerprint();
    let text = format!(
        "{} holds {} values of release {}, signed by {fingerprint}",
        asked.out.display(),
        release.values.len(),
        asked.release
    );
    let json = json!({ "release": asked.release, "values": release.values.len(), "signer": fingerprint });
    Ok(Said::new(text, &json))
}

/// `VERSION=FILE`, or a file of the release's own version.
fn named<'a>(given: &'a str, release: &'a str) -> (&'a str, &'a str) {
    given.split_once('=').unwrap_or((release, given))
}

fn digest_of(text: &str) -> Result<[u8; 32], AdminError> {
    let wrong = || AdminError::Asked(format!("`{text}` is no SHA-256: 64 hexadecimal digits"));
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let digits = text.get(2 * at..2 * at + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(bytes)
}

fn hash_file(file: &Path) -> Result<[u8; 32], AdminError> {
    let io = |e: std::io::Error| AdminError::Asked(format!("could not read {}: {e}", file.display()));
    let mut from = std::fs::File::open(file).map_err(io)?.take(MAX_PROGRAM);
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer).map_err(io)? {
            0 => break,
            read => context.update(&buffer[..read]),
        }
    }
    Ok(context.finish().as_ref().try_into().unwrap_or_default())
}

/// Writes a file that does not exist yet.
pub fn write_new(file: &Path, bytes: &[u8]) -> Result<(), AdminError> {
    create(file, bytes, 0o644)
}
