//! Opening envelopes of one gateway: whose they are, and that the gateway says so.
//!
//! # Design
//! A signature costs more than all the rest of an envelope together. Envelopes of one lane that follow one another
//! without a hole need only one: the last one's signature covers the chain before it, and with it, hash by hash, the
//! number and the content of every record in the envelopes that lead up to it. So a run is opened from its end, and
//! an envelope whose records the next one's chain proves is not verified again. Nothing is decided, stored or shown
//! before its content is proved in one of the two ways.
//!
//! What the chain does not cover is not believed without a signature of its own: an envelope that states a loss,
//! that names another outbox, lane or gateway, or that claims to hold fewer records than the one that vouches for it.

use homeward_protocol::envelope::{Entry, Envelope, Lane};
use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::{Message as _, PublicKey, Signed, SignedError};

use super::Arrived;

/// A key that an envelope may be signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice {
    /// The key.
    pub key: PublicKey,
    /// Whether it is the gateway's spare one.
    pub spare: bool,
}

impl From<PublicKey> for Voice {
    fn from(key: PublicKey) -> Voice {
        Voice { key, spare: false }
    }
}

/// Why a payload is not an envelope of its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// In one word, for metrics.
    pub kind: Kind,
    /// In words, for people.
    pub why: String,
}

/// What kind of fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Not signed bytes as we write them.
    Structure,
    /// None of the gateway's keys signed it.
    Signature,
    /// Signed, and not a valid envelope.
    Message,
    /// It names another gateway or lane than the topic it came by.
    Name,
}

impl Kind {
    /// For metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Structure => "structure",
            Kind::Signature => "signature",
            Kind::Message => "message",
            Kind::Name => "name",
        }
    }
}

/// Opens what one gateway sent in one lane, in the order in which it came; gives an answer for each in that order.
/// `keys` are those that its envelopes may be signed with.
pub fn open(
    gateway: &GatewayId,
    lane: Lane,
    payloads: &[impl AsRef<[u8]>],
    keys: &[Voice],
) -> Vec<Result<Arrived, Rejected>> {
    let mut opened: Vec<Result<Arrived, Rejected>> = Vec::with_capacity(payloads.len());
    for payload in payloads.iter().rev() {
        let next = opened.last().and_then(|next| next.as_ref().ok());
        let this = open_one(gateway, lane, payload.as_ref(), keys, next);
        opened.push(this);
    }
    opened.reverse();
    opened
}

fn open_one(
    gateway: &GatewayId,
    lane: Lane,
    payload: &[u8],
    keys: &[Voice],
    next: Option<&Arrived>,
) -> Result<Arrived, Rejected> {
    let signed = Signed::<Envelope>::parse(payload).map_err(|e| rejected(&e))?;
    let is_named = |envelope: &Envelope| envelope.gateway == *gateway && envelope.lane == lane;
    if let Some(next) = next
        && let Some(vouched) = vouched(&signed, next, is_named)
    {
        return Ok(vouched);
    }
    let (envelope, spare) = verify(&signed, keys).map_err(|e| rejected(&e))?;
    if is_named(&envelope) {
        Ok(Arrived {
            spare,
            ..Arrived::new(envelope)
        })
    } else {
        Err(Rejected {
            kind: Kind::Name,
            why: "it names another gateway or lane than its topic".into(),
        })
    }
}

/// The envelope, when the chain of the next one, whose content is proved, proves all that it says.
fn vouched(
    signed: &Signed<Envelope>,
    next: &Arrived,
    is_named: impl Fn(&Envelope) -> bool,
) -> Option<Arrived> {
    let envelope = signed.unverified().ok()?;
    let records_only = envelope
        .entries
        .iter()
        .all(|entry| matches!(entry, Entry::Item(_)));
    if envelope.check().is_err() || !is_named(&envelope) || !records_only {
        return None;
    }
    // Whoever vouches for it says no more of it than of itself.
    let arrived = Arrived {
        spare: next.spare,
        ..Arrived::new(envelope)
    };
    arrived.leads_to(next).then_some(arrived)
}

/// The envelope, and whether a spare key signed it.
fn verify(signed: &Signed<Envelope>, keys: &[Voice]) -> Result<(Envelope, bool), SignedError> {
    let mut outcome = Err(SignedError::Signature);
    for voice in keys {
        outcome = signed
            .verify(&voice.key)
            .map(|envelope| (envelope.into_inner(), voice.spare));
        if !matches!(outcome, Err(SignedError::Signature)) {
            break;
        }
    }
    outcome
}

fn rejected(error: &SignedError) -> Rejected {
    let kind = match error {
        SignedError::Signature => Kind::Signature,
        SignedError::Payload(_) => Kind::Message,
        SignedError::TooLong { .. } | SignedError::Structure(_) | SignedError::Signer(_) => Kind::Structure,
    };
    let mut why = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        why = format!("{why}: {source}");
    }
    Rejected { kind, why }
}

#[cfg(test)]
mod tests;
