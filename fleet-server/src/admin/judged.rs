//! Shell: how the fleet judged a gateway, beside its exported readings: written, signed and checked.
#![expect(clippy::disallowed_methods, reason = "shell: files, and the listeners' key")]

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::AdminError;
use super::keys::FileKey;
use super::readings::{create, failed};
use crate::ca::signer::{load_identity, pem};
use crate::place::Place;
use crate::stamp::judged::{Judged, Judgement};
use crate::store::{Store, attest};

/// The signed judgements.
const JUDGEMENTS: &str = "judgements.cose";
/// The certificate of the key that signed them, and its issuer's.
const JUDGE: &str = "judge.pem";
/// Judgements that are exported: six years of one a day.
const MOST: i64 = 2200;

/// Writes them into the folder of an export. False, and nothing is written, when the server has not run yet: then it has
/// no key to sign with, and nothing was judged.
pub(super) async fn write(
    place: &Place,
    store: &Store,
    gateway: &GatewayId,
    to: &Path,
    now: Timestamp,
) -> Result<bool, AdminError> {
    let folder = place.authority();
    let (cert, key) = (folder.join("server.crt"), folder.join("server.key"));
    if !cert.exists() || !key.exists() {
        return Ok(false);
    }
    let identity = load_identity(&cert, &key)?;
    let PrivateKeyDer::Pkcs8(pkcs8) = &*identity.key else {
        return Ok(false);
    };
    let Ok(judge) = FileKey::of(pkcs8.secret_pkcs8_der(), &key) else {
        return Ok(false);
    };
    let judged = judged(store, gateway, now).await?;
    let signed = judged
        .seal(&judge)
        .map_err(|e| AdminError::Found(super::told(&e)))?;
    let chain: String = identity.chain.iter().map(pem).collect();
    for (name, bytes) in [(JUDGEMENTS, signed), (JUDGE, chain.into_bytes())] {
        let path = to.join(name);
        let written = create(&path)?.write_all(&bytes);
        written.map_err(|e| failed("write", &path, &e))?;
    }
    Ok(true)
}

async fn judged(store: &Store, gateway: &GatewayId, now: Timestamp) -> Result<Judged, AdminError> {
    let of = gateway.clone();
    let shown = store.read(move |tx| attest::history(tx, &of, MOST)).await?;
    // When there are more, none is missing since the oldest of these.
    let whole = i64::try_from(shown.len()).unwrap_or(MOST) < MOST;
    let since = shown
        .last()
        .filter(|_| !whole)
        .map_or(0, |oldest| oldest.issued_at.secs() * 1000);
    let judgement = |one: attest::Shown| Judgement {
        status: one.status,
        vector: one.vector,
        tier: one.tier,
        from: Timestamp::synced(one.issued_at.secs() * 1000),
        until: Timestamp::synced(one.expires_at.secs() * 1000),
    };
    Ok(Judged {
        gateway: gateway.clone(),
        written_at: now,
        since: Timestamp::synced(since),
        judgements: shown.into_iter().map(judgement).collect(),
    })
}

/// The judgements of an export, when its folder has some: signed by a key whose certificate leads to these roots and was
/// valid when they were written.
///
/// # Errors
/// When they are there and do not hold: nothing beside them is to be believed then.
pub(super) fn read(folder: &Path, roots: &[CertificateDer<'static>]) -> Result<Option<Judged>, AdminError> {
    let (signed, chain) = (folder.join(JUDGEMENTS), folder.join(JUDGE));
    if !signed.exists() {
        return Ok(None);
    }
    let chain = super::verify::pem(&chain)?;
    let wrong = |why: String| AdminError::Found(format!("{} is not believed: {why}", signed.display()));
    let (leaf, issuers) = chain
        .split_first()
        .ok_or_else(|| wrong("nobody signed it".into()))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).map_err(|e| wrong(e.to_string()))?;
    let key = PublicKey::from_spki(parsed.public_key().raw);
    let key = key.ok_or_else(|| wrong("the key of its signer is not P-256".into()))?;
    let bytes = super::verify::read(&signed)?;
    let judged = Judged::verify(&bytes, &key).map_err(|e| wrong(super::told(&e).replace('\n', " ")))?;
    leads(leaf, issuers, roots, judged.written_at).map_err(wrong)?;
    Ok(Some(judged))
}

fn leads(
    leaf: &CertificateDer<'_>,
    issuers: &[CertificateDer<'static>],
    roots: &[CertificateDer<'static>],
    at: Timestamp,
) -> Result<(), String> {
    let anchors: Vec<_> = roots
        .iter()
        .filter_map(|root| webpki::anchor_from_trusted_cert(root).ok())
        .collect();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at.secs()).unwrap_or(0)));
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let leaf = EndEntityCert::try_from(leaf).map_err(|e| e.to_string())?;
    leaf.verify_for_usage(
        algorithms.all,
        &anchors,
        issuers,
        at,
        KeyUsage::server_auth(),
        None,
        None,
    )
    .map(drop)
    .map_err(|e| e.to_string())
}
