//! What was signed for a policy, as text: blocks that can be mailed, reviewed, and kept beside the document.
//!
//! ```text
//! -----BEGIN HOMEWARD POLICY-----
//! 0oRDoQEmoFkB…
//! -----END HOMEWARD POLICY-----
//! ```
//! A file holds any of the three blocks, each once, in any order. Text around them is for people, and not read.
//!
//! Source: the form is that of RFC 7468, with labels of our own.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homeward_protocol::policy::sign::{MAX_OFFER, Offer};
use homeward_protocol::wire::Bytes;

/// Longest text that is read, bytes: an offer's, and some words around it.
pub const MAX_PAPERS: usize = MAX_OFFER / 3 * 4 + 8 * 1024;
/// Characters of a line.
const LINE: usize = 64;

/// The label of a keyring.
pub const KEYRING: &str = "HOMEWARD POLICY KEYRING";

const LABELS: [&str; 3] = [KEYRING, "HOMEWARD POLICY", "HOMEWARD POLICY REVIEW"];

/// Signed blocks. Nothing in them is believed yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Papers {
    /// Who may sign, as a root signed it.
    pub keyring: Option<Vec<u8>>,
    /// The policy, as its author signed it.
    pub policy: Option<Vec<u8>>,
    /// The review, as the reviewer signed it.
    pub review: Option<Vec<u8>>,
}

/// Why a text is not such papers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaperError {
    /// Too much.
    #[error("more than {MAX_PAPERS} bytes")]
    Long,
    /// No block.
    #[error("there is no block `-----BEGIN HOMEWARD POLICY-----` in it")]
    Nothing,
    /// A block that does not end, or holds something else than Base64.
    #[error("the block {0} is damaged")]
    Damaged(&'static str),
    /// A block that stands twice, with other content.
    #[error("there are two blocks {0}")]
    Twice(&'static str),
    /// A block that is needed.
    #[error("the block {0} is missing")]
    Missing(&'static str),
}

impl Papers {
    /// Whether a text holds a block.
    pub fn is_in(text: &str) -> bool {
        LABELS
            .iter()
            .any(|label| text.contains(&format!("-----BEGIN {label}-----")))
    }

    /// Reads a text.
    pub fn parse(text: &str) -> Result<Papers, PaperError> {
        if text.len() > MAX_PAPERS {
            return Err(PaperError::Long);
        }
        let papers = Papers {
            keyring: block(text, LABELS[0])?,
            policy: block(text, LABELS[1])?,
            review: block(text, LABELS[2])?,
        };
        if papers == Papers::default() {
            return Err(PaperError::Nothing);
        }
        Ok(papers)
    }

    /// The keyring's bytes.
    pub fn keyring(&self) -> Result<&[u8], PaperError> {
        self.keyring.as_deref().ok_or(PaperError::Missing(LABELS[0]))
    }

    /// The policy's bytes.
    pub fn policy(&self) -> Result<&[u8], PaperError> {
        self.policy.as_deref().ok_or(PaperError::Missing(LABELS[1]))
    }

    /// What a box is given; the groups come from whoever gives it.
    pub fn offer(&self) -> Result<Offer, PaperError> {
        Ok(Offer {
            keyring: Bytes(self.keyring()?.to_vec()),
            policy: Bytes(self.policy()?.to_vec()),
            review: self.review.clone().map(Bytes),
            groups: Vec::new(),
        })
    }
}

impl fmt::Display for Papers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (label, bytes) in LABELS.iter().zip([&self.keyring, &self.policy, &self.review]) {
            if let Some(bytes) = bytes {
                write_block(f, label, bytes)?;
            }
        }
        Ok(())
    }
}

/// Writes one block.
///
/// # Errors
/// The writer's.
pub fn write_block(f: &mut fmt::Formatter<'_>, label: &str, bytes: &[u8]) -> fmt::Result {
    writeln!(f, "-----BEGIN {label}-----")?;
    let text = STANDARD.encode(bytes);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        writeln!(f, "{line}")?;
        rest = more;
    }
    writeln!(f, "-----END {label}-----")
}

/// The block with this label; none when there is none.
///
/// # Errors
/// One that is damaged, or stands twice with other content.
pub fn block(text: &str, label: &'static str) -> Result<Option<Vec<u8>>, PaperError> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mut found: Option<Vec<u8>> = None;
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(&begin) {
        let (body, more) = after.split_once(&end).ok_or(PaperError::Damaged(label))?;
        let plain: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let bytes = STANDARD.decode(plain).map_err(|_| PaperError::Damaged(label))?;
        if found.as_ref().is_some_and(|before| *before != bytes) {
            return Err(PaperError::Twice(label));
        }
        found = Some(bytes);
        rest = more;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Papers {
        Papers {
            keyring: Some(vec![1; 100]),
            policy: Some((0..=255).collect()),
            review: None,
        }
    }

    #[test]
    fn papers_read_back_from_their_text_also_with_words_around_and_other_line_ends() {
        let text = some().to_string();
        assert!(text.lines().all(|line| line.len() <= LINE));
        let mailed = format!("Dear Ben,\r\n{}\r\nAnn\r\n", text.replace('\n', "\r\n"));
        assert_eq!(Papers::parse(&mailed), Ok(some()));
        assert!(Papers::is_in(&mailed));
    }

    #[test]
    fn what_is_damaged_doubled_or_missing_says_so() {
        let text = some().to_string();
        assert_eq!(Papers::parse("name = \"x\""), Err(PaperError::Nothing));
        let cut = text.replace("-----END HOMEWARD POLICY-----", "");
        assert_eq!(Papers::parse(&cut), Err(PaperError::Damaged(LABELS[1])));
        let odd = text.replace("AAEC", "AA*C");
        assert_eq!(Papers::parse(&odd), Err(PaperError::Damaged(LABELS[1])));
        let other = Papers {
            keyring: None,
            policy: Some(vec![7]),
            review: None,
        };
        assert_eq!(
            Papers::parse(&format!("{text}{other}")),
            Err(PaperError::Twice(LABELS[1]))
        );
        assert_eq!(
            Papers::parse(&format!("{text}{text}")),
            Ok(some()),
            "the same twice"
        );
        assert_eq!(other.offer().err(), Some(PaperError::Missing(LABELS[0])));
        assert_eq!(Papers::parse(&"x".repeat(MAX_PAPERS + 1)), Err(PaperError::Long));
    }
}
