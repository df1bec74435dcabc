//! Shell: makes secrets of 256 random bits, and the SHA-256 that is kept of them.
#![expect(clippy::disallowed_methods, reason = "shell: random bytes")]

use homeward_protocol::claim::CODE_ALPHABET;
use ring::rand::SecureRandom;

/// In front of an API token, so that a leaked one can be found by a search.
pub const PREFIX: &str = "hw_";
/// Characters of 256 bits in base32.
const CHARS: usize = 52;

/// The system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoRandomness;

/// A secret to be handed out once. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// 256 random bits.
    pub fn new() -> Result<Secret, NoRandomness> {
        let bytes: [u8; 32] = random()?;
        let text = (0..CHARS)
            .map(|i| char::from(CODE_ALPHABET[five_bits(&bytes, i)]))
            .collect();
        Ok(Secret(text))
    }

    /// The text to hand out: 52 letters and digits.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn kept(&self) -> Vec<u8> {
        kept(&self.0)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// The SHA-256 that is kept of a secret.
pub fn kept(text: &str) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, text.as_bytes())
        .as_ref()
        .to_vec()
}

/// What a token is called in lists and in the audit trail: 8 characters of its hash, which tell nothing of it.
pub fn public_id(hash: &[u8]) -> String {
    let letters = hash
        .iter()
        .take(8)
        .map(|b| CODE_ALPHABET[usize::from(b & 31)].to_ascii_lowercase());
    letters.map(char::from).collect()
}

/// Some random bytes.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    let filled = ring::rand::SystemRandom::new().fill(&mut bytes);
    filled.map(|()| bytes).map_err(|_| NoRandomness)
}

/// Whether two texts are the same, in a time that does not tell where they differ.
pub fn same(a: &str, b: &str) -> bool {
    kept(a) == kept(b)
}

fn five_bits(bytes: &[u8; 32], at: usize) -> usize {
    let bit = at * 5;
    let pair = |i: usize| usize::from(bytes.get(i).copied().unwrap_or(0));
    let word = pair(bit / 8) << 8 | pair(bit / 8 + 1);
    word >> (11 - bit % 8) & 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_holds_256_bits_and_hides() {
        let (a, b) = (Secret::new().expect("random"), Secret::new().expect("random"));
        assert_eq!(a.reveal().len(), CHARS);
        assert_ne!(a, b);
        assert_eq!(format!("{a:?}"), "Secret(hidden)");
        assert_eq!(a.kept(), kept(a.reveal()));
    }

    #[test]
    fn every_bit_counts() {
        let text = |bytes: &[u8; 32]| (0..CHARS).map(|i| five_bits(bytes, i)).collect::<Vec<_>>();
        let zero = text(&[0; 32]);
        for bit in 0..256 {
            let mut bytes = [0u8; 32];
            bytes[bit / 8] = 0x80 >> (bit % 8);
            assert_ne!(text(&bytes), zero, "bit {bit} is lost");
        }
    }
}
