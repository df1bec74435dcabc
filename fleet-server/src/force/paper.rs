//! What was signed of an order to force, as text: the blocks of [`crate::policy::paper`], with labels of their own.

use std::fmt;

use homeward_protocol::release::force::{MAX_OFFER, Offer};
use homeward_protocol::wire::Bytes;

use crate::policy::paper::{KEYRING, PaperError, block, write_block};

/// Longest text that is read, bytes.
pub const MAX_PAPERS: usize = MAX_OFFER / 3 * 4 + 8 * 1024;

const FORCE: &str = "HOMEWARD FORCE";
const REVIEW: &str = "HOMEWARD FORCE REVIEW";

/// Signed blocks. Nothing in them is believed yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Papers {
    /// Who may sign, as a root signed it.
    pub keyring: Option<Vec<u8>>,
    /// The order, as its author signed it.
    pub force: Option<Vec<u8>>,
    /// The review, as the reviewer signed it.
    pub review: Option<Vec<u8>>,
}

impl Papers {
    /// Reads a text.
    ///
    /// # Errors
    /// A block that is damaged or stands twice, and a text without any.
    pub fn parse(text: &str) -> Result<Papers, PaperError> {
        if text.len() > MAX_PAPERS {
            return Err(PaperError::Long);
        }
        let papers = Papers {
            keyring: block(text, KEYRING)?,
            force: block(text, FORCE)?,
            review: block(text, REVIEW)?,
        };
        match papers.force {
            Some(_) => Ok(papers),
            None => Err(PaperError::Missing(FORCE)),
        }
    }

    /// The keyring's bytes.
    ///
    /// # Errors
    /// [`PaperError::Missing`].
    pub fn keyring(&self) -> Result<&[u8], PaperError> {
        self.keyring.as_deref().ok_or(PaperError::Missing(KEYRING))
    }

    /// The order's bytes.
    ///
    /// # Errors
    /// [`PaperError::Missing`].
    pub fn force(&self) -> Result<&[u8], PaperError> {
        self.force.as_deref().ok_or(PaperError::Missing(FORCE))
    }

    /// What a box is given.
    ///
    /// # Errors
    /// [`PaperError::Missing`]: without a review there is none.
    pub fn offer(&self) -> Result<Offer, PaperError> {
        Ok(Offer {
            keyring: Bytes(self.keyring()?.to_vec()),
            force: Bytes(self.force()?.to_vec()),
            review: Bytes(self.review.clone().ok_or(PaperError::Missing(REVIEW))?),
        })
    }
}

impl fmt::Display for Papers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (KEYRING, &self.keyring),
            (FORCE, &self.force),
            (REVIEW, &self.review),
        ];
        for (label, bytes) in all {
            if let Some(bytes) = bytes {
                write_block(f, label, bytes)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn papers_read_back_and_half_of_them_is_no_order() {
        let papers = Papers {
            keyring: Some(vec![1; 100]),
            force: Some(vec![2; 300]),
            review: Some(vec![3; 10]),
        };
        let text = format!("Dear Ben,\n{papers}\nAnn");
        assert_eq!(Papers::parse(&text), Ok(papers.clone()));
        assert!(papers.offer().is_ok());
        let half = Papers {
            review: None,
            ..papers.clone()
        };
        assert_eq!(half.offer().err(), Some(PaperError::Missing(REVIEW)));
        let none = Papers {
            force: None,
            ..papers
        };
        assert_eq!(Papers::parse(&none.to_string()), Err(PaperError::Missing(FORCE)));
    }
}
