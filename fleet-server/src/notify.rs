//! Telling people outside the console: which ways a message goes, when it is tried again, and how a receiver knows that
//! it is ours.
//!
//! # Design
//! A message is a row for each of its ways, written in the transaction that made it necessary; sending is tried from
//! there until it is out or given up. So none is lost with the process. One may go out twice, when the process ends
//! between the sending and the note of it: each carries its name, by which a receiver can tell. The console shows the
//! same in any case.

pub mod mail;
pub mod serve;
pub mod webhook;

use std::collections::BTreeSet;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use ring::hmac;
use serde_json::json;

/// A message is tried so often on one way: over three hours with the waits between.
pub const TRIES: u32 = 9;
/// The first wait before another try; each is twice the one before.
const FIRST: Duration = Duration::from_secs(30);
/// The longest.
const LONGEST: Duration = Duration::from_hours(1);
/// Where a webhook's signature stands.
pub const SIGNATURE: &str = "x-homeward-signature";
/// Where the name of the message stands.
pub const NAME: &str = "x-homeward-notice";

/// A way to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// E-mail to the person.
    Mail,
    /// An HTTP request to a service that passes it on.
    Webhook,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 2] = [Way::Mail, Way::Webhook];

    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Way::Mail => "mail",
            Way::Webhook => "webhook",
        }
    }
}

impl std::str::FromStr for Way {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Way::ALL.into_iter().find(|way| way.name() == text);
        found.ok_or("not a way to people")
    }
}

/// Which ways lead to whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reach {
    /// Those who have an address that mail can be sent to.
    pub mail: BTreeSet<String>,
    /// Whether there is a service that passes messages on.
    pub webhook: bool,
}

impl Reach {
    /// The ways to this person.
    pub fn ways(&self, person: &str) -> Vec<Way> {
        let is = |way: &Way| match way {
            Way::Mail => self.mail.contains(person),
            Way::Webhook => self.webhook,
        };
        Way::ALL.into_iter().filter(is).collect()
    }
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// About which gateway.
    pub gateway: Option<GatewayId>,
    /// Whom it is for.
    pub person: String,
    /// What it is about, one line.
    pub subject: String,
    /// All of it.
    pub body: String,
}

/// A message on one of its ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its name.
    pub id: String,
    /// The same for the message on all its ways.
    pub about: String,
    /// Which way.
    pub way: Way,
    /// What.
    pub message: Message,
    /// Since when.
    pub made_at: Timestamp,
    /// Which try this is, from 1.
    pub tries: u32,
}

/// How long to wait behind this try, from 1; none when it was the last.
pub fn wait(tries: u32) -> Option<Duration> {
    if tries >= TRIES {
        return None;
    }
    let doublings = 2_u32.saturating_pow(tries.saturating_sub(1));
    Some(FIRST.saturating_mul(doublings).min(LONGEST))
}

/// What a webhook is sent.
pub fn payload(notice: &Notice) -> Vec<u8> {
    let message = &notice.message;
    let body = json!({
        "id": notice.about,
        "made_at": notice.made_at.to_string(),
        "gateway": message.gateway,
        "person": message.person,
        "subject": message.subject,
        "text": message.body,
    });
    body.to_string().into_bytes()
}

/// How the receiver knows that a body is ours: HMAC-SHA256 under the secret that both have, as `sha256=HEX`.
pub fn signature(secret: &[u8], body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("sha256={}", crate::store::hex(hmac::sign(&key, body).as_ref()))
}

#[cfg(test)]
mod tests;
