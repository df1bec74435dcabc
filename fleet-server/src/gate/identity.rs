//! Who a peer is: from its certificate and nothing else.

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::Why;

/// Reads whose certificate this is; `certificate` is in DER and has passed the TLS handshake.
///
/// It names exactly one gateway: one subject alternative name, the URI `spiffe://DOMAIN/gateway/ID`, and a common
/// name that repeats the id. Everything else is [`Why::Identity`], and so is a certificate whose time is over: a
/// resumed TLS connection does not run the verifier again.
pub fn identify(certificate: &[u8], now: Timestamp) -> Result<GatewayId, Why> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| Why::Identity)?;
    if now.secs() > certificate.validity().not_after.timestamp() {
        return Err(Why::Identity);
    }
    named(&certificate).ok_or(Why::Identity)
}

fn named(certificate: &X509Certificate<'_>) -> Option<GatewayId> {
    let names = certificate.subject_alternative_name().ok()??;
    let [GeneralName::URI(uri)] = names.value.general_names[..] else {
        return None;
    };
    let (domain, id) = uri.strip_prefix("spiffe://")?.split_once("/gateway/")?;
    if domain.is_empty() || domain.contains('/') {
        return None;
    }
    let mut common_names = certificate.subject().iter_common_name();
    let common_name = common_names.next()?.as_str().ok()?;
    if common_names.next().is_some() || common_name != id {
        return None;
    }
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    fn certificate(common_name: &str, names: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let uri = |name: &&str| SanType::URI((*name).try_into().expect("ASCII"));
        params.subject_alt_names = names.iter().map(uri).collect();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn one_name_that_the_common_name_repeats_is_taken() {
        let certificate = certificate("gw-1", &["spiffe://care.example/gateway/gw-1"]);
        assert_eq!(identify(&certificate, NOW), Ok("gw-1".parse().expect("an id")));
        let next_year = NOW.plus_ms(366 * 86_400_000);
        assert_eq!(
            identify(&certificate, next_year),
            Err(Why::Identity),
            "its time is over"
        );
    }

    #[test]
    fn everything_else_is_refused() {
        let good = "spiffe://care.example/gateway/gw-1";
        for (common_name, names) in [
            ("gw-1", &[][..]),
            ("gw-2", &[good][..]),
            ("gw-1", &[good, good][..]),
            ("gw-1", &[good, "spiffe://care.example/gateway/gw-2"][..]),
            ("gw-1", &["https://care.example/gateway/gw-1"][..]),
            ("gw-1", &["spiffe:///gateway/gw-1"][..]),
            ("gw-1", &["spiffe://care.example/x/gateway/gw-1"][..]),
            ("a/b", &["spiffe://care.example/gateway/a/b"][..]),
            ("GW 1", &["spiffe://care.example/gateway/GW 1"][..]),
            ("", &["spiffe://care.example/gateway/"][..]),
        ] {
            let bytes = certificate(common_name, names);
            assert_eq!(
                identify(&bytes, NOW),
                Err(Why::Identity),
                "{common_name} {names:?}"
            );
        }
        assert_eq!(identify(b"", NOW), Err(Why::Identity));
        assert_eq!(identify(&[0x30; 64], NOW), Err(Why::Identity));
    }
}
