//! A certificate authority of two levels less than the real one: a root that issues everything.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use homeward_protocol::claim::Pin;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::sync::Arc;

pub(crate) struct Authority {
    root: CertificateDer<'static>,
    key: KeyPair,
    params: CertificateParams,
}

fn dated(life: Duration) -> CertificateParams {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(Duration::from_secs(1));
    params.not_after = date_time_ymd(1970, 1, 1) + now + life;
    params
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = dated(Duration::from_hours(8760));
        params.distinguished_name.push(DnType::CommonName, "test root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).expect("a root").der().clone();
        Authority { root, key, params }
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        self.root.to_vec()
    }

    /// The root's private key, PKCS#8: in a fleet it is in a safe.
    pub(crate) fn root_key(&self) -> Vec<u8> {
        self.key.serialize_der()
    }

    pub(crate) fn pin(&self) -> Pin {
        Pin::of_spki(&rcgen::PublicKeyData::subject_public_key_info(&self.key))
    }

    /// What a gateway gets: only the key of its request is used.
    pub(crate) fn issue(&self, csr: &[u8], name: &str, life: Duration) -> Vec<u8> {
        let der = CertificateSigningRequestDer::from(csr.to_vec());
        let request = CertificateSigningRequestParams::from_der(&der).expect("a CSR");
        let mut params = dated(life);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let issuer = Issuer::from_params(&self.params, &self.key);
        let cert = params
            .signed_by(&request.public_key, &issuer)
            .expect("a certificate");
        cert.der().to_vec()
    }

    /// TLS for a listener on 127.0.0.1.
    pub(crate) fn listener(&self, require_client: bool) -> Arc<rustls::ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let mut params = dated(Duration::from_hours(24));
        params.subject_alt_names = vec![rcgen::SanType::IpAddress([127, 0, 0, 1].into())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let issuer = Issuer::from_params(&self.params, &self.key);
        let cert = params
            .signed_by(&key, &issuer)
            .expect("a certificate")
            .der()
            .clone();
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = if require_client {
            verifier
        } else {
            verifier.allow_unauthenticated()
        };
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(vec![cert], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .expect("a configuration");
        Arc::new(config)
    }
}
