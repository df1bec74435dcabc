//! What a gateway's certificate must say beyond what the TLS library checks.

use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::AttributeTypeAndValue;

use super::{CaError, Rank, Serial, TrustDomain};

/// Longest certificate that we read, bytes; ours have about 700.
const MAX_DER: usize = 4096;

/// Why a certificate is not one of a gateway of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Not a certificate, or one of an odd size.
    #[error("not a certificate that this server would have made: {0}")]
    Shape(&'static str),
    /// The names are not those of a gateway.
    #[error("a gateway's certificate has exactly one name, a URI of this fleet: {0}")]
    Name(&'static str),
    /// The common name says something else.
    #[error("the common name and the URI differ")]
    CommonName,
}

/// A gateway's certificate, taken apart. Whether it is signed by us was checked by the handshake that showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Whose it is.
    pub gateway: GatewayId,
    /// Its number.
    pub serial: Serial,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// Its key.
    pub key: PublicKey,
    /// What the server said of that key.
    pub rank: Rank,
}

impl Leaf {
    /// Reads a certificate (DER) that a peer showed. Two names, a name of another type or of another trust domain
    /// are refused; never panics.
    pub fn read(der: &[u8], domain: &TrustDomain) -> Result<Leaf, LeafError> {
        if der.len() > MAX_DER {
            return Err(LeafError::Shape("too long"));
        }
        let (rest, cert) =
            x509_parser::parse_x509_certificate(der).map_err(|_| LeafError::Shape("no X.509"))?;
        if !rest.is_empty() {
            return Err(LeafError::Shape("bytes after its end"));
        }
        let gateway = name(&cert, domain)?;
        let serial = cert
            .raw_serial()
            .try_into()
            .map_err(|_| LeafError::Shape("its serial number"))?;
        let key =
            PublicKey::from_spki(cert.public_key().raw).ok_or(LeafError::Shape("its key is not P-256"))?;
        let at = |secs: i64| Timestamp::synced(secs.saturating_mul(1000));
        Ok(Leaf {
            gateway,
            serial: Serial(serial),
            not_before: at(cert.validity().not_before.timestamp()),
            not_after: at(cert.validity().not_after.timestamp()),
            key,
            rank: Rank::of(&cert).ok_or(LeafError::Shape("what it says of its key"))?,
        })
    }

    /// Whether it is valid now.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.not_before.ms <= now.ms && now.ms <= self.not_after.ms
    }
}

/// The gateway whose certificate (DER) this is. See [`Leaf::read`].
pub fn gateway_of(der: &[u8], domain: &TrustDomain) -> Result<GatewayId, LeafError> {
    Leaf::read(der, domain).map(|leaf| leaf.gateway)
}

/// The fleet whose issuing intermediate (DER) this is.
pub fn domain_of(issuing: &[u8]) -> Result<TrustDomain, CaError> {
    let wrong = |why: &str| CaError::Damaged {
        what: "the issuer of gateways' certificates".into(),
        why: why.into(),
    };
    let (_, cert) = x509_parser::parse_x509_certificate(issuing).map_err(|e| wrong(&e.to_string()))?;
    let names = cert
        .subject_alternative_name()
        .map_err(|e| wrong(&e.to_string()))?;
    match names.map(|san| san.value.general_names.as_slice()) {
        Some([GeneralName::URI(uri)]) => uri
            .strip_prefix("spiffe://")
            .ok_or_else(|| wrong("its name is not a SPIFFE id"))?
            .parse(),
        _ => Err(wrong("it names no trust domain")),
    }
}

fn name(cert: &X509Certificate<'_>, domain: &TrustDomain) -> Result<GatewayId, LeafError> {
    let names = cert
        .subject_alternative_name()
        .map_err(|_| LeafError::Shape("its names"))?
        .ok_or(LeafError::Name("it has none"))?;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
        return Err(LeafError::Name("it has others"));
    };
    let id = uri
        .strip_prefix("spiffe://")
        .and_then(|rest| rest.strip_prefix(&domain.to_string()))
        .and_then(|rest| rest.strip_prefix("/gateway/"))
        .ok_or(LeafError::Name("another fleet or another kind"))?;
    let gateway: GatewayId = id.parse().map_err(|_| LeafError::Name("no gateway id"))?;
    let mut common = cert.subject().iter_common_name();
    match (common.next().map(AttributeTypeAndValue::as_str), common.next()) {
        (Some(Ok(cn)), None) if cn == gateway.as_str() => Ok(gateway),
        _ => Err(LeafError::CommonName),
    }
}
