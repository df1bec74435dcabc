//! Support tunnels: what the server asks of a box, and what the box says of it.
//!
//! A person of the provider asks the server, bound to a ticket; the server asks the box; the box decides by the policy
//! that rules it, dials out, and ends it by its own clock. What it did stands in records that it signs.
//!
//! # Design
//! - An order is by the server's own authority, as one of isolation is. It can open no more than the policy, which two
//!   people signed, allows: without such a rule there is no tunnel.
//! - Each order has a number above all before it, and a box remembers the highest that it took: what it heard twice, or
//!   hears after a restart, opens nothing a second time, and so outlives no end.
//! - The box's end of each link and the server's meet over TLS of the gate's own demands ([`ALPN`]); what goes through it
//!   is the far ends' own, encrypted by them (ssh), and recorded by its amount alone.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::posture::ShortText;
use crate::time::Timestamp;
use crate::wire::{self, WireError};

/// Most bytes of an order: three texts at their longest, and numbers.
pub const MAX_ORDER: usize = 1024;
/// What a box asks for in the TLS handshake with the gate when it opens a link, instead of MQTT.
pub const ALPN: &[u8] = b"homeward-support/1";
/// What MQTT is called there by clients that name it.
pub const ALPN_MQTT: &[u8] = b"mqtt";
/// What the server says on a link once somebody is at its far end.
pub const GO: u8 = b'g';
/// The longest that a session may be asked for, seconds: the longest that a policy can allow.
pub const MAX_LASTS_S: u32 = 480 * 60;
/// The shortest, seconds.
pub const MIN_LASTS_S: u32 = 5;

/// The number of a session: above all of its gateway before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionNumber(pub u64);

impl fmt::Display for SessionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A session that was asked for: who, why, where to, for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Its number.
    pub session: SessionNumber,
    /// The ticket that it is bound to.
    pub ticket: ShortText,
    /// Who asked for it.
    pub by: ShortText,
    /// Why, for whoever stands before the box.
    pub reason: ShortText,
    /// The port of the box itself that it leads to.
    pub port: u16,
    /// How long it lasts from when the box hears of it, seconds.
    pub lasts_s: u32,
}

/// What the server asks of a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SupportOrder {
    /// Open a session.
    Open(Session),
    /// End it.
    End(SessionNumber),
}

impl SupportOrder {
    /// As it travels.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(self, MAX_ORDER)
    }

    /// Reads one. A session that is bound to no ticket, or lasts longer than any policy allows, is none.
    pub fn decode(bytes: &[u8]) -> Result<SupportOrder, WireError> {
        let order: SupportOrder = wire::decode(bytes, MAX_ORDER)?;
        match &order {
            SupportOrder::Open(session) => session.check().map(|()| order),
            SupportOrder::End(_) => Ok(order),
        }
    }
}

impl Session {
    /// Whether it keeps the rules.
    ///
    /// # Errors
    /// [`WireError::Rule`].
    pub fn check(&self) -> Result<(), WireError> {
        let said = |text: &ShortText| !text.as_str().trim().is_empty();
        if !said(&self.ticket) || !said(&self.by) || !said(&self.reason) {
            Err(WireError::Rule(
                "a support session names its ticket, who, and why",
            ))
        } else if self.port == 0 || !(MIN_LASTS_S..=MAX_LASTS_S).contains(&self.lasts_s) {
            Err(WireError::Rule(
                "a support session of a length or port that none has",
            ))
        } else {
            Ok(())
        }
    }
}

