//! A degenerate PKCS #7: certificates and nothing else.
//!
//! Source: RFC 5652, section 5.1 (`SignedData` without signers), as RFC 7030, section 4.1.3 asks for it.

/// 1.2.840.113549.1.7.2, `id-signedData`.
const SIGNED_DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// 1.2.840.113549.1.7.1, `id-data`.
const DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTEXT_0: u8 = 0xa0;

/// The DER of a PKCS #7 that holds these certificates (each DER).
pub fn certs_only<'a>(certs: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let certs = certs.into_iter().collect::<Vec<_>>().concat();
    let version_1 = [0x02, 0x01, 0x01].as_slice();
    let signed = [
        version_1,
        &tlv(SET, &[]), // digest algorithms
        &tlv(SEQUENCE, DATA),
        &tlv(CONTEXT_0, &certs),
        &tlv(SET, &[]), // signers
    ];
    let signed = tlv(SEQUENCE, &signed.concat());
    tlv(SEQUENCE, &[SIGNED_DATA, &tlv(CONTEXT_0, &signed)].concat())
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut out = vec![tag];
    match length.as_slice() {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).expect("a length has at most 8 bytes"));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_the_shortest_form() {
        assert_eq!(tlv(SET, &[]), [0x31, 0]);
        assert_eq!(tlv(SET, &[7; 127])[..2], [0x31, 0x7f]);
        assert_eq!(tlv(SET, &[7; 128])[..3], [0x31, 0x81, 0x80]);
        assert_eq!(tlv(SET, &[7; 256])[..4], [0x31, 0x82, 1, 0]);
    }

    #[test]
    fn the_layout_is_that_of_rfc_5652() {
        // As `openssl crl2pkcs7 -nocrl -outform DER` writes it, but for the empty set of certificates (a0 00).
        let expected = [
            &[0x30, 0x25][..],
            SIGNED_DATA,
            &[0xa0, 0x18, 0x30, 0x16, 0x02, 0x01, 0x01, 0x31, 0x00, 0x30, 0x0b],
            DATA,
            &[0xa0, 0x00, 0x31, 0x00],
        ]
        .concat();
        assert_eq!(certs_only([]), expected);
    }
}
