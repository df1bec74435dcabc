//! Certificate requests (PKCS #10), of which only the key is taken.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homeward_protocol::signed::PublicKey;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

/// Longest body of a request, bytes of base64: a P-256 request with generous names has under 1 KiB.
pub const MAX_BODY: usize = 16 * 1024;
/// Longest request, bytes of DER.
const MAX_DER: usize = 8 * 1024;

/// Why a body is not a request that can be answered. `Display` says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Neither base64, PEM nor DER.
    #[error("the body is not base64: send a PKCS #10 request as base64 of its DER")]
    Encoding,
    /// Not a request.
    #[error("the body is not a PKCS #10 request, or longer than {MAX_DER} bytes")]
    Shape,
    /// Another kind of key.
    #[error("the request's key is not P-256: make an EC key on the curve prime256v1")]
    Key,
    /// Not signed by its own key.
    #[error("the request's signature does not match its key")]
    Signature,
}

/// The key of the request in `body`: base64 with or without line breaks, PEM, or DER as it is.
///
/// The request's own signature is checked, so whoever sent it holds the key. Names, uses and attributes are not
/// even looked at. Never panics.
pub fn key_of(body: &[u8]) -> Result<PublicKey, CsrError> {
    let der = der_of(body)?;
    if der.len() > MAX_DER {
        return Err(CsrError::Shape);
    }
    let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| CsrError::Shape)?;
    if !rest.is_empty() {
        return Err(CsrError::Shape);
    }
    let spki = request.certification_request_info.subject_pki.raw;
    let key = PublicKey::from_spki(spki).ok_or(CsrError::Key)?;
    request.verify_signature().map_err(|_| CsrError::Signature)?;
    Ok(key)
}

fn der_of(body: &[u8]) -> Result<Vec<u8>, CsrError> {
    const SEQUENCE_OF_TWO_LENGTH_BYTES: [u8; 2] = [0x30, 0x82];
    // A request is longer than 127 bytes, so its DER begins with one of these; base64 cannot.
    if body.starts_with(&SEQUENCE_OF_TWO_LENGTH_BYTES) || body.starts_with(&[0x30, 0x81]) {
        return Ok(body.to_vec());
    }
    let text = std::str::from_utf8(body).map_err(|_| CsrError::Encoding)?;
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    let packed: String = lines.flat_map(str::split_ascii_whitespace).collect();
    STANDARD.decode(packed).map_err(|_| CsrError::Encoding)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType};

    use super::*;

    fn request(key: &KeyPair) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName("evil.example".try_into().expect("ascii"))];
        params.serialize_request(key).expect("a request").der().to_vec()
    }

    #[test]
    fn base64_pem_and_der_give_the_same_key() {
        let key = KeyPair::generate().expect("a key");
        let der = request(&key);
        let wanted = PublicKey::from_point(key.public_key_raw()).expect("a point");
        let text = STANDARD.encode(&der);
        let lines: Vec<&str> = (0..text.len())
            .step_by(64)
            .map(|i| &text[i..(i + 64).min(text.len())])
            .collect();
        let pem = format!(
            "-----BEGIN CERTIFICATE REQUEST-----\r\n{}\r\n-----END CERTIFICATE REQUEST-----\r\n",
            lines.join("\r\n")
        );
        for body in [
            der.as_slice(),
            text.as_bytes(),
            lines.join("\n").as_bytes(),
            pem.as_bytes(),
        ] {
            assert_eq!(key_of(body).as_ref(), Ok(&wanted));
        }
    }

    #[test]
    fn other_kinds_of_key_are_refused() {
        for alg in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            let key = KeyPair::generate_for(alg).expect("a key");
            assert_eq!(key_of(&request(&key)), Err(CsrError::Key));
        }
    }

    #[test]
    fn a_changed_request_never_gives_another_key() {
        let key = KeyPair::generate().expect("a key");
        let (der, wanted) = (request(&key), PublicKey::from_point(key.public_key_raw()));
        let mut taken = 0;
        for at in 0..der.len() {
            let mut bad = der.clone();
            bad[at] ^= 1;
            if let Ok(got) = key_of(&bad) {
                assert_eq!(Some(got), wanted, "byte {at}");
                taken += 1;
            }
        }
        // What is not signed itself, such as the count of unused bits of the signature, may change.
        assert!(taken < 4, "{taken} bytes may be changed");
        for cut in 0..der.len() {
            assert!(key_of(&der[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(key_of(&[der.as_slice(), b"x"].concat()), Err(CsrError::Shape));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(key_of(&bytes).is_err());
            prop_assert!(key_of(STANDARD.encode(&bytes).as_bytes()).is_err());
        }
    }
}
