//! Signed envelopes one after another in a file (a CBOR sequence, RFC 8742), each in the one form that it has.
//!
//! # Design
//! CBOR can say one thing in several ways. Here every octet around the payload and the signature is fixed, and those
//! two are what is verified: so no bit of a file can change without being seen.

/// `COSE_Sign1` as an array of four, the protected header `{1: -7}` (ES256), an empty unprotected header.
const BEGIN: &[u8] = &[0x84, 0x43, 0xa1, 0x01, 0x26, 0xa0];
/// A byte string of 64.
const SIGNATURE: &[u8] = &[0x58, 0x40];
const SIGNATURE_SIZE: usize = 64;

/// Why bytes are not a signed envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// Not the octets that an envelope has around its payload and signature.
    #[error("not a signed envelope, or not in the one form that it has")]
    Form,
    /// It ends in the middle.
    #[error("a signed envelope that ends in the middle")]
    Short,
    /// Something stands behind it.
    #[error("{0} bytes behind a signed envelope")]
    More(usize),
}

/// The first envelope, and what follows it.
pub fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), SequenceError> {
    if bytes.len() < BEGIN.len() && BEGIN.starts_with(bytes) {
        return Err(SequenceError::Short);
    }
    let rest = bytes.strip_prefix(BEGIN).ok_or(SequenceError::Form)?;
    let (head, payload) = byte_string(rest)?;
    let signature = BEGIN.len() + head + payload;
    let after = bytes.get(signature..).ok_or(SequenceError::Short)?;
    let size = after.get(..SIGNATURE.len()).ok_or(SequenceError::Short)?;
    if size != SIGNATURE {
        return Err(SequenceError::Form);
    }
    let end = signature + SIGNATURE.len() + SIGNATURE_SIZE;
    bytes.split_at_checked(end).ok_or(SequenceError::Short)
}

/// That it is one envelope and nothing else.
pub fn whole(bytes: &[u8]) -> Result<(), SequenceError> {
    match split(bytes)?.1.len() {
        0 => Ok(()),
        more => Err(SequenceError::More(more)),
    }
}

/// How long the head and the content of a byte string are that begins here, its length in the shortest form
/// (RFC 8949, section 4.2.1). An envelope's has at most 16 bits.
fn byte_string(bytes: &[u8]) -> Result<(usize, usize), SequenceError> {
    match *bytes {
        [small @ 0x40..=0x57, ..] => Ok((1, usize::from(small - 0x40))),
        [0x58, size @ 24..=0xff, ..] => Ok((2, usize::from(size))),
        [0x59, high @ 1..=0xff, low, ..] => Ok((3, usize::from(u16::from_be_bytes([high, low])))),
        [] | [0x58 | 0x59] | [0x59, _] => Err(SequenceError::Short),
        _ => Err(SequenceError::Form),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(payload: usize) -> Vec<u8> {
        let length = u8::try_from(payload).expect("small");
        let head: &[u8] = if length < 24 {
            &[0x40 + length]
        } else {
            &[0x58, length]
        };
        [BEGIN, head, &vec![0x55; payload], SIGNATURE, &[7; 64]].concat()
    }

    #[test]
    fn envelopes_come_one_after_another_and_none_is_cut() {
        let file = [signed(3), signed(200)].concat();
        let (first, rest) = split(&file).expect("the first");
        assert_eq!((first, whole(rest)), (signed(3).as_slice(), Ok(())));
        assert_eq!(whole(&file), Err(SequenceError::More(signed(200).len())));
        for size in 0..first.len() {
            assert_eq!(split(&file[..size]), Err(SequenceError::Short), "{size}");
        }
    }

    #[test]
    fn a_length_has_one_form() {
        for bad in [
            &[0x58, 23][..],
            &[0x59, 0, 200],
            &[0x5a, 0, 0, 0, 3],
            &[0x5f],
            &[0x60],
            &[0x83],
        ] {
            let file = [BEGIN, bad, &[0x55; 300]].concat();
            assert_eq!(split(&file), Err(SequenceError::Form), "{bad:02x?}");
        }
    }
}
