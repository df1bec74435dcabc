//! What each kind of certificate says. Both dates are always set: the library's own default ends in the year 4096.

use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, CrlScope, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, RevocationReason,
    RevokedCertParams, SanType, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, IpAddr, ServerName};

use super::rank::{self, Rank};
use super::{
    CRL_DAYS, CaError, DAY_MS, GATEWAY_DAYS, Issued, Issuing, Revoked, SERVER_DAYS, SPARE_DAYS, Serial,
    TrustDomain,
};

/// How far before its making a certificate begins, for peers whose clock is a little behind.
const BACKDATE_MS: i64 = 5 * 60 * 1000;
/// How long a root is valid: longer than any box stays in a home.
const ROOT_DAYS: i64 = 20 * 365;
/// How long an issuing intermediate is valid.
const ISSUING_DAYS: i64 = 5 * 365;
/// 9999-12-31T23:59:59Z, the last second that a certificate can say.
const LAST_SECOND: u64 = 253_402_300_799;

/// What an issuing intermediate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Client certificates of gateways.
    Gateways,
    /// Certificates of our own listeners.
    Servers,
}

impl Purpose {
    /// The name of its files, and the word in its certificate.
    pub const fn name(self) -> &'static str {
        match self {
            Purpose::Gateways => "gateways",
            Purpose::Servers => "servers",
        }
    }
}

/// A root certificate over its own key. `place` tells the two roots of a fleet apart.
pub fn root(
    domain: &TrustDomain,
    place: &str,
    key: &KeyPair,
    serial: Serial,
    now: Timestamp,
) -> Result<CertificateDer<'static>, CaError> {
    let params = root_params(domain, place, serial, now);
    let cert = params.self_signed(key).map_err(making("a root"))?;
    Ok(cert.into())
}

/// The key and name of a new root, signed by one that members know.
///
/// Source: RFC 4210, section 4.4.1 (`newWithOld`).
pub fn link(
    domain: &TrustDomain,
    place: &str,
    key: &KeyPair,
    serial: Serial,
    now: Timestamp,
    known: &Issuer<'_, KeyPair>,
) -> Result<CertificateDer<'static>, CaError> {
    let params = root_params(domain, place, serial, now);
    let cert = params
        .signed_by(key, known)
        .map_err(making("a link between roots"))?;
    Ok(cert.into())
}

