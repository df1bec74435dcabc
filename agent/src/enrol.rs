//! Enrolment by EST (RFC 7030): what an answer of the server means, and which anchors to believe.
//!
//! There is no trust on first use. The claim names the anchor by the hash of its key; the first connection is
//! not believed and only fetches certificates; from the one that fits the claim on, everything is verified.
//!
//! # Design
//! An attacker on the first connection could put an anchor of his own beside the right one. So only the pinned
//! anchor is taken from it; the full list is fetched again over a connection that the pinned anchor proves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homeward_protocol::claim::{Claim, ClaimError, Pin};
use homeward_protocol::time::Timestamp;
use x509_parser::asn1_rs::{Any, Class, FromDer as _, Tag};
use x509_parser::certificate::X509Certificate;

pub mod anchors;
pub mod chip;
pub mod est;
pub mod follow;
pub mod renew;
pub mod spare;

/// Most certificates in one answer: a chain or a list of anchors has a handful.
const MAX_CERTIFICATES: usize = 16;
/// OID 1.2.840.113549.1.7.2, `signedData`, as it stands in DER.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// Shortest and longest wait between two questions while an operator has not approved, seconds.
const WAIT_S: std::ops::RangeInclusive<u64> = 1..=3600;
/// The wait when the server names none, seconds (RFC 7030, section 4.2.3, leaves it open).
const USUAL_WAIT_S: u64 = 30;
/// Longest reason of a server that is shown, characters.
const MAX_REASON: usize = 200;

/// Why a claim does not lead to a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The claim is too old.
    #[error("the claim expired at {at}, and it is {now} by this box's clock. Ask the operator for a new one")]
    Expired {
        /// Its end.
        at: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// The server is not the one that the claim names.
    #[error(
        "the server at this address is not the one of the claim: none of its anchors has the pinned key. Check \
         the address; if it is right, somebody is between this box and the server"
    )]
    WrongPin,
    /// The code was not accepted.
    #[error(
        "the server refused the code{0}. It may be mistyped, used up or withdrawn. Ask the operator for a new \
         claim"
    )]
    Code(String),
    /// The code belongs to another box by now.
    #[error(
        "the code was already used with another key{0}. Tell the operator: another box may have used this \
         claim. Then ask for a new one"
    )]
    OtherKey(String),
    /// The server said no for another reason.
    #[error("the server answered {status}{reason}")]
    Answer {
        /// HTTP status.
        status: u16,
        /// What it said.
        reason: String,
    },
    /// An answer that is not what it should be.
    #[error("the server's answer cannot be used: {0}")]
    Malformed(&'static str),
}

/// What the server said to a request for a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Here it is: our certificate, then its intermediates.
    Issued(Vec<Vec<u8>>),
    /// Ask again after so many seconds: an operator has to approve, or the server is busy.
    Wait(u64),
}

/// Reads a claim as a line, as JSON, or as the JSON that the server's `claim new --json` prints around it.
pub fn read_claim(text: &str) -> Result<Claim, ClaimError> {
    #[derive(serde::Deserialize)]
    struct Printed {
        claim: Claim,
    }
    match serde_json::from_str(text) {
        Ok(Printed { claim }) => Ok(claim),
        Err(_) => text.parse(),
    }
}

/// Refuses a claim that is over. A clock that nobody vouched for may be wrong: then the server decides.
pub fn check_age(claim: &Claim, now: Timestamp) -> Result<(), Refusal> {
    let at = Timestamp::synced(claim.expires.saturating_mul(1000));
    if now.ms > at.ms {
        Err(Refusal::Expired { at, now })
    } else {
        Ok(())
    }
}

/// The self-signed certificate whose key has the pin.
pub fn pinned(certificates: &[Vec<u8>], pin: &Pin) -> Result<Vec<u8>, Refusal> {
    let fits = |der: &&Vec<u8>| {
        X509Certificate::from_der(der).is_ok_and(|(_, cert)| {
            Pin::of_spki(cert.public_key().raw) == *pin && cert.subject() == cert.issuer()
        })
    };
    certificates.iter().find(fits).cloned().ok_or(Refusal::WrongPin)
}

