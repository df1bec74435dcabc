//! How a gateway is asked to prove itself, and what it is told of the judgement.
//!
//! ```text
//! gateway -> server   a word: "I have booted", "I was updated", "I am back"      (Topic::Ask)
//! server  -> gateway  Challenge: 32 bytes that are used once, within five minutes (Topic::Challenge)
//! gateway -> server   a Bundle: signed claims that hold the 32 bytes             (Topic::Evidence)
//! server  -> gateway  Notice: the judgement and when it ends                     (Topic::Verdict)
//! ```
//!
//! # Design
//! A gateway answers the newest challenge of the connection that it stands on, and no other. It never sends evidence
//! without one: evidence that answers an old number can be a recording. The judgement ends by itself at the moment
//! that it names, for whoever reads it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::posture::ShortText;
use crate::time::Timestamp;
use crate::wire::{self, Bytes, WireError};

/// Most bytes of a challenge.
pub const MAX_CHALLENGE: usize = 256;
/// Most bytes of a notice.
pub const MAX_NOTICE: usize = 4 * 1024;
/// Most reasons that a notice names.
pub const MAX_SAID: usize = 16;
/// How long a challenge may be answered, milliseconds.
pub const CHALLENGE_MS: i64 = 5 * 60_000;
/// How long a judgement holds, milliseconds: the longest pause between two challenges (30 h), and time to try again.
pub const VERDICT_MS: i64 = 36 * 3_600_000;

/// What proves a gateway, from least to most. The order is part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// A software key: "a process that holds this key said so".
    Software,
    /// The key is in a TPM: it cannot be copied off it. What the software says is still its own word.
    TpmKey,
    /// The same, and the TPM is a real chip of a known maker.
    TpmChip,
    /// The same, and it started what was signed.
    MeasuredBoot,
}

impl Tier {
    /// All of them, from the least.
    pub const ALL: [Tier; 4] = [Tier::Software, Tier::TpmKey, Tier::TpmChip, Tier::MeasuredBoot];

    /// As it is kept and written.
    pub const fn name(self) -> &'static str {
        match self {
            Tier::Software => "software",
            Tier::TpmKey => "tpm-key",
            Tier::TpmChip => "tpm-chip",
            Tier::MeasuredBoot => "measured-boot",
        }
    }

    /// The tier of that name.
    pub fn from_name(name: &str) -> Option<Tier> {
        Tier::ALL.into_iter().find(|tier| tier.name() == name)
    }

    /// T0 to T3.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a gateway stands, as whoever reads the record finds it at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Its evidence is fresh and in order.
    Trusted,
    /// Its evidence is fresh, and something of it is open, or rests on its own word.
    Warning,
    /// Its evidence was in order once, and is too old.
    Stale,
    /// Its evidence was not in order, or a person has not lifted the quarantine.
    Failed,
    /// Nobody can say: not judged yet, or the fault is the server's.
    Unknown,
}

impl Trust {
    /// All of them.
    pub const ALL: [Trust; 5] = [
        Trust::Trusted,
        Trust::Warning,
        Trust::Stale,
        Trust::Failed,
        Trust::Unknown,
    ];

    /// As it is kept and written.
    pub const fn name(self) -> &'static str {
        match self {
            Trust::Trusted => "trusted",
            Trust::Warning => "warning",
            Trust::Stale => "stale",
            Trust::Failed => "failed",
            Trust::Unknown => "unknown",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Trust> {
        Trust::ALL.into_iter().find(|trust| trust.name() == name)
    }
}

/// 32 random bytes that are used once.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce(pub [u8; 32]);

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce")
    }
}

impl Serialize for Nonce {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Nonce {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = Bytes::deserialize(from)?;
        let length = bytes.0.len();
        let nonce = bytes.0.try_into().map(Nonce);
        nonce.map_err(|_| serde::de::Error::invalid_length(length, &"32 bytes"))
    }
}

/// What the server holds of the logs that a TPM vouches for, of one boot: only what follows has to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Of which boot: the seed of the evidence that brought it.
    pub boot: Nonce,
    /// Bytes of the firmware's log.
    pub log_bytes: u32,
    /// Entries of the kernel's log (IMA).
    pub ima_entries: u32,
}

/// The server's question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// What the answer has to hold.
    pub nonce: Nonce,
    /// What need not be sent again.
    pub held: Option<Held>,
}

impl Challenge {
    /// The bytes that travel.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(self, MAX_CHALLENGE)
    }

    /// Reads one; at most [`MAX_CHALLENGE`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Challenge, WireError> {
        wire::decode(bytes, MAX_CHALLENGE)
    }
}

