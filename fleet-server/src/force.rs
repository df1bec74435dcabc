//! Orders to force: two people of the policies' keyring let one update begin although something stands against it.
//!
//! The server keeps what they signed ([`take`]), sends it ([`crate::gate::saying`]) and shows what the box says of it. It can make none:
//! no key that counts is here, and it verifies as a box does.

pub mod paper;
pub mod take;

use homeward_protocol::id::GatewayId;
use homeward_protocol::release::force::ForceNumber;
use homeward_protocol::release::state::ForceStanding;
use homeward_protocol::time::Timestamp;

/// One order, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// For which gateway.
    pub gateway: GatewayId,
    /// Its number.
    pub number: ForceNumber,
    /// The digest of what its author signed, hex.
    pub digest: String,
    /// The number of the director's word that it is for.
    pub assignment: u64,
    /// What it overrules, with commas.
    pub overrules: String,
    /// Why.
    pub reason: String,
    /// Who signed it first.
    pub author: String,
    /// Who signed it second.
    pub reviewer: String,
    /// Not before.
    pub not_before: Timestamp,
    /// Not from here on.
    pub until: Timestamp,
    /// When it was brought here.
    pub brought_at: Timestamp,
    /// By whom.
    pub brought_by: String,
    /// When it was first sent.
    pub sent_at: Option<Timestamp>,
    /// What the box last said of it, and when.
    pub said: Option<(ForceStanding, Timestamp)>,
}

impl Kept {
    /// How it stands, in one word.
    pub fn name(&self, now: Timestamp) -> &'static str {
        match &self.said {
            Some((stands, _)) => stands.name(),
            None if now.ms >= self.until.ms => "unheard",
            None if self.sent_at.is_some() => "sent",
            None => "brought",
        }
    }

    /// How it stands, for people.
    pub fn words(&self, now: Timestamp) -> String {
        match &self.said {
            Some((stands, _)) => stands.words(),
            None if now.ms >= self.until.ms => {
                "its time is over, and the box has said nothing of it".to_owned()
            }
            None if self.sent_at.is_some() => "was sent, and the box has not answered yet".to_owned(),
            None => "is kept here; it is sent once the box is connected and has the update".to_owned(),
        }
    }
}