/// The anchors of an authenticated list: its self-signed certificates, the pinned one first.
pub fn anchors(certificates: &[Vec<u8>], pin: &Pin) -> Result<Vec<Vec<u8>>, Refusal> {
    let first = pinned(certificates, pin)?;
    let mut all = vec![first.clone()];
    for der in certificates {
        let root = X509Certificate::from_der(der).is_ok_and(|(_, cert)| cert.subject() == cert.issuer());
        if root && *der != first {
            all.push(der.clone());
        }
    }
    Ok(all)
}

/// What an answer to `simpleenroll` or `simplereenroll` means.
pub fn read_answer(status: u16, retry_after: Option<&str>, body: &[u8]) -> Result<Answer, Refusal> {
    let wait = || {
        let secs = retry_after
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(USUAL_WAIT_S);
        Answer::Wait(secs.clamp(*WAIT_S.start(), *WAIT_S.end()))
    };
    match status {
        200 => certs_only(body).map(Answer::Issued),
        202 | 429 | 503 => Ok(wait()),
        401 | 403 => Err(Refusal::Code(reason(body))),
        409 => Err(Refusal::OtherKey(reason(body))),
        _ => Err(Refusal::Answer {
            status,
            reason: reason(body),
        }),
    }
}

/// The server's own words, cut, printable, with a colon before them.
fn reason(body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body)
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_REASON)
        .collect();
    if text.trim().is_empty() {
        String::new()
    } else {
        format!(" ({})", text.trim())
    }
}

/// The certificates of a base64 "certs-only" message (RFC 7030, section 4.1.3; RFC 8951 on the white space).
pub fn certs_only(body: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let compact: Vec<u8> = body
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    let der = STANDARD
        .decode(compact)
        .map_err(|_| Refusal::Malformed("it is not base64"))?;
    pkcs7(&der).ok_or(Refusal::Malformed("it holds no list of certificates"))?
}

/// Walks `ContentInfo { signedData, [0] SignedData { version, digests, content, [0] certificates … } }`.
///
/// Source: RFC 2315, sections 7 and 9.1. `None` when the structure is another.
fn pkcs7(der: &[u8]) -> Option<Result<Vec<Vec<u8>>, Refusal>> {
    let (_, outer) = Any::from_der(der).ok()?;
    let (rest, kind) = Any::from_der(outer.data).ok()?;
    if kind.data != SIGNED_DATA {
        return None;
    }
    let (_, explicit) = Any::from_der(rest).ok()?;
    let (_, signed) = Any::from_der(explicit.data).ok()?;
    let mut rest = signed.data;
    while !rest.is_empty() {
        let (after, part) = Any::from_der(rest).ok()?;
        if part.class() == Class::ContextSpecific && part.tag() == Tag(0) {
            return Some(split(part.data));
        }
        rest = after;
    }
    None
}

fn split(mut rest: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let mut all = Vec::new();
    while !rest.is_empty() {
        if all.len() == MAX_CERTIFICATES {
            return Err(Refusal::Malformed("it holds too many certificates"));
        }
        let (after, _) = Any::from_der(rest).map_err(|_| Refusal::Malformed("a certificate is cut short"))?;
        let der = &rest[..rest.len() - after.len()];
        X509Certificate::from_der(der)
            .map_err(|_| Refusal::Malformed("one of its certificates cannot be read"))?;
        all.push(der.to_vec());
        rest = after;
    }
    if all.is_empty() {
        Err(Refusal::Malformed("its list of certificates is empty"))
    } else {
        Ok(all)
    }
}

/// Our certificate first: servers put the chain in any order.
pub fn leaf_first(mut certificates: Vec<Vec<u8>>, spki: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let ours =
        |der: &Vec<u8>| X509Certificate::from_der(der).is_ok_and(|(_, cert)| cert.public_key().raw == spki);
    let at = certificates
        .iter()
        .position(ours)
        .ok_or(Refusal::Malformed("no certificate is for this box's key"))?;
    certificates.swap(0, at);
    Ok(certificates)
}

/// Tells claims apart without keeping their codes.
pub fn mark(claim: &Claim) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, claim.code.plain().as_bytes());
    STANDARD.encode(digest)
}

