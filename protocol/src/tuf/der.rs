//! The little DER that a public key needs: lengths, a tag, an integer.
//!
//! Source: X.690, sections 8 and 10.1: definite lengths in the fewest bytes.

/// Splits off one element with this tag; gives its content and what follows. `None` for anything that is not DER.
pub fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first != tag {
        return None;
    }
    let (length, rest) = length(rest)?;
    rest.split_at_checked(length)
}

/// The same, where nothing may follow.
pub fn only(tag: u8, bytes: &[u8]) -> Option<&[u8]> {
    element(tag, bytes).and_then(|(content, rest)| rest.is_empty().then_some(content))
}

/// Splits off a positive integer, as its bytes without a leading zero.
pub fn positive(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (content, rest) = element(0x02, bytes)?;
    match content {
        [0, second, ..] if *second & 0x80 != 0 => Some((content.get(1..)?, rest)),
        [first, ..] if *first & 0x80 == 0 && *first != 0 => Some((content, rest)),
        _ => None,
    }
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let count = match first {
        0..=0x7f => return Some((usize::from(*first), rest)),
        0x81 => 1,
        0x82 => 2,
        // Nothing here is as long as 64 KiB.
        _ => return None,
    };
    let (digits, rest) = rest.split_at_checked(count)?;
    let length = digits.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let fewest = length >= if count == 1 { 0x80 } else { 0x100 };
    fewest.then_some((length, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shortest_form_is_read() {
        assert_eq!(only(0x30, &[0x30, 2, 1, 2]), Some([1, 2].as_slice()));
        for odd in [
            &[0x30, 0x81, 2, 1, 2][..],
            &[0x30, 0x82, 0, 2, 1, 2],
            &[0x30, 3, 1, 2],
            &[0x30, 1, 1, 2],
            &[0x31, 1, 1],
            &[],
            &[0x30],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x83, 0, 0, 1, 1],
        ] {
            assert_eq!(only(0x30, odd), None, "{odd:?}");
        }
        assert_eq!(
            positive(&[2, 2, 0, 0x80]),
            Some(([0x80].as_slice(), [].as_slice()))
        );
        for odd in [&[2, 2, 0, 1][..], &[2, 1, 0x80], &[2, 1, 0], &[2, 0]] {
            assert_eq!(positive(odd), None, "{odd:?}");
        }
    }
}