/// Why a gateway asks to be asked. Travels as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ask {
    /// It has booted.
    Boot,
    /// Its software is another one than before.
    Update,
    /// It was away for more than an hour.
    Return,
}

impl Ask {
    /// All of them.
    pub const ALL: [Ask; 3] = [Ask::Boot, Ask::Update, Ask::Return];

    /// The word that travels.
    pub const fn name(self) -> &'static str {
        match self {
            Ask::Boot => "boot",
            Ask::Update => "update",
            Ask::Return => "return",
        }
    }

    /// The one of that word.
    pub fn from_word(word: &[u8]) -> Option<Ask> {
        Ask::ALL.into_iter().find(|ask| ask.name().as_bytes() == word)
    }
}

/// What a gateway is told of its judgement. It lowers what the gateway says of its readings; the server believes its
/// own record, and nobody's word for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// The judgement.
    pub trust: Trust,
    /// What proved it.
    pub tier: Tier,
    /// When it was made.
    pub issued_at: Timestamp,
    /// From when on it says nothing good any more.
    pub expires_at: Timestamp,
    /// Whether only a person can lift it.
    pub quarantined: bool,
    /// Why, in plain words; at most [`MAX_SAID`].
    pub said: Vec<ShortText>,
}

impl Notice {
    /// The bytes that travel.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(self, MAX_NOTICE)
    }

    /// Reads one; at most [`MAX_NOTICE`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Notice, WireError> {
        let notice: Notice = wire::decode(bytes, MAX_NOTICE)?;
        if notice.said.len() > MAX_SAID {
            return Err(WireError::Rule("a notice says too much"));
        }
        Ok(notice)
    }

    /// How the gateway stands at `now`, by this notice alone.
    pub fn at(&self, now: Timestamp) -> Trust {
        match self.trust {
            Trust::Failed => Trust::Failed,
            _ if self.quarantined => Trust::Failed,
            Trust::Unknown => Trust::Unknown,
            _ if now.ms >= self.expires_at.ms => Trust::Stale,
            fresh => fresh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(trust: Trust) -> Notice {
        Notice {
            trust,
            tier: Tier::TpmKey,
            issued_at: Timestamp::synced(1000),
            expires_at: Timestamp::synced(2000),
            quarantined: false,
            said: vec![ShortText::cut("all in order")],
        }
    }

    #[test]
    fn a_notice_says_nothing_good_from_its_end_on() {
        for (trust, before, after) in [
            (Trust::Trusted, Trust::Trusted, Trust::Stale),
            (Trust::Warning, Trust::Warning, Trust::Stale),
            (Trust::Failed, Trust::Failed, Trust::Failed),
            (Trust::Unknown, Trust::Unknown, Trust::Unknown),
        ] {
            assert_eq!(notice(trust).at(Timestamp::synced(1999)), before);
            assert_eq!(notice(trust).at(Timestamp::synced(2000)), after);
            let shut = Notice {
                quarantined: true,
                ..notice(trust)
            };
            assert_eq!(shut.at(Timestamp::synced(1999)), Trust::Failed);
        }
    }

    #[test]
    fn names_and_messages_read_back() {
        assert!(
            Tier::ALL
                .into_iter()
                .all(|t| Tier::from_name(t.name()) == Some(t))
        );
        assert!(
            Trust::ALL
                .into_iter()
                .all(|t| Trust::from_name(t.name()) == Some(t))
        );
        assert!(
            Ask::ALL
                .into_iter()
                .all(|a| Ask::from_word(a.name().as_bytes()) == Some(a))
        );
        assert!(Tier::ALL.is_sorted());
        let held = Held {
            boot: Nonce([7; 32]),
            log_bytes: u32::MAX,
            ima_entries: u32::MAX,
        };
        for held in [None, Some(held)] {
            let challenge = Challenge {
                nonce: Nonce([9; 32]),
                held,
            };
            let bytes = challenge.encode().expect("fits");
            assert_eq!(Challenge::decode(&bytes).expect("reads"), challenge);
        }
        let mut notice = notice(Trust::Warning);
        notice.said = vec![ShortText::cut(&"x".repeat(128)); MAX_SAID];
        let bytes = notice.encode().expect("fits");
        assert_eq!(Notice::decode(&bytes).expect("reads"), notice);
        notice.said.push(ShortText::cut("one more"));
        assert!(Notice::decode(&notice.encode().expect("fits")).is_err());
        assert!(!format!("{:?}", Nonce([9; 32])).contains('9'));
    }
}
