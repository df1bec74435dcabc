//! Runs the cases of x509-limbo through the way by which a gateway judges its server's certificate.
//!
//! The suite's form: `limbo.json` and `limbo-result.json` of C2SP/x509-limbo. What our way cannot be told (a largest
//! depth of its own, clients' certificates) is skipped and said.

use std::sync::Arc;
use std::time::Duration;

use homeward_agent::clock::Clock;
use homeward_agent::identity::tls::verifier;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The suite.
#[derive(Debug, Deserialize)]
pub struct Suite {
    /// Its cases.
    pub testcases: Vec<Case>,
}

/// One case, as far as it is looked at.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// `SERVER` or `CLIENT`.
    pub validation_kind: String,
    /// PEM.
    pub trusted_certs: Vec<String>,
    /// PEM.
    pub untrusted_intermediates: Vec<String>,
    /// PEM.
    pub peer_certificate: String,
    /// RFC 3339; now when missing.
    pub validation_time: Option<String>,
    /// `SUCCESS` or `FAILURE`.
    pub expected_result: Outcome,
    /// Who the peer should be.
    pub expected_peer_name: Option<PeerName>,
    /// A largest depth.
    pub max_chain_depth: Option<u32>,
}

/// A name.
#[derive(Debug, Deserialize)]
pub struct PeerName {
    /// `DNS`, `IP` or `RFC822`.
    pub kind: String,
    /// The name.
    pub value: String,
}

/// What came of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Outcome {
    /// Accepted.
    Success,
    /// Refused.
    Failure,
    /// Not run.
    Skipped,
}

/// One result, in the suite's form.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// Of which case.
    pub id: String,
    /// What came of it.
    pub actual_result: Outcome,
    /// Why.
    pub context: String,
}

/// All results, in the suite's form.
#[derive(Debug, Serialize)]
pub struct Results {
    /// Of the form.
    pub version: u8,
    /// Who ran it.
    pub harness: String,
    /// One for each case.
    pub results: Vec<Verdict>,
}

/// By our own way.
pub fn ours(suite: &Suite, now: UnixTime) -> Results {
    run(suite, "homeward-agent", now, |anchors| {
        let clock = Arc::new(Clock::with_floor(0));
        verifier(anchors, &clock).map_err(|e| e.to_string())
    })
}

/// By the library alone.
pub fn librarys(suite: &Suite, now: UnixTime) -> Results {
    run(suite, "rustls-webpki", now, |anchors| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(anchors.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        built
            .map(|v| v as Arc<dyn ServerCertVerifier>)
            .map_err(|e| e.to_string())
    })
}

type Maker<'a> = &'a dyn Fn(&[CertificateDer<'static>]) -> Result<Arc<dyn ServerCertVerifier>, String>;

fn run(
    suite: &Suite,
    harness: &str,
    now: UnixTime,
    make: impl Fn(&[CertificateDer<'static>]) -> Result<Arc<dyn ServerCertVerifier>, String>,
) -> Results {
    let judge = |case: &Case| {
        let (actual_result, context) = match skipped(case) {
            Some(why) => (Outcome::Skipped, why.to_owned()),
            None => match judged(case, now, &make) {
                Ok(()) => (Outcome::Success, String::new()),
                Err(why) => (Outcome::Failure, why),
            },
        };
        Verdict {
            id: case.id.clone(),
            actual_result,
            context,
        }
    };
    Results {
        version: 1,
        harness: harness.to_owned(),
        results: suite.testcases.iter().map(judge).collect(),
    }
}

fn skipped(case: &Case) -> Option<&'static str> {
    if case.validation_kind != "SERVER" {
        Some("not a server's certificate")
    } else if case.max_chain_depth.is_some() {
        Some("the depth is the library's own and cannot be set")
    } else if case
        .expected_peer_name
        .as_ref()
        .is_none_or(|name| name.kind == "RFC822")
    {
        Some("no name that a server can have")
    } else {
        None
    }
}

fn judged(case: &Case, now: UnixTime, make: Maker<'_>) -> Result<(), String> {
    let one = |pem: &String| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| e.to_string());
    let all = |pems: &[String]| pems.iter().map(one).collect::<Result<Vec<_>, _>>();
    let name = case
        .expected_peer_name
        .as_ref()
        .map_or("", |name| name.value.as_str());
    let name = ServerName::try_from(name).map_err(|e| e.to_string())?;
    let at = case.validation_time.as_deref().map_or(Ok(now), moment)?;
    let verifier = make(&all(&case.trusted_certs)?)?;
    let (leaf, chain) = (one(&case.peer_certificate)?, all(&case.untrusted_intermediates)?);
    let judged = verifier.verify_server_cert(&leaf, &chain, &name, &[], at);
    judged.map(drop).map_err(|e| e.to_string())
}

fn moment(text: &str) -> Result<UnixTime, String> {
    let odd = || format!("`{text}` is no time");
    let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| odd())?;
    let secs = u64::try_from(at.unix_timestamp()).map_err(|_| odd())?;
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(secs)))
}