/// Why a box did not open a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// No policy rules the box that allows support tunnels.
    NotAllowed,
    /// The box is shut off, and its policy allows none then.
    Isolated,
    /// Longer than the policy allows.
    TooLong,
    /// The policy allows no tunnel to this port.
    Port,
    /// Another session is open.
    Busy,
    /// It could not be written down.
    NotKept,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Refusal; 6] = [
        Refusal::NotAllowed,
        Refusal::Isolated,
        Refusal::TooLong,
        Refusal::Port,
        Refusal::Busy,
        Refusal::NotKept,
    ];

    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::NotAllowed => "not-allowed",
            Refusal::Isolated => "isolated",
            Refusal::TooLong => "too-long",
            Refusal::Port => "port",
            Refusal::Busy => "busy",
            Refusal::NotKept => "not-kept",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::NotAllowed => "no policy of this box allows support tunnels",
            Refusal::Isolated => "the box is isolated, and its policy allows no tunnel then",
            Refusal::TooLong => "it is longer than the box's policy allows",
            Refusal::Port => "the box's policy allows no tunnel to this port",
            Refusal::Busy => "another session is open on this box",
            Refusal::NotKept => "the box could not write it down",
        })
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndCause {
    /// Its time was over, by the box's own clock.
    Expired,
    /// The server ordered it.
    Ordered,
    /// Nothing went through it for too long.
    Idle,
    /// What rules the box allows it no more.
    Policy,
    /// Somebody ended it at the box.
    Local,
    /// The agent started anew.
    Restarted,
}

impl EndCause {
    /// All of them.
    pub const ALL: [EndCause; 6] = [
        EndCause::Expired,
        EndCause::Ordered,
        EndCause::Idle,
        EndCause::Policy,
        EndCause::Local,
        EndCause::Restarted,
    ];

    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            EndCause::Expired => "expired",
            EndCause::Ordered => "ordered",
            EndCause::Idle => "idle",
            EndCause::Policy => "policy",
            EndCause::Local => "local",
            EndCause::Restarted => "restarted",
        }
    }
}

impl fmt::Display for EndCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndCause::Expired => "its time was over",
            EndCause::Ordered => "an operator ended it",
            EndCause::Idle => "nothing went through it for too long",
            EndCause::Policy => "what rules the box allowed it no more",
            EndCause::Local => "somebody ended it at the box",
            EndCause::Restarted => "the agent started anew",
        })
    }
}

/// What went through a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// Connections to the port, one after the other.
    pub links: u32,
    /// Bytes from the far end to the box.
    pub in_bytes: u64,
    /// Bytes from the box to the far end.
    pub out_bytes: u64,
}

/// What became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Became {
    /// It was not opened.
    Refused(Refusal),
    /// It was opened.
    Opened,
    /// It ended.
    Ended(Ended),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// Why.
    pub cause: EndCause,
    /// How long it was open, seconds by the box's monotonic clock; none when the agent was not there to see.
    pub lasted_s: Option<u32>,
    /// What went through; none when the agent was not there to count.
    pub moved: Option<Moved>,
}

/// What a box says of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupportRecord {
    /// Which, as it was asked for.
    pub of: Session,
    /// What became of it.
    pub became: Became,
    /// When.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            session: SessionNumber(7),
            ticket: ShortText::cut(&"t".repeat(128)),
            by: ShortText::cut(&"b".repeat(128)),
            reason: ShortText::cut(&"r".repeat(128)),
            port: 22,
            lasts_s: 900,
        }
    }

    #[test]
    fn an_order_at_its_longest_fits_and_reads_back() {
        for order in [
            SupportOrder::Open(session()),
            SupportOrder::End(SessionNumber(u64::MAX)),
        ] {
            let bytes = order.encode().expect("encodes");
            assert_eq!(SupportOrder::decode(&bytes).expect("decodes"), order);
        }
    }

    #[test]
    fn a_session_without_ticket_person_reason_port_or_end_is_none() {
        type Spoil = fn(&mut Session);
        let spoils: [Spoil; 6] = [
            |s| s.ticket = ShortText::cut(" "),
            |s| s.by = ShortText::cut(""),
            |s| s.reason = ShortText::cut(""),
            |s| s.port = 0,
            |s| s.lasts_s = 0,
            |s| s.lasts_s = MAX_LASTS_S + 1,
        ];
        for spoil in spoils {
            let mut bad = session();
            spoil(&mut bad);
            let bytes = SupportOrder::Open(bad.clone()).encode().expect("encodes");
            assert!(SupportOrder::decode(&bytes).is_err(), "{bad:?}");
        }
    }
}