fn root_params(domain: &TrustDomain, place: &str, serial: Serial, now: Timestamp) -> CertificateParams {
    let mut params = dated(serial, now, ROOT_DAYS);
    params.distinguished_name = named(&format!("Homeward {place} of {domain}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// An issuing intermediate over `key`. Its one URI is the trust domain, without a path.
///
/// Source: SPIFFE X.509-SVID, section 3.1, for the name of a signing certificate.
pub fn issuing(
    domain: &TrustDomain,
    purpose: Purpose,
    key: &KeyPair,
    serial: Serial,
    now: Timestamp,
    root: &Issuer<'_, KeyPair>,
) -> Result<CertificateDer<'static>, CaError> {
    let what = "an issuing intermediate";
    let name = purpose.name();
    let usage = match purpose {
        Purpose::Gateways => ExtendedKeyUsagePurpose::ClientAuth,
        Purpose::Servers => ExtendedKeyUsagePurpose::ServerAuth,
    };
    let mut params = dated(serial, now, ISSUING_DAYS);
    // Year and number tell one intermediate from the next: an issuer is found by its name.
    let (year, mark) = (now.civil().0, u16::from_be_bytes([serial.0[1], serial.0[2]]));
    params.distinguished_name = named(&format!("Homeward {name} {year}-{mark:04x} of {domain}"));
    params.subject_alt_names = vec![uri(&format!("spiffe://{domain}"), what)?];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![usage];
    let cert = params.signed_by(key, root).map_err(making(what))?;
    Ok(cert.into())
}

/// Whose certificate, and what it says of its key.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// Whose.
    pub gateway: &'a GatewayId,
    /// What it says of its key.
    pub rank: Rank,
}

/// A gateway's certificate: one name, one use, [`GATEWAY_DAYS`]; over a spare key [`SPARE_DAYS`].
pub(super) fn gateway(
    domain: &TrustDomain,
    key: &PublicKey,
    named_as: Named<'_>,
    serial: Serial,
    now: Timestamp,
    lists: &ListsAt,
    issuing: &Issuing,
) -> Result<Issued, CaError> {
    let Named { gateway, rank } = named_as;
    let what = "a gateway's certificate";
    let days = match rank {
        Rank::Own(_) => GATEWAY_DAYS,
        Rank::Spare => SPARE_DAYS,
    };
    let mut params = dated(serial, now, days);
    params.distinguished_name = named(gateway.as_str());
    params.subject_alt_names = vec![uri(&domain.gateway_uri(gateway), what)?];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.crl_distribution_points = vec![lists.point(domain)];
    params.custom_extensions = vec![rank::extension(rank)];
    let signer = rank::Placing(issuing.issuer.key());
    let issuer = Issuer::from_ca_cert_der(&issuing.cert, signer).map_err(making(what))?;
    let cert = params.signed_by(&Point(key), &issuer).map_err(making(what))?;
    // Signed as it is from here on.
    let der = rank::placed(cert.der()).ok_or(CaError::Make {
        what,
        source: rcgen::Error::InvalidNameType,
    })?;
    Ok(Issued {
        serial,
        key: key.clone(),
        rank,
        not_before: whole(begin(now)),
        not_after: whole(now.plus_ms(days * DAY_MS)),
        der: der.into(),
    })
}

/// A server's certificate for these names, [`SERVER_DAYS`].
pub fn server(
    names: &[ServerName<'static>],
    key: &KeyPair,
    serial: Serial,
    now: Timestamp,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<CertificateDer<'static>, CaError> {
    let what = "a server's certificate";
    let mut params = dated(serial, now, SERVER_DAYS);
    params.distinguished_name = named("Homeward fleet server");
    params.subject_alt_names = names.iter().map(server_name).collect::<Result<_, _>>()?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let cert = params.signed_by(key, issuer).map_err(making(what))?;
    Ok(cert.into())
}

/// The revocation list of one issuing intermediate, complete for the certificates of gateways. Its number is the
/// time of its making, so that it only grows.
pub fn crl(
    domain: &TrustDomain,
    revoked: &[Revoked],
    now: Timestamp,
    lists: &ListsAt,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<CertificateRevocationListDer<'static>, CaError> {
    let entry = |gone: &Revoked| RevokedCertParams {
        serial_number: SerialNumber::from_slice(&gone.serial.0),
        revocation_time: date_time_ymd(1970, 1, 1) + since_1970(gone.at),
        reason_code: Some(RevocationReason::Unspecified),
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(1970, 1, 1) + since_1970(begin(now)),
        next_update: date_time_ymd(1970, 1, 1) + since_1970(now.plus_ms(CRL_DAYS * DAY_MS)),
        crl_number: SerialNumber::from(u64::try_from(now.ms).unwrap_or(0)),
        issuing_distribution_point: Some(CrlIssuingDistributionPoint {
            distribution_point: lists.point(domain),
            scope: Some(CrlScope::UserCertsOnly),
        }),
        revoked_certs: revoked.iter().map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(issuer).map_err(making("a revocation list"))?;
    Ok(list.into())
}

/// Where the list of one issuer is to be had, if anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListsAt(pub Option<String>);

impl ListsAt {
    /// The list's names, in the list and in each certificate that it covers: readers compare them, and one in common is
    /// enough. The first is a name and no address, because addresses change and certificates do not.
    fn point(&self, domain: &TrustDomain) -> CrlDistributionPoint {
        let name = format!("spiffe://{domain}/crl/gateways");
        let uris = std::iter::once(name).chain(self.0.clone()).collect();
        CrlDistributionPoint { uris }
    }
}

fn dated(serial: Serial, now: Timestamp, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial.0));
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(begin(now));
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(now.plus_ms(days * DAY_MS));
    params.use_authority_key_identifier_extension = true;
    params
}

fn begin(now: Timestamp) -> Timestamp {
    now.plus_ms(-BACKDATE_MS)
}

/// As a certificate can say it: to the second.
fn whole(at: Timestamp) -> Timestamp {
    Timestamp::synced(at.secs().saturating_mul(1000))
}

fn since_1970(at: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(at.secs()).unwrap_or(0).min(LAST_SECOND))
}

fn named(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn uri(text: &str, what: &'static str) -> Result<SanType, CaError> {
    Ok(SanType::URI(text.try_into().map_err(making(what))?))
}

fn server_name(name: &ServerName<'static>) -> Result<SanType, CaError> {
    match name {
        ServerName::DnsName(dns) => {
            let dns = dns.as_ref().try_into().map_err(making("a server's name"))?;
            Ok(SanType::DnsName(dns))
        }
        ServerName::IpAddress(IpAddr::V4(v4)) => Ok(SanType::IpAddress((*v4.as_ref()).into())),
        ServerName::IpAddress(IpAddr::V6(v6)) => Ok(SanType::IpAddress((*v6.as_ref()).into())),
        other => Err(CaError::Name(format!("{other:?}"))),
    }
}

fn making(what: &'static str) -> impl Fn(rcgen::Error) -> CaError {
    move |source| CaError::Make { what, source }
}

/// A gateway's key in the library's terms.
struct Point<'a>(&'a PublicKey);

impl PublicKeyData for Point<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.point()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}
