//! The text of a draft, and the two digests that name it: of its bytes, and of what it says.

use std::fmt;
use std::str::FromStr;

use homeward_protocol::policy::check::check;
use homeward_protocol::policy::sign::SignedDigest;
use homeward_protocol::policy::{MAX_POLICY, Policy};
use homeward_protocol::posture::ShortText;
use homeward_protocol::wire;

/// SHA-256 over the bytes of a document. `Display` is lower case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextDigest(SignedDigest);

impl TextDigest {
    /// Of these bytes.
    pub fn of(text: &[u8]) -> TextDigest {
        TextDigest(SignedDigest::of(text))
    }

    /// From the 32 bytes of a stored one.
    pub fn from_slice(bytes: &[u8]) -> Option<TextDigest> {
        bytes.try_into().ok().map(|bytes| TextDigest(SignedDigest(bytes)))
    }

    /// Its 32 bytes.
    pub const fn bytes(&self) -> &[u8] {
        self.0.0.as_slice()
    }

    /// Whether it begins with these hex digits, of which there are at least `fewest`.
    pub fn begins_with(&self, digits: &str, fewest: usize) -> bool {
        digits.len() >= fewest && self.to_string().starts_with(&digits.to_ascii_lowercase())
    }

    /// Its first digits, for people.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

impl FromStr for TextDigest {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(TextDigest)
    }
}

impl fmt::Display for TextDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// SHA-256 over what a document says: its policy as an author's signature covers it. Comments and spaces are not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentDigest(SignedDigest);

impl ContentDigest {
    /// Of this policy; none when it is longer than one may be.
    pub fn of(policy: &Policy) -> Option<ContentDigest> {
        let bytes = wire::encode(policy, MAX_POLICY).ok()?;
        Some(ContentDigest(SignedDigest::of(&bytes)))
    }
}

/// A document, faulty or not. Lines end with a line feed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(String);

/// Longer than [`MAX_POLICY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the document has {0} bytes, where at most {MAX_POLICY} are allowed")]
pub struct TooLong(usize);

impl Text {
    /// Takes what a form, a file or a row holds. Browsers send line ends as CR LF.
    pub fn parse(given: &str) -> Result<Text, TooLong> {
        let text = given.replace("\r\n", "\n");
        if text.len() > MAX_POLICY {
            return Err(TooLong(text.len()));
        }
        Ok(Text(text))
    }

    /// The document.
    pub const fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// What names its bytes.
    pub fn digest(&self) -> TextDigest {
        TextDigest::of(self.0.as_bytes())
    }

    /// Its policy; none when it has faults.
    pub fn policy(&self) -> Option<Policy> {
        check(&self.0).policy
    }

    /// What names what it says; none when it has faults.
    pub fn content(&self) -> Option<ContentDigest> {
        self.policy().as_ref().and_then(ContentDigest::of)
    }
}

/// A title as people type it: what fits of it; none when nothing is left.
pub fn title(given: &str) -> Option<ShortText> {
    Some(ShortText::cut(given.trim())).filter(|title| !title.as_str().is_empty())
}