/// The value of an `Authorization` header (RFC 7617) for a claim.
pub fn basic(claim: &Claim) -> String {
    let pair = format!("{}:{}", claim.gateway, claim.code.plain());
    format!("Basic {}", STANDARD.encode(pair))
}

/// A request body: the CSR in base64.
pub fn request_body(csr: &[u8]) -> String {
    STANDARD.encode(csr)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn root(name: &str) -> (Vec<u8>, Pin) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let cert = params.self_signed(&key).expect("a certificate");
        let der = cert.der().to_vec();
        let (_, parsed) = X509Certificate::from_der(&der).expect("parses");
        let pin = Pin::of_spki(parsed.public_key().raw);
        (der.clone(), pin)
    }

    fn tlv(tag: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).expect("short").to_be_bytes();
        [&[tag, 0x82, len[0], len[1]], body].concat()
    }

    fn message(certificates: &[Vec<u8>]) -> Vec<u8> {
        let signed = [
            tlv(2, &[1]),
            tlv(0x31, &[]),
            tlv(0x30, &[]),
            tlv(0xa0, &certificates.concat()),
        ]
        .concat();
        let inner = [tlv(6, SIGNED_DATA), tlv(0xa0, &tlv(0x30, &signed))].concat();
        STANDARD.encode(tlv(0x30, &inner)).into_bytes()
    }

    #[test]
    fn a_list_of_certificates_reads_back() {
        let (a, _) = root("a");
        let (b, _) = root("b");
        let list = vec![a, b];
        assert_eq!(certs_only(&message(&list)), Ok(list));
        assert!(certs_only(&message(&[])).is_err());
    }

    #[test]
    fn a_claim_is_read_in_each_form_it_is_printed_in() {
        let claim = Claim {
            server: "fleet.example:8443".parse().expect("an endpoint"),
            pin: Pin([7; 32]),
            gateway: "gw-7f3k".parse().expect("an id"),
            code: homeward_protocol::claim::Code::from_random([1; 10]),
            expires: 1_795_000_000,
        };
        let line = claim.to_string();
        let json = serde_json::to_string(&claim).expect("encodes");
        let printed = format!("{{\"line\": \"{line}\", \"claim\": {json}}}");
        for text in [line, json, printed] {
            assert_eq!(read_claim(&text), Ok(claim.clone()));
        }
    }

    #[test]
    fn only_the_pinned_anchor_is_believed_at_first() {
        let (ours, pin) = root("ours");
        let (theirs, other) = root("theirs");
        assert_eq!(pinned(&[theirs.clone(), ours.clone()], &pin), Ok(ours.clone()));
        assert_eq!(
            pinned(std::slice::from_ref(&ours), &other),
            Err(Refusal::WrongPin)
        );
        assert_eq!(
            anchors(&[theirs.clone(), ours.clone()], &pin),
            Ok(vec![ours, theirs])
        );
    }

    #[test]
    fn every_answer_has_one_meaning() {
        assert_eq!(read_answer(202, Some("5"), b""), Ok(Answer::Wait(5)));
        assert_eq!(read_answer(202, Some("0"), b""), Ok(Answer::Wait(1)));
        assert_eq!(read_answer(503, Some("soon"), b""), Ok(Answer::Wait(30)));
        assert!(matches!(read_answer(401, None, b""), Err(Refusal::Code(_))));
        let said = read_answer(403, None, b"code burnt\x1b[2J").expect_err("refused");
        assert!(said.to_string().contains("(code burnt[2J)"), "{said}");
        assert!(matches!(
            read_answer(500, None, b""),
            Err(Refusal::Answer { status: 500, .. })
        ));
        assert!(read_answer(200, None, b"<html>").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = pkcs7(&bytes);
            let _ = certs_only(&bytes);
        }

        #[test]
        fn a_cut_or_changed_message_does_not_panic(at in 0usize..400, to in any::<u8>()) {
            let (a, _) = root("a");
            let mut der = STANDARD.decode(message(&[a])).expect("base64");
            let at = at % der.len();
            der[at] = to;
            let _ = pkcs7(&der);
            let _ = pkcs7(&der[..at]);
        }
    }
}
